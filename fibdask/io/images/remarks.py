"""What a person should know of the files and of the values that were taken."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...blocks import BLOCK_BYTES, format_bytes
from ...conventions import other_unit
from ...pieces.image_header import missing_numbers
from .headers import Conflict, Header, Sourced, agree, show
from .scan import Part

_PIXEL = "pixel_size_nm"
_WORDS = {"voltage_kv": ("voltage", "kV"), _PIXEL: ("pixel_size", "nm")}
_LIMITS = {"voltage_kv": (0.05, 60.0), _PIXEL: (0.1, 100e3)}
_NAMED = re.compile(r"(FIB|ion|Ga)?[ _-]?(\d+(?:\.\d+)?)[ _-]?kV(?![a-z])", re.IGNORECASE)
"""A voltage in a name, and whether it is that of the ions."""
_NUMBER = re.compile(r"(?=(?<!\d)(\d+)(?:[._p, -](\d+))?)")
"""Where names tell several voltages, or write them otherwise, any number of them may be one."""
_DETECTOR = re.compile(
    r"(?<![a-z])(?:se2?|bse?|esb|asb|inlens|in-lens|tld|etd|icd|ldf|cbs|vcd|mdd?|hdbsd?|t[123]|mix)"
    r"(?![a-z\d])",
    re.IGNORECASE,
)
"""What of the name of a channel is a detector."""
_HIGHEST = 20.0  # kV, of electrons: more is of ions
_THICKNESS = "slice_thickness_nm"


def remarks(
    parts: Sequence[Part],
    window: tuple[slice, slice],
    taken: Sequence[Mapping[str, Sourced]],
    *,
    by_argument: bool,
) -> list[str]:
    """Collect sentences, each once.

    Parameters
    ----------
    parts
        The files of each voltage.
    window
        Rows and columns that are kept.
    taken
        For each of the parts, what was taken for which attribute of a header.
    by_argument
        Whether the depths were given, so that doubts about the header's thickness do not matter.
    """
    texts = []
    for part, values in zip(parts, taken, strict=True):
        given = {_THICKNESS, "depth_nm"} if by_argument else set()
        given |= {name for name, value in values.items() if _is_given(value)}
        texts += [*_of_files(part, window), *_of_header(part, given, values)]
        texts += contradictions(part, values)
        texts += [text for name, value in values.items() for text in _beyond(name, *value)]
    texts += mixed(parts)
    if not by_argument:
        texts += _thicknesses(parts)
    return list(dict.fromkeys(texts))


def contradictions(part: Part, values: Mapping[str, Sourced]) -> list[str]:
    """Compare what was given with every reading of the headers of a voltage."""
    return [
        text
        for name, value in values.items()
        if _is_given(value)
        for text in _contradictions(part, name, value[0])
    ]


def mixed(parts: Sequence[Part]) -> list[str]:
    """Say where headers tell two beams or detectors: of slices, or of voltages."""
    texts = []
    for name in ("beam", "detector"):
        texts += [
            f"{part.name} mixes images: {name} of {both(part.varying[name])}; each is a stack"
            for part in parts
            if name in part.varying
        ]
        told = [
            (value, f"{part.header.origins[name]} of {part.name}")
            for part in parts
            if (value := _plain(part, name))
        ]
        other = next((one for one in told if one[0] != told[0][0]), None)
        if other is not None:
            found = both((told[0], other))
            texts.append(f"the voltages mix images: {name} of {found}; each is a stack")
    return texts


def _plain(part: Part, name: str) -> str:
    """Return a detector or beam that a header tells; of the name of a channel, that part of it."""
    value, origin = str(getattr(part.header, name) or ""), part.header.origins.get(name, "")
    if not value or "channel" not in origin:
        return value
    found = _DETECTOR.search(value)
    return found[0] if found else ""


def both(varying: tuple[Sourced, Sourced]) -> str:
    """Say where two values were found."""
    (first, here), (other, there) = varying
    return f"{here} says {show(first)}, {there} says {show(other)}"


def untold(name: str, part: Part) -> str:
    """Say that no header tells a value, and why not where they say something of it."""
    reasons = [found.text for found in _conflicts(part, name)]
    return "; ".join([f"the headers of {part.name} do not tell it", *reasons])


def _is_given(value: Sourced) -> bool:
    return value[1].startswith("argument")


def _of_files(part: Part, window: tuple[slice, slice]) -> list[str]:
    texts = [*part.series.remarks, *_large_chunks(part)]
    missing = missing_numbers(part.slices.numbers or ())
    if missing:
        texts.append(f"slices {missing} are missing in {part.name}; they become gaps in z")
    rows = part.header.scanned_rows
    if rows is not None and window[0].stop > rows:
        texts.append(
            f"{part.name} has {part.layout.height} rows, of which {rows} were scanned: the rest is "
            f"a data bar; crop along y from 0 to {rows} cuts it"
        )
    return texts


def _large_chunks(part: Part) -> list[str]:
    """Say of chunks larger than a block that these cannot be read apart, and what helps."""
    chunk, held = part.layout.chunk, part.layout.scratch
    if chunk is None or held <= 2 * BLOCK_BYTES:
        return []
    return [
        f"{part.name} is stored in chunks of {' x '.join(map(str, chunk))} voxels, larger than a "
        f"block: {format_bytes(held)} are held for each block that reaches into one, however "
        "small; for HDF5, h5repack -l CHUNK=32x256x256 makes smaller ones"
    ]


def _of_header(part: Part, given: set[str], values: Mapping[str, Sourced]) -> list[str]:
    """Return the conflicts that what was given does not settle, and those of the beam."""
    header = part.header
    texts = [
        f"{part.name}: {found.text}"
        for found in header.conflicts
        if found.name not in given or _foreshortened(found, values[_PIXEL][0], header)
    ]
    if header.beam not in (None, "electron"):
        texts.append(f"{part.name} was imaged with the beam {header.beam!r}, not with electrons")
    return texts


def _foreshortened(found: Conflict, size: tuple[float, float], header: Header) -> bool:
    """Tell whether pixels may be longer along y than was given, which repeats the header alone."""
    told = header.pixel_size_nm
    if found.name != _PIXEL or told is None or not agree(size, told):
        return False
    return any(
        isinstance(other, tuple) and agree(other[1], told[1]) and not agree(other[0], told[0])
        for other in found.others
    )


def _contradictions(part: Part, name: str, value: Any) -> list[str]:
    """Say where no reading agrees with what was given; one that does explains the others."""
    told = getattr(part.header, name)
    if told is None:
        return _other_names(part, value) if name == "voltage_kv" else []
    readings = [(told, f"{part.header.origins[name]} of {part.name}")]
    readings = list(part.varying.get(name, readings))
    others = [other for found in _conflicts(part, name) for other in found.others]
    word, unit = _WORDS[name]
    return [
        f"{word} {show(value)} {unit} was given, {where} says {show(reading)} {unit}; "
        "what was given is taken"
        for reading, where in readings
        if not any(agree(value, one) for one in (reading, *others))
    ]


def _other_names(part: Part, voltage: float) -> list[str]:
    """Say where file and folder name another voltage in kV than was given, and none that one.

    Where neither names any, the folder above tells.
    """
    named: dict[float, Path] = {}
    above = part.series.folder.absolute().parent
    for path in (part.series.files[0], part.series.folder, above):
        if named and path is above:
            break
        # A folder of several things may be called after one of them.
        if path is above and not _NAMED.fullmatch(path.name.strip("_- ")):
            break
        found = [float(number) for ions, number in _NAMED.findall(path.name) if not ions]
        told = [number for number in found if number <= _HIGHEST]
        numbers = _NUMBER.findall(path.name)
        readings = [float(one) for a, b in numbers for one in (a, f"{a}.{b}")]
        if told and any(agree(voltage, reading) for reading in readings):
            return []
        named |= dict.fromkeys(told, path)
    return [
        f"voltage {show(voltage)} kV was given, the name of {path} says {show(other)} kV; what was "
        "given is taken"
        for other, path in named.items()
    ]


def _conflicts(part: Part, name: str) -> list[Conflict]:
    return [found for found in part.header.conflicts if found.name == name]


def _thicknesses(parts: Sequence[Part]) -> list[str]:
    """Compare the thickness of the slices in the headers of all voltages: they are the same."""
    told = [(part, getattr(part.header, _THICKNESS)) for part in parts]
    known = [(part.name, value) for part, value in told if value is not None]
    return [
        f"slice_thickness should be one; {known[0][0]} says {show(known[0][1])} nm, "
        f"{name} says {show(value)} nm"
        for name, value in known[1:]
        if not agree(value, known[0][1])
    ]


def _beyond(name: str, value: Any, origin: str) -> list[str]:
    """Ask for the unit of a value that no microscope has."""
    word, unit = _WORDS[name]
    low, high = _LIMITS[name]
    sizes = value if isinstance(value, tuple) else (value,)
    if not all(low <= size <= high for size in sizes):
        return [
            f"{word} is {show(value)} {unit} ({origin}), beyond {low:g} to {high:g} {unit}: is it "
            f"in {unit}?"
        ]
    if isinstance(value, tuple) and other_unit(max(sizes), min(sizes)):
        return [f"{word} is {show(value)} {unit} ({origin}): are both in {unit}?"]
    return []
