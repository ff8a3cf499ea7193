"""Which planes of a volume hold data, and which pixels of aligned slices do.

A plane is `measured`, or `inpainted` for the volumes that were filled there, which say so by their
attribute `filled_where`: it goes with them wherever they are renamed or computed with. What says
nothing, such as an array of one's own, is what the volume of its name is. Of a slice that was
moved, `filled_share` says which share of its pixels no raw pixel falls on; where these lie is told
by places that go along with pixels, however those are numbered, mirrored or transposed later.

What attributes tell of planes holds for those alone whose record, a checksum beside them, says so:
where stacks are joined, the attributes of the first one stay for all.
"""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from .errors import ConventionError
from .provenance import recorded_steps
from .variables import VOLUMES, attributes, is_truth

FILLED = "filled_share"
_IN_PLANE = ("y", "x")
ALIGNED = {axis: f"aligned_{axis}" for axis in _IN_PLANE}
"""Coordinates that tell where pixels lay when slices were aligned, by the axis they lay along."""
_SAME = 1e-3  # of a pixel
_FILLED_WHERE = "filled_where"  # attribute of a volume: the coordinate that tells its filled planes
_NOWHERE = "nowhere"
_VOLUMES = "variables"  # attribute of `inpainted`: the names of the volumes that are filled there
_TOLD = {
    FILLED: tuple(f"{key}_{axis}" for axis in _IN_PLANE for key in ("pixels", "covered")),
    "inpainted": (_VOLUMES,),
}
"""Attributes that tell of planes, by the coordinate that has them."""
RECORDS = {name: f"{name}_record" for name in _TOLD}
"""Coordinates with a checksum of these attributes for each plane."""


def measured_slices(stack: xr.Dataset | xr.DataArray) -> np.ndarray:
    """Return which planes (z) are measured, bool: all, if nothing says otherwise."""
    if "measured" not in stack.coords:
        return np.ones(stack.sizes["z"], bool)
    measured: np.ndarray = stack["measured"].values
    return measured


def known_planes(volume: xr.DataArray) -> np.ndarray:
    """Return which planes (z) of a volume hold data, as bool.

    Those that `measured` marks, and those that inpainting has filled in this volume; without a
    mark, all.
    """
    known = measured_slices(volume)
    if _is_filled(volume):
        known = known | _inpainted_planes(volume)
    return known


def check_planes(phase: xr.DataArray, advice: str) -> None:
    """Refuse a phase with planes that hold no data, for what cannot leave them out.

    Raises
    ------
    ConventionError
        With their number, and advice besides inpainting.
    """
    known = known_planes(phase)
    if not known.all():
        missing = np.count_nonzero(~known)
        msg = (
            f"{missing} of {len(known)} planes are not measured, plane {int(np.argmin(known))} the "
            f"first: inpaint first (inpaint_gaps), or {advice}"
        )
        raise ConventionError(msg)


def _recorded(
    name: str, values: np.ndarray, attrs: Mapping[str, Any], told: np.ndarray | bool = True
) -> dict[str, Any]:
    """Return a coordinate (z) whose attributes tell of some planes, and the record of which."""
    record = np.where(np.broadcast_to(told, values.shape), _checksum(name, attrs), np.nan)
    own = RECORDS[name]
    return {name: ("z", values, attrs), own: ("z", record, attributes(own))}


def _checksum(name: str, attrs: Mapping[str, Any]) -> float:
    told = [np.ravel(attrs.get(key, ())).tolist() for key in _TOLD[name]]
    return float(zlib.crc32(json.dumps(told).encode()))


def _told_of(stack: xr.Dataset | xr.DataArray, name: str) -> np.ndarray:
    """Return of which planes the attributes of a coordinate tell; of all where none is recorded."""
    if RECORDS[name] not in stack.coords:
        return np.ones(stack.sizes["z"], bool)
    told: np.ndarray = stack[RECORDS[name]].values == _checksum(name, stack[name].attrs)
    return told


