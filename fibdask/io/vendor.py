"""Headers of microscopes: FEI/Thermo, Zeiss, TESCAN, OpenFIBSEM, ImageJ, and ATLAS 3D jobs."""

import json
import struct
from collections.abc import Mapping
from math import degrees
from pathlib import Path
from typing import Any

from defusedxml import ElementTree
from tifffile import TiffFile, TiffPage

from ..conventions import StackReadError
from .headers import (
    Conflict,
    Header,
    Sourced,
    complete,
    disagreement,
    make_header,
    nanometres,
    numbers,
    pair,
    positive,
    reason,
    sourced,
)

_TESCAN_TAG = 50431
_TESCAN_TEXT = (2, 3)  # kinds of the records that hold key=value lines; 1 is a thumbnail
_KILOVOLTS = {"V": 1e-3, "kV": 1.0}
_BEAMS = {"EBeam": "electron", "IBeam": "ion", "ELECTRON": "electron", "ION": "ion"}
_DEGREES = degrees(1.0)
_TO_NM = 1e9
_TO_MM = 1e3


def tiff_header(tif: TiffFile) -> Header:
    """Read whatever header a TIFF file carries; an empty one if it is of no known kind."""
    page = tif.pages.first
    header = Header()
    if tif.sem_metadata:
        header = complete(header, zeiss_header(tif.sem_metadata))
    if tif.fei_metadata:
        header = complete(header, fei_header(tif.fei_metadata))
    if _TESCAN_TAG in page.tags:
        header = complete(header, tescan_header(page.tags[_TESCAN_TAG].value))
    if tif.imagej_metadata:
        header = complete(header, imagej_header(tif.imagej_metadata, page))
    if page.description.startswith("{"):
        header = complete(header, openfibsem_header(page.description))
    return header


def zeiss_header(tag: Mapping[str, Any]) -> Header:
    """Read a SmartSEM header (tag 34118), as tifffile parses it.

    `Image Pixel Size` is that of the stored image. `Pixel Size` is that of a scan of 1024 pixels
    in some versions, hence twice as large for images of 2048.
    """
    ion = tag.get("dp_fib_imaging", ("", "SEM"))[1] not in ("SEM", "")
    stored = _zeiss_number(tag, "ap_image_pixel_size", nanometres)
    scanned = _zeiss_number(tag, "ap_pixel_size", nanometres)
    size = stored or scanned
    stage = {
        f"{axis}_{unit}": (tag.get(f"ap_stage_at_{key}", ("", None))[1], 1.0)
        for axis, key, unit in (
            ("x", "x", "mm"),
            ("y", "y", "mm"),
            ("z", "z", "mm"),
            ("tilt", "t", "deg"),
            ("rotation", "r", "deg"),
        )
    }
    channel = tag.get("dp_detector_channel") or tag.get("dp_detector_type")
    return make_header(
        {
            "voltage_kv": _zeiss_number(
                tag, "ap_fib_eht_actual" if ion else "ap_actualkv", _KILOVOLTS.get
            ),
            "pixel_size_nm": size and ((size[0], size[0]), size[1]),
            "detector": channel and (channel[1], f"Zeiss {channel[0]}"),
            "beam": ("ion" if ion else "electron", "Zeiss FIB Imaging"),
            "stage": (numbers(stage), "Zeiss Stage at"),
        },
        (disagreement("pixel_size_nm", stored, scanned),),
    )


def _zeiss_number(tag: Mapping[str, Any], key: str, factor_of: Any) -> Sourced | None:
    name, value, unit = (*tag.get(key, ()), None, None, None)[:3]
    factor = factor_of(unit) if isinstance(unit, str) else None
    return None if factor is None else sourced(positive(value, factor), f"Zeiss {name}")


