"""Segmentation by a network: what the stage hands to it, and makes of what it says."""

import json
import warnings

import dask.array as da
import numpy as np
import pytest
import zarr

import fibdask
from fibdask.blocks import origin
from fibdask.conventions import (
    ConventionError,
    FibdaskWarning,
    build_stack,
    known_planes,
    mark_inpainted,
)
from fibdask.pieces.windows import PlacedPlanes
from fibdask.segment import segment_phases
from tests.pieces.models import CARD, MixModel, offer
from tests.pieces.predictors import CoarseMix
from tests.pieces.test_windows import naive

SHAPE = (2, 7, 21, 15)
IMAGE = np.random.default_rng(3).gamma(3, 20, SHAPE).clip(0, 255).astype(np.uint8)
Z = np.cumsum(np.random.default_rng(2).gamma(9, 1, SHAPE[1]))


@pytest.fixture(autouse=True)
def _models(monkeypatch):
    offer(monkeypatch, MixModel(), MixModel(CARD | {"name": "far", "pixel_size": [20, 30]}))


def stack_of(image=IMAGE, voltage=(1.0, 2.0), z=Z):
    return build_stack(
        {"intensity": image},
        z=z[: image.shape[1]],
        pixel_size=(3.0, 3.0),
        nominal_thickness=9.0,
        voltage=np.array(voltage),
    )


def ranges_of(counted):
    shares = (0.01, 0.99)
    flat = counted.reshape(len(counted), -1)
    return np.quantile(flat, shares, axis=1, method="inverted_cdf").T.astype(float)


def expected(image=IMAGE, channels=(0, 1), measured=None, counted=None):
    measured = np.ones(image.shape[1], bool) if measured is None else measured
    planes = PlacedPlanes.of_slices(Z[: image.shape[1]], measured)
    ranges = ranges_of(image[:, measured] if counted is None else counted)
    return naive(planes, image, channels, MixModel().predictor(), ranges)


def test_network__shows_each_slice_with_those_around_it():
    made = segment_phases(stack_of(), method="network")
    np.testing.assert_array_equal(made["solid_probability"], expected())
    np.testing.assert_array_equal(made["phase"], expected() > 0.5)
    assert made["phase"].dtype == np.uint8
    assert 0.01 < float(made["phase"].mean()) < 0.95


def test_network__tells_of_slices_beside_gaps_longer_than_it_knows():
    z = Z + np.where(np.arange(SHAPE[1]) > 3, 20.0, 0.0)
    with pytest.warns(FibdaskWarning, match=r"^2 of 7 slices lie beside one up to .* of up to 22"):
        segment_phases(stack_of(z=z), method="network")


def test_network__tells_of_no_gap_that_its_card_has_rounded(monkeypatch):
    offer(monkeypatch, MixModel(CARD | {"gap": [13.33, 13.33]}))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        segment_phases(stack_of(z=40 / 3 * np.arange(SHAPE[1])), method="network")
    assert not [one for one in told if "trained on gaps of up to" in str(one.message)]


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_network__knows_no_scale_of_grey_values(dtype):
    image = (100.0 * IMAGE + 300).astype(dtype)
    made = segment_phases(stack_of(image), method="network")["solid_probability"]
    # Quantiles of floats are those of fine steps.
    tolerance = 0 if dtype == "uint16" else 1.01 / 255
    np.testing.assert_allclose(made, expected(), atol=tolerance)


def test_network__one_voltage_is_shown_in_its_place():
    made = segment_phases(stack_of(), method="network", voltage=2.0)
    np.testing.assert_array_equal(made["solid_probability"], expected(IMAGE[1:], (1,)))
    alone = segment_phases(stack_of(IMAGE[1:], (2.04,)), method="network")
    np.testing.assert_array_equal(alone["phase"], made["phase"])


def test_network__passes_slices_over_that_are_not_measured():
    measured = np.arange(SHAPE[1]) != 3
    image = IMAGE.copy()
    image[:, 3] = 255
    stack = stack_of(image).assign_coords(measured=("z", measured))
    made = segment_phases(mark_inpainted(stack, ["intensity"]), method="network")
    np.testing.assert_array_equal(made["solid_probability"], expected(image, measured=measured))
    assert not made["phase"][3].any()
    assert known_planes(made["phase"]).tolist() == measured.tolist()


def test_network__counts_grey_values_where_it_is_told_to_and_crops_the_data_bar():
    image = IMAGE.copy()
    image[:, :, -4:] = 255
    region = {"x": (0, 9)}
    made = segment_phases(stack_of(image), method="network", data_bar=4, region_of_interest=region)
    shown = image[:, :, :-4]
    probability = expected(shown, counted=shown[..., :9])
    np.testing.assert_array_equal(made["solid_probability"], probability)


@pytest.mark.parametrize("chunks", [(1, 3, 8, 8), (2, 7, 5, 15)])
def test_network__is_lazy_and_independent_of_chunks(chunks):
    stack = stack_of(da.from_array(IMAGE, chunks=chunks))
    made = segment_phases(stack, method="network")
    np.testing.assert_array_equal(made["solid_probability"].compute(), expected())