def _inpainted_planes(stack: xr.Dataset | xr.DataArray) -> np.ndarray:
    """Return which planes (z) are filled in the volumes that say so."""
    inpainted: np.ndarray = stack["inpainted"].values & _told_of(stack, "inpainted")
    return inpainted


def filled_attributes(volume: xr.DataArray) -> dict[str, str]:
    """Return the attributes of what is made of a volume, plane by plane: filled where that is."""
    if "inpainted" not in volume.coords:
        return {}
    return {_FILLED_WHERE: "inpainted" if _is_filled(volume) else _NOWHERE}


def _is_filled(volume: xr.DataArray) -> bool:
    """Tell whether a volume is filled where `inpainted` is True."""
    if "inpainted" not in volume.coords:
        return False
    if _FILLED_WHERE in volume.attrs:
        return bool(volume.attrs[_FILLED_WHERE] == "inpainted")
    return volume.name in _named(volume)


def _named(stack: xr.Dataset | xr.DataArray) -> list[str]:
    """Return the names of the volumes that are filled where `inpainted` is True."""
    return list(np.atleast_1d(stack["inpainted"].attrs.get(_VOLUMES, [])))


def _with_filled(stack: xr.Dataset, names: Iterable[str]) -> xr.Dataset:
    """Return a stack of which these volumes, and no others, are filled where it is inpainted.

    The truth is not, which earlier versions made up.
    """
    marked, filled = {}, {name for name in names if not is_truth(name)}
    for name, volume in stack.data_vars.items():
        if {"z", "y", "x"} <= set(volume.dims):
            attrs = volume.attrs | {_FILLED_WHERE: "inpainted" if name in filled else _NOWHERE}
            marked[name] = (volume.dims, volume.variable.data, attrs)
    attrs = stack["inpainted"].attrs | {_VOLUMES: sorted(filled)}
    planes = _inpainted_planes(stack)
    return stack.assign(marked).assign_coords(_recorded("inpainted", planes, attrs))


def without_inpainted(stack: xr.Dataset) -> xr.Dataset:
    """Return a stack that tells of no filled planes any more."""
    marked = {
        name: (volume.dims, volume.variable.data, attrs)
        for name, volume in stack.data_vars.items()
        if (attrs := {k: v for k, v in volume.attrs.items() if k != _FILLED_WHERE}) != volume.attrs
    }
    return stack.assign(marked).drop_vars(["inpainted", RECORDS["inpainted"]], errors="ignore")


def _filled_volumes(stack: xr.Dataset) -> set[str]:
    return {str(name) for name, volume in stack.data_vars.items() if _is_filled(volume)}


def mark_inpainted(stack: xr.Dataset, names: Iterable[str]) -> xr.Dataset:
    """Note that some volumes of a stack are filled in all planes that are not measured."""
    gaps = ~stack["measured"].values
    filled = set(names)
    if "inpainted" in stack.coords and np.array_equal(gaps, _inpainted_planes(stack)):
        filled |= _filled_volumes(stack)
    stack = stack.drop_vars(RECORDS["inpainted"], errors="ignore")
    stack = stack.assign_coords(inpainted=("z", gaps, attributes("inpainted")))
    return _with_filled(stack, filled)


def inherit_inpainted(stack: xr.Dataset, name: str, source: str | None) -> xr.Dataset:
    """Note that a volume was made of another one, plane by plane: it is filled where that is.

    One that was made of measured planes alone, of no `source`, is filled nowhere.
    """
    if "inpainted" not in stack.coords:
        return stack
    filled = _filled_volumes(stack)
    return _with_filled(stack, filled | {name} if source in filled else filled - {name})


