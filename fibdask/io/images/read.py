"""Read raw images into a stack, lazily."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ...blocks import Access, Place, RemotePath, fingerprint, from_source
from ...conventions import (
    ConventionError,
    FibdaskWarning,
    StackReadError,
    build_stack,
    chosen_interval,
    plain_number,
    record_step,
)
from ...pieces.image_header import intensity_origin, missing_numbers
from .channels import Channel
from .depth import Depths, ThicknessArgument, ZArgument, find_depths, told_against
from .files import Paths
from .headers import Sourced, agree, positive, show
from .identity import identify
from .remarks import both, contradictions, remarks, untold
from .scan import Options, Part, scan_voltages
from .source import ImageSource, stack_dtype

PixelSize = float | tuple[float, float] | None
Crop = Mapping[str, tuple[int, int]] | None

_MOST_TOLD = 1000
"""Characters of a list of missing numbers that a stack keeps."""


def read_images(
    source: Paths | Mapping[float, Paths],
    *,
    voltage: float | None = None,
    pixel_size: PixelSize = None,
    slice_thickness: ThicknessArgument = None,
    z: ZArgument = None,
    detector: str | int | None = None,
    crop: Crop = None,
    dataset: str | None = None,
    channel: Channel | Mapping[float, Channel] = None,
    remote: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Read raw images into a stack.

    Reads headers now, pixels when they are computed. Values that are not given come from the
    headers; `attrs["header"]` (JSON) records which and from where. Arguments win over headers. A
    FibdaskWarning names where the two differ, or where a header contradicts itself.

    Parameters
    ----------
    source
        Where the images are:

        - a folder or glob pattern of slices (TIFF, PNG, BMP, Digital Micrograph or Janelia `.dat`),
          or a list of such files;
        - one file: multipage, ImageJ or OME TIFF, `.npy`, MRC, NRRD, NIfTI, Amira, Digital
          Micrograph, HDF5 or Imaris;
        - a folder of OME-Zarr or N5, or a project of ATLAS 3D or Auto Slice & View;
        - for several voltages, {voltage in kV: source}, with the same slices in each.

        Slices are ordered by the number in their names that counts them, else by a depth with its
        unit, as in z_0.02um, or by a date with its time. Where these contradict one another, a list
        keeps its own order. If a value is given for each slice (z, slice_thickness), a list must
        already be in the order of its names.
    voltage
        Accelerating voltage in kV.
    pixel_size
        Distance between pixel centres in nm: (y, x), or one number for both.
    slice_thickness
        Distance from each face to the next in nm: one number, or one for each slice, missing ones
        included.
    z
        Instead of `slice_thickness`: depth of each face in nm (z), or the path of a CSV table with
        rows in the order of the slices, and the columns slice, and z or thickness with their unit
        in the name, as in `z_um`.
    detector
        Name or position of the detector in `.dat` files; for other files, a name to record.
    crop
        Pixels to keep, {"y": (start, stop), "x": (start, stop)}, for instance to cut a burnt-in
        data bar. y and x begin at 0 after the cut.
    dataset
        Name of the dataset in an HDF5 file or N5; needed if it holds several volumes.
    channel
        Name or position, from 0, of the channel of a TIFF, OME-Zarr, HDF5 or Imaris file that holds
        several: one for all voltages, or {voltage in kV: channel}. All channels are read if neither
        channel nor voltage is given and all their names are voltages, such as "1.5 kV".
    remote
        How to reach the server of an address, as for `open_stack`. From `s3://…` and `https://…`,
        these can be read: OME-Zarr; one file of HDF5, Imaris, TIFF, NRRD, NIfTI, Amira or Digital
        Micrograph; and N5 on `s3://…`.

    Returns
    -------
    xarray.Dataset
        A stack with `intensity` (voltage, z, y, x), lazy. Slices that the numbering skips are gaps
        in z. Signed integers are shifted to unsigned ones, int8 by 128 and int16 by 32768, and
        `attrs["header"]` records it. float64 becomes float32; reading fails where that would blur
        the values.

    Raises
    ------
    StackReadError
        If files cannot be read, or are not slices of one stack.
    ConventionError
        If a value is missing or breaks a rule.

    Warns
    -----
    FibdaskWarning
        If slices are missing; headers contradict an argument, one another, or themselves, or record
        a tilt that was not corrected; voltages or lengths suggest another unit; or images have a
        data bar.
    """
    access = Access.of(remote) if remote else None
    scanned = scan_voltages(source, voltage, Options(detector, dataset, channel, access))
    parts = [part for _, part in scanned]
    window = _window(crop, parts[0])
    voltages = [_voltage(given, part) for given, part in scanned]
    size = _pixel_size(pixel_size, parts)
    depths = find_depths(parts[0].slices, parts[0].header, z=z, slice_thickness=slice_thickness)
    images = _source(parts, window)
    taken = [{"voltage_kv": value, "pixel_size_nm": size} for value in voltages]
    stack = build_stack(
        {"intensity": from_source(images)},
        z=depths.z,
        pixel_size=size[0],
        nominal_thickness=depths.nominal,
        voltage=np.array([value for value, _ in voltages]),
        attrs={"header": _record(parts, taken, depths, images)},
    )
    told = remarks(parts, window, taken, by_argument=depths.origin.startswith("argument"))
    for text in (*told, *told_against(parts[0].slices, depths)):
        warnings.warn(text, FibdaskWarning, stacklevel=2)
    sources = [part.series.source for part in parts]
    parameters = {
        "source": {f"{kv:.12g}": path for (kv, _), path in zip(voltages, sources, strict=True)},
        "pixel_size": size[0],
        "z": depths.origin,
        "z_file": str(Path(z).absolute()) if isinstance(z, str | Path) else None,
        "slice_thickness": slice_thickness if isinstance(slice_thickness, int | float) else None,
        "detector": detector,
        "dataset": dataset,
        "channel": channel if isinstance(channel, int | str | None) else _by_voltage(channel),
        "crop": {axis: [kept.start, kept.stop] for axis, kept in zip("yx", window, strict=True)},
    }
    return record_step(stack, "read_images", parameters, images.token)