def test_network__of_a_stored_stack_reads_by_coordinates(tmp_path):
    fibdask.save_stack(stack_of(), tmp_path / "images.zarr")
    stack = fibdask.open_stack(tmp_path / "images.zarr")
    made = segment_phases(stack, method="network")
    assert origin(made["phase"].data) is not None
    fibdask.save_stack(made, tmp_path / "made.zarr")
    stored = fibdask.open_stack(tmp_path / "made.zarr")
    np.testing.assert_array_equal(stored["solid_probability"], expected())
    np.testing.assert_array_equal(stored["phase"], expected() > 0.5)


def test_network__is_recorded():
    made = segment_phases(stack_of(), method="network")
    parameters = json.loads(made.attrs["provenance"][-1])["parameters"]
    assert parameters["method"] == "network"
    assert parameters["model"] == "mix"
    assert parameters["model_fingerprint"] == "fingerprint of mix"
    assert parameters["voltage"] == [1.0, 2.0]
    assert parameters["classes"] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"method": "otsu", "model": "mix"},
            "model goes with method 'network' and 'random_forest' only",
        ),
        ({"method": "random_forest", "device": "gpu"}, "device goes with method 'network' only"),
        ({"method": "otsu", "disagreement": True}, "disagreement goes with method 'network' only"),
        (
            {"method": "network", "disagreement": True, "voltage": 2.0},
            "is between voltages; the network is shown one",
        ),
        ({"method": "network", "threshold": 3}, "threshold goes with method 'threshold' only"),
        ({"method": "network", "model": "far"}, "far was trained on pixels of 20 to 30 nm"),
        ({"method": "network", "voltage": 3}, "voltage must be one of the stack"),
    ],
)
def test_network__refuses_what_does_not_fit(options, words):
    with pytest.raises(ConventionError, match=words):
        segment_phases(stack_of(), **options)


def test_network__refuses_images_of_one_brightness():
    image = IMAGE.copy()
    image[1] = 9
    made = segment_phases(stack_of(image), method="network")
    with pytest.raises(ConventionError, match="of voltage number 1, 1% to 99% of the counted"):
        made["phase"].compute()


@pytest.mark.parametrize("make", [lambda stack: stack.compute(), None])
def test_network__is_asked_once_for_the_phase_and_its_probability(tmp_path, monkeypatch, make):
    asked = []
    ask = CoarseMix.__call__

    def noting(predictor, images, present, distances, offsets, *pixels):
        asked.append(len(offsets))
        return ask(predictor, images, present, distances, offsets, *pixels)

    stored = fibdask.open_stack(fibdask.save_stack(stack_of(), tmp_path / "images.zarr"))
    made = segment_phases(stored, method="network")
    monkeypatch.setattr(CoarseMix, "__call__", noting)
    if make is None:
        path = fibdask.save_stack(made[["phase", "solid_probability"]], tmp_path / "made.zarr")
        found = fibdask.open_stack(path)
    else:
        found = make(made)
    assert sum(asked) == SHAPE[1] + 3  # that are looked at first
    np.testing.assert_array_equal(found["solid_probability"], expected())
    np.testing.assert_array_equal(found["phase"], expected() > 0.5)


@pytest.mark.parametrize("chunks", [None, (1, 3, 8, 8)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_network__tells_how_far_apart_single_voltages_are(chunks, dtype):
    image = IMAGE.astype(dtype)
    stack = stack_of(image if chunks is None else da.from_array(image, chunks=chunks))
    made = segment_phases(stack, method="network", disagreement=True)
    each = [
        segment_phases(stack_of(image), method="network", voltage=v)["solid_probability"].values
        for v in (1.0, 2.0)
    ]
    steps = np.abs(np.rint(255 * each[0]) - np.rint(255 * each[1])) / 255
    # Quantiles of floats are those of steps as long as the longest of any voltage.
    tolerance = 1e-6 if dtype == "uint8" else 2.01 / 255
    np.testing.assert_allclose(made["voltage_disagreement"], steps, atol=tolerance)
    assert made["voltage_disagreement"].dtype == np.float32
    assert steps.mean() > 0.01
    without = segment_phases(stack_of(image), method="network")
    np.testing.assert_array_equal(made["solid_probability"], without["solid_probability"])
    assert "voltage_disagreement" not in without


def test_network__stores_disagreement_as_bytes_and_counts_grey_values_once(tmp_path):
    stored = fibdask.open_stack(fibdask.save_stack(stack_of(), tmp_path / "images.zarr"))
    made = segment_phases(stored, method="network", disagreement=True)
    probability, apart = (
        {reduction.token for reduction in origin(made[name].data).reductions}
        for name in ("solid_probability", "voltage_disagreement")
    )
    assert len(apart) == 1
    assert apart < probability  # which is looked at, too
    path = fibdask.save_stack(made, tmp_path / "made.zarr")
    found = fibdask.open_stack(path)["voltage_disagreement"]
    np.testing.assert_array_equal(found, made["voltage_disagreement"].compute())
    assert zarr.open(path)["voltage_disagreement"].dtype == "uint8"
    assert "voltage_disagreement" not in segment_phases(made, method="otsu")


def test_segment_phases__keeps_no_probability_of_another_phase():
    by_network = segment_phases(stack_of(), method="network")
    anew = segment_phases(by_network, method="otsu")
    assert "solid_probability" not in anew
    alone = segment_phases(stack_of(), method="otsu")
    np.testing.assert_array_equal(anew["phase"], alone["phase"])
