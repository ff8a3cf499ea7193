"""Slices to paint: cut, noted, and chosen where a result is in doubt."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr
from PIL import Image
from scipy.ndimage import gaussian_filter

import fibdask
from fibdask import open_stack, save_stack
from fibdask.conventions import ConventionError, StackReadError, build_stack
from fibdask.pieces.labels import Sheet
from fibdask.run.cli import main
from fibdask.run.labelling import cut_slices, most_doubted
from fibdask.run.training import read_training
from fibdask.segment.forest.curve import CrossValidation

SHAPE = (20, 24, 70)


@pytest.fixture
def store(tmp_path):
    grey = np.random.default_rng(0).integers(0, 60000, (2, *SHAPE), np.uint16)
    stack = build_stack(
        {"intensity": grey},
        z=5.0 * np.arange(SHAPE[0]),
        pixel_size=(5, 5),
        nominal_thickness=5,
        voltage=np.array([1.0, 2.5]),
    )
    return save_stack(stack, tmp_path / "stack.zarr", pyramid=False)


def slices(chosen):
    return [one.slice for one in chosen]


def test_cut_slices__writes_images_and_a_sheet_and_may_go_on(store, tmp_path):
    out = tmp_path / "paint"
    assert slices(cut_slices(store, out, slices=2)) == [5, 15]
    assert slices(cut_slices(store, out, slices=3, how="start")) == [0, 1, 2]
    grey = open_stack(store)["intensity"].values
    np.testing.assert_array_equal(tifffile.imread(out / "images/slice_0015_2.5kV.tif"), grey[1, 15])
    sheet = Sheet.read(out)
    assert [one.slice for one in sheet.slices] == [5, 15, 0, 1, 2]
    assert (sheet.unlabelled, sheet.slices[0].z, sheet.slices[0].how) == (0, 25.0, "spread")


def test_cut_slices__refuses_more_than_there_are_and_another_stack(store, tmp_path):
    with pytest.raises(ConventionError, match="slices must be 1 to 20, those that are not cut"):
        cut_slices(store, tmp_path / "paint", slices=21)
    cut_slices(store, tmp_path / "paint", slices=1)
    part = save_stack(open_stack(store).isel(y=slice(0, 9)), tmp_path / "part.zarr", pyramid=False)
    with pytest.raises(ConventionError, match=r"of another stack, stack\.zarr"):
        cut_slices(part, tmp_path / "paint", slices=1)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"classes": ["pore", "gold"]}, r"classes must be .* \('pore', 'solid'\); got .*'gold'"),
        ({"unlabelled": 0}, "unlabelled must be .* were cut for, 255; got 0"),
        ({"result": "run"}, "result is looked at where how is 'uncertain'; got run with 'spread'"),
    ],
)
def test_cut_slices__refuses_what_it_would_not_look_at(store, tmp_path, options, told):
    cut_slices(store, tmp_path / "paint", slices=1, unlabelled=255)
    cut_slices(store, tmp_path / "paint", slices=1, classes=["pore", "solid"])
    with pytest.raises(ConventionError, match=told):
        cut_slices(store, tmp_path / "paint", slices=1, **options)


@pytest.mark.parametrize("classes", [["solid", "pore"], ["solid", "void"], ["gold", "pore"]])
def test_cut_slices__refuses_two_classes_the_wrong_way_round(store, tmp_path, classes):
    told = "of two classes the first is the pore and the second the solid; got .*" + classes[0]
    with pytest.raises(ConventionError, match=told):
        cut_slices(store, tmp_path / "paint", slices=1, classes=classes)
    cut_slices(store, tmp_path / "paint", slices=1, classes=["solid", "pore", "curtain"])


def test_most_doubted__prefers_doubt_and_keeps_away_from_what_is_painted():
    probability = np.full(SHAPE, 0.99)
    probability[3:6], probability[16, :, 64:] = 0.7, 0.5
    z = ("z", 5.0 * np.arange(SHAPE[0]))
    volume = xr.DataArray(probability, dims=("z", "y", "x"), coords={"z": z})
    free = np.ones(SHAPE[0], bool)
    first, second = most_doubted(volume, np.array([], int), free, 2)
    assert first.slice in (3, 4, 5)
    assert first.doubt == pytest.approx(0.3)
    assert (second.slice, second.block) == (16, "0:24, 64:70")
    assert first.gain > second.gain > 0
    free[4] = False
    assert slices(most_doubted(volume, np.array([4]), free, 1)) == [16]


def test_cut_slices__looks_at_the_probabilities_of_a_result(store, tmp_path):
    with pytest.raises(StackReadError, match="holds no probability"):
        cut_slices(store, tmp_path / "paint", slices=1, how="uncertain")
    stack = open_stack(store)
    probability = np.zeros(SHAPE, np.float32)
    probability[7] = 0.6
    result = stack.drop_dims("voltage").assign(solid_probability=(("z", "y", "x"), probability))
    path = save_stack(result, tmp_path / "result.zarr", pyramid=False)
    chosen = cut_slices(store, tmp_path / "paint", slices=1, how="uncertain", result=path)
    assert slices(chosen) == [7]
    part = save_stack(result.isel(z=slice(0, 9)), tmp_path / "part.zarr", pyramid=False)
    with pytest.raises(ConventionError, match="is not the result of"):
        cut_slices(store, tmp_path / "paint", slices=1, how="uncertain", result=part)


RECIPE = """
[input]
path = "stack.zarr"
[segment]
method = "random_forest"
labels = "paint"
"""


def test_run__segments_by_what_is_painted_and_makes_it_anew_where_that_changes(
    store, tmp_path, capsys, monkeypatch
):
    (tmp_path / "forest.toml").write_text(RECIPE)
    out = tmp_path / "paint"
    bright = open_stack(store)["intensity"].values[0] > 30000
    chosen = slices(cut_slices(store, out, slices=2))
    blocks, judged = [], []
    validate = CrossValidation.__call__
    monkeypatch.setattr(
        CrossValidation, "__call__", lambda *given: judged.append(1) or validate(*given)
    )
    for painted in (bright, bright, ~bright):
        for k in chosen:
            file = out / f"labels/slice_{k:04}.tif"
            tifffile.imwrite(file, painted[k].astype(np.uint8) + 1)
        main(["run", str(tmp_path / "forest.toml"), "--quiet"])
        summary = json.loads((tmp_path / "forest-out/run.json").read_text())
        blocks.append(sum(stage["blocks_run"] for stage in summary["stages"]))
        phase = open_stack(tmp_path / "forest-out/segment.zarr")["phase"].values
        assert (phase == painted).mean() > 0.95
    assert blocks[1] == 0
    assert blocks[2] > 0
    assert len(judged) == 2  # of the same labels once
    page = (tmp_path / "forest-out/report.html").read_text()
    assert "2 painted slices of pore, solid: 5, 15." in page
    assert "Next slice to paint" in page


def test_labels__says_how_to_paint_and_what_to_do_then(store, tmp_path, capsys):
    out = str(tmp_path / "paint")
    main(["labels", str(store), out, "--slices", "2", "--classes", "pore,solid,frame"])
    text = capsys.readouterr().out
    assert "2 slices to paint" in text
    assert "paint 1 pore, 2 solid, 3 frame; 0 is what is not painted" in text
    assert f'[segment] method = "random_forest", labels = "{out}"' in text
    main(["labels", str(store), out, "--slices", "1", "--json"])
    assert json.loads(capsys.readouterr().out)["slices"][0]["doubt"] is None


PAGE = (Path(fibdask.__file__).parents[1] / "docs" / "labels.md").read_text()


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def test_page__leads_from_images_to_a_first_result_and_to_the_next_slices(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(3).standard_normal((20, 32, 40))
    truth = (gaussian_filter(noise, (1, 3, 3)) > 0).astype(np.uint8)
    (tmp_path / "images").mkdir()
    for k, solid in enumerate(truth):
        Image.fromarray(60 + 120 * solid + np.uint8(k)).save(f"images/slice_{k:02}.png")
    recipe, network, *_ = blocks("toml")
    Path("forest.toml").write_text(recipe)
    first, cut, paint, run = blocks("sh")[0].splitlines()
    assert paint.startswith("# paint")
    main([*first.split()[1:], "--quiet"])
    main([*cut.split()[1:], "--quiet"])
    chosen = sorted(Path("paint/images").iterdir())
    assert len(chosen) == 5
    for file in chosen:  # scribbles, of every third row
        painted = truth[int(file.stem.split("_")[1])] + 1
        painted[np.arange(32) % 3 > 0] = 0
        tifffile.imwrite(f"paint/labels/{file.name}", painted)
    main([*run.split()[1:], "--quiet"])
    phase = open_stack("forest-out/segment.zarr")["phase"].values
    assert (phase == truth).mean() > 0.97
    assert "Painted slices" in Path("forest-out/report.html").read_text()
    stages = json.loads(Path("forest-out/run.json").read_text())["stages"]
    assert all(0 < stage["peak_bytes"] <= stage["forecast_bytes"] for stage in stages)
    main([*blocks("sh")[1].split()[1:], "--quiet"])
    assert len(Sheet.read(Path("paint")).slices) == 8
    Path("network.toml").write_text(network)
    assert read_training("network.toml").tables["labels"]["teacher"] == "forest"
