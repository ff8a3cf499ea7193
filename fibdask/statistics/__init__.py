"""Statistics of a phase: correlations, chords, fractions, surface, connectivity, accuracy."""

from .accuracy import segmentation_errors
from .cautions import statistics_warnings
from .certainty import expected_solid_fraction
from .connectivity import connected_fraction, percolates
from .lines.chords import chord_length_distribution
from .lines.correlation import ligament_diameter, lineal_path, two_point_correlation
from .lines.fractions import solid_fraction, solid_fraction_profile
from .lines.isotropy import isotropy_errors
from .lines.patches import patch_statistics
from .lines.radial import radial_two_point_correlation
from .local_thickness import local_thickness, local_thickness_distribution
from .summary import phase_statistics
from .surface import specific_surface_area

__all__ = [
    "chord_length_distribution",
    "connected_fraction",
    "expected_solid_fraction",
    "isotropy_errors",
    "ligament_diameter",
    "lineal_path",
    "local_thickness",
    "local_thickness_distribution",
    "patch_statistics",
    "percolates",
    "phase_statistics",
    "radial_two_point_correlation",
    "segmentation_errors",
    "solid_fraction",
    "solid_fraction_profile",
    "specific_surface_area",
    "statistics_warnings",
    "two_point_correlation",
]
