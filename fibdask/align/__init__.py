"""Images put right: registration within and between voltages, curtaining and brightness."""

from .brightness import equalize_brightness
from .curtaining import remove_curtaining
from .registration import estimate_shifts, measure_pairs, shift_measurements
from .shifts import apply_shifts
from .solving import solve_shifts

__all__ = [
    "apply_shifts",
    "equalize_brightness",
    "estimate_shifts",
    "measure_pairs",
    "remove_curtaining",
    "shift_measurements",
    "solve_shifts",
]
