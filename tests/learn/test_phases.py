"""Samples of phases: made of their number, true to their structures, judged by others."""

import numpy as np
import pytest

from fibdask.conventions import ConventionError
from fibdask.learn.phases import (
    PhaseSamples,
    PhaseVariation,
    PhaseWindows,
    Structure,
    check_structures,
    phase_ranges,
)
from fibdask.pieces.windows import PIXEL, SliceWindow

STRUCTURE = Structure((40, 40, 40), (20.0,), (0.4,), 3)
WINDOW = SliceWindow(2, 3)


def samples(**changed):
    given = {"crop": 32, "planes": 2, "seed": 5} | changed
    smooth = PhaseVariation(roughness=0.0)
    return PhaseSamples([STRUCTURE], given.pop("variation", smooth), window=WINDOW, **given)


def test_phase_samples__are_made_of_seed_and_number():
    first, again, other = samples(), samples(), samples(seed=6)
    for number in (0, 7):
        assert np.array_equal(first[number].images, again[number].images)
        assert np.array_equal(first[number].truth, again[number].truth)
    assert not np.array_equal(first[0].truth, other[0].truth)


def test_phase_samples__show_slices_at_their_distances_and_ask_for_planes_below():
    for number in range(20):
        sample = samples()[number]
        assert sample.distances[WINDOW.above - 1] == 0
        known = np.isfinite(sample.distances)
        assert (np.diff(sample.distances[known]) >= PIXEL).all()
        assert not sample.images[0, ~known].any()
        assert (sample.offsets >= 0).all()
        if known[WINDOW.above]:
            assert (sample.offsets < sample.distances[WINDOW.above]).all()


def test_phase_samples__are_turned_views_of_the_structure():
    """All that is shown and asked for lies in the structure, whatever axis is looked along."""
    phase = STRUCTURE.phase().values
    planes = {np.ascontiguousarray(p).tobytes() for axis in range(3) for p in _views(phase, axis)}
    sample = samples(crop=40)[1]
    shown = sample.images[0, np.isfinite(sample.distances)].astype(np.uint8)
    assert all(plane.tobytes() in planes for plane in shown)
    assert all(plane.astype(np.uint8).tobytes() in planes for plane in sample.truth)


def _views(phase, axis):
    for plane in np.moveaxis(phase, axis, 0):
        for turned in (plane, plane.T):
            for y in (1, -1):
                yield turned[::y]
                yield turned[::y, ::-1]


def test_phase_samples__are_roughened_at_edges_only_a_little():
    rough = samples(variation=PhaseVariation(roughness=0.3))
    differ = [np.mean(rough[n].images != samples()[n].images) for n in range(12)]
    assert 0 < np.mean(differ) < 0.05


def test_phase_windows__ask_for_every_plane_between_slices_once():
    windows = PhaseWindows.milled(STRUCTURE, WINDOW)
    asked = sum(len(window.offsets) for window in windows)
    first, last = windows.faces[0], windows.faces[-1]
    assert asked == last - first + 1 - len(windows.faces)
    for window in windows:
        assert (window.offsets > 0).all()


def test_phase_ranges__count_in_pixels():
    ranges = phase_ranges(samples(variation=PhaseVariation(thickness=(2.0, 6.0))))
    assert ranges["thickness"] == [2 * PIXEL, 6 * PIXEL]
    assert ranges["ligament_size"] == [20.0, 20.0]
    assert ranges["solid_fraction"] == [0.4, 0.4]


def test_check_structures__refuses_one_seed_for_both():
    with pytest.raises(ConventionError, match="both have seed 3"):
        check_structures([STRUCTURE], STRUCTURE, 32)


def test_check_structures__refuses_a_structure_smaller_than_a_crop():
    other = Structure((40, 24, 40), (20.0,), (0.4,), 4)
    with pytest.raises(ConventionError, match="as large as a crop of 32 voxels"):
        check_structures([STRUCTURE], other, 32)


def test_check_structures__refuses_what_no_structure_is_made_of():
    with pytest.raises(ConventionError, match=r"solid_fraction must be > 0 and < 1; got 1\.5"):
        check_structures([STRUCTURE, Structure((40,) * 3, (20.0,), (1.5,), 4)], STRUCTURE, 32)
