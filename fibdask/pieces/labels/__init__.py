"""Painted slices: what users have labelled in some slices of a stack, read, checked and sampled."""

from .doubt import most_gained
from .painted import APART, UNLABELLED, Painted, label_attributes
from .reading import read_painted
from .sheet import SHEET, CutSlice, Sheet, check_probes, probed

__all__ = [
    "APART",
    "SHEET",
    "UNLABELLED",
    "CutSlice",
    "Painted",
    "Sheet",
    "check_probes",
    "label_attributes",
    "most_gained",
    "probed",
    "read_painted",
]
