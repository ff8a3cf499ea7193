"""The sources of a recipe, and of the command line."""

import errno
import os

import numpy as np
import pytest

from fibdask.conventions import RecipeError, StackReadError
from fibdask.run import importing
from fibdask.run.importing import import_images
from fibdask.run.recipe.sources import read_input


def test_read_input__a_voltage_written_in_two_ways_does_not_hide_a_source():
    with pytest.raises(RecipeError, match="each voltage has one source; 2 kV has low and high"):
        read_input(voltages={"2": "low", "2.0": "high"})


def test_import_images__a_voltage_given_twice_does_not_hide_a_source(tmp_path):
    with pytest.raises(RecipeError, match="each voltage has one source; 5 kV has low and high"):
        import_images(("low", "high"), tmp_path / "a.zarr", voltages=(5.0, 5.0))


def test_import_images__full_disk_is_told_with_its_folder(tmp_path, monkeypatch):
    def full(*given, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    np.save(tmp_path / "a.npy", np.ones((3, 8, 9), np.uint8))
    monkeypatch.setattr(importing, "save_watched", full)
    given = {"voltages": (2.0,), "pixel_size": 5.0, "slice_thickness": 5.0}
    with pytest.raises(StackReadError, match=rf"^the disk of {tmp_path} is full; make room"):
        import_images((str(tmp_path / "a.npy"),), tmp_path / "a.zarr", **given)