def recognise_inpainted(stack: xr.Dataset) -> xr.Dataset:
    """Mark volumes that were filled before they said so themselves: by names, or by provenance."""
    if "measured" not in stack.coords:
        return stack
    if "inpainted" in stack.coords:
        return _with_filled(stack, _filled_volumes(stack))
    filled: set[str] = set()
    for record in recorded_steps(stack):
        if record["step"] == "reposition_slices":
            filled = set()
        elif record["step"] == "inpaint_gaps":
            method = record["parameters"].get("method")
            filled |= {"phase"} if method == "distance" else set(VOLUMES)
        elif record["step"] == "segment_phases":
            filled = filled | {"phase"} if "intensity" in filled else filled - {"phase"}
    return mark_inpainted(stack, filled & set(map(str, stack.variables))) if filled else stack


def with_filled_share(
    stack: xr.Dataset, share: np.ndarray, covered: Mapping[str, slice]
) -> xr.Dataset:
    """Note the share of filled pixels (z) of slices, and what all measured slices cover.

    That is kept as the first and last place in nm along y and x, and with it where pixels lie
    now, which holds whatever is cut off the stack later. `covered` are rows and columns of the
    stack.
    """
    attrs, aligned = attributes(FILLED), {}
    for axis, part in covered.items():
        places = stack[axis].values
        aligned[ALIGNED[axis]] = (axis, places, attributes(ALIGNED[axis]))
        attrs[f"pixels_{axis}"] = [float(places[0]), float(places[-1]), len(places)]
        places = places[part]
        attrs[f"covered_{axis}"] = [float(places[0]), float(places[-1])] if len(places) else []
    recorded = _recorded(FILLED, share, attrs, measured_slices(stack))
    return stack.assign_coords(recorded | aligned)


def without_filled_share(stack: xr.Dataset) -> xr.Dataset:
    """Return a stack that tells of no filled pixels any more."""
    return stack.drop_vars([FILLED, RECORDS[FILLED], *ALIGNED.values()], errors="ignore")


def recognise_filled_share(stack: xr.Dataset) -> xr.Dataset:
    """Record of which slices it is known what they cover, as earlier versions have not done."""
    if FILLED not in stack.coords:
        return stack
    share = stack[FILLED]
    told = measured_slices(stack) & _told_of(stack, FILLED)
    return stack.assign_coords(_recorded(FILLED, share.values, share.attrs, told))


def _measured_share(stack: xr.Dataset | xr.DataArray) -> np.ndarray:
    """Return the share of filled pixels (z) of slices; 0 of planes that are not measured."""
    return np.where(measured_slices(stack), stack[FILLED].values, 0)


def check_aligned_together(stack: xr.Dataset | xr.DataArray) -> None:
    """Refuse filled pixels of slices of which it is not told what they cover.

    Raises
    ------
    ConventionError
        With the number of such a slice.
    """
    if FILLED not in stack.coords:
        return
    share = _measured_share(stack)
    apart = (share > 0) & ~_told_of(stack, FILLED)
    if apart.any():
        k = int(np.argmax(apart))
        msg = (
            f"pixels that no raw pixel falls on must not be counted; slice {k} has "
            f"{100 * share[k]:.3g} % of them, and was aligned apart from others that it was joined "
            "with, or was not measured then, so that what all slices cover is not known: join "
            "slices, and mark those that are measured, before they are aligned"
        )
        raise ConventionError(msg)


def covered_region(stack: xr.Dataset | xr.DataArray) -> dict[str, slice]:
    """Return the rows and columns (y, x) of a stack that no measured slice has filled pixels in.

    Raises
    ------
    ConventionError
        If slices have filled pixels, and where these are is not known, as of stacks that were
        aligned apart and joined, or that were not measured then, or leaves nothing, or the places
        of pixels are others than they were when slices were aligned.
    """
    region = {axis: slice(0, stack.sizes[axis]) for axis in _IN_PLANE}
    if FILLED not in stack.coords:
        return region
    check_aligned_together(stack)
    share = _measured_share(stack)
    if not (share > 0).any():
        return region
    k = int(np.argmax(share))
    for axis in _IN_PLANE:
        own, places = _aligned_places(stack, axis)
        mirrored = places[0] > places[-1]
        places = places[::-1] if mirrored else places
        reach = _reach(own, places, stack[FILLED].attrs.get(f"pixels_{own}"))
        part = _between(places, reach, stack[FILLED].attrs.get(f"covered_{own}"))
        n = len(places)
        region[axis] = slice(n - part.stop, n - part.start) if mirrored else part
        if region[axis].start >= region[axis].stop:
            msg = (
                f"pixels that no raw pixel falls on must not be counted; slice {k} has "
                f"{100 * share[k]:.3g} % of them, and no part of the images along {axis} is known "
                "to be covered by every slice; align with outside='crop'"
            )
            raise ConventionError(msg)
    return region


