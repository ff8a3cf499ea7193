"""Copy a stored stack to a server, or from one."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..blocks import NO_MONITOR, Monitor, RemotePath, is_address, object_states, put_object
from ..conventions import RecipeError, StackReadError
from ..io import open_stack
from ..io.metadata import check_store, is_store
from ..io.paths import local_path, read_place
from ..io.store import save_watched
from .disk import told_if_full
from .folder.progress import watched

_ROOT = "zarr.json"
_WRITERS = (".partial", "/lock", ".owner")  # files that writers keep while they write
_AT_A_TIME = 4  # files that are held in memory, each of a block

States = Mapping[str, tuple[int, str]]


def copy_store(
    source: str,
    destination: str,
    *,
    remote: Mapping[str, Any] | None = None,
    monitor: Monitor = NO_MONITOR,
) -> str:
    """Copy a store to `s3://…`, or one of a server into a folder.

    A copy that was interrupted is taken up again, and is no store before it is whole: the file
    that makes it one is written last.

    Parameters
    ----------
    source
        Store: a folder, or an address.
    destination
        Address, or folder, of the copy; what else is there is neither replaced nor removed.
    remote
        How the server is reached, as of `open_stack`.
    monitor
        Is told of the progress: of files to a server, of blocks from one.

    Raises
    ------
    RecipeError
        If it does not lead to a server or from one, or to one that does not speak S3.
    StackReadError
        If there is no finished store, something else is at the destination, or the server does
        not answer.
    """
    if is_address(source) == is_address(destination):
        msg = f"copy leads to a server or from one; got {source} and {destination}"
        raise RecipeError(msg)
    if is_address(source):
        with told_if_full(Path(destination).absolute().parent):
            stack = open_stack(source, remote=remote)
            return str(save_watched(stack, destination, monitor))
    end = read_place(destination, remote)
    if not isinstance(end, RemotePath) or not end.address.startswith("s3://"):
        msg = f"{destination} is only read; a copy is written to s3://bucket/…"
        raise RecipeError(msg)
    _put(local_path(source), end, monitor)
    return str(end)


def _put(source: Path, end: RemotePath, monitor: Monitor) -> None:
    """Write each file of a store as an object, unless it is there; that of the root at last."""
    if not is_store(source):
        msg = f"{source} is no store of a stack"
        raise StackReadError(msg)
    check_store(source)
    root = (source / _ROOT).read_bytes()
    names = sorted(_files(source), key=lambda name: (name == _ROOT, name))
    there = object_states(end, None)
    _check_free(end, names, there, root)
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        first = names[:-1]
        places = [end / name for name in first]
        copied = pool.map(_put_file, map(source.joinpath, first), places, map(there.get, first))
        for _ in watched(copied, len(first), "files", monitor):
            pass
    if (source / _ROOT).read_bytes() != root:
        msg = f"{source} has changed while it was copied; copy it again"
        raise StackReadError(msg)
    put_object(end / _ROOT, root)


def _put_file(file: Path, place: RemotePath, there: tuple[int, str] | None) -> None:
    """Write a file as an object, unless that holds the same."""
    content = file.read_bytes()
    tag = hashlib.md5(content, usedforsecurity=False).hexdigest()  # which servers of S3 keep
    if there != (len(content), f'"{tag}"'):
        put_object(place, content)


def _files(folder: Path) -> list[str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    names = (file.relative_to(folder).as_posix() for file in files)
    return [name for name in names if not name.endswith(_WRITERS)]


def _check_free(end: RemotePath, names: list[str], there: States, root: bytes) -> None:
    """Refuse a place that holds anything but a copy of the same store, whole or begun."""
    others = sorted(there.keys() - set(names))
    if not others and (_ROOT not in there or (end / _ROOT).read_bytes() == root):
        return
    held = others[0] if others else "another stack"
    msg = f"{end} holds something else ({held}); copy to another place, or remove it"
    raise StackReadError(msg)