def _by_voltage(channels: Mapping[float, Channel]) -> dict[str, Channel]:
    return {str(voltage): channel for voltage, channel in channels.items()}


def _voltage(given: float | None, part: Part) -> Sourced:
    """Return the voltage in kV: that given, or that of the headers."""
    if given is not None:
        return given, "argument voltage"
    if "voltage_kv" in part.varying:
        msg = (
            f"voltage must be the same in all slices; in {part.name} "
            f"{both(part.varying['voltage_kv'])} kV: give voltage"
        )
        raise StackReadError(msg)
    if part.header.voltage_kv is None:
        msg = f"voltage is needed: {untold('voltage_kv', part)}; give voltage in kV"
        raise ConventionError(msg)
    return part.header.voltage_kv, part.header.origins["voltage_kv"]


def _pixel_size(given: PixelSize, parts: Sequence[Part]) -> Sourced:
    """Return the pixel size (y, x) in nm: that given, or that of the headers."""
    if given is not None:
        return _checked_size(given), "argument pixel_size"
    first = parts[0]
    for part in parts:
        if "pixel_size_nm" in part.varying:
            varying = both(part.varying["pixel_size_nm"])
            msg = f"pixel_size must be one; in {part.name} {varying} nm: give pixel_size"
            raise StackReadError(msg)
        if part.header.pixel_size_nm is None:
            msg = f"pixel_size is needed: {untold('pixel_size_nm', part)}; give pixel_size in nm"
            raise ConventionError(msg)
        if not agree(part.header.pixel_size_nm, first.header.pixel_size_nm, 1e-3):
            msg = (
                f"all voltages must have one pixel size; {first.name} says "
                f"{show(first.header.pixel_size_nm)} nm, {part.name} says "
                f"{show(part.header.pixel_size_nm)} nm: give pixel_size"
            )
            raise StackReadError(msg)
    return first.header.pixel_size_nm, first.header.origins["pixel_size_nm"]


