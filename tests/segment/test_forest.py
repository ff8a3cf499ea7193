"""Forests grown on a few painted slices."""

import json
import sys
import tracemalloc

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter
from sklearn.ensemble import HistGradientBoostingClassifier

from fibdask import fit_forest, learning_curve, open_stack, save_stack, segment_phases
from fibdask.blocks import origin
from fibdask.conventions import ConventionError, FibdaskWarning, build_stack
from fibdask.pieces.labels import Sheet, read_painted
from fibdask.run.labelling import cut_slices
from fibdask.segment.forest import segmentation
from fibdask.segment.forest.curve import _folds, _shares
from fibdask.segment.forest.features import Features
from fibdask.segment.forest.trees import Growth, Trees

SHAPE = (14, 44, 52)
PAINTED = (3, 10)


@pytest.fixture(scope="module")
def truth():
    noise = np.random.default_rng(4).standard_normal(SHAPE)
    return (gaussian_filter(noise, (1, 3, 3)) > 0).astype(np.uint8)


@pytest.fixture(scope="module")
def stack(truth):
    """Noisy images, in which what lies in the next slice shines through, at two voltages."""
    rng = np.random.default_rng(5)
    through = np.where(truth == 1, 1.0, 0.6 * np.roll(truth, -1, axis=0))
    grey = [180 * through * gain + 12 * rng.standard_normal(SHAPE) + 40 for gain in (0.9, 1.0)]
    z = np.cumsum(np.where(np.arange(SHAPE[0]) % 3, 10.0, 14.0))
    images = np.clip(grey, 0, 255).astype(np.uint8)
    return build_stack(
        {"intensity": images, "true_phase": truth},
        z=z,
        pixel_size=(5, 5),
        nominal_thickness=10,
        voltage=np.array([1.0, 3.0]),
    )


