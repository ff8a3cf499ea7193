"""Errors of a segmentation against the ground truth."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr

from ..blocks import Region, block_grid, reduce_blocks, voxels
from ..conventions import AXES, ConventionError, check_phase_values, require_phase
from . import _kernels


def segmentation_errors(phase: xr.DataArray, truth: xr.DataArray) -> xr.Dataset:
    """Return the shares of misplaced voxels and the mean Dice score of a phase.

    Parameters
    ----------
    phase
        Phase (z, y, x): 0 pore, 1 solid, on coordinates in nm.
    truth
        The true phase (z, y, x) of the same voxels.

    Returns
    -------
    xr.Dataset
        `misplaced` (MP, %), `misplaced_solid` (MGP, %) and `mean_dice` (MDS), each (), lazy.

    Raises
    ------
    ConventionError
        If phase and truth are not on the same voxels.

    Notes
    -----
    With true (T) and false (F) solid (P) and pore (N) voxels: MP = 100 (FP + FN) / all voxels,
    MGP = 100 FN / (TP + FN), and MDS is the mean of 2 TP / (2 TP + FP + FN) and of the same for
    the pores, 2 TN / (2 TN + FP + FN). MGP is NaN where the truth holds no solid; the Dice score
    of a phase that neither volume holds is 1.
    """
    _require_same_voxels(require_phase(phase), require_phase(truth, "truth"))
    return xr.Dataset(
        {
            "misplaced": _error_array(phase, truth, misplaced, "misplaced voxels", "%"),
            "misplaced_solid": _error_array(
                phase, truth, misplaced_solid, "misplaced solid voxels", "%"
            ),
            "mean_dice": _error_array(
                phase, truth, mean_dice, "mean Dice score of both phases", "1"
            ),
        }
    )


def _require_same_voxels(phase: xr.DataArray, truth: xr.DataArray) -> None:
    if phase.shape != truth.shape:
        msg = f"phase and truth must have the same shape; got {phase.shape} and {truth.shape}"
        raise ConventionError(msg)
    for axis in AXES:
        positions = truth[axis].values
        offsets = phase[axis].values - positions
        place = int(np.argmax(np.abs(offsets)))
        if len(positions) > 1 and abs(offsets[place]) > np.diff(positions).min() / 2:
            msg = (
                f"phase and truth must lie on the same voxels; {axis} is "
                f"{phase[axis].values[place]:g} nm and {positions[place]:g} nm at position {place}"
            )
            raise ConventionError(msg)


@dataclass(frozen=True)
class ConfusionCounts:
    """Numbers of true solid, false solid and false pore voxels; a block function."""

    size = 3

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block of both volumes."""
        return (region, region)

    def compute(self, region: Region, phase: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Count one block."""
        start = tuple(s.start for s in region)
        check_phase_values("phase", phase, start)
        check_phase_values("truth", truth, start)
        return np.array(_kernels.confusion_counts(phase, truth), np.int64)

    def working_bytes(self, region: Region) -> int:
        """Return the bytes of the voxels that are solid in both."""
        return voxels(region)


def _error_array(
    phase: xr.DataArray,
    truth: xr.DataArray,
    error: Callable[[int, np.ndarray], np.ndarray],
    long_name: str,
    units: str,
) -> xr.DataArray:
    data = reduce_blocks(
        ConfusionCounts(),
        [phase.data, truth.data],
        grid=block_grid(phase.data),
        finish=partial(error, phase.size),
        shape=(),
    )
    return xr.DataArray(data, attrs={"long_name": long_name, "units": units})


def misplaced(size: int, counts: np.ndarray) -> np.ndarray:
    """Return MP in % of so many voxels."""
    _, false_solid, false_pore = counts
    return np.asarray(100 * (false_solid + false_pore) / size)


def misplaced_solid(_size: int, counts: np.ndarray) -> np.ndarray:
    """Return MGP in %."""
    true_solid, _, false_pore = counts
    solid = true_solid + false_pore
    return np.asarray(100 * false_pore / solid if solid else np.nan)


def mean_dice(size: int, counts: np.ndarray) -> np.ndarray:
    """Return MDS of so many voxels."""
    true_solid, false_solid, false_pore = counts
    wrong = false_solid + false_pore
    true_pore = size - true_solid - wrong
    scores = [2 * n / (2 * n + wrong) if n + wrong else 1.0 for n in (true_solid, true_pore)]
    return np.asarray(np.mean(scores))
