"""Painted slices: what users have labelled in some slices of a stack, read, checked and sampled."""

from .painted import UNLABELLED, Painted, label_attributes
from .reading import read_painted
from .sheet import SHEET, CutSlice, Sheet, probed

__all__ = [
    "SHEET",
    "UNLABELLED",
    "CutSlice",
    "Painted",
    "Sheet",
    "label_attributes",
    "probed",
    "read_painted",
]
