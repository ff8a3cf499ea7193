"""Models are refused where what they are made of does not fit together."""

import json
import shutil
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file, save_file

from fibdask import inpaint_gaps, list_models, load_model, segment_phases
from fibdask.conventions import (
    ConventionError,
    DeviceLostError,
    MemoryBudgetError,
    build_stack,
)
from fibdask.learn.folder import CARD, TEST_PAIR, WEIGHTS
from fibdask.learn.models import open_model
from fibdask.learn.networks import Architecture, WindowNetwork
from fibdask.learn.validation import Condition, Windows
from fibdask.learn.weights import LoadedNetwork, write_model
from fibdask.pieces.models import find_model
from tests.learn.helpers import small_stack, without_torch

TINY = Architecture(2, above=2, below=2, widths=(4, 4, 4), detail=6)
NEEDED = {
    "name": "tiny",
    "task": "windows",
    "voltages": [1.0, 2.0],
    "pixel_size": [2.0, 3.0],
    "thickness": [7.0, 15.0],
    "gap": [2.0, 20.0],
    "materials": {"pore": "C", "solid": "Au"},
    "electrons_per_pixel": [10.0, 60.0],
    "temperature": 1.5,
    "errors": {"misplaced": 1.0},
    "licence": "none stated",
}


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    sample = Windows(small_stack(), TINY, Condition((1.0, 2.0), 50.0), 0)[3]
    write_model(tmp_path / "tiny", WindowNetwork(TINY), NEEDED, sample)
    return tmp_path / "tiny"


def _rewrite(folder, **changed):
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(card | changed))


def _load(folder):
    return LoadedNetwork.read(folder, open_model(folder).fingerprint, "cpu")


def test_load_model__returns_what_was_written(folder):
    model = load_model(folder)
    assert model.name == "tiny"
    assert model.card["halo"] == TINY.halo
    assert model.card["architecture"] == TINY.as_card()
    assert model.folder == folder
    predictor = model.predictor("float32")
    assert (predictor.voltages, predictor.window.size, predictor.stride) == (2, 4, (8, 8))
    pair = {name: value.numpy() for name, value in load_file(folder / TEST_PAIR).items()}
    expected = pair.pop("probability")
    np.testing.assert_allclose(predictor(**pair), expected, atol=1e-6)


def test_write_model__lets_others_read_it(folder):
    modes = {path.stat().st_mode & 0o777 for path in folder.iterdir()}
    (folder / "another").touch()
    assert modes == {(folder / "another").stat().st_mode & 0o777}


def test_load_model__refuses_weights_that_are_not_those_of_the_card(folder):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ConventionError, match="weights are not those of the card"):
        load_model(folder)


def test_load_model__refuses_weights_that_are_none(folder):
    (folder / WEIGHTS).write_bytes(b"none")
    _rewrite(folder, sha256=sha256(b"none").hexdigest())
    with pytest.raises(ConventionError, match="weights do not fit the card"):
        _load(folder)


def test_load_model__refuses_a_card_of_another_network(folder):
    _rewrite(folder, architecture=TINY.as_card() | {"widths": [4, 6, 4]})
    with pytest.raises(ConventionError, match="weights do not fit the card"):
        _load(folder)


@pytest.mark.parametrize("architecture", [{"voltages": 2, "colour": 1}, {"voltages": 0}])
def test_load_model__refuses_a_card_of_no_network(folder, architecture):
    _rewrite(folder, architecture=TINY.as_card() | architecture)
    with pytest.raises(ConventionError, match=r"describes no network|sees 0 voltages"):
        load_model(folder)


def test_load_model__refuses_a_card_that_says_too_little(folder):
    card = json.loads((folder / CARD).read_text())
    del card["licence"], card["temperature"]
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(ConventionError, match="has no licence, temperature"):
        load_model(folder)


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_load_model__refuses_a_card_that_is_none(folder, content):
    (folder / CARD).write_text(content)
    with pytest.raises(ConventionError, match=r"a model is a folder with|cannot be: Input"):
        load_model(folder)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"halo": 8}, "says halo 8, and its network has 73"),
        ({"stride": 16}, "says stride 16, and its network has 8"),
        ({"voltages": [2.0, 1.0]}, "no fitting voltages: Value error, they must increase"),
        ({"voltages": [1.0, 2.0, 4.0]}, "its network sees 2 voltages"),
        ({"voltages": [1.0, 4.0]}, r"was changed: it says voltages \[1\.0, 4\.0\]"),
        ({"grey": {"quantiles": [0.2, 0.8]}}, r"was changed: it says .* grey .*0\.2, 0\.8"),
        ({"pixel_size": [3.0, 2.0]}, "no fitting pixel_size: .*the least and the most"),
        ({"thickness": None}, "no fitting thickness: .*got None"),
        ({"temperature": "hot"}, "no fitting temperature: .*got 'hot'"),
        ({"temperature": float("nan")}, "no fitting temperature: .*got nan"),
        ({"grey": {"quantiles": [0.9, 0.1]}}, r"no fitting grey\.quantiles: .*got \[0\.9, 0\.1\]"),
        ({"errors": {}}, "has no misplaced"),
        ({"task": "painting"}, "has no task of windows, phases, simulation and layers"),
        ({"architecture": {"voltages": 2}}, "describes no network"),
        ({"training": None}, "no fitting training: .*got None"),
        ({"adapted": "yes"}, "no fitting adapted: .*got 'yes'"),
        ({"other_materials": [{"solid": 3}]}, "no fitting other_materials"),
    ],
)
def test_load_model__refuses_a_card_that_says_what_cannot_be(folder, changed, told):
    load_model(folder)  # what one process has read already is checked, too
    _rewrite(folder, **changed)
    with pytest.raises(ConventionError, match=told):
        load_model(folder)


