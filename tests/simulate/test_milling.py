import numpy as np
import pytest

from fibdask.conventions import ConventionError, FibdaskWarning, validate_stack
from fibdask.simulate import anisotropy_phantom, levelled_wave, mimic_milling

MILLING = {"mean_thickness": 10.16, "std_thickness": 3.12}


def truth(planes=60, chunks="auto"):
    return levelled_wave(
        (planes, 12, 9),
        voxel_size=(2.5, 3, 4),
        ligament_size=20,
        solid_fraction=0.4,
        seed=1,
        chunks=chunks,
    )


def test_mimic_milling__has_the_thickness_asked_for():
    phase = anisotropy_phantom((80_000, 1, 1), voxel_size=2.5)
    stack = mimic_milling(phase, seed=3, **MILLING)
    thickness = np.diff(stack.z)
    error = thickness.std() / np.sqrt(len(thickness))
    assert abs(thickness.mean() - 10.16) < 4 * error
    assert thickness.std() == pytest.approx(3.12, rel=4 / np.sqrt(2 * len(thickness)))
    assert set(np.unique(thickness)) <= set(2.5 * np.arange(1, 20))


def test_mimic_milling__slices_are_planes_of_the_truth():
    phase = truth()
    stack = mimic_milling(phase, seed=0, **MILLING)
    validate_stack(stack)
    planes = np.rint(stack.z.values / 2.5).astype(int)
    assert planes[0] == 0
    assert stack.slice_thickness.values[-1] == 10.16
    np.testing.assert_array_equal(stack.phase.values, phase.values[planes])
    np.testing.assert_array_equal(stack.x, phase.x)


@pytest.mark.parametrize("chunks", [(60, 12, 9), (7, 5, 9), (1, 12, 2)])
@pytest.mark.parametrize("kind", ["blocks", "dask", "numpy"])
def test_mimic_milling__does_not_depend_on_chunks_or_kind(chunks, kind):
    phase = truth(chunks=chunks)
    expected = mimic_milling(phase.compute(), seed=5, **MILLING).phase.values
    if kind == "dask":
        phase = phase.copy(data=phase.data + np.uint8(0))
    elif kind == "numpy":
        phase = phase.compute()
    stack = mimic_milling(phase, seed=5, **MILLING)
    np.testing.assert_array_equal(stack.phase.values, expected)


def test_mimic_milling__differs_with_the_seed():
    first, second = (mimic_milling(truth(), seed=seed, **MILLING).z.values for seed in (1, 2))
    assert len(first) != len(second) or (first != second).any()


def test_mimic_milling__without_spread_is_even():
    stack = mimic_milling(truth(), mean_thickness=10, std_thickness=0, seed=0)
    np.testing.assert_array_equal(stack.z, np.arange(0, 150, 10))


def test_mimic_milling__says_where_planes_are_too_coarse_for_the_spread():
    phase = anisotropy_phantom((200, 1, 1), voxel_size=5)
    with pytest.warns(FibdaskWarning, match="std_thickness of 1 nm is not kept: .* all slices are"):
        stack = mimic_milling(phase, mean_thickness=10, std_thickness=1, seed=0)
    assert np.ptp(np.diff(stack["z"])) == 0


@pytest.mark.parametrize(("mean", "std", "found"), [(12, 0, "10 nm"), (5, 10, r"[67]\.\d+ nm")])
def test_mimic_milling__says_where_planes_are_too_coarse_for_the_slices(mean, std, found):
    phase = anisotropy_phantom((2000, 1, 1), voxel_size=5)
    with pytest.warns(FibdaskWarning, match=f"are {found} thick on average, not {mean} nm: each"):
        mimic_milling(phase, mean_thickness=mean, std_thickness=std, seed=0)


@pytest.mark.parametrize(("mean", "std", "found"), [(10, 0.75, "0"), (11.2, 0.8, r"1\.2")])
def test_mimic_milling__says_where_planes_are_too_coarse_for_how_slices_differ(mean, std, found):
    phase = anisotropy_phantom((2000, 1, 1), voxel_size=2.5)
    with pytest.warns(FibdaskWarning, match=f"a standard deviation of {found}.* nm, not {std} nm"):
        mimic_milling(phase, mean_thickness=mean, std_thickness=std, seed=1)


def test_mimic_milling__takes_rounding_for_none():
    phase = anisotropy_phantom((20, 1, 1), voxel_size=2.6)
    stack = mimic_milling(phase, mean_thickness=2.6 - 4e-16, std_thickness=5e-15, seed=0)
    np.testing.assert_array_equal(stack.z, phase.z)


def test_mimic_milling__of_one_slice_says_nothing_of_distances():
    stack = mimic_milling(truth(planes=1), seed=0, **MILLING)
    assert stack.slice_thickness.values.tolist() == [10.16]


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("mean_thickness", 2.0, "at least one plane of 2.5 nm; got 2.0"),
        ("mean_thickness", -1.0, "mean_thickness must be finite and > 0 nm; got -1.0"),
        ("std_thickness", -3.0, "std_thickness must be finite and >= 0 nm; got -3.0"),
        ("mean_thickness", 1e300, "mean_thickness must be at most 1e.06 nm; got 1e.300"),
        ("std_thickness", 1e300, "std_thickness must be at most 1e.06 nm; got 1e.300"),
    ],
)
def test_mimic_milling__refuses_wrong_arguments(argument, value, message):
    with pytest.raises(ConventionError, match=message):
        mimic_milling(truth(), seed=0, **{**MILLING, argument: value})
