"""Solid fraction and its profile."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fibdask.conventions import ConventionError
from fibdask.statistics import solid_fraction, solid_fraction_profile
from tests.statistics.helpers import in_blocks, laminate, noise, phase_of, ragged, random_volumes


@given(data=st.data(), volume=random_volumes())
def test_solid_fraction__equals_the_definition_under_any_chunking(data, volume):
    for array in (volume, data.draw(ragged(volume)), in_blocks(volume, (2, 3, 4))):
        phase = phase_of(array)
        assert float(solid_fraction(phase)) == volume.sum() / volume.size
        profile = solid_fraction_profile(phase)
        np.testing.assert_array_equal(profile, volume.sum(axis=(1, 2)) / volume[0].size)


def test_solid_fraction_profile__of_a_laminate_is_the_laminate():
    profile = solid_fraction_profile(phase_of(laminate()))
    np.testing.assert_array_equal(profile, [1, 1, 0, 0] * 3)


def test_solid_fraction_profile__keeps_irregular_depths():
    depths = [0.0, 10.0, 33.0]
    profile = solid_fraction_profile(phase_of(noise((3, 4, 5)), z=depths))
    np.testing.assert_array_equal(profile.z, depths)
    assert profile.z.attrs["units"] == "nm"
    assert profile.chunks is not None


def test_solid_fraction__refuses_values_that_are_no_phase():
    volume = noise((4, 5, 6))
    volume[3, 2, 1] = 2
    with pytest.raises(ConventionError, match=r"voxel \(3, 2, 1\) has 2"):
        solid_fraction(phase_of(in_blocks(volume, (2, 2, 2)))).compute()
