"""What a network sees, and that nothing but this determines what it says."""

from copy import deepcopy

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from fibdask.conventions import ConventionError
from fibdask.learn.begun import of_channels
from fibdask.learn.networks import Architecture, Kept, WindowNetwork
from fibdask.learn.weights import LoadedNetwork

SMALL = Architecture(2, above=2, below=2, widths=(4, 4, 6), detail=6)
OTHER = Architecture(1, above=1, below=3, widths=(6, 4, 4), detail=3)
DISTANCES = np.array([-9.0, 0.0, 12.0, np.nan], np.float32)


def _network(architecture, seed=0):
    torch.manual_seed(seed)
    return WindowNetwork(architecture)


def _trained(architecture):
    """A network whose batch norms know means and variances that are not those of the beginning."""
    network = _network(architecture).train()
    images = 2 * torch.rand(4, architecture.voltages, architecture.slots, 32, 32)
    distances = torch.tensor(DISTANCES).expand(4, -1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        for _ in range(30):
            _logits(network, images, distances, 5.0)
    return network.eval()


def _logits(network, images, distances, offset):
    present = torch.ones(images.shape[:2])
    offsets = torch.full((len(images),), offset)
    return network(*network.look(images), present, distances, offsets)


def _farthest(network, pixel, size):
    """Return how far from a pixel images matter, where nothing cancels and nothing is cut off."""
    architecture = network.architecture
    shape = (1, architecture.voltages, architecture.slots, size, size)
    images = torch.ones(shape, dtype=torch.float64, requires_grad=True)
    distances = torch.arange(architecture.slots, dtype=torch.float64)[None]
    _logits(network, images, distances, 0.5)[0, pixel, pixel].backward()
    seen = images.grad.abs().sum((0, 1, 2))
    rows, columns = (torch.nonzero(seen.sum(axis) > 0).flatten() for axis in (1, 0))
    return max(int((places - pixel).abs().max()) for places in (rows, columns))


@pytest.mark.parametrize("architecture", [SMALL, OTHER])
def test_halo__is_how_far_gradients_reach(architecture):
    network = _network(architecture).double().eval()
    for parameter in network.parameters():
        parameter.data.abs_()
    size = 2 * (architecture.halo + 2 * architecture.stride) // 8 * 8
    middle = size // 2 // 8 * 8
    found = [_farthest(network, middle + k, size) for k in range(architecture.stride)]
    assert max(found) == architecture.halo


@pytest.mark.parametrize("architecture", [SMALL, OTHER])
def test_fold__changes_nothing(architecture):
    network = _trained(architecture)
    images = torch.rand(1, architecture.voltages, architecture.slots, 32, 32)
    distances = torch.tensor(DISTANCES)[None]
    expected = _logits(network, images, distances, 3.0).detach()
    found = _logits(deepcopy(network).fold(), images, distances, 3.0)
    assert float(expected.std()) > 0.01
    assert float((found - expected).abs().max()) < 1e-5


@pytest.fixture(scope="module")
def loaded():
    return LoadedNetwork(_trained(SMALL).fold(), 1.3)


def test_predict__of_a_tile_with_its_halo_is_that_of_the_whole(loaded):
    rng = np.random.default_rng(0)
    halo = -(-SMALL.halo // 8) * 8
    size = 2 * halo + 48
    images = rng.random((2, 4, size, size), np.float32)
    whole = loaded.predict(images, np.ones(2), DISTANCES, np.array([0.0, 4.0]))
    start = halo + 8
    window = slice(start - halo, start + 16 + halo)
    shown = images[..., window, window]
    part = loaded.predict(shown, np.ones(2), DISTANCES, np.array([0.0, 4.0]))
    tile, within = slice(start, start + 16), slice(halo, halo + 16)
    difference = np.abs(part[:, within, within] - whole[:, tile, tile])
    assert difference.max() < 1e-5


@pytest.mark.parametrize(
    "pixels",
    [
        (slice(0, 304), slice(0, 304)),
        (slice(0, 1), slice(303, 304)),
        (slice(149, 156), slice(90, 211)),
        (slice(150, 151), slice(0, 160)),
    ],
)
def test_predict__of_some_pixels_is_that_of_all(loaded, pixels):
    images = np.random.default_rng(2).random((2, 4, 304, 304), np.float32)
    given = images, np.ones(2), DISTANCES, np.array([0.0, 4.0])
    expected = loaded.predict(*given)[:, *pixels]
    np.testing.assert_allclose(loaded.predict(*given, pixels), expected, rtol=0, atol=2e-6)
    assert np.ptp(loaded.predict(*given)) > 0.01


def test_kept__is_all_that_pixels_are_made_of_and_little_more():
    whole = Kept.of((slice(0, 304), slice(0, 304)), (304, 304))
    assert whole.half == (slice(0, 152),) * 2
    assert whole.quarter == (slice(0, 76),) * 2
    some = Kept.of((slice(100, 200), slice(0, 8)), (304, 304))
    assert some.half == (slice(44, 106), slice(0, 10))  # 2 pixels, then 5 features on either side
    assert some.quarter == (slice(20, 56), slice(0, 8))
    assert some.eighth == whole.eighth == (slice(0, 38),) * 2


def test_predict__planes_do_not_depend_on_how_many_are_asked(loaded):
    images = np.random.default_rng(1).random((2, 4, 32, 32), np.float32)
    offsets = np.array([0.0, 2.5, 5.0, 11.0])
    together = loaded.predict(images, np.ones(2), DISTANCES, offsets)
    alone = [loaded.predict(images, np.ones(2), DISTANCES, offsets[k : k + 1])[0] for k in range(4)]
    np.testing.assert_array_equal(together, alone)
    assert together.dtype == np.float32
    assert np.ptp(together, axis=0).max() > 1e-4


def test_predict__leaves_the_threads_of_the_process_as_they_are(loaded):
    before = torch.get_num_threads()
    images = np.zeros((2, 4, 8, 8), np.float32)
    loaded.predict(images, np.ones(2), DISTANCES, np.zeros(1))
    assert torch.get_num_threads() == before


def test_architecture__is_what_its_card_says():
    assert Architecture.of_card(SMALL.as_card()) == SMALL


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"below": 0}, "below must be at least 1; got 0"),
        ({"widths": (8, 0, 8)}, r"widths must be at least 1; got \[8, 0, 8\]"),
        ({"detail": 6}, "detail must be more than 2 for each voltage, 3; got 6"),
    ],
)
def test_architecture__is_within_bounds(given, told):
    with pytest.raises(ConventionError, match=told):
        Architecture(3, **given)


@pytest.mark.parametrize("channels", [(1,), (2, 0)])
def test_of_channels__says_of_some_voltages_what_the_whole_says_of_them_alone(channels):
    whole = _trained(Architecture(3, above=2, below=2, widths=(4, 4, 6), detail=8))
    part = of_channels(whole, channels).eval()
    shown, distances = torch.rand(1, len(channels), 4, 16, 16), torch.tensor(DISTANCES)[None]
    images, present = torch.zeros(1, 3, 4, 16, 16), torch.zeros(1, 3)
    images[:, channels], present[:, channels] = shown, 1.0
    expected = whole(*whole.look(images), present, distances, torch.tensor([5.0]))
    found = _logits(part, shown, distances, 5.0)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
