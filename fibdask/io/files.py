"""Which files make a stack, in which order, and what their names tell."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ..conventions import StackReadError
from .headers import nanometres

SLICE_FORMATS = {
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".png": "PNG",
    ".bmp": "BMP",
    ".dat": "Janelia .dat",
}
VOLUME_FORMATS = {
    ".npy": ".npy",
    ".mrc": "MRC",
    ".rec": "MRC",
    ".h5": "HDF5",
    ".hdf5": "HDF5",
    ".hdf": "HDF5",
}
_DEPTH = re.compile(r"[_\- ]?z=(-?\d+(?:\.\d+)?)([a-zµμ]+)", re.IGNORECASE)
_TIME = re.compile(r"\d{2,4}-\d{2}-\d{2}[_T -]\d{2}-?\d{2}-?\d{2}(?!\d)")

Paths = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Series:
    """The files of a stack, in order of depth.

    Attributes
    ----------
    files
        One for each slice, or a single one that holds them all.
    numbers
        Slice numbers in the names, increasing; None where the names number nothing.
    depths
        Depths in nm in the names (ATLAS 3D writes `z=1.0894um`); None where there are none.
    """

    files: tuple[Path, ...]
    numbers: tuple[int, ...] | None = None
    depths: tuple[float, ...] | None = None

    @property
    def folder(self) -> Path:
        """Folder of the first file."""
        return self.files[0].parent


def find_series(source: Paths) -> Series:
    """Find the files of a folder, a glob pattern, a list, or a single file.

    In folders and patterns, hidden files and files that are no images are ignored.

    Raises
    ------
    StackReadError
        If there are none, or if they are not one series in one format.
    """
    files = _list_files(source)
    formats = sorted({format_of(file) for file in files})
    if len(formats) > 1:
        msg = (
            f"{_name(source)} must hold one image format; found {' and '.join(formats)}: "
            "give a pattern such as '*.tif'"
        )
        raise StackReadError(msg)
    if len(files) == 1:
        return Series((files[0],))
    return _order(files, _name(source))


def format_of(file: Path) -> str:
    """Return the name of a file's format by its extension.

    Raises
    ------
    StackReadError
        If it is none that can be read.
    """
    known = SLICE_FORMATS | VOLUME_FORMATS
    extension = file.suffix.casefold()
    if extension not in known:
        msg = f"{file} has the extension {extension or '(none)'}; readable are {', '.join(known)}"
        raise StackReadError(msg)
    return known[extension]


def _name(source: Paths) -> str:
    return str(source) if isinstance(source, str | Path) else "the list of files"


def _list_files(source: Paths) -> list[Path]:
    if not isinstance(source, str | Path):
        files = [Path(file) for file in source]
        lost = [file for file in files if not file.is_file()]
        if lost or not files:
            msg = f"{lost[0]} is not a file" if lost else "the list of files is empty"
            raise StackReadError(msg)
        return files
    path = Path(source)
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
        raise StackReadError(msg)
    known = SLICE_FORMATS | VOLUME_FORMATS
    return [file for file in files if file.suffix.casefold() in known] or files


def _images_in(folder: Path) -> list[Path]:
    visible = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    files = [entry for entry in visible if entry.is_file()]
    images = [file for file in files if file.suffix.casefold() in SLICE_FORMATS]
    if images:
        return images
    others = ", ".join(sorted(entry.name for entry in visible)[:5])
    msg = (
        f"{folder} holds no images ({', '.join(SLICE_FORMATS)}); "
        f"it holds {others or 'nothing'}{', …' if len(visible) > 5 else ''}"
    )
    raise StackReadError(msg)


def _order(files: list[Path], where: str) -> Series:
    """Sort files by the number in their names that counts slices."""
    files = sorted(files, key=lambda file: _natural(file.name))
    plain = [_TIME.sub("", _DEPTH.sub("", file.stem)) for file in files]
    words = [re.sub(r"\d+", "#", name) for name in plain]
    for file, word in zip(files, words, strict=True):
        if word != words[0]:
            msg = (
                f"{where} holds more than one series: {files[0].name} and {file.name}; "
                "give a pattern that matches one of them"
            )
            raise StackReadError(msg)
    counted = _counting([[int(digits) for digits in re.findall(r"\d+", name)] for name in plain])
    if counted is None:
        if len(set(plain)) > 1 or len({file.name for file in files}) < len(files):
            _refuse_repeats(files, where)
        return Series(tuple(files), None, _depths(files))
    order = sorted(range(len(files)), key=counted.__getitem__)
    files = [files[i] for i in order]
    return Series(tuple(files), tuple(counted[i] for i in order), _depths(files))


def _natural(name: str) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _counting(rows: list[list[int]]) -> list[int] | None:
    """Choose the number that differs in every name; of several, the one that skips least."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    distinct = [column for column in columns if len(set(column)) == len(rows)]
    return min(distinct, key=lambda column: max(column) - min(column), default=None)


def _refuse_repeats(files: list[Path], where: str) -> None:
    msg = (
        f"{where} holds more than one series, or a slice twice: no number in the names differs "
        f"in all of them, as in {files[0].name} and {files[1].name}"
    )
    raise StackReadError(msg)


def _depths(files: list[Path]) -> tuple[float, ...] | None:
    """Read depths in nm from the names, if every name has one."""
    depths = []
    for file in files:
        match = _DEPTH.search(file.stem)
        factor = nanometres(match[2]) if match else None
        if match is None or factor is None:
            return None
        depths.append(round(float(match[1]) * factor, 6))
    return tuple(depths)


def missing_numbers(numbers: Sequence[int]) -> str:
    """Write the numbers that a series skips: "3, 7-9"; empty if it skips none."""
    skipped = []
    for before, after in pairwise(numbers):
        if after - before == 2:
            skipped.append(str(before + 1))
        elif after - before > 2:
            skipped.append(f"{before + 1}-{after - 1}")
    return ", ".join(skipped)
