"""Tables of depths or thicknesses: CSV with the unit in the name of the column."""

import csv
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, nan
from pathlib import Path

import numpy as np

from ...conventions import (
    MANY_THIN,
    THICKEST,
    THINNEST,
    ConventionError,
    FibdaskWarning,
    StackReadError,
    other_unit,
    thin_share,
)
from .headers import agree, nanometres, reason
from .names import choose, contradiction, read_columns
from .registry import SUFFIXES

_SLICE = re.compile(r"slice(?:[ _]?(?:number|index|no|#))?", re.IGNORECASE)
_COUNTING = re.compile(
    r"(?:slice|image|frame|file|section|plane|page)"
    r"|(?:(?:slice|image|frame|file|section|plane|page)[ _.-]*)?"
    r"(?:names?|path|number|num|no\.?|nr\.?|index|idx|id|#)",
    re.IGNORECASE,
)
_EXTENSION = re.compile(rf"(?:{'|'.join(map(re.escape, SUFFIXES))})(?![a-z0-9])", re.IGNORECASE)
_NUMBERED = re.compile(r"[^\W\d_]{2}.*\d")  # words, then a number: no length with its unit
_FOLDERS = re.compile(r".*[\\/]")
_LENGTH = re.compile(
    r"(?P<quantity>z|depth|dz|thickness|slice[ _]thickness)"
    r"(?:[ _]*[\[(]\s*(?P<in_brackets>[^\])]+?)\s*[\])]|[ _]+(?P<bare>\S+))?",
    re.IGNORECASE,
)
_DEPTHS = ("z", "depth")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?(nan|inf)", re.ASCII | re.IGNORECASE)
_SHOWN = 60  # characters of a cell that a message repeats
_LONGEST = 255  # characters of the name of a file


@dataclass(frozen=True)
class ZTable:
    """A z table.

    Attributes
    ----------
    path
        Where it was read.
    column
        Name of the column that was used.
    lines
        Line of the file that each row was in.
    slices
        Slice numbers; None if there is no such column.
    values
        Depths or thicknesses in nm.
    is_depth
        True for depths, False for thicknesses.
    """

    path: Path
    column: str
    lines: tuple[int, ...]
    slices: tuple[int, ...] | None
    values: np.ndarray
    is_depth: bool

    def place(self, k: int) -> str:
        """Name a row."""
        number = self.slices[k] if self.slices is not None else k
        return f"slice {number} (line {self.lines[k]} of {self.path})"


def read_z_table(path: Path) -> ZTable:
    """Read a CSV table with a column of depths (z) or thicknesses, and perhaps slice numbers.

    The columns are called `slice`, and `z` or `thickness` (or `dz`) with a unit, as in `z_um`,
    `z [nm]`, `thickness_nm`; nm without one. Where both are there, z is used. Rows are in the
    order of the slices; columns that count these otherwise, or name their files, must have it too.

    Raises
    ------
    StackReadError
        If it cannot be read, or if names or units are not known.
    ConventionError
        If depths do not increase, thicknesses are not > 0, or rows are not in order.

    Warns
    -----
    FibdaskWarning
        If thicknesses beside depths add up to something else.
    """
    rows = _read_rows(path)
    names = rows[0][1]
    _check_widths(path, names, rows[1:])
    column, factor, is_depth = _value_column(path, names)
    numbered = [(k, match) for k, name in enumerate(names) if (match := _SLICE.fullmatch(name))]
    counting = _only(path, names, numbered)[0] if numbered else None
    lines, slices, values = [], [], []
    for line, row in rows[1:]:
        lines.append(line)
        values.append(_number(path, line, names[column], row, column) * factor)
        if counting is not None:
            slices.append(_integer(path, line, names[counting], row, counting))
    table = ZTable(
        path,
        names[column],
        tuple(lines),
        tuple(slices) if counting is not None else None,
        np.round(values, 9),
        is_depth,
    )
    _check(table)
    for k in range(len(names)):
        _check_order(table, names[k], [row[k] if k < len(row) else "" for _, row in rows[1:]])
    if is_depth:
        _compare_thickness(table, names, rows[1:])
    return table


