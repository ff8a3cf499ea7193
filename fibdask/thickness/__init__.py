"""The third axis: thickness of slices measured, and slices put at their depth."""

from .application import apply_slice_thickness
from .comparison import compare_slice_thickness
from .estimation import estimate_slice_thickness, thickness_measurement
from .repositioning import reposition_slices

__all__ = [
    "apply_slice_thickness",
    "compare_slice_thickness",
    "estimate_slice_thickness",
    "reposition_slices",
    "thickness_measurement",
]
