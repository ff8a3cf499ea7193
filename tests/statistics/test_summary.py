"""All statistics at once."""

import numpy as np
import pytest
import xarray as xr

from fibdask import statistics
from fibdask.blocks import Reduction, origin
from fibdask.statistics.lines._functions import LineCounts
from tests.statistics.helpers import in_blocks, noise, phase_of

SHAPE = (9, 70, 66)


@pytest.fixture
def phase():
    return phase_of(in_blocks(noise(SHAPE, 0.6), (4, 64, 64)), (4.0, 2.0, 2.0))


@pytest.fixture
def truth():
    return phase_of(in_blocks(noise(SHAPE, 0.6, 1), (9, 32, 64)), (4.0, 2.0, 2.0))


def test_phase_statistics__are_those_of_the_single_functions(phase, truth):
    found = statistics.phase_statistics(phase, max_lag=8, truth=truth).compute()
    expected = [
        statistics.two_point_correlation(phase, max_lag=8),
        statistics.lineal_path(phase, max_lag=8),
        statistics.ligament_diameter(phase),
        statistics.solid_fraction(phase),
        statistics.solid_fraction_profile(phase),
        *statistics.segmentation_errors(phase, truth).values(),
    ]
    for array in expected:
        xr.testing.assert_identical(found[array.name], array.compute())
    errors = statistics.isotropy_errors(phase, max_lag=8).compute()
    for name in found.statistic.values:
        assert found.isotropy_error.sel(statistic=name) == errors[name]
        assert found.isotropy_noise.sel(statistic=name) == errors[f"{name}_xy"]


def test_phase_statistics__hold_the_intervals_of_the_single_functions(phase):
    options = {"confidence": 0.8, "seed": 3}
    found = statistics.phase_statistics(phase, max_lag=8, **options).compute()
    expected = [
        statistics.two_point_correlation(phase, max_lag=8, **options),
        statistics.lineal_path(phase, max_lag=8, **options),
        statistics.ligament_diameter(phase, **options),
        statistics.solid_fraction(phase, **options),
    ]
    for array in expected:
        for bound in ("lower", "upper"):
            interval = found[f"{array.name}_interval"].sel(bound=bound)
            np.testing.assert_array_equal(interval, array[bound])


def test_phase_statistics__are_reductions_that_share_their_counts(phase, truth):
    found = statistics.phase_statistics(phase, max_lag=8, truth=truth)
    reductions = [origin(array.data) for array in found.values()]
    assert all(isinstance(reduction, Reduction) for reduction in reductions)
    assert len({reduction.token for reduction in reductions}) == len(reductions)
    assert len({reduction.partials.token for reduction in reductions}) == 2


def test_phase_statistics__count_each_column_once(phase):
    found = statistics.phase_statistics(phase, max_lag=8)
    keys = {key for array in found.values() for key in array.data.dask}
    counted = [key for key in keys if key[0].startswith("blocks-")]
    assert len(counted) == LineCounts(SHAPE, (0, 1, 2), 8).columns.size


def test_phase_statistics__work_on_arrays_in_memory():
    volume = noise(SHAPE, 0.6)
    found = statistics.phase_statistics(phase_of(volume), max_lag=2)
    assert float(found.solid_fraction) == volume.mean()
    assert np.isfinite(found.isotropy_error).all()
