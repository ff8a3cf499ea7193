"""Gaps filled by a network: measured planes stay, distances count in pixels."""

import numpy as np
import pytest

from fibdask.conventions import ConventionError, FibdaskWarning
from fibdask.inpaint import inpaint_gaps
from fibdask.pieces.windows import NO_SLICE, PIXEL, SliceWindow
from tests.inpaint.test_inpaint_gaps import MEASURED, blobs, stack_of
from tests.pieces.models import MixModel, offer
from tests.pieces.predictors import CoarseMix

CARD = {
    "name": "mix",
    "task": "phases",
    "voltages": [0.0],
    "thickness": [PIXEL, 4 * PIXEL],
    "gap": [PIXEL, 40 * PIXEL],
    "errors": {"misplaced": 1.0},
}


def mix(**card):
    return MixModel(CARD | card, stride=(4, 2))


def test_inpaint_gaps__a_network_says_what_is_in_gaps_by_measured_planes_and_distances(monkeypatch):
    offer(monkeypatch, mix())
    truth = blobs((28, 16, 12))
    pixel, spacing = 8.0, 4.0
    stack = stack_of(MEASURED, phase=truth, pixel=(pixel, pixel), spacing=spacing)
    phase = inpaint_gaps(stack, method="network")["phase"].values
    predictor, window = CoarseMix(voltages=1), SliceWindow(2, 2)
    for plane in range(28):
        i = max(int(np.searchsorted(MEASURED, plane, side="right")) - 1, 0)
        if plane in MEASURED or plane > MEASURED[-1]:
            continue
        slots = window.slices(i, len(MEASURED))
        known = slots != NO_SLICE
        images = np.zeros((1, 4, 16, 12), np.float32)
        images[0, known] = truth[np.array(MEASURED)[slots[known]]]
        away = np.where(known, np.array(MEASURED)[slots] - MEASURED[i], np.nan)
        unit = spacing / pixel * PIXEL
        offset = np.array([(plane - MEASURED[i]) * unit])
        (solid,) = predictor(images, np.ones(1, bool), away * unit, offset)
        told = np.rint(solid * np.float32(255)) / 255
        assert np.array_equal(phase[plane], told > 0.5), plane


def test_inpaint_gaps__a_network_tells_of_more_doubts_in_gaps_than_it_knows(monkeypatch):
    stack = stack_of(MEASURED, phase=blobs((28, 16, 12)))
    offer(monkeypatch, mix(errors={"misplaced": 1.0, "between": 99.0}))
    expected = inpaint_gaps(stack, method="network")["phase"].compute()
    offer(monkeypatch, mix(errors={"misplaced": 1.0, "between": 0.1}))
    doubted = inpaint_gaps(stack, method="network")
    with pytest.warns(FibdaskWarning, match=r"model mix expects .* where at most 0\.1 % were"):
        phase = doubted["phase"].compute()
    np.testing.assert_array_equal(phase, expected)


def test_inpaint_gaps__a_network_alters_no_measured_plane(monkeypatch):
    offer(monkeypatch, mix())
    stack = stack_of(MEASURED, phase=blobs((28, 16, 12)))
    filled = inpaint_gaps(stack, method="network")
    assert np.array_equal(filled["phase"][MEASURED], stack["phase"][MEASURED])
    assert np.array_equal(filled["measured"], stack["measured"])


def test_inpaint_gaps__a_network_copies_the_planes_beyond_the_measured_ones(monkeypatch):
    offer(monkeypatch, mix())
    stack = stack_of([4, 6, 9, 13, 16, 20], phase=blobs((28, 16, 12)))
    chunked = stack.chunk({"z": 3})  # the plane that is copied lies in another block
    filled = inpaint_gaps(chunked, method="network")["phase"].values
    assert (filled[:4] == stack["phase"].values[4]).all()
    assert (filled[21:] == stack["phase"].values[20]).all()


@pytest.mark.parametrize("measured", [range(28), range(4, 20), [6]])
def test_inpaint_gaps__a_network_that_is_asked_for_nothing_tells_nothing(monkeypatch, measured):
    offer(monkeypatch, mix(solid_fraction=[0.2, 0.5], errors={"misplaced": 1.0, "between": 0.1}))
    stack = stack_of(list(measured), phase=blobs((28, 16, 12)))
    nearest = inpaint_gaps(stack, method="nearest")["phase"].values
    found = inpaint_gaps(stack, method="network")["phase"].values  # warnings are errors
    np.testing.assert_array_equal(found, nearest)


def test_inpaint_gaps__a_network_tells_of_gaps_longer_than_it_knows(monkeypatch):
    offer(monkeypatch, mix(gap=[PIXEL, 4 * PIXEL]))
    stack = stack_of([0, 2, 4, *range(14, 28, 2)], phase=blobs((28, 16, 12)))
    with pytest.warns(FibdaskWarning, match=r"^9 of 28 planes .* up to 10 pixels .* up to 4 pix"):
        inpaint_gaps(stack, method="network")


@pytest.mark.parametrize("chunks", [(1, 16, 12), (5, 7, 5), (28, 3, 12)])
def test_inpaint_gaps__a_network_does_not_depend_on_chunks(monkeypatch, chunks):
    offer(monkeypatch, mix())
    stack = stack_of(MEASURED, phase=blobs((28, 16, 12)))
    whole = inpaint_gaps(stack, method="network")
    cut = inpaint_gaps(stack.chunk(dict(zip("zyx", chunks, strict=True))), method="network")
    assert np.array_equal(whole["phase"], cut["phase"])


def test_inpaint_gaps__a_network_refuses_planes_farther_apart_than_it_was_trained_for(monkeypatch):
    offer(monkeypatch, mix(thickness=[PIXEL, 2 * PIXEL]))
    stack = stack_of(MEASURED, phase=blobs((28, 16, 12)))
    with pytest.raises(ConventionError, match=r"slices 1 to 2 pixels thick on average; these"):
        inpaint_gaps(stack, method="network", model="mix")


def test_inpaint_gaps__a_network_of_images_fills_no_gaps_between_phases(monkeypatch):
    offer(monkeypatch, mix(task="windows"))
    stack = stack_of(MEASURED, phase=blobs((28, 16, 12)))
    with pytest.raises(ConventionError, match="no model that ships fits these planes: none ships"):
        inpaint_gaps(stack, method="network")
    with pytest.raises(ConventionError, match="mix is for windows, not for phases"):
        inpaint_gaps(stack, method="network", model="mix")


def test_inpaint_gaps__a_network_refuses_pixels_that_are_no_squares(monkeypatch):
    offer(monkeypatch, mix())
    stack = stack_of(MEASURED, phase=blobs((28, 16, 12)), pixel=(4.0, 5.0))
    with pytest.raises(ConventionError, match=r"square pixels; these are 4 x 5 nm"):
        inpaint_gaps(stack, method="network")


def test_inpaint_gaps__a_model_goes_with_a_network_only():
    stack = stack_of(MEASURED, phase=blobs((28, 16, 12)))
    with pytest.raises(ConventionError, match="model goes with method 'network' only; got 'mix'"):
        inpaint_gaps(stack, method="distance", model="mix")
