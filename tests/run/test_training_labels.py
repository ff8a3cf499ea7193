"""Trainings by painted slices, and what comes of them."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

pytest.importorskip("torch")

import torch
import xarray as xr

from fibdask import (
    RecipeError,
    apply_shifts,
    load_model,
    open_stack,
    reconstruct_volume,
    save_stack,
    segment_phases,
    train,
)
from fibdask.conventions import ConventionError, FibdaskWarning, build_stack, covered_region
from fibdask.learn.begun import Begun
from fibdask.learn.folder import CARD, USED_WITH
from fibdask.learn.labelled import LabelJudge, LabelledStack, LabelSamples, LabelVariation, parted
from fibdask.learn.networks import Architecture
from fibdask.learn.published import SMALL_RESIDUAL, Published
from fibdask.learn.training import phase_loss
from fibdask.learn.validation import validate
from fibdask.learn.weights import architecture_of, read_windows
from fibdask.pieces.labels import UNLABELLED, Painted, probed, read_painted
from fibdask.pieces.windows import SliceWindow
from fibdask.run.info_models import format_card
from fibdask.run.training import prepared, read_training
from fibdask.run.training.labels import _check_dimensions

SHAPE = (24, 40, 48)
SLICES = (2, 8, 14, 20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a stack, and scribbles in four of its slices."""
    folder = tmp_path_factory.mktemp("labels")
    truth = gaussian_filter(np.random.default_rng(1).standard_normal(SHAPE), (1, 3, 3)) > 0
    grey = (90 + 90 * truth + 9 * np.random.default_rng(2).standard_normal(SHAPE)).astype(np.uint8)
    stack = build_stack(
        {"intensity": grey[np.newaxis]},
        z=10.0 * np.arange(SHAPE[0]),
        pixel_size=(5, 5),
        nominal_thickness=10,
        voltage=np.array([2.0]),
    )
    save_stack(stack, folder / "stack.zarr", pyramid=False)
    (folder / "paint").mkdir()
    for k in SLICES:
        painted = truth[k].astype(np.uint8)
        painted[::2] = UNLABELLED
        tifffile.imwrite(folder / f"paint/slice_{k:04}.tif", painted)
    return folder


def recipe(folder, name, **labels):
    return {
        "labels": {"stack": str(folder / "stack.zarr"), "path": str(folder / "paint")} | labels,
        "network": {"above": 2, "below": 2, "widths": [8, 8, 8], "detail": 6},
        "samples": {"crop": 32},
        "training": {"steps": 30, "batch": 2, "look_every": 5},
        "output": {"path": str(folder / name), "name": name},
    }


@pytest.fixture(scope="module")
def model(folder):
    return train(recipe(folder, "tiny"))


@pytest.mark.filterwarnings("ignore:model tiny expects")  # what it has learnt in a second
def test_train__makes_a_model_of_painted_slices_that_segments(folder, model):
    card = load_model(model).card
    assert card["training"]["data"][0]["slices"] == [2, 8, 20]
    assert card["training"]["validation"][0]["slices"] == [14]
    assert card["errors"]["misplaced"] < 45
    assert card["voltages"] == [2.0]
    assert "2 kV: " in format_card(dict(card))
    assert (model / "report.html").is_file()
    stack = open_stack(folder / "stack.zarr")
    found = segment_phases(stack, method="network", model=str(model))
    assert found["phase"].values.shape == SHAPE


def test_train__is_done_once_and_goes_on_to_the_same_weights(folder, model):
    before = (model / CARD).read_bytes()
    train(recipe(folder, "tiny"))
    assert (model / CARD).read_bytes() == before
    again = train(recipe(folder, "again"))
    assert load_model(again).card["sha256"] == load_model(model).card["sha256"]


