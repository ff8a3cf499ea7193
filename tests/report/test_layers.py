"""The section of the report with the layers of a sample."""

import numpy as np
import xarray as xr

from fibdask.report.sections.layers import layers_section
from tests.microtomography.helpers import thickness


def test_layers_section__tells_errors_of_two_layers_of_one_material_apart():
    maps = thickness(np.full((3, 4, 4), 20.0), ("Al", "Au", "Al"))
    errors = maps * xr.DataArray([0.05, 0.1, 0.4], dims="layer")
    section = layers_section({"layers": xr.Dataset({"thickness": maps, "thickness_error": errors})})
    shown = [f"{error} nm" in section.body for error in (1, 2, 8)]
    assert shown == [True, True, True]
