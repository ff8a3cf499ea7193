"""Images translated to the look of others without pairs, and what a model learns from them."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from fibdask.conventions import ConventionError
from fibdask.learn.adaptation.source import Source
from fibdask.learn.adaptation.target import Target
from fibdask.learn.adaptation.translation import (
    Cycle,
    CycleDesign,
    Generator,
    UnpairedBatch,
    UnpairedSamples,
    translated,
)
from fibdask.learn.models import Model
from fibdask.learn.training import Schedule, Training
from fibdask.pieces.windows import SliceWindow
from tests.learn.test_weights import NEEDED

WINDOW = SliceWindow(2, 2)
DRAWN = {"window": WINDOW, "crop": 32, "planes": 2, "seed": 3}


def spots(bright, slices=5, size=40, voltages=1):
    """Return images of round spots that are as bright."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    images = np.zeros((voltages, slices, size, size), np.float32)
    for k in range(slices):
        for centre in rng.uniform(0, size, (6, 2)):
            images[:, k][:, np.hypot(y - centre[0], x - centre[1]) < 4] = bright
    return Target(images, 10.0 * np.arange(slices), WINDOW, 2.5)


def samples(source=1.0, target=0.4):
    return UnpairedSamples(source=spots(source), target=spots(target), **DRAWN)


def trained(folder, steps, **options):
    schedule = Schedule(steps=steps, batch=1, learning_rate=3e-3, average=5)
    return Training(CycleDesign(1), samples(), schedule, folder, gather=UnpairedBatch.of, **options)


def test_generator__is_the_identity_at_first():
    images = np.random.default_rng(0).random((2, 3, 32, 40), np.float32)
    np.testing.assert_array_equal(translated(Generator(2), images), images)


def test_translated__cuts_sides_to_whole_strides():
    images = np.random.default_rng(0).random((2, 3, 30, 41), np.float32)
    np.testing.assert_array_equal(translated(Generator(2), images), images[..., :24, :40])


def test_unpaired_samples__are_made_of_their_number():
    drawn = samples()
    for one, same, other in zip(drawn[5], drawn[5], drawn[6], strict=True):
        assert one.shape == (1, 32, 32)
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, other)


def test_cycle__images_learn_to_deceive_judges_and_judges_from_images():
    torch.manual_seed(0)
    network = Cycle(1)
    torch.nn.init.normal_(network.to_target.last.weight, std=0.1)
    source, target = torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32)
    network.loss(source, target).backward()
    given = {name: part.grad.clone() for name, part in network.named_parameters()}
    # What a judge learns is what it alone would have learnt from the same images.
    network.zero_grad()
    made = network.to_target(source).detach()
    judge = network.of_target
    (((judge(target) - 1) ** 2).mean() / 2 + (judge(made) ** 2).mean() / 2).backward()
    for name, part in judge.named_parameters():
        torch.testing.assert_close(given[f"of_target.{name}"], part.grad)
    assert float(given["to_target.last.weight"].abs().max()) > 0


def test_training__of_a_cycle_finds_the_other_brightness(tmp_path):
    network = trained(tmp_path, 30).run(lambda *_: None)
    bright = spots(1.0).images
    made = translated(network.to_target, bright)
    solid = bright > 0.5
    assert made[solid].mean() < 0.99
    assert abs(made[~solid].mean()) < 0.05


def test_training__of_a_cycle_goes_on_where_it_was(tmp_path):
    expected = trained(tmp_path / "whole", 4).run(lambda *_: None).state_dict()

    def stop(step, *_):
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", 4, saved_every=0.0).run(stop)
    found = trained(tmp_path / "parts", 4).run(lambda *_: None).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize("lacking", [{"materials": {}}, {"electrons_per_pixel": None}])
def test_source__of_what_was_painted_cannot_be_simulated(lacking):
    card = NEEDED | {"materials": {"pore": "epoxy", "solid": "Au"}} | lacking
    with pytest.raises(ConventionError, match=f"of tiny says no {next(iter(lacking))}, as it"):
        Source.simulated(Model("", card), spots(1.0, voltages=2), 0.2, 7)


def test_source__shows_the_truth_of_its_images():
    card = NEEDED | {"materials": {"pore": "epoxy", "solid": "Au"}}
    target = replace(spots(1.0, voltages=2, size=64), pixel=2.5)
    source = Source.simulated(Model("", card), target, 0.2, 7)
    images = source.images.images
    assert images.shape[0] == 2
    assert images.shape[2:] == source.truth.shape[2:] == (64, 64)
    assert source.truth.mean() == pytest.approx(0.2, abs=0.08)
    solid = source.truth[:, 0] > 0.5
    assert images[0][solid].mean() > images[0][~solid].mean() + 0.4
    # Half way to the next slice lies what is neither of both.
    assert 0 < (source.truth[:, 0] != source.truth[:, 1]).mean() < 0.2
