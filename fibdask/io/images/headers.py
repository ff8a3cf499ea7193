"""What image files say about themselves: values in kV and nm, each with where it was found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from math import cos, isfinite, radians, sin
from typing import Any, NamedTuple

import numpy as np

CONFLICT_RTOL = 0.01  # headers round: 21.83 nm and 43.66 / 2 nm agree
_LEAST_TILT = 8.0  # degrees: shortens lengths by that much
_LARGEST_TILT = 90.0
_NANOMETRES = {
    "fm": 1e-6,
    "pm": 1e-3,
    "picometer": 1e-3,
    "å": 0.1,
    "angstrom": 0.1,
    "nm": 1.0,
    "nanometer": 1.0,
    "nanometre": 1.0,
    "um": 1e3,
    "micron": 1e3,
    "microns": 1e3,
    "micrometer": 1e3,
    "micrometre": 1e3,
    "mm": 1e6,
    "millimeter": 1e6,
    "cm": 1e7,
    "inch": 2.54e7,
    "m": 1e9,
    "meter": 1e9,
}


_LABELS = {
    "voltage_kv": "voltage (kV)",
    "pixel_size_nm": "pixel size (nm)",
    "slice_thickness_nm": "slice thickness (nm)",
}

Sourced = tuple[Any, str]
"""A value and where it was found."""


class Conflict(NamedTuple):
    """What does not fit: the value of the header it is about, and a sentence.

    `others` are values that may be the right ones instead; who gives one of them knows of it.
    """

    name: str
    text: str
    others: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Header:
    """Settings found in a file.

    Attributes
    ----------
    voltage_kv
        Accelerating voltage in kV.
    pixel_size_nm
        Distance of pixel centres (y, x) in nm.
    slice_thickness_nm
        Nominal distance of the slices in nm.
    depth_nm
        Depth of the imaged face in nm, from any place on.
    detector
        Name of the detector.
    beam
        Beam that made the image: electron, ion, or another as the file names it.
    stage
        Position of the stage, by names that end in their unit.
    scanned_rows
        Rows that the beam scanned; rows below are a burnt-in data bar.
    origins
        Where each value was found, by the name of the attribute.
    conflicts
        What does not fit: values that should agree and do not, and conditions that change them.
    """

    voltage_kv: float | None = None
    pixel_size_nm: tuple[float, float] | None = None
    slice_thickness_nm: float | None = None
    depth_nm: float | None = None
    detector: str | None = None
    beam: str | None = None
    stage: Mapping[str, float] | None = None
    scanned_rows: int | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    conflicts: tuple[Conflict, ...] = ()


VALUES = tuple(f.name for f in fields(Header) if f.name not in ("origins", "conflicts"))


def make_header(
    found: Mapping[str, Sourced | None], conflicts: Sequence[Conflict | None] = ()
) -> Header:
    """Make a header of values with their origins; what was not found is left out."""
    known = {name: pair for name, pair in found.items() if pair is not None and pair[0] is not None}
    return Header(
        **{name: value for name, (value, _) in known.items()},
        origins={name: origin for name, (_, origin) in known.items()},
        conflicts=tuple(conflict for conflict in conflicts if conflict is not None),
    )


def complete(header: Header, other: Header) -> Header:
    """Fill what a header lacks from another one; where both speak, note a disagreement."""
    conflicts = [*header.conflicts, *other.conflicts]
    taken: dict[str, Any] = {}
    origins = dict(header.origins)
    for name in VALUES:
        mine, theirs = getattr(header, name), getattr(other, name)
        if theirs is None:
            continue
        if mine is None:
            taken[name] = theirs
            origins[name] = other.origins[name]
        elif name in _LABELS:
            found = disagreement(name, (mine, origins[name]), (theirs, other.origins[name]))
            conflicts += [found] if found else []
    return replace(header, **taken, origins=origins, conflicts=tuple(conflicts))


def disagreement(name: str, first: Sourced | None, second: Sourced | None) -> Conflict | None:
    """Describe two values that should agree and do not; the first is the one taken."""
    if first is None or second is None or agree(first[0], second[0]):
        return None
    text = (
        f"{_LABELS[name]} is ambiguous: {first[1]} says {show(first[0])}, "
        f"{second[1]} says {show(second[0])}; the first is taken"
    )
    return Conflict(name, text, (second[0],))


def resized(
    columns: int, scanned: float | None, origin: str, size: float | None
) -> Conflict | None:
    """Warn of an image with other columns than its header tells: the pixel size may be another."""
    if scanned is None or size is None or columns == scanned:
        return None
    other = size * scanned / columns
    text = (
        f"the image has {columns} columns, {origin} says {scanned:g}: if it was cropped, its "
        f"pixel size is {show(size)} nm, which is taken; if it was resized, {show(other)} nm"
    )
    return Conflict("pixel_size_nm", text, (other,))


def uncorrected_tilt(
    corrected: bool | None,
    angle: Sourced | None,
    stage: Sourced | None,
    size: tuple[float, float] | None,
) -> Conflict | None:
    """Warn where lengths along y are shortened by the tilt of the imaged face.

    Parameters
    ----------
    corrected
        Whether the microscope corrected for the tilt; None if the header does not say.
    angle
        Angle in degrees between the face and the image plane that the correction would use.
    stage
        Tilt of the stage in degrees.
    size
        Size (y, x) of a pixel in nm without correction.
    """
    if size is None or corrected is None or (corrected and (angle is None or _tilted(angle))):
        return None
    y, x = size
    if angle is not None and _tilted(angle):
        steep = y / cos(radians(angle[0]))
        text = (
            f"a face tilted by {show(angle[0])} degrees ({angle[1]}) was imaged without tilt "
            f"correction: if the slices are that face, pixel_size is {show((steep, x))} nm; "
            f"{show(size)} is taken"
        )
        return Conflict("pixel_size_nm", text, ((steep, x),))
    if stage is None or not _tilted(stage):
        return None
    tilt = radians(abs(stage[0]))
    surface, milled = (y / cos(tilt), x), (y / sin(tilt), x)
    text = (
        f"the stage was tilted by {show(stage[0])} degrees ({stage[1]}) without tilt correction: "
        f"pixel_size is {show(surface)} nm if the slices lie in the surface, {show(milled)} nm if "
        f"they are perpendicular to it; {show(size)} is taken"
    )
    return Conflict("pixel_size_nm", text, (surface, milled))


def _tilted(angle: Sourced) -> bool:
    return bool(_LEAST_TILT <= abs(angle[0]) < _LARGEST_TILT)


def unknown_unit(name: str, unit: str, origin: str) -> Conflict:
    """Say that a value was not taken, for its unit is no length."""
    return Conflict(name, f"{origin} is not taken, for its unit {unit!r} is no known length")


def no_data(value: Any, dtype: np.dtype[Any], origin: str) -> Conflict | None:
    """Say that a value which marks pixels without data is read as a grey value; None if it cannot.

    NaN is none, and not every value fits the type of the pixels.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(np.float64)
    if not limits.min <= number <= limits.max:
        return None
    text = f"{origin} says that {number:g} stands for no data; it is read as a grey value"
    return Conflict("intensity", text)


