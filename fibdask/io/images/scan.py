"""Scan the files of a stack: find them, read every header, and see that they belong together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ...blocks import Access
from ...conventions import ConventionError, StackReadError
from ...pieces.image_header import missing_numbers
from .channels import Channel, named_voltages
from .depth import Slices
from .files import Paths, Series, find_series
from .formats import Decoder, Layout, WithChannels, reading
from .headers import Conflict, Header, Sourced, agree, complete, make_header, show
from .janelia import Dat
from .projects import job_headers
from .registry import FORMATS, format_by_name

_VARIATION_RTOL = 1e-3  # between slices, where voltages read back with noise
_THICKNESS = "slice_thickness_nm"
_ALIKE = (
    "voltage_kv",
    "pixel_size_nm",
    _THICKNESS,
    "detector",
    "beam",
)  # what all slices should share


@dataclass(frozen=True)
class Options:
    """How files are decoded.

    Attributes
    ----------
    detector
        Number of that which is read, of files of several; or the name of that which took images.
    dataset
        Which one is read, of files of several.
    channel
        Likewise; one for all voltages, or one for each.
    access
        How the server of an address is reached, if something was told.
    """

    detector: str | int | None = None
    dataset: str | None = None
    channel: Channel | Mapping[float, Channel] = None
    access: Access | None = None

    def of(self, voltage: float) -> "Options":
        """Return the options of one of several voltages in kV.

        Raises
        ------
        ConventionError
            If no channel is told for it.
        """
        if not isinstance(self.channel, Mapping):
            return self
        channels = {_kilovolts(key): channel for key, channel in self.channel.items()}
        if voltage not in channels:
            known = ", ".join(f"{key:g}" for key in channels)
            msg = f"channel is told for {known} kV; {voltage:g} kV needs one too"
            raise ConventionError(msg)
        return replace(self, channel=channels[voltage])


@dataclass(frozen=True)
class Part:
    """The files of one voltage.

    Attributes
    ----------
    series
        The files in order.
    decoder
        Reads them.
    layout
        What each of them holds.
    header
        What the first of them says, completed by the job file of the microscope, with conflicts
        of all.
    varying
        Values of the header that differ between slices, by name: the first one and another.
    depths
        Depths in nm that the headers of all slices tell.
    """

    series: Series
    decoder: Decoder
    layout: Layout
    header: Header
    varying: Mapping[str, tuple[Sourced, Sourced]]
    depths: tuple[float, ...] | None = None

    @property
    def slices(self) -> Slices:
        """Count, numbers and depths of the slices."""
        count = max(len(self.series.files), self.layout.count)
        depths, told = self.series.depths, "the file names"
        if depths is None and self.depths is not None:
            depths, told = self.depths, "the headers"
        return Slices(count, self.series.numbers, depths, told, self.series.reordered)

    @property
    def name(self) -> str:
        """Name in messages."""
        files = self.series.files
        return str(files[0] if len(files) == 1 else self.series.folder)


def scan(source: Paths, options: Options) -> Part:
    """Find the files of one voltage and read their headers.

    Raises
    ------
    StackReadError
        If a header cannot be read, or slices differ in shape or type.
    """
    series = find_series(source, options.access)
    decoder = _decoder(series.files[0], options)
    layouts = []
    for k, file in enumerate(series.files):
        with reading(f"slice {k} ({file})" if len(series.files) > 1 else str(file)):
            layouts.append(decoder.inspect(file))
    _check_layouts(series.files, layouts)
    headers = _by_place(series.files, layouts)
    if len(series.files) > 1:
        headers = [(place, _without("files", header)) for place, header in headers]
    first, varying = headers[0][1], _variation(headers)
    depths, doubts = _depths(headers, series.depths, max(len(series.files), layouts[0].count))
    first = replace(first, conflicts=(*_all_conflicts(headers), *doubts))
    if _THICKNESS in varying:
        first = _without_thickness(first, *varying[_THICKNESS])
    header = _labelled(first, decoder, options)
    for job in job_headers(series.folder):
        header = complete(header, job)
    return Part(series, decoder, layouts[0], header, varying, depths)


def scan_voltages(
    source: Paths | Mapping[float, Paths], voltage: float | None, options: Options
) -> list[tuple[float | None, Part]]:
    """Scan the files of every voltage, sorted by voltage; None where it was not given.

    The channels of one source are voltages where their names tell these.
    """
    if not isinstance(source, Mapping):
        if isinstance(options.channel, Mapping):
            msg = "channel by voltage needs a source by voltage: {kV: source}, equal ones too"
            raise ConventionError(msg)
        told = named_voltages(_channels(source, options)) if voltage is None else {}
        if not told:
            return [(None if voltage is None else _kilovolts(voltage), scan(source, options))]
        parts = [(key, scan(source, replace(options, channel=told[key]))) for key in sorted(told)]
        _check_all_alike(parts)
        return [(None, part) for _, part in parts]
    if voltage is not None:
        msg = f"voltages are the keys of source ({', '.join(map(str, source))}); got {voltage} too"
        raise ConventionError(msg)
    if not source:
        msg = "source must hold at least one voltage; got an empty mapping"
        raise StackReadError(msg)
    parts = [
        (kilovolts := _kilovolts(key), scan(source[key], options.of(kilovolts)))
        for key in sorted(source, key=_kilovolts)
    ]
    _check_all_alike(parts)
    return list(parts)


def _channels(source: Paths, options: Options) -> tuple[str, ...]:
    """Return the names of the channels from which none was chosen."""
    if options.channel is not None:
        return ()
    file = find_series(source, options.access).files[0]
    decoder = _decoder(file, options)
    if not isinstance(decoder, WithChannels):
        return ()
    with reading(str(file)):
        return decoder.channels(file)


def _kilovolts(voltage: Any) -> float:
    try:
        number = float(voltage)  # also of a text, as the keys of tables are
    except (TypeError, ValueError):
        number = np.nan
    if np.isnan(number) or isinstance(voltage, bool | np.bool_):
        msg = f"voltage must be a number of kV; got {voltage!r}"
        raise ConventionError(msg)
    return number


def _decoder(file: Path, options: Options) -> Decoder:
    """Return what reads a file, and refuse options that files of its format have no use for."""
    found = format_by_name(file)
    chosen = {"dataset": options.dataset, "channel": options.channel}
    for name, value in chosen.items():
        if value is not None and name not in found.options:
            formats = ", ".join(known.name for known in FORMATS if name in known.options)
            msg = f"{name} is for files of {formats}; got {value!r} with {found.name}"
            raise ConventionError(msg)
    if isinstance(options.detector, int) and "detector" not in found.options:
        msg = f"detector must be a name for {found.name}, which holds one; got {options.detector}"
        raise ConventionError(msg)
    given = chosen | {"detector": options.detector}
    return found.make(**{name: given[name] for name in found.options})


def _labelled(header: Header, decoder: Decoder, options: Options) -> Header:
    """Let the name of the detector that was given win over that in the header."""
    if options.detector is None or isinstance(decoder, Dat):
        return header
    conflicts = header.conflicts
    if header.detector not in (None, options.detector):
        origin = header.origins["detector"]
        text = f"detector is {options.detector!r} as given; {origin} says {header.detector!r}"
        conflicts = (*conflicts, Conflict("detector", text))
    given = make_header({"detector": (options.detector, "argument detector")})
    return replace(complete(given, header), conflicts=conflicts)


def _depths(
    headers: Sequence[tuple[str, Header]], named: tuple[float, ...] | None, count: int
) -> tuple[tuple[float, ...] | None, list[Conflict]]:
    """Return the depths that headers of all slices tell, and what speaks against them."""
    told = [(place, header.depth_nm) for place, header in headers if header.depth_nm is not None]
    if len(told) < count:
        text = f"{len(told)} of {count} slices tell their depth; it is not taken"
        return None, [Conflict("depth_nm", text)] if told else []
    for (place, depth), (below, deeper) in pairwise(told):
        if deeper <= depth:
            msg = (
                f"slices must lie one below the other; the header of {place} says {depth:g} nm, "
                f"that of {below} after it {deeper:g} nm: rename the files, or give z"
            )
            raise StackReadError(msg)
    depths = tuple(depth for _, depth in told)
    spans = [found[-1] - found[0] for found in (named or depths, depths)]
    text = (
        f"the depths in the file names span {spans[0]:g} nm, those in the headers {spans[1]:g} nm; "
        "the names are taken"
    )
    return depths, [] if agree(*spans) else [Conflict("depth_nm", text)]


def _check_layouts(files: Sequence[Path], layouts: Sequence[Layout]) -> None:
    first = layouts[0]
    for k, (file, layout) in enumerate(zip(files, layouts, strict=True)):
        if len(files) > 1 and layout.count > 1:
            msg = f"a file of a series must hold one slice; {file} holds {layout.count}"
            raise StackReadError(msg)
        if _describe(layout) != _describe(first):
            msg = (
                f"slices must have one shape and type; slice {k} ({file}) is {_describe(layout)}, "
                f"slice 0 ({files[0]}) is {_describe(first)}"
            )
            raise StackReadError(msg)


def _describe(layout: Layout) -> str:
    return f"{layout.height} x {layout.width} {layout.dtype.name}"


def _by_place(files: Sequence[Path], layouts: Sequence[Layout]) -> list[tuple[str, Header]]:
    """Return the headers of files, or of the pages of one, with their names."""
    if len(files) > 1:
        return [(file.name, layout.headers[0]) for file, layout in zip(files, layouts, strict=True)]
    pages = layouts[0].headers
    page = "page {} of " if len(pages) > 1 else ""
    return [(page.format(k) + files[0].name, header) for k, header in enumerate(pages)]


def _without_thickness(header: Header, first: Sourced, other: Sourced) -> Header:
    """Take no thickness of the slices from headers that tell several."""
    text = (
        f"the slices should have one thickness; {first[1]} says {show(first[0])}, {other[1]} says "
        f"{show(other[0])} nm"
    )
    conflict = Conflict(_THICKNESS, text, (first[0], other[0]))
    return replace(header, slice_thickness_nm=None, conflicts=(*header.conflicts, conflict))


def _without(name: str, header: Header) -> Header:
    """Return a header without the conflicts of a name."""
    conflicts = tuple(found for found in header.conflicts if found.name != name)
    return replace(header, conflicts=conflicts)


def _all_conflicts(headers: Sequence[tuple[str, Header]]) -> tuple[Conflict, ...]:
    """Return the conflicts of the first header, and the first of those that only others have."""
    conflicts = list(headers[0][1].conflicts)
    names = {conflict.name for conflict in conflicts}
    for place, header in headers[1:]:
        later = [conflict for conflict in header.conflicts if conflict.name not in names]
        names |= {conflict.name for conflict in later}
        conflicts += [found._replace(text=f"{place}: {found.text}") for found in later]
    return tuple(conflicts)


def _variation(headers: Sequence[tuple[str, Header]]) -> dict[str, tuple[Sourced, Sourced]]:
    """Find the first slice whose header tells another value than the first one that tells any."""
    found: dict[str, tuple[Sourced, Sourced]] = {}
    for name in _ALIKE:
        told = [(value, where) for where, h in headers if (value := getattr(h, name)) is not None]
        for value, where in told[1:]:
            same = (
                value == told[0][0]
                if isinstance(value, str)
                else agree(value, told[0][0], _VARIATION_RTOL)
            )
            if not same:
                found[name] = (told[0], (value, where))
                break
    return found


def _check_all_alike(parts: Sequence[tuple[float, Part]]) -> None:
    for voltage, part in parts[1:]:
        _check_alike(*parts[0], voltage, part)


def _check_alike(voltage: float | None, first: Part, other_voltage: float, other: Part) -> None:
    """Require the same slices, shape and type at every voltage, and other files or channels."""
    paths, others = ({file.resolve() for file in part.series.files} for part in (first, other))
    if paths & others and voltage != other_voltage and first.decoder == other.decoder:
        msg = (
            f"all voltages must have their own files or channels; {voltage:g} kV and "
            f"{other_voltage:g} kV are both read from {other.name}"
        )
        raise StackReadError(msg)
    for name, mine, theirs in (
        ("format", type(first.decoder).__name__, type(other.decoder).__name__),
        ("number of slices", first.slices.count, other.slices.count),
        ("shape and type", _describe(first.layout), _describe(other.layout)),
        ("slice numbers", _span(first.slices.numbers), _span(other.slices.numbers)),
        ("depths of the slices", first.slices.depths, other.slices.depths),
    ):
        if mine != theirs:
            msg = (
                f"all voltages must have the same {name}; "
                f"{voltage:g} kV ({first.name}) has {mine}, "
                f"{other_voltage:g} kV ({other.name}) has {theirs}"
            )
            raise StackReadError(msg)


def _span(numbers: tuple[int, ...] | None) -> str:
    """Write slice numbers by their first, last and missing ones."""
    if numbers is None:
        return "none"
    skipped = missing_numbers(numbers)
    return f"{numbers[0]} to {numbers[-1]}" + (f" without {skipped}" if skipped else "")
