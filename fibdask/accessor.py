"""`stack.fib`: the public functions as methods of a dataset."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import xarray as xr

from . import (
    align,
    conventions,
    imaging,
    inpaint,
    io,
    microtomography,
    reconstruct,
    report,
    segment,
    simulate,
    statistics,
    thickness,
)
from .conventions import require
from .statistics.masks import Mask

P = ParamSpec("P")
R = TypeVar("R")
_Method = Callable[Concatenate["StackAccessor", P], R]


def _of_stack(function: Callable[Concatenate[xr.Dataset, P], R]) -> _Method[P, R]:
    """Make a method of a function of a stack; it keeps signature and docstring."""

    @wraps(function)
    def method(self: "StackAccessor", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return function(self._stack, *args, **kwargs)

    return method


def _of_phase(function: Callable[Concatenate[xr.DataArray, P], R]) -> _Method[P, R]:
    """Make a method of a function of a phase; the stack's is asked for when it is called."""

    @wraps(function)
    def method(self: "StackAccessor", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return function(require(self._stack, "phase")["phase"], *args, **kwargs)

    return method


class StackAccessor:
    """Stages and statistics of a stack, or of a layered sample.

    Statistics measure `phase`; `segmentation_errors` compares it with `true_phase`, unless another
    truth is given. As the last line of a notebook's cell, it shows what the stack is, with parts of
    three slices. Type checkers see `stack.fib` as Any, as xarray lets them: in code to be
    type-checked, use `StackAccessor(stack)`, which has the types of the functions.

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

    estimate_shifts = _of_stack(align.estimate_shifts)
    apply_shifts = _of_stack(align.apply_shifts)
    remove_curtaining = _of_stack(align.remove_curtaining)
    equalize_brightness = _of_stack(align.equalize_brightness)
    estimate_slice_thickness = _of_stack(thickness.estimate_slice_thickness)
    apply_slice_thickness = _of_stack(thickness.apply_slice_thickness)
    reconstruct_volume = _of_stack(reconstruct.reconstruct_volume)
    segment_phases = _of_stack(segment.segment_phases)
    fit_forest = _of_stack(segment.fit_forest)
    learning_curve = _of_stack(segment.learning_curve)
    reposition_slices = _of_stack(thickness.reposition_slices)
    inpaint_gaps = _of_stack(inpaint.inpaint_gaps)
    measure_imaging = _of_stack(imaging.measure_imaging)
    simulation_options = _of_stack(imaging.simulation_options)
    gap_distance = _of_stack(inpaint.gap_distance)
    layer_labels = _of_stack(microtomography.layer_labels)
    layer_signals = _of_stack(microtomography.layer_signals)
    measure_signals = _of_stack(microtomography.measure_signals)
    estimate_layers = _of_stack(microtomography.estimate_layers)
    save_stack = _of_stack(io.save_stack)
    validate_stack = _of_stack(conventions.validate_stack)

    plot_slices = _of_stack(report.plot_slices)
    plot_thickness = _of_stack(report.plot_thickness)
    plot_correlations = _of_phase(report.plot_correlations)
    view = _of_stack(report.view)

    add_brightness_drift = _of_stack(simulate.add_brightness_drift)
    add_curtaining = _of_stack(simulate.add_curtaining)
    add_noise = _of_stack(simulate.add_noise)
    add_shifts = _of_stack(simulate.add_shifts)
    blur_edges = _of_stack(simulate.blur_edges)
    scale_brightness = _of_stack(simulate.scale_brightness)
    simulate_stack = _of_stack(simulate.simulate_stack)
    mimic_milling = _of_phase(simulate.mimic_milling)
    self_similar = _of_phase(simulate.self_similar)
    simulate_images = _of_phase(simulate.simulate_images)

    chord_length_distribution = _of_phase(statistics.chord_length_distribution)
    connected_fraction = _of_phase(statistics.connected_fraction)
    isotropy_errors = _of_phase(statistics.isotropy_errors)
    ligament_diameter = _of_phase(statistics.ligament_diameter)
    lineal_path = _of_phase(statistics.lineal_path)
    local_thickness = _of_phase(statistics.local_thickness)
    local_thickness_distribution = _of_phase(statistics.local_thickness_distribution)
    patch_statistics = _of_phase(statistics.patch_statistics)
    percolates = _of_phase(statistics.percolates)
    phase_statistics = _of_phase(statistics.phase_statistics)
    radial_two_point_correlation = _of_phase(statistics.radial_two_point_correlation)
    solid_fraction = _of_phase(statistics.solid_fraction)
    solid_fraction_profile = _of_phase(statistics.solid_fraction_profile)
    specific_surface_area = _of_phase(statistics.specific_surface_area)
    two_point_correlation = _of_phase(statistics.two_point_correlation)

    expected_solid_fraction = _of_stack(statistics.expected_solid_fraction)

    def segmentation_errors(
        self, truth: xr.DataArray | None = None, *, mask: Mask = None
    ) -> xr.Dataset:
        """Compare `phase` with a truth, by default `true_phase`."""
        phase = require(self._stack, "phase")["phase"]
        if truth is None:
            truth = require(self._stack, "true_phase")["true_phase"]
        return statistics.segmentation_errors(phase, truth, mask=mask)

    def _repr_html_(self) -> str:
        """Return what notebooks show: sizes, depths, provenance, and glimpses of three slices."""
        return report.stack_html(self._stack)

    if not TYPE_CHECKING:  # a type checker is to refuse what is not there

        def __getattr__(self, name: str) -> Any:
            known = ", ".join(name for name in dir(self) if not name.startswith("_"))
            msg = f"stack.fib has no method {name!r}; it has {known}"
            raise AttributeError(msg)
