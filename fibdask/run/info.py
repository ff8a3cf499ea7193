"""Describe stacks, runs and statistics in words and records."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..blocks import format_bytes
from ..conventions import (
    array_names,
    axis_spacing,
    is_layered,
    is_regular,
    recorded_steps,
    volume_names,
)
from ..io import open_stack
from ..report.words import uniform, with_error
from ..statistics import statistics_warnings
from ..statistics.lines.distances import compared_distance
from .folder.ownership import earlier_run
from .folder.results import done_stores
from .folder.run_folder import RunFolder
from .info_models import format_result
from .shown import one_line, table
from .stages import stack_stores

_LONGEST_LIST = 4  # that is printed whole


def describe_stack(path: str | Path) -> dict[str, Any]:
    """Return what a stored stack, or layered sample, holds."""
    stack = open_stack(path)
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
            for name in (array_names(stack) if is_layered(stack) else volume_names(stack))
        },
        "voltage_kv": [float(v) for v in stack["voltage"].values] if "voltage" in stack else [],
        "pixel_size_nm": [axis_spacing(stack, "y"), axis_spacing(stack, "x")],
        **(_of_layers(stack) if is_layered(stack) else _of_slices(stack)),
        "provenance": recorded_steps(stack),
    }


def _of_slices(stack: xr.Dataset) -> dict[str, Any]:
    thickness = stack["slice_thickness"].values
    thickness = thickness[: max(len(thickness) - 1, 1)]  # nothing ends the last slice
    return {
        "z_regular": is_regular(stack),
        "slice_thickness_nm": {
            "mean": float(np.mean(thickness)),
            "std": 0.0 if uniform(thickness) else float(np.std(thickness)),
            "min": float(np.min(thickness)),
            "max": float(np.max(thickness)),
        },
        "measured_planes": int(stack["measured"].sum()) if "measured" in stack else None,
    }


def _of_layers(sample: xr.Dataset) -> dict[str, Any]:
    held = {name: sample[name].values.tolist() for name in ("energy", "layer") if name in sample}
    return {"energy_kev": held.get("energy", []), "layers": held.get("layer", [])}


def format_description(record: Mapping[str, Any]) -> str:
    """Format the description of a stack for people."""
    y, x = record["pixel_size_nm"]
    lines = [
        f"{record['path']}",
        "  size: " + " × ".join(f"{n} {dim}" for dim, n in record["sizes"].items()),
        f"  pixel: {y:g} × {x:g} nm",
        *(_told_slices(record) if "slice_thickness_nm" in record else _told_layers(record)),
    ]
    for name, variable in record["variables"].items():
        block = " × ".join(str(n) for n in variable["block"])
        size = format_bytes(variable["bytes"])
        lines.append(f"  {name}: {variable['dtype']}, {size}, in blocks of {block}")
    for step in record["provenance"]:
        made_by = "model_card" in step["parameters"]
        hidden = ("model_card", "model_fingerprint", "model") if made_by else ()
        given = {
            key: value
            for key, value in step["parameters"].items()
            if value is not None and key not in hidden
        }
        parameters = ", ".join(f"{key} = {_short_value(value)}" for key, value in given.items())
        lines.append(f"  step: {step['step']}: {parameters}")
        if made_by:
            lines.append(f"    {format_result(step['parameters'])}")
    return "\n".join(map(one_line, lines))


def _told_slices(record: Mapping[str, Any]) -> list[str]:
    thickness = record["slice_thickness_nm"]
    spread = (
        f" ± {thickness['std']:.3g} nm ({thickness['min']:.4g} to {thickness['max']:.4g})"
        if thickness["std"]
        else " nm"
    )
    even = "evenly spaced" if record["z_regular"] else "unevenly spaced"
    lines = [f"  slices: {thickness['mean']:.4g}{spread}, {even}"]
    if record["voltage_kv"]:
        lines.append("  voltage: " + ", ".join(f"{v:g} kV" for v in record["voltage_kv"]))
    if record["measured_planes"] is not None:
        lines.append(f"  measured planes: {record['measured_planes']} of {record['sizes']['z']}")
    return lines


def _told_layers(record: Mapping[str, Any]) -> list[str]:
    lines = []
    if energies := record["energy_kev"]:
        ends = f"{energies[0]:g} to {energies[-1]:g} keV"
        lines.append(f"  energies: {len(energies)}, from {ends}")
    if record["layers"]:
        lines.append(f"  layers from the surface down: {', '.join(record['layers'])}")
    return lines


def _short_value(value: Any) -> str:
    return value if isinstance(value, str) else _brief(value)


def _brief(value: Any) -> str:
    """Return a value as Python writes it; of a long list the first, the last and the number."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_brief(part)}' for key, part in value.items())}}}"
    if isinstance(value, list) and len(value) > _LONGEST_LIST:
        return f"[{_brief(value[0])}, …, {_brief(value[-1])}] ({len(value)})"
    if isinstance(value, list):
        return f"[{', '.join(map(_brief, value))}]"
    return repr(value)


