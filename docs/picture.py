"""Draw docs/demo.png of what `fibdask demo` has made.

    python docs/picture.py [fibdask-demo [docs/demo.png]]

Above the slice that is nearest to the middle, below a section along z, each as imaged, by k-means
(and, between slices, distance maps), by a network, and as it truly is.
"""

import sys
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

import fibdask

COLOURS = {
    "pore": (0.96, 0.96, 0.95),
    "solid": (0.16, 0.22, 0.33),
    "solid taken for pore": (0.84, 0.37, 0.0),
    "pore taken for solid": (0.34, 0.71, 0.91),
}
MEANING = np.array([[0, 3], [2, 1]])  # by truth, then by phase
INK = "#333a45"


def planes(stack: xr.Dataset, name: str, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a slice (y, x) in the middle of depths z, and a section (z, x) at all of them.

    Between slices, what was imaged is the slice above.
    """
    volume = stack[name].isel(voltage=-1) if "voltage" in stack[name].dims else stack[name]
    above = np.searchsorted(stack["z"].values, z + 1e-6, side="right") - 1
    section = volume.isel(y=volume.sizes["y"] // 2).values
    return volume.isel(z=above[len(z) // 2]).values, section[above.clip(min=0)]


def depths(volume: xr.Dataset, slices: xr.Dataset) -> np.ndarray:
    """Return the depths of a volume around a slice that is nearest to its middle."""
    z, shown = volume["z"].values, slices["z"].values
    middle = shown[np.argmin(np.abs(shown - z.mean()))]
    plane = int(np.argmin(np.abs(z - middle)))
    reach = min(plane, len(z) - 1 - plane)
    return z[plane - reach : plane + reach + 1]


def draw(axes: Axes, shown: np.ndarray, truth: np.ndarray | None, size: tuple[float, float]) -> str:
    """Show an image, or a phase with what is wrong with it; return how much that is."""
    axes.set(xticks=[], yticks=[])
    frame = {"extent": (0, size[1], size[0], 0), "interpolation": "nearest"}
    if truth is None:
        low, high = np.quantile(shown, (0.005, 0.995))
        axes.imshow(shown, cmap="gray", vmin=low, vmax=high, **frame)
        return ""
    axes.imshow(np.array([*COLOURS.values()])[MEANING[truth, shown]], **frame)
    wrong = 100 * np.mean(shown != truth)
    return f", {wrong:.2g} % wrong" if wrong else ""


def main(folder: str = "fibdask-demo", out: str = "docs/demo.png") -> Path:
    """Draw the picture."""
    opened = {
        path.stem: fibdask.open_stack(path)
        for path in Path(folder).glob("classical/*.zarr")
        if path.stem != "statistics"
    }
    network = fibdask.open_stack(Path(folder) / "network" / "reconstruct.zarr")
    images, volume = opened["simulate"], opened["inpaint"]
    z = depths(network, images)
    voltage = images["voltage"].values[-1]
    columns = {
        f"image at {voltage:g} kV": (planes(images, "intensity", z),) * 2,
        "k-means": (planes(opened["segment"], "phase", z), planes(volume, "phase", z)),
        "network": (planes(network, "phase", z),) * 2,
        "truth": (planes(opened["structure"], "phase", z),) * 2,
    }
    truth = columns["truth"][0]
    size = [float(np.ptp(images[axis].values)) for axis in ("y", "x")]
    heights = size[0], float(np.ptp(z))
    figure = Figure(figsize=(12.4, 3.1 * sum(heights) / size[1] + 0.9), layout="constrained")
    axes = figure.subplots(2, len(columns), height_ratios=heights)
    for column, (title, shown) in enumerate(columns.items()):
        for row, height in enumerate(heights):
            against = None if title.startswith("image") else truth[row]
            text = draw(axes[row, column], shown[row][row], against, (height, size[1]))
            name = "k-means and distance" if (row, title) == (1, "k-means") else title
            axes[row, column].set_title(f"{name}{text}", fontsize=11, color=INK)
    for row, label in enumerate(("a slice: x →, y ↓", "between slices: x →, z ↓")):
        axes[row, 0].set_ylabel(label, fontsize=11, color=INK)
    bar = size[0] - 14
    axes[0, 0].plot([20, 120], [bar, bar], color="white", linewidth=4)
    style = {"color": "white", "ha": "center", "va": "bottom", "fontsize": 10}
    box = {"facecolor": "black", "edgecolor": "none", "alpha": 0.6, "pad": 1.5}
    axes[0, 0].text(70, bar - 10, "100 nm", bbox=box, **style)
    patches = [Patch(facecolor=c, edgecolor="#8a929e", label=name) for name, c in COLOURS.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=4, frameon=False, fontsize=11)
    figure.savefig(out, dpi=100, facecolor="white", pil_kwargs={"optimize": True})
    return Path(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