def fei_header(tag: Mapping[str, Any]) -> Header:
    """Read an FEI/Thermo header (tag 34682), as tifffile parses it: sections of SI values."""
    beam = _section(tag, "Beam")
    column = beam.get("Beam", "")
    optics = _section(tag, column)
    scan = _section(tag, "Scan") or _section(tag, beam.get("Scan", ""))
    image, stage = _section(tag, "Image"), _section(tag, "Stage")
    voltage = _kilovolts(beam.get("HV"), "FEI [Beam] HV")
    size = pair(positive(scan.get("PixelHeight"), _TO_NM), positive(scan.get("PixelWidth"), _TO_NM))
    width, columns = positive(optics.get("HFW"), _TO_NM), positive(image.get("ResolutionX"))
    derived = (width / columns, f"FEI [{column}] HFW / ResolutionX") if width and columns else None
    place = {name: (stage.get(f"Stage{key}"), _TO_MM) for name, key in _xyz_mm()}
    angles = {"rotation_deg": (stage.get("StageR"), _DEGREES)}
    tilt = {"tilt_deg": (stage.get("StageT"), _DEGREES)}
    return make_header(
        {
            "voltage_kv": voltage,
            "pixel_size_nm": (size, "FEI [Scan] PixelWidth, PixelHeight"),
            "detector": (_section(tag, "Detectors").get("Name") or None, "FEI [Detectors] Name"),
            "beam": (_BEAMS.get(column, column or None), "FEI [Beam] Beam"),
            "stage": (numbers(place | angles | tilt), "FEI [Stage]"),
            "scanned_rows": (image.get("ResolutionY") or None, "FEI [Image] ResolutionY"),
        },
        (
            disagreement("voltage_kv", voltage, _kilovolts(optics.get("HV"), f"FEI [{column}] HV")),
            disagreement(
                "pixel_size_nm", sourced(size and size[1], "FEI [Scan] PixelWidth"), derived
            ),
            _deceleration(_section(tag, "EBeamDeceleration")),
        ),
    )


