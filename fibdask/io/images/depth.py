"""The depth of every slice, from what was given or from what the files say."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...conventions import (
    THICKEST,
    THINNEST,
    ConventionError,
    FibdaskWarning,
    StackReadError,
    check_thickness,
    check_z,
    other_unit,
)
from ...pieces.image_header import missing_numbers
from .headers import Header, agree
from .tables import ZTable, check_steps, read_z_table

ZArgument = str | Path | Sequence[float] | np.ndarray | None
ThicknessArgument = float | Sequence[float] | np.ndarray | None


@dataclass(frozen=True)
class Depths:
    """Where the slices lie.

    Attributes
    ----------
    z
        Depth of each face in nm (z).
    nominal
        Thickness of the last slice in nm.
    origin
        Where they were taken from.
    """

    z: np.ndarray
    nominal: float
    origin: str


@dataclass(frozen=True)
class Slices:
    """What the files tell of the slices.

    Attributes
    ----------
    count, numbers, depths
        How many, their numbers, and their depths in nm.
    told
        Where these stand.
    reordered
        Where a list of the files had another order; empty if it had this one.
    """

    count: int
    numbers: tuple[int, ...] | None
    depths: tuple[float, ...] | None
    told: str = "the file names"
    reordered: str = ""

    @property
    def offsets(self) -> np.ndarray:
        """Distance of each slice from the first one, in numbers."""
        if self.numbers is None:
            return np.arange(self.count)
        return np.asarray(self.numbers) - self.numbers[0]


def find_depths(
    slices: Slices, header: Header, *, z: ZArgument, slice_thickness: ThicknessArgument
) -> Depths:
    """Find the depth of every slice; arguments win over names, names over headers.

    Depths of slices win over a thickness that all have.

    Raises
    ------
    ConventionError
        If the arguments do not fit the slices, or nothing tells the depth.
    StackReadError
        If a table cannot be read or does not fit.

    Warns
    -----
    FibdaskWarning
        If the thicknesses speak for a wrong unit, or the header for others than were given.
    """
    if z is not None and slice_thickness is not None:
        msg = "give either z or slice_thickness, not both"
        raise ConventionError(msg)
    if isinstance(z, str | Path):
        return _from_table(slices, header, read_z_table(Path(z)))
    if z is not None:
        return _from_z(slices, header, z)
    if slice_thickness is not None:
        return _from_thickness(slices, header, slice_thickness)
    if slices.depths is not None:
        return _from_slices(header, np.asarray(slices.depths), f"z in {slices.told}")
    return _from_header(slices, header)


def _refuse_reordered(slices: Slices, name: str) -> None:
    """Refuse a value for each slice where it is not clear in which order they are."""
    if slices.reordered:
        msg = (
            f"{name} has a value for each slice, and {slices.reordered}, which decide: give the "
            "folder or a pattern, or list the files in the order of these numbers"
        )
        raise ConventionError(msg)


def told_against(slices: Slices, taken: Depths) -> Iterator[str]:
    """Say where the depths that slices tell span something else than those that are taken."""
    if slices.depths is None:
        return
    told, span = (float(depths[-1] - depths[0]) for depths in (slices.depths, taken.z))
    if not agree(told, span):
        yield (
            f"the depths in {slices.told} span {told:g} nm, {taken.origin} spans {span:g} nm and "
            "is taken"
        )


def _nominal(z: np.ndarray, header: Header) -> float:
    """Return the thickness of the last slice: the nominal one, or that of the slice before."""
    if header.slice_thickness_nm is not None:
        return header.slice_thickness_nm
    if len(z) > 1:
        return float(z[-1] - z[-2])
    msg = "slice_thickness is needed for a stack of one slice; give it in place of z"
    raise ConventionError(msg)


def _floats(name: str, values: Any) -> np.ndarray:
    if (units := getattr(values, "attrs", {}).get("units", "nm")) != "nm":
        msg = f"{name} must be in nm; its attribute units is {units!r}"
        raise ConventionError(msg)
    given = np.asarray(values, object)
    if any(isinstance(value, bool | np.bool_ | str) for value in given.flat):
        msg = f"{name} must be numbers of nm; got {values!r}"
        raise ConventionError(msg)
    try:
        return given.astype(np.float64)
    except (TypeError, ValueError):
        msg = f"{name} must be numbers of nm; got {values!r}"
        raise ConventionError(msg) from None


def _warn_of_given(name: str, thickness: np.ndarray, header: Header) -> None:
    """Warn of given thicknesses in nm (z) that are not milled, or not those of the header.

    Where they vary, they were measured: only those of another unit contradict a nominal one.
    """
    if not thickness.size:
        return
    median = float(np.median(thickness))
    _warn_of_unit(name, median, f"is {name} in nm?")
    told = header.slice_thickness_nm
    if told is None:
        return
    even = all(agree(median, extreme) for extreme in (thickness.min(), thickness.max()))
    if not agree(median, told) if even else other_unit(median, told):
        text = (
            f"{name} gives slices of {median:g} nm (median), "
            f"{header.origins['slice_thickness_nm']} says {told:g} nm; {name} is taken"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=5)


def _warn_of_unit(name: str, median: float, question: str) -> None:
    """Warn of a thickness in nm that is not milled."""
    if not THINNEST <= median <= THICKEST:
        text = f"{name} gives slices of {median:g} nm (median), which are not milled; {question}"
        warnings.warn(text, FibdaskWarning, stacklevel=6)


def _from_slices(header: Header, depths: np.ndarray, name: str) -> Depths:
    _warn_of_given(name, np.diff(depths), header)
    return Depths(depths, _nominal(depths, header), name)


def _from_header(slices: Slices, header: Header) -> Depths:
    step = header.slice_thickness_nm
    if step is None:
        names = ("slice_thickness_nm", "depth_nm")
        reasons = [found.text for found in header.conflicts if found.name in names]
        why = "; ".join(["the files do not tell it", *reasons])
        msg = f"slice_thickness is needed: {why}; give slice_thickness or z in nm"
        raise ConventionError(msg)
    origin = header.origins["slice_thickness_nm"]
    _warn_of_unit(origin, step, "is its unit right?")
    return Depths(slices.offsets * step, step, origin)


def _from_z(slices: Slices, header: Header, z: Any) -> Depths:
    _refuse_reordered(slices, "z")
    depths = _floats("z", z)
    if depths.shape != (slices.count,):
        msg = f"z must have one value for each of {slices.count} slices; got shape {depths.shape}"
        raise ConventionError(msg)
    check_z(depths)
    _warn_of_given("z", np.diff(depths), header)
    return Depths(depths, _nominal(depths, header), "argument z")


def _from_thickness(slices: Slices, header: Header, slice_thickness: Any) -> Depths:
    """Add up thicknesses; a missing slice has a thickness too."""
    thickness = _floats("slice_thickness", slice_thickness)
    span = int(slices.offsets[-1]) + 1
    if thickness.ndim == 0:
        check_thickness(thickness[np.newaxis])
        _warn_of_given("slice_thickness", np.atleast_1d(thickness), header)
        step = float(thickness)
        return Depths(slices.offsets * step, step, "argument slice_thickness")
    if np.ptp(thickness):
        _refuse_reordered(slices, "slice_thickness")
    if thickness.shape != (span,):
        missing = missing_numbers(slices.numbers or ())
        gaps = f", of which {missing} are missing" if missing else ""
        msg = (
            f"slice_thickness must be one number, or one for each of {span} slices{gaps}; "
            f"got shape {thickness.shape}"
        )
        raise ConventionError(msg)
    check_thickness(thickness)
    _warn_of_given("slice_thickness", np.atleast_1d(thickness), header)
    faces = np.append(0.0, np.cumsum(thickness[:-1]))
    return Depths(faces[slices.offsets], float(thickness[-1]), "argument slice_thickness")


def _from_table(slices: Slices, header: Header, table: ZTable) -> Depths:
    rows = _match(slices, table)
    if not table.is_depth and table.slices is not None and missing_numbers(table.slices):
        msg = (
            f"the thickness table {table.path} skips the slices {missing_numbers(table.slices)}; "
            "the depth below them needs their thickness"
        )
        raise StackReadError(msg)
    check_steps(table, header.slice_thickness_nm)
    origin = f"column {table.column} of {table.path.name}"
    if table.is_depth:
        depths = table.values[rows]
        return Depths(depths, _nominal(depths, header), origin)
    faces = np.append(0.0, np.cumsum(table.values[:-1]))
    return Depths(faces[rows], float(table.values[rows[-1]]), origin)


def _match(slices: Slices, table: ZTable) -> np.ndarray:
    """Return the row of the table for each slice; every row must belong to the stack."""
    if table.slices is None or slices.numbers is None:
        _refuse_reordered(slices, f"the z table {table.path}")
        in_order = table.slices is None or not missing_numbers(table.slices)
        missing = missing_numbers(slices.numbers or ())
        if missing and not table.is_depth:
            msg = (
                f"the thickness table {table.path} needs a column slice, for the slices {missing} "
                "are missing: the depth below them needs their thickness"
            )
            raise StackReadError(msg)
        if len(table.values) != slices.count or not in_order:
            msg = (
                f"the z table {table.path} must have one row for each of {slices.count} slices; "
                f"it has {len(table.values)} rows"
            )
            raise StackReadError(msg)
        return np.arange(slices.count)
    row_of = {number: row for row, number in enumerate(table.slices)}
    first, last = slices.numbers[0], slices.numbers[-1]
    lacking = [number for number in slices.numbers if number not in row_of]
    beyond = [number for number in table.slices if not first <= number <= last]
    if lacking or beyond:
        fault = f"no row for slice {lacking[0]}" if lacking else f"a row for slice {beyond[0]}"
        msg = (
            f"the z table {table.path} must have one row for each of {slices.count} slices, "
            f"numbered {first} to {last}; it has {len(table.values)} rows, and {fault}"
        )
        raise StackReadError(msg)
    return np.array([row_of[number] for number in slices.numbers])