def test_train__learns_from_what_a_forest_says_and_from_the_weights_of_a_model(folder, model):
    given = recipe(folder, "taught", teacher="forest", taught=6, begin=str(model))
    card = load_model(train(given)).card
    learnt = card["training"]["data"][0]["slices"]
    assert set(learnt) > {2, 8, 20}
    assert all(abs(k - 14) > 2 for k in learnt)
    assert card["architecture"] == load_model(model).card["architecture"]


@pytest.mark.filterwarnings("ignore:model tiny-.D expects")
@pytest.mark.parametrize(("dimensions", "slices"), [("2D", 1), ("3D", 4)])
def test_train__makes_networks_of_a_slice_or_of_small_stacks(folder, dimensions, slices):
    given = recipe(folder, f"tiny-{dimensions}")
    given["network"] = {"dimensions": dimensions, "width": 4}
    if dimensions == "3D":
        given["network"]["slices"] = slices
    fast = {"steps": 40, "batch": 2, "look_every": 10, "average": 5, "learning_rate": 2e-2}
    given["training"] = fast
    made = train(given)
    card = load_model(made).card
    assert card["architecture"]["above"] + card["architecture"]["below"] == slices
    assert card["errors"]["misplaced"] < 5
    stack = open_stack(folder / "stack.zarr")
    found = segment_phases(stack, method="network", model=str(made))
    part = found.chunk({"y": 16})["phase"].isel(z=slice(3, 6)).values
    np.testing.assert_array_equal(part, found["phase"].values[3:6])
    begun = prepared(read_training(recipe(folder, "on", begin=str(made))))[0]
    assert begun.network.architecture == architecture_of(card["architecture"])
    with pytest.raises(ConventionError, match="nothing of what lies between them: segment"):
        reconstruct_volume(stack, spacing=5.0, model=str(made))
    with pytest.raises(ConventionError, match=f"of {dimensions[0]} dimensions, which cannot be"):
        read_windows(made, card, "adapted")


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            {"dimensions": "2D", "above": 5},
            r"\[network\] above goes with dimensions '2\.5D' only; got 5 with '2D'",
        ),
        ({"width": 8}, "width goes with dimensions '2D' and '3D' only; got 8 with '2.5D'"),
        (
            {"dimensions": "2D", "slices": 4},
            "slices goes with dimensions '3D' only; got 4",
        ),
    ],
)
def test_train__refuses_keys_of_networks_of_other_dimensions(folder, network, message):
    with pytest.raises(RecipeError, match=message):
        train(recipe(folder, "refused") | {"network": network})


def test_train__refuses_other_dimensions_than_those_it_begins_with(folder, model):
    given = recipe(folder, "refused", begin=str(model)) | {"network": {"dimensions": "3D"}}
    rule = r"that begin names, 2\.5D; got 3D: leave one of both out"
    with pytest.raises(RecipeError, match=rule):
        train(given)
    flat = Published(SMALL_RESIDUAL, 2, width=2)
    with pytest.raises(ConventionError, match=r"that begin names, 2D; got 2\.5D"):
        _check_dimensions({"dimensions": "2.5D"}, flat)
    _check_dimensions({"dimensions": None}, flat)


def test_train__begins_with_some_voltages_of_a_model_that_ships(folder):
    read = read_training(recipe(folder, "tuned", begin="gold-windows"))
    training, _ = prepared(read)
    assert training.network.architecture == Architecture(voltages=1)
    with pytest.warns(FibdaskWarning, match="the training begins with 3 kV as 4 kV"):
        Begun.of("gold-windows", np.array([3.0]))
    with pytest.raises(ConventionError, match="begins as another one of the model; gold-windows"):
        Begun.of("gold-windows", np.array([1.0, 2.0, 2.1]))


