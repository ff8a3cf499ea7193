"""Images by a tilted beam, which networks have not learnt from: shown along it, they are known."""

import json
import re
import shutil
import warnings

import numpy as np
import pytest

import fibdask
from fibdask.conventions import ConventionError, recorded_steps
from fibdask.run.planner import check_recipe

pytest.importorskip("torch")
TILT = 36.0


@pytest.fixture(scope="module")
def structure():
    return fibdask.hierarchical_levelled_wave(
        (60, 112, 64), voxel_size=2.5, ligament_size=(110, 15), solid_fraction=(0.4, 0.4), seed=7
    ).compute()


@pytest.fixture(scope="module")
def images(structure):
    made = fibdask.simulate_images(
        structure,
        slices=2.5 * np.array([0, 4, 7, 12, 16, 20, 23, 28, 32]),
        voltage=[1, 2, 4],
        electrons_per_pixel=50,
        gaussian_std=0,
        tilt=TILT,
        seed=5,
    )
    return made.compute()


def wrong(phase, truth):
    return (phase.values != truth).mean()


def mirrored(stack, axis="y"):
    return stack.isel({axis: slice(None, None, -1)}).assign_coords({axis: stack[axis]})


def segmented(stack, tilt):
    return fibdask.segment_phases(stack, method="network", tilt=tilt)


def told(recipe):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_recipe(recipe)
    return [str(one.message) for one in caught if "look as those of" in str(one.message)]


@pytest.mark.filterwarnings("ignore:model gold-windows")
def test_segment_phases__along_the_beam_is_right_more_often(images):
    truth = images["true_phase"].values
    along, across = (wrong(segmented(images, tilt)["phase"], truth) for tilt in (TILT, 0.0))
    assert along < 0.5 * across
    assert wrong(segmented(images, -TILT)["phase"], truth) > across


@pytest.mark.filterwarnings("ignore:model gold-windows")
def test_reconstruct_volume__along_the_beam_is_right_more_often(images, structure):
    def error(tilt):
        volume = fibdask.reconstruct_volume(images, spacing=2.5, tilt=tilt)["phase"]
        return wrong(volume, structure.sel(z=volume["z"].values, method="nearest").values)

    assert error(TILT) < 0.6 * error(0.0)


@pytest.mark.filterwarnings("ignore:model gold-windows")
def test_segment_phases__of_mirrored_images_takes_a_mirrored_tilt(images):
    truth = mirrored(images)["true_phase"].values
    along = wrong(segmented(mirrored(images), -TILT)["phase"], truth)
    assert along < 0.5 * wrong(segmented(mirrored(images), 0.0)["phase"], truth)