@pytest.fixture(scope="module")
def labels(truth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("painted")
    for k in PAINTED:
        tifffile.imwrite(folder / f"slice_{k:04}.tif", truth[k])
    return str(folder)


@pytest.fixture(scope="module")
def segmented(stack, labels):
    return segment_phases(stack, method="random_forest", labels=labels).compute()


def test_segment_phases__learns_from_painted_slices(segmented, truth):
    others = [k for k in range(SHAPE[0]) if k not in PAINTED]
    assert (segmented["phase"].values[others] == truth[others]).mean() > 0.93
    probability = segmented["solid_probability"].values
    np.testing.assert_array_equal(segmented["phase"].values, probability > 0.5)


@pytest.mark.parametrize("chunks", [{"z": 3, "y": 17, "x": 52}, {"z": 14, "y": 9, "x": 11}])
def test_segment_phases__says_the_same_bit_for_bit_out_of_core(
    stack, labels, segmented, tmp_path, monkeypatch, chunks
):
    monkeypatch.setattr(segmentation, "_TILE", chunks["x"])
    monkeypatch.setattr(segmentation, "_PLANES", chunks["z"])
    monkeypatch.setattr(segmentation, "INNER_CHUNK", 1)
    stored = open_stack(save_stack(stack.chunk(chunks), tmp_path / "stack.zarr"))
    found = segment_phases(stored, method="random_forest", labels=labels)
    saved = open_stack(save_stack(found, tmp_path / "found.zarr", pyramid=False))
    for name in ("phase", "solid_probability"):
        np.testing.assert_array_equal(saved[name].values, segmented[name].values)


def test_segment_phases__tells_nothing_of_planes_that_are_not_measured(stack, labels, segmented):
    measured = np.ones(SHAPE[0], bool)
    measured[6] = False
    grey = stack["intensity"].values.astype(np.float32)
    grey[:, 6] = np.nan
    gaps = stack.assign(intensity=(stack["intensity"].dims, grey))
    gaps = gaps.assign_coords(measured=("z", measured))
    found = segment_phases(gaps, method="random_forest", labels=labels)
    assert not found["phase"].values[6].any()
    assert (found["phase"].values[7] == segmented["phase"].values[7]).mean() > 0.9


def test_segment_phases__gives_labels_names_and_colours_to_more_classes(stack, truth, tmp_path):
    Sheet.of(stack, "", ("pore", "solid", "frame")).write(tmp_path)
    (tmp_path / "labels").mkdir()
    classes = np.where(np.arange(SHAPE[2]) < 12, 2, truth)
    bright = np.where(np.arange(SHAPE[2]) < 12, 255, stack["intensity"].values)
    framed = stack.assign(intensity=(stack["intensity"].dims, bright.astype(np.uint8)))
    tifffile.imwrite(tmp_path / "labels" / "slice_3.tif", (classes[3] + 1).astype(np.uint8))
    found = segment_phases(framed, method="random_forest", labels=str(tmp_path))
    label = found["label"]
    assert label.attrs["flag_meanings"] == "pore solid frame"
    assert len(label.attrs["flag_colors"].split()) == 3
    assert (label.values == classes).mean() > 0.9
    np.testing.assert_array_equal(found["phase"].values, label.values == 1)
    assert found["label_probability"].values.min() > 1 / 3 - 0.01


def test_segment_phases__keeps_no_phase_of_before_beside_labels(stack, truth, tmp_path):
    Sheet.of(stack, "", ("pore", "metal", "frame")).write(tmp_path)
    (tmp_path / "labels").mkdir()
    tifffile.imwrite(
        tmp_path / "labels" / "slice_3.tif", (np.indices(SHAPE[1:])[1] % 3 + 1).astype(np.uint8)
    )
    before = stack.assign(phase=stack["true_phase"])
    found = segment_phases(before, method="random_forest", labels=str(tmp_path))
    assert "label" in found
    assert "phase" not in found


def test_fit_forest__is_kept_as_arrays_and_says_the_same(stack, labels, segmented, tmp_path):
    folder = fit_forest(stack, labels=labels).save(tmp_path / "forest")
    found = segment_phases(stack, method="random_forest", model=str(folder))
    np.testing.assert_array_equal(
        found["solid_probability"].values, segmented["solid_probability"].values
    )
    assert fit_forest(stack, labels=labels).save(folder) == folder
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "own.txt").write_text("mine")
    few = fit_forest(stack, labels=labels, only=[3])
    for held in (folder, tmp_path / "notes"):
        with pytest.raises(ConventionError, match="holds something else than this forest; choose"):
            few.save(held)
    other = stack.assign_coords(y=("y", 2 * stack["y"].values, {"units": "nm"}))
    with pytest.raises(ConventionError, match=r"pixels along y and x in nm of \[5.0, 5.0\]"):
        segment_phases(other, method="random_forest", model=str(folder))
    thicker = stack.assign_coords(z=("z", 2 * stack["z"].values, stack["z"].attrs))
    with pytest.warns(FibdaskWarning, match="slices 11.* nm apart, those of this stack are 22"):
        segment_phases(thicker, method="random_forest", model=str(folder))
    card = json.loads((folder / "forest.json").read_text())
    used_with = {"used_with_sha256": card.pop("used_with_sha256")}
    (folder / "forest.json").write_text(json.dumps(card))
    found = segment_phases(stack, method="random_forest", model=str(folder))
    np.testing.assert_array_equal(found["phase"].values, segmented["phase"].values)
    for changed, told in (
        ({"classes": ["pore", "solid", "frame"]}, "nodes and card of a forest must go together"),
        ({"scales": card["scales"][:1]}, "scales on its card, .* make 22: the card was changed"),
        ({"voltages": None}, "nodes and card of a forest must go together"),
        ({"scales": card["scales"][:1]} | used_with, "was changed: it says .* grown with"),
        ({"voltages": [1.0, 2.5]} | used_with, "was changed: it says .* grown with"),
    ):
        (folder / "forest.json").write_text(json.dumps(card | changed))
        with pytest.raises(ConventionError, match=told):
            segment_phases(stack, method="random_forest", model=str(folder))
    (folder / "forest.json").write_text(json.dumps(card))
    (folder / "forest.npz").write_bytes(b"other nodes")
    with pytest.raises(ConventionError, match="the forest is damaged"):
        segment_phases(stack, method="random_forest", model=str(folder))