def test_load_model__refuses_a_network_that_predicts_something_else(folder):
    pair = load_file(folder / TEST_PAIR)
    pair["probability"][0, 3, 3] += 0.01
    save_file(pair, folder / TEST_PAIR)
    with pytest.raises(ConventionError, match=r"differ by 0\.01, at most 0\.001 is rounding"):
        _load(folder)


def test_load_model__refuses_a_test_pair_that_cannot_be_read(folder):
    (folder / TEST_PAIR).write_bytes((folder / TEST_PAIR).read_bytes()[:-100])
    with pytest.raises(ConventionError, match="cannot be tested by"):
        _load(folder)


def test_load_model__tests_a_copy_of_what_was_loaded_before(folder, tmp_path):
    _load(folder)
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    (copied / TEST_PAIR).unlink()
    with pytest.raises(ConventionError, match="cannot be tested by"):
        _load(copied)


def test_load_model__is_given_a_name_or_folder(folder):
    for given in (_load(folder), None):
        with pytest.raises(ConventionError, match="by its name or folder"):
            load_model(given)


def test_load_model__refuses_a_model_that_was_replaced_since(folder):
    with pytest.raises(ConventionError, match="has changed since it was chosen"):
        LoadedNetwork.read(folder, "another", "cpu")


@pytest.mark.parametrize("name", ["gold", "no/such/folder"])
def test_load_model__names_those_that_ship(name):
    with pytest.raises(ConventionError, match=f"one of those that ship .*; got '{name}'"):
        load_model(name)


def test_list_models__tells_what_ships():
    table = list_models()
    assert all(load_model(name).name == name for name in table.get("name", []))


def test_import__of_models_needs_no_torch():
    out, _ = without_torch("import fibdask, fibdask.learn; print(len(fibdask.list_models()))")
    assert out.strip() == str(len(list_models()))


def test_load_model__says_what_to_install_where_there_is_no_torch(folder):
    code = f"""
        import fibdask
        try:
            fibdask.load_model({str(folder)!r})
        except fibdask.ConventionError as error:
            print(error)
    """
    out, _ = without_torch(code)
    assert out.startswith("networks need torch")
    assert out.strip().endswith("install fibdask[learn]")


def test_predictor__in_half_precision_is_another_with_almost_the_same_probabilities(folder):
    sample = Windows(small_stack(), TINY, Condition((1.0, 2.0), 50.0), 0)[3]
    given = sample.images, sample.present > 0, sample.distances, sample.offsets
    exact, rounded = (load_model(folder).predictor(p) for p in ("float32", "bfloat16"))
    assert exact.fingerprint != rounded.fingerprint
    difference = np.abs(exact(*given) - rounded(*given)).max()
    assert 0 < difference < 0.02


def test_predictor__its_precision_follows_from_the_flags_of_the_processor(folder, monkeypatch):
    for flags, precision in [({"avx512_bf16": True}, "bfloat16"), ({"avx2": True}, "float32")]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda flags=flags: flags, raising=False)
        assert load_model(folder).predictor().precision == precision


def test_predictor__takes_a_gpu_where_there_is_one(folder, monkeypatch):
    model = open_model(folder)
    assert model.predictor("float32").device == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    found = model.predictor("float32")
    assert found.device == model.on("auto").device == "gpu"
    assert found.fingerprint != model.on("cpu").predictor("float32").fingerprint
    host, device = found.bytes((256, 256), 4)
    assert (
        0 < device <= model.on("cpu").predictor("float32").bytes((256, 256), 4)[0] < host + device
    )


def test_predictor__refuses_another_device_than_it_was_made_for(folder):
    predictor = replace(open_model(folder).predictor("float32"), device="gpu")
    with pytest.raises(ConventionError, match="was to predict on a GPU, and this process has none"):
        predictor.load()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (torch.OutOfMemoryError("2 GiB"), MemoryBudgetError),
        (torch.AcceleratorError("illegal address"), DeviceLostError),
    ],
)
def test_predict__tells_a_full_gpu_from_a_lost_one(folder, monkeypatch, fault, told):
    def fail(*_):
        raise fault

    loaded = _load(folder)
    monkeypatch.setattr(loaded.network.trunk, "forward", fail)
    pair = load_file(folder / TEST_PAIR)
    del pair["probability"]
    with pytest.raises(told, match=str(fault)):
        loaded.predict(**{name: value.numpy() for name, value in pair.items()})


@pytest.fixture
def stack():
    grey = np.random.default_rng(0).integers(0, 200, (2, 3, 16, 16)).astype(np.uint8)
    return build_stack(
        {"phase": (grey[0] > 100).astype(np.uint8), "intensity": grey},
        z=[0.0, 10.0, 20.0],
        pixel_size=(2.5, 2.5),
        nominal_thickness=10,
        voltage=[1.0, 2.0],
    )


def test_device__goes_with_networks_only(stack):
    told = "device goes with method 'network' only; got 'gpu'"
    with pytest.raises(ConventionError, match=told):
        segment_phases(stack, method="otsu", device="gpu")
    with pytest.raises(ConventionError, match=told):
        inpaint_gaps(stack, method="nearest", device="gpu")


def test_find_model__says_where_it_predicts(folder, stack):
    found = find_model(str(folder), stack, "gpu")
    assert found.predictor("float32").device == "gpu"
    with pytest.raises(ConventionError, match="device must be one of auto, cpu, gpu; got 'tpu'"):
        segment_phases(stack, method="network", model=str(folder), device="tpu")
