"""`stack.fib`: the public functions as methods of a dataset."""

from collections.abc import Callable
from functools import partial
from typing import Any

import xarray as xr

import fibdask

from .conventions import require

_OF_STACKS = (
    "add_brightness_drift",
    "add_curtaining",
    "add_noise",
    "add_shifts",
    "apply_shifts",
    "apply_slice_thickness",
    "blur_edges",
    "equalize_brightness",
    "estimate_shifts",
    "estimate_slice_thickness",
    "gap_distance",
    "inpaint_gaps",
    "remove_curtaining",
    "reposition_slices",
    "save_stack",
    "segment_phases",
    "simulate_stack",
    "validate_stack",
)
_OF_PHASES = (
    "chord_length_distribution",
    "connected_fraction",
    "isotropy_errors",
    "ligament_diameter",
    "lineal_path",
    "local_thickness",
    "local_thickness_distribution",
    "mimic_milling",
    "patch_statistics",
    "percolates",
    "phase_statistics",
    "radial_two_point_correlation",
    "self_similar",
    "simulate_images",
    "solid_fraction",
    "solid_fraction_profile",
    "specific_surface_area",
    "two_point_correlation",
)


@xr.register_dataset_accessor("fib")  # type: ignore[no-untyped-call]
class StackAccessor:
    """Stages and statistics of a stack.

    Statistics measure `phase`; `segmentation_errors` compares it with `true_phase`.

    Examples
    --------
    >>> import fibdask
    >>> phase = fibdask.levelled_wave(
    ...     (16, 32, 32), voxel_size=5, ligament_size=30, solid_fraction=0.5, seed=1
    ... )
    >>> stack = phase.to_dataset(name="phase")
    >>> stack.fib.two_point_correlation(max_lag=4).dims
    ('axis', 'lag')
    """

    def __init__(self, stack: xr.Dataset) -> None:
        self._stack = stack

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in _OF_STACKS:
            return _method(name, self._stack)
        if name in _OF_PHASES:
            return _method(name, require(self._stack, "phase")["phase"])
        msg = f"stack.fib has no method {name!r}; it has {', '.join(dir(self))}"
        raise AttributeError(msg)

    def segmentation_errors(self) -> xr.Dataset:
        """Compare `phase` with `true_phase`."""
        stack = require(self._stack, "phase", "true_phase")
        errors: xr.Dataset = fibdask.segmentation_errors(stack["phase"], stack["true_phase"])
        return errors

    def __dir__(self) -> list[str]:
        return sorted([*_OF_STACKS, *_OF_PHASES, "segmentation_errors"])


def _method(name: str, first: xr.Dataset | xr.DataArray) -> Callable[..., Any]:
    """Return a public function with its first argument given, and its docstring."""
    function = getattr(fibdask, name)
    method = partial(function, first)
    method.__doc__ = function.__doc__
    return method