def test_segment_phases__refuses_labels_of_another_stack(stack, truth, tmp_path):
    save_stack(stack, tmp_path / "one.zarr")
    mirrored = stack["intensity"].values[..., ::-1].copy()
    other = stack.assign(intensity=(stack["intensity"].dims, mirrored))
    save_stack(other, tmp_path / "other.zarr")
    [chosen] = cut_slices(tmp_path / "one.zarr", tmp_path / "paint", slices=1)
    tifffile.imwrite(tmp_path / "paint/labels/slice_7.tif", truth[chosen.slice] + 1)
    given = {"method": "random_forest", "labels": str(tmp_path / "paint")}
    for options in ({}, {"voltage": 3.0}, {"data_bar": 4}):
        found = segment_phases(open_stack(tmp_path / "one.zarr"), **given, **options)
        assert found["phase"].values.any()
    with pytest.raises(
        ConventionError, match=r"are of another stack: grey values of slice 7 .*corr"
    ):
        segment_phases(open_stack(tmp_path / "other.zarr"), **given).compute()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs labels, the painted slices"),
        ({"labels": "a", "model": "b"}, "and not both"),
        ({"model": "b", "scales": [5.0]}, "scales goes with labels only"),
        ({"method": "otsu", "labels": "a"}, "labels goes with method 'random_forest' only"),
    ],
)
def test_segment_phases__refuses_options_that_do_not_go_together(stack, options, message):
    with pytest.raises(ConventionError, match=message):
        segment_phases(stack, **{"method": "random_forest"} | options)


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ([10, 5], "must increase"),
        ([], "finite and > 0"),
        ([5, 5000], "up to 64 pixels"),
        ([0.01], "at least 0.2"),
    ],
)
def test_segment_phases__refuses_scales_that_are_none(stack, labels, scales, message):
    with pytest.raises(ConventionError, match=message):
        segment_phases(stack, method="random_forest", labels=labels, scales=scales)


def test_segment_phases__names_the_extra_without_scikit_learn(stack, labels, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ConventionError, match=r"install fibdask\[labels\]"):
        segment_phases(stack, method="random_forest", labels=labels)


def test_provenance__tells_what_was_painted(segmented):
    record = json.loads(segmented.attrs["provenance"][-1])
    assert record["parameters"]["painted_slices"] == list(PAINTED)
    assert record["parameters"]["scales"] == [5, 10, 20, 40]


@pytest.mark.parametrize("classes", [2, 3])
def test_trees__say_what_scikit_learn_says(classes):
    rng = np.random.default_rng(1)
    shown = rng.standard_normal((900, 5)).astype(np.float32)
    labels = (shown[:, 0] * shown[:, 1] > 0).astype(np.uint8) + (shown[:, 2] > 1) * (classes - 2)
    growth = Growth(rounds=20)
    trees = Trees.of(growth.grow(shown, labels, classes), classes)
    reference = HistGradientBoostingClassifier(
        max_iter=20, max_depth=6, early_stopping=False, random_state=0
    ).fit(shown, labels)
    expected = reference.predict_proba(shown)[:, 1 if classes == 2 else 0 :]
    np.testing.assert_allclose(trees.probabilities(shown.T.copy()), expected, atol=1e-5)


def test_features__take_no_more_memory_than_they_foresee():
    image = np.random.default_rng(0).integers(0, 255, (1, 24, 90, 80), np.uint8)
    z, region = 10.0 * np.arange(24), (slice(4, 20), slice(20, 84), slice(0, 64))
    features = Features.of([10.0, 20.0, 40.0], (10.0, 10.0), z, np.ones(24, bool), image.shape)
    read, ends = image[(slice(None), *features.needs(region))], np.array([[0.0, 255.0]])
    next(features.planes(read, region, ends))  # compiles
    tracemalloc.start()
    planes = sum(1 for _ in features.planes(read, region, ends))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert planes == 16
    assert 0.5 * features.working_bytes(region) < peak <= features.working_bytes(region)


def test_features__are_those_of_naive_filters():
    image = np.random.default_rng(2).random((1, 5, 40, 36)).astype(np.float32)
    z = np.array([0.0, 10, 20, 40, 50])
    features = Features.of([10.0, 20.0], (10.0, 10.0), z, np.ones(5, bool), image.shape)
    region = (slice(2, 3), slice(0, 40), slice(0, 36))
    read = image[(slice(None), *features.needs(region))]
    [(_, made)] = features.planes(read, region, np.array([[0.0, 1.0]]))

    def smooth(k, sigma):
        return gaussian_filter(image[0, k].astype(float), sigma, radius=3 * sigma, mode="reflect")

    inside = (slice(1, -1), slice(1, -1))
    fine = smooth(2, 1)
    g_y, g_x = np.gradient(fine)
    np.testing.assert_allclose(made[0], image[0, 2])
    np.testing.assert_allclose(made[1], fine, atol=1e-5)
    np.testing.assert_allclose(made[2][inside], np.hypot(g_y, g_x)[inside], atol=1e-5)
    np.testing.assert_allclose(made[7], smooth(1, 1), atol=1e-5)
    np.testing.assert_allclose(made[8], (smooth(2, 1) + smooth(3, 1)) / 2, atol=1e-5)
    np.testing.assert_allclose(made[18], smooth(3, 2), atol=1e-5)
    np.testing.assert_allclose(made[-1], fine - smooth(2, 2), atol=1e-5)
    assert len(made) == features.count == 22


