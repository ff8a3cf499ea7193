"""Fingerprints: short hashes of everything that determines values.

The version of fibdask is not among it, or each release would make all results anew: block
functions have a `revision` instead, which is raised with every change of what they compute.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import MethodType
from typing import Any

from dask.tokenize import TokenizationError, tokenize

from ...conventions import ConventionError

_PLAIN = (str, bytes, int, float, complex, type(None), slice)


def fingerprint(*parts: Any) -> str:
    """Return a short hash of values and of the revisions of the functions among them.

    It is equal in every process, and stays when a function moves within its package.

    Raises
    ------
    ConventionError
        If a value has no hash that is the same in every process: nothing made of it would resume.
    """
    try:
        return str(tokenize(_described(parts), ensure_deterministic=True))[:20]
    except TokenizationError as error:
        msg = f"no fingerprint that holds in other processes: {error}"
        raise ConventionError(msg) from error


def _described(value: Any) -> Any:
    """Return what determines a value: of our objects name, revision and fields, however deep."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, list | tuple):
        return _name(type(value)), [_described(part) for part in value]
    if isinstance(value, Mapping):
        return _name(type(value)), [(_described(k), _described(v)) for k, v in value.items()]
    if isinstance(value, partial):
        return "partial", _described([value.func, value.args, value.keywords])
    if isinstance(value, MethodType):
        return value.__name__, _described(value.__self__)
    revision = getattr(value, "revision", 1)
    if isinstance(own := getattr(value, "fingerprint", None), str):  # such as of weights
        return _name(type(value)), revision, own
    if is_dataclass(value) and not isinstance(value, type):
        parts = [(field.name, _described(getattr(value, field.name))) for field in fields(value)]
        return _name(type(value)), revision, parts
    if callable(value) and "<" not in getattr(value, "__qualname__", "<"):  # nor lambda, nor local
        return _name(value), revision
    return value


def _name(named: Any) -> str:
    """Return the name of a class or function; of our own, in whatever module of its package."""
    module, name = str(named.__module__), str(named.__qualname__)
    package = ".".join(module.split(".")[:2]) if module.startswith("fibdask.") else module
    return f"{package}.{name}"
