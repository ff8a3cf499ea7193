"""The sources of a recipe, and of the command line."""

import pytest

from fibdask.conventions import RecipeError
from fibdask.run.importing import import_images
from fibdask.run.recipe.sources import read_input


def test_read_input__a_voltage_written_in_two_ways_does_not_hide_a_source():
    with pytest.raises(RecipeError, match="each voltage has one source; 2 kV has low and high"):
        read_input(voltages={"2": "low", "2.0": "high"})


def test_import_images__a_voltage_given_twice_does_not_hide_a_source(tmp_path):
    with pytest.raises(RecipeError, match="each voltage has one source; 5 kV has low and high"):
        import_images(("low", "high"), tmp_path / "a.zarr", voltages=(5.0, 5.0))