def describe_run(path: str | Path) -> dict[str, Any]:
    """Return what the folder of a run holds: of each store its state, and of stacks their sizes."""
    folder = RunFolder(Path(path))
    summary, earlier = folder.read(), earlier_run(folder)
    stores = {name: {"state": state} for name, state in summary["stores"].items()}
    for name in set(done_stores(summary)) & set(stack_stores()):
        stack = describe_stack(folder.store(name))
        stores[name] |= {key: stack[key] for key in ("path", "sizes", "variables")}
    others = [name for name in (earlier.stores if earlier else ()) if name not in stores]
    seen = ("title", "state", "error", "created", "host", "process", "silent_seconds")
    return {
        "path": str(path),
        **{key: summary[key] for key in (*seen, "version", "recipe")},
        "stores": stores,
        "stores_of_earlier_runs": others,
    }


def format_run(record: Mapping[str, Any]) -> str:
    """Format the description of a run for people."""
    lines = [f"{record['path']}", f"  run: {headline(record)}"]
    for name, store in record["stores"].items():
        sizes = " × ".join(f"{n} {dim}" for dim, n in store.get("sizes", {}).items())
        held = f": {', '.join(store['variables'])}; {sizes}" if sizes else ""
        state = "" if store["state"] == "done" else f" ({store['state']})"
        lines.append(f"  store {name}{state}{held}")
    if record["stores_of_earlier_runs"]:
        lines.append(f"  of earlier runs: {', '.join(record['stores_of_earlier_runs'])}")
    return "\n".join(map(one_line, [*lines, "", *record["recipe"].splitlines()]))


def headline(summary: Mapping[str, Any]) -> str:
    """Return title, state and time of a run, and what ended it or whether it seems dead."""
    told = f"{one_line(summary['title'])}: {summary['state']} ({summary['created']})"
    if summary["error"]:
        told += f"; {summary['error']}"
    if summary["silent_seconds"] is not None:
        told += (
            f"; it seems dead: no sign of life for {summary['silent_seconds']} s of process "
            f"{summary['process']} on {summary['host']}"
        )
    return one_line(told)


def statistics_record(results: xr.Dataset) -> dict[str, Any]:
    """Return statistics as plain numbers, with `warnings`, what must be known beside them."""
    return imaging_record(results) | {"warnings": statistics_warnings(results)}


def imaging_record(found: xr.Dataset) -> dict[str, Any]:
    """Return what was measured as plain numbers."""
    return {
        str(name): {"dims": [str(d) for d in array.dims], "values": _plain(array.values)}
        for name, array in found.variables.items()
    }


