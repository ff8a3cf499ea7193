"""Maps of layered samples."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from .plots import INK, draw_scale_bar

_COLUMN = 4.6  # inches


def layer_maps(sample: xr.Dataset) -> Figure:
    """Show the thickness of each layer, and below it its standard error if it is known.

    Parameters
    ----------
    sample
        `thickness` and perhaps `thickness_error` (layer, y, x) in nm, in memory.
    """
    rows = [name for name in ("thickness", "thickness_error") if name in sample]
    layers = [str(layer) for layer in sample["layer"].values]
    height, width = (float(np.ptp(sample[axis].values)) or 1.0 for axis in ("y", "x"))
    tall = _COLUMN * min(height / width, 1.5) * len(rows)
    figure = Figure(figsize=(_COLUMN * len(layers), tall + 0.4), layout="constrained")
    grid = figure.subplots(len(rows), len(layers), squeeze=False)
    for row, name in zip(grid, rows, strict=True):
        for axes, layer, values in zip(row, layers, sample[name].values, strict=True):
            top = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
            image = axes.imshow(
                values,
                extent=(0, width, height, 0),
                vmin=0,
                vmax=top or 1.0,
                cmap="viridis" if name == "thickness" else "magma",
                interpolation="nearest",
            )
            axes.set(xticks=[], yticks=[])
            title = layer if name == "thickness" else f"{layer}, standard error"
            axes.set_title(f"{title} (nm)", fontsize=10, color=INK)
            figure.colorbar(image, ax=axes, shrink=0.85)
            draw_scale_bar(axes, width, height)
    return figure
