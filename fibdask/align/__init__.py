"""Images put right: registration within and between voltages, curtaining and brightness."""

from .brightness import equalize_brightness
from .curtaining import remove_curtaining
from .registration import MOST_NEIGHBOURS, estimate_shifts, measure_pairs
from .shifts import apply_shifts
from .solving import solve_shifts
from .uncertainty import PARTS

__all__ = [
    "MOST_NEIGHBOURS",
    "PARTS",
    "apply_shifts",
    "equalize_brightness",
    "estimate_shifts",
    "measure_pairs",
    "remove_curtaining",
    "solve_shifts",
]
