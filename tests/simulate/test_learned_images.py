"""Images by a network: what it is shown, how that is cut, the noise, and what is refused."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import correlate1d

from fibdask.conventions import ConventionError, validate_stack
from fibdask.simulate import levelled_wave, mimic_milling, simulate_images
from fibdask.simulate.images import learned
from fibdask.simulate.images.layers import RUNS, Layers, half_contrast_depth, mirrored, window_of

CLEAN = {"model": "learned", "electrons_per_pixel": None, "gaussian_std": 0.0, "dtype": "float32"}
LAYERS = Layers((0.1, 0.5, 1.0, 4.0, 250.0), 3)
WHITE = 0.6


@dataclass(frozen=True)
class Smoothing:
    """Weighs layers, and smooths them over as many pixels as its halo."""

    layers: Layers = LAYERS
    halo: int = 16
    margin: int = 8
    stride: int = 8
    device: str = "cpu"
    fingerprint: str = "smoothing"

    def bytes(self, shape):
        return 40 * shape[0] * shape[1]

    def __call__(self, shown, *, voltage, pixel_size, materials):
        assert all(n % self.stride == 0 for n in shown.shape[1:])
        # A power of 2 of pixels and weights: sums are exact, in whatever order.
        weights = np.full(17, 1 / 32)
        smooth = correlate1d(correlate1d(shown[0], weights, mode="constant"), weights, axis=0)
        return np.float32(0.25) * shown[0] + np.float32(0.25) * smooth + shown[1] / 8


@pytest.fixture(autouse=True)
def network(monkeypatch):
    model = SimpleNamespace(
        name="smoothing",
        fingerprint="smoothing",
        card={"errors": {"rms": 1.0, "conditions": []}},
        image_predictor=Smoothing,
    )
    monkeypatch.setattr(learned, "find_image_model", lambda *_, **__: model)


def structure(shape=(30, 40, 50), chunks="auto"):
    return levelled_wave(
        shape, voxel_size=2.5, ligament_size=20, solid_fraction=0.4, seed=2, chunks=chunks, waves=20
    )


def seen_below(solid, z, plane, voltage, *, vacuum, pixel_size=(2.5, 2.5)):
    """Return what is seen below a plane of a structure (z, y, x)."""
    weights = LAYERS.weights(z, plane, voltage, vacuum=vacuum)
    below = slice(plane, plane + len(weights))
    depths = z[below] - z[plane]
    return LAYERS.look(solid[below], depths, weights, voltage, pixel_size, vacuum=vacuum)


@pytest.mark.parametrize("vacuum", [True, False])
@pytest.mark.parametrize("steps", [[2.5], [1.0, 7.0, 3.0]])
def test_layers__hold_the_share_of_what_lies_in_them(steps, vacuum):
    z = np.cumsum(np.resize(steps, 60))
    solid = np.random.default_rng(1).integers(0, 2, (60, 1, 1), np.uint8)
    shares = seen_below(solid, z, 3, 2.0, vacuum=vacuum)[:-RUNS, 0, 0]
    depths = LAYERS.depths(2.0, vacuum=vacuum)
    for share, low, high in zip(shares, depths[:-1], depths[1:], strict=True):
        inside = z[3] + np.linspace(low, high, 20001)[:-1]
        planes = np.searchsorted(z, inside, side="right") - 1
        assert share == pytest.approx(solid[planes].mean() if high > low else 0, abs=2e-4)


@pytest.mark.parametrize(
    ("solid", "begin", "end"),
    [
        ([1, 1, 0, 1, 0, 0], 0, 4),
        ([0, 0, 1, 0, 1, 1], 4, 7),
        ([0, 0, 0, 0, 0, 1], 10, np.inf),
        ([0, 0, 0, 0, 0, 0], np.inf, np.inf),
    ],
)
@pytest.mark.parametrize("vacuum", [True, False])
def test_layers__are_shown_with_the_first_solid(solid, begin, end, vacuum):
    z = np.array([5.0, 7, 9, 12, 13, 15])
    structure = np.array(solid, np.uint8)[:, np.newaxis, np.newaxis]
    found = seen_below(structure, z, 0, 2.0, vacuum=vacuum, pixel_size=(2.0, 4.5))[-RUNS:, 0, 0]
    deepest, unit = LAYERS.depths(2.0, vacuum=vacuum)[-1], half_contrast_depth(2.0)
    begin, end = min(begin, deepest), min(end, deepest)
    expected = (
        np.log1p(begin / unit) / 6,
        begin / (begin + 96),
        (end - begin) / (end - begin + unit),
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_layers__end_where_electrons_do_not_come_back_from():
    z = np.arange(0, 3000, 2.5)
    seen = {v: len(LAYERS.weights(z, 0, 2.0, vacuum=v)) * 2.5 for v in (True, False)}
    assert seen[True] == 1000
    assert seen[False] == pytest.approx(24.2, abs=2.5)


def test_windows__show_the_mirror_image_beyond_the_sides():
    window = window_of(slice(0, 10), 10, halo=16, margin=8, stride=8)
    assert window == slice(-8, 24)
    expected = [7, 6, 5, 4, 3, 2, 1, 0, *range(10), 9, 8, 7, 6, 5, 4, 3, 2]
    assert mirrored(window, 10, 8).tolist() == expected


def test_simulate_images__shows_a_network_the_mirrored_structure():
    phase = structure().compute()
    image = simulate_images(phase, voltage=4, slices=[25.0], seed=0, **CLEAN).intensity.values[0, 0]
    seen = seen_below(phase.values, phase.z.values, 10, 4.0, vacuum=False)
    padded = np.pad(seen, ((0, 0), (8, 8), (8, 14)), mode="symmetric")
    padded[..., -6:] = 0
    shown = np.concatenate([padded, np.ones_like(padded[:1])])
    shown[..., -6:] = 0
    whole = Smoothing()(shown, voltage=4, pixel_size=(2.5, 2.5), materials=("epoxy", "Au"))
    np.testing.assert_array_equal(image, whole[8:48, 8:58] / np.float32(WHITE))


@pytest.mark.parametrize("chunks", [(30, 40, 50), (7, 12, 50), (30, 5, 9)])
def test_simulate_images__by_a_network_does_not_depend_on_chunks(chunks):
    options = {"voltage": [1, 2, 4], "model": "learned", "seed": 3}
    slices = mimic_milling(structure(), mean_thickness=6, std_thickness=3, seed=1)
    expected = simulate_images(structure().compute(), slices=slices, **options).compute()
    found = simulate_images(structure(chunks=chunks), slices=slices, **options).compute()
    xr.testing.assert_identical(found.drop_attrs(deep=False), expected.drop_attrs(deep=False))
    validate_stack(found)


def test_simulate_images__a_part_of_a_large_image_equals_that_of_the_whole():
    phase = structure((3, 600, 530))
    stack = simulate_images(phase, voltage=[1, 2], model="learned", seed=3)
    whole = stack.intensity.compute()
    part = {"voltage": slice(1, 2), "z": slice(1, 2), "y": slice(300, 341), "x": slice(250, 300)}
    np.testing.assert_array_equal(stack.intensity.isel(part).compute(), whole.isel(part))


def test_simulate_images__tiles_of_a_network_are_those_of_the_whole():
    phase = structure((2, 600, 24)).compute()
    image = simulate_images(phase, voltage=1, slices=[0.0], seed=0, **CLEAN).intensity.values[0, 0]
    low, high = (phase.isel(y=part) for part in (slice(0, 400), slice(200, 600)))
    for part, own, of in (
        (low, slice(0, 380), slice(0, 380)),
        (high, slice(20, 400), slice(220, 600)),
    ):
        cut = simulate_images(part, voltage=1, slices=[0.0], seed=0, **CLEAN).intensity.values[0, 0]
        np.testing.assert_array_equal(cut[own], image[of])


def test_simulate_images__counts_about_what_a_network_says_are_poisson_distributed():
    phase = xr.ones_like(structure((2, 200, 200)).compute())
    options = CLEAN | {"electrons_per_pixel": 40.0, "seed": 5, "voltage": 2, "slices": [0.0]}
    mean = simulate_images(phase, **options | {"electrons_per_pixel": None}).intensity.values
    counts = simulate_images(phase, **options).intensity.values * 40 * WHITE
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-4)
    inside = (..., slice(20, -20), slice(20, -20))
    expected = float(mean[inside].mean()) * 40 * WHITE
    assert counts[inside].mean() == pytest.approx(expected, rel=0.01)
    assert counts[inside].var() == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"tilt": 10.0}, "tilt is 0"),
        ({"detector": "icd"}, "energy_window is 1"),
        ({"elastic": "browning"}, "elastic is 'mott'"),
        ({"materials": {0: "epoxy", 1: "Au"}}, "the names of those of pore and solid"),
    ],
)
def test_simulate_images__refuses_what_no_network_has_learnt(changed, fault):
    with pytest.raises(ConventionError, match=fault):
        simulate_images(structure(), voltage=2, model="learned", seed=0, **changed)
