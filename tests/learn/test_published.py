"""The networks of the articles are what they are said to be, and each one learns."""

from copy import deepcopy

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from fibdask.conventions import ConventionError
from fibdask.learn.predicting import LIBRARIES, NetworkPredictor
from fibdask.learn.published import (
    RESIDUAL,
    RESIDUAL_3D,
    SMALL_RESIDUAL,
    UNET,
    UNET_3D,
    VNET,
    Blocks,
    LateFusion,
    Published,
    PublishedNetwork,
    Trained,
)
from fibdask.learn.samples import Samples
from fibdask.learn.training import Batch, Schedule, Training
from fibdask.learn.weights import LoadedNetwork
from fibdask.pieces.windows import SliceWindow
from tests.learn.helpers import CLEAN, small_stack, taken_by

DESIGNS = {
    "2D": Published(width=4),
    "2.5D": Published(slices=3, width=4),
    "residual": Published(RESIDUAL, slices=7, width=4),
    "3D": Published(UNET_3D, 3, slices=8, width=4),
    "residual 3D": Published(RESIDUAL_3D, 3, slices=4, width=4),
    "V-Net": Published(VNET, 3, slices=4, width=4),
    "early": Published(slices=3, voltages=2, width=4),
    "intermediate": Published(RESIDUAL, slices=3, voltages=2, fusion="intermediate", width=4),
    "3D early": Published(UNET_3D, 3, slices=4, voltages=2, width=4),
    "3D intermediate": Published(UNET_3D, 3, slices=4, voltages=2, fusion="intermediate", width=4),
}
each = pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)


def _built(design, seed=0):
    torch.manual_seed(seed)
    return design.build().eval()


def _logits(network, images):
    return network(*network.look(images))


def _samples(design, voltages=(1.0,), crop=32):
    """Samples of slices that are bright where they are solid."""
    stack = small_stack(voltages=voltages)
    window = SliceWindow(design.above, design.below)
    return Samples([stack], CLEAN, window=window, crop=crop, planes=1, seed=3)


@each
def test_published__says_one_plane_of_each_window(design):
    images = torch.rand(2, design.voltages, design.slices, 32, 48)
    assert _logits(_built(design), images).shape == (2, 32, 48)


@pytest.mark.parametrize(("slices", "above", "below"), [(1, 1, 0), (7, 4, 3), (8, 4, 4)])
def test_published__windows_lie_about_their_slice(slices, above, below):
    design = Published(slices=slices)
    assert (design.above, design.below) == (above, below)


@pytest.mark.parametrize(
    "design", [DESIGNS[name] for name in ("3D", "V-Net", "3D early")], ids=lambda d: str(d.slices)
)
def test_published__a_stack_tells_of_its_own_slice(design):
    """Without a view beyond a pixel, what is said of a slice follows from that slice alone."""
    pixel = Blocks((1,), size=1)
    own = design.above - 1
    network = _built(Published(pixel, 3, design.slices, design.voltages, width=2))
    images = torch.rand(1, design.voltages, design.slices, 4, 4, requires_grad=True)
    _logits(network, images).sum().backward()
    seen = images.grad.abs().sum((0, 1, 3, 4))
    assert torch.nonzero(seen).flatten().tolist() == [own]


def _reach(network, design, pixel, size):
    shape = (1, design.voltages, design.slices, size, size)
    images = torch.ones(shape, dtype=torch.float64, requires_grad=True)
    _logits(network, images)[0, pixel, pixel].backward()
    seen = images.grad.abs().sum((0, 1, 2))
    places = torch.cat([torch.nonzero(seen.sum(axis) > 0).flatten() for axis in (0, 1)])
    return int((places - pixel).abs().max())


def _transparent(network):
    """Let gradients through everywhere: no maxima, and nothing that cancels."""
    for part in network.modules():
        for name, child in part.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(part, name, nn.AvgPool2d(child.kernel_size))
            elif isinstance(child, nn.MaxPool3d):
                setattr(part, name, nn.AvgPool3d(child.kernel_size))
    for parameter in network.parameters():
        parameter.data.abs_()
    return network


