"""Training goes on exactly where it was, and networks learn."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from fibdask.blocks import fingerprint
from fibdask.conventions import ConventionError
from fibdask.learn.begun import Begun, Mixed
from fibdask.learn.networks import Architecture
from fibdask.learn.training import STATE, Schedule, Training, phase_loss
from tests.learn.helpers import CLEAN, small_samples, small_stack

TINY = Architecture(2, above=2, below=2, widths=(8, 8, 8), detail=6)
SHORT = Schedule(steps=6, batch=2)


def _training(folder, schedule=SHORT, samples=None, **options):
    return Training(TINY, samples or small_samples(), schedule, folder, **options)


def _silent(*_figures):
    return None


def _until(last):
    def tell(step, *_figures):
        if step == last:
            raise KeyboardInterrupt

    return tell


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    training = _training(tmp_path_factory.mktemp("whole"))
    return training.run(_silent).state_dict(), training.losses


@pytest.mark.parametrize("interrupted", [1, 3, 5])
def test_training__goes_on_to_the_last_bit_after_any_step(tmp_path, whole, interrupted):
    with pytest.raises(KeyboardInterrupt):
        _training(tmp_path, saved_every=0.0).run(_until(interrupted))
    resumed = _training(tmp_path)
    weights = resumed.run(_silent).state_dict()
    assert resumed.losses == whole[1]
    assert weights.keys() == whole[0].keys()
    assert all(torch.equal(weights[name], whole[0][name]) for name in weights)


def test_training__is_not_made_again_when_it_is_done(tmp_path, whole):
    _training(tmp_path).run(_silent)
    state = (tmp_path / STATE).read_bytes()
    weights = _training(tmp_path).run(_until(0)).state_dict()
    assert all(torch.equal(weights[name], whole[0][name]) for name in weights)
    assert (tmp_path / STATE).read_bytes() == state


@pytest.mark.parametrize(
    "other",
    [
        {"schedule": Schedule(steps=7, batch=2)},
        {"samples": small_samples(seed=6)},
        {"samples": small_samples(small_stack(1))},
    ],
)
def test_training__refuses_the_state_of_another(tmp_path, other):
    _training(tmp_path).run(_silent)
    with pytest.raises(ConventionError, match="state of another training"):
        _training(tmp_path, **other).run(_silent)


def test_training__is_the_same_where_its_inputs_lie_elsewhere():
    fields = {"fields": TINY, "weights": "those", "channels": (0, 1)}
    begun = [Begun(folder=folder, **fields) for folder in ("here", "there")]
    mixed = [Mixed(folder="here", kept=kept, **fields) for kept in (0.2, 0.3)]
    data = [small_samples(small_stack(0, name=name)) for name in ("a", "b")]
    assert fingerprint(begun[0], data[0]) == fingerprint(begun[1], data[1])
    assert len({fingerprint(design) for design in (begun[0], *mixed)}) == 3


def test_training__ends_where_the_loss_is_no_number(tmp_path):
    fast = Schedule(steps=20, batch=2, learning_rate=1e30, decline="late")
    with pytest.raises(ConventionError, match=r"loss of step \d+ is (nan|inf): .*learning_rate"):
        _training(tmp_path, fast).run(_silent)
    assert not (tmp_path / STATE).exists()


def test_training__leaves_its_last_state_where_the_disk_is_full(tmp_path, monkeypatch):
    def full(file, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(KeyboardInterrupt):
        _training(tmp_path, saved_every=0.0).run(_until(2))
    state = (tmp_path / STATE).read_bytes()
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        _training(tmp_path, saved_every=0.0).run(_silent)
    assert [*tmp_path.glob("*.partial")] == []
    assert (tmp_path / STATE).read_bytes() == state


def test_training__refuses_a_damaged_state(tmp_path):
    (tmp_path / STATE).write_bytes(b"no tensors")
    with pytest.raises(ConventionError, match="is damaged"):
        _training(tmp_path).run(_silent)


def test_training__steps_follow_from_the_time_that_there_is(tmp_path):
    training = _training(tmp_path, Schedule(minutes=0.01, batch=1))
    seen = []
    training.run(lambda step, steps, loss: seen.append((step, steps, training.seconds)))
    assert seen[0][:2] == (1, 0)
    assert seen[-1][:2] == (training.steps, training.steps)
    step, steps, seconds = next(told for told in seen if told[1])
    pace = seconds / (step - 1)
    assert steps == step + 1 or 0.6 - pace <= steps * pace <= 0.6


def test_training__a_network_learns(tmp_path):
    stacks = [small_stack(seed, voltages=(1.0, 2.0)) for seed in range(2)]
    samples = small_samples(*stacks, variation=CLEAN, crop=32)
    training = _training(tmp_path, Schedule(steps=40, batch=4, learning_rate=1e-2), samples)
    training.run(_silent)
    assert np.mean(training.losses[-5:]) < 0.5 * np.mean(training.losses[:3])


def test_schedule__rises_to_its_rate_and_falls_to_nothing():
    schedule = Schedule(learning_rate=1.0)
    rates = np.array([schedule.rate(step, 100) for step in range(100)])
    assert rates[9] == rates.max() == 1.0
    assert (np.diff(rates[:10]) > 0).all()
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[-1] < 1e-3


def test_schedule__of_more_steps_begins_alike_where_the_rate_falls_late():
    schedule = Schedule(learning_rate=1.0, decline="late")
    short, long = (
        np.array([schedule.rate(step, steps) for step in range(steps)]) for steps in (3000, 4000)
    )
    np.testing.assert_array_equal(short[:2700], long[:2700])
    assert (long[200:3600] == 1).all()
    np.testing.assert_allclose(np.diff(short[2701:]), -1 / 300)


@pytest.mark.parametrize("steps", [1, 2, 9, 10])
def test_schedule__knows_a_rate_for_few_steps(steps):
    for decline in ("cosine", "late"):
        schedule = Schedule(learning_rate=1.0, decline=decline)
        assert all(0 < schedule.rate(step, steps) <= 1 for step in range(steps))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"minutes": 0.0}, "minutes must be finite and > 0; got 0"),
        ({"steps": 0}, "steps must be a whole number >= 1; got 0"),
        ({"steps": 2.5}, r"steps must be a whole number >= 1; got 2\.5"),
        ({"weight_decay": -1.0}, "weight_decay must be finite and >= 0; got -1"),
    ],
)
def test_schedule__is_within_bounds(given, told):
    with pytest.raises(ConventionError, match=told):
        Schedule(**given)


UNTIL_SETTLED = Schedule(
    steps=200, batch=2, learning_rate=1e-9, decline="plateau", look_every=1, patience=1
)


def test_schedule__finds_plateaus_of_unseen_losses():
    schedule = Schedule(patience=2)
    assert schedule.plateaus([]) == 0
    assert schedule.plateaus([3.0, 2.0, 2.0, 1.0, 1.5]) == 0
    assert schedule.plateaus([3.0, 3.0, 3.0]) == 1
    assert schedule.plateaus([3.0, 3.5, 3.5, 3.2, 3.1]) == 2


def test_schedule__halves_the_rate_on_each_plateau():
    schedule = Schedule(decline="plateau", patience=1, learning_rate=0.8)
    rates = [schedule.rate(50, 100, looks) for looks in ([1.0], [1.0, 1.0], [1.0, 1.0, 2.0])]
    assert rates == [0.8, 0.4, 0.2]


def test_training__ends_where_unseen_data_settle_and_takes_the_best_weights(tmp_path):
    # So slow that means alone move, by what batch norms see: the loss soon rises by chance.
    unseen = small_samples(small_stack(3))
    training = _training(tmp_path, UNTIL_SETTLED, unseen=unseen)
    network = training.run(_silent)
    assert training.step < 200
    assert UNTIL_SETTLED.plateaus(training.looks) == 4
    assert UNTIL_SETTLED.plateaus(training.looks[:-1]) == 3
    best = training.best.state_dict()
    assert all(torch.equal(best[name], value) for name, value in network.state_dict().items())
    training.averaged.load_state_dict(best)
    looks = list(training.looks)
    training._look()
    assert training.looks[-1] == min(looks)


def test_training__with_plateaus_goes_on_to_the_last_bit(tmp_path):
    unseen = small_samples(small_stack(3))
    whole = _training(tmp_path / "whole", UNTIL_SETTLED, unseen=unseen)
    expected = whole.run(_silent).state_dict()
    with pytest.raises(KeyboardInterrupt):
        _training(tmp_path / "part", UNTIL_SETTLED, unseen=unseen, saved_every=0.0).run(_until(3))
    resumed = _training(tmp_path / "part", UNTIL_SETTLED, unseen=unseen)
    weights = resumed.run(_silent).state_dict()
    assert resumed.looks == whole.looks
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


@pytest.mark.parametrize("steps", [3, 7])
def test_training__with_plateaus_looks_at_its_last_step_once(tmp_path, steps):
    schedule = Schedule(steps=steps, batch=2, decline="plateau", look_every=5, average=1)
    unseen = small_samples(small_stack(3))
    training = _training(tmp_path, schedule, unseen=unseen)
    weights = training.run(_silent).state_dict()
    assert len(training.looks) == 1 + steps // 5
    last = training.averaged.state_dict()
    taken = all(torch.equal(last[name], value) for name, value in weights.items())
    assert taken == (training.looks[-1] == min(training.looks))
    again = _training(tmp_path, schedule, unseen=unseen)
    again.run(_silent)
    assert again.looks == training.looks


def test_training__needs_unseen_samples_for_plateaus(tmp_path):
    with pytest.raises(ConventionError, match="'plateau' needs unseen samples"):
        _training(tmp_path, UNTIL_SETTLED)


def test_phase_loss__is_nothing_for_the_truth_and_most_for_its_opposite():
    truth = (torch.arange(64).reshape(1, 1, 8, 8) % 3 == 0).float()
    sure = 40 * (truth - 0.5)
    assert float(phase_loss(sure, truth)) == pytest.approx(0, abs=1e-6)
    unsure = float(phase_loss(0 * sure, truth))
    share = float(truth.mean())
    assert unsure == pytest.approx(np.log(2) + 0.1 * (1 - share / (0.5 + share)), rel=1e-5)
    assert float(phase_loss(-sure, truth)) > unsure