def test_begun__tells_of_an_adaptation_and_refuses_a_bent_scale(model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "fitted")
    card = json.loads((folder / CARD).read_text()) | {"adapted": {"chosen": "contrast 0.6"}}
    (folder / CARD).write_text(json.dumps(card))
    begun = Begun.of(str(folder), np.array([2.0]))
    assert begun.told()["adapted"] == {"chosen": "contrast 0.6"}
    card |= {"grey_map": [{"given": [0, 1], "made": [1, 0]}], USED_WITH: None}
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(ConventionError, match="tiny was adapted with a bent scale of grey values"):
        Begun.of(str(folder), np.array([2.0]))


def test_train__judges_by_no_slice_that_the_model_it_begins_with_has_learnt(folder, model):
    given = recipe(folder, "on", begin=str(model))
    assert prepared(read_training(given))[1].unseen.slices.tolist() == [14]
    with pytest.raises(
        RecipeError, match=r"learnt from slices \[2, 8, 20\] of this stack; got \[8\]"
    ):
        train(recipe(folder, "refused", begin=str(model), validation=[8, 14]))
    stack = open_stack(folder / "stack.zarr")
    begun = Begun.of(str(model), np.array([2.0]))
    assert begun.learnt_slices(stack.isel(z=slice(2, None)), [0, 6, 7, 18]) == [0, 6, 18]
    inverted = stack.assign(intensity=255 - stack["intensity"])
    assert begun.learnt_slices(inverted, [2, 8, 20]) == []


def test_read_training__stops_early_unless_it_says_else(folder):
    assert read_training(recipe(folder, "x")).tables["training"]["decline"] == "plateau"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"validation": [3]}, r"validation must name painted slices; got \[3\]"),
        ({"validation": list(SLICES)}, "a network learns from painted slices and is judged by"),
        ({"begin": "slices-1-2-4kv"}, "a model is a folder, or one of those"),
    ],
)
def test_train__refuses_what_it_cannot_learn_from(folder, change, message):
    with pytest.raises(RecipeError, match=message):
        train(recipe(folder, "refused", **change))


@pytest.mark.filterwarnings("ignore:.* of the pixels are filled")
def test_labelled_stack__refuses_what_is_no_number_where_alignment_filled(folder):
    stack = open_stack(folder / "stack.zarr").load()
    far = np.where(np.arange(SHAPE[0]) == 2, 20.0, 0.0)
    shifts = xr.Dataset({"shift_y": ("z", far), "shift_x": ("z", 0 * far)})
    floats = stack.assign(intensity=stack["intensity"].astype("float32"))
    moved = apply_shifts(floats, shifts, outside="edge").compute()
    rows = covered_region(moved)["y"]
    assert rows != slice(0, SHAPE[1])
    moved["intensity"].values[0, 2, -1 if rows.start == 0 else 0] = np.nan
    painted = read_painted(folder / "paint", stack)
    with pytest.raises(ConventionError, match="intensity must be finite; slice 2 of voltage"):
        LabelledStack.of(moved, painted, SliceWindow(2, 1))


def test_labelled_stack__refuses_slices_that_were_cut_of_another_stack(folder):
    stack, window = open_stack(folder / "stack.zarr").load(), SliceWindow(2, 1)
    painted = read_painted(folder / "paint", stack)
    grey = stack["intensity"].values
    cut = replace(painted, probes=np.stack([probed(grey[:, k]) for k in painted.slices]))
    assert len(LabelledStack.of(stack, cut, window)) == len(SLICES)
    mirrored = stack.assign(intensity=(stack["intensity"].dims, grey[..., ::-1].copy()))
    with pytest.raises(ConventionError, match="labels are of another stack: grey values of slice"):
        LabelledStack.of(mirrored, cut, window)


@pytest.mark.parametrize("judged", [[8], [14]])
def test_labelled_stack__refuses_slices_of_one_class(folder, tmp_path, judged):
    blank = np.full(SHAPE[1:], UNLABELLED, np.uint8)
    painted = {2: blank, 8: np.zeros_like(blank), 14: np.eye(*SHAPE[1:], dtype=np.uint8)}
    for k, classes in painted.items():
        tifffile.imwrite(tmp_path / f"slice_{k:04}.tif", classes)
    given = recipe(folder, "refused", path=str(tmp_path), validation=judged)
    with pytest.raises(
        RecipeError, match=r"must each show both classes; in slices \[8\] no \w+ is"
    ):
        train(given)


