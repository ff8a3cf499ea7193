"""Headers of microscopes in TIFF files: FEI/Thermo, TESCAN, OpenFIBSEM."""

import json
import re
import struct
from collections.abc import Mapping
from math import degrees
from typing import Any

import numpy as np
from tifffile import TiffFile, TiffPage

from .atlas import fibics_header
from .auto_slice import auto_slice_header
from .headers import (
    Conflict,
    Header,
    Sourced,
    complete,
    disagreement,
    make_header,
    no_data,
    numbers,
    pair,
    positive,
    resized,
    sourced,
    uncorrected_tilt,
)
from .imagej import imagej_header, ome_header
from .zeiss import zeiss_header, zeiss_volts

_ZEISS_TAG = 34118
_FEI_TAGS = (34680, 34682)
_FEI_XML_TAG = 34683
_FIBICS_TAG = 51023
_GDAL_NODATA = 42113
_TESCAN_TAG = 50431
_TESCAN_TEXT = (2, 3)  # kinds of the records that hold key=value lines; 1 is a thumbnail
_BEAMS = {"EBeam": "electron", "IBeam": "ion", "ELECTRON": "electron", "ION": "ion"}
_SWITCHES = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
_DEGREES = degrees(1.0)
_TO_NM = 1e9
_TO_MM = 1e3


def tiff_header(tif: TiffFile, page: TiffPage) -> Header:
    """Read whatever header a TIFF file and a page carry; an empty one if of no known kind."""
    header = page_header(page)
    if tif.ome_metadata:
        header = complete(header, ome_header(tif.ome_metadata))
    if tif.imagej_metadata:
        header = complete(header, imagej_header(tif.imagej_metadata, page))
    return header


def page_header(page: TiffPage) -> Header:
    """Read the header that a microscope wrote to one page."""
    empty = page.tags.valueof(_GDAL_NODATA)
    header = make_header(
        {},
        (
            _orientation(page.tags.valueof("Orientation", 1)),
            no_data(empty, np.dtype(page.dtype or "V"), "TIFF tag GDAL_NODATA"),
        ),
    )
    columns = page.imagewidth
    if fibics := page.tags.valueof(_FIBICS_TAG):  # it has scanned, whatever the microscope says
        header = complete(header, fibics_header(fibics, columns))
    if zeiss := page.tags.valueof(_ZEISS_TAG):
        header = complete(header, zeiss_header(zeiss | _zeiss_volts(page), columns))
    for code in _FEI_TAGS:
        if isinstance(fei := page.tags.valueof(code), Mapping):
            header = complete(header, fei_header(fei, columns))
    if xml := page.tags.valueof(_FEI_XML_TAG):
        header = complete(header, auto_slice_header(xml, header))
    if tescan := page.tags.valueof(_TESCAN_TAG):
        header = complete(header, tescan_header(tescan))
    if page.description.startswith("{"):
        header = complete(header, openfibsem_header(page.description, columns))
    return header


def _zeiss_volts(page: TiffPage) -> Mapping[str, Any]:
    """Return what tifffile loses of a SmartSEM header."""
    tag, file = page.tags[_ZEISS_TAG], page.parent.filehandle
    file.seek(tag.valueoffset)
    return zeiss_volts(file.read(tag.count).decode("latin-1"))


def _orientation(tag: int) -> Conflict | None:
    if tag == 1:
        return None
    text = f"TIFF Orientation says {tag}, that rows or columns are to be turned; they are not"
    return Conflict("orientation", text)


def fei_header(tag: Mapping[str, Any], columns: int) -> Header:
    """Read an FEI/Thermo header (tag 34682), as tifffile parses it: sections of SI values.

    `columns` are those of the image, which need not be those that were scanned. Some sections of
    Auto Slice & View end in an equals sign.
    """
    tag = {name.rstrip("="): section for name, section in tag.items()}
    beam = _section(tag, "Beam")
    column = beam.get("Beam", "")
    optics = _section(tag, column)
    scan = _section(tag, "Scan") or _section(tag, beam.get("Scan", ""))
    image, stage = _section(tag, "Image"), _section(tag, "Stage")
    voltage = _kilovolts(beam.get("HV"), "FEI [Beam] HV")
    size = pair(positive(scan.get("PixelHeight"), _TO_NM), positive(scan.get("PixelWidth"), _TO_NM))
    width, scanned = positive(optics.get("HFW"), _TO_NM), positive(image.get("ResolutionX"))
    derived = (width / scanned, f"FEI [{column}] HFW / ResolutionX") if width and scanned else None
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
            resized(columns, scanned, "FEI [Image] ResolutionX", size and size[1]),
            _fei_tilt(optics, stage, column, size),
        ),
    )


