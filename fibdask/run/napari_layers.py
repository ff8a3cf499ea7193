"""Stores and runs as layers of napari, which asks for them by `fibdask/napari.yaml`.

Nothing of napari is imported: it takes tuples of data, options and the kind of layer.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..conventions import AXES, VOLUMES, measured_slices
from ..io.metadata import is_store
from ..report.viewing import named_volumes
from ..report.viewing.volumes import NamedVolume, even_grid, shown_volumes
from .folder.run_folder import SUMMARY
from .viewing import viewed_volumes

LayerData = tuple[Any, dict[str, Any], str]
_CLEAR = "#00000000"
_LABELS = "label"  # of a layered sample


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """Return what reads stores and folders of runs, or None if a path is neither."""
    return read_layers if all(map(_is_known, _paths(path))) else None


def read_layers(path: str | Sequence[str]) -> list[LayerData]:
    """Return the volumes of stores, or of runs, as layers of napari that read what is looked at.

    Images of each voltage, probabilities, phases and labels lie at their depths in nm. Where
    slices are uneven, planes of a finer even grid each show the nearest slice.

    Parameters
    ----------
    path
        Folder of a Zarr store that holds a stack, or of a run; or several.

    Returns
    -------
    list of tuple
        Data (z, y, x), or its levels from fine to coarse, options, and "image" or "labels".

    Raises
    ------
    StackReadError
        If a store is damaged or unfinished, or a run has stored no stack yet.
    """
    return [layer for one in _paths(path) for layer in _layers(Path(one))]


def _paths(path: str | Sequence[str]) -> Sequence[str]:
    return [path] if isinstance(path, str) else path


def _is_known(path: str) -> bool:
    """Tell whether there is a run, or a store with volumes by our names."""
    folder = Path(path)
    if (folder / SUMMARY).is_file():
        return True
    return is_store(folder) and any((folder / name).is_dir() for name in (*VOLUMES, _LABELS))


def _layers(path: Path) -> Iterator[LayerData]:
    """Iterate over the layers of a store or run; of images and of labels, the first are seen."""
    stacks = viewed_volumes(path)
    grids = {id(stack): even_grid(stack) for stack in stacks.values()}
    seen: set[str] = set()
    for volume in named_volumes(stacks):
        grid, kind = grids[id(volume.stack)], "labels" if volume.is_label else "image"
        levels = shown_volumes(
            volume.stack[volume.name], grid, labels=volume.is_label, voltage=volume.voltage
        )
        options = {
            "name": volume.title,
            "scale": grid.spacing,
            "translate": grid.start,
            "units": ("nm",) * len(AXES),
            "axis_labels": AXES,
            "multiscale": len(levels) > 1,
            "visible": kind not in seen,
            "metadata": {
                "path": str(path),
                "slice": grid.planes,
                "z": volume.stack["z"].values,
                "measured": measured_slices(volume.stack),
            },
        }
        options |= _label_options(volume) if volume.is_label else _image_options(volume)
        seen.add(kind)
        yield levels if len(levels) > 1 else levels[0], options, kind


def _image_options(volume: NamedVolume) -> dict[str, Any]:
    return {"contrast_limits": volume.grey_limits(), "colormap": "gray"}


def _label_options(volume: NamedVolume) -> dict[str, Any]:
    """Return the colours of labels: those that are told, pores clear; napari has its own."""
    colours = volume.class_colours()
    if not colours:
        return {}
    return {"colormap": {None: _CLEAR, 0: _CLEAR, **colours}, "opacity": 0.5}
