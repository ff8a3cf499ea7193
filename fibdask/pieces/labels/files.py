"""Files of painted slices, from any painting program: what they hold, before it means anything."""

import re
import warnings
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from PIL import Image

from ...conventions import ConventionError, FibdaskError, FibdaskWarning, StackReadError
from ..axes import axis_letters, hdf5_axes
from ..codecs import refuse_code

_TIFF, _PIXELS, _HDF5 = (".tif", ".tiff"), (".png", ".bmp"), (".h5", ".hdf5")
_KINDS = (*_TIFF, *_PIXELS, *_HDF5, ".npy", ".zarr")
_VOLUME = "open it in Fiji and save it as TIFF, or save its array, in the order z, y, x, as .npy"
_OTHERS = {
    ".jpg": "JPEG changes values at edges; save PNG or TIFF",
    ".jpeg": "JPEG changes values at edges; save PNG or TIFF",
    ".gif": "save PNG or TIFF",
    ".npz": "save one array as .npy",
    ".nii": _VOLUME,
    ".gz": _VOLUME,
    ".nrrd": _VOLUME,
    ".ilp": "export its labels from ilastik (Prediction Export, source Labels)",
    ".roi": "make a mask of it in Fiji (Edit > Selection > Create Mask), and save that as TIFF",
    ".zip": "make a mask of the regions in Fiji (Edit > Selection > Create Mask), and save that "
    "as TIFF",
}
_OME = "OME"  # group of metadata beside images, as bioformats2raw writes it
_LEVEL = re.compile(r"\d+(?:-\d+)*$")  # the end of names of levels: 0, s0, 2-2-1
_EXPORTED = "exported_data"  # as ilastik calls what it exports
_STORE = "fibdask_version"  # attribute of stores of stacks, whose pyramid is of images
_MOST_CHUNK = 2**24  # numbers


def label_files(path: Path) -> list[Path]:
    """Return the files of painted slices."""
    if path.is_file() or path.suffix == ".zarr" or (path / "zarr.json").is_file():
        return [path]
    if not path.is_dir():
        msg = f"labels {path} do not exist"
        raise StackReadError(msg)
    files = sorted(path.iterdir())
    for file in files:
        if remedy := _OTHERS.get(file.suffix.lower()):
            text = f"{file} is not read as a painted slice: {remedy}"
            warnings.warn(text, FibdaskWarning, stacklevel=4)
    return [file for file in files if file.suffix.lower() in _KINDS]


def read_file(file: Path, most: int) -> np.ndarray:
    """Return what a file holds, whole numbers (z, y, x) or (y, x), so many at most.

    Raises
    ------
    ConventionError
        If it holds too many, or something else.
    StackReadError
        If it cannot be read.
    """
    try:
        return _whole_numbers(_read(file, most), file)
    except FibdaskError:
        raise
    except Exception as error:  # of any kind, for damaged files
        msg = f"painted slice {file} cannot be read: {error}"
        raise StackReadError(msg) from error


def _read(file: Path, most: int) -> np.ndarray:
    kind = file.suffix.lower()
    if kind in _TIFF:
        return _tiff(file, most)
    if kind in _PIXELS:
        with Image.open(file) as image:
            _check_size(image.size[::-1], most, file)
            return np.asarray(image)
    if kind in _HDF5:
        return _hdf5(file, most)
    if kind == ".npy":
        values = np.load(file, mmap_mode="r", allow_pickle=False)
        _check_size(values.shape, most, file)
        return np.asarray(values)
    if file.is_dir():
        return _zarr(file, most)
    remedy = _OTHERS.get(kind, f"painted slices are {', '.join(_KINDS)}")
    msg = f"{file} is not read as a painted slice: {remedy}"
    raise StackReadError(msg)


def _tiff(file: Path, most: int) -> np.ndarray:
    """Return all images of a TIFF that are like its first as one.

    Programs that append pages make a series of each.
    """
    with tifffile.TiffFile(file) as tiff:
        whole = [one for one in tiff.series if not one.keyframe.is_reduced] or tiff.series[:1]
        series = [one for one in whole if one.shape == whole[0].shape]
        _check_size((len(series), *series[0].shape), most, file)
        images = [np.asarray(one.asarray()) for one in series]
    return images[0] if len(images) == 1 else np.stack(images)


def _check_size(shape: tuple[int, ...], most: int, file: Path) -> None:
    """Refuse a file before memory is taken for more than the stack has."""
    if prod(shape) > most:
        msg = f"{file} has the shape {shape}, more pixels than the stack: paint its slices"
        raise ConventionError(msg)


