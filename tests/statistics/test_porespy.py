"""PoreSpy as an independent program; without it these tests are skipped."""

import numpy as np
import pytest

from fibdask.statistics import chord_length_distribution, radial_two_point_correlation
from tests.statistics.helpers import AXES, noise, phase_of

# Its own calls of other programs warn of what is to change there.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

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
    # Its value i is the mean over all directions and distances in [i, i + 1) voxels.
    mean = radial_two_point_correlation(phase_of(blobs), max_lag=20)
    expected = np.interp(radial.distance[2:20], mean.distance, mean)
    np.testing.assert_allclose(radial.probability_scaled[2:20], expected, atol=0.005)


@pytest.mark.parametrize("axis", AXES)
def test_chord_length_distribution__is_porespys(blobs, axis):
    # It draws every second line, and its trimming drops chords along a face: all are compared.
    drawn = porespy.filters.apply_chords(
        blobs.astype(bool), spacing=1, axis=AXES.index(axis), trim_edges=False
    )
    lines = blobs[tuple(slice(None, None, 1 if a == axis else 2) for a in AXES)]
    theirs = porespy.metrics.chord_length_distribution(drawn, bins=np.arange(1, 130))
    ours = chord_length_distribution(phase_of(lines)).sel(axis=axis)
    numbers = (ours.chords + ours.cut_chords).values
    np.testing.assert_allclose(theirs.relfreq, numbers / numbers.sum(), rtol=1e-10)
