"""Phases beside images as OME-Zarr 0.5 labels, where viewers look for them.

A label image holds its voxels itself, at each level of its image, and an array of a Zarr store
cannot lie at two paths: beside images, phases are written once more. Zeros and ones are small:
that adds less than a tenth to the images.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr
import zarr

from ..conventions import PHASE_ATTRS, PHASES, VERSION
from .metadata import WRITER
from .pyramid import multiscale

_FOLDER = "labels"
_COLOURS = ([0, 0, 0, 0], [213, 94, 0, 128])  # red, green, blue, opacity of pore and solid


def label_names(stack: xr.Dataset) -> list[str]:
    """Return the variables of a stack that are labels of its images."""
    return [name for name in PHASES if name in stack.variables and "intensity" in stack.variables]


def label_path(path: Path, name: str, level: int) -> Path:
    """Return where one level of a label lies in a store."""
    return path / _FOLDER / name / str(level)


def describe_labels(path: Path, levels: Sequence[xr.Dataset]) -> None:
    """Write the metadata of the labels of a store with these levels, finest first."""
    names = label_names(levels[0])
    _put(path / _FOLDER, {"version": "0.5", "labels": names})
    for name in names:
        entry = multiscale(name, levels, [str(number) for number in range(len(levels))])
        ome = {"version": "0.5", "multiscales": [entry], "image-label": _image_label()}
        _put(path / _FOLDER / name, ome)


def drop_labels(path: Path, names: Sequence[str], levels: int) -> None:
    """Remove labels, and levels of them, that an earlier stack had and this one has not."""
    if not names:
        shutil.rmtree(path / _FOLDER, ignore_errors=True)
    kept = [str(number) for number in range(levels)]
    for folder in [*path.glob(f"{_FOLDER}/*/*/"), *path.glob(f"{_FOLDER}/*/")]:
        if folder.name not in (*names, *kept):
            shutil.rmtree(folder)


def _image_label() -> dict[str, Any]:
    names = str(PHASE_ATTRS["flag_meanings"]).split()
    return {
        "version": "0.5",
        "colors": [{"label-value": k, "rgba": rgba} for k, rgba in enumerate(_COLOURS)],
        "properties": [{"label-value": k, "name": name} for k, name in enumerate(names)],
        "source": {"image": "../../"},
    }


def _put(folder: Path, ome: dict[str, Any]) -> None:
    attrs: dict[str, Any] = {"ome": ome, WRITER: VERSION}
    group = zarr.open_group(folder, mode="a")
    if dict(group.attrs) != attrs:
        group.attrs.put(attrs)