def format_imaging(found: xr.Dataset) -> str:
    """Format what `measure_imaging` returns for people: a row for each quantity of voltages."""
    names = [str(name) for name in found.data_vars if found[name].dims == ("voltage",)]
    header = ("", *(f"{v:g} kV" for v in found["voltage"].values))
    rows = []
    for name in names:
        if name.endswith("_error"):
            continue
        pairs = zip(found[name].values, found[f"{name}_error"].values, strict=True)
        units = found[name].attrs.get("units", "grey values").replace("1", "")
        told = f"{found[name].attrs['long_name']}{f' ({units})' if units else ''}"
        rows.append((told, *(_with_error(value, error) for value, error in pairs)))
    slices = int(np.isfinite(found["gain"].values).all(axis=0).sum())
    told = f"of {slices} slices with contrast, of {found.sizes['z']}"
    return "\n".join([*table(header, rows), told])


def _with_error(value: float, error: float) -> str:
    return "too many to tell" if np.isinf(value) else f"{value:.4g} ± {error:.2g}"


def _plain(values: np.ndarray) -> Any:
    plain = values.astype(object)
    if values.dtype.kind == "f":
        plain[~np.isfinite(values)] = None  # JSON knows no NaN
    return plain.tolist()


def format_statistics(results: xr.Dataset) -> str:
    """Format the numbers of a statistics dataset for people, with their intervals if known."""
    lines = [f"solid fraction: {_number(results, 'solid_fraction', '.4f')}"]
    if "expected_solid_fraction" in results:
        most = float(results["calibration_error"]) if "calibration_error" in results else None
        expected = with_error(float(results["expected_solid_fraction"].mean()), most)
        lines.append(f"solid fraction by the sum of probabilities: {expected}")
    for axis in results["ligament_diameter"]["axis"].values:
        size = _number(results, "ligament_diameter", ".2f", " nm", axis=axis)
        lines.append(f"mean ligament diameter along {axis}: {size}")
    for name in results["isotropy_error"]["statistic"].values:
        error = _number(results, "isotropy_error", ".4f", statistic=name)
        if "isotropy_noise" in results:
            error += "; x against y " + _number(results, "isotropy_noise", ".4f", statistic=name)
        lines.append(f"isotropy error of {str(name).replace('_', ' ')}: {error}")
    if np.isfinite(distance := compared_distance(results)):
        lines.append(f"isotropy errors are of distances up to {distance:.4g} nm")
    lines += _surface_and_connectivity(results)
    if "solid_fraction_interval" in results:
        confidence = results["solid_fraction_interval"].attrs["confidence"]
        lines.append(f"in brackets: {100 * confidence:g} % confidence intervals")
    lines += [f"mind: {text}" for text in statistics_warnings(results)]
    return "\n".join(lines)


def _surface_and_connectivity(results: xr.Dataset) -> list[str]:
    lines = []
    if "specific_surface_area" in results:
        surface = _number(results, "specific_surface_area", ".4g", " / nm")
        lines.append(f"specific surface area: {surface}")
    if "connected_fraction" in results:
        connected = float(results["connected_fraction"])
        through = [str(a) for a in results["axis"].values if results["percolates"].sel(axis=a)]
        lines.append(f"largest connected piece: {100 * connected:.1f} % of the solid")
        lines.append(f"a piece joins both faces along: {', '.join(through) or 'no axis'}")
    return lines


def _number(results: xr.Dataset, name: str, style: str, unit: str = "", **place: Any) -> str:
    """Return a number with its unit and its interval, if there is one."""
    value = float(results[name].sel(place))
    if np.isnan(value):
        return "not known"
    text = f"{value:{style}}"
    if f"{name}_interval" in results:
        ends = results[f"{name}_interval"].sel(place)
        lower, upper = (float(ends.sel(bound=bound)) for bound in ("lower", "upper"))
        if np.isfinite(lower):
            text += f" [{lower:{style}}, " + (f"{upper:{style}}]" if np.isfinite(upper) else "∞)")
    return text + unit
