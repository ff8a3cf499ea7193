"""A phase, what of it is counted along lines, and small lazy results of the counts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import xarray as xr

from ...blocks import reduce_blocks, revised
from ...conventions import (
    AXES,
    ConventionError,
    axis_spacing,
    check_choice,
    check_count,
    check_seed,
    require_phase,
)
from ..bootstrap import Bootstrap, unresampled
from ..chosen import CHOICES
from ..masks import Mask, Masked, masked
from ._functions import LineCounts, Segments

PairPhase = Literal["solid", "pore", "cross"]
BOUNDS = ("lower", "upper")
_MOST_LAG = 1_000_000  # voxels, more than any axis has: tables of lags are held in memory

Statistic = Callable[[Segments, np.ndarray], np.ndarray]
"""Values (replicate, …) of segments, for weights of the subvolumes (replicate, subvolume)."""


@dataclass(frozen=True)
class Quantity:
    """Something that is measured.

    Attributes
    ----------
    statistic
        How it follows from segments; its fields determine the result.
    template
        Array of any values, with the coordinates, name and attributes of the result.
    most
        Largest possible value; the smallest is 0.
    beyond
        What the statistic may lack because the volume ends, of every subvolume once; the upper
        end of the interval is raised by it.
    """

    statistic: Statistic
    template: xr.DataArray
    most: float = np.inf
    beyond: Statistic | None = None

    @property
    def resampling(self) -> tuple[Statistic, Statistic | None, float]:
        """What its interval follows from."""
        return self.statistic, self.beyond, self.most


@dataclass(frozen=True)
class Counting:
    """Counts along the lines of a phase, from which quantities follow."""

    volume: Masked
    lines: LineCounts

    @property
    def axes(self) -> list[str]:
        """Names of the counted axes."""
        return [AXES[axis] for axis in self.lines.axes]

    @cached_property
    def spacing(self) -> tuple[float, ...]:
        """Voxel sizes in nm along the counted axes; they must be regular."""
        return tuple(axis_spacing(self.volume.phase, axis) for axis in self.axes)

    def reduced(
        self,
        finish: Callable[[np.ndarray], np.ndarray],
        shape: tuple[int, ...],
        dtype: Any = np.float64,
    ) -> Any:
        """Count, lazily, and finish to a small array."""
        return reduce_blocks(
            self.lines,
            self.volume.inputs,
            grid=self.lines.columns,
            finish=finish,
            shape=shape,
            dtype=dtype,
        )

    def estimate(self, quantity: Quantity) -> xr.DataArray:
        """Return a quantity, lazy."""
        finish = partial(estimated, self.lines, quantity.statistic)
        return quantity.template.copy(data=self.reduced(finish, quantity.template.shape))

    def interval(self, quantity: Quantity, bootstrap: Bootstrap) -> xr.DataArray:
        """Return the confidence interval (bound, …) of a quantity, lazy."""
        template = quantity.template
        finish = partial(resampled, self.lines, *quantity.resampling, bootstrap)
        wide = template.expand_dims(bound=list(BOUNDS))
        attrs = template.attrs | {
            "long_name": f"confidence interval of the {template.attrs['long_name']}",
            "confidence": bootstrap.confidence,
        }
        interval = wide.copy(data=self.reduced(finish, wide.shape))
        return interval.assign_attrs(attrs).rename(f"{template.name}_interval")

    def measured(self, quantity: Quantity, bootstrap: Bootstrap | None) -> xr.DataArray:
        """Return a quantity, with its interval as coordinates `lower` and `upper` if wanted."""
        estimate = self.estimate(quantity)
        if bootstrap is None:
            return estimate
        ends = {}
        for place, bound in enumerate(BOUNDS):
            finish = partial(resampled_end, place, self.lines, *quantity.resampling, bootstrap)
            attrs = estimate.attrs | {"long_name": f"{bound} end of the confidence interval"}
            ends[bound] = (estimate.dims, self.reduced(finish, estimate.shape), attrs)
        return estimate.assign_coords(ends)


def count_lines(
    phase: xr.DataArray,
    *,
    max_lag: int,
    axes: Iterable[str] = AXES,
    of: str = "solid",
    mask: Mask = None,
    choices: tuple[str, ...] = CHOICES,
) -> Counting:
    """Check the arguments that statistics along lines share, and return what is counted.

    Raises
    ------
    ConventionError
        Naming the argument, its value and the rule.
    """
    axes = tuple(axes)
    if not axes or len(set(axes)) < len(axes) or not set(axes) <= set(AXES):
        msg = f"axes must be different ones of {', '.join(AXES)}; got {axes}"
        raise ConventionError(msg)
    check_choice("of", of, choices)
    volume = masked(require_phase(phase), mask)
    numbers = tuple(AXES.index(axis) for axis in axes)
    lag = check_count("max_lag", max_lag, least=0, most=_MOST_LAG, unit="voxels")
    lines = LineCounts(volume.shape, numbers, lag, of, volume.axes)
    return Counting(volume, lines)


def error_bars(confidence: float | None, seed: int) -> Bootstrap | None:
    """Return how error bars are made, or None for none."""
    return None if confidence is None else Bootstrap(confidence, check_seed(seed))


def estimated(lines: LineCounts, statistic: Statistic, counts: np.ndarray) -> np.ndarray:
    """Return a statistic of summed counts (group, count)."""
    segments = lines.segments(counts)
    return unresampled(partial(statistic, segments), segments.subvolumes)


@revised(2)
def resampled(
    lines: LineCounts,
    statistic: Statistic,
    beyond: Statistic | None,
    most: float,
    bootstrap: Bootstrap,
    counts: np.ndarray,
) -> np.ndarray:
    """Return the confidence interval (bound, …) of a statistic of summed counts."""
    segments = lines.segments(counts)
    ends = bootstrap.interval(partial(statistic, segments), segments.subvolumes, most)
    if beyond is not None:
        ends[1] += unresampled(partial(beyond, segments), segments.subvolumes)
    return ends


@revised(2)
def resampled_end(place: int, *arguments: Any) -> np.ndarray:
    """Return one end of `resampled`, by its place in `BOUNDS`."""
    return np.asarray(resampled(*arguments)[place])
