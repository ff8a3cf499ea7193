"""FIB-SEM stacks larger than memory, made into trustworthy 3D microstructures with Dask.

The path of the data: `read_images` or `open_stack` → `estimate_shifts`, `apply_shifts` →
`remove_curtaining` → `equalize_brightness` → `estimate_slice_thickness`, `apply_slice_thickness` →
`segment_phases` → `reposition_slices` → `inpaint_gaps` → `two_point_correlation`, `lineal_path`,
`ligament_diameter`, `isotropy_errors` → `save_stack`. `reconstruct_volume` goes from images of
slices to the phase of a regular volume in one step. Where no images are at hand: `levelled_wave` →
`mimic_milling` → `simulate_images`.
`run_recipe` does all of it from one TOML file, resumably, on the workers of `local_cluster`.

Stages take and return `xarray.Dataset` and are lazy; `stack.fib` offers them as methods.
"""

import os
from importlib import import_module
from typing import Any

import lazy_loader

from .registration import offer_accessor

if os.name != "posix":  # locks of files and limits of processes are
    msg = f"fibdask runs on POSIX systems, such as Linux or WSL; this is {os.name!r}"
    raise ImportError(msg)

# The names stand in __init__.pyi; the package of one is imported when it is first asked for.
_public, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    """Return what is imported at first use: the version, or a public name."""
    if name == "__version__":
        return import_module(".conventions", __name__).VERSION
    return _public(name)


offer_accessor()
