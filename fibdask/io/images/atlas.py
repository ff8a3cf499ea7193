"""What ATLAS 3D tells (Zeiss, Fibics): in the file of its job, and in each of its images."""

from math import hypot, isfinite, nan
from pathlib import Path
from typing import Any

from defusedxml import ElementTree

from ...conventions import StackReadError
from .headers import (
    Conflict,
    Header,
    Sourced,
    disagreement,
    make_header,
    nanometres,
    numbers,
    pair,
    positive,
    reason,
    resized,
    sourced,
)

_BEAMS = {"SEM": "electron", "FIB": "ion"}
_IMAGING = "Settings/Imaging"
_RASTER = f"{_IMAGING}/FibicsRasterInfo/PixelSize"
_ACQUISITION = f"{_IMAGING}/DefaultAcquisition"  # of newer versions
_TO_NM = 1e3  # of the lengths of ATLAS, in µm


def fibics_header(tag: str | bytes, columns: int) -> Header:
    """Read the XML that ATLAS writes to an image (TIFF tag 51023).

    The vectors U and V of the scan lead from pixel to pixel, in µm; other lengths tell their unit.

    Parameters
    ----------
    columns
        Of the image, which need not be those that were scanned.
    """
    try:
        root = ElementTree.fromstring(tag, forbid_dtd=True)
    except Exception:
        damaged = "its XML of Fibics (TIFF tag 51023) cannot be read; what it tells is not taken"
        return Header(conflicts=(Conflict("pixel_size_nm", damaged),))
    steps = {axis: _step(root, axis) for axis in "VU"}
    size = pair(steps["V"], steps["U"])
    width, scanned = _told(root, "Scan/FOV_X"), positive(root.findtext("Image/Width"))
    field = sourced(width and scanned and width / scanned, "Fibics Scan/FOV_X / Image/Width")
    stage = {f"{axis.lower()}_mm": (_told(root, f"Stage/{axis}"), 1e-6) for axis in "XYZ"}
    depth, doubt = _depth(root)
    return make_header(
        {
            "voltage_kv": _voltage(root),
            "pixel_size_nm": (size, "Fibics Scan/U, V"),
            "detector": (root.findtext("Image/Detector") or None, "Fibics Image/Detector"),
            "beam": (_BEAMS.get(root.findtext("Image/Beam") or ""), "Fibics Image/Beam"),
            "stage": (numbers(stage), "Fibics Stage"),
            "depth_nm": (depth, "Fibics ATLAS3D/Slice/ZPos"),
        },
        (
            disagreement("pixel_size_nm", sourced(size and size[1], "Fibics Scan/U"), field),
            resized(columns, scanned, "Fibics Image/Width", size and size[1]),
            doubt,
        ),
    )


def _step(root: Any, axis: str) -> float | None:
    """Return the length of a vector of the scan in nm."""
    try:
        parts = [float(root.findtext(f"Scan/{axis}{part}") or "nan") for part in "xy"]
    except ValueError:
        return None
    return positive(hypot(*parts), _TO_NM)


def _told(root: Any, path: str) -> float | None:
    """Return a length in nm, whose unit must be told."""
    element = root.find(path)
    factor = None if element is None else nanometres(element.get("units", ""))
    try:
        length = nan if factor is None else float(f"{float(element.text) * factor:.12g}")
    except (TypeError, ValueError):
        return None
    return length if isfinite(length) else None


def _depth(root: Any) -> tuple[float | None, Conflict | None]:
    """Return the depth of the face in nm, and why it is not taken."""
    depth = _told(root, "ATLAS3D/Slice/ZPos")
    if depth is not None or not root.findtext("ATLAS3D/Slice/ZPos"):
        return depth, None
    text = "Fibics ATLAS3D/Slice/ZPos is not taken, for it tells no length with a known unit"
    return None, Conflict("depth_nm", text)


def _voltage(root: Any) -> Sourced | None:
    """Return the accelerating voltage, which is told in V, or with its unit."""
    items = root.iterfind("BeamInfo/item")
    told = next((item.text or "" for item in items if item.get("name") == "AccV"), "")
    number, _, unit = told.strip().partition(" ")
    factor = {"": 1e-3, "V": 1e-3, "kV": 1.0}.get(unit.strip())
    return sourced(factor and positive(number, factor), "Fibics BeamInfo AccV")


def atlas_header(path: Path, detector: str | None = None) -> Header:
    """Read an ATLAS 3D job (`.a3d-setup`): lengths in µm, voltage in V.

    Parameters
    ----------
    path
        The job file. Its XML is parsed without entities or document types.
    detector
        Name of the image folder, which ATLAS calls after the detector.

    Raises
    ------
    StackReadError
        If it is no such file, or its XML is not safe.
    """
    try:
        root = ElementTree.parse(path, forbid_dtd=True).getroot()
    except Exception as error:
        msg = f"{path} cannot be read as an ATLAS 3D job: {reason(error)}"
        raise StackReadError(msg) from error
    job = f"ATLAS 3D {path.name}"
    names = [root.findtext(f"{_IMAGING}/{key}") for key in ("Detector", "DetectorB")]
    found = [name for name in names if name]
    if len(found) > 1:
        found = [name for name in found if name == detector]
    volts = root.findtext("ColumnInfo/EHT")
    return make_header(
        {
            "voltage_kv": sourced(positive(volts, 1e-3), f"{job} ColumnInfo/EHT"),
            "pixel_size_nm": _pixel_size(root, job),
            "slice_thickness_nm": _thickness(root, job),
            "detector": (found[0] if found else None, f"{job} {_IMAGING}/Detector"),
        }
    )


def _pixel_size(root: Any, job: str) -> Sourced | None:
    """Return the size of a pixel of the slices: of key frames, tracking and focus it tells too."""
    y, x = (positive(root.findtext(f"{_RASTER}{axis}"), _TO_NM) for axis in "YX")
    if y is not None and x is not None:
        return (_rounded(y), _rounded(x)), f"{job} {_RASTER}"
    place = f"{_ACQUISITION}/PixelSize"
    side = positive(root.findtext(place), _TO_NM)
    return sourced(side and (_rounded(side), _rounded(side)), f"{job} {place}")


def _thickness(root: Any, job: str) -> Sourced | None:
    """Return the distance of the slices, unless it is a time that lies between them."""
    place = f"{_IMAGING}/Interval"
    if told := positive(root.findtext(place), _TO_NM):
        return told, f"{job} {place}"
    newer = f"{_ACQUISITION}/Interval"
    if root.findtext(f"{newer}/Active", "Distance") != "Distance":
        return None
    place = f"{newer}/Distance/Interval"
    return sourced(positive(root.findtext(place), _TO_NM), f"{job} {place}")


def _rounded(length: float) -> float:
    """Drop the digits that single precision made up: 0.00999999888918612 µm is 10 nm."""
    return float(f"{length:.6g}")
