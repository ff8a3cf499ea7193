"""Which planes a block reads: enough for every gap, and no more than the windows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fibdask.inpaint.planes import MeasuredPlanes
from tests.inpaint.naive import is_gap, nearest_plane, window


@st.composite
def cases(draw):
    """Measured planes, and a range of planes of the volume."""
    length = draw(st.integers(1, 60))
    numbers = draw(st.sets(st.integers(0, length - 1), min_size=1))
    start = draw(st.integers(0, length - 1))
    return np.array(sorted(numbers)), slice(start, draw(st.integers(start + 1, length)))


def windows(numbers, planes):
    """Return the window of every gap of a range."""
    gaps = [p for p in range(planes.start, planes.stop) if is_gap(p, numbers)]
    return {plane: window(plane, numbers)[0] for plane in gaps}


@given(cases())
@settings(max_examples=200)
def test_window__is_four_on_each_side(case):
    numbers, planes = case
    for plane, expected in windows(numbers, planes).items():
        found = MeasuredPlanes(numbers).window(plane)
        assert numbers[found.start : found.stop].tolist() == expected.tolist()


@given(cases())
@settings(max_examples=200)
def test_span__holds_the_windows(case):
    numbers, planes = case
    span = MeasuredPlanes(numbers).span(planes)
    inside = set(range(span.start, span.stop))
    assert inside >= set(range(planes.start, planes.stop))
    assert all(inside >= set(found) for found in windows(numbers, planes).values())


@given(cases())
@settings(max_examples=200)
def test_span__of_width_one_holds_the_nearest(case):
    numbers, planes = case
    measured = MeasuredPlanes(numbers)
    span = measured.span(planes, width=1)
    for plane in range(planes.start, planes.stop):
        assert measured.nearest(plane) == nearest_plane(plane, numbers)
        assert span.start <= measured.nearest(plane) < span.stop


@given(cases())
@settings(max_examples=200)
def test_span__is_the_range_where_all_is_measured(case):
    numbers, planes = case
    if set(range(planes.start, planes.stop)) <= set(numbers.tolist()):
        assert MeasuredPlanes(numbers).span(planes) == planes


@given(cases())
@settings(max_examples=200)
def test_longest_gap__is_that_of_the_gaps_in_the_range(case):
    numbers, planes = case
    gaps = [
        around[around > plane][0] - around[around < plane][-1]
        for plane, around in windows(numbers, planes).items()
    ]
    assert MeasuredPlanes(numbers).longest_gap(planes) == max(gaps, default=0)
