"""Numbers in words."""

import numpy as np

from ..blocks import format_bytes

_ROUNDING = 9  # digits after the point, of shares and of lengths in nm: what is less is rounding


def number(value: float, style: str, unit: str = "") -> str:
    """Return a number; one that is only rounding is 0, one that is not known is named so."""
    if not np.isfinite(value):
        return "not known"
    return f"{round(float(value), _ROUNDING) + 0.0:{style}}{unit}"  # + 0.0: of -0 it makes 0


def with_error(value: float, error: float | None) -> str:
    """Return a share ± how far it may be off at most, if that is known."""
    told = number(value, ".4g")
    return told if error is None else f"{told} ± {number(error, '.2g')}"


def percent(share: float, style: str) -> str:
    """Return a share in percent; `style` is that of Python, such as .1%."""
    return f"{share:{style}}".replace("%", " %")


def uniform(values: np.ndarray) -> bool:
    """Return whether finite values differ by no more than rounding."""
    return bool(np.nanstd(values) <= 10.0**-_ROUNDING * max(abs(np.nanmean(values)), 1))


def mean_and_spread(values: np.ndarray, unit: str) -> str:
    """Return the mean of finite values ± their standard deviation, if it is not just rounding."""
    values = values[np.isfinite(values)]
    if not len(values):
        return "–"
    mean = number(values.mean(), ".4g")
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
    return format_bytes(number) if number else "–"