def test_parted__judges_by_no_neighbour():
    first = Painted(
        np.arange(10), np.zeros((10, 1, 1), np.uint8), ("a", "b"), (), np.zeros((10, 1))
    )
    learnt, judged = parted(first)
    assert np.abs(learnt.slices[:, np.newaxis] - judged.slices).min() > 2
    assert len(learnt.slices) >= 5
    learnt, judged = parted(first, seen=[2, 4, 6])
    assert judged.slices.tolist() == [9]
    with pytest.raises(ConventionError, match=r"learnt from slices \[2, 5, 8\] of this stack; got"):
        parted(first, seen=[2, 5, 8])


def test_parted__judges_by_slices_that_show_both_classes_where_there_are_such():
    classes = np.zeros((6, 1, 2), np.uint8)
    classes[[0, 5], 0, 1] = 1
    painted = Painted(10 * np.arange(6), classes, ("a", "b"), (), np.zeros((6, 1)))
    learnt, judged = parted(painted)
    assert judged.slices.tolist() == [50]
    assert 0 in learnt.slices


def test_label_judge__finds_the_same_in_tiles_as_in_whole_slices(monkeypatch):
    rng, shape = np.random.default_rng(4), (2, 45, 250)
    truth = rng.choice(np.array([0, 1, np.nan], np.float32), shape)
    truth[1, :, 20:] = np.nan
    images = rng.random((2, 1, 4, *shape[1:]), np.float32)
    distances = np.tile(np.arange(-1.0, 3.0, dtype=np.float32) * 10, (2, 1))
    card = {"voltages": [2.0]}
    stack = LabelledStack(images, distances, truth, np.array([4, 9]), card, {})
    drawn = {"window": SliceWindow(2, 2), "crop": 16, "planes": 1, "seed": 0}
    samples = LabelSamples(stack, LabelVariation(), **drawn)
    design = Architecture(1, above=2, below=2, widths=(4, 4, 4), detail=6)
    judge = LabelJudge(samples, stack, design.stride, design.halo)
    torch.manual_seed(1)
    network = design.build().fold()
    whole = validate(network, judge._windows())
    monkeypatch.setattr("fibdask.learn.labelled._TILE", 24)
    tiles = [*judge._windows()]
    assert len(tiles) > 8
    assert max(tile.truth.size for tile in tiles) < truth[0].size
    found = validate(network, tiles)
    assert found.voxels[0] == whole.voxels[0] == np.isfinite(truth).sum()
    assert found.wrong.tolist() == whole.wrong.tolist()


def test_phase_loss__counts_what_is_known_alone():
    logits, truth = torch.randn(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    truth[:, :, 2:] = torch.nan
    known = phase_loss(logits[:, :, :2], truth[:, :, :2])
    torch.testing.assert_close(phase_loss(logits, truth), known)


def test_samples__hold_painted_pixels_and_the_same_ones_each_time(folder):
    stack = open_stack(folder / "stack.zarr")
    painted = read_painted(folder / "paint", stack)
    window = SliceWindow(2, 1)
    labelled = LabelledStack.of(stack, painted, window)
    drawn = {"window": window, "crop": 16, "planes": 1, "seed": 3}
    samples = LabelSamples(labelled, LabelVariation(), **drawn)
    for number in range(8):
        assert np.isfinite(samples[number].truth).any()
        np.testing.assert_array_equal(samples[number].images, samples[number].images)
    low, high = np.quantile(stack["intensity"].values, (0.01, 0.99))
    own = (stack["intensity"].values[0, SLICES[1]] - low) / (high - low)
    np.testing.assert_allclose(labelled.images[1, 0, 1], own, atol=0.03)
