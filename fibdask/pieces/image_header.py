"""What the header of a stack tells of its images, as it is written and as it is read.

How they are named, which number is of which slice, and what was added to grey values; and what
numbers in names of files mean.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import xarray as xr

from ..conventions import recorded_steps

DECIMAL = r"\d+(?:[.,]\d+)?"
DEPTH = rf"(?:z|depth)(?P<mark>[=_ ]?)(?P<value>-?{DECIMAL}) ?"
"""Of a name, before its unit."""
DIGITS = re.compile(r"\d+")
SETTINGS = re.compile(  # versions, bit depths, settings, positions
    r"(?<![a-z])(?:v\d+(?:\.\d+)*|ver(?:sion)?[-_. ]?\d+)"
    rf"|\d+[-_ ]?bits?(?![a-z])|{DECIMAL} ?(?:[pnuµμmc]m|[kM]?V|[pnuµμ]A)(?![a-z\d])"
    rf"|(?<![a-z])(?:[xy]=?|(?:f?wd|focus|mag|hv|eht|tilt)[=_ ]?)-?{DECIMAL}",
    re.IGNORECASE,
)
_COUNTS = re.compile(r"\[(\d+)\]")  # the number that counts, as the header tells a name
_MOVED = "reposition_slices"


@dataclass(frozen=True)
class ImageNames:
    """How the images of a stack are named, one a file.

    Attributes
    ----------
    first
        Name of the first one, with its extension.
    pattern
        Matches such names without their extension, each number as a group.
    counting, width
        Place of the number that counts slices among the numbers, and its digits.
    numbers
        Of the slices, increasing (z); empty where it is not known which slice has which.
    """

    first: str
    pattern: re.Pattern[str]
    counting: int
    width: int
    numbers: np.ndarray

    @classmethod
    def of(cls, stack: xr.Dataset) -> "ImageNames | None":
        """Return what the header of a stack tells; None if one file holds all, or none is told."""
        try:
            files = json.loads(stack.attrs["header"])["files"]
            first, last = (Path(files[name]).stem for name in ("first", "last"))
            count, told = int(files["count"]), str(files.get("from", ""))
            gaps = _gaps(files.get("missing", ""))
        except (KeyError, TypeError, ValueError):
            return None
        words = DIGITS.split(first)
        if count == 1 or len(words) == 1:
            return None
        text = r"(\d+)".join(map(re.escape, words))
        pattern = re.compile(rf"{text}(?!\d)", re.IGNORECASE)
        counting = _counting(told, pattern)
        ends = [match[counting + 1] for name in (first, last) if (match := pattern.fullmatch(name))]
        numbers = np.empty(0, np.int64)
        moved = any(step.get("step") == _MOVED for step in recorded_steps(stack))
        if counting >= 0 and len(ends) == 2 and not moved and count == stack.sizes["z"]:
            numbers = _between(gaps, int(ends[0]), int(ends[1]), count)
        return cls(files["first"], pattern, counting, len(ends[0]) if ends else 0, numbers)

    @property
    def spans(self) -> np.ndarray:
        """How many slices it is from each to the next, as numbers skip some where files are lost.

        All may skip as many.
        """
        steps = np.diff(self.numbers)
        spans: np.ndarray = steps / steps.min(initial=self.numbers[-1])
        return spans

    def match(self, name: str) -> re.Match[str] | None:
        """Return the match of a name that is one of an image, perhaps with words behind it.

        A number that begins a setting, as in gold_2kV, is none of an image.
        """
        match = self.pattern.match(name)
        settings = SETTINGS.finditer(name)
        if match is None or any(one.start() < match.end() < one.end() for one in settings):
            return None
        digits = match[self.counting + 1] if self.counting >= 0 else ""
        padded = not digits or digits == f"{int(digits):0{self.width}}"
        return match if padded else None


def number_of(text: str) -> float:
    """Return a `DECIMAL` as a number, whose point may be a comma."""
    return float(text.replace(",", "."))


def missing_numbers(numbers: Sequence[int]) -> str:
    """Write the numbers that a series skips: "3, 7-9"; empty if it skips none."""
    skipped = []
    for before, after in pairwise(numbers):
        if after - before == 2:
            skipped.append(str(before + 1))
        elif after - before > 2:
            skipped.append(f"{before + 1}-{after - 1}")
    return ", ".join(skipped)


def _gaps(missing: str) -> list[tuple[int, int]]:
    """Return the first and the last number of each part of `missing_numbers`."""
    ends = [part.split("-") for part in missing.split(", ") if part]
    return [(int(end[0]), int(end[-1])) for end in ends]


def _between(gaps: Sequence[tuple[int, int]], first: int, last: int, count: int) -> np.ndarray:
    """Return the numbers from first to last that lie in no gap; none if they are not so many.

    Gaps may be wide, as between times.
    """
    begins = [first, *(end + 1 for _, end in gaps)]
    ends = [*(begin for begin, _ in gaps), last + 1]
    if sum(ends) - sum(begins) != count or any(map(int.__gt__, begins, ends)):
        return np.empty(0, np.int64)
    return np.concatenate([np.arange(*part) for part in zip(begins, ends, strict=True)])


def place_in_names(kind: str, place: str) -> str:
    """Write which part of names puts images in order, such as "the number in slice_[001]"."""
    return f"the {kind} in {place}"


def _counting(told: str, pattern: re.Pattern[str]) -> int:
    """Return the place of the number that counts, among those of a name; -1 if none does."""
    number = place_in_names("number", "")
    told = told.removeprefix(number) if told.startswith(number) else ""
    for found in _COUNTS.finditer(told):
        before = told[: found.start()]
        if pattern.fullmatch(before + found[1] + told[found.end() :]):
            return len(DIGITS.findall(before))
    return -1


def intensity_origin(kind: str, added: int) -> str:
    """Write which type grey values were read of, and what was added: "int16 + 32768"."""
    return f"{kind} + {added}" if added else kind


def intensity_shift(stack: xr.Dataset) -> tuple[str, int] | None:
    """Return the type that grey values were read of, and what was added; None if nothing was."""
    try:
        kind, added = json.loads(stack.attrs["header"])["intensity"]["from"].split(" + ")
        return kind, int(added)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
