"""The volume between the slices: every plane at its own depth, and nothing else of the slices."""

import json

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import fibdask
from fibdask import phase_statistics, reconstruct_volume, reposition_slices
from fibdask.blocks import origin
from fibdask.conventions import (
    ConventionError,
    FibdaskWarning,
    build_stack,
    covered_region,
    known_planes,
)
from fibdask.pieces.windows import PlacedPlanes
from tests.pieces.models import CARD, MixModel, offer
from tests.pieces.test_windows import naive

SHAPE = (2, 7, 21, 15)
IMAGE = np.random.default_rng(3).gamma(5, 20, SHAPE).clip(0, 255).astype(np.uint8)
Z = 3.1 + np.cumsum(np.random.default_rng(2).gamma(9, 1, SHAPE[1]))


@pytest.fixture(autouse=True)
def _models(monkeypatch):
    offer(monkeypatch, MixModel(), MixModel(CARD | {"name": "far", "pixel_size": [20, 30]}))


def stack_of(image=IMAGE, z=Z, voltage=(1.0, 2.0)):
    return build_stack(
        {"intensity": image},
        z=np.asarray(z, float),
        pixel_size=(3.0, 3.0),
        nominal_thickness=9.0,
        voltage=np.array(voltage),
    )


def expected(depths, image=IMAGE, channels=(0, 1), measured=None):
    """Planes of windows that are looked for one by one."""
    measured = np.ones(len(Z), bool) if measured is None else measured
    slices = np.flatnonzero(measured)
    z = Z[slices]
    above = np.array([max((k for k in range(len(z)) if z[k] <= d), default=0) for d in depths])
    offsets = np.clip(depths - z[above], 0, None)
    offsets[above == len(z) - 1] = 0
    planes = PlacedPlanes(slices, z, above, offsets)
    counted = image[:, measured].reshape(len(image), -1)
    ranges = np.quantile(counted, (0.01, 0.99), axis=1, method="inverted_cdf").T.astype(float)
    return naive(planes, image, channels, MixModel().predictor(), ranges)


@pytest.mark.filterwarnings("ignore:planes 30 nm apart")
@pytest.mark.parametrize("spacing", [2.5, 4.0, 30.0])
def test_reconstruct_volume__tells_of_every_plane_at_its_own_depth(spacing):
    made = reconstruct_volume(stack_of(), spacing=spacing)
    first, last = (int(np.floor(z / spacing + 0.5)) for z in Z[[0, -1]])
    np.testing.assert_array_equal(made["z"], np.arange(first, last + 1) * spacing)
    np.testing.assert_array_equal(made["solid_probability"], expected(made["z"].values))
    np.testing.assert_array_equal(made["phase"], made["solid_probability"] > 0.5)
    assert made["phase"].dtype == np.uint8
    assert 0.01 < float(made["phase"].mean()) < 0.99


def test_reconstruct_volume__lies_on_the_grid_of_repositioned_slices():
    made = reconstruct_volume(stack_of(), spacing=2.5)
    moved = reposition_slices(stack_of(), spacing=2.5)
    for name in ("z", "measured", "slice_thickness", "y", "x"):
        assert made[name].variable.identical(moved[name].variable), name


@given(st.integers(1, 8))
def test_reconstruct_volume__slices_on_the_grid_are_their_own_segmentation(spacing):
    with pytest.MonkeyPatch.context() as patch:
        offer(patch, MixModel())
        z = 24.0 * np.arange(7) * (5 / 8)
        # What rounding leaves of a depth is no offset.
        stack = stack_of(z=z + np.random.default_rng(spacing).uniform(-4e-7, 4e-7, 7))
        made = reconstruct_volume(stack, spacing=15.0 / spacing)
        slices = fibdask.segment_phases(stack, method="network")
    there = made["solid_probability"][made["measured"].values]
    np.testing.assert_array_equal(there, slices["solid_probability"])


def test_reconstruct_volume__never_looks_at_slices_that_are_not_measured():
    measured = np.array([False, True, True, False, True, True, False])
    image = IMAGE.copy()
    image[:, ~measured] = 255
    stack = stack_of(image).assign_coords(measured=("z", measured))
    made = reconstruct_volume(stack, spacing=3.0)
    probability = expected(made["z"].values, measured=measured)
    np.testing.assert_array_equal(made["solid_probability"], probability)
    assert made["z"].values[0] == 3 * round(Z[1] / 3)
    assert made["z"].values[-1] == 3 * round(Z[5] / 3)
    assert int(made["measured"].sum()) == 4


def test_reconstruct_volume__of_one_voltage():
    made = reconstruct_volume(stack_of(), spacing=3.0, voltage=2.0)
    probability = expected(made["z"].values, IMAGE[1:], (1,))
    np.testing.assert_array_equal(made["solid_probability"], probability)


@pytest.mark.parametrize("chunks", [(1, 3, 8, 8), (2, 7, 5, 15)])
def test_reconstruct_volume__is_lazy_and_independent_of_chunks(chunks):
    made = reconstruct_volume(stack_of(da.from_array(IMAGE, chunks=chunks)), spacing=3.0)
    probability = expected(made["z"].values)
    np.testing.assert_array_equal(made["solid_probability"].compute(), probability)


