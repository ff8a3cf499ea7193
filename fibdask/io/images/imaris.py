"""Decoder of images of Imaris, HDF5 in a layout of its own: one time, of several channels."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .channels import Channel, channel_header, find_channel
from .formats import Layout, narrowed, optional, readable, volume_layout
from .hdf5 import check_stored, layers, unwritten
from .headers import Conflict, Header, complete, make_header, nanometres, pair, positive

_AXES = "ZYX"  # those of ExtMin and ExtMax are counted the other way round
_NAMES = ("pixel_size_nm", "slice_thickness_nm")
_ORIGIN = "Imaris ExtMin, ExtMax"


@dataclass(frozen=True)
class Imaris:
    """The finest level of an image of Imaris 5.5 (`.ims`).

    Attributes
    ----------
    channel
        Name or position of the one that is read; None if there is only one.

    References
    ----------
    Oxford Instruments, "Imaris 5.5 File Format Description",
    https://imaris.oxinst.com/support/imaris-file-format
    """

    channel: Channel = None

    revision = 2

    def channels(self, path: Path) -> tuple[str, ...]:
        """Return the names of the channels, empty where there is none."""
        with optional("h5py").File(readable(path), "r") as file:
            return _names(file, _channel_groups(file))

    def inspect(self, path: Path) -> Layout:
        """Read the sizes of the image; no chunk is read."""
        with optional("h5py").File(readable(path), "r") as file:
            groups = _channel_groups(file)
            names = _names(file, groups)
            place = find_channel(names, self.channel)
            data, shape = _data(groups[place]), _image_shape(file, groups[place])
            header = complete(_header(file, shape), channel_header(names[place], "Imaris channel"))
            if found := unwritten(data, shape):
                header = replace(header, conflicts=(*header.conflicts, found))
            # a chunk is decoded beside its encoded bytes
            held = 2 * prod(data.chunks) if data.chunks else prod(shape[1:])
            layout = volume_layout(shape, data.dtype, held * data.dtype.itemsize, header)
            check_stored(data, path)
            return replace(layout, chunk=data.chunks)

    def frames(
        self, path: Path, chosen: range, rows: slice, columns: slice
    ) -> Iterator[np.ndarray]:
        """Yield frames; each layer of chunks is decoded once."""
        with optional("h5py").File(readable(path), "r") as file:
            groups = _channel_groups(file)
            data = _data(groups[find_channel(_names(file, groups), self.channel)])
            for layer in layers(chosen, data.chunks[0] if data.chunks else 1):
                yield from map(narrowed, data[layer, rows, columns])


def _channel_groups(file: Any) -> list[Any]:
    """Return the channels of the finest level; of several times, none is meant."""
    level = _child(_child(file, "DataSet"), "ResolutionLevel 0")
    times = [name for name in level or () if name.startswith("TimePoint ")]
    if len(times) > 1:
        msg = f"it holds {len(times)} times; a stack has one: save one of them"
        raise ValueError(msg)
    time, groups = _child(level, "TimePoint 0"), list[Any]()
    while channel := _child(time, f"Channel {len(groups)}"):
        groups.append(channel)
    if not groups:
        msg = "it holds no DataSet/ResolutionLevel 0/TimePoint 0/Channel 0, as Imaris 5.5 writes"
        raise ValueError(msg)
    return groups


def _child(group: Any, name: str) -> Any:
    """Return a member of a group; None if there is none, or a link that may lead elsewhere."""
    link = None if group is None else group.get(name, getlink=True)
    return group[name] if isinstance(link, optional("h5py").HardLink) else None


def _data(channel: Any) -> Any:
    """Return the pixels of a channel (z, y, x), which may be padded to whole chunks."""
    data = _child(channel, "Data")
    if data is None or data.ndim != 3 or data.is_virtual or data.external:
        msg = f"{channel.name} has no Data of its own with three dimensions"
        raise ValueError(msg)
    return data


def _image_shape(file: Any, channel: Any) -> tuple[int, int, int]:
    """Return the size of the image (z, y, x), without its padding."""
    info = _attributes(file, "Image")
    told = [_size(channel.attrs, f"ImageSize{axis}") for axis in _AXES]
    whole = [_size(info, axis) for axis in _AXES]
    shape = [n for own, other in zip(told, whole, strict=True) if (n := own or other)]
    if len(shape) < len(_AXES):
        msg = "it tells no ImageSizeX, ImageSizeY and ImageSizeZ, so that its padding is not known"
        raise ValueError(msg)
    stored = _data(channel).shape
    if any(n > most for n, most in zip(shape, stored, strict=True)):
        msg = f"its header is damaged: it tells {shape} pixels (z, y, x), and holds {stored}"
        raise ValueError(msg)
    if any(other not in (None, n) for n, other in zip(shape, whole, strict=True)):
        msg = f"it tells two sizes (z, y, x): {told} of its channel, {whole} of its image"
        raise ValueError(msg)
    z, y, x = shape
    return z, y, x


def _size(attrs: Mapping[str, Any], name: str) -> int | None:
    text = _text(attrs, name)
    if text and not text.isdecimal():
        msg = f"its header is damaged: {name} is {text!r}"
        raise ValueError(msg)
    return int(text) if text else None


def _names(file: Any, channels: list[Any]) -> tuple[str, ...]:
    return tuple(_text(_attributes(file, f"Channel {k}"), "Name") for k in range(len(channels)))


def _attributes(file: Any, name: str) -> Mapping[str, Any]:
    """Return what a file tells of its image, or of a channel."""
    group = _child(_child(file, "DataSetInfo"), name)
    return {} if group is None else group.attrs


def _header(file: Any, shape: tuple[int, int, int]) -> Header:
    """Take the sizes of voxels, whose outer sides ExtMin and ExtMax are."""
    info = _attributes(file, "Image")
    unit = _text(info, "Unit")
    factor = nanometres(unit)
    if factor is None:
        text = f"{_ORIGIN} are not taken, for their unit {unit!r} is no known length"
        return Header(conflicts=tuple(Conflict(name, text) for name in _NAMES))
    z, y, x = (positive(_extent(info, 2 - k) / n, factor) for k, n in enumerate(shape))
    where = f"{_ORIGIN} in {unit}"
    return make_header({_NAMES[0]: (pair(y, x), where), _NAMES[1]: (z, where)})


def _extent(info: Mapping[str, Any], axis: int) -> float:
    try:
        return float(_text(info, f"ExtMax{axis}")) - float(_text(info, f"ExtMin{axis}"))
    except ValueError:
        return 0.0


def _text(attrs: Mapping[str, Any], name: str) -> str:
    """Return a text, which Imaris stores as an array of characters; empty if there is none."""
    letters = np.ravel(np.asarray(attrs.get(name, b"")))
    parts = [one if isinstance(one, bytes) else str(one).encode() for one in letters.tolist()]
    return b"".join(parts).decode(errors="replace").strip("\0 ")
