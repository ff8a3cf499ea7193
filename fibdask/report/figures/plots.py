"""Figures of the report, each a Matplotlib `Figure` of its own: no pyplot, no global state."""

import base64
import io
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase
from matplotlib.gridspec import SubplotSpec
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import MaxNLocator

from ...conventions import ConventionError
from .slices import VIEWS, Geometry, Planes

AXIS_STYLES = {"x": ("#0072B2", "-"), "y": ("#009E73", "--"), "z": ("#D55E00", "-.")}
INK, GRID, ACCENT, ALARM = "#333a45", "#d9dde3", "#0072B2", "#D55E00"
_GUTTER = 0.025  # between views, as a share of the figure's longer edge


def embedded(figure: Figure, kind: str) -> str:
    """Return a figure as the data address of an image, `kind` svg or webp."""
    stream = io.BytesIO()
    FigureCanvasAgg(figure)
    if kind == "svg":
        metadata: dict[str, str | None] = {"Date": None, "Creator": None}
        figure.savefig(stream, format="svg", metadata=metadata, transparent=True)
    else:
        # Noise makes PNG of them ten times as large.
        figure.savefig(stream, format="webp", dpi=160, pil_kwargs={"quality": 80})
    media = {"svg": "image/svg+xml", "webp": "image/webp"}[kind]
    return f"data:{media};base64,{base64.b64encode(stream.getvalue()).decode()}"


def sized(figure: Figure | None, width: float, height: float) -> Figure:
    """Return a figure of this size in inches: that given, or one of its own."""
    figure = Figure() if figure is None else figure
    if not isinstance(figure, FigureBase):
        msg = f"figure must be a matplotlib figure; got {type(figure).__name__}"
        raise ConventionError(msg)
    figure.set_size_inches(width, height)
    return figure


def constrained(figure: Figure | None, width: float, height: float) -> Figure:
    """Return a figure as `sized` does, which makes room for all labels."""
    figure = sized(figure, width, height)
    figure.set_layout_engine("constrained")
    return figure


def orthogonal_views(pictures: Planes, where: Geometry, figure: Figure | None = None) -> Figure:
    """Show xy with yz to its right and xz below it, in true proportions, with a scale bar."""
    x, y, z = (where.length(axis) for axis in "xyz")
    gutter = _GUTTER * (max(x, y) + z)
    width, height = x + gutter + z, y + gutter + z
    inches = 5.2 / max(width, height)
    figure = sized(figure, width * inches, height * inches)
    boxes = {"xy": (0, z + gutter, x, y), "yz": (x + gutter, z + gutter, z, y), "xz": (0, 0, x, z)}
    for view, (left, bottom, wide, high) in boxes.items():
        picture = pictures[view]
        across, down = VIEWS[view][1], VIEWS[view][0]
        if view == "yz":  # depth to the right, so that y runs as in the view beside it
            picture, across, down = picture.swapaxes(0, 1), "z", "y"
        box = (left / width, bottom / height, wide / width, high / height)
        axes = figure.add_axes(box)
        extent = (0, where.length(across), where.length(down), 0)
        colours = np.rint(255 * picture).clip(0, 255).astype(np.uint8)
        axes.imshow(colours, extent=extent, aspect="auto", interpolation="antialiased")
        _mark_planes(axes, where, across, down)
    draw_scale_bar(figure.axes[0], x, y)
    return figure


def _mark_planes(axes: Axes, where: Geometry, across: str, down: str) -> None:
    """Draw where the other two views cut this one, and name its axes."""
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color="#8a929e", linewidth=0.6)
    line: dict[str, Any] = {
        "color": ACCENT,
        "linewidth": 0.7,
        "linestyle": (0, (6, 4)),
        "path_effects": [Stroke(linewidth=1.6, foreground="white", alpha=0.6), Normal()],
    }
    axes.axvline(where.position(across), **line)
    axes.axhline(where.position(down), **line)
    label: dict[str, Any] = {
        "facecolor": "white",
        "alpha": 0.85,
        "edgecolor": "none",
        "boxstyle": "round,pad=0.2",
    }
    offset: dict[str, Any] = {"textcoords": "offset points", "va": "top", "ha": "left"}
    text = f"{across} → {down} ↓"
    axes.annotate(
        text, (0, 1), (4, -4), "axes fraction", fontsize=11, color=INK, bbox=label, **offset
    )