def _fei_tilt(
    optics: Mapping[str, Any],
    stage: Mapping[str, Any],
    column: str,
    size: tuple[float, float] | None,
) -> Conflict | None:
    angles = numbers(
        {
            "face": (optics.get("TiltCorrectionAngle"), _DEGREES),
            "stage": (stage.get("StageT"), _DEGREES),
        }
    )
    return uncorrected_tilt(
        _SWITCHES.get(str(optics.get("TiltCorrectionIsOn")).casefold()),
        sourced((angles or {}).get("face"), f"FEI [{column}] TiltCorrectionAngle"),
        sourced((angles or {}).get("stage"), "FEI [Stage] StageT"),
        size,
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
    if landing is None or not _SWITCHES.get(str(section.get("ModeOn")).casefold()):
        return None
    text = (
        f"the beam was decelerated: FEI [EBeamDeceleration] LandingEnergy says {landing:g} kV; "
        "the voltage before deceleration is taken, give voltage to set another"
    )
    return Conflict("voltage_kv", text, (landing,))


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
    correction = _number(settings.get("TiltCorrection"))
    stage["rotation_deg"] = (_number(settings.get("StageRotation")), 1.0)
    return make_header(
        {
            "voltage_kv": voltage or gun,
            "pixel_size_nm": (size, "TESCAN PixelSizeX, PixelSizeY"),
            "detector": (settings.get("Detector") or None, "TESCAN Detector"),
            "stage": (numbers(stage), "TESCAN Stage"),
        },
        (
            disagreement("voltage_kv", voltage, gun),
            uncorrected_tilt(
                None if correction is None else abs(correction) > 0,
                sourced(correction, "TESCAN TiltCorrection"),
                sourced(_number(settings.get("StageTilt")), "TESCAN StageTilt"),
                size,
            ),
        ),
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


def openfibsem_header(description: str, columns: int) -> Header:
    """Read the JSON that OpenFIBSEM writes to the image description; SI units."""
    found = _openfibsem_settings(description)
    if "beam_type" not in found:
        return Header()
    state = _section(found, "microscope_state")
    beam = _BEAMS.get(str(found["beam_type"]).rpartition(".")[2], str(found["beam_type"]))
    short = {"electron": "eb_settings", "ion": "ib_settings"}.get(beam, "")
    settings = _section(state, f"{beam}_beam") or _section(state, short)
    position = _section(state, "absolute_position") or _section(state, "stage_position")
    pixel = _section(found, "pixel_size")
    size = pair(positive(pixel.get("y"), _TO_NM), positive(pixel.get("x"), _TO_NM))
    place = {f"{axis}_mm": (position.get(axis), _TO_MM) for axis in "xyz"}
    scanned = re.search(r"\d+", str(found.get("resolution")))  # "1536x1024", or a list
    return make_header(
        {
            "voltage_kv": _kilovolts(settings.get("voltage"), "OpenFIBSEM voltage"),
            "pixel_size_nm": (size, "OpenFIBSEM pixel_size"),
            "beam": (beam, "OpenFIBSEM beam_type"),
            "stage": (numbers(place), "OpenFIBSEM absolute_position"),
        },
        (
            resized(
                columns, positive(scanned and scanned[0]), "OpenFIBSEM resolution", size and size[1]
            ),
        ),
    )


def _openfibsem_settings(description: str) -> Mapping[str, Any]:
    """Return the settings, which some versions nest; none if the JSON is of something else."""
    try:
        found = json.loads(description)
    except (json.JSONDecodeError, RecursionError):
        return {}
    if not isinstance(found, Mapping):
        return {}
    return found if "beam_type" in found else {**found, **_section(found, "image")}