def test_segment_phases__says_that_images_were_simulated_with_another_tilt(images):
    with pytest.warns(fibdask.FibdaskWarning, match=r"beam tilted by 36°, .* tilt is 0"):
        segmented(images, 0.0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        again = segmented(segmented(images, TILT), TILT)  # what a stage was told is no simulation
    assert not [one for one in caught if "tilt" in str(one.message)]
    assert recorded_steps(again)[-1]["parameters"]["tilt"] == TILT


@pytest.mark.parametrize(("stage", "options"), [("segment", {"method": "network"}),
                                                ("reconstruct", {"spacing": 2.5})])  # fmt: skip
def test_check_recipe__tells_of_a_tilt(images, tmp_path, stage, options):
    stored = images.assign_attrs(provenance=[])  # nobody is told how they were made
    fibdask.save_stack(stored, tmp_path / "images.zarr")
    fibdask.save_stack(mirrored(stored), tmp_path / "mirrored.zarr")

    def recipe(name, **tilt):
        return {
            "input": {"path": str(tmp_path / name)},
            stage: options | tilt,
            "output": {"path": str(tmp_path / "out")},
        }

    assert [text for text in told(recipe("images.zarr")) if "by about 36 degrees" in text]
    assert [text for text in told(recipe("mirrored.zarr")) if "by about -36 degrees" in text]
    assert not told(recipe("images.zarr", tilt=TILT))
    assert told(recipe("images.zarr", tilt=-TILT))


@pytest.mark.parametrize("tilt", [71.0, -90.0, np.nan, np.inf, "36", None])
def test_tilt__must_let_the_beam_look_into_slices(images, tilt):
    with pytest.raises(ConventionError, match=r"tilt must be in -70 … 70 degrees; got"):
        segmented(images, tilt)
    with pytest.raises(ConventionError, match=r"tilt must be in -70 … 70 degrees; got"):
        fibdask.reconstruct_volume(images, spacing=2.5, tilt=tilt)


def test_check_recipe__takes_no_drift_for_a_tilt(images, tmp_path):
    drifting = images.isel(y=slice(0, 88)).copy(deep=True)
    for k, slices in enumerate(images["intensity"].transpose("z", "voltage", "y", "x").values):
        drifting["intensity"][:, k] = slices[:, 3 * k : 3 * k + 88]
    fibdask.save_stack(drifting.assign_attrs(provenance=[]), tmp_path / "images.zarr")
    recipe = {
        "input": {"path": str(tmp_path / "images.zarr")},
        "align": {},
        "segment": {"method": "network"},
        "output": {"path": str(tmp_path / "out")},
    }
    assert not told(recipe)


def card_of(tmp_path, **more):
    """Return a copy of the model that ships, with more on its card."""
    copy = tmp_path / "copy"
    shutil.copytree(fibdask.load_model("gold-windows").folder, copy)
    card = json.loads((copy / "card.json").read_text())
    (copy / "card.json").write_text(json.dumps(card | more))
    return str(copy)


@pytest.mark.parametrize(
    ("more", "tilt", "words"),
    [
        ({"adapted": {"tilt": 20.0}}, 0.0, "adapted along a beam tilted by 20°, and tilt is 0"),
        ({"adapted": {"tilt": 20.0}}, 20.0, None),
        ({"adapted": {}}, 0.0, None),
        ({"training": {"samples": {"tilted": True}}}, TILT, "has learnt .* tilted beam itself"),
        ({"training": {"samples": {"tilted": True}}}, 0.0, None),
    ],
)
def test_segment_phases__tells_of_a_tilt_that_a_model_does_not_know(
    images, tmp_path, more, tilt, words
):
    path = card_of(tmp_path, **more)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fibdask.segment_phases(images, method="network", model=path, tilt=tilt)
    said = [str(one.message) for one in caught if "tilt" in str(one.message)]
    assert (len(said) == 1 and re.search(words, said[0])) if words else not said


@pytest.mark.filterwarnings("ignore:model gold-windows")
def test_segment_phases__mirrors_along_x_alone_what_a_model_of_tilted_images_sees(images, tmp_path):
    path = card_of(tmp_path, training={"samples": {"tilted": True}})
    few = images.isel(z=slice(0, 2), y=slice(0, 64))  # whole strides

    def said(stack, **options):
        seen = fibdask.segment_phases(stack, method="network", model=path, **options)
        return seen["solid_probability"].values

    along_x = np.mean([said(few), said(mirrored(few, "x"))[..., ::-1]], axis=0)
    mean = said(few, mirrored=True)
    assert np.abs(mean - along_x).max() < 0.01
    assert np.abs(mean - said(mirrored(few), mirrored=True)[:, ::-1]).max() > 0.02


def test_segment_phases__counts_thickness_along_the_beam(images):
    def every(thickness):
        z = images["z"].copy(data=thickness * np.arange(9))
        return images.assign_coords(z=z).assign_attrs(provenance=[])

    thick, thin = every(16.0), every(5.0)
    segmented(thick, 0.0)
    with pytest.raises(ConventionError, match=r"are 19.78 nm thick along the beam"):
        segmented(thick, TILT)
    with pytest.warns(fibdask.FibdaskWarning, match="one of 2 is shown"):
        segmented(thin, 0.0)
    segmented(thin, TILT)  # 6.2 nm along the beam


@pytest.mark.parametrize("mirrored", ["false", 1, None, 2.5])
def test_mirrored__is_true_or_false(images, mirrored):
    with pytest.raises(ConventionError, match="mirrored must be True or False; got"):
        fibdask.segment_phases(images, method="network", mirrored=mirrored)
    with pytest.raises(ConventionError, match="mirrored must be True or False; got"):
        fibdask.reconstruct_volume(images, spacing=2.5, mirrored=mirrored)


def test_tilt__is_for_networks(images):
    with pytest.raises(ConventionError, match="mirrored goes with method 'network' only"):
        fibdask.segment_phases(images, method="otsu", mirrored=True)
    with pytest.raises(ConventionError, match="tilt goes with method 'network' only; got 36"):
        fibdask.segment_phases(images, method="otsu", tilt=36)
