"""The sheet beside painted slices: what was cut of which stack, and what painted values mean."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ...blocks import put_file, tell
from ...conventions import ConventionError, axis_spacing
from .painted import COLOURS, MOST_CLASSES, UNLABELLED

SHEET = "labels.json"
_PROBES = 8  # along y and along x
_SAME_PIXEL = 1e-3  # relative
_ALIKE = 0.9  # least correlation of grey values with those of the slice that was painted


@dataclass(frozen=True)
class CutSlice:
    """A slice that was cut to be painted.

    Attributes
    ----------
    slice
        Its number in the stack.
    z
        Its depth in nm.
    how
        It was chosen.
    probes
        Grey values of each voltage at evenly spaced pixels, which tell another stack.
    """

    slice: int
    z: float
    how: str
    probes: list[list[float]]


@dataclass(frozen=True)
class Sheet:
    """What was cut of a stack, and what painted values mean.

    Attributes
    ----------
    stack
        Name of the stack.
    shape
        Of its images (z, y, x).
    pixel_size
        Along y and x in nm.
    unlabelled
        Value of what is not painted: 0, then classes are painted as 1, 2, …; or 255, then as
        0, 1, …. 255 is never a class.
    classes, colours
        Names and colours ("#rrggbb") of the classes, in the order of their values.
    slices
        That were cut.
    """

    stack: str
    shape: tuple[int, int, int]
    pixel_size: tuple[float, float]
    unlabelled: int
    classes: tuple[str, ...]
    colours: tuple[str, ...]
    slices: tuple[CutSlice, ...]

    @classmethod
    def of(
        cls,
        stack: xr.Dataset,
        name: str,
        classes: Sequence[str] = ("pore", "solid"),
        first: int = 1,
    ) -> "Sheet":
        """Return the sheet of a stack, of which nothing is cut yet; `first` is class 0."""
        return cls(
            name,
            (stack.sizes["z"], stack.sizes["y"], stack.sizes["x"]),
            (axis_spacing(stack, "y"), axis_spacing(stack, "x")),
            0 if first else UNLABELLED,
            tuple(classes),
            default_colours(len(classes)),
            (),
        )

    @classmethod
    def read(cls, folder: Path) -> "Sheet":
        """Read the sheet of a folder.

        Raises
        ------
        ConventionError
            If it is none, or says what cannot be.
        """
        path = folder / SHEET
        try:
            given = json.loads(path.read_text())
            given["slices"] = tuple(CutSlice(**one) for one in given["slices"])
            for name in ("shape", "pixel_size", "classes", "colours"):
                given[name] = tuple(given[name])
            sheet = cls(**given)
        except (OSError, ValueError, TypeError, KeyError) as error:
            msg = f"{path} is no sheet of painted slices, as `fibdask labels` writes it: {error}"
            raise ConventionError(msg) from None
        return sheet.checked(path)

    def write(self, folder: Path) -> None:
        """Write it into a folder."""
        put_file(folder / SHEET, (json.dumps(asdict(self), indent=1) + "\n").encode())

    def checked(self, path: Path) -> "Sheet":
        """Return this, which must say what can be.

        Raises
        ------
        ConventionError
            Naming what cannot.
        """
        check_unlabelled(self.unlabelled, f"{path}: ")
        if not all(name.strip() for name in self.classes):
            msg = (
                f"{path}: each class must have a name; got {list(self.classes)}: is there a comma "
                "too many?"
            )
            raise ConventionError(msg)
        if not 2 <= len(self.classes) <= MOST_CLASSES or len(set(self.classes)) < len(self.classes):
            msg = (
                f"{path}: classes must be 2 to {MOST_CLASSES} different names; got "
                f"{list(self.classes)}"
            )
            raise ConventionError(msg)
        if len(self.classes) == 2 and (self.classes[0] == "solid" or self.classes[1] == "pore"):
            msg = (
                f"{path}: of two classes the first is the pore and the second the solid; got "
                f"{list(self.classes)}: swap the names, and both values in slices that are painted"
            )
            raise ConventionError(msg)
        if len(self.colours) != len(self.classes):
            msg = (
                f"{path}: each of the {len(self.classes)} classes needs a colour; got "
                f"{list(self.colours)}"
            )
            raise ConventionError(msg)
        return self

    def check_stack(self, stack: xr.Dataset, path: Path) -> None:
        """Refuse a stack of other images than those that were cut.

        Raises
        ------
        ConventionError
            With what differs.
        """
        other = Sheet.of(stack, "")
        for what, cut, here in (
            ("slices, rows and columns", self.shape, other.shape),
            ("pixels in nm", self.pixel_size, other.pixel_size),
        ):
            if not np.allclose(cut, here, rtol=_SAME_PIXEL, atol=0, equal_nan=True):
                msg = (
                    f"{path} was cut of another stack, {self.stack}: {what} are {list(cut)}, those "
                    f"of this stack {list(here)}"
                )
                raise ConventionError(msg)

    def probes(self, slices: np.ndarray, voltages: int, path: Path) -> np.ndarray:
        """Return the probes (slice, voltage, probe) of some slices; NaN of those not cut."""
        known: dict[int, Any] = {one.slice: one.probes for one in self.slices}
        found = np.full((len(slices), voltages, _PROBES**2), np.nan)
        for row, number in zip(found, slices, strict=True):
            if (probes := known.get(int(number))) is None:
                continue
            if np.shape(probes) != row.shape:
                msg = (
                    f"{path} was cut of a stack of {len(probes)} voltages; this one has {voltages}"
                )
                raise ConventionError(msg)
            row[:] = probes
        return found


def probed(images: np.ndarray) -> np.ndarray:
    """Return the grey values of images (voltage, y, x) at evenly spaced pixels (voltage, probe)."""
    y, x = ((2 * np.arange(_PROBES) + 1) * n // (2 * _PROBES) for n in images.shape[1:])
    return images[:, y[:, np.newaxis], x].reshape(len(images), -1).astype(np.float64)


def check_probes(images: np.ndarray, probes: np.ndarray, number: int) -> None:
    """Refuse images of a slice that is not the one that was painted.

    Parameters
    ----------
    images
        Of the slice (voltage, y, x).
    probes
        Grey values of the one that was painted (voltage, probe); NaN or none if not known.
    number
        Of the slice.

    Raises
    ------
    ConventionError
        If they do not look alike.

    Warns
    -----
    FibdaskWarning
        If they do, and have other grey values.
    """
    if not probes.size or np.isnan(probes).any():
        return
    found = probed(images)
    if np.array_equal(found, probes):
        return
    alike = min(
        float(np.corrcoef(a, b)[0, 1]) if a.std() and b.std() else 0.0
        for a, b in zip(found, probes, strict=True)
    )
    if not alike >= _ALIKE:
        msg = (
            f"these labels are of another stack: grey values of slice {number} do not go with "
            f"those of the slice that was cut to be painted (correlation {alike:.2f}; the same "
            f"images have at least {_ALIKE:g}): cut the slices from the stack that is segmented, "
            "aligned as that is"
        )
        raise ConventionError(msg)
    tell(
        f"slice {number} has other grey values than when it was cut to be painted, and looks alike "
        f"(correlation {alike:.2f}): its labels are taken to lie where they were painted"
    )


def default_colours(count: int) -> tuple[str, ...]:
    """Return colours of classes."""
    return tuple(COLOURS[k % len(COLOURS)] for k in range(count))


def check_unlabelled(value: object, where: str = "") -> None:
    """Refuse another value of what is not painted than 0 and 255.

    Raises
    ------
    ConventionError
        With the value.
    """
    if value not in (0, UNLABELLED):
        msg = f"{where}unlabelled must be 0 or {UNLABELLED}; got {value!r}"
        raise ConventionError(msg)