@pytest.mark.parametrize(
    "design",
    [
        Published(Blocks((2, 2, 2)), width=2),
        Published(Blocks((2, 1, 2, 1), residual=True), slices=3, width=2),
        Published(Blocks((1, 2, 3), size=5, pooling="convolution", residual=True), 3, 2, width=2),
        Published(Blocks((2, 2, 2), gradual=True), 3, 2, 2, fusion="intermediate", width=2),
    ],
    ids=["U-Net", "residual", "V-Net", "3D"],
)
def test_halo__is_how_far_gradients_reach(design):
    network = _transparent(_built(design).double())
    size = -(-(2 * design.halo + 2 * design.stride) // design.stride) * design.stride
    middle = size // 2 // design.stride * design.stride
    found = [_reach(network, design, middle + k, size) for k in range(design.stride)]
    assert max(found) == design.halo


def test_published__3d_u_net_has_the_weights_that_its_authors_count():
    """19,069,955 of three colours and three classes; ours has one class."""
    network = Published(UNET_3D, 3, slices=8, voltages=3).build()
    found = sum(parameter.numel() for parameter in network.parameters())
    assert found == pytest.approx(19_069_955, rel=1e-3)


@pytest.mark.parametrize(("blocks", "dimensions"), [(UNET, 2), (VNET, 3)])
def test_published__features_double_with_each_halving(blocks, dimensions):
    found = Published(blocks, dimensions, slices=8, width=16)
    assert found.widths == [16, 32, 64, 128, 256]
    assert found.stride == 16
    assert [factor[-2:] for factor in found.factors] == [(2, 2)] * 4
    assert dimensions == 2 or [factor[0] for factor in found.factors] == [2, 2, 2, 1]


@each
def test_published__learns_a_batch_by_heart(tmp_path, design):
    voltages = (1.0, 2.0)[: design.voltages]
    sample = _samples(design, voltages)[0]

    class Same:
        fingerprint = "one sample"

        def __getitem__(self, number):
            return sample

    training = Training(design, Same(), Schedule(steps=40, batch=2, learning_rate=3e-2), tmp_path)
    training.run(lambda *_: None)
    assert training.losses[-1] < 0.5 * training.losses[0]
    with torch.no_grad():
        said = Batch.of([sample, sample], torch.device("cpu")).logits(training.network.train())
    assert ((said[0].numpy() > 0) == (sample.truth > 0.5)).mean() > 0.95


def _member(bright):
    """A member for which solid is what is brighter, or what is darker."""
    network = _built(Published(Blocks((1,), size=1), width=2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.0)
        network.encoders[0].levels[0].convolutions[0][0].weight.fill_(1.0)
        network.encoders[0].levels[0].convolutions[0][1].weight.fill_(1.0)
        network.last.weight.fill_(4.0 if bright else -4.0)
        network.last.bias.fill_(-4.0 if bright else 4.0)
    return Trained(network, f"bright {bright}")


@pytest.mark.parametrize("joined", ["ensemble", "voting"])
def test_late_fusion__learns_whom_to_trust(tmp_path, joined):
    members = _member(bright=True), _member(bright=False)
    before = deepcopy(members[0].network.state_dict())
    fusion = LateFusion(members, joined)
    samples = _samples(fusion.design, (1.0, 2.0))
    schedule = Schedule(steps=60, batch=2, learning_rate=0.3)
    network = Training(fusion, samples, schedule, tmp_path).run(lambda *_: None).eval()
    batch = Batch.of([samples[0]], torch.device("cpu"))
    with torch.inference_mode():
        right = ((batch.logits(network) > 0) == (batch.truth > 0.5)).float().mean()
    assert right > 0.95
    assert sum(network.shares) == pytest.approx(1)
    if joined == "voting":
        assert network.shares[0] > 0.8
    after = network.members[0].state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_late_fusion__begins_with_the_mean_of_its_members():
    same = _member(bright=True), _member(bright=True)
    images = torch.rand(2, 2, 1, 8, 8)
    alone = _logits(same[0].network, images[:, :1])
    for joined in ("ensemble", "voting"):
        network = _built(LateFusion(same, joined))
        twice = _logits(network, images[:, :1].expand(-1, 2, -1, -1, -1))
        np.testing.assert_array_equal(twice > 0, alone > 0)
        assert network.shares == [0.5, 0.5]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Published(slices=0), "slices must be at least 1; got 0"),
        (lambda: Published(dimensions=4), "dimensions must be 2 or 3; got 4"),
        (lambda: Published(fusion="late"), "fusion must be one of early, intermediate; got 'late'"),
        (lambda: LateFusion(()), "one design, for one voltage; got 0 designs"),
        (lambda: LateFusion((_member(bright=True),), "sum"), "joined must be one of ensemble"),
    ],
)
def test_published__is_within_bounds(make, told):
    with pytest.raises(ConventionError, match=told):
        make()


def test_late_fusion__members_see_one_voltage_each():
    network = PublishedNetwork(Published(voltages=2, width=4))
    with pytest.raises(ConventionError, match="for one voltage"):
        LateFusion((Trained(network, "two"),))


@pytest.mark.parametrize(
    "design",
    [
        Published(SMALL_RESIDUAL, 2, voltages=2, width=16),
        Published(RESIDUAL_3D, 3, slices=8, width=16),
        Published(RESIDUAL_3D, 3, slices=4, voltages=2, width=8),
        Published(RESIDUAL_3D, 3, slices=2, width=16),
    ],
)
def test_bytes__of_a_window_are_no_less_than_it_takes(design):
    loaded = LoadedNetwork(_built(design).fold(), 1.0)
    window = SliceWindow(design.above, design.below)
    around = (design.halo,) * 2, (design.stride,) * 2, design.floats, design.scratch
    predictor = NetworkPredictor("", "", "cpu", window, design.voltages, *around, "float32")
    shown = np.ones(design.voltages), window.distances(3, np.arange(9.0)), np.zeros(1)
    images = np.ones((design.voltages, design.slices, 192, 192), np.float32)
    loaded.predict(images[..., :64, :64], *shown)  # what libraries take
    said = predictor.bytes((192, 192), 1)[0] - LIBRARIES
    assert taken_by(lambda: loaded.predict(images, *shown)) <= said
