"""What a reader of statistics must know beside the numbers, in sentences."""

import warnings
from collections.abc import Sequence

import numpy as np
import xarray as xr

from ..conventions import (
    ASSUMED_ISOTROPY,
    AXES,
    FibdaskWarning,
    axis_spacing,
    known_planes,
    measured_slices,
)
from .lines.distances import compared_distance
from .masks import Mask, filled_shares, masked_planes

UNDECAYED = 0.05
"""Share of the lineal path at its last lag, above which what lies beyond matters."""

_RARE = 0.001  # share of the voxels, below which a phase is told of
_UNLIKE = 1.5  # ratio of voxel sides as imaged
_ROUNDING = 1e-6  # relative, of distances


def statistics_warnings(results: xr.Dataset) -> list[str]:
    """Return the cautions that belong to the numbers of a dataset of statistics.

    Parameters
    ----------
    results
        Dataset from `phase_statistics`, `patch_statistics`, `isotropy_errors` or
        `segmentation_errors`. Cautions that depend on the numbers are added once these are
        computed.

    Returns
    -------
    list of str
        Sentences:

        - the attribute `warnings`: about the phase (planes left out, slices much coarser than
          pixels, a depth whose scale is an assumption) and its truth;
        - for `phase_statistics` and `patch_statistics`: ligament diameters that are missing, that
          the end of the volume or of patches cuts short, or of which errors compare a part;
        - for `phase_statistics`: a phase of which there is next to nothing.
    """
    found = list(np.atleast_1d(results.attrs.get("warnings", [])))
    if "lineal_path_remainder" in results and results.chunks == {}:
        if "solid_fraction" in results:
            found += _one_phase(results["solid_fraction"].item())
        remainder = results["lineal_path_remainder"]
        axes = remainder["axis"].values.tolist()
        found += _unknown(axes, remainder.values) + _undecayed(axes, remainder.values)
        found += _cut_short(results)
    return [str(text) for text in dict.fromkeys(found)]


def phase_warnings(phase: xr.DataArray) -> list[str]:
    """Return what must be known of a phase, from its coordinates alone."""
    known = known_planes(phase)
    found = []
    if not known.all():
        found.append(
            f"{np.count_nonzero(~known)} of {len(known)} planes are not measured; they are left out"
        )
    share = np.where(measured_slices(phase), filled_shares(phase), 0).max()
    if share > 0:
        found.append(
            f"alignment filled up to {share:.1%} of a slice: measured is a part of the images that "
            "every slice covers, or that of the mask"
        )
    z = phase["z"]
    if z.attrs.get("scale") == ASSUMED_ISOTROPY:
        found.append(
            "the slice thickness takes its scale from the images, whose texture was assumed to be "
            "isotropic: isotropy errors prove nothing"
        )
    if unlike := _unlike_sides(phase):
        found.append(
            f"voxels as imaged have sides of {unlike} (z, y, x): sampled coarser along one axis, "
            "an isotropic structure has isotropy errors too, and a larger ligament diameter there"
        )
    return found


def truth_warnings(phase: xr.DataArray, truth: xr.DataArray, mask: Mask) -> list[str]:
    """Return which planes of a phase are compared with nothing, though there is something."""
    left_out = known_planes(phase) & ~known_planes(truth) & masked_planes(phase, mask)
    if not left_out.any():
        return []
    return [
        f"the truth counts as unknown in {np.count_nonzero(left_out)} of {len(left_out)} planes "
        f"that the phase is known in, plane {int(np.argmax(left_out))} the first, and errors leave "
        'them out: say that this is meant by mask=stack["measured"]; only if the truth was made '
        "for these planes too, not moved with the slices, compare with it as an array of its own, "
        'segmentation_errors(stack["phase"], truth.drop_vars("measured"))'
    ]


def _unlike_sides(phase: xr.DataArray) -> str:
    """Return the sides of voxels as imaged, in words, if their ratio matters."""
    sides = [axis_spacing(phase, axis) for axis in AXES]
    if "measured" in phase.coords:
        depths = phase["z"].values[phase["measured"].values]
        sides[0] = float(np.ptp(depths)) / (len(depths) - 1) if len(depths) > 1 else np.nan
    known = [side for side in sides if np.isfinite(side)]
    if not known or max(known) < _UNLIKE * min(known):
        return ""
    return " × ".join(f"{side:.4g}" for side in sides) + " nm"


def _one_phase(solid: float) -> list[str]:
    """Return of which phase there is next to nothing."""
    return [
        f"{share:.2g} of the voxels are {name}: is the threshold between pore and solid?"
        for name, share in (("solid", solid), ("pore", 1 - solid))
        if share < _RARE
    ]


def _unknown(axes: Sequence[str], remainders: np.ndarray) -> list[str]:
    """Return along which axes there is no ligament diameter, by what is left of L."""
    return [
        f"there is no ligament diameter along {axis}: it takes some solid, and voxels that count "
        "beside one another"
        for axis, left in zip(axes, remainders.tolist(), strict=True)
        if np.isnan(left)
    ]


def _undecayed(axes: Sequence[str], remainders: np.ndarray) -> list[str]:
    """Return along which axes ligament diameters are too small, by what is left of L."""
    return [
        f"the ligament diameter along {axis} is too small: {left:.2g} of the lineal path is left "
        "where the volume ends"
        for axis, left in zip(axes, remainders.tolist(), strict=True)
        if left > UNDECAYED
    ]


def _cut_short(results: xr.Dataset) -> list[str]:
    """Tell where isotropy errors compare diameters of which only a part is summed."""
    if results["isotropy_error"].isnull().all():
        return []
    path = results["lineal_path"]
    reach = compared_distance(results)
    within = path.where(path["distance"] <= reach * (1 + _ROUNDING))
    cut = []
    for axis, curve in zip(path["axis"].values, within.values, strict=True):
        known = curve[np.isfinite(curve)]
        if len(known) and known[-1] > UNDECAYED * known[0]:
            cut.append(f"{known[-1] / known[0]:.2g} along {axis}")
    if not cut:
        return []
    return [
        "the isotropy error of the ligament diameter sums the lineal path up to "
        f"{reach:.4g} nm only, where there is left of it: {', '.join(cut)}"
    ]


def warn_of_undecayed(axes: Sequence[str], remainders: np.ndarray) -> None:
    """Warn of ligament diameters that are too small, by what is left of L."""
    for text in _undecayed(axes, remainders):
        warnings.warn(text, FibdaskWarning, stacklevel=2)
