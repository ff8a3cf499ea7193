"""Statistics as tables, measured or as a run has stored them."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from ...conventions import StackReadError
from ..folder.measuring import measure_phase
from ..folder.results import reopen
from ..folder.run_folder import SUMMARY, RunFolder
from ..folder.summary import phase_warnings_of
from ..walk import certainty_of, phase_of
from .files import check_suffix, promised, write_whole
from .stored import find_phase

TABLES = (".csv", ".parquet")
_NUMBERS = ("lag", "distance", "z", "value")  # columns of tables

DEFAULT_LAG = 128
"""Voxels up to which statistics of a stack are measured, where nothing else is said."""


def measure_stack(path: str | Path, *, max_lag: int, **options: Any) -> xr.Dataset:
    """Compute the statistics of a stored phase; options as of `measure_phase`."""
    stack = find_phase(path)
    sure = certainty_of([stack])
    results = measure_phase(phase_of(stack), beside=sure, max_lag=max_lag, **options)
    if (Path(path) / SUMMARY).is_file():
        told = phase_warnings_of(RunFolder(Path(path)).read())
        results.attrs["warnings"] = [*results.attrs["warnings"], *told]
    return results


def counts_beside(out: Path) -> Path:
    """Return the folder in which counts are kept until they can be written to a table.

    Raises
    ------
    RecipeError
        If the name of the table is that of another format.
    StackReadError
        If there is no folder for it, or no pyarrow for Parquet: better now than after counting.
    """
    check_suffix(out, TABLES)
    _check_package(out)
    if not out.absolute().parent.is_dir():
        msg = f"{out} cannot be written: there is no folder {out.parent}"
        raise StackReadError(msg)
    return out.with_name(f".{out.name}.counts")


def stored_statistics(path: str | Path, *, max_lag: int | None, **options: Any) -> xr.Dataset:
    """Return the statistics that a run has stored, or compute those of a stack.

    Parameters
    ----------
    max_lag
        In voxels. If another than that of the run, they are computed anew; by default that of
        the run, and 128 for a stack.
    options
        As of `measure_phase`.
    """
    if (Path(path) / SUMMARY).is_file():
        results = reopen(RunFolder(Path(path)))[1]
        if results is not None and max_lag in (None, int(results["lag"].max())):
            return results
    lag = DEFAULT_LAG if max_lag is None else max_lag
    return measure_stack(path, max_lag=lag, **options)


def write_statistics(results: xr.Dataset, out: Path) -> Path:
    """Write statistics as one long table, CSV or, where pyarrow is there, Parquet.

    Its columns are quantity, bound, axis, statistic, lag in voxels, distance and z with their
    `length_unit`, and value with its `unit`; empty where a quantity has none. Rows of confidence
    intervals name their bound, lower or upper.

    Raises
    ------
    RecipeError
        If the name is that of another format.
    StackReadError
        If the file cannot be written, or pyarrow is not there.
    """
    check_suffix(out, TABLES)
    _check_package(out)
    # By name: a store lists what it holds in any order.
    names = sorted(map(str, results.data_vars))
    frames = [_rows(name, results[name]) for name in names]
    columns = ["quantity", "bound", "axis", "statistic", "lag", "distance", "z"]
    columns += ["length_unit", "value", "unit"]
    table = pd.concat([frame.reindex(columns=columns).astype(object) for frame in frames])
    if promised(out) == ".parquet":
        # text, and numbers: Parquet has one type for a column
        table = table.astype(dict.fromkeys(_NUMBERS, "float64"))
        return write_whole(out, lambda temporary: table.to_parquet(temporary, index=False))
    return write_whole(out, lambda temporary: table.to_csv(temporary, index=False))


def _check_package(out: Path) -> None:
    """Refuse to write Parquet where the package is absent that does."""
    if promised(out) == ".parquet" and find_spec("pyarrow") is None:
        msg = f"{out} needs the package pyarrow: pip install pyarrow, or write .csv"
        raise StackReadError(msg)


def _rows(name: str, array: xr.DataArray) -> pd.DataFrame:
    """Return a row for each value of a quantity."""
    if array.dims:
        frame = array.rename("value").to_dataframe().reset_index()
    else:
        frame = pd.DataFrame({"value": [float(array)]})
    keys = ("distance", "z", "depth")
    lengths = [array.coords[key].attrs.get("units") for key in keys if key in frame]
    frame = frame.rename(columns={"depth": "z"})
    frame.insert(0, "quantity", name)
    return frame.assign(
        length_unit=next(iter(lengths), None),
        unit=array.attrs.get("units"),
    )
