"""FIB-SEM stacks larger than memory, made into trustworthy 3D microstructures with Dask.

The path of the data: `read_images` or `open_stack` → `estimate_shifts`, `apply_shifts` →
`remove_curtaining` → `equalize_brightness` → `estimate_slice_thickness`, `apply_slice_thickness` →
`segment_phases` → `reposition_slices` → `inpaint_gaps` → `two_point_correlation`, `lineal_path`,
`ligament_diameter`, `isotropy_errors` → `save_stack`. Where no images are at hand:
`levelled_wave` → `mimic_milling` → `simulate_images`.
`run_recipe` does all of it from one TOML file, resumably, on the workers of `local_cluster`.

Stages take and return `xarray.Dataset` and are lazy; `stack.fib` offers them as methods.
"""

import os
from importlib import import_module
from typing import Any

from .registration import offer_accessor

if os.name != "posix":  # locks of files and limits of processes are
    msg = f"fibdask runs on POSIX systems, such as Linux or WSL; this is {os.name!r}"
    raise ImportError(msg)

_PACKAGE_OF = {
    "BlocksFailedError": "conventions",
    "ConventionError": "conventions",
    "DeviceLostError": "conventions",
    "FibdaskError": "conventions",
    "FibdaskWarning": "conventions",
    "Material": "simulate",
    "MemoryBudgetError": "conventions",
    "RecipeError": "conventions",
    "StackReadError": "conventions",
    "add_brightness_drift": "simulate",
    "add_curtaining": "simulate",
    "add_noise": "simulate",
    "add_shifts": "simulate",
    "anisotropy_phantom": "simulate",
    "apply_shifts": "align",
    "apply_slice_thickness": "thickness",
    "backscatter_coefficient": "simulate",
    "blur_edges": "simulate",
    "chord_length_distribution": "statistics",
    "compare_slice_thickness": "thickness",
    "connected_fraction": "statistics",
    "electron_trajectories": "simulate",
    "equalize_brightness": "align",
    "estimate_shifts": "align",
    "estimate_slice_thickness": "thickness",
    "gap_distance": "inpaint",
    "hierarchical_levelled_wave": "simulate",
    "inpaint_gaps": "inpaint",
    "isotropy_errors": "statistics",
    "layered_film": "simulate",
    "levelled_wave": "simulate",
    "ligament_diameter": "statistics",
    "lineal_path": "statistics",
    "local_cluster": "run.cluster",
    "local_thickness": "statistics",
    "local_thickness_distribution": "statistics",
    "mimic_milling": "simulate",
    "open_stack": "io",
    "patch_statistics": "statistics",
    "percolates": "statistics",
    "phase_statistics": "statistics",
    "radial_two_point_correlation": "statistics",
    "random_pores": "simulate",
    "read_images": "io",
    "remove_curtaining": "align",
    "reposition_slices": "thickness",
    "run_recipe": "run.runner",
    "save_stack": "io",
    "segment_phases": "segment",
    "segmentation_errors": "statistics",
    "self_similar": "simulate",
    "simulate_images": "simulate",
    "simulate_stack": "simulate",
    "simulate_structure": "simulate",
    "solid_fraction": "statistics",
    "solid_fraction_profile": "statistics",
    "specific_surface_area": "statistics",
    "statistics_warnings": "statistics",
    "two_point_correlation": "statistics",
    "validate_stack": "conventions",
}

__all__ = [
    "BlocksFailedError",
    "ConventionError",
    "DeviceLostError",
    "FibdaskError",
    "FibdaskWarning",
    "Material",
    "MemoryBudgetError",
    "RecipeError",
    "StackReadError",
    "add_brightness_drift",
    "add_curtaining",
    "add_noise",
    "add_shifts",
    "anisotropy_phantom",
    "apply_shifts",
    "apply_slice_thickness",
    "backscatter_coefficient",
    "blur_edges",
    "chord_length_distribution",
    "compare_slice_thickness",
    "connected_fraction",
    "electron_trajectories",
    "equalize_brightness",
    "estimate_shifts",
    "estimate_slice_thickness",
    "gap_distance",
    "hierarchical_levelled_wave",
    "inpaint_gaps",
    "isotropy_errors",
    "layered_film",
    "levelled_wave",
    "ligament_diameter",
    "lineal_path",
    "local_cluster",
    "local_thickness",
    "local_thickness_distribution",
    "mimic_milling",
    "open_stack",
    "patch_statistics",
    "percolates",
    "phase_statistics",
    "radial_two_point_correlation",
    "random_pores",
    "read_images",
    "remove_curtaining",
    "reposition_slices",
    "run_recipe",
    "save_stack",
    "segment_phases",
    "segmentation_errors",
    "self_similar",
    "simulate_images",
    "simulate_stack",
    "simulate_structure",
    "solid_fraction",
    "solid_fraction_profile",
    "specific_surface_area",
    "statistics_warnings",
    "two_point_correlation",
    "validate_stack",
]


def __getattr__(name: str) -> Any:
    """Import a public name's package when it is first asked for."""
    if name == "__version__":
        return import_module(".conventions", __name__).VERSION
    if name not in _PACKAGE_OF:
        msg = f"module 'fibdask' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f".{_PACKAGE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


offer_accessor()
