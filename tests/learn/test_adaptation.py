"""What models are fitted to without labels, and the score that chooses among them."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from scipy.ndimage import gaussian_filter

from fibdask.conventions import ConventionError
from fibdask.learn.adaptation.candidates import SELF_TRAINING, Candidate, Fitting, Root
from fibdask.learn.adaptation.explaining import Explanation
from fibdask.learn.adaptation.fitting import predicted, with_target_statistics
from fibdask.learn.adaptation.scoring import score
from fibdask.learn.adaptation.selftraining import AgreedSamples, Descendant, agreed
from fibdask.learn.adaptation.target import Target
from fibdask.learn.greymaps import GreyMap, grey_maps, mapped_images
from fibdask.learn.models import Model
from fibdask.learn.networks import Architecture
from fibdask.learn.training import Training
from fibdask.pieces.windows import SliceWindow

TINY = Architecture(2, above=2, below=2, widths=(8, 8, 8), detail=6)


def small_target(scale=1.0, slices=6, size=32):
    rng = np.random.default_rng(0)
    images = scale * rng.random((2, slices, size, size), np.float32)
    return Target(images, 10.0 * np.arange(slices), SliceWindow(2, 2), 2.5)


@pytest.fixture
def network():
    torch.manual_seed(0)
    built = TINY.build()
    # Norms of a network that has seen something, though not this.
    built.train()
    images = torch.rand(4, 2, 4, 32, 32)
    distances = torch.tensor([[-10.0, 0.0, 10.0, 20.0]] * 4)
    for _ in range(5):
        built(*built.look(images), torch.ones(4, 2), distances, torch.zeros(4))
    return built.eval()


def test_target__shows_windows_as_networks_learn_from_them():
    sample = small_target().sample(0)
    assert sample.images.shape == (2, 4, 32, 32)
    assert not sample.images[:, 0].any()  # nothing lies above the first slice
    np.testing.assert_array_equal(sample.offsets, [0, 5])
    np.testing.assert_array_equal(sample.distances[1:], [0, 10, 20])


def test_with_target_statistics__leaves_a_network_without_a_share(network):
    fitted = with_target_statistics(network, small_target(2.0), 0.0)
    for name, value in fitted.state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[name])


def test_with_target_statistics__takes_means_and_variances_alone(network):
    fitted = with_target_statistics(network, small_target(2.0), 1.0).state_dict()
    changed = {k for k, v in network.state_dict().items() if not torch.equal(v, fitted[k])}
    assert changed
    assert all("running" in name for name in changed)


def test_with_target_statistics__undo_another_scale(network):
    plain, brighter = small_target(), small_target(3.0)
    first = "trunk.gather.norm.running_mean"
    means = [
        with_target_statistics(network, target, 1.0).state_dict()[first]
        for target in (plain, brighter)
    ]
    torch.testing.assert_close(means[1], 3 * means[0], rtol=0.05, atol=0.01)


def test_predicted__tells_of_every_voltage(network):
    together, alone = predicted(network, small_target(), 1.0)
    assert together.shape == (6, 32, 32)
    assert len(alone) == 2
    assert not np.array_equal(alone[0], alone[1])


def noisy(truth, flipped, seed=0):
    """Return probabilities that are sure, but wrong in a share of voxels."""
    wrong = np.random.default_rng(seed).random(truth.shape) < flipped
    return np.where(truth ^ wrong, 0.99, 0.01)


@pytest.fixture(scope="module")
def truth():
    smooth = gaussian_filter(np.random.default_rng(1).standard_normal((48, 64, 64)), 4, mode="wrap")
    return (smooth > 0)[::4]


def test_score__is_higher_where_voltages_disagree(truth):
    steps = np.full(len(truth), 4.0)
    alike = score(noisy(truth, 0.0), [noisy(truth, 0.0), noisy(truth, 0.01)], steps)
    apart = score(noisy(truth, 0.0), [noisy(truth, 0.0), noisy(truth, 0.1)], steps)
    assert apart.disagreement > 5 * alike.disagreement
    assert apart.total > alike.total


def test_score__is_higher_where_all_is_pore(truth):
    steps = np.full(len(truth), 4.0)
    parent = noisy(truth, 0.02)
    kept = score(noisy(truth, 0.0), [], steps, parent)
    lost = score(np.full(truth.shape, 0.001), [], steps, parent)
    assert lost.doubt < kept.doubt
    assert lost.departure > 30 > 5 > kept.departure
    assert lost.total > kept.total


def test_score__is_higher_where_slices_show_those_below(truth):
    steps = np.full(len(truth), 4.0)
    through = truth | np.roll(truth, -1, axis=0)
    clear, shining = (score(noisy(one, 0.0), [], steps) for one in (truth, through))
    assert shining.anisotropy > 1.3 * clear.anisotropy
    assert shining.total > clear.total


def test_score__is_half_where_half_as_many_simulated_voxels_are_wrong(truth):
    plain = score(noisy(truth, 0.0), [], np.full(len(truth), 4.0))
    root = replace(plain, tested=2.0)
    assert plain.compared(root, 1.0).total == root.total / 2
    assert plain.told()["tested"] is None


def test_grey_map__is_a_power_of_grey_values():
    seen = np.linspace(0.1, 1, 10)
    np.testing.assert_allclose(GreyMap.power(1.7)(seen), seen**1.7, atol=0.01)


def test_grey_map__rises_beyond_its_ends():
    grey = GreyMap((0.0, 1.0), (0.2, 0.8))
    np.testing.assert_allclose(grey(np.array([-1.0, 0.5, 3.0])), [-0.8, 0.5, 2.8], atol=1e-6)


def test_mapped_images__leaves_what_is_not_there():
    maps = grey_maps({"grey_map": [{"given": [0, 1], "made": [1, 2]}] * 2})
    images = np.zeros((2, 3, 4, 4), np.float32)
    distances = np.array([np.nan, 0.0, 10.0])
    mapped = mapped_images(images, maps, np.array([True, False]), distances)
    np.testing.assert_array_equal(mapped[:, :, 0, 0], [[0, 1, 1], [0, 0, 0]])


def test_trainings__begin_with_grey_values_that_images_come_from(truth):
    bent, other = (GreyMap.power(1.7),), (GreyMap.power(0.6),)
    totals = {(): 3.0, bent: 2.0, other: 1.0}
    found = [
        Candidate(
            "", None, maps, replace(score(truth, [], np.ones(len(truth))), total=total), truth
        )
        for maps, total in totals.items()
    ]

    def begun(**unexplained):
        shares = dict(zip(totals, unexplained.values(), strict=True))
        roots = {
            maps: Root(None, None, Explanation(None, (), np.array(share)), None)
            for maps, share in shares.items()
            if share
        }
        fitting = Fitting(Model("", {}), small_target(), Path(), {}, 0, _roots=roots)
        return fitting.beginning(found).maps

    assert begun(given=[0.2, 0.3], bent=[0.3, 0.3], other=[0.2, 0.4]) == ()
    assert begun(given=[0.2, 0.3], bent=[0.2, 0.2], other=[0.3, 0.3]) == bent
    assert begun(given=[0.2, 0.3], bent=[0.2, 0.2], other=None) == bent
    assert begun(given=None, bent=None, other=None) == other  # nothing simulates such images


def test_candidates__are_not_made_of_a_model_that_finds_no_solid(network):
    with torch.no_grad():
        network.head.last.bias.fill_(-20.0)
    parent = Model(Path(), {"name": "tiny", "temperature": 1.0})
    fitting = Fitting(parent, small_target(), Path(), {}, 0)
    with pytest.raises(ConventionError, match="tiny finds no solid in the middle of the stack"):
        fitting._candidate("parent", network, ())


def test_agreed__is_the_same_for_mirrored_images(network):
    target = small_target()
    folded = network.fold()
    mirrored = Target(target.images[..., ::-1].copy(), target.z, target.window, target.pixel)
    one, other = (agreed(folded, of, 1.0) for of in (target, mirrored))
    np.testing.assert_allclose(other[..., ::-1], one, atol=0.02)


@pytest.mark.parametrize(("tilted", "mirrored"), [(True, (-1,)), (False, (-2, -1))])
def test_self_training__mirrors_images_of_a_tilted_beam_along_x_alone(network, tilted, mirrored):
    plain = small_target(slices=4, size=16)
    rises = np.arange(16, dtype=np.float32)[:, np.newaxis]
    target = replace(plain, images=plain.images + rises)
    card = {"temperature": 1.0, "training": {"samples": {"tilted": tilted}}}
    fitting = Fitting(Model(Path(), card), target, Path(), {}, 0)
    samples = fitting.agreed_samples(Candidate("", network, (), None, None))
    shown = (samples[number].images[0, 1] for number in range(16))
    assert any(image[-1].mean() < image[0].mean() for image in shown) == (not tilted)
    truth = agreed(network.fold(), target, 1.0, mirrored=mirrored)
    np.testing.assert_array_equal(samples.truth, truth)


def test_self_training__is_the_same_where_torch_computes_other_last_bits(network, monkeypatch):
    noted = []
    monkeypatch.setattr(
        Training, "run", lambda self, _tell: noted.append(self.fingerprint) or self.network
    )
    monkeypatch.setattr(Fitting, "_candidate", lambda *_: None)
    other = deepcopy(network)
    with torch.no_grad():
        for weight in other.parameters():
            weight.copy_(torch.nextafter(weight, torch.tensor(torch.inf)))
    parent = Model(Path(), {"temperature": 1.0, "sha256": "", "architecture": {}})
    for first, seed in ((network, 0), (other, 0), (network, 1)):
        fitting = Fitting(parent, small_target(), Path(), {SELF_TRAINING: 1}, seed)
        fitting._self_trained(Candidate("first", first, (), None, None))
    assert noted[0] == noted[1] != noted[2]


def test_descendant__learns_in_its_first_layers_alone(network):
    built = Descendant.of(network).build().train()
    learns = {name for name, weight in built.named_parameters() if weight.requires_grad}
    assert "trunk.gather.convolution.weight" in learns
    assert not any(name.startswith("trunk.bottom") for name in learns)
    before = {name: value.clone() for name, value in built.named_buffers()}
    built.look(torch.rand(1, 2, 4, 32, 32))
    for name, value in built.named_buffers():  # statistics are not those of spoilt images
        torch.testing.assert_close(value, before[name])


def test_agreed_samples__are_made_of_their_number(network):
    target = small_target()
    truth = np.zeros((6, 2, 32, 32), np.float32)
    drawn = {"window": target.window, "crop": 16, "planes": 2, "seed": 3}
    samples = AgreedSamples(target=target, truth=truth, **drawn)
    np.testing.assert_array_equal(samples[5].images, samples[5].images)
    assert samples[5].images.shape == (2, 4, 16, 16)
    assert not np.array_equal(samples[5].images, samples[6].images)
