"""Some planes are looked at first: what a network doubts more than it knows is told."""

import warnings

import dask.array as da
import numpy as np
import pytest

import fibdask
from fibdask import reconstruct_volume, segment_phases
from fibdask.conventions import FibdaskWarning
from fibdask.pieces.looks import DoubtCounts, card_of_doubts
from fibdask.pieces.validity import doubts
from tests.pieces.models import CARD, MixModel, offer
from tests.segment.test_network import IMAGE, expected, stack_of


def condition(voltages, on_slices, misplaced):
    return {"voltages": voltages, "on_slices": on_slices, "misplaced": misplaced}


KNOWN = [
    condition([1.0, 2.0], 1.0, 2.0),
    condition([1.0, 2.0], 1.5, 2.5),
    condition([2.0], 8.0, 9.0),
]
DOUBT = 100 * np.minimum(expected(), 1 - expected())[[2, 3, 4]].mean()  # 7 slices: 1.5, 3, 4.5


def offered(monkeypatch, **card):
    offer(monkeypatch, MixModel(CARD | card))


def test_doubt_counts__sum_steps_to_the_likelier_phase_and_solid():
    probability = np.array([[[0, 0.1, 0.6, 1]]], np.float32)
    place = (slice(0, 1), slice(0, 1), slice(0, 4))
    assert DoubtCounts().compute(place, probability).tolist() == [26 + 102, 2, 4]


@pytest.mark.parametrize(
    ("voltages", "wrong", "between", "told"),
    [
        ((1, 2), 1.4, False, False),
        ((1, 2), 1.6, False, True),
        ((1.02, 2), 2.4, True, False),
        ((1, 2), 2.6, True, True),
        ((2,), 2.6, True, False),
        ((1,), 99.0, True, False),  # nobody knows
    ],
)
def test_doubts__are_more_than_the_worst_that_is_known_of_these_voltages(
    voltages, wrong, between, told
):
    card = {"conditions": KNOWN}
    assert bool([*doubts(card, voltages, wrong, 0.3, between=between)]) is told


@pytest.mark.parametrize(("wrong", "told"), [(0.29, False), (0.31, True)])
def test_doubts__are_more_than_so_few_judged_voxels_can_exclude(wrong, told):
    errors = {"misplaced": 0.0, "conditions": [condition([2.0], 0.0, 0.0) | {"voxels": 1000}]}
    card = card_of_doubts({"errors": errors})
    assert bool([*doubts(card, (2.0,), wrong, 0.3, between=False)]) is told


@pytest.mark.parametrize(
    ("solid", "told"), [(0.09, True), (0.11, False), (0.69, False), (0.71, True), (np.nan, False)]
)
def test_doubts__are_of_half_or_double_the_solid_fraction(solid, told):
    card = {"solid_fraction": [0.2, 0.4]}
    assert bool([*doubts(card, (1.0,), 0.0, solid, between=False)]) is told


@pytest.mark.parametrize("kind", ["numpy", "dask", "stored"])
def test_segment_phases__tells_of_doubts_when_it_is_computed(monkeypatch, tmp_path, kind):
    offered(monkeypatch, errors={"misplaced": 1.0, "conditions": KNOWN})
    stack = stack_of(da.from_array(IMAGE, chunks=(1, 3, 8, 8)) if kind == "dask" else IMAGE)
    if kind == "stored":
        stack = fibdask.open_stack(fibdask.save_stack(stack, tmp_path / "images.zarr"))
    made = segment_phases(stack, method="network")
    with pytest.warns(FibdaskWarning, match=rf"^model mix expects {DOUBT:.3g} % .* at most 1.5 %"):
        probability = made["solid_probability"].compute()
    np.testing.assert_array_equal(probability, expected())


def test_segment_phases__tells_nothing_of_images_that_are_known(monkeypatch):
    known = [condition([1.0, 2.0], 1.01 * DOUBT, 99.0)]
    offered(monkeypatch, errors={"misplaced": 1.0, "conditions": known}, solid_fraction=[0.02, 0.9])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        segment_phases(stack_of(), method="network")["phase"].compute()
    assert told == []


def test_reconstruct_volume__is_compared_with_errors_of_volumes(monkeypatch):
    offered(monkeypatch, errors={"misplaced": 1.0, "conditions": KNOWN})
    with pytest.warns(FibdaskWarning, match="where at most 2.5 % were"):
        reconstruct_volume(stack_of(), spacing=3.0)["phase"].compute()
