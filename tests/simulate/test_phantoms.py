import numpy as np
import pytest

from fibdask.conventions import ConventionError
from fibdask.simulate import anisotropy_phantom
from tests.simulate.naive import two_point_correlation

SHAPE = (90, 96, 96)


def test_anisotropy_phantom__agrees_along_x_and_y_and_differs_along_z():
    phase = anisotropy_phantom(SHAPE, voxel_size=4).values
    np.testing.assert_array_equal(phase, phase.transpose(0, 2, 1))
    z, y, x = (two_point_correlation(phase, axis, 3) for axis in range(3))
    assert y == x
    assert z > 1.1 * x


def test_anisotropy_phantom__solid_fraction_is_that_of_spheres_in_cubes():
    phase = anisotropy_phantom((400, 64, 64), voxel_size=1, diameter=48, spacing=64, growth=0.125)
    layers = phase.values[: 64 + 72 + 80 + 88]
    assert layers.mean() == pytest.approx(np.pi / 6 * (48 / 64) ** 3, rel=0.01)


@pytest.mark.parametrize("growth", [0.0, 0.25, 3.0])
def test_anisotropy_phantom__stretches_layer_by_layer(growth):
    phase = anisotropy_phantom((400, 64, 64), voxel_size=1, growth=growth).values
    through_centres = phase[:, 32, 32].astype(int)
    starts = np.flatnonzero(np.diff(through_centres, prepend=0) == 1)
    stops = np.flatnonzero(np.diff(through_centres, append=0) == -1) + 1
    stretches = 1 + growth * np.arange(len(starts))
    whole = stops < 399
    np.testing.assert_allclose((stops - starts)[whole], (48 * stretches)[whole], atol=1)


@pytest.mark.parametrize("chunks", [(1, 96, 13), (17, 50, 96), 32])
def test_anisotropy_phantom__does_not_depend_on_chunks(chunks):
    whole = anisotropy_phantom(SHAPE, voxel_size=2.6)
    chunked = anisotropy_phantom(SHAPE, voxel_size=2.6, chunks=chunks)
    np.testing.assert_array_equal(chunked.values, whole.values)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("diameter", 70.0, "at most the spacing of 64.0 nm; got 70.0"),
        ("growth", -0.5, "growth must be finite and >= 0 per layer; got -0.5"),
        ("spacing", float("nan"), "spacing must be finite and > 0 nm; got nan"),
    ],
)
def test_anisotropy_phantom__refuses_wrong_arguments(argument, value, message):
    with pytest.raises(ConventionError, match=message):
        anisotropy_phantom(SHAPE, voxel_size=2, **{argument: value})
