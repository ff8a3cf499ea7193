"""Signals of images: grey values relative to those of the substrate."""

import numpy as np
import pytest

from fibdask.conventions import ConventionError, build_stack, recorded_steps
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
        ({"substrate": {}, "black_level": 60000}, "black level of 60000; at 5 kV it is"),
    ],
)
def test_measure_signals__refuses_what_is_no_substrate(options, told):
    stack = images(layer_signals(film(), forward="monte_carlo"))
    with pytest.raises(ConventionError, match=told):
        measure_signals(stack, **options)


def test_measure_signals__refuses_several_slices():
    stack = images(layer_signals(film(), forward="monte_carlo"), slices=2)
    with pytest.raises(ConventionError, match="of one slice; got 2 slices"):
        measure_signals(stack, substrate={})