def _checked_size(given: Any) -> tuple[float, float]:
    sizes = [positive(plain_number(size)) for size in np.ravel(np.asarray(given, dtype=object))]
    if len(sizes) == 1:
        sizes *= 2
    if len(sizes) != 2 or sizes[0] is None or sizes[1] is None:
        msg = f"pixel_size must be (y, x) or one number, finite and > 0 nm; got {given!r}"
        raise ConventionError(msg)
    return sizes[0], sizes[1]


def _window(crop: Crop, part: Part) -> tuple[slice, slice]:
    """Return the rows and columns that are kept."""
    lengths = {"y": part.layout.height, "x": part.layout.width}
    unknown = [str(axis) for axis in crop or {} if axis not in lengths]
    if unknown:
        msg = f"crop has the axes y and x; got {', '.join(unknown)}"
        raise ConventionError(msg)
    rows, columns = (
        chosen_interval((crop or {}).get(axis, (0, length)), length, name=f"crop along {axis}")
        for axis, length in lengths.items()
    )
    return rows, columns


def _source(parts: Sequence[Part], window: tuple[slice, slice]) -> ImageSource:
    layout = parts[0].layout
    dtype, added = stack_dtype(layout.dtype, parts[0].name)
    rows, columns = window
    shape = (
        len(parts),
        parts[0].slices.count,
        rows.stop - rows.start,
        columns.stop - columns.start,
    )
    contents = [identify((*part.series.files, *part.layout.beside)) for part in parts]
    files: list[Place] = [file for part in parts for file in part.series.files]
    bounds = [(kept.start, kept.stop) for kept in window]
    chunks = [part.layout.chunk for part in parts if part.layout.chunk is not None]
    return ImageSource(
        decoders=tuple(part.decoder for part in parts),
        files=tuple(tuple(str(f.absolute()) for f in part.series.files) for part in parts),
        shape=shape,
        dtype=dtype,
        corner=(rows.start, columns.start),
        added=added,
        scratch=max(part.layout.scratch for part in parts),
        chunk=tuple(map(max, zip(*chunks, strict=True))) if chunks else None,
        raw=layout.dtype.itemsize,
        identity=fingerprint("images", [part.decoder for part in parts], contents, bounds),
        access=next((f.access for f in files if isinstance(f, RemotePath)), None),
    )


def _is_shared(name: str, parts: Sequence[Part]) -> bool:
    """Tell whether a value was given, or is that of all slices of all voltages."""
    header = parts[0].header
    if header.origins[name].startswith("argument"):
        return True
    return all(
        name not in part.varying and getattr(part.header, name) == getattr(header, name)
        for part in parts
    )


def _record(
    parts: Sequence[Part],
    taken: Sequence[Mapping[str, Sourced]],
    depths: Depths,
    images: ImageSource,
) -> str:
    """Write as JSON what was taken and from where."""
    header, files = parts[0].header, parts[0].series.files
    voltages, size = [values["voltage_kv"] for values in taken], taken[0]["pixel_size_nm"]
    record: dict[str, Any] = {
        "voltage": [{"value": value, "units": "kV", "from": where} for value, where in voltages],
        "pixel_size": {"value": list(size[0]), "units": "nm", "from": size[1]},
        "z": {"from": depths.origin},
        "files": {"count": len(files), "first": files[0].name, "last": files[-1].name},
    }
    if parts[0].series.origin:
        record["files"]["from"] = parts[0].series.origin
    missing = missing_numbers(parts[0].series.numbers or ())
    if 0 < len(missing) <= _MOST_TOLD:
        record["files"]["missing"] = missing
    for name in ("detector", "beam", "stage"):
        value = getattr(header, name)
        if value is not None and (name == "stage" or _is_shared(name, parts)):
            record[name] = {"value": value, "from": header.origins[name]}
    raw = parts[0].layout.dtype
    if images.added or raw != images.dtype:
        record["intensity"] = {"from": intensity_origin(raw.name, images.added)}
    conflicts = [found.text for part in parts for found in part.header.conflicts]
    for part, values in zip(parts, taken, strict=True):
        conflicts += contradictions(part, values)
    if conflicts:
        record["conflicts"] = conflicts
    return json.dumps(record, ensure_ascii=False)
