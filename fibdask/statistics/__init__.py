"""Statistics of a phase: correlations along the axes, fractions, isotropy and accuracy."""

from .accuracy import segmentation_errors
from .chords import chord_length_distribution
from .correlation import ligament_diameter, lineal_path, two_point_correlation
from .fractions import solid_fraction, solid_fraction_profile
from .isotropy import isotropy_errors
from .patches import patch_statistics
from .radial import radial_two_point_correlation
from .summary import phase_statistics

__all__ = [
    "chord_length_distribution",
    "isotropy_errors",
    "ligament_diameter",
    "lineal_path",
    "patch_statistics",
    "phase_statistics",
    "radial_two_point_correlation",
    "segmentation_errors",
    "solid_fraction",
    "solid_fraction_profile",
    "two_point_correlation",
]
