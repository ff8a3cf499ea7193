"""Provenance: one readable record for each step that made a stack."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr

VERSION = version("fibdask")
NO_INPUT = ""
"""Fingerprint of what is made of numbers alone."""


def record_step(
    stack: xr.Dataset, name: str, parameters: Mapping[str, Any], fingerprint: str
) -> xr.Dataset:
    """Append one provenance record (JSON) to the attributes of a stack.

    `fingerprint` is that of what the step was made of; `NO_INPUT` of what was made of nothing.
    """
    record = {
        "step": name,
        "parameters": dict(parameters),
        "version": VERSION,
        "input_fingerprint": fingerprint,
    }
    text = json.dumps(record, default=plain_value)
    return stack.assign_attrs(provenance=[*provenance_records(stack), text])


def provenance_records(stack: xr.Dataset) -> list[str]:
    """Return the provenance records (JSON) of a stack; netCDF keeps a single one as a text."""
    records = stack.attrs.get("provenance", [])
    return [records] if isinstance(records, str) else list(records)


def recorded_steps(stack: xr.Dataset) -> list[dict[str, Any]]:
    """Return the provenance records of the steps that made a stack."""
    return [json.loads(record) for record in provenance_records(stack)]


def plain_attributes(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes as JSON knows them: NaN and infinity, which it does not, by their names."""
    text = json.dumps(dict(attrs), default=plain_value)
    plain: dict[str, Any] = json.loads(text, parse_constant=str)
    return plain


def plain_value(value: Any) -> Any:
    """Turn a value into what JSON knows."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return str(value)
