"""PoreSpy as an independent program; without it these tests are skipped."""

import numpy as np
import pytest

from fibdask.statistics import chord_length_distribution, radial_two_point_correlation
from tests.statistics.helpers import AXES, noise, phase_of

porespy = pytest.importorskip("porespy", reason="PoreSpy is not installed")


@pytest.fixture(scope="module")
def blobs():
    """Isotropic blobs that continue periodically, as PoreSpy takes its volumes to."""
    spectrum = np.fft.rfftn(noise((128, 128, 128)) - 0.5)
    frequency = np.meshgrid(*(np.fft.fftfreq(128),) * 2, np.fft.rfftfreq(128), indexing="ij")
    smooth = np.fft.irfftn(spectrum * np.exp(-800 * sum(f**2 for f in frequency)))
    return (smooth > np.quantile(smooth, 0.6)).astype(np.uint8)


def test_radial_two_point_correlation__is_porespys(blobs):
    radial = porespy.metrics.two_point_correlation(blobs.astype(bool))
    # Its value i is the mean over distances in (i - 1, i] voxels.
    distance = radial.bin_edges[2:20] - 0.5
    mean = radial_two_point_correlation(phase_of(blobs), max_lag=20)
    expected = np.interp(distance, mean.distance, mean)
    np.testing.assert_allclose(radial.probability_scaled[2:20], expected, atol=0.01)


@pytest.mark.parametrize("axis", AXES)
def test_chord_length_distribution__is_porespys(blobs, axis):
    # Its trimming also drops chords that run along a face, so all chords are compared.
    drawn = porespy.filters.apply_chords(
        blobs.astype(bool), spacing=0, axis=AXES.index(axis), trim_edges=False
    )
    theirs = porespy.metrics.chord_length_distribution(drawn, bins=np.arange(1, 130))
    ours = chord_length_distribution(phase_of(blobs)).sel(axis=axis)
    numbers = (ours.chords + ours.cut_chords).values
    np.testing.assert_allclose(theirs.relfreq, numbers / numbers.sum(), rtol=1e-10)