APART = (1, 5, 9, 13)


@pytest.fixture(scope="module")
def scribbles(truth, tmp_path_factory):
    """Four slices of which every other row is painted, and in the second of them only solid."""
    folder = tmp_path_factory.mktemp("scribbles")
    for k in APART:
        painted = np.where(np.arange(SHAPE[1])[:, np.newaxis] % 2, truth[k], 255)
        if k == APART[1]:
            painted = np.where(truth[k] == 1, painted, 255)
        tifffile.imwrite(folder / f"slice_{k:04}.tif", painted.astype(np.uint8))
    return str(folder)


def test_fit_forest__refuses_slices_that_are_not_painted(stack, labels):
    with pytest.raises(ConventionError, match=r"only must name painted slices, \[3, 10\]; got 4"):
        fit_forest(stack, labels=labels, only=[3, 4])


def test_segment_phases__refuses_labels_that_are_no_files(stack, truth):
    with pytest.raises(ConventionError, match=r"labels must be a folder or a file .*; got ndarray"):
        segment_phases(stack, method="random_forest", labels=truth)


def test_learning_curve__judges_slices_by_forests_of_others(stack, truth, scribbles, tmp_path):
    found = learning_curve(stack, labels=scribbles).compute()
    assert found["learnt"].values.tolist() == [1, 2, 3]
    assert found["judged"].values.tolist() == list(APART)
    for k, others in ((1, [5, 9, 13]), (13, [1, 5, 9])):
        forest = fit_forest(stack, labels=scribbles, only=others).save(tmp_path / str(k))
        said = segment_phases(stack, method="random_forest", model=str(forest))["phase"][k]
        wrong = 100 * (said.values != truth[k])[1::2].mean()
        assert float(found["misplaced"].sel(learnt=3, judged=k)) == pytest.approx(wrong)


def test_learning_curve__falls_and_knows_nothing_of_what_shows_one_class(stack, scribbles):
    misplaced = learning_curve(stack, labels=scribbles)["misplaced"].compute()
    unknown = misplaced.isnull().sel(learnt=1)
    assert unknown["judged"].values[unknown.values].tolist() == [9, 13]
    known = misplaced.dropna("judged")
    assert float(known[-1].mean()) < float(known[0].mean())


def test_learning_curve__never_learns_from_neighbours_of_what_it_judges():
    for slices in (np.arange(20), 30 * np.arange(20), np.array([0, 1, 2, 40, 41, 80])):
        for fold in _folds(slices):
            apart = np.abs(slices[fold.judged][:, np.newaxis] - slices[fold.others])
            assert apart.min() > 2
            assert len(fold.learnt(1)) == 1
    with pytest.raises(ConventionError, match=r"painted are \[4, 5\]: paint another"):
        _folds(np.array([4, 5]))


def test_learning_curve__looks_at_painted_pixels_once_with_the_segmentation(
    stack, scribbles, tmp_path
):
    stack = open_stack(save_stack(stack, tmp_path / "stack.zarr", pyramid=False))
    segmented = segment_phases(stack, method="random_forest", labels=scribbles)
    curve = origin(learning_curve(stack, labels=scribbles)["misplaced"].data)
    made = origin(segmented["solid_probability"].data)
    assert curve.partials.token in [grown.partials.token for grown in made.reductions]


def test_shares__weigh_rare_classes_as_they_are_painted(stack, tmp_path):
    volume = np.zeros(SHAPE, np.uint8)
    volume[:, 0, 0] = 1
    np.save(tmp_path / "labels.npy", volume)
    painted = read_painted(tmp_path / "labels.npy", stack)
    pixels = SHAPE[1] * SHAPE[2]
    np.testing.assert_allclose(_shares(painted)[:, 1], 1 / pixels)
