"""Locks between processes: by the file system, or by an owner's file where it has none.

An owner's file is touched again and again. One that has not been for a while is that of a process
that was killed, on whatever host: the lock is then free.
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import psutil

from ...conventions import FibdaskWarning, StackReadError

_POLL = 0.05  # seconds between looks at a lock that is waited for
_MOMENT = 0.1  # seconds
_BEAT, _LEASE = 20.0, 180.0  # seconds: an owner's file is touched; it counts after the last time
_told: set[int] = set()  # file systems without locks, of which the user knows


class TakenError(StackReadError):
    """Another process holds a lock."""


@contextmanager
def locked(
    path: Path, *, what: Path | None = None, passing: bool = False, wait: float = 0
) -> Iterator[IO[str]]:
    """Open a file for appending, and hold its lock until the end.

    Parameters
    ----------
    what
        What the lock protects, for the message; by default the folder of the file.
    passing
        Remove the file when its lock is let go.
    wait
        Seconds to wait for another process that holds it, beside a moment in which one may look
        whether it is held.

    Raises
    ------
    TakenError
        If another process holds it, and does not let go in time.
    StackReadError
        If it cannot be opened.
    """
    until = time.monotonic() + max(wait, _MOMENT)
    file, owner = _claimed(path, (what or path.parent).absolute(), until)
    with file, _beating(owner):
        try:
            yield file
        finally:
            # Before the lock is let go, so that whoever waits for it sees that its file is gone.
            if passing:
                path.unlink(missing_ok=True)
            if owner is not None:
                owner.unlink(missing_ok=True)


def is_locked(path: Path) -> bool:
    """Tell whether a process holds the lock of a file."""
    if not path.is_file():
        return False
    with path.open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            owner = _owner_file(path)
            return owner.exists() and not _is_stale(owner, _read_owner(owner))
    return False


def _claimed(path: Path, held: Path, until: float) -> tuple[IO[str], Path | None]:
    """Open and lock a file; return it, and the owner's file if that is what keeps others away."""
    while True:
        file = _opened(path, held)
        try:
            return file, _take(file, path, held)
        except BaseException as error:
            file.close()
            if not isinstance(error, TakenError) or time.monotonic() > until:
                raise
        time.sleep(_POLL)


def _opened(path: Path, held: Path) -> IO[str]:
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise unwritable(held, path.name, error) from error


def _take(file: IO[str], path: Path, held: Path) -> Path | None:
    """Lock an open file; return the owner's file if that is what keeps others away."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise taken(held) from None
    except OSError:
        return _take_without_locks(path, held)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            return None
    # Removed by its last holder between opening and locking: it is in use, or was just now.
    raise taken(held)


def unwritable(held: Path, name: str, error: OSError) -> StackReadError:
    """Return the error of a folder in which a file cannot be written."""
    return StackReadError(f"{held} cannot be written: {name}: {error.strerror}")


def taken(held: Path, by: str = "another process") -> TakenError:
    """Return the error of what is being written elsewhere."""
    return TakenError(f"{held} is being written by {by}; wait for it, or stop it")


def _take_without_locks(path: Path, held: Path) -> Path:
    """Claim a file by writing beside it who holds it."""
    _tell_once(path, held)
    owner = _owner_file(path)
    if owner.exists() and _is_stale(owner, found := _read_owner(owner)):
        _remove_stale(owner, found)
    mine = {"host": socket.gethostname(), "process": os.getpid(), "since": time.time()}
    mine |= {"beats": True}  # owners of earlier versions do not
    try:
        with owner.open("x", encoding="utf-8") as file:
            json.dump(mine, file)
    except FileExistsError:
        found = _read_owner(owner)
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(float(found["since"])))
        by = f"process {found['process']} on {found['host']} since {since} ({owner})"
        raise taken(held, by) from None
    if not path.exists():  # removed by its last holder before it was claimed
        owner.unlink()
        raise taken(held)
    return owner


def _remove_stale(owner: Path, found: dict[str, Any]) -> None:
    """Remove an owner's file that was found stale, and none by which another has replaced it."""
    aside = owner.with_name(f"{owner.name}.{uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):  # another has removed it
        owner.rename(aside)
        if _read_owner(aside) == found:
            aside.unlink()
        else:
            aside.rename(owner)


def _tell_once(path: Path, held: Path) -> None:
    """Say that a file system has no locks, once in a process."""
    device = path.parent.stat().st_dev  # the file itself may just be removed
    if device not in _told:
        _told.add(device)
        text = f"the file system of {held} has no locks; files *.owner keep other runs away"
        warnings.warn(text, FibdaskWarning, stacklevel=2)


def _owner_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.owner")


def _read_owner(owner: Path) -> dict[str, Any]:
    """Return who holds a lock; a file that is just being written has an owner, unknown yet."""
    try:
        found = dict(json.loads(owner.read_text(encoding="utf-8")))
        known = {key: found[key] for key in ("host", "process", "since")}
        return known | {"beats": found.get("beats") is True}
    except (OSError, ValueError, KeyError, TypeError):
        unknown = {"host": "an unknown host", "process": "unknown", "since": time.time()}
        return unknown | {"beats": False}


def _is_stale(owner: Path, found: dict[str, Any]) -> bool:
    """Tell whether the process that held a lock has ended; of other hosts, whether it is silent."""
    if found["host"] != socket.gethostname():
        return bool(found["beats"]) and _silence(owner) > _LEASE
    try:
        return bool(psutil.Process(int(found["process"])).create_time() > float(found["since"]))
    except (psutil.Error, ValueError):
        return True


def _silence(owner: Path) -> float:
    """Return for how many seconds an owner's file has not been touched, by the files' own clock."""
    now = owner.with_name(f"{owner.name}.{uuid4().hex}")
    try:
        now.touch()
        return now.stat().st_mtime - owner.stat().st_mtime
    except OSError:  # just removed, or nothing can be written
        return 0.0
    finally:
        now.unlink(missing_ok=True)


@contextmanager
def _beating(owner: Path | None) -> Iterator[None]:
    """Touch an owner's file, if there is one, as long as this process holds the lock."""
    ended = threading.Event()

    def beat(owner: Path) -> None:
        while not ended.wait(_BEAT):
            with contextlib.suppress(OSError):
                os.utime(owner)

    if owner is not None:
        threading.Thread(target=beat, args=[owner], daemon=True).start()
    try:
        yield
    finally:
        ended.set()
