"""Profiles of hypothesis, and small stacks that many tests start from."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from fibdask.conventions import build_stack
from tests.holding import Hold

os.environ.setdefault("NUMBA_NUM_THREADS", "1")
settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("default")


@pytest.fixture
def stack():
    """Two voltages, seven uneven slices of 70 × 66 pixels, with phase."""
    rng = np.random.default_rng(7)
    intensity = rng.integers(0, 256, (2, 7, 70, 66), dtype=np.uint8)
    return build_stack(
        {"intensity": intensity, "phase": (intensity[0] > 120).astype(np.uint8)},
        z=np.array([0.0, 9.0, 21.0, 30.0, 41.0, 52.0, 60.0]),
        pixel_size=(3.0, 4.0),
        nominal_thickness=10.0,
        voltage=np.array([1.0, 2.0]),
    )


@pytest.fixture
def hold(tmp_path):
    """Make what holds processes at the files of a place, each after some of them."""
    made = []

    def at(place, *, after=0):
        made.append(Hold.at(tmp_path / f"hold-{len(made)}", place, after))
        return made[-1]

    yield at
    for one in made:
        one.let_go()