def check_steps(table: ZTable, nominal: float | None) -> None:
    """Look for a wrong unit, and for thicknesses that cannot be.

    Parameters
    ----------
    table
        The table.
    nominal
        Thickness of the slices in nm that the images tell; None if they do not.

    Raises
    ------
    ConventionError
        If the thickness of a slice is 300 times the median, or if the median differs from the
        nominal thickness by as much.

    Warns
    -----
    FibdaskWarning
        If, without a nominal thickness, the median is beyond 3000 nm; or if more than a tenth of
        the slices is at most 1 nm thick.
    """
    thickness = np.diff(table.values) if table.is_depth else table.values
    if not len(thickness):
        return
    median = float(np.median(thickness))
    thick = other_unit(thickness, median) & (thickness > median)
    if thick.any():
        k = int(np.argmax(thick))
        msg = (
            f"{table.column} must be in one unit; {table.place(k)} is {thickness[k]:g} nm thick, "
            f"{thickness[k] / median:.0f} times the median of {median:g} nm"
        )
        raise ConventionError(msg)
    if nominal is not None and other_unit(median, nominal):
        msg = (
            f"{table.column} of {table.path} has slices of {median:g} nm (median), the images say "
            f"{nominal:g} nm: the unit of the column seems wrong"
        )
        raise ConventionError(msg)
    if nominal is None and median >= THICKEST:
        text = (
            f"{table.column} of {table.path} has slices of {median:g} nm (median), far thicker "
            "than is milled: is the unit of the column right?"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=4)
    if (share := thin_share(thickness)) > MANY_THIN:
        first = table.place(int(np.argmax(thickness <= THINNEST)))
        text = (
            f"{table.column} of {table.path} has {share:.0%} of the slices at most "
            f"{THINNEST:g} nm thick, {first} the first: no milling is "
            "that fine; is the unit of the column right, are the values measured?"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=4)


def _read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return lines and cells of all rows that hold something; '#' begins a comment."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"the z table {path} cannot be read: {reason(error)}"
        raise StackReadError(msg) from error
    lines = [(k, line) for k, line in enumerate(text.splitlines(), start=1)]
    lines = [(k, line) for k, line in lines if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) < 2:
        msg = f"the z table {path} holds no rows; expected columns slice, z or thickness"
        raise StackReadError(msg)
    delimiter = next((mark for mark in ";\t" if mark in lines[0][1]), ",")
    return [(k, _cells(path, k, line, delimiter)) for k, line in lines]


def _cells(path: Path, k: int, line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, strict=True))]
    except csv.Error as error:
        msg = f"line {k} of the z table {path} cannot be read: {error}"
        raise StackReadError(msg) from error


def _check_widths(path: Path, names: list[str], rows: Sequence[tuple[int, list[str]]]) -> None:
    """Refuse rows with more cells than the header has: they may be the decimals after a comma.

    Separators at the end are none; but where a column is not known, a cell of it may be empty.
    """
    named = len(names)
    while named > 1 and not names[named - 1]:
        named -= 1
    known = all(_SLICE.fullmatch(name) or _LENGTH.fullmatch(name) for name in names[:named])
    for k, row in rows:
        if any(row[named:]) or (len(row) > len(names) and not known):
            msg = (
                f"a row of a z table must not have more cells than the header; line {k} of {path} "
                f"has {len(row)} ({_shortened(' | '.join(row))}), the header {named} "
                f"({_shortened(' | '.join(names))}): are there decimals after a comma?"
            )
            raise StackReadError(msg)


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _value_column(path: Path, names: Sequence[str]) -> tuple[int, float, bool]:
    """Choose the column of values: its place, its unit in nm, and whether it holds depths."""
    found = [(k, match) for k, name in enumerate(names) if (match := _LENGTH.fullmatch(name))]
    if not found:
        msg = (
            f"the z table {path} has the columns {_shortened(', '.join(names))}; "
            "expected z or thickness with a unit, such as z_um or thickness_nm"
        )
        raise StackReadError(msg)
    depths = [(k, match) for k, match in found if match["quantity"].casefold() in _DEPTHS]
    column, match = _only(path, names, depths or found)
    return column, _factor(path, names[column], match), bool(depths)


def _factor(path: Path, name: str, match: re.Match[str]) -> float:
    """Return the unit of a column in nm."""
    unit = match["in_brackets"] or match["bare"] or "nm"
    factor = nanometres(unit)
    if factor is None:
        msg = (
            f"the z table {path} has the unknown unit {_shortened(unit)!r} in the column "
            f"{_shortened(name)!r}; known are nm, um, mm, m, pm, angstrom"
        )
        raise StackReadError(msg)
    return factor


def _only(
    path: Path, names: Sequence[str], found: Sequence[tuple[int, re.Match[str]]]
) -> tuple[int, re.Match[str]]:
    """Return the one column of a kind."""
    if len(found) > 1:
        msg = (
            f"the z table {path} must have one column for slices, one for z and one for thickness; "
            f"it has {' and '.join(names[k] for k, _ in found)}"
        )
        raise StackReadError(msg)
    return found[0]


