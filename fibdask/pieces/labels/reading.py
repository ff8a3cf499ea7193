"""Painted slices as they come: files for each slice or a whole stack, from any painting program."""

import warnings
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
import xarray as xr

from ...conventions import (
    AXES,
    ConventionError,
    FibdaskWarning,
    StackReadError,
    measured_slices,
)
from ..image_header import ImageNames
from .files import label_files, read_file
from .names import Place
from .painted import MOST_CLASSES, UNLABELLED, Painted
from .sheet import SHEET, Sheet, check_unlabelled, default_colours

PAINTED = "labels"
"""Folder beside a sheet that holds what is painted."""
_COLOURS = 4  # numbers of a pixel in a picture, which is refused by what it is


def read_painted(path: str | Path, stack: xr.Dataset, *, unlabelled: int | None = None) -> Painted:
    """Read what is painted in slices of a stack, and check it against that.

    Parameters
    ----------
    path
        Folder that `fibdask labels` made, whose `labels` holds what is painted; or a folder of
        one TIFF, PNG, BMP, HDF5 or NPY a slice, whose name is that of the image of the slice,
        perhaps with words behind it, or else holds its depth ("z470nm", "z-0.47um"), or the number
        of the slice, from 0 (the one after "slice", or else the last that is no setting, bit
        depth or version); or one file or Zarr array (z, y, x) of all slices of the stack, or of
        one slice by its name.
    stack
        That was painted.
    unlabelled
        Value of what is not painted: 255, then classes are 0, 1, … (0 pore, 1 solid); or 0, as in
        label layers of napari, ilastik and Fiji, then they are 1, 2, … (1 pore, 2 solid). By
        default what the sheet of the folder says; without a sheet, 255 where labels hold it, or
        are 0 and 1 alone, and everything else must be stated.

    Returns
    -------
    Painted
        In slices in which something is painted, by increasing number.

    Raises
    ------
    StackReadError
        If there is nothing, or a file cannot be read.
    ConventionError
        If the labels do not fit the stack, hold an unknown value, one class only, or a slice that
        is not measured, if it cannot be known which slice is painted, or if what is not painted
        must be stated.

    Warns
    -----
    FibdaskWarning
        If a slice holds 0 and 255 alone, as masks of Fiji do, since 255 is taken for what is not
        labelled, unless that is stated; if files are not read; and if the number in a name may be
        that of another slice.
    """
    if not isinstance(path, str | Path):
        msg = f"labels must be a folder or a file of painted slices; got {type(path).__name__}"
        raise ConventionError(msg)
    path = Path(path)
    if unlabelled is not None:
        check_unlabelled(unlabelled)
    home = _home(path)
    sheet = Sheet.read(home) if home else None
    if sheet:
        sheet.check_stack(stack, path)
        path = path / PAINTED if home == path else path
    stated = unlabelled if unlabelled is not None else sheet.unlabelled if sheet else None
    images, masks = _images(path, sheet, stack, stated)
    values = np.stack([*images.values()])
    if masks:
        _check_masks(values, masks[0], stated, path)
    classes = _classes(values, stated, len(sheet.classes) if sheet else None, path)
    numbers = np.array([*images], np.int64)
    _check_measured(numbers, stack)
    count = len(sheet.classes) if sheet else _count(classes)
    voltages = stack.sizes["voltage"]
    probes = (
        sheet.probes(numbers, voltages, path) if sheet else np.zeros((len(numbers), voltages, 0))
    )
    painted = Painted(
        numbers,
        classes,
        sheet.classes if sheet else _names(count),
        sheet.colours if sheet else default_colours(count),
        probes,
    )
    return painted.check()


def _home(path: Path) -> Path | None:
    """Return the folder with the sheet that painted slices belong to; None if there is none."""
    inside = [folder.parent for folder in (path, path.parent) if folder.name == PAINTED]
    return next((folder for folder in (path, *inside) if (folder / SHEET).is_file()), None)


def _check_measured(numbers: np.ndarray, stack: xr.Dataset) -> None:
    """Refuse painted slices in which nothing is to be seen."""
    gaps = numbers[~measured_slices(stack)[numbers]]
    if len(gaps):
        msg = f"slice {gaps[0]} is painted, but not measured: nothing is to be seen there"
        raise ConventionError(msg)


def _images(
    path: Path, sheet: Sheet | None, stack: xr.Dataset, stated: int | None
) -> tuple[dict[int, np.ndarray], list[int]]:
    """Return what is painted (y, x) by the number of the slice, and which slices are masks.

    Raises
    ------
    StackReadError
        If nothing is painted.
    """
    images, masks = {}, []
    for number, image in _by_slice(path, sheet, stack):
        if _is_mask(image):
            masks.append(number)
        if _is_painted(image, stated):
            images[number] = image
    if not images:
        msg = f"nothing is painted in {path}"
        if masks:
            msg += f": slice {masks[0]} holds 0 and 255 alone, both of which are not labelled"
            msg += f": if it is a mask, {_of_mask(stated)}"
        raise StackReadError(msg)
    return dict(sorted(images.items())), masks