def test_reconstruct_volume__in_a_chain_from_a_store_to_a_store(tmp_path):
    fibdask.save_stack(stack_of(), tmp_path / "images.zarr")
    stack = fibdask.open_stack(tmp_path / "images.zarr").isel(y=slice(3, 20), x=slice(1, None))
    made = reconstruct_volume(stack, spacing=3.0)
    assert origin(made["phase"].data) is not None
    fibdask.save_stack(made, tmp_path / "made.zarr")
    stored = fibdask.open_stack(tmp_path / "made.zarr")
    probability = expected(made["z"].values, IMAGE[:, :, 3:20, 1:])
    np.testing.assert_array_equal(stored["solid_probability"], probability)
    np.testing.assert_array_equal(stored["phase"], probability > 0.5)


def test_reconstruct_volume__statistics_count_every_plane():
    made = reconstruct_volume(stack_of(), spacing=3.0)
    assert known_planes(made["phase"]).all()
    assert known_planes(made["solid_probability"]).all()
    assert not (made["measured"] & made["inpainted"]).any()
    found = phase_statistics(made["phase"], max_lag=2)["solid_fraction"]
    assert float(found) == pytest.approx(float(made["phase"].mean()))


def test_reconstruct_volume__keeps_maps_and_drops_what_lies_on_slices():
    stack = stack_of().assign(
        true_phase=(("z", "y", "x"), np.zeros(SHAPE[1:], np.uint8)),
        shift_y=("z", np.ones(7), {"units": "nm"}),
        height=(("y", "x"), np.ones(SHAPE[2:])),
        section=(("z", "x"), np.ones((7, 15))),
    )
    made = reconstruct_volume(stack, spacing=3.0)
    assert set(made.data_vars) == {"phase", "solid_probability", "height"}
    assert set(made.dims) == {"z", "y", "x"}
    fibdask.validate_stack(made)


@pytest.mark.filterwarnings("ignore:4.5 % of the pixels are filled")
def test_reconstruct_volume__pixels_that_alignment_filled_count_nowhere():
    far = np.where(np.arange(7) == 2, 9.5, 0.0)
    shifts = xr.Dataset({"shift_y": ("z", far), "shift_x": ("z", -far)})
    moved = fibdask.apply_shifts(stack_of().isel(voltage=[0]), shifts, outside="edge")
    made = reconstruct_volume(moved, spacing=3.0)
    assert covered_region(made) == covered_region(moved)
    assert covered_region(made) != {"y": slice(0, 21), "x": slice(0, 15)}


def test_reconstruct_volume__is_recorded():
    made = reconstruct_volume(stack_of(), spacing=3, voltage=2)
    record = json.loads(made.attrs["provenance"][-1])
    assert record["step"] == "reconstruct_volume"
    card = record["parameters"].pop("model_card")
    assert card["thickness"] == [5.0, 20.0]
    assert card["errors"] == {"misplaced": 1.0}
    assert record["parameters"] == {
        "spacing": 3.0,
        "tilt": 0.0,
        "mirrored": False,
        "voltage": [2.0],
        "model": "mix",
        "model_fingerprint": "fingerprint of mix",
        "device": "cpu",
    }


def test_reconstruct_volume__counts_gaps_along_a_tilted_beam():
    z = [0.0, 8.0, 16.0, 34.0, 42.0, 50.0, 58.0]  # 22 nm are known, and 18 nm are 28 along the beam
    reconstruct_volume(stack_of(z=z), spacing=4.0)
    with pytest.warns(FibdaskWarning, match=r"up to 28 nm apart along the beam; .* up to 22 nm"):
        reconstruct_volume(stack_of(z=z), spacing=4.0, tilt=50)


def test_reconstruct_volume__tells_of_gaps_that_the_model_does_not_know():
    z = [0.0, 8.0, 16.0, 40.0, 48.0, 56.0, 64.0]
    with pytest.warns(FibdaskWarning, match=r"^5 of 17 planes .* up to 24 nm .* up to 22 nm"):
        reconstruct_volume(stack_of(z=z), spacing=4.0)


def test_reconstruct_volume__tells_that_planes_are_coarser_than_slices():
    with pytest.warns(FibdaskWarning, match=r"^planes 30 nm apart are much coarser than"):
        reconstruct_volume(stack_of(), spacing=30.0)


def test_reconstruct_volume__refuses_a_model_whose_data_had_no_planes_between(monkeypatch):
    errors = {"misplaced": 1.0, "on_slices": 1.0, "between": None}
    offer(monkeypatch, MixModel(CARD | {"name": "flat", "errors": errors}))
    with pytest.raises(ConventionError, match="nothing of what lies between them"):
        reconstruct_volume(stack_of(), spacing=3.0, model="flat")


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({"spacing": 0}, {}, "spacing must be finite and > 0 nm; got 0"),
        ({"spacing": 1e-9}, {}, "spacing must be in nm; got 1e-09 nm, where"),
        ({"model": "far"}, {}, "far was trained on pixels of 20 to 30 nm"),
        ({"voltage": 3}, {}, "voltage must be one of the stack"),
        ({}, {"z": 4 * Z}, r"trained on slices of 5 to 20 nm .*; those of the stack are 39"),
        ({}, {"image": IMAGE[:, :1], "z": Z[:1]}, "two measured slices or more; got 1"),
        ({}, {"voltage": (1.0, 8.0)}, "the stack has 8 kV"),
    ],
)
def test_reconstruct_volume__refuses_what_does_not_fit(change, options, words):
    with pytest.raises(ConventionError, match=words):
        reconstruct_volume(stack_of(**options), **{"spacing": 3.0} | change)


def test_fib__offers_it():
    stack = stack_of()
    expected = reconstruct_volume(stack, spacing=3.0)
    assert stack.fib.reconstruct_volume(spacing=3.0).identical(expected)
