"""What ships: small, licensed, tested when loaded, and the same however images are cut."""

import numpy as np
import pytest

import fibdask
from fibdask.learn.models import CARD, TEST_PAIR, WEIGHTS, shipped_models
from fibdask.learn.networks import Architecture

MODELS = {model.name: model for model in shipped_models()}
MOST_BYTES = 5 * 2**20
MOST_OF_ALL = 25 * 2**20


def bytes_of(model):
    return sum((model.folder / name).stat().st_size for name in (WEIGHTS, CARD, TEST_PAIR))


def test_shipped_models__are_small():
    assert MODELS
    sizes = [bytes_of(model) for model in MODELS.values()]
    assert max(sizes) <= MOST_BYTES
    assert sum(sizes) <= MOST_OF_ALL


def test_list_models__has_a_row_for_each():
    table = fibdask.list_models()
    assert list(table["name"]) == list(MODELS)
    assert (table["licence"] == "BSD-3-Clause").all()
    assert (table["misplaced"] < 5).all()


@pytest.mark.parametrize("name", MODELS)
def test_shipped_models__predict_what_they_did(name):
    model = fibdask.load_model(name)
    architecture = Architecture.of_card(model.card["architecture"])
    assert (model.card["halo"], model.card["stride"]) == (architecture.halo, architecture.stride)


@pytest.mark.parametrize("name", MODELS)
def test_shipped_models__say_the_same_of_a_tile_as_of_the_whole(name):
    predictor = fibdask.load_model(name).predictor("float32")
    slots = predictor.window.size
    rng = np.random.default_rng(1)
    images = rng.random((predictor.voltages, slots, 248, 240), np.float32)
    present = np.ones(predictor.voltages, bool)
    distances = 10.0 * (np.arange(slots) - predictor.window.above + 1)
    offsets = np.array([0.0, 2.5, 7.5])
    whole = predictor(images, present, distances, offsets)
    halo, stride = predictor.halo[0], predictor.stride[0]
    start, stop = 96, 136  # of a tile, whose window begins and ends at strides
    window = slice((start - halo) // stride * stride, -(-(stop + halo) // stride) * stride)
    part = predictor(images[:, :, window, window].copy(), present, distances, offsets)
    inside = slice(start - window.start, stop - window.start)
    difference = part[:, inside, inside] - whole[:, start:stop, start:stop]
    assert np.abs(difference).max() <= 1e-5