def _compare_thickness(
    table: ZTable, names: Sequence[str], rows: Sequence[tuple[int, list[str]]]
) -> None:
    """Warn where thicknesses beside depths add up to something else."""
    found = [(k, match) for k, name in enumerate(names) if (match := _LENGTH.fullmatch(name))]
    found = [(k, match) for k, match in found if match["quantity"].casefold() not in _DEPTHS]
    if not found:
        return
    column, match = _only(table.path, names, found)
    factor = _factor(table.path, names[column], match)
    thickness = [_number(table.path, k, names[column], row, column) * factor for k, row in rows]
    depth = float(table.values[-1] - table.values[0])
    totals = sum(thickness[:-1]), sum(thickness[1:])  # each is that of the slab below, or above
    if not any(agree(depth, total) for total in totals) and isfinite(sum(totals)):
        text = (
            f"{table.column} of {table.path} spans {depth:g} nm, the {names[column]} beside it "
            f"adds up to {totals[0]:g} nm; {table.column} is taken"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=5)


def _number(path: Path, line: int, name: str, row: list[str], column: int) -> float:
    text = row[column] if column < len(row) else ""
    if not text:
        return nan
    if not _NUMBER.fullmatch(text):
        hint = ": write the decimals after a point" if "," in text else ""
        msg = f"{name} must be a number; line {line} of {path} has {_shortened(text)!r}{hint}"
        raise StackReadError(msg)
    return float(text)


def _integer(path: Path, line: int, name: str, row: list[str], column: int) -> int:
    number = _number(path, line, name, row, column)
    if not number.is_integer():
        msg = f"{name} must be a whole number; line {line} of {path} has {row[column]!r}"
        raise StackReadError(msg)
    return int(number)


def _check(table: ZTable) -> None:
    name = table.column
    _refuse(table, ~np.isfinite(table.values), f"{name} must be finite")
    if table.is_depth:
        falling = np.append(False, np.diff(table.values) <= 0)
        _refuse(table, falling, f"{name} must be strictly increasing")
    else:
        _refuse(table, table.values <= 0, f"{name} must be > 0 nm")
    if table.slices is not None:
        falling = np.append(False, np.diff(table.slices) <= 0)
        _refuse(table, falling, "the slice numbers of a z table must be strictly increasing")


def _check_order(table: ZTable, name: str, cells: Sequence[str]) -> None:
    """Refuse a column that counts slices, or names their files, in another order than the rows.

    Beside slice numbers, which decide, other counts may be of anything.
    """
    if _SLICE.fullmatch(name) or _LENGTH.fullmatch(name):
        return
    numbers = _order(cells)
    if numbers is None:
        return
    named = all(_NUMBERED.search(cell) or _EXTENSION.search(cell) for cell in cells)
    counting = table.slices is None and (_COUNTING.fullmatch(name) or _is_count(cells))
    if not (named or counting):
        return
    k = next((k for k, (one, other) in enumerate(pairwise(numbers), 1) if other < one), None)
    if k is not None:
        above, found = (_shortened(cell) for cell in cells[k - 1 : k + 1])
        msg = (
            "the rows of a z table must be in the order of the slices; line "
            f"{table.lines[k]} of {table.path} has {found!r} after {above!r} in the column "
            f"{_shortened(name)!r}: sort the rows by its numbers, or take it away if they are in "
            "order"
        )
        raise ConventionError(msg)


def _is_count(cells: Sequence[str]) -> bool:
    """Tell whether cells are whole numbers of which each is there once, but not counted down."""
    if len(cells) < 3 or not all(cell.isdecimal() and len(cell) <= _LONGEST for cell in cells):
        return False
    numbers = [*map(int, cells)]
    return bool((np.diff(sorted(numbers)) == 1).all()) and numbers[::-1] != sorted(numbers)


def _order(cells: Sequence[str]) -> Sequence[float] | None:
    """Return numbers, or those that put names in order as they do images; None if none do."""
    if all(_NUMBER.fullmatch(cell) for cell in cells):
        return [float(cell) for cell in cells]
    if max(map(len, cells)) > _LONGEST:
        return None
    if len({found[0] if (found := _FOLDERS.match(cell)) else "" for cell in cells}) > 1:
        return None
    columns, odd = read_columns([_EXTENSION.sub("", _FOLDERS.sub("", cell)) for cell in cells])
    chosen = choose(columns)
    doubtful = chosen is None or chosen.kind == "decimal" or contradiction(chosen, columns)
    return None if odd is not None or chosen is None or doubtful else chosen.values


def _refuse(table: ZTable, wrong: np.ndarray, rule: str) -> None:
    if wrong.any():
        k = int(np.argmax(wrong))
        before = f" after {table.values[k - 1]:g} nm" if "increasing" in rule else ""
        msg = f"{rule}; {table.place(k)} has {table.values[k]:g} nm{before}"
        raise ConventionError(msg)
