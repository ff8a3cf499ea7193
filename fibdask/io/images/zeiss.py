"""Headers of Zeiss microscopes (SmartSEM)."""

import re
from collections.abc import Mapping
from typing import Any

from .headers import (
    Conflict,
    Header,
    Sourced,
    agree,
    disagreement,
    make_header,
    nanometres,
    numbers,
    positive,
    resized,
    show,
    sourced,
    uncorrected_tilt,
)

_KILOVOLTS = {"V": 1e-3, "kV": 1.0}
_DISPLAY_COLUMNS = 1024  # of the scan that "Pixel Size" belongs to
_STORED_COLUMNS = 512  # images are stored in multiples of as many columns
_VOLTS = re.compile(r"^([AD]P_\w+)\s*\n([^=\n]*?)\s*=\s*([\d.]+)\s*V\s*$", re.MULTILINE)


def zeiss_volts(text: str) -> dict[str, tuple[str, float, str]]:
    """Find values in V in the text of a SmartSEM header, as tifffile gives others.

    It takes lines all in capitals, as "EHT = 800 V" is, for keys.
    """
    found = ((key, name, positive(value)) for key, name, value in _VOLTS.findall(text))
    return {key.lower(): (name, value, "V") for key, name, value in found if value}


def zeiss_header(tag: Mapping[str, Any], columns: int) -> Header:
    """Read a SmartSEM header (tag 34118), as tifffile parses it, of an image of these columns."""
    ion = tag.get("dp_fib_imaging", ("", "SEM"))[1] not in ("SEM", "")
    size, conflicts = _zeiss_size(tag, columns)
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
    place = numbers(stage) or {}
    channel = tag.get("dp_detector_channel") or tag.get("dp_detector_type")
    return make_header(
        {
            "voltage_kv": _zeiss_number(
                tag, "ap_fib_eht_actual" if ion else "ap_actualkv", _KILOVOLTS.get
            ),
            "pixel_size_nm": size and ((size[0], size[0]), size[1]),
            "detector": channel and (channel[1], f"Zeiss {channel[0]}"),
            "beam": ("ion" if ion else "electron", "Zeiss FIB Imaging"),
            "stage": (place or None, "Zeiss Stage at"),
        },
        (*conflicts, _zeiss_tilt(tag, place.get("tilt_deg"), size)),
    )


def _zeiss_size(
    tag: Mapping[str, Any], columns: int
) -> tuple[Sourced | None, list[Conflict | None]]:
    """Return the size of a pixel, and what speaks against it.

    `Image Pixel Size` is that of the stored image. Not every version writes it; `Pixel Size`
    belongs to a display of 1024 columns, `Width` to all the columns that were stored.
    """
    store = re.match(r"(\d+) *\* *\d+$", str(tag.get("dp_image_store", ("", ""))[1]))
    stored = int(store[1]) if store else columns
    own = _zeiss_number(tag, "ap_image_pixel_size", nanometres)
    display = _zeiss_number(tag, "ap_pixel_size", nanometres) or _zeiss_plain_size(tag)
    found = [own] if own else []
    if display:
        origin = f"{display[1]} x {_DISPLAY_COLUMNS} / {stored} columns"
        found.append((display[0] * _DISPLAY_COLUMNS / stored, origin))
    if width := _zeiss_number(tag, "ap_width", nanometres):
        found.append((width[0] / stored, f"{width[1]} / {stored} columns"))
    if not found:
        return None, []
    first, *others = found
    conflicts: list[Conflict | None] = []
    conflicts += [disagreement("pixel_size_nm", first, other) for other in others]
    conflicts.append(resized(columns, stored, "Zeiss Store resolution", first[0]))
    if own and display and not agree(own[0], display[0]):
        conflicts.append(_of_display(own, display))
    elif own is None:
        conflicts.append(_unconfirmed(first, stored, alone=not others))
    return first, conflicts


def _of_display(own: Sourced, display: Sourced) -> Conflict:
    text = (
        f"{own[1]} says {show(own[0])}, {display[1]} says {show(display[0])} nm: the second "
        f"belongs to a display of {_DISPLAY_COLUMNS} columns, the first is taken"
    )
    return Conflict("pixel_size_nm", text)


def _unconfirmed(size: Sourced, columns: int, *, alone: bool) -> Conflict | None:
    """Warn of a pixel size that was derived from the number of columns alone."""
    derived = f"pixel size (nm) is {show(size[0])} by {size[1]}"
    if columns % _STORED_COLUMNS:
        text = f"{derived}, which is wrong if the image was cropped: no store resolution is told"
        return Conflict("pixel_size_nm", text)
    if alone and columns != _DISPLAY_COLUMNS:
        return Conflict("pixel_size_nm", f"{derived} alone; nothing else in the header confirms it")
    return None


def _zeiss_plain_size(tag: Mapping[str, Any]) -> Sourced | None:
    """Return the pixel size in m among the numbers without a name that begin the header."""
    plain = tag.get("", ())
    return sourced(positive(plain[3], 1e9), "Zeiss fourth number") if len(plain) > 3 else None


def _zeiss_number(tag: Mapping[str, Any], key: str, factor_of: Any) -> Sourced | None:
    name, value, unit = (*tag.get(key, ()), None, None, None)[:3]
    factor = factor_of(unit) if isinstance(unit, str) else None
    return None if factor is None else sourced(positive(value, factor), f"Zeiss {name}")


def _zeiss_tilt(
    tag: Mapping[str, Any], stage: float | None, size: Sourced | None
) -> Conflict | None:
    """Warn of a tilted face; `Tilt Angle` is that of the face only while it is corrected."""
    corrected = tag.get("dp_tilt_correction", ("", None))[1]
    angle = numbers({"tilt": (tag.get("ap_tilt_angle", ("", None))[1], 1.0)}) or {}
    if corrected is not True and stage is not None:
        angle = {}
    return uncorrected_tilt(
        corrected if isinstance(corrected, bool) else None,
        sourced(angle.get("tilt"), "Zeiss Tilt Angle"),
        sourced(stage, "Zeiss Stage at T"),
        size and (size[0], size[0]),
    )
