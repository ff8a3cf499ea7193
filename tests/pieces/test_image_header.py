"""The header of a stack, read as it was written."""

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from fibdask.io import read_images
from fibdask.pieces.image_header import ImageNames, intensity_shift, missing_numbers

GIVEN = {"voltage": 2.0, "pixel_size": 5.0, "slice_thickness": 10.0}


@given(st.sets(st.integers(0, 60), min_size=1))
def test_missing_numbers__with_those_present_are_all(present):
    numbers = sorted(present)
    missing = set()
    for part in filter(None, missing_numbers(numbers).split(", ")):
        first, _, last = part.partition("-")
        missing |= set(range(int(first), int(last or first) + 1))
    assert missing == set(range(numbers[0], numbers[-1] + 1)) - present


@pytest.mark.filterwarnings("ignore:slices .* are missing")
@pytest.mark.parametrize("numbers", [[0, 1, 2], [7, 9, 13, 14], [1, 2, 9]])
def test_image_names__are_those_of_the_files_that_were_read(tmp_path, numbers):
    for number in numbers:
        tifffile.imwrite(tmp_path / f"run2_{number:03}_5kV.tif", np.full((4, 4), number, "uint8"))
    names = ImageNames.of(read_images(tmp_path, **GIVEN))
    assert names is not None
    assert names.numbers.tolist() == numbers


@pytest.mark.parametrize(("kind", "added"), [("int8", 128), ("int16", 32768), ("uint8", None)])
def test_intensity_shift__is_what_reading_has_added(tmp_path, kind, added):
    np.save(tmp_path / "volume.npy", np.zeros((2, 4, 4), kind))
    shift = intensity_shift(read_images(tmp_path / "volume.npy", **GIVEN))
    assert shift == (None if added is None else (kind, added))
