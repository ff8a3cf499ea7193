"""Where a recipe's data come from: stored stacks, images, or a simulation."""

from pathlib import Path
from typing import Any, Literal

import xarray as xr

from ..conventions import RecipeError
from ..io import open_stack, read_images
from ..simulate import hierarchical_levelled_wave, levelled_wave, mimic_milling, simulate_images


def read_input(
    *,
    path: str | None = None,
    voltages: dict[str, str] | None = None,
    voltage: float | None = None,
    pixel_size: tuple[float, float] | float | None = None,
    slice_thickness: float | None = None,
    z: str | list[float] | None = None,
    detector: str | int | None = None,
    dataset: str | None = None,
    crop: dict[str, tuple[int, int]] | None = None,
    assumed: list[str] | None = None,
) -> xr.Dataset:
    """Open a stored stack, or read images as `read_images` does.

    `voltages` maps kV to sources where there are several. `assumed` names the values among the
    keys that nobody measured; the report marks them.
    """
    if (path is None) == (voltages is None):
        msg = "[input] needs either path or voltages (a table of kV = source)"
        raise RecipeError(msg)
    options: dict[str, Any] = {
        "voltage": voltage,
        "pixel_size": pixel_size,
        "slice_thickness": slice_thickness,
        "z": z,
        "detector": detector,
        "dataset": dataset,
        "crop": crop,
    }
    given = {key: value for key, value in options.items() if value is not None}
    for key in assumed or []:
        if key not in given:
            msg = f"[input] assumed names {key!r}, which is not set; set are {', '.join(given)}"
            raise RecipeError(msg)
    if path is not None and (Path(path) / "zarr.json").is_file():
        if given:
            msg = f"[input] {', '.join(given)}: not used for the stored stack {path}; remove"
            raise RecipeError(msg)
        return open_stack(path)
    source: Any = path
    if voltages is not None:
        source = {_kilovolts(key): value for key, value in voltages.items()}
    return read_images(source, **given)


def _kilovolts(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        msg = f"[input.voltages] keys are accelerating voltages in kV; got {text!r}"
        raise RecipeError(msg) from None


def simulate_input(
    *,
    structure: Literal["levelled_wave", "hierarchical_levelled_wave"],
    shape: tuple[int, int, int],
    voxel_size: tuple[float, float, float] | float,
    ligament_size: list[float] | float,
    solid_fraction: list[float] | float,
    mean_thickness: float | None = None,
    std_thickness: float | None = None,
    voltage: list[float],
    electrons_per_pixel: float = 300.0,
    seed: int,
) -> xr.Dataset:
    """Simulate a structure, mill it into uneven slices if asked, and image them."""
    make = {
        "levelled_wave": levelled_wave,
        "hierarchical_levelled_wave": hierarchical_levelled_wave,
    }[structure]
    truth = make(
        shape,
        voxel_size=voxel_size,
        ligament_size=ligament_size,
        solid_fraction=solid_fraction,
        seed=seed,
    )
    if (mean_thickness is None) != (std_thickness is None):
        msg = "[simulate] mean_thickness and std_thickness belong together; only one is given"
        raise RecipeError(msg)
    slices = None
    if mean_thickness is not None and std_thickness is not None:
        slices = mimic_milling(
            truth, mean_thickness=mean_thickness, std_thickness=std_thickness, seed=seed + 1
        )
    return simulate_images(
        truth,
        slices=slices,
        voltage=voltage,
        model="analytic",
        electrons_per_pixel=electrons_per_pixel,
        seed=seed + 2,
    )