def _zarr(path: Path, most: int) -> np.ndarray:
    """Return a Zarr array, or the finest level of a pyramid, in the order z, y, x."""
    refuse_code(path)
    found: Any = zarr.open(path, mode="r")
    axes: Sequence[str] = ()
    while isinstance(found, zarr.Group):
        name, axes = _finest(found, path)
        path /= name
        refuse_code(path)
        found = found[name]
    _check_size(found.shape, most, path)
    axes = axes or getattr(found.metadata, "dimension_names", None) or ()
    known = all(axes) and axis_letters(axes, found.ndim)
    return _in_order(np.asarray(found[...]), known or "", path)


def _finest(group: zarr.Group, path: Path) -> tuple[str, Sequence[str]]:
    """Return what of a group is read, the finest level or its only volume, and names of its axes.

    Raises
    ------
    ConventionError
        If it is not known which is meant.
    """
    ome: Any = {} if _STORE in group.attrs else group.attrs.get("ome", group.attrs)
    if len(told := ome.get("multiscales", ())) == 1:
        axes = [axis["name"] for axis in told[0].get("axes", ()) if isinstance(axis, Mapping)]
        return told[0]["datasets"][0]["path"], axes
    sizes = {name: array.size for name, array in group.arrays() if array.ndim > 1}
    names = sorted(sizes) or sorted({*group.group_keys()} - {_OME})
    if len(names) == 1 or (names and len({_LEVEL.sub("", name) for name in names}) == 1):
        return min(names, key=lambda name: (-sizes.get(name, 0), len(name), name)), ()
    msg = f"{path} holds {len(names)} arrays: {', '.join(names) or 'none'}"
    if names:
        msg += f"; give one that is painted, such as {path / names[-1]}"
    raise ConventionError(msg)


def _hdf5(file: Path, most: int) -> np.ndarray:
    """Return the dataset that ilastik exports, or the only one, in the order z, y, x."""
    try:
        import h5py
    except ImportError:
        msg = f"{file}: HDF5 needs h5py; install fibdask[io], or export TIFF"
        raise StackReadError(msg) from None
    with h5py.File(file, "r") as stored:
        found: dict[str, Any] = {}
        stored.visititems(
            lambda name, item: found.update({name: item} if isinstance(item, h5py.Dataset) else {})
        )
        if len(found) != 1 and _EXPORTED not in found:
            msg = (
                f"{file} holds {len(found)} datasets: {', '.join(found) or 'none'}; save one alone"
            )
            raise ConventionError(msg)
        data = found.get(_EXPORTED) or next(iter(found.values()))
        if data.is_virtual or data.external:
            msg = f"{file} holds no pixels itself; h5repack can make one file of all"
            raise StackReadError(msg)
        _check_size(data.shape, most, file)
        if prod(data.chunks or ()) > max(most, _MOST_CHUNK):
            msg = f"{file} is damaged: a chunk of {data.chunks} is larger than the stack"
            raise StackReadError(msg)
        return _in_order(np.asarray(data[()]), hdf5_axes(data) or "", file)


def _in_order(image: np.ndarray, axes: str, file: Path) -> np.ndarray:
    """Return an image of named axes in the order z, y, x; others are of length one.

    Without names, or by others, it is in that order.
    """
    if not {*axes} >= {"y", "x"}:
        return image
    sizes = dict(zip(axes, image.shape, strict=True))
    others = [f"{axis} {n}" for axis, n in sizes.items() if axis not in "zyx" and n > 1]
    if others:
        msg = (
            f"{file} holds more than one number a pixel, along {', '.join(others)}, as "
            "probabilities do: export labels, or a simple segmentation"
        )
        raise ConventionError(msg)
    inner = image[tuple(slice(None) if axis in "zyx" else 0 for axis in axes)]
    own = [axis for axis in axes if axis in "zyx"]
    return inner.transpose([own.index(axis) for axis in "zyx" if axis in own])


def _whole_numbers(image: np.ndarray, file: Path) -> np.ndarray:
    """Return painted values as integers, which they must be, without axes of length one."""
    image = image.squeeze() if image.ndim > 3 else image
    if image.ndim == 3 and image.shape[-1] == 1:  # a channel, as of ilastik's arrays
        image = image[..., 0]
    if image.ndim == 3 and image.shape[-1] in (3, 4) and image.shape[0] not in (3, 4):
        msg = (
            f"{file} is a picture in colours; painted slices hold one number a pixel: save them as "
            "8-bit (Fiji: Image > Type > 8-bit), and say which number is which class"
        )
        raise ConventionError(msg)
    if image.dtype.kind in "iub":
        return image
    if image.dtype.kind != "f" or not (np.isfinite(image) & (image == np.rint(image))).all():
        msg = f"painted values must be whole numbers; {file} holds others"
        raise ConventionError(msg)
    return image.astype(np.int64)
