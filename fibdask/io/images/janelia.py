"""Decoder of Janelia `.dat` frames: a big-endian header, then the detectors interleaved."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...conventions import ConventionError
from .formats import Layout
from .headers import Header, Sourced, disagreement, make_header, numbers, pair, positive, sourced

_MAGIC = 0xD3EDF5F2
_DATA_START = 1024  # bytes
_VERSIONS = range(3, 10)  # versions 1 and 2 place most fields elsewhere
_DETECTORS = "ABCD"

# The fields that are used, of versions 3 to 9: name, type, first byte.
_FIELDS = (
    ("magic", ">u4", 0),
    ("version", ">u2", 4),
    ("eight_bit", "u1", 33),
    ("width", ">u4", 100),
    ("height", ">u4", 104),
    ("sampled", "4u1", 151),
    ("notes", "S200", 180),
    ("detector_A", "S10", 380),
    ("detector_B", "S18", 390),
    ("detector_C", "S20", 410),
    ("detector_D", "S20", 430),
    ("pixel_size_nm", ">f4", 464),
    ("voltage_kv", ">f4", 472),
    ("x_mm", ">f4", 534),
    ("y_mm", ">f4", 538),
    ("z_mm", ">f4", 542),
    ("tilt_deg", ">f4", 546),
    ("rotation_deg", ">f4", 550),
)
_names, _types, _starts = zip(*_FIELDS, strict=True)
_HEADER = np.dtype(
    {
        "names": list(_names),
        "formats": list(_types),
        "offsets": list(_starts),
        "itemsize": _DATA_START,
    }
)


@dataclass(frozen=True)
class Dat:
    """One detector of `.dat` frames.

    Attributes
    ----------
    detector
        Its name, the beginning of it, or its position; None if there is only one.
    """

    detector: str | int | None = None

    revision = 2

    def inspect(self, path: Path) -> Layout:
        """Read the header and check that the pixels are all there."""
        header, names = _read_dat_header(path)
        height, width = int(header["height"]), int(header["width"])
        dtype = _pixel_dtype(header)
        expected = _DATA_START + height * width * len(names) * dtype.itemsize
        if path.stat().st_size < expected:
            msg = f"it is cut off: {expected} bytes are expected, {path.stat().st_size} are there"
            raise ValueError(msg)
        found = _dat_settings(header, names[self._channel(names)])
        frame = expected - _DATA_START
        return Layout(1, height, width, dtype.newbyteorder("="), frame, (found,))

    def frames(
        self, path: Path, chosen: range, rows: slice, columns: slice
    ) -> Iterator[np.ndarray]:
        """Yield the frame of the detector."""
        header, names = _read_dat_header(path)
        shape = (int(header["height"]), int(header["width"]), len(names))
        channel = self._channel(names)
        for _ in chosen:
            pixels = np.memmap(path, _pixel_dtype(header), "r", _DATA_START, shape)
            yield pixels[rows, columns, channel]

    def _channel(self, names: list[str]) -> int:
        wanted = self.detector
        if wanted is None:
            matches = list(range(len(names)))
        elif isinstance(wanted, str):
            low = [name.casefold() for name in names]
            matches = [k for k, name in enumerate(low) if name == wanted.casefold()]
            matches = matches or [k for k, n in enumerate(low) if n.startswith(wanted.casefold())]
        else:
            matches = [wanted] if 0 <= wanted < len(names) else []
        if len(matches) != 1:
            known = ", ".join(f"{k} {name}" for k, name in enumerate(names))
            msg = (
                f"it holds {len(names)} detectors, {known}: choose one with detector"
                if wanted is None
                else f"detector must be one of those in the file ({known}); got {wanted!r}"
            )
            raise ConventionError(msg)
        return matches[0]


def _read_dat_header(path: Path) -> tuple[Any, list[str]]:
    """Return the fields, and the names of the detectors in the order of their pixels."""
    with path.open("rb") as file:
        raw = file.read(_DATA_START)
    if len(raw) < _DATA_START or int.from_bytes(raw[:4], "big") != _MAGIC:
        msg = f"it is no Janelia .dat file: it begins with 0x{raw[:4].hex()}, not 0x{_MAGIC:x}"
        raise ValueError(msg)
    header = np.frombuffer(raw, _HEADER)[0]
    if header["version"] not in _VERSIONS:
        msg = f"its version is {header['version']}; readable are {_VERSIONS[0]} to {_VERSIONS[-1]}"
        raise ValueError(msg)
    sampled = zip(_DETECTORS, header["sampled"], strict=True)
    names = [_text(header[f"detector_{letter}"]) or letter for letter, used in sampled if used]
    if not names:
        msg = "its header says that no detector was sampled"
        raise ValueError(msg)
    return header, names


def _pixel_dtype(header: Any) -> np.dtype[Any]:
    return np.dtype("u1" if header["eight_bit"] else ">i2")


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("latin-1").strip()


def _dat_settings(header: Any, detector: str) -> Header:
    """Take voltage, pixel size and stage; the operator's note is compared, not trusted."""
    size = _rounded(header["pixel_size_nm"])
    voltage = _rounded(header["voltage_kv"])
    notes = _text(header["notes"])
    stage = {name: (float(header[name]), 1.0) for name in _names if name.endswith(("_mm", "_deg"))}
    pixels = sourced(size, "Janelia PixelSize")
    beam = sourced(voltage, "Janelia EHT")
    return make_header(
        {
            "voltage_kv": beam,
            "pixel_size_nm": sourced(pair(size, size), "Janelia PixelSize"),
            "detector": (detector, "Janelia header"),
            "stage": sourced(numbers(stage), "Janelia Stage"),
        },
        (
            disagreement("pixel_size_nm", pixels, _noted(r"@\s*(\d+(?:\.\d+)?)\s*nm\b", notes)),
            disagreement("voltage_kv", beam, _noted(r"\bEHT\s*(\d+(?:\.\d+)?)\s*kV\b", notes)),
        ),
    )


def _noted(pattern: str, notes: str) -> Sourced | None:
    match = re.search(pattern, notes)
    return None if match is None else (float(match[1]), "its note")


def _rounded(value: Any) -> float | None:
    """Read a single-precision number, without the digits that it does not have."""
    number = positive(value)
    return None if number is None else float(f"{number:.6g}")
