"""What Auto Slice & View tells (Thermo Fisher): in its project, and in each of its images."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from defusedxml import ElementTree

from ...conventions import StackReadError
from .headers import (
    Conflict,
    Header,
    Sourced,
    agree,
    disagreement,
    make_header,
    nanometres,
    pair,
    positive,
    reason,
    sourced,
)

PROJECT = "Project.AsvProject"
"""Name of the file of a project, in its folder."""

_THICKNESS = "slice_thickness_nm"
_LONGEST = 2**28  # bytes of a project
_UNITS = {"nm": 1.0, "µm": 1e3, "m": 1e9}


def auto_slice_header(tag: str | bytes, header: Header) -> Header:
    """Read the XML beside an FEI header (TIFF tag 34683).

    Parameters
    ----------
    header
        What the rest of the page tells: where VoxelSizeInfo tells no unit, it is that in which its
        VoxelX is the size of a pixel.
    """
    try:
        root = ElementTree.fromstring(tag, forbid_dtd=True)
    except Exception:  # other programs keep other things there
        return Header()
    volts = positive(root.findtext(".//{*}Optics/{*}AccelerationVoltage"), 1e-3)
    detector = root.findtext(".//{*}ScanningDetector/{*}DetectorName")
    y, x = (_told(root.find(f".//{{*}}BinaryResult/{{*}}PixelSize/{{*}}{axis}")) for axis in "YX")
    size = sourced(pair(y, x), "ASV BinaryResult/PixelSize")
    known = header.pixel_size_nm or (size and size[0])
    thickness, conflict = _thickness(root.find(".//{*}VoxelSizeInfo"), known)
    return make_header(
        {
            "voltage_kv": sourced(volts, "ASV Optics/AccelerationVoltage"),
            "pixel_size_nm": size,
            "slice_thickness_nm": thickness,
            "detector": sourced(detector, "ASV DetectorName"),
        },
        (conflict,),
    )


def _told(element: Any) -> float | None:
    """Return a length in nm, whose unit must be told."""
    unit = "" if element is None else element.get("unit", element.get("units", ""))
    return positive(element.text, factor) if (factor := nanometres(unit)) else None


def _thickness(
    voxel: Any, size: tuple[float, float] | None
) -> tuple[Sourced | None, Conflict | None]:
    """Return the thickness of the slices, and what speaks against it."""
    x, z = ((None if voxel is None else voxel.find(f"{{*}}Voxel{axis}")) for axis in "XZ")
    if z is None or positive(z.text) is None:
        return None, None
    origin = "ASV VoxelSizeInfo/VoxelZ"
    if told := _told(z):
        side, pixel = sourced(_told(x), "ASV VoxelSizeInfo/VoxelX"), size and size[1]
        other = disagreement("pixel_size_nm", sourced(pixel, "the header"), side)
        return (told, origin), other
    number = None if x is None or size is None else positive(x.text)
    for unit, factor in _UNITS.items():
        if number and size and agree(number * factor, size[1]):
            return sourced(positive(z.text, factor), f"{origin} in {unit}, as VoxelX is"), None
    text = f"{origin} is not taken: no unit is told, and VoxelX beside it is no pixel size"
    return None, Conflict(_THICKNESS, text)


def project_header(path: Path, images: Path) -> Header:
    """Read how thick slices were to be in a project, in m.

    Parameters
    ----------
    path
        The file of the project, JSON.
    images
        Folder of images below that of the project, the first part of which is named as its site.

    Raises
    ------
    StackReadError
        If it is no such file.
    """
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_LONGEST).decode("utf-8-sig"))
        sites = dict(map(_site, _listed(found["Sites"])))
    except Exception as error:
        msg = f"{path} cannot be read as a project of Auto Slice & View: {reason(error)}"
        raise StackReadError(msg) from error
    site = images.relative_to(path.parent).parts[0] if images != path.parent else ""
    told = sites.get(site) if site in sites or len(sites) != 1 else next(iter(sites.values()))
    thickness = positive(told, _UNITS["m"])
    return make_header({_THICKNESS: (thickness, f"{path.name} Slicing/SliceThickness")})


def _listed(found: Any) -> Any:
    """Return a list, which .NET may wrap."""
    return found["$values"] if isinstance(found, Mapping) else found


def _site(told: Any) -> tuple[str, Any]:
    """Return the name of a site, and the thickness of its slices."""
    context = told.get("Context") or {}
    name = str((told.get("Properties") or {}).get("Name", ""))
    return name, (context.get("Slicing") or {}).get("SliceThickness")
