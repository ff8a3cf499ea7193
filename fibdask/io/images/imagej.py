"""Headers that programs write to TIFF files: ImageJ and OME. Each axis has a unit of its own."""

from collections.abc import Mapping
from typing import Any

from defusedxml import ElementTree
from tifffile import TiffPage

from .headers import (
    Conflict,
    Header,
    agree,
    complete,
    make_header,
    nanometres,
    pair,
    positive,
    show,
    unknown_unit,
)

_TAGS = {"y": "YResolution", "x": "XResolution"}
_TIFF_UNITS = {2: "inch", 3: "cm"}
_IMAGEJ_DENOMINATOR = 1_000_000
_OME_UNIT = "µm"  # of sizes that name none


def imagej_header(metadata: Mapping[str, Any], page: TiffPage) -> Header:
    """Read the units, the resolution and the spacing that ImageJ writes.

    `yunit` and `zunit` are there only where they differ from `unit`.
    """
    common = str(metadata.get("unit", ""))
    units = {axis: str(metadata.get(f"{axis}unit", common)) for axis in "zyx"}
    factors = {axis: nanometres(unit) for axis, unit in units.items()}
    sizes, conflicts = {}, []
    for axis, tag in _TAGS.items():
        above, below = page.tags.valueof(tag, (0, 1))
        width = _pixel_width(above, below) if above else None
        sizes[axis] = positive(width, factors[axis] or 0.0)
        conflicts.append(_other_unit(page, units[axis], sizes[axis], width))
        if units[axis] and factors[axis] is None:
            along = "" if units["y"] == units["x"] else f" along {axis}"
            text = f"ImageJ resolution{along}"
            conflicts.append(unknown_unit("pixel_size_nm", units[axis], text))
    if units["z"] and factors["z"] is None and "spacing" in metadata:
        conflicts.append(unknown_unit("slice_thickness_nm", units["z"], "ImageJ spacing"))
    per = units["x"] if units["x"] == units["y"] else f"{units['y']} (y) and {units['x']} (x)"
    return make_header(
        {
            "pixel_size_nm": (
                pair(sizes["y"], sizes["x"]),
                f"ImageJ resolution in pixels per {per}",
            ),
            "slice_thickness_nm": (
                positive(metadata.get("spacing"), factors["z"] or 0.0),
                f"ImageJ spacing in {units['z']}",
            ),
        },
        list(dict.fromkeys(conflicts)),
    )


def _other_unit(
    page: TiffPage, unit: str, size: float | None, width: float | None
) -> Conflict | None:
    """Warn of a TIFF unit of the resolution that is another than ImageJ's."""
    stated = _TIFF_UNITS.get(page.tags.valueof("ResolutionUnit", 1))
    other = positive(width, nanometres(stated or "") or 0.0)
    if size is None or other is None or agree(size, other):
        return None
    text = (
        f"ImageJ unit says pixels per {unit}, TIFF ResolutionUnit pixels per {stated}: "
        f"the first is taken, the second would be {show(other)} nm"
    )
    return Conflict("pixel_size_nm", text, (other,))


def _pixel_width(above: int, below: int) -> float:
    """Undo the truncation of ImageJ's rational: return the shortest decimal that it can mean.

    ImageJ stores pixels per unit as floor(10⁶ / width) / 10⁶: a width of 40 becomes
    24999 / 1000000, which reads 40.0016. What others write, such as 2 / 5, is the width itself.
    """
    narrowest, widest = below / (above + 1), below / above
    if below != _IMAGEJ_DENOMINATOR:
        return widest
    for digits in range(12):
        width = round(widest, digits)
        if narrowest <= width <= widest:
            return width
    return widest


def ome_header(text: str) -> Header:
    """Read the physical sizes of OME-XML; those of several images must agree."""
    try:
        root = ElementTree.fromstring(text, forbid_dtd=True)
    except Exception:
        damaged = "its OME-XML cannot be read; sizes in it are not taken"
        return Header(conflicts=(Conflict("pixel_size_nm", damaged),))
    header = Header(conflicts=_other_files(root))
    for pixels in root.iterfind(".//{*}Pixels"):
        header = complete(header, _ome_sizes(pixels.attrib))
    return header


def ome_channels(text: str) -> tuple[str, ...]:
    """Return the names of the channels of the first image that OME-XML describes."""
    try:
        root = ElementTree.fromstring(text, forbid_dtd=True)
    except Exception:  # said by whoever reads its sizes
        return ()
    pixels = root.find(".//{*}Pixels")
    found = () if pixels is None else pixels.iterfind("{*}Channel")
    return tuple(channel.get("Name", "") for channel in found)


def _other_files(root: Any) -> tuple[Conflict, ...]:
    """Say of slices that lie in other files."""
    names = {uuid.get("FileName") for uuid in root.iterfind(".//{*}TiffData/{*}UUID")}
    if len(names) < 2:
        return ()
    text = f"its OME-XML tells of {len(names)} files, of which one is read: give their folder"
    return (Conflict("files", text),)


def _ome_sizes(attributes: Mapping[str, str]) -> Header:
    sizes, conflicts = {}, []
    for axis in "ZYX":
        key = f"PhysicalSize{axis}"
        unit = attributes.get(f"{key}Unit", _OME_UNIT)
        factor = nanometres(unit)
        sizes[axis] = positive(attributes.get(key), factor or 0.0)
        if key in attributes and factor is None:
            name = "slice_thickness_nm" if axis == "Z" else "pixel_size_nm"
            conflicts.append(unknown_unit(name, unit, f"OME {key}"))
    return make_header(
        {
            "pixel_size_nm": (pair(sizes["Y"], sizes["X"]), "OME PhysicalSizeY, PhysicalSizeX"),
            "slice_thickness_nm": (sizes["Z"], "OME PhysicalSizeZ"),
        },
        conflicts,
    )
