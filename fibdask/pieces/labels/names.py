"""Which slice of a stack a painted file is of, as its name tells."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...conventions import ConventionError
from ..image_header import DEPTH, DIGITS, SETTINGS, ImageNames, number_of

_DEPTH = re.compile(
    rf"(?:(?<![a-z])|(?-i:(?<=[a-z])(?=[ZD]))){DEPTH}(?P<unit>[nuµμ])m", re.IGNORECASE
)
_NUMBER = re.compile(r"slice[-_ ]?(\d+)", re.IGNORECASE)
_CUT = re.compile(r"slice_(\d{4,})")  # as `fibdask labels` writes it
_NEAR = 0.01  # of the distance of slices, within which a depth is that of a slice


@dataclass(frozen=True)
class Place:
    """Which slices a stack has, so that names of files find them.

    Attributes
    ----------
    z
        Depth of the slices in nm (z).
    images
        How their images are named; None if that is not known.
    cut
        Numbers of those that were cut, as the sheet of the folder says; none without a sheet.
    """

    z: np.ndarray
    images: ImageNames | None
    cut: Collection[int] = ()

    def of(self, file: Path) -> tuple[int, str]:
        """Return the number of the slice of a file, and what may be otherwise; empty if nothing.

        Raises
        ------
        ConventionError
            If the stack has no such slice, or it cannot be known.
        """
        name = file.stem
        as_cut = _CUT.match(name)
        if as_cut and int(as_cut[1]) in self.cut:
            return int(as_cut[1]), ""
        own = self.images.match(name) if self.images else None
        if self.images and own and len(self.images.numbers):
            return self._named(file, own, self.images)
        if depth := _DEPTH.search(name):
            return self._at(depth, name), ""
        if self.images and own:
            msg = (
                f"{file.name} is named as the images of the stack, {self.images.first} and so on, "
                "of which it is not known which slice has which number: name it by its depth "
                "(paint_z40nm), or by the number of the slice, from 0, and another word "
                "(paint_0004)"
            )
            raise ConventionError(msg)
        return self._numbered(name)

    def _named(self, file: Path, own: re.Match[str], images: ImageNames) -> tuple[int, str]:
        """Return the slice whose image a name begins with, and what else it may be."""
        name, number = file.name, int(own[images.counting + 1])
        found = int(np.searchsorted(images.numbers, number))
        if number not in images.numbers:
            msg = (
                f"{name} is named as the images of the stack, of which none has the number "
                f"{number}: they begin with {images.first}, number {images.numbers[0]}, and end "
                f"with number {images.numbers[-1]}"
            )
            raise ConventionError(msg)
        rest = file.stem[own.end() :]
        if rest[:1].isalpha():
            return found, (
                f"{name} is taken for image {number}, slice {found} of the stack, counted from 0: "
                f"if {own[images.counting + 1]}{rest} is no number of an image, name it by its "
                "slice, such as paint_0004"
            )
        behind = DIGITS.findall(SETTINGS.sub("", rest))
        others = [int(digits) for digits in behind if found != int(digits) < len(self.z)]
        if others:
            return found, (
                f"{name} is taken for image {number}, slice {found} of the stack, counted from 0: "
                f"if the {others[-1]} behind it is that of the slice, name it paint_{others[-1]:04}"
            )
        if found == number or not _CUT.match(name):
            return found, ""
        meant = f"name it paint_{number:04} if it is slice {number}, counted from 0"
        if self.cut:
            msg = (
                f"{name} may be the image of this number, slice {found} of the stack, or slice "
                f"{number}, which was not cut: {meant}, or else paint_{found:04}"
            )
            raise ConventionError(msg)
        return found, (
            f"{name} is taken for the image of this number, slice {found} of the stack, counted "
            f"from 0: if it is slice {number}, as `fibdask labels` names those that it cuts, give "
            f"the folder with their labels.json, or {meant}"
        )

    def _numbered(self, name: str) -> tuple[int, str]:
        """Return the slice whose number, from 0, is in a name."""
        found = _NUMBER.search(name)
        digits = [found[1]] if found else DIGITS.findall(SETTINGS.sub("", name))
        if len(self.z) == 1 and not digits:
            return 0, ""
        if not digits:
            msg = (
                f"the name of a painted slice must hold its number, such as slice_0047.tif; got "
                f"{name}"
            )
            raise ConventionError(msg)
        number = int(digits[-1])
        if number >= len(self.z):
            msg = (
                f"{name} is painted for slice {number}; the stack has slices 0 to {len(self.z) - 1}"
            )
            raise ConventionError(msg)
        numbers: Sequence[int] | np.ndarray = self.images.numbers if self.images else ()
        told = number in self.cut or not len(numbers) or numbers[number] == number
        if told or self.images is None:
            return number, ""
        return number, (
            f"{name} is taken for slice {number} of the stack, counted from 0, whose image has the "
            f"number {numbers[number]}: if image {number} is painted, name it as that, like "
            f"{self.images.first}"
        )

    def _at(self, told: re.Match[str], name: str) -> int:
        """Return the slice at the depth in a name; a dash is no minus in a stack from 0 on."""
        depth = number_of(told["value"]) * (1 if told["unit"] in "nN" else 1e3)
        if told["mark"] != "=" and self.z[0] >= 0:
            depth = abs(depth)
        nearest = int(np.argmin(np.abs(self.z - depth)))
        distance = float(np.diff(self.z).mean()) if len(self.z) > 1 else 1.0
        if abs(self.z[nearest] - depth) > _NEAR * distance:
            msg = (
                f"{name} is painted at a depth of {depth:g} nm; the nearest slice, {nearest}, lies "
                f"at {self.z[nearest]:g} nm"
            )
            raise ConventionError(msg)
        return nearest
