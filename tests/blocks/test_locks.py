import fcntl
import json
import os
import socket
import time

import pytest

from fibdask import FibdaskWarning, StackReadError
from fibdask.blocks import is_locked, locked


@pytest.fixture
def no_locks(monkeypatch):
    """A file system without locks, as Lustre may be mounted."""

    def refuse(*arguments):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)


def owner(path, **changes):
    found = {"host": socket.gethostname(), "process": os.getpid(), "since": time.time()}
    path.with_name(f"{path.name}.owner").write_text(json.dumps(found | changes))


def test_locked__names_in_full_what_is_being_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "lock"
    with locked(path), pytest.raises(StackReadError, match=f"{tmp_path} is being written by"):
        locked(path).__enter__()
    assert not is_locked(path)


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


def test_locked__without_locks_says_so(tmp_path, no_locks):
    with pytest.warns(FibdaskWarning, match=r"has no locks; a file lock\.owner keeps other runs"):
        locked(tmp_path / "lock").__enter__()


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
