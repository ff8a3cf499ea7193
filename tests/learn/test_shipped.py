"""What ships: small, licensed, tested when loaded, and the same however images are cut."""

import numpy as np
import pytest

import fibdask
from fibdask.learn.folder import CARD, TEST_PAIR, WEIGHTS
from fibdask.learn.layers.networks import LayerArchitecture
from fibdask.learn.models import shipped_models
from fibdask.learn.networks import Architecture
from fibdask.learn.simulation.networks import ImageArchitecture
from fibdask.learn.simulation.published import buried_phase
from fibdask.pieces.validity import LAYERS, SIMULATION
from fibdask.simulate import backscatter_coefficient
from fibdask.simulate.images.imaging import WHITE

MODELS = {model.name: model for model in shipped_models()}
SIMULATING = [name for name, model in MODELS.items() if model.card["task"] == SIMULATION]
KINDS = {SIMULATION: ImageArchitecture, LAYERS: LayerArchitecture}
OTHERS = [name for name, model in MODELS.items() if model.card["task"] not in KINDS]
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
    voxels = table["error_of"] == "voxels"
    assert set(table["name"][voxels]) == set(OTHERS)
    assert (table["error"][voxels] < 5).all()
    assert table["error"].between(0.5, 100).all()


@pytest.mark.parametrize("name", MODELS)
def test_shipped_models__predict_what_they_did(name):
    model = fibdask.load_model(name)
    kind = KINDS.get(model.card["task"], Architecture)
    architecture = kind.of_card(model.card["architecture"])
    assert (model.card["halo"], model.card["stride"]) == (architecture.halo, architecture.stride)


@pytest.mark.parametrize("name", OTHERS)
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
    given = images[:, :, window, window].copy(), present, distances, offsets
    inside = (slice(start - window.start, stop - window.start),) * 2
    for part in (predictor(*given)[:, *inside], predictor(*given, inside)):
        assert np.abs(part - whole[:, start:stop, start:stop]).max() <= 1e-5


def brightness(name, phase, voltage, materials):
    """Return how bright the middle of a face is, as a share of the electrons."""
    options = {"model": "learned", "network": name, "electrons_per_pixel": None, "seed": 0}
    clean = {"gaussian_std": 0.0, "dtype": "float32", "slices": [0.0], "device": "cpu"}
    images = fibdask.simulate_images(
        phase, voltage=voltage, materials=materials, **options, **clean
    )
    return float(images["intensity"][0, 0, 32, 32]) * WHITE


@pytest.mark.parametrize("pore", ["epoxy", "vacuum"])
@pytest.mark.parametrize("voltage", [1.0, 4.0])
@pytest.mark.parametrize("name", SIMULATING)
def test_shipped_models__know_bulks_as_well_as_their_card_says(name, voltage, pore):
    materials = {"pore": pore, "solid": "Au"}
    bulks = [
        backscatter_coefficient(material, beam_energy_kev=voltage, electrons=30_000, seed=1)
        for material in materials.values()
    ]
    solid = buried_phase(0, side=64)
    said = [brightness(name, phase, voltage, materials) for phase in (solid * np.uint8(0), solid)]
    allowed = 1.5 * MODELS[name].card["errors"]["rms"] / 100 * (bulks[1] - bulks[0]) + 0.005
    np.testing.assert_allclose(said, bulks, atol=allowed)


@pytest.mark.parametrize("name", SIMULATING)
def test_shipped_models__see_gold_deeper_at_higher_voltage(name):
    materials = {"pore": "epoxy", "solid": "Au"}
    buried = {n: buried_phase(n, side=64) for n in (0, 8, 100)}
    left = []
    for voltage in (1.0, 2.0, 4.0):
        top, deep, none = (brightness(name, p, voltage, materials) for p in buried.values())
        left.append((deep - none) / (top - none))
    assert left[0] < left[1] < left[2] < 1.05