def _section(tag: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = tag.get(name)
    return section if isinstance(section, Mapping) else {}


def _xyz_mm() -> list[tuple[str, str]]:
    return [("x_mm", "X"), ("y_mm", "Y"), ("z_mm", "Z")]


def _kilovolts(value: Any, origin: str) -> Sourced | None:
    return sourced(positive(value, 1e-3), origin)


def _deceleration(section: Mapping[str, Any]) -> Conflict | None:
    """Warn of a biased stage, where electrons land with less energy than the voltage says."""
    landing = positive(section.get("LandingEnergy"), 1e-3)
    if str(section.get("ModeOn", "")).casefold() not in ("on", "yes", "true") or landing is None:
        return None
    text = (
        f"the beam was decelerated: FEI [EBeamDeceleration] LandingEnergy says {landing:g} kV; "
        "the voltage before deceleration is taken, give voltage to set another"
    )
    return "voltage_kv", text


def tescan_header(tag: bytes) -> Header:
    """Read a TESCAN header (tag 50431): records of length, kind and content, in SI units."""
    settings = _tescan_settings(bytes(tag))
    voltage = _kilovolts(settings.get("HV"), "TESCAN HV")
    gun = _kilovolts(settings.get("AcceleratorVoltage"), "TESCAN AcceleratorVoltage")
    size = pair(
        positive(settings.get("PixelSizeY"), _TO_NM), positive(settings.get("PixelSizeX"), _TO_NM)
    )
    stage = {name: (_number(settings.get(f"Stage{key}")), _TO_MM) for name, key in _xyz_mm()}
    stage["tilt_deg"] = (_number(settings.get("StageTilt")), 1.0)
    stage["rotation_deg"] = (_number(settings.get("StageRotation")), 1.0)
    return make_header(
        {
            "voltage_kv": voltage or gun,
            "pixel_size_nm": (size, "TESCAN PixelSizeX, PixelSizeY"),
            "detector": (settings.get("Detector") or None, "TESCAN Detector"),
            "stage": (numbers(stage), "TESCAN Stage"),
        },
        (disagreement("voltage_kv", voltage, gun),),
    )


def _tescan_settings(tag: bytes) -> dict[str, str]:
    """Walk the records; each length counts the two bytes of the kind and the content."""
    settings: dict[str, str] = {}
    start = 0
    while start + 6 <= len(tag):
        length, kind = struct.unpack_from("<IH", tag, start)
        if length < 2:
            break
        if kind in _TESCAN_TEXT:
            text = tag[start + 6 : start + 4 + length].decode("utf-8", errors="replace")
            lines = (line.partition("=") for line in text.rstrip("\0").splitlines())
            settings |= {key: value for key, equals, value in lines if equals}
        start += 4 + length
    return settings


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def openfibsem_header(description: str) -> Header:
    """Read the JSON that OpenFIBSEM writes to the image description; SI units."""
    try:
        found = json.loads(description)
    except json.JSONDecodeError:
        return Header()
    if "beam_type" not in found and "image" in found:
        found = found | found["image"]
    if "beam_type" not in found:
        return Header()
    state = found.get("microscope_state") or {}
    beam = _BEAMS.get(str(found["beam_type"]).rpartition(".")[2], str(found["beam_type"]))
    short = {"electron": "eb_settings", "ion": "ib_settings"}.get(beam, "")
    settings = state.get(f"{beam}_beam") or state.get(short) or {}
    position = state.get("absolute_position") or state.get("stage_position") or {}
    pixel = found.get("pixel_size") or {}
    size = pair(positive(pixel.get("y"), _TO_NM), positive(pixel.get("x"), _TO_NM))
    place = {f"{axis}_mm": (position.get(axis), _TO_MM) for axis in "xyz"}
    return make_header(
        {
            "voltage_kv": _kilovolts(settings.get("voltage"), "OpenFIBSEM voltage"),
            "pixel_size_nm": (size, "OpenFIBSEM pixel_size"),
            "beam": (beam, "OpenFIBSEM beam_type"),
            "stage": (numbers(place), "OpenFIBSEM absolute_position"),
        }
    )


def imagej_header(metadata: Mapping[str, Any], page: TiffPage) -> Header:
    """Read the unit, the resolution and the spacing that ImageJ writes."""
    unit = str(metadata.get("unit", ""))
    factor = nanometres(unit)
    if factor is None:
        return Header()
    sizes = []
    for name in ("YResolution", "XResolution"):
        above, below = page.tags.valueof(name, (0, 1))
        sizes.append(positive(_pixel_width(above, below), factor) if above else None)
    spacing = positive(metadata.get("spacing"), factor)
    return make_header(
        {
            "pixel_size_nm": (pair(*sizes), f"ImageJ resolution in pixels per {unit}"),
            "slice_thickness_nm": (spacing, f"ImageJ spacing in {unit}"),
        }
    )


def _pixel_width(above: int, below: int) -> float:
    """Undo the truncation of ImageJ's rational: return the shortest decimal that it can mean.

    ImageJ stores pixels per unit as floor(10⁶ / width) / 10⁶: a width of 40 becomes
    24999 / 1000000, which reads 40.0016.
    """
    narrowest, widest = below / (above + 1), below / above
    for digits in range(12):
        width = round(widest, digits)
        if narrowest <= width <= widest:
            return width
    return widest


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
    imaging = "Settings/Imaging"
    raster = f"{imaging}/FibicsRasterInfo"
    # the job holds more pixel sizes: of key frames, of tracking, of autofocus
    size = pair(
        positive(root.findtext(f"{raster}/PixelSizeY"), 1e3),
        positive(root.findtext(f"{raster}/PixelSizeX"), 1e3),
    )
    names = [root.findtext(f"{imaging}/{key}") for key in ("Detector", "DetectorB")]
    found = [name for name in names if name]
    if len(found) > 1:
        found = [name for name in found if name == detector]
    job = f"ATLAS 3D {path.name}"
    return make_header(
        {
            "voltage_kv": _kilovolts(root.findtext("ColumnInfo/EHT"), f"{job} ColumnInfo/EHT"),
            "pixel_size_nm": (size and _rounded(size), f"{job} {raster}/PixelSize"),
            "slice_thickness_nm": (
                positive(root.findtext(f"{imaging}/Interval"), 1e3),
                f"{job} {imaging}/Interval",
            ),
            "detector": (found[0] if found else None, f"{job} {imaging}/Detector"),
        }
    )


def _rounded(size: tuple[float, float]) -> tuple[float, float]:
    """Drop the digits that single precision made up: 0.00999999888918612 µm is 10 nm."""
    return float(f"{size[0]:.6g}"), float(f"{size[1]:.6g}")
