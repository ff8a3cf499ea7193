"""Networks are judged by every voxel once, and told how sure they may be."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from fibdask.learn.networks import Architecture, WindowNetwork
from fibdask.learn.samples import Sample
from fibdask.learn.validation import (
    Condition,
    Validation,
    Windows,
    conditions,
    errors_of,
    told_error,
    validate,
    validate_stacks,
)
from tests.learn.helpers import SLICES, small_stack

TINY = Architecture(2, above=2, below=2, widths=(4, 4, 4), detail=6)
BOTH = Condition((1.0, 2.0), 50.0)


def test_windows__show_every_plane_from_the_first_slice_to_the_last_once():
    stack = small_stack()
    windows = [*Windows(stack, TINY, BOTH, 0)]
    assert len(windows) == len(SLICES)
    truth = np.concatenate([window.truth for window in windows])
    np.testing.assert_array_equal(truth, stack.truth[: SLICES[-1] + 1])
    for window, i in zip(windows, SLICES, strict=True):
        planes = stack.depths[i] + window.offsets
        np.testing.assert_allclose(planes, stack.depths[i : i + len(planes)], atol=1e-4)


def test_windows__show_the_voltages_and_electrons_of_their_condition():
    stack = small_stack()
    full = Windows(stack, TINY, BOTH, 0)[3]
    one = Windows(stack, TINY, Condition((2.0,), 50.0), 0)[3]
    few = Windows(stack, TINY, Condition((1.0, 2.0), 5.0), 0)[3]
    assert full.present.tolist() == [1, 1]
    assert one.present.tolist() == [0, 1]
    assert not one.images[0].any()
    rough, fine = (window.images[0, 1][window.truth[0] == 1].std() for window in (few, full))
    assert rough > 1.5 * fine


def test_windows__are_whole_multiples_of_the_stride():
    assert Windows(small_stack(size=45), TINY, BOTH, 0)[0].truth.shape == (3, 40, 40)


def test_conditions__are_all_voltages_and_each_at_the_electrons_that_there_are():
    stacks = [small_stack(0), small_stack(1, electrons=40.0)]
    told = [(c.voltages, c.electrons_per_pixel) for c in conditions(stacks)]
    kinds = [(1.0, 2.0), (1.0,), (2.0,)]
    assert told == [(kind, electrons) for electrons in (40.0, 20.0) for kind in kinds]
    (one, fewer) = conditions([small_stack(voltages=(2.0,))])
    assert one.voltages == fewer.voltages == (2.0,)


@pytest.mark.parametrize(("answer", "wrong"), [(20.0, 0), (-20.0, 1)])
def test_validate__counts_wrong_voxels_on_slices_and_between(answer, wrong):
    torch.manual_seed(0)
    network = WindowNetwork(TINY)
    with torch.no_grad():
        network.head.last.weight.zero_()
        network.head.last.bias.fill_(answer)
    stack = small_stack(truth=np.ones((36, 40, 40), np.uint8))
    found = validate(network, Windows(stack, TINY, BOTH, 0))
    slices = len(SLICES)
    assert found.voxels.tolist() == [slices * 1600, (SLICES[-1] + 1 - slices) * 1600]
    np.testing.assert_array_equal(found.wrong, wrong * found.voxels)
    assert found.misplaced == found.on_slices == found.between == 100 * wrong


def test_validate__is_told_how_sure_a_network_may_be_by_any_known_voxel():
    truth = np.full((1, 16, 16), np.nan, np.float32)
    truth[0, 1, 1::2], truth[0, 2, 1::2] = 0, 1
    images = np.zeros((2, 4, 16, 16), np.float32)
    known, unknown = (
        Sample(
            images,
            np.ones(2, np.float32),
            np.zeros(4, np.float32),
            np.zeros(1, np.float32),
            answers,
        )
        for answers in (truth, truth * np.nan)
    )
    found = validate(WindowNetwork(TINY), [known])
    assert [len(voxels) for voxels in found.logits] == [found.voxels.sum()] == [16]
    found = validate(WindowNetwork(TINY), [unknown])
    assert found.temperature() == 1
    assert told_error(found.calibration_error(1.0)) is None


def test_temperature__makes_probabilities_frequencies():
    rng = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(4, 20_000, generator=rng)
    truth = (torch.rand(4, 20_000, generator=rng) < logits.sigmoid()).float()
    none = np.zeros(2, int)
    found = Validation(none, none, [*(1.8 * logits)], [*truth])
    temperature = found.temperature()
    assert temperature == pytest.approx(1.8, rel=0.04)
    assert found.calibration_error(temperature) < 0.01
    assert found.calibration_error(1.0) > 3 * found.calibration_error(temperature)


def test_errors_of__tells_the_first_condition_and_all():
    torch.manual_seed(0)
    stacks = [small_stack(0), small_stack(1)]
    found = validate_stacks(WindowNetwork(TINY), stacks, 0)
    errors = errors_of(found, 1.0)
    assert [*found] == conditions(stacks)
    assert len(errors["conditions"]) == 6
    assert errors["misplaced"] == errors["conditions"][0]["misplaced"]
    assert errors["voltages"] == [1.0, 2.0]
    parts = [validate(WindowNetwork(TINY), Windows(s, TINY, BOTH, 0)) for s in stacks]
    assert Validation.joined(parts).voxels.tolist() == found[BOTH].voxels.tolist()