def draw_scale_bar(axes: Axes, width: float, height: float) -> None:
    """Draw a scale bar into the lower left corner of a picture of this size in nm."""
    length, text = scale_bar_length(width)
    left, right, level = 0.04 * width, 0.04 * width + length, height - 0.05 * min(width, height)
    for colour, thickness in (("white", 5.0), (INK, 2.6)):
        axes.plot([left, right], [level, level], color=colour, linewidth=thickness)
    label: dict[str, Any] = {
        "facecolor": "white",
        "alpha": 0.85,
        "edgecolor": "none",
        "boxstyle": "round,pad=0.2",
    }
    place = ((left + right) / 2, level)
    offset: dict[str, Any] = {"textcoords": "offset points", "va": "bottom", "ha": "center"}
    axes.annotate(text, place, (0, 5), fontsize=11, color=INK, bbox=label, **offset)
    axes.set(xlim=(0, width), ylim=(height, 0))


def scale_bar_length(width: float) -> tuple[float, str]:
    """Return the length of a scale bar in nm, 1, 2 or 5 times a power of ten, and its label.

    It is the longest up to a third of `width` nm.
    """
    power = 10.0 ** np.floor(np.log10(width / 3))
    length = float(max(m * power for m in (1, 2, 5) if m * power <= width / 3 * (1 + 1e-9)))
    return length, f"{length / 1000:g} µm" if length >= 1000 else f"{length:g} nm"


def fraction_profile(
    profile: xr.DataArray, measured: np.ndarray | None, label: str = "solid fraction φ"
) -> Figure:
    """Plot a share of every plane against depth; measured planes as dots."""
    figure = Figure(figsize=(9.6, 3.0), layout="constrained")
    axes = plot_axes(figure, figure.add_gridspec(1, 1)[0], "depth z (µm)", label)
    z, values = profile["z"].values / 1000, profile.values
    axes.axhline(np.nanmean(values), color=INK, linewidth=1, linestyle="--", label="mean")
    axes.plot(z, values, color=ACCENT, linewidth=1.2, label="planes")
    if measured is not None and len(measured) == len(z) and not measured.all():
        style: dict[str, Any] = {"color": ALARM, "markersize": 3, "label": "measured planes"}
        axes.plot(z[measured], values[measured], "o", **style)
    axes.set_ylim(0, min(1.0, 1.25 * float(np.nanmax(values)) + 0.02))
    legend_above(axes)
    return figure


def legend_above(axes: Axes) -> None:
    """Put the legend where no curve runs."""
    axes.legend(frameon=False, fontsize=8, ncols=6, loc="lower left", bbox_to_anchor=(0, 1))


def correlation_curves(
    statistics: xr.Dataset, names: dict[str, str], figure: Figure | None = None
) -> Figure:
    """Plot functions of distance along x, y and z side by side, with their intervals as bands."""
    figure = constrained(figure, 9.6, 3.7)
    grid = figure.add_gridspec(1, len(names))
    for number, (name, label) in enumerate(names.items()):
        axes = plot_axes(figure, grid[number], "distance r (nm)", label)
        curves = statistics[name]
        for axis in sorted(str(a) for a in curves["axis"].values):
            curve = curves.sel(axis=axis)
            colour, dashes = AXIS_STYLES.get(axis, (INK, "-"))
            style: dict[str, Any] = {
                "color": colour,
                "linestyle": dashes,
                "linewidth": 1.6,
                "label": f"along {axis}",
            }
            distance = curve["distance"].values
            axes.plot(distance, curve.values, **style)
            if f"{name}_interval" in statistics:
                ends = statistics[f"{name}_interval"].sel(axis=axis)
                lower, upper = (ends.sel(bound=bound).values for bound in ("lower", "upper"))
                axes.fill_between(distance, lower, upper, color=colour, alpha=0.15, linewidth=0)
        if name == "two_point_correlation" and "solid_fraction" in statistics:
            level = float(statistics["solid_fraction"]) ** 2
            axes.axhline(level, color=INK, linewidth=0.9, linestyle=":", label="φ²")
        axes.set(xlim=(0, None), ylim=(0, None))
        axes.legend(frameon=False, fontsize=8, loc="upper right")
    return figure


def plot_axes(figure: Figure, place: SubplotSpec, xlabel: str, ylabel: str) -> Axes:
    """Add axes with two spines, a grid and small labels."""
    axes = figure.add_subplot(place)
    axes.set_xlabel(xlabel, color=INK, fontsize=9)
    axes.set_ylabel(ylabel, color=INK, fontsize=9)
    axes.tick_params(colors=INK, labelsize=8)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    whole = xlabel in ("slice", "slices")
    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=(1, 2, 5, 10), integer=whole))
    for side, spine in axes.spines.items():
        spine.set(visible=side in ("left", "bottom"), color="#8a929e")
    return axes
