"""Means over patches."""

import numpy as np
import pytest

from fibdask.conventions import ConventionError
from fibdask.statistics import patch_statistics, phase_statistics, statistics_warnings
from tests.statistics import naive
from tests.statistics.helpers import AXES, in_blocks, noise, phase_of


def test_patch_statistics__are_means_over_patches_that_fit():
    volume = noise((9, 23, 34), 0.6)
    parts = [volume[:, y : y + 10, x : x + 10] for y in (0, 10) for x in (0, 10, 20)]
    for array in (volume, in_blocks(volume, (4, 7, 11))):
        found = patch_statistics(phase_of(array, (2.0,) * 3), max_lag=5, patch=10).compute()
        assert found.attrs["patches"] == 6
        for number, axis in enumerate(AXES):
            paths = np.mean([naive.lineal_path(part, axis, 5) for part in parts], axis=0)
            sizes = np.mean([naive.ligament_diameter(part, axis, 2.0) for part in parts])
            np.testing.assert_allclose(found.lineal_path[number], paths, rtol=1e-13)
            np.testing.assert_allclose(found.ligament_diameter[number], sizes, rtol=1e-13)
        errors = np.mean([naive.isotropy_errors(part, 5, 2.0) for part in parts], axis=0)
        np.testing.assert_allclose(found.isotropy_error, errors[:3], rtol=1e-12)
        np.testing.assert_allclose(found.isotropy_noise, errors[3:], rtol=1e-12)


def test_patch_statistics__of_one_patch_are_those_of_the_volume():
    phase = phase_of(noise((12, 16, 16), 0.4))
    found = patch_statistics(phase, max_lag=4, patch=16)
    whole = phase_statistics(phase, max_lag=4)
    for name in found:
        np.testing.assert_array_equal(found[name], whole[name])


def test_statistics_warnings__tell_of_diameters_that_patches_cut_short():
    solid = np.zeros((9, 16, 24), np.uint8)
    solid[:, :, ::6] = solid[:, :, 1::6] = 1  # walls of two voxels along x
    for max_lag in (1, 4, 7):
        found = patch_statistics(phase_of(solid), max_lag=max_lag, patch=8).compute()
        told = [text for text in statistics_warnings(found) if " is too small: " in text]
        assert [text.split(" is too small: ")[0][-1] for text in told] == ["z", "y"]
        assert ": 1 of the lineal path is left" in told[0]


def test_patch_statistics__compute_nothing_when_called():
    phase = phase_of(in_blocks(noise((9, 20, 20)), (4, 7, 11)))
    assert all(
        array.chunks is not None for array in patch_statistics(phase, max_lag=2, patch=8).values()
    )


@pytest.mark.parametrize("patch", [0, 9, 2.5, True])
def test_patch_statistics__refuse_a_patch_that_does_not_fit(patch):
    with pytest.raises(ConventionError, match=f"patch must be .* from 1 to 8; got {patch}"):
        patch_statistics(phase_of(noise((4, 8, 10))), max_lag=2, patch=patch)