def agree(first: Any, second: Any, rtol: float = CONFLICT_RTOL) -> bool:
    """Tell whether two numbers, or tuples of them, are equal but for rounding.

    A number is compared with each of a tuple.
    """
    if isinstance(first, tuple) or isinstance(second, tuple):
        pairs = np.broadcast(first, second)
        return all(agree(float(a), float(b), rtol) for a, b in pairs)
    return bool(abs(first - second) <= rtol * max(abs(first), abs(second)))


def show(value: Any) -> str:
    """Write a number, or a tuple of them, in few digits."""
    if isinstance(value, tuple):
        return " x ".join(show(part) for part in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def positive(value: Any, factor: float = 1.0) -> float | None:
    """Read a positive number and scale it; None for empty, zero or meaningless fields."""
    try:
        number = float(f"{float(value) * factor:.12g}")
    except (TypeError, ValueError):
        return None
    return number if isfinite(number) and number > 0 else None


def pair(first: float | None, second: float | None) -> tuple[float, float] | None:
    """Join two numbers if both are there."""
    return None if first is None or second is None else (first, second)


def sourced(value: Any, origin: str) -> Sourced | None:
    """Join a value with its origin if it is there."""
    return None if value is None else (value, origin)


def numbers(found: Mapping[str, tuple[Any, float]]) -> dict[str, float] | None:
    """Scale the fields that are numbers; None if there are none."""
    result = {}
    for name, (value, factor) in found.items():
        if isinstance(value, int | float) and isfinite(value):
            result[name] = round(value * factor, 9)
    return result or None


def nanometres(unit: str) -> float | None:
    """Return the length of a unit in nm, or None for a unit that is not known."""
    plain = unit.strip().replace("\\u00B5", "u").replace("µ", "u").replace("μ", "u")
    return _NANOMETRES.get(plain.casefold())


def reason(error: BaseException) -> str:
    """Say in one line why reading failed."""
    lines = str(error).splitlines() or ["no reason given"]
    if isinstance(error, ValueError):
        return lines[0]
    return f"{lines[0]} ({type(error).__name__})"
