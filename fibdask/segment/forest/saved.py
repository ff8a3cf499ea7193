"""Forests that are kept: nodes as plain arrays, and a card that says what they were grown on."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ...blocks import put_file
from ...conventions import VERSION, ConventionError, FibdaskWarning, axis_spacing
from ...pieces.validity import mean_thickness
from .trees import COLUMNS

CARD, NODES = "forest.json", "forest.npz"
_NEEDED = {"classes", "colours", "scales", "voltages", "pixel_size", "quantiles", "sha256"}
_USED_WITH = "used_with_sha256"
"""Key of a card: hash of what else on it the nodes are used with."""
_GROWN_WITH = ("classes", "scales", "voltages", "quantiles")
_SAME = 0.1  # relative, of pixels and voltages
_ALIKE = (0.7, 1.5)  # relative, thickness of slices that look alike above and below a pixel


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees, and what is known of them.

    Attributes
    ----------
    packed
        Nodes (tree, node, column), float64, of which `Trees` are made.
    card
        Names and colours of the classes, scales in nm, voltages in kV, pixel size (y, x) in nm,
        quantiles of grey values that are 0 and 1, and what they were grown on.
    """

    packed: np.ndarray
    card: Mapping[str, Any]

    @classmethod
    def load(cls, folder: str | Path) -> "Forest":
        """Read a forest from a folder.

        Raises
        ------
        ConventionError
            If there is none, or nodes and card do not match.
        """
        folder = Path(folder)
        try:
            card = json.loads((folder / CARD).read_text())
            content = (folder / NODES).read_bytes()
            missing = sorted(_NEEDED - card.keys())
        except (OSError, ValueError, AttributeError) as error:
            msg = f"a forest is a folder with {CARD} and {NODES}; {folder}: {error}"
            raise ConventionError(msg) from None
        if missing:
            msg = f"the card of a forest must say what it is used with; {folder / CARD} has no "
            raise ConventionError(msg + ", ".join(missing))
        if sha256(content).hexdigest() != card["sha256"]:
            msg = f"{folder / NODES} is not what {CARD} says of it; the forest is damaged"
            raise ConventionError(msg)
        with np.load(BytesIO(content), allow_pickle=False) as arrays:
            packed = arrays["nodes"]
        if packed.ndim != 3 or packed.shape[-1] != COLUMNS:
            msg = f"nodes must be (tree, node, {COLUMNS}); {folder / NODES} has {packed.shape}"
            raise ConventionError(msg)
        forest = cls(packed, card)
        forest._check_unchanged(folder)
        return forest

    def save(self, folder: str | Path) -> Path:
        """Write the forest into a folder, the card last, and return the folder.

        Raises
        ------
        ConventionError
            If the folder holds something other than this forest.
        """
        folder = Path(folder)
        held = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
        if held and not self._is_in(folder):
            msg = f"{folder} exists and holds something else than this forest; choose another one"
            raise ConventionError(msg)
        folder.mkdir(parents=True, exist_ok=True)
        buffer = BytesIO()
        np.savez_compressed(buffer, nodes=self.packed)
        content = buffer.getvalue()
        put_file(folder / NODES, content)
        card = dict(self.card) | {"sha256": sha256(content).hexdigest(), "version": VERSION}
        card[_USED_WITH] = self._used_with
        put_file(folder / CARD, (json.dumps(card, indent=1) + "\n").encode())
        return folder

    def _is_in(self, folder: Path) -> bool:
        try:
            other = Forest.load(folder)
        except (ConventionError, OSError):
            return False
        return np.array_equal(other.packed, self.packed)

    @property
    def _used_with(self) -> str:
        told = [self.card[key] for key in _GROWN_WITH]
        return sha256(json.dumps(told).encode()).hexdigest()

    def _check_unchanged(self, folder: Path) -> None:
        """Refuse a card that says something other than what the nodes were grown with."""
        if self.card.get(_USED_WITH) in (None, self._used_with):  # none of earlier versions
            return
        told = ", ".join(f"{key} {self.card[key]}" for key in _GROWN_WITH)
        msg = (
            f"{folder / CARD} was changed: it says {told}, and the forest was grown with "
            "something else; take the card that was written with it, or grow one"
        )
        raise ConventionError(msg)

    def check(self, stack: xr.Dataset) -> None:
        """Refuse a stack of other voltages or pixels than those that it was grown on.

        Raises
        ------
        ConventionError
            With both.

        Warns
        -----
        FibdaskWarning
            If the slices are much thinner or thicker.
        """
        spacing = [axis_spacing(stack, axis) for axis in ("y", "x")]
        for what, known, found in (
            ("voltages in kV", self.card["voltages"], stack["voltage"].values.tolist()),
            ("pixels along y and x in nm", self.card["pixel_size"], spacing),
        ):
            if len(known) != len(found) or not np.allclose(known, found, rtol=_SAME, atol=0):
                msg = (
                    f"the forest was grown on {what} of {known}; those of this stack are {found}: "
                    "paint some slices of it"
                )
                raise ConventionError(msg)
        grown, mean = self.card.get("thickness", np.nan), mean_thickness(stack)  # earlier: unknown
        if mean < _ALIKE[0] * grown or mean > _ALIKE[1] * grown:
            text = (
                f"the forest was grown on slices {grown:.4g} nm apart, those of this stack are "
                f"{mean:.4g}: what it knows of the slices above and below is of others; check the "
                "depths, or paint some slices of it"
            )
            warnings.warn(text, FibdaskWarning, stacklevel=4)
