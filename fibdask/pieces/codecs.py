"""Stores of others are data: codecs that run code of a file are refused before it is read."""

import json
from collections.abc import Iterator
from typing import Any

from ..blocks import Place
from ..conventions import StackReadError

_RUNNING_CODECS = ("pickle", "dill", "cloudpickle")


def refuse_code(path: Place) -> None:
    """Refuse a store whose codecs run what they read, as those of Python objects do.

    Raises
    ------
    StackReadError
        Naming the array's metadata and the codec.
    """
    for name in (".zarray", "zarr.json"):
        for file in [path / name, *path.glob(f"*/{name}")]:
            for codec in _codecs(file):
                if codec.rsplit(".", 1)[-1] in _RUNNING_CODECS:
                    msg = f"{file} is not read: its codec {codec!r} may run code of the file"
                    raise StackReadError(msg)


def _codecs(file: Place) -> list[str]:
    """Return the names of all codecs in the metadata of an array, nested ones too."""
    try:
        found = json.loads(file.read_bytes())
    except StackReadError:  # of a server that does not answer
        raise
    except (OSError, ValueError, RecursionError):  # said by whoever reads it next
        return []
    return list(_names(found))


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (value[key] for key in ("id", "name") if isinstance(value.get(key), str))
        for key, part in value.items():
            if key != "attributes":
                yield from _names(part)
    elif isinstance(value, list):
        for part in value:
            yield from _names(part)