def _aligned_places(stack: xr.Dataset | xr.DataArray, axis: str) -> tuple[str, np.ndarray]:
    """Return along which axis the pixels of an axis lay when slices were aligned, and where."""
    for own, name in ALIGNED.items():
        if name in stack.coords and stack[name].dims == (axis,):
            return own, stack[name].values
    return axis, stack[axis].values  # as earlier versions have stored them


def covered_part(
    stack: xr.Dataset | xr.DataArray, region: Mapping[str, slice], name: str
) -> dict[str, slice]:
    """Return the part of a region, by axis, that no measured slice has filled pixels in.

    `name` is that of the argument which gives the region, for errors.

    Raises
    ------
    ConventionError
        If nothing is left, or as `covered_region`.
    """
    part = dict(region)
    for axis, covered in covered_region(stack).items():
        wanted = part[axis]
        start, stop = max(wanted.start, covered.start), min(wanted.stop, covered.stop)
        if start >= stop:
            msg = (
                f"{name} along {axis} must hold pixels that every slice covers, "
                f"({covered.start}, {covered.stop}); got ({wanted.start}, {wanted.stop})"
            )
            raise ConventionError(msg)
        part[axis] = slice(start, stop)
    return part


def _reach(axis: str, places: np.ndarray, aligned: Sequence[float] | None) -> float:
    """Return how far from its centre the aligned pixels lie that a pixel holds, in nm.

    Pixels may have been selected, cut off or averaged since: centres tell which, but for every
    third or fifth pixel, which may as well be the mean of as many.

    Raises
    ------
    ConventionError
        If they are of another size or origin than those that were told which are covered.
    """
    if aligned is None or aligned[2] < 2:
        return 0.0
    first, last, count = aligned
    size = (last - first) / (count - 1)
    step = (places[-1] - places[0]) / (len(places) - 1) if len(places) > 1 else size
    together = round(step / size)
    apart = together < 1 or abs(step / size - together) > _SAME
    if apart or places[0] < first - _SAME * size or places[-1] > last + _SAME * size:
        msg = (
            f"slices cover a part along {axis} that is known of pixels from {first:g} to {last:g} "
            f"nm, {size:g} nm each; these go from {places[0]:g} to {places[-1]:g} nm, {step:g} nm "
            "each: set pixel sizes and origins, or resample, before slices are aligned"
        )
        raise ConventionError(msg)
    number = (places[0] - first) / size
    if abs(number - round(number)) < _SAME:
        # The centre is that of an aligned pixel: an odd number of them was averaged, if any, and
        # none where they would reach beyond the images.
        together //= together & -together
        if (together - 1) / 2 > min(number, (last - places[-1]) / size) + _SAME:
            together = 1
    elif len(places) == 1:
        together = int(count)  # at most
    return size * ((together - 1) / 2 - _SAME)


def _between(places: np.ndarray, reach: float, ends: Sequence[float] | None) -> slice:
    """Return the part of increasing places that lies, with its reach, from a first to a last.

    Nothing without these.
    """
    if ends is None or len(ends) != 2:
        return slice(0, 0)
    start = np.searchsorted(places, ends[0] + reach)
    return slice(int(start), int(np.searchsorted(places, ends[1] - reach, side="right")))
