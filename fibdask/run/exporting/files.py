"""Files whose suffix tells their format, and which are there once they are whole."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

from ...blocks import locked
from ...conventions import FibdaskError, RecipeError, StackReadError


def write_whole(out: Path, write: Callable[[Path], None]) -> Path:
    """Write a file, or a folder, beside its place, and put it there once it is whole.

    Raises
    ------
    StackReadError
        If it cannot be written, another process writes it, or there is a folder, whose content
        would be lost, or a device.
    """
    if out.exists() and not out.is_file():
        found = (
            "there is a folder of this name; remove it first" if out.is_dir() else "it is no file"
        )
        msg = f"{out} cannot be written: {found}"
        raise StackReadError(msg)
    temporary = out.with_name(out.name + ".partial")
    with locked(out.with_name(f".{out.name}.lock"), what=out, passing=True):
        _remove(temporary)
        try:
            write(temporary)
            temporary.replace(out)
        except OSError as error:
            if isinstance(error, FibdaskError):
                raise
            msg = f"{out} cannot be written: {error.strerror or error}"
            raise StackReadError(msg) from error
        finally:
            _remove(temporary)
    return out


def _remove(temporary: Path) -> None:
    """Remove what an export has left that did not end."""
    with contextlib.suppress(OSError):
        shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()


def check_suffix(out: Path, suffixes: tuple[str, ...]) -> None:
    """Refuse a file whose name promises another format than it gets.

    Raises
    ------
    RecipeError
        Naming the formats.
    """
    suffix = promised(out)
    if suffix and suffix not in suffixes:
        msg = f"{out} cannot be written as {suffix}; the format is {' or '.join(suffixes)}"
        raise RecipeError(msg)


def promised(out: Path) -> str:
    """Return the suffix of a file, which tells its format: .ome.tif is one."""
    parts = [suffix.lower() for suffix in out.suffixes[-2:]]
    return "".join(parts) if parts[:1] == [".ome"] else "".join(parts[-1:])
