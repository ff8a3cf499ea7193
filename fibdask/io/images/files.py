"""Which files make a stack, in which order, and what their names tell."""

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from ...blocks import Access, is_address, remote_path
from ...conventions import ConventionError, StackReadError
from ..metadata import ome_files, ome_image
from .n5 import N5_ATTRIBUTES
from .names import Column, choose, contradiction, is_doubtful, other_count, read_columns
from .projects import project_images
from .registry import FORMATS, SUFFIXES, format_by_name, is_image, suffix_of

_SERIES = tuple(suffix for suffix, known in SUFFIXES.items() if known.series)
_LOSSY = {".jpg", ".jpeg"}

Paths = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Series:
    """The files of a stack, in order of depth.

    Attributes
    ----------
    files
        One for each slice, or a single one that holds them all.
    source
        What names them wherever it is read again: a folder, pattern, file or list, absolute.
    numbers
        Slice numbers in the names, increasing; None where the names number nothing.
    depths
        Depths in nm in the names (ATLAS 3D writes `z=1.0894um`); None where there are none.
    origin
        What put them in order.
    remarks
        What a person should know of it.
    reordered
        Where a list had another order; empty if it had this one.
    """

    files: tuple[Path, ...]
    source: str | tuple[str, ...]
    numbers: tuple[int, ...] | None = None
    depths: tuple[float, ...] | None = None
    origin: str = ""
    remarks: tuple[str, ...] = ()
    reordered: str = ""

    @property
    def folder(self) -> Path:
        """Folder of the first file."""
        return self.files[0].parent


def find_series(source: Paths, access: Access | None = None) -> Series:
    """Find the files of a folder, a glob pattern, a list, or a single file.

    In folders and patterns, hidden files and files that are no images are ignored.

    Raises
    ------
    StackReadError
        If there are none, if they are not one series in one format, or if numbers in their names
        contradict one another; a list then keeps its order.
    """
    files = _list_files(source, access)
    formats = sorted({format_by_name(file).name for file in files})
    if len(formats) > 1:
        msg = (
            f"{_name(source)} must hold one image format; found {' and '.join(formats)}: "
            f"give a pattern such as '{files[0].parent / '*'}{files[0].suffix}'"
        )
        raise StackReadError(msg)
    if len(files) == 1:
        return Series((files[0],), _absolute(source))
    if isinstance(source, str | Path):
        files.sort(key=lambda file: _natural(file.name))
    return _order(files, source)


def _remote_image(address: str, access: Access) -> Path:
    """Return a file on a server, or the one that describes an image of OME-Zarr or N5 there.

    Of a place, decoders ask what paths have as well.

    Raises
    ------
    StackReadError
        If there is none, or it is of a format that is not read from servers.
    """
    place = remote_path(address, access)
    known = SUFFIXES.get(suffix_of(place))
    file = cast("Path", place)
    if known and known.remote:
        if not place.is_file():
            msg = f"{address} does not exist"
            raise StackReadError(msg)
        return file
    if ome_image(place):
        return cast("Path", next(file for file in ome_files(place) if file.is_file()))
    if address.startswith("s3://") and (place / N5_ATTRIBUTES).is_file():
        return cast("Path", place / N5_ATTRIBUTES)
    in_parts = ", ".join(one.name for one in FORMATS if one.remote)
    msg = (
        f"{address} is no store of a stack, no image of OME-Zarr, no N5 on s3:// and no file of "
        f"{in_parts}, and others are not read from servers: download them, or "
        "import them where they lie and put the store there by `fibdask copy`"
    )
    raise StackReadError(msg)


def _name(source: Paths) -> str:
    return str(source) if isinstance(source, str | Path) else "the list of files"


def _refuse_pixels(source: Any) -> None:
    """Refuse arrays of numbers, or a list of such, in the place of files."""
    for given in (source, *(() if hasattr(source, "dtype") else source)):
        if np.dtype(getattr(given, "dtype", str)).kind in "biufc":
            msg = (
                f"images are read of files; got numbers, {type(given).__name__}: an array is made "
                "a stack by xarray.Dataset, or written as .npy and read of there"
            )
            raise ConventionError(msg)


def _list_files(source: Paths, access: Access | None) -> list[Path]:
    if isinstance(source, str) and is_address(source):
        return [_remote_image(source, access or Access())]
    if access is not None:
        msg = f"remote is of addresses, s3://… or https://…; got {_name(source)}"
        raise ConventionError(msg)
    if not isinstance(source, str | Path):
        _refuse_pixels(source)
        files = [Path(file) for file in source]
        lost = [file for file in files if not file.is_file()]
        if lost or not files:
            msg = f"{lost[0]} is not a file" if lost else "the list of files is empty"
            raise StackReadError(msg)
        return files
    path = Path(source)
    if ome_image(path):
        return [file for file in ome_files(path) if file.is_file()][:1]
    if (path / N5_ATTRIBUTES).is_file():
        return [path / N5_ATTRIBUTES]
    if path.is_dir():
        return _images_in(path)
    if path.is_file():
        return [path]
    if re.search(r"[*?\[]", str(source)) is None:
        msg = f"{source} does not exist"
        raise StackReadError(msg)
    anchor = Path(path.anchor or ".")
    matches = anchor.glob(str(path.relative_to(path.anchor)))
    files = [file for file in matches if file.is_file() and not file.name.startswith(".")]
    if not files:
        msg = f"no file matches {source}"
        if "[" in str(source):
            msg += "; characters in brackets stand for one of them, and [[] for a bracket"
        raise StackReadError(msg)
    return [file for file in files if is_image(file)] or files


