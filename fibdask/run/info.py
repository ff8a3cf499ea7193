"""Describe stacks, runs and statistics in words and records."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..blocks import format_bytes
from ..conventions import VOLUMES, axis_spacing, is_regular
from ..io import open_stack


def describe_stack(path: str | Path) -> dict[str, Any]:
    """Return what a stored stack holds."""
    stack = open_stack(path)
    thickness = stack["slice_thickness"].values
    return {
        "path": str(path),
        "sizes": {str(dim): int(n) for dim, n in stack.sizes.items()},
        "variables": {
            name: {
                "dims": [str(dim) for dim in stack[name].dims],
                "dtype": str(stack[name].dtype),
                "bytes": int(stack[name].nbytes),
                "block": [max(c) for c in stack[name].data.chunks],
            }
            for name in VOLUMES
            if name in stack
        },
        "voltage_kv": [float(v) for v in stack["voltage"].values] if "voltage" in stack else [],
        "pixel_size_nm": [axis_spacing(stack, "y"), axis_spacing(stack, "x")],
        "z_regular": is_regular(stack),
        "slice_thickness_nm": {
            "mean": float(np.mean(thickness)),
            "std": float(np.std(thickness)),
            "min": float(np.min(thickness)),
            "max": float(np.max(thickness)),
        },
        "measured_planes": int(stack["measured"].sum()) if "measured" in stack else None,
        "provenance": list(stack.attrs.get("provenance", [])),
    }


def format_description(record: Mapping[str, Any]) -> str:
    """Format the description of a stack for people."""
    thickness = record["slice_thickness_nm"]
    y, x = record["pixel_size_nm"]
    lines = [
        f"{record['path']}",
        "  size: " + " × ".join(f"{n} {dim}" for dim, n in record["sizes"].items()),
        f"  pixel: {y:g} × {x:g} nm",
        f"  slices: {thickness['mean']:.4g} ± {thickness['std']:.3g} nm "
        f"({thickness['min']:.4g} to {thickness['max']:.4g}), "
        + ("evenly spaced" if record["z_regular"] else "unevenly spaced"),
    ]
    if record["voltage_kv"]:
        lines.append("  voltage: " + ", ".join(f"{v:g} kV" for v in record["voltage_kv"]))
    if record["measured_planes"] is not None:
        lines.append(f"  measured planes: {record['measured_planes']} of {record['sizes']['z']}")
    for name, variable in record["variables"].items():
        block = " × ".join(str(n) for n in variable["block"])
        size = format_bytes(variable["bytes"])
        lines.append(f"  {name}: {variable['dtype']}, {size}, in blocks of {block}")
    lines += [f"  step: {step}" for step in record["provenance"]]
    return "\n".join(lines)


def format_status(summary: Mapping[str, Any]) -> str:
    """Format the summary of a run for people."""
    header = ("stage", "blocks", "run", "skipped", "failed", "seconds", "forecast", "peak")
    rows = [
        (
            stage["name"],
            stage["blocks"],
            stage["blocks_run"],
            stage["blocks_skipped"],
            stage["blocks_failed"],
            f"{stage['seconds']:.1f}",
            format_bytes(stage["forecast_bytes"]),
            format_bytes(stage["peak_bytes"]),
        )
        for stage in summary["stages"]
    ]
    lines = [f"{summary['title']}: {summary['state']} ({summary['created']})", *table(header, rows)]
    for stage in summary["stages"]:
        for failure in stage["failures"]:
            place = f"{stage['name']} block {tuple(failure['block'])} ({failure['place']})"
            lines.append(f"failed: {place}: {failure['cause']}")
    return "\n".join(lines)


def table(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[str]:
    """Align rows under a header."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]


def statistics_record(results: xr.Dataset) -> dict[str, Any]:
    """Return statistics as plain numbers."""
    return {
        str(name): {"dims": [str(d) for d in array.dims], "values": _plain(array.values)}
        for name, array in results.variables.items()
    }


def _plain(values: np.ndarray) -> Any:
    plain = values.astype(object)
    if values.dtype.kind == "f":
        plain[~np.isfinite(values)] = None  # JSON knows no NaN
    return plain.tolist()


def format_statistics(results: xr.Dataset) -> str:
    """Format the numbers of a statistics dataset for people."""
    lines = [f"solid fraction: {float(results['solid_fraction']):.4f}"]
    diameters = results["ligament_diameter"]
    lines += [
        f"mean ligament diameter along {axis}: {float(diameters.sel(axis=axis)):.2f} nm"
        for axis in diameters["axis"].values
    ]
    errors = results["isotropy_error"]
    lines += [
        f"isotropy error of {str(name).replace('_', ' ')}: {float(errors.sel(statistic=name)):.4f}"
        for name in errors["statistic"].values
    ]
    return "\n".join(lines)