def _check_masks(values: np.ndarray, mask: int, stated: int | None, path: Path) -> None:
    """Refuse painted values (slice, y, x) that may all be masks, and warn if some may be.

    What is taken for not labelled because that is stated is no mask.
    """
    if stated == UNLABELLED:
        return
    of_mask = f"if it is a mask, {_of_mask(stated)}"
    if stated is None and not (values % UNLABELLED).any():
        msg = (
            f"labels in {path} hold 0 and 255 alone: with 255 for not labelled, they hold pore "
            f"only; paint some solid, or, {of_mask}"
        )
        raise ConventionError(msg)
    text = f"slice {mask} of {path} holds 0 and 255 alone, and 255 is taken for not labelled: "
    warnings.warn(text + of_mask, FibdaskWarning, stacklevel=3)


def _of_mask(stated: int | None) -> str:
    """Say what makes labels of a mask."""
    if stated == 0:
        return "divide it by 255 and add 1 (Fiji: Process > Math), then 1 is pore and 2 solid"
    return "divide it by 255 (Fiji: Process > Math), then 0 is pore and 1 solid"


def _by_slice(
    path: Path, sheet: Sheet | None, stack: xr.Dataset
) -> Iterator[tuple[int, np.ndarray]]:
    """Iterate over numbers of slices and what is painted in them (y, x), as it is stored."""
    seen: dict[int, str] = {}
    plane = stack.sizes["y"], stack.sizes["x"]
    most = max(prod(stack.sizes[axis] for axis in AXES), _COLOURS * prod(plane))
    cut = {one.slice for one in sheet.slices} if sheet else ()
    place = Place(stack["z"].values, ImageNames.of(stack), cut)
    doubts: list[str] = []
    for file in label_files(path):
        image = read_file(file, most)
        if image.ndim == 3 and len(image) == 1 < stack.sizes["z"]:
            image = image[0]
        if image.shape[-2:] != plane or image.ndim not in (2, 3):
            msg = (
                f"{file} has the shape {image.shape}; the images of the stack have {plane} pixels "
                "along y and x: paint them at their size"
            )
            raise ConventionError(msg)
        if image.ndim == 2:
            number, doubt = place.of(file)
            doubts += [doubt] if doubt else []
            numbers, images = [number], [image]
        else:
            numbers, images = _numbers_of(file, len(image), sheet, stack.sizes["z"]), [*image]
        for number, one in zip(numbers, images, strict=True):
            if number in seen:
                msg = f"slice {number} is painted twice: in {seen[number]} and {file.name}"
                raise ConventionError(msg)
            seen[number] = file.name
            yield number, one
    if doubts:
        more = f"; {len(doubts) - 1} more like this" if doubts[1:] else ""
        warnings.warn(f"in {path}, {doubts[0]}{more}", FibdaskWarning, stacklevel=4)


def _is_mask(image: np.ndarray) -> bool:
    """Tell whether a slice holds 0 and 255, and nothing else, as masks of Fiji do."""
    solid = image == UNLABELLED
    return bool(solid.any() and not solid.all() and (solid | (image == 0)).all())


def _is_painted(image: np.ndarray, stated: int | None) -> bool:
    """Tell whether a slice holds anything that may be a class."""
    known = image != UNLABELLED
    return bool((known & (image != 0) if stated == 0 else known).any())


def _numbers_of(file: Path, count: int, sheet: Sheet | None, slices: int) -> list[int]:
    """Return which slices a painted volume is of."""
    if count == slices:
        return list(range(slices))
    if sheet and count == len(sheet.slices):
        return sorted(one.slice for one in sheet.slices)
    cut = f", or the {len(sheet.slices)} that were cut" if sheet else ""
    msg = f"{file} holds {count} slices; it must hold all {slices} of the stack{cut}"
    raise ConventionError(msg)


def _classes(values: np.ndarray, stated: int | None, count: int | None, path: Path) -> np.ndarray:
    """Return painted values as classes from 0, uint8, `UNLABELLED` where nothing is said."""
    found = np.unique(values)
    painted = found[found != UNLABELLED]
    if stated is None:
        stated = _recognised(found, path)
    first = 1 if stated == 0 else 0
    most = count if count is not None else MOST_CLASSES
    unknown = painted[(painted < 0) | (painted >= first + most)]
    if len(unknown):
        meaning = f"classes are {first} to {first + most - 1}"
        msg = (
            f"labels in {path} hold the unknown value {unknown[0]}; with {stated} for not "
            f"labelled, {meaning}"
        )
        raise ConventionError(msg)
    blank = (values == UNLABELLED) | (values == 0 if first else False)
    return np.where(blank, UNLABELLED, values - first).astype(np.uint8)


def _recognised(found: np.ndarray, path: Path) -> int:
    """Return the value of what is not painted, of labels that no sheet comes with."""
    if UNLABELLED in found or np.array_equal(found, [0, 1]):
        return UNLABELLED
    shown = ", ".join(map(str, found[:8].tolist()))
    msg = (
        f"labels in {path} hold the values {shown} and not {UNLABELLED}: state what is not "
        "labelled, unlabelled = 0 (napari, ilastik, Fiji: classes are 1, 2, …) or unlabelled = 255 "
        "(classes are 0, 1, …)"
    )
    raise ConventionError(msg)


def _count(classes: np.ndarray) -> int:
    """Return how many classes are painted, by the largest."""
    painted = classes[classes != UNLABELLED]
    return int(painted.max()) + 1 if len(painted) else 0


def _names(count: int) -> tuple[str, ...]:
    """Return names of classes that have been given none."""
    return ("pore", "solid") if count <= 2 else tuple(f"class_{k}" for k in range(count))
