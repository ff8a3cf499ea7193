"""The input of a recipe: a stored stack, or images."""

from collections.abc import Sequence
from typing import Any

import xarray as xr

from ...conventions import RecipeError
from ...io import open_stack, read_images
from ...io.metadata import is_store
from ...io.paths import read_place


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
    channel: str | int | dict[str, str | int] | None = None,
    crop: dict[str, tuple[int, int]] | None = None,
    assumed: list[str] | None = None,
    remote: dict[str, str | bool] | None = None,
) -> xr.Dataset:
    """Open a stored stack, or read images as `read_images` does.

    It takes as many parameters as the table [input] has keys, which its signature defines.

    Parameters
    ----------
    path
        A store, or images: a folder, a file, or a pattern such as "slices/*.tif". A store or an
        OME-Zarr image may also lie on a server: "s3://bucket/gold.zarr", "https://…".
    voltages
        Instead of `path`, for several voltages: a table of accelerating voltage in kV = source of
        images.
    voltage
        Accelerating voltage in kV of the images at `path`.
    pixel_size
        Pixel size of images in nm: one number, or those along y and x.
    slice_thickness
        Slice thickness of images in nm.
    z
        Depth of each image in nm, as a list, or a CSV file of depths or thicknesses.
    detector
        Detector, by name or number, in a file that holds several.
    dataset
        Dataset, in an HDF5 file or N5 folder that holds several.
    channel
        Channel, by name or position from 0, in files that hold several; if these are several
        voltages, a table of kV = channel.
    crop
        Pixels to keep, by axis: `x = [100, 900]`.
    assumed
        Keys whose values nobody measured; the report marks them.
    remote
        How to reach the server of an address: `endpoint` (for S3 other than Amazon's), `region`,
        `anonymous = true` (no credentials), `plain_http = true` (allows a server that does not
        encrypt). Credentials are read from the environment.
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
        "channel": _channels(channel),
        "crop": crop,
    }
    given = {key: value for key, value in options.items() if value is not None}
    for key in assumed or []:
        if key not in given:
            msg = f"[input] assumed names {key!r}, which is not set; set are {', '.join(given)}"
            raise RecipeError(msg)
    if path is not None and is_store(read_place(path, remote)):
        if given:
            msg = f"[input] {', '.join(given)}: not used for the stored stack {path}; remove"
            raise RecipeError(msg)
        return open_stack(path, remote=remote)
    source: Any = path
    if voltages is not None:
        source = by_voltage([(_kilovolts(key), value) for key, value in voltages.items()])
    return read_images(source, **given, remote=remote)


def by_voltage(pairs: Sequence[tuple[float, str]]) -> dict[float, str]:
    """Return sources by voltage in kV; a later one must not take the place of an earlier."""
    sources: dict[float, str] = {}
    for voltage, source in pairs:
        if voltage in sources:
            msg = f"each voltage has one source; {voltage:g} kV has {sources[voltage]} and {source}"
            raise RecipeError(msg)
        sources[voltage] = source
    return sources


def _channels(channel: str | int | dict[str, str | int] | None) -> Any:
    """Return channels by voltage in kV, or one for all."""
    if isinstance(channel, dict):
        return {_kilovolts(key): value for key, value in channel.items()}
    return channel


def _kilovolts(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        msg = f"keys of voltages and channel are accelerating voltages in kV; got {text!r}"
        raise RecipeError(msg) from None
