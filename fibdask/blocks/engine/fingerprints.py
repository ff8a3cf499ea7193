"""Fingerprints: short hashes of everything that determines values."""

from typing import Any

from dask.tokenize import TokenizationError, tokenize

from ...conventions import VERSION, ConventionError


def fingerprint(*parts: Any) -> str:
    """Return a short hash of values, equal in every process, that changes with the version.

    Raises
    ------
    ConventionError
        If a value has no hash that is the same in every process: nothing made of it would resume.
    """
    try:
        return str(tokenize(VERSION, *parts, ensure_deterministic=True))[:20]
    except TokenizationError as error:
        msg = f"no fingerprint that holds in other processes: {error}"
        raise ConventionError(msg) from error
