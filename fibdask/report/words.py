"""Numbers in words."""

import numpy as np

_ROUNDING = 1e-9  # of the mean: a spread that is only rounding


def uniform(values: np.ndarray) -> bool:
    """Return whether finite values differ by no more than rounding."""
    return bool(np.nanstd(values) <= _ROUNDING * abs(np.nanmean(values)))


def known(value: float, style: str, unit: str = "") -> str:
    """Return a number in a style with its unit, or that it is not known."""
    return f"{value:{style}}{unit}" if np.isfinite(value) else "not known"


def mean_and_spread(values: np.ndarray, unit: str) -> str:
    """Return the mean of finite values ± their standard deviation, if it is not just rounding."""
    values = values[np.isfinite(values)]
    if not len(values):
        return "–"
    mean = f"{values.mean():.4g}"
    return f"{mean} {unit}" if uniform(values) else f"{mean} ± {values.std():.3g} {unit}"


def count(number: int, noun: str) -> str:
    """Return a number with a noun, in the plural where needed."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def memory(number: float) -> str:
    """Return bytes in words; nothing measured is a dash."""
    if not number:
        return "–"
    return f"{number / 2**30:.2f} GiB" if number >= 2**30 else f"{number / 2**20:.1f} MiB"
