"""Write results for other programs: files of voxels, surfaces, and statistics as tables."""

from .files import check_suffix
from .stored import find_phase
from .surfaces import SURFACES
from .tables import counts_beside, measure_stack, stored_statistics, write_statistics
from .voxels import CHANNELS, WRITERS, export_images, export_phase, export_surface

__all__ = [
    "CHANNELS",
    "SURFACES",
    "WRITERS",
    "check_suffix",
    "counts_beside",
    "export_images",
    "export_phase",
    "export_surface",
    "find_phase",
    "measure_stack",
    "stored_statistics",
    "write_statistics",
]
