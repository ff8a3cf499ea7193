import fcntl
import json
import os
import socket
import time
from threading import Timer

import pytest

from fibdask import FibdaskWarning, StackReadError
from fibdask.blocks import is_locked, locked
from fibdask.blocks.engine import locks
from fibdask.blocks.engine.locks import TakenError, _take_without_locks
from tests.holding import PATIENCE, wait_until


@pytest.fixture
def no_locks(monkeypatch):
    """A file system without locks, as Lustre may be mounted."""

    def refuse(*arguments):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(locks, "_told", set())


def owner(path, **changes):
    found = {"host": socket.gethostname(), "process": os.getpid(), "since": time.time()}
    path.with_name(f"{path.name}.owner").write_text(json.dumps(found | changes))


def test_locked__names_in_full_what_is_being_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "lock"
    with locked(path), pytest.raises(StackReadError, match=f"{tmp_path} is being written by"):
        locked(path).__enter__()
    assert not is_locked(path)


def test_locked__waits_for_those_who_only_look(tmp_path):
    path = tmp_path / "lock"
    path.touch()
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        Timer(0.02, lambda: fcntl.flock(file, fcntl.LOCK_UN)).start()
        with locked(path):
            assert is_locked(path)


def test_locked__that_passes_leaves_no_file(tmp_path):
    with locked(tmp_path / "lock", passing=True):
        assert is_locked(tmp_path / "lock")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:the file system of")
def test_locked__without_locks_an_owner_keeps_others_away(tmp_path, no_locks):
    path = tmp_path / "lock"
    with locked(path):
        assert is_locked(path)
        with pytest.raises(StackReadError, match=f"by process {os.getpid()} on"):
            locked(path).__enter__()
    assert not is_locked(path)
    assert not (tmp_path / "lock.owner").exists()


def test_locked__without_locks_says_so_once(tmp_path, no_locks):
    with pytest.warns(FibdaskWarning, match=f"system of {tmp_path} has no locks; files"):
        locked(tmp_path / "a").__enter__()
    with locked(tmp_path / "b"):  # warnings are errors
        assert is_locked(tmp_path / "b")


@pytest.mark.filterwarnings("ignore:the file system of")
@pytest.mark.parametrize("locks_of", ["file system", "owner"])
def test_locked__waits_as_long_as_it_is_told(tmp_path, locks_of, request):
    if locks_of == "owner":
        request.getfixturevalue("no_locks")
    held = locked(tmp_path / "lock", passing=True)
    held.__enter__()
    with pytest.raises(TakenError), locked(tmp_path / "lock", wait=0.1):
        pass
    letting_go = Timer(0.2, held.__exit__, (None, None, None))
    letting_go.start()
    with locked(tmp_path / "lock", wait=PATIENCE):
        assert is_locked(tmp_path / "lock")
    letting_go.join()


@pytest.mark.filterwarnings("ignore:the file system of")
def test_locked__without_locks_a_file_that_was_removed_meanwhile_is_not_claimed(tmp_path, no_locks):
    with pytest.raises(TakenError):
        _take_without_locks(tmp_path / "lock", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:the file system of")
@pytest.mark.parametrize("gone", [{"process": 2**22 + 1}, {"since": 1.0}])
def test_locked__without_locks_an_owner_that_has_ended_is_recognised(tmp_path, no_locks, gone):
    path = tmp_path / "lock"
    path.touch()
    owner(path, **gone)
    assert not is_locked(path)
    with locked(path):
        assert is_locked(path)


@pytest.mark.filterwarnings("ignore:the file system of")
def test_locked__without_locks_an_owner_elsewhere_is_believed(tmp_path, no_locks):
    path = tmp_path / "lock"
    path.touch()
    owner(path, host="node17")
    with pytest.raises(StackReadError, match=r"on node17 since .*lock\.owner"):
        locked(path).__enter__()


@pytest.mark.filterwarnings("ignore:the file system of")
@pytest.mark.parametrize(
    ("beats", "silent", "held"), [(True, 999, False), (True, 9, True), (False, 999, True)]
)
def test_is_locked__without_locks_an_owner_elsewhere_that_is_silent_has_ended(
    tmp_path, no_locks, beats, silent, held
):
    path = tmp_path / "lock"
    path.touch()
    owner(path, host="node17", beats=beats)
    last = time.time() - silent
    os.utime(tmp_path / "lock.owner", (last, last))
    assert is_locked(path) == held
    assert sorted(file.name for file in tmp_path.iterdir()) == ["lock", "lock.owner"]


@pytest.mark.filterwarnings("ignore:the file system of")
def test_locked__without_locks_an_owner_tells_that_it_lives(tmp_path, no_locks, monkeypatch):
    monkeypatch.setattr(locks, "_BEAT", 0.01)
    told = tmp_path / "lock.owner"
    with locked(tmp_path / "lock"):
        os.utime(told, (0, 0))
        assert wait_until(lambda: told.stat().st_mtime > 0)


@pytest.mark.filterwarnings("ignore:the file system of")
def test_locked__without_locks_one_of_those_who_find_an_owner_ended_gets_it(
    tmp_path, no_locks, monkeypatch
):
    path = tmp_path / "lock"
    owner(path, process=2**22 + 1)

    def late(place, found):
        owner(path)  # another run has taken over since it was read
        return True

    monkeypatch.setattr(locks, "_is_stale", late)
    with pytest.raises(StackReadError, match=f"by process {os.getpid()} on"):
        locked(path).__enter__()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["lock", "lock.owner"]
