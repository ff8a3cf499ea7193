"""Decoder of images in OME-Zarr, versions 0.4 and 0.5: their finest level."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from ...blocks import Place, RemotePath, object_states, store_of
from ...pieces.codecs import refuse_code
from ..metadata import ome_attributes
from .channels import Channel, channel_header, find_channel
from .formats import Layout, narrowed, volume_layout
from .hdf5 import layers
from .headers import (
    Conflict,
    Header,
    complete,
    make_header,
    nanometres,
    pair,
    positive,
    unknown_unit,
)

_METADATA = re.compile(r"\.?z(arr|array|attrs|group|metadata)(\.json)?")
_READ = {"scale", "translation", "identity"}
_SIZES = {"z": "slice_thickness_nm", "y": "pixel_size_nm", "x": "pixel_size_nm"}


@dataclass(frozen=True)
class OmeZarr:
    """OME-Zarr, named by the file that holds the metadata of its image.

    Attributes
    ----------
    channel
        Name or position of the one that is read; None if there is only one.

    References
    ----------
    J. Moore et al., "OME-Zarr: a cloud-optimized bioimaging file format with international
    community support", Histochem. Cell Biol. 160, 223-251 (2023).
    """

    channel: Channel = None

    revision = 4

    def channels(self, path: Path) -> tuple[str, ...]:
        """Return the names of the channels, empty where there is none."""
        return _Image(path.parent).channels

    def inspect(self, path: Path) -> Layout:
        """Read axes, scales and shape; no chunk is read."""
        image = _Image(path.parent)
        name = image.channels[image.choose(self.channel)]
        array, shape = image.array, image.shape
        chunk = tuple(image.array.chunks[k] for k in image.places)
        files, written = _chunk_files(image.folder)
        header = complete(image.header(), channel_header(name, "OME-Zarr channel"))
        if unwritten := _unwritten(array, written):
            header = replace(header, conflicts=(*header.conflicts, unwritten))
        held = 2 * prod(array.chunks) * array.dtype.itemsize  # decoded beside its encoded bytes
        layout = volume_layout(shape, array.dtype, held, header)
        *depth, height, width = chunk
        return replace(layout, chunk=((*depth, 1)[0], height, width), beside=files)

    def frames(
        self, path: Path, chosen: range, rows: slice, columns: slice
    ) -> Iterator[np.ndarray]:
        """Yield frames; each layer of chunks is decoded once."""
        image = _opened(path.parent, self.channel)
        if len(image.shape) == 2:
            yield narrowed(image.read(rows, columns))
            return
        for layer in layers(chosen, image.array.chunks[image.places[0]]):
            yield from map(narrowed, image.read(layer, rows, columns))


def _opened(folder: Place, channel: Channel) -> "_Image":
    """Open an image to read a channel; one on a server once, because that takes many requests."""
    if isinstance(folder, RemotePath):
        return _opened_once(folder, channel)
    image = _Image(folder)
    image.choose(channel)
    return image


@lru_cache(4)
def _opened_once(folder: RemotePath, channel: Channel) -> "_Image":
    image = _Image(folder)
    image.choose(channel)
    return image


class _Image:
    """The finest level of one channel without its axes of length one, in the order z, y, x."""

    def __init__(self, folder: Place) -> None:
        attrs = ome_attributes(folder)
        told = attrs.get("multiscales", [])
        if len(told) != 1:
            msg = f"it holds {len(told)} images; give the folder of one"
            raise ValueError(msg)
        _check_metadata(told[0], attrs)
        self.axes: Sequence[Mapping[str, Any]] = told[0]["axes"]
        self.level, self._doubt = _finest(told[0])
        self._scale = _scale(self.level, told[0])
        self.folder: Any = (folder / self.level["path"]).resolve()
        if not self.folder.is_relative_to(folder.resolve()):
            msg = f"its pixels lie in {self.folder}, outside its folder"
            raise ValueError(msg)
        refuse_code(self.folder)
        array = zarr.open(store_of(self.folder), mode="r")
        if not isinstance(array, zarr.Array):
            msg = f"its level {self.level['path']} is no array"
            raise ValueError(msg)
        self.array = array
        self.places = _places(self.axes, array.shape)
        self.shape = tuple(array.shape[k] for k in self.places)
        self._along = next((k for k, axis in enumerate(self.axes) if _is_channel(axis)), None)
        count = 1 if self._along is None else array.shape[self._along]
        self.channels = _labels(attrs, count)
        self._chosen = 0

    def choose(self, channel: Channel) -> int:
        """Set which channel is read, and return its position."""
        self._chosen = find_channel(self.channels, channel)
        return self._chosen

    def read(self, *region: slice) -> np.ndarray:
        whole: list[slice | int] = [0] * self.array.ndim
        if self._along is not None:
            whole[self._along] = self._chosen
        for k, part in zip(self.places, region, strict=True):
            whole[k] = part
        values = np.asarray(self.array[tuple(whole)])
        return values.astype(values.dtype.newbyteorder("="), copy=False)

    def header(self) -> Header:
        """Return the sizes of voxels whose scale and unit are told."""
        conflicts = [self._doubt]
        if isinstance(self._scale, str):
            untold = [Conflict(name, self._scale) for name in dict.fromkeys(_SIZES.values())]
            return make_header({}, [*conflicts, *untold])
        sizes: dict[str, float | None] = {"z": None}
        for k in self.places:
            name, unit = self.axes[k]["name"], self.axes[k].get("unit")
            origin = f"OME-Zarr scale of {name}"
            factor = nanometres(unit) if isinstance(unit, str) else None
            sizes[name] = positive(self._scale[k], factor) if factor else None
            if unit is None:
                conflicts.append(Conflict(_SIZES[name], f"{origin} is not taken: it has no unit"))
            elif factor is None:
                conflicts.append(unknown_unit(_SIZES[name], str(unit), origin))
        return make_header(
            {
                "pixel_size_nm": (pair(sizes["y"], sizes["x"]), "OME-Zarr scale of y, x"),
                "slice_thickness_nm": (sizes["z"], "OME-Zarr scale of z"),
            },
            conflicts,
        )


def _check_metadata(image: Mapping[str, Any], attrs: Mapping[str, Any]) -> None:
    """Refuse images of versions that name no axes."""
    for key, name in (("axes", "name"), ("datasets", "path")):
        members = told if isinstance(told := image.get(key), list) else []
        if not members or not all(isinstance(one, dict) and name in one for one in members):
            version = image.get("version") or attrs.get("version") or "unknown"
            msg = (
                f"OME-Zarr is read of versions 0.4 and 0.5, whose {key} each have a {name}; it is "
                f"of version {version}, and its {key} have none"
            )
            raise ValueError(msg)


def _finest(image: Mapping[str, Any]) -> tuple[Mapping[str, Any], Conflict | None]:
    """Return the level with the smallest voxels; where scales tell none, the first, and a doubt."""
    levels: Sequence[Mapping[str, Any]] = image["datasets"]
    scales = [_scale(level, image) for level in levels]
    voxels = [abs(prod(scale)) for scale in scales if not isinstance(scale, str)]
    if len(voxels) == len(levels) and voxels.count(smallest := min(voxels)) == 1:
        return levels[voxels.index(smallest)], None
    text = (
        f"its {len(levels)} levels tell no scales by which one is the finest; {levels[0]['path']}, "
        "the first, is read"
    )
    return levels[0], Conflict("level", text) if len(levels) > 1 else None


def _scale(level: Mapping[str, Any], image: Mapping[str, Any]) -> Sequence[float] | str:
    """Return the scale of a level along each axis, or say why there is none."""
    told = [one for part in (level, image) for one in part.get("coordinateTransformations") or ()]
    if others := sorted({str(one.get("type")) for one in told} - _READ):
        return f"OME-Zarr tells the transformation {', '.join(others)}, which is not read"
    scales = [one.get("scale") for one in told if one.get("type") == "scale"]
    if not scales:
        return "OME-Zarr tells no scale"
    count = len(image["axes"])
    if not all(isinstance(scale, list) and len(scale) == count for scale in scales):
        return f"OME-Zarr scales must have {count} numbers, one for each axis; got {scales}"
    product: Sequence[float] = np.prod(np.asarray(scales, np.float64), axis=0).tolist()
    return product


def _is_channel(axis: Mapping[str, Any]) -> bool:
    return axis["name"] == "c" or axis.get("type") == "channel"


def _places(axes: Sequence[Mapping[str, Any]], shape: tuple[int, ...]) -> list[int]:
    """Return the places of z, y and x; other axes than channels must have length one."""
    names = [axis["name"] for axis in axes]
    places = [k for k, name in enumerate(names) if name in ("z", "y", "x")]
    ordered = "".join(names[k] for k in places) in ("zyx", "yx")
    others = len(names) == len(shape) and all(
        n == 1 for k, n in enumerate(shape) if k not in places and not _is_channel(axes[k])
    )
    if not ordered or not others:
        msg = (
            f"its axes are {', '.join(map(str, names))} of lengths {', '.join(map(str, shape))}; a "
            "stack has z, y, x in this order, perhaps channels (c), other axes of length one"
        )
        raise ValueError(msg)
    return places


def _labels(attrs: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """Return the names of the channels, where as many are told as there are."""
    told = attrs.get("omero", {}).get("channels", [])
    if len(told) != count:
        return ("",) * count
    return tuple(str(channel.get("label", "")) for channel in told)


def _chunk_files(folder: Any) -> tuple[tuple[Any, ...], int | None]:
    """Return the files of all chunks that were written, and their number.

    On a server they are one place, and their number is known where it lists what it has.
    """
    if isinstance(folder, RemotePath):
        listed = folder.address.startswith("s3://")
        names = object_states(folder, None) if listed else ()
        chunks = [name for name in names if not _METADATA.fullmatch(name.rpartition("/")[2])]
        return (folder,), len(chunks) if listed else None
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    chosen = tuple(file for file in files if not _METADATA.fullmatch(file.name))
    return chosen, len(chosen)


def _unwritten(array: Any, written: int | None) -> Conflict | None:
    """Tell of chunks that were never written: they read as one value."""
    stored = array.shards or array.chunks
    expected = prod(-(-n // length) for n, length in zip(array.shape, stored, strict=True))
    if written is None or written >= expected:
        return None
    text = (
        f"it has parts without data, which read as {array.fill_value}: {written} of {expected} "
        "chunks were written"
    )
    return Conflict("intensity", text)
