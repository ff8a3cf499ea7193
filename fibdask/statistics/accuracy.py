"""Errors of a segmentation against the ground truth."""

import warnings

import numpy as np
import xarray as xr

from ..blocks import block_grid, reduce_blocks
from ..conventions import AXES, ConventionError, FibdaskWarning, require_phase
from ._functions import ConfusionCounts
from .cautions import truth_warnings
from .masks import Mask, check_same_places, masked


def segmentation_errors(
    phase: xr.DataArray, truth: xr.DataArray, *, mask: Mask = None
) -> xr.Dataset:
    """Return the shares of misplaced voxels and the mean Dice score of a phase.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm.
    truth
        True phase (z, y, x) of the same voxels.
    mask
        Voxels that count, as for `two_point_correlation`. Planes that hold no data in either volume
        are left out.

    Returns
    -------
    xr.Dataset
        `misplaced` (MP, %), `misplaced_solid` (MGP, %) and `mean_dice` (MDS), each (), lazy. The
        attribute `warnings` lists the warnings.

    Raises
    ------
    ConventionError
        If phase and truth are not on the same voxels, or the mask does not fit them.

    Warns
    -----
    FibdaskWarning
        If planes, such as inpainted ones, are left out only because the truth counts as unknown
        there: a truth that was assigned to a stack is known where that was `measured`.

    Notes
    -----
    With true (T) and false (F) solid (P) and pore (N) voxels: MP = 100 (FP + FN) / all voxels, MGP
    = 100 FN / (TP + FN), and MDS is the mean of 2 TP / (2 TP + FP + FN) and of the same for the
    pores, 2 TN / (2 TN + FP + FN). MP is NaN where no voxel counts, MGP where the truth holds no
    solid; the Dice score of a phase that neither volume holds is 1.
    """
    phase, truth = require_phase(phase), require_phase(truth, "truth")
    _require_same_voxels(phase, truth)
    volume = masked(phase, mask, truth)
    errors = {
        "misplaced": (misplaced, "misplaced voxels", "%"),
        "misplaced_solid": (misplaced_solid, "misplaced solid voxels", "%"),
        "mean_dice": (mean_dice, "mean Dice score of both phases", "1"),
    }
    arrays = {}
    for name, (error, long_name, units) in errors.items():
        data = reduce_blocks(
            ConfusionCounts(volume.axes),
            volume.inputs,
            grid=block_grid(volume.inputs[0]),
            finish=error,
            shape=(),
        )
        arrays[name] = xr.DataArray(data, attrs={"long_name": long_name, "units": units})
    told = truth_warnings(phase, truth, mask)
    for text in told:
        warnings.warn(text, FibdaskWarning, stacklevel=2)
    return xr.Dataset(arrays, attrs={"warnings": told})


def _require_same_voxels(phase: xr.DataArray, truth: xr.DataArray) -> None:
    if phase.shape != truth.shape:
        msg = f"phase and truth must have the same shape; got {phase.shape} and {truth.shape}"
        raise ConventionError(msg)
    for axis in AXES:
        check_same_places(phase, truth, axis, "truth")


def misplaced(counts: np.ndarray) -> np.ndarray:
    """Return MP in %."""
    _, false_solid, false_pore, counted = counts
    return np.asarray(100 * (false_solid + false_pore) / counted if counted else np.nan)


def misplaced_solid(counts: np.ndarray) -> np.ndarray:
    """Return MGP in %."""
    true_solid, _, false_pore, _ = counts
    solid = true_solid + false_pore
    return np.asarray(100 * false_pore / solid if solid else np.nan)


def mean_dice(counts: np.ndarray) -> np.ndarray:
    """Return MDS."""
    true_solid, false_solid, false_pore, counted = counts
    wrong = false_solid + false_pore
    true_pore = counted - true_solid - wrong
    scores = [2 * n / (2 * n + wrong) if n + wrong else 1.0 for n in (true_solid, true_pore)]
    return np.asarray(np.mean(scores))