def _images_in(folder: Path) -> list[Path]:
    visible = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    files = [entry for entry in visible if entry.is_file()]
    images = [file for file in files if suffix_of(file) in _SERIES]
    if images:
        return images
    below = project_images(folder, _SERIES)
    if len(below) == 1:
        return next(iter(below.values()))
    if below:
        msg = (
            f"{folder} is a project with {len(below)} series of images, of which one makes a "
            f"stack: give {' or '.join(below)}"
        )
        raise StackReadError(msg)
    others = ", ".join(sorted(entry.name for entry in visible)[:5])
    msg = (
        f"{folder} holds no images ({', '.join(_SERIES)}); "
        f"it holds {others or 'nothing'}{', …' if len(visible) > 5 else ''}{_instead(visible)}"
    )
    raise StackReadError(msg)


def _instead(entries: Sequence[Path]) -> str:
    """Say what to give in place of a folder without images, by what it holds."""
    kinds = {suffix_of(entry): entry for entry in sorted(entries, reverse=True)}
    if volumes := kinds.keys() & (SUFFIXES.keys() - _SERIES):
        return f": give a file, such as {kinds[min(volumes)]}"
    if kinds.keys() & _LOSSY:
        return ": JPEG has changed their grey values; save them as TIFF where they were recorded"
    if folder := next((entry for entry in sorted(entries) if entry.is_dir()), None):
        return f": give a folder of these, or a pattern such as '{folder.parent}/*/*.tif'"
    return ""


def _absolute(source: Paths) -> str | tuple[str, ...]:
    if isinstance(source, str | Path):
        path = Path(source)
        folder = Path.cwd() if path.exists() else Path(glob.escape(str(Path.cwd())))
        return str(folder / path)
    return tuple(str(Path(file).absolute()) for file in source)


def _order(files: list[Path], source: Paths) -> Series:
    """Sort files by what their names tell; a list may settle what they do not."""
    where, settled = _name(source), not isinstance(source, str | Path)
    columns, odd = read_columns([file.stem for file in files])
    if odd is not None and not columns:
        msg = (
            f"the names of files in {where} hold no number that counts slices, as in "
            f"{files[0].name} and {files[odd].name}; number them, or give one of them"
        )
        raise StackReadError(msg)
    if odd is not None:
        msg = (
            f"{where} holds more than one series: {files[0].name} and {files[odd].name}; "
            "give a pattern that matches one of them"
        )
        raise StackReadError(msg)
    chosen = choose(columns)
    doubt = _doubt(files, columns, chosen)
    if doubt and settled and len(set(files)) == len(files):
        remark = f"{doubt}; the order of the list is taken"
        return Series(
            tuple(files), _absolute(source), origin="the list of files", remarks=(remark,)
        )
    if doubt or chosen is None:
        msg = (
            f"the order of {where} is not clear: {doubt}. Give a pattern that matches one "
            "series, rename the files, or list them in order of depth (in Python)"
        )
        raise StackReadError(msg)
    order = chosen.order()
    reordered = _reordered(files, order) if settled else ""
    remarks = list(_remarks(columns, chosen, where))
    if settled and list(order[::-1]) == list(range(len(files))):
        remarks.append(f"{reordered}; {chosen.name} puts them upside down, and is taken")
    depths = next((column for column in columns if column.kind == "depth"), None)
    return Series(
        files=tuple(files[k] for k in order),
        source=_absolute(source),
        numbers=tuple(int(chosen.values[k]) for k in order) if chosen.kind == "number" else None,
        depths=tuple(depths.values[k] for k in order) if depths else None,
        origin=chosen.name,
        remarks=tuple(remarks),
        reordered=reordered,
    )


def _reordered(files: Sequence[Path], order: Sequence[int]) -> str:
    """Say which file of a list stands elsewhere in an order; empty if none does."""
    for place, k in enumerate(order):
        if k != place:
            return (
                f"in the list of files {files[place].name} is number {place + 1}, "
                f"by their names {files[k].name}"
            )
    return ""


def _natural(name: str) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _doubt(files: Sequence[Path], columns: Sequence[Column], chosen: Column | None) -> str:
    """Say why names give no order; empty if they do."""
    if chosen is None:
        return (
            "there is more than one series, or a slice twice, for no number that counts differs "
            f"in all names, as in {files[0].name} and {files[1].name}"
        )
    if chosen.kind == "decimal":
        return f"{chosen.name} has no unit"
    if against := contradiction(chosen, columns):
        name, before, after = against
        return (
            f"{chosen.name} puts {files[before].name} before {files[after].name}, "
            f"{name} puts it after"
        )
    return ""


def _remarks(columns: Sequence[Column], chosen: Column, where: str) -> Iterator[str]:
    """Say what of a reading may be otherwise."""
    if other := other_count(chosen, columns):
        yield (
            f"two numbers in the names of {where} may count slices; {chosen.name} is taken, "
            f"not {other.name}"
        )
    if is_doubtful(chosen):
        yield (
            f"{chosen.name} is taken for a time, which counts no slices: those of {where} follow "
            "one another without gaps. Write slice_ before numbers that count"
        )
