"""Signals of images: grey values relative to those of the substrate."""

import numpy as np
import pytest
import xarray as xr

from fibdask.align import apply_shifts
from fibdask.conventions import ConventionError, FibdaskWarning, build_stack, recorded_steps
from fibdask.microtomography import estimate_layers, layer_signals, measure_signals
from tests.microtomography.helpers import thickness

ENERGIES = np.arange(5.0, 36.0)


def images(signals, gain=900.0, black=100.0, slices=1):
    grey = np.repeat(np.rint(signals.values * gain + black)[:, np.newaxis], slices, axis=1)
    return build_stack(
        {"intensity": grey.astype(np.uint16)},
        z=np.arange(slices) * 10.0,
        pixel_size=(10.0, 10.0),
        nominal_thickness=10.0,
        voltage=ENERGIES,
    )


def film():
    maps = np.zeros((2, 8, 12))
    maps[0, :, 4:], maps[1, :, 8:] = 90.0, 7.0
    return thickness(maps)


def test_measure_signals__of_images_lead_to_the_layers_that_were_imaged():
    maps = film()
    stack = images(layer_signals(maps, forward="monte_carlo"), gain=9000.0)
    sample = measure_signals(stack, substrate={"x": (0, 4)}, black_level=100)
    found = estimate_layers(sample, noise=0.001)
    apart = np.abs(found["thickness"].values - maps.values)
    assert apart.max(axis=(1, 2)) == pytest.approx([0, 0], abs=1)
    steps = [record["step"] for record in recorded_steps(found)]
    assert steps == ["measure_signals", "estimate_layers"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"substrate": {"x": (0, 40)}}, "substrate along x must be"),
        ({"substrate": {"x": (0, 12)}, "black_level": 60000}, "black level of 60000; at 5 kV it"),
        ({"substrate": {}}, r"must say where nothing lies .* got \{\}"),
        ({"substrate": None}, "must say where nothing lies .* got None"),
        ({"substrate": (0, 8)}, r"must say where nothing lies .* got \(0, 8\)"),
    ],
)
def test_measure_signals__refuses_what_is_no_substrate(options, told):
    stack = images(layer_signals(film(), forward="monte_carlo"))
    with pytest.raises(ConventionError, match=told):
        measure_signals(stack, **options)


def test_measure_signals__refuses_several_slices():
    stack = images(layer_signals(film(), forward="monte_carlo"), slices=2)
    with pytest.raises(ConventionError, match="of one slice; got 2 slices"):
        measure_signals(stack, substrate={"x": (0, 4)})


def test_measure_signals__refuses_a_slice_that_is_not_measured():
    stack = images(layer_signals(film(), forward="monte_carlo"))
    with pytest.raises(ConventionError, match="this one is not measured"):
        measure_signals(stack.assign_coords(measured=("z", [False])), substrate={"x": (0, 4)})


def test_measure_signals__pixels_that_alignment_filled_count_nowhere():
    stack = images(layer_signals(film(), forward="monte_carlo"))
    shifts = xr.Dataset({f"shift_{axis}": (("voltage", "z"), np.zeros((31, 1))) for axis in "yx"})
    shifts["shift_y"][:15] = 20.0
    with pytest.warns(FibdaskWarning, match="of the pixels are filled"):
        moved = apply_shifts(stack, shifts.assign_coords(voltage=ENERGIES), outside="zero")
    found = measure_signals(moved, substrate={"x": (0, 4)}, black_level=100)["signal"].values
    whole = measure_signals(stack, substrate={"x": (0, 4)}, black_level=100)["signal"].values
    filled = np.isnan(found[0, :, 0])
    assert 0 < filled.sum() < 8
    assert np.isnan(found[:, filled]).all()
    np.testing.assert_array_equal(found[:, ~filled], whole[:, ~filled])


def test_measure_signals__are_unknown_where_the_detector_was_saturated():
    stack = images(layer_signals(film(), forward="monte_carlo"))
    clipped = stack.assign(intensity=stack["intensity"].clip(max=255).astype(np.uint8))
    with pytest.raises(ConventionError, match=r"100 % of the substrate at 5 kV have .*, 255"):
        measure_signals(clipped, substrate={"x": (0, 4)})
    whole = stack["intensity"].values // 4
    clipped = stack.assign(
        intensity=(stack["intensity"].dims, np.minimum(whole, 255).astype(np.uint8))
    )
    assert (whole > 255).any()
    found = measure_signals(clipped, substrate={"x": (0, 4)})["signal"].values
    np.testing.assert_array_equal(np.isnan(found), whole[:, 0] >= 255)
