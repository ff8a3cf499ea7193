"""Provenance: one readable record for each step that made a stack."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr

VERSION = version("fibdask")


def record_step(
    stack: xr.Dataset, name: str, parameters: Mapping[str, Any], fingerprint: str = ""
) -> xr.Dataset:
    """Append one provenance record (JSON) to the attributes of a stack."""
    record = {
        "step": name,
        "parameters": dict(parameters),
        "version": VERSION,
        "input_fingerprint": fingerprint,
    }
    text = json.dumps(record, default=plain_value)
    return stack.assign_attrs(provenance=[*stack.attrs.get("provenance", []), text])


def recorded_steps(stack: xr.Dataset) -> list[dict[str, Any]]:
    """Return the provenance records of the steps that made a stack."""
    records = stack.attrs.get("provenance", [])
    return [json.loads(r) for r in ([records] if isinstance(records, str) else records)]


def plain_value(value: Any) -> Any:
    """Turn a value into what JSON knows."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return str(value)
