"""What image files say about themselves: values in kV and nm, each with where it was found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from typing import Any

CONFLICT_RTOL = 0.01  # headers round: 21.83 nm and 43.66 / 2 nm agree
_NANOMETRES = {
    "fm": 1e-6,
    "pm": 1e-3,
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
    "cm": 1e7,
    "inch": 2.54e7,
    "m": 1e9,
}


_LABELS = {
    "voltage_kv": "voltage (kV)",
    "pixel_size_nm": "pixel size (nm)",
    "slice_thickness_nm": "slice thickness (nm)",
}

Conflict = tuple[str, str]
Sourced = tuple[Any, str]
"""A value and where it was found."""


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
        Values that should agree and do not: the name of the attribute, and a sentence with both.
    """

    voltage_kv: float | None = None
    pixel_size_nm: tuple[float, float] | None = None
    slice_thickness_nm: float | None = None
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
    return name, text


def agree(first: Any, second: Any, rtol: float = CONFLICT_RTOL) -> bool:
    """Tell whether two numbers, or tuples of them, are equal but for rounding."""
    if isinstance(first, tuple):
        return all(agree(a, b, rtol) for a, b in zip(first, second, strict=True))
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
