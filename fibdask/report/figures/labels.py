"""Figures about painted slices."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from .plots import ACCENT, INK, constrained, plot_axes


def learning_trace(misplaced: xr.DataArray, figure: Figure | None = None) -> Figure:
    """Plot errors in % (learnt, judged) of each slice and their mean by what was learnt from."""
    figure = constrained(figure, 9.6, 3.4)
    name = "painted slices that were learnt from"
    axes = plot_axes(figure, figure.add_gridspec(1, 1)[0], name, "misplaced pixels (%)")
    counts, values = misplaced["learnt"].values, misplaced.values
    dots: dict[str, Any] = {
        "color": ACCENT,
        "markersize": 4,
        "alpha": 0.4,
        "linestyle": "none",
        "marker": "o",
    }
    axes.plot(counts, values, **dots)
    axes.plot([], [], **dots, label="each painted slice")
    mean = misplaced.mean("judged")  # NaN where none could learn
    axes.plot(counts, mean, "o-", color=INK, linewidth=1.6, markersize=4, label="mean")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator([*counts]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_ylim(0, 1.1 * float(np.nanmax(values)) or 1.0)
    axes.legend(frameon=False, fontsize=8, loc="upper right")
    return figure
