"""Paths of stores as users give them: what is none is told before anything is read or made."""

import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from ..blocks import Access, Place, is_address, remote_path
from ..conventions import ConventionError, StackReadError


def read_place(path: str | Path, remote: Mapping[str, Any] | None = None) -> Place:
    """Return where a store lies that is to be read.

    Parameters
    ----------
    remote
        How the server of an address is reached: `endpoint`, `region`, `anonymous`, `plain_http`.

    Raises
    ------
    ConventionError
        If it is neither a path nor an address that can be read, or `remote` does not fit it.
    StackReadError
        If the machine refuses it.
    """
    if isinstance(path, str) and is_address(path):
        return remote_path(path, Access.of(remote or {}))
    if remote:
        msg = f"remote is of addresses, s3://… or https://…; got the path {str(path)!r}"
        raise ConventionError(msg)
    return local_path(path)


def local_path(path: str | Path) -> Path:
    """Return a path that a user gave.

    Raises
    ------
    ConventionError
        If it is no path on this machine.
    StackReadError
        If the machine refuses it.
    """
    if not isinstance(path, str | os.PathLike) or not str(path):
        msg = f"path must be that of a folder, such as 'gold.zarr'; got {path!r}"
        raise ConventionError(msg)
    if "://" in str(path):
        msg = (
            f"path must be that of a folder on this machine, not an address; got {path!r}: what is "
            "finished is put on a server by fibdask copy"
        )
        raise ConventionError(msg)
    try:
        local = Path(path).expanduser()
        local.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return local
    except (OSError, RuntimeError, ValueError) as error:
        msg = f"{str(path)[:80]!r} is no path of a folder: {getattr(error, 'strerror', error)}"
        raise StackReadError(msg) from None
    return local


def new_path(path: str | Path) -> Path:
    """Return the path of a store that a user wants to be made.

    Raises
    ------
    ConventionError
        If it has no name of its own.
    """
    wanted = local_path(path)
    if wanted.name in ("", ".."):
        msg = f"path must end in the name of the store, such as 'gold.zarr'; got {str(path)!r}"
        raise ConventionError(msg)
    return wanted


def make_parent(path: Path) -> None:
    """Make the folder in which a store is to lie.

    Raises
    ------
    StackReadError
        If that cannot be, or nothing can be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        files = [parent for parent in path.parents if parent.exists() and not parent.is_dir()]
        cause = f"{files[0]} is not a folder" if files else error.strerror
        msg = f"{path} cannot be made: {cause}"
        raise StackReadError(msg) from error
