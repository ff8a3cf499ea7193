"""Statistics of a phase: correlations along the axes, fractions, isotropy and accuracy."""

from .accuracy import segmentation_errors
from .correlation import ligament_diameter, lineal_path, two_point_correlation
from .fractions import solid_fraction, solid_fraction_profile
from .isotropy import isotropy_errors
from .summary import phase_statistics

__all__ = [
    "isotropy_errors",
    "ligament_diameter",
    "lineal_path",
    "phase_statistics",
    "segmentation_errors",
    "solid_fraction",
    "solid_fraction_profile",
    "two_point_correlation",
]
