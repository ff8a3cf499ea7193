"""Figures that show how a network has learnt, and what it says."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .plots import ACCENT, INK, plot_axes

_MEAN_OF = 50  # steps
_COLUMNS = 5  # of pictures in a row


def loss_curve(losses: np.ndarray, looks: Mapping[int, float]) -> Figure:
    """Plot the loss of each step, its mean over some of them, and that on unseen data by step."""
    figure = Figure(figsize=(9.6, 3.2), layout="constrained")
    axes = plot_axes(figure, figure.add_gridspec(1, 1)[0], "step", "loss")
    steps = np.arange(1, len(losses) + 1)
    axes.plot(steps, losses, color=ACCENT, linewidth=0.6, alpha=0.4, label="each step")
    width = min(_MEAN_OF, len(losses))
    mean = np.convolve(losses, np.full(width, 1 / width), "valid")
    axes.plot(steps[width - 1 :], mean, color=ACCENT, linewidth=1.6, label=f"mean of {width}")
    if looks:
        axes.plot([*looks], [*looks.values()], "o-", color=INK, ms=3, lw=1, label="unseen data")
    axes.set(xlim=(0, len(losses) + 1), ylim=(0, 1.05 * float(losses.max())))
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    return figure


def picture_row(pictures: Sequence[tuple[str, np.ndarray]]) -> Figure:
    """Show titled pictures (y, x), of which 0 is black and 1 is white."""
    rows, columns = -(-len(pictures) // _COLUMNS), min(len(pictures), _COLUMNS)
    height, width = pictures[0][1].shape
    size = 9.6, 9.6 / _COLUMNS * rows * (height / width) + 0.3 * rows
    figure = Figure(figsize=(size[0] * columns / _COLUMNS, size[1]), layout="constrained")
    scale: dict[str, Any] = {"cmap": "gray", "vmin": 0.0, "vmax": 1.0}
    for number, (title, picture) in enumerate(pictures):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.imshow(picture, interpolation="nearest", **scale)
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=9, color=INK)
    return figure
