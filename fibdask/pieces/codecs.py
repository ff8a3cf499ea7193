"""Stores of others are data: codecs that run code of a file are refused before it is read."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from ..blocks import Place, RemotePath
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
        below: Iterable[Place] = [] if _is_array(path) else path.glob(f"*/{name}")
        for file in [path / name, *below]:
            for codec in _codecs(file):
                if codec.rsplit(".", 1)[-1] in _RUNNING_CODECS:
                    msg = f"{file} is not read: its codec {codec!r} may run code of the file"
                    raise StackReadError(msg)


def _is_array(path: Place) -> bool:
    """Tell whether a place on a server is an array, whose many chunks are no metadata."""
    if not isinstance(path, RemotePath):
        return False
    try:
        told = json.loads((path / "zarr.json").read_bytes())
    except FileNotFoundError:
        return (path / ".zarray").is_file()
    except (ValueError, RecursionError):  # said by whoever reads it next
        return False
    return isinstance(told, dict) and told.get("node_type") == "array"


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
