"""Slices to paint: chosen, cut out of a stack as images, and noted in a sheet beside them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import xarray as xr

from ..conventions import (
    ConventionError,
    StackReadError,
    check_choice,
    measured_slices,
    require,
)
from ..io import open_stack
from ..pieces.labels import SHEET, CutSlice, Sheet, most_gained, probed
from ..pieces.labels.reading import PAINTED
from .folder.results import final_stack
from .folder.run_folder import SUMMARY, RunFolder

IMAGES = "images"
HOW = ("spread", "start", "uncertain")
_BLOCK = 64  # pixels along y and x, of the part of a slice that is looked at first
_DOUBTED = ("solid_probability", "label_probability")


@dataclass(frozen=True)
class Chosen:
    """A slice that was chosen to be painted.

    Attributes
    ----------
    slice
        Its number.
    doubt
        Share of its pixels that are expected to be wrong; None if nothing is known.
    gain
        Share of all expected errors that lie around it, and around no painted slice.
    block
        Rows and columns, "y:y, x:x", that are doubted most.
    """

    slice: int
    doubt: float | None = None
    gain: float | None = None
    block: str | None = None


def cut_slices(
    path: str | Path,
    out: str | Path,
    *,
    slices: int = 5,
    how: str = "spread",
    result: str | Path | None = None,
    classes: Sequence[str] | None = None,
    unlabelled: int | None = None,
) -> list[Chosen]:
    """Cut slices of a stack to be painted, beside those that were cut before.

    Parameters
    ----------
    path
        Store of a stack with images, such as a run has left of its last stage before [segment].
    out
        Folder: `images` and the sheet are written there, and what is painted goes into `labels`.
    slices
        How many.
    how
        `spread`: evenly over the depth; `start`: the first ones; `uncertain`: those around which
        most errors are expected by the probabilities of `result`, and none is cut yet.
    result
        For `uncertain`: a run's folder, or a store, that holds probabilities of these images; by
        default the stack itself.
    classes
        Their names, in the order of painted values; by default those of what was cut before, or
        pore and solid.
    unlabelled
        Value of what is not painted: 0, then classes are 1, 2, …; or 255, then 0, 1, …; by default
        that of what was cut before, or 0.

    Returns
    -------
    list of Chosen
        The slices that were cut now.

    Raises
    ------
    ConventionError
        If there are no images or not so many slices, the folder holds slices of another stack or
        to be painted otherwise, or there are no probabilities of these images.
    """
    stack = require(open_stack(path), "intensity")
    check_choice("how", how, HOW)
    folder = Path(out)
    if result is not None and how != "uncertain":
        msg = f"result is looked at where how is 'uncertain'; got {result} with {how!r}"
        raise ConventionError(msg)
    if (folder / SHEET).is_file():
        sheet = Sheet.read(folder)
        sheet.check_stack(stack, folder)
        _check_same_sheet(sheet, folder, classes, unlabelled)
    else:
        name, names = Path(path).resolve().name, classes or ("pore", "solid")
        sheet = Sheet.of(stack, name, names, first=0 if unlabelled else 1).checked(folder / SHEET)
    cut = [one.slice for one in sheet.slices]
    free = measured_slices(stack)
    free[cut] = False
    if not 1 <= slices <= free.sum():
        msg = f"slices must be 1 to {free.sum()}, those that are not cut yet; got {slices}"
        raise ConventionError(msg)
    if how == "uncertain":
        probability = _probability(stack, path, result)
        chosen = most_doubted(probability, np.array(cut, int), free, slices)
    else:
        numbers = np.flatnonzero(free)
        even = ((2 * np.arange(slices) + 1) * len(numbers)) // (2 * slices)
        chosen = [Chosen(int(k)) for k in numbers[even if how == "spread" else slice(slices)]]
    (folder / PAINTED).mkdir(parents=True, exist_ok=True)
    (folder / IMAGES).mkdir(exist_ok=True)
    noted = [_cut(stack, one.slice, folder / IMAGES, how) for one in chosen]
    replace(sheet, slices=(*sheet.slices, *noted)).write(folder)
    return chosen


def _check_same_sheet(
    sheet: Sheet, folder: Path, classes: Sequence[str] | None, unlabelled: int | None
) -> None:
    """Refuse other classes, or another value of what is not painted, than slices were cut for."""
    for name, asked, known in (
        ("classes", None if classes is None else tuple(classes), sheet.classes),
        ("unlabelled", unlabelled, sheet.unlabelled),
    ):
        if asked not in (None, known):
            msg = (
                f"{name} must be those that slices in {folder} were cut for, {known}; got {asked}: "
                f"take another folder, or change {folder / SHEET}"
            )
            raise ConventionError(msg)


def most_doubted(
    probability: xr.DataArray, cut: np.ndarray, free: np.ndarray, count: int
) -> list[Chosen]:
    """Return the slices around which most errors are expected, one after another.

    Parameters
    ----------
    probability
        Of solid, or of the likeliest label (z, y, x).
    cut
        Numbers of slices that are painted already.
    free
        Which slices (z) may be chosen.
    count
        How many.

    See Also
    --------
    fibdask.pieces.labels.most_gained
    """
    doubted = _doubt(probability)
    doubt = doubted.mean(("y", "x")).values.astype(np.float64)
    return [
        Chosen(k, float(doubt[k]), gain, _worst_block(doubted.isel(z=k).values))
        for k, gain in most_gained(doubt, probability["z"].values, cut, free, count)
    ]


def format_chosen(chosen: Sequence[Chosen], out: str | Path) -> str:
    """Say what was cut, how it is painted, and what to do then."""
    folder = Path(out)
    sheet = Sheet.read(folder)
    first = 0 if sheet.unlabelled else 1
    values = ", ".join(f"{k + first} {name}" for k, name in enumerate(sheet.classes))
    names = ", ".join(str(one.slice) for one in chosen)
    lines = [f"{len(chosen)} slices to paint, in {folder / IMAGES}: {names}"]
    lines += [
        f"slice {one.slice}: {100 * one.doubt:.2g} % of pixels are expected to be wrong, most at "
        f"y, x {one.block}; {100 * one.gain:.0f} % of all expected errors lie around it"
        for one in chosen
        if one.doubt is not None and one.gain is not None
    ]
    lines += [
        f"paint {values}; {sheet.unlabelled} is what is not painted: scribbles are enough",
        f"save each as {folder / PAINTED}/slice_{chosen[0].slice:04}.tif (or .png, .npy), at the "
        "size of its image",
        f'then, in a recipe: [segment] method = "random_forest", labels = "{folder}"',
    ]
    return "\n".join(lines)


def _probability(stack: xr.Dataset, path: str | Path, result: str | Path | None) -> xr.DataArray:
    """Return the probability of the images of a stack."""
    place = Path(result or path)
    is_run = (place / SUMMARY).is_file()
    found = final_stack(RunFolder(place)) if is_run else open_stack(place)
    names = [name for name in _DOUBTED if name in found]
    if not names:
        msg = (
            f"{place} holds no probability: give the run, or the store, of a segmentation by "
            "random_forest or network (--result)"
        )
        raise StackReadError(msg)
    probability: xr.DataArray = found[names[0]]
    wanted = stack["intensity"].isel(voltage=0)
    if probability.shape != wanted.shape or not np.allclose(probability["z"], wanted["z"]):
        msg = (
            f"{place} is not the result of {path}: it has {probability.shape} voxels, the images "
            f"{wanted.shape}, or slices at other depths"
        )
        raise ConventionError(msg)
    return probability


def _doubt(probability: xr.DataArray) -> xr.DataArray:
    """Return the probability that each voxel is wrong; the likeliest label is what is said."""
    if probability.name == _DOUBTED[1]:
        return 1 - probability
    return probability.where(probability < 0.5, 1 - probability)


def _worst_block(doubt: np.ndarray) -> str:
    """Return the rows and columns of the part of a slice (y, x) that is doubted most."""
    places = [
        (slice(y, min(y + _BLOCK, doubt.shape[0])), slice(x, min(x + _BLOCK, doubt.shape[1])))
        for y in range(0, doubt.shape[0], _BLOCK)
        for x in range(0, doubt.shape[1], _BLOCK)
    ]
    y, x = max(places, key=lambda place: float(doubt[place].mean()))
    return f"{y.start}:{y.stop}, {x.start}:{x.stop}"


def _cut(stack: xr.Dataset, number: int, folder: Path, how: str) -> CutSlice:
    """Write the images of a slice, one of each voltage, and return what is noted of it."""
    images: Any = stack["intensity"].isel(z=number).values
    for image, voltage in zip(images, stack["voltage"].values, strict=True):
        kilovolts = f"_{voltage:g}kV" if len(images) > 1 else ""
        tifffile.imwrite(folder / f"slice_{number:04}{kilovolts}.tif", image)
    return CutSlice(number, float(stack["z"].values[number]), how, probed(images).tolist())
