"""Stages in general: what is made anew, what is kept, what is recorded."""

from dataclasses import dataclass

import numpy as np

from fibdask.conventions import recorded_steps
from fibdask.pieces.functions import EveryVoltage, FromCoordinates, InPlace
from fibdask.pieces.planes import PickedPlanes
from fibdask.pieces.volumes import volumes_fingerprint, with_intensity, with_volumes
from tests.align.helpers import stack_of

REGION = (slice(2, 4), slice(0, 5))
STACK = stack_of(np.arange(2 * 6 * 4 * 5, dtype=np.uint8).reshape(2, 6, 4, 5))


@dataclass(frozen=True)
class Brighter(InPlace):
    """Block function: grey values and a number more."""

    more: int

    def compute(self, region, image):
        return image + np.uint8(self.more)


def test_bases__tell_what_is_read():
    assert FromCoordinates().needs(REGION) == ()
    assert InPlace().needs(REGION) == (REGION,)
    assert EveryVoltage(3).needs(REGION) == ((slice(0, 3), *REGION),)
    assert InPlace().working_bytes(REGION) == EveryVoltage(3).working_bytes(REGION) == 0


def test_with_volumes__has_the_lengths_of_the_result():
    planes = np.array([1, 4])
    picked = with_volumes(STACK, {"intensity": PickedPlanes(planes)}, STACK.isel(z=planes))
    np.testing.assert_array_equal(picked["intensity"], STACK["intensity"].isel(z=planes))
    assert picked["intensity"].attrs == STACK["intensity"].attrs
    assert picked["intensity"].chunks is not None


def test_with_intensity__records_the_step_and_what_it_was_made_of():
    brighter = with_intensity(STACK, Brighter(1), ("brighten", {"more": 1}))
    np.testing.assert_array_equal(brighter["intensity"], STACK["intensity"] + np.uint8(1))
    (step,) = recorded_steps(brighter)
    assert (step["step"], step["parameters"]) == ("brighten", {"more": 1})
    assert step["input_fingerprint"] == volumes_fingerprint(STACK, ["intensity"])


def test_volumes_fingerprint__tells_volumes_apart():
    other = STACK.assign(intensity=STACK["intensity"] + np.uint8(1))
    one, two = (volumes_fingerprint(stack, ["intensity"], 7) for stack in (STACK, other))
    assert one != two
    assert one != volumes_fingerprint(STACK, ["intensity"], 8)
