"""Images put right: registration within and between voltages, curtaining and brightness."""

from ._functions_brightness import EachApart, TileCounts
from ._kernels.brightness import GREY_BINS, GREY_BITS, relative_grey
from .brightness import equalize_brightness
from .curtaining import remove_curtaining
from .registration import estimate_shifts, measure_pairs, shift_measurements
from .shifts import apply_shifts
from .solving import solve_shifts

__all__ = [
    "GREY_BINS",
    "GREY_BITS",
    "EachApart",
    "TileCounts",
    "apply_shifts",
    "equalize_brightness",
    "estimate_shifts",
    "measure_pairs",
    "relative_grey",
    "remove_curtaining",
    "shift_measurements",
    "solve_shifts",
]
