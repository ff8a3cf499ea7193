"""Plots of stacks: what is drawn, where, and what is refused."""

import io

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from PIL import Image

import fibdask
from fibdask.blocks import StoredArray
from fibdask.conventions import ConventionError, build_stack
from fibdask.report.figures import slices

from .test_display import count_read

ESTIMATE = [9.0, 11.0, 10.0, 12.0, 9.5, 8.5, np.nan]


@pytest.fixture
def wave():
    """A phase with even slices."""
    sizes = {"voxel_size": 5, "ligament_size": 30, "solid_fraction": 0.4}
    return fibdask.levelled_wave((24, 32, 40), seed=1, **sizes).to_dataset(name="phase")


def drawn(figure):
    """Return the pixels of the pictures in a figure (y, x, rgb), view by view."""
    return [axes.images[0].get_array() for axes in figure.axes]


def lines(axes):
    return {line.get_label(): line.get_xydata() for line in axes.lines}


def test_plot_slices__shows_the_middle_slice_and_every_slice_at_its_depth(stack):
    xy, _, xz = drawn(fibdask.plot_slices(stack.drop_vars("phase"), voltage=2.0))
    image = stack["intensity"].sel(voltage=2.0)[3].values
    assert xy.shape[:2] == (round(70 * 3 / 264 * 640), 640)
    across, down = ((np.arange(n) + 0.5) * side / 264 * 640 for n, side in ((66, 4), (70, 3)))
    shown = xy[np.ix_(down.astype(int), across.astype(int))][..., 0]
    assert np.corrcoef(shown.ravel(), image.ravel())[0, 1] > 0.95
    assert len(xz) == round((60 + 10) / 264 * 640)


def test_plot_slices__of_a_phase_has_two_colours_and_gaps_a_third(wave):
    xy, _, xz = drawn(fibdask.plot_slices(wave))
    palette = np.rint(255 * np.array([slices.PORE, slices.SOLID, slices.GAP])).astype(np.uint8)
    assert colours(xy) <= set(map(tuple, palette[:2]))
    assert tuple(palette[2]) not in colours(xz)
    gaps = wave.assign_coords(measured=("z", np.arange(24) % 3 > 0))
    *_, xz = drawn(fibdask.plot_slices(gaps))
    assert tuple(palette[2]) in colours(xz)


def colours(picture):
    """Return the colours that at least a thousandth of the pixels have: no edges."""
    found, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
    return {tuple(colour) for colour in found[counts > 0.02 * counts.sum()]}


def test_plot_slices__says_what_can_be_shown(stack):
    with pytest.raises(ConventionError, match=r"variable .* intensity, phase; got grey"):
        fibdask.plot_slices(stack, variable="grey")
    with pytest.raises(ConventionError, match=r"one of the stack, 1, 2 kV; got 3"):
        fibdask.plot_slices(stack, voltage=3)


def test_plot_thickness__draws_that_of_the_stack(stack):
    depth, trace, _ = fibdask.plot_thickness(stack).axes
    np.testing.assert_allclose(depth.lines[0].get_ydata(), stack["z"] / 1000)
    np.testing.assert_allclose(trace.lines[-1].get_ydata(), np.diff(stack["z"]))


def test_plot_thickness__draws_an_estimate_with_its_standard_errors(stack):
    error, lost = np.linspace(0.5, 1.1, 7), np.arange(7) == 2
    estimate = xr.DataArray(ESTIMATE, dims="z", coords={"standard_error": ("z", error)})
    with pytest.raises(ConventionError, match="it has no lost"):
        fibdask.plot_thickness(stack, estimate=estimate)
    with pytest.raises(ConventionError, match=r"estimate must be of 7 slices \(z\); found \(6,\)"):
        fibdask.plot_thickness(stack, estimate=estimate[1:])
    estimate = estimate.assign_coords(lost=("z", lost))
    trace, _ = fibdask.plot_thickness(stack, estimate=estimate).axes
    band = trace.collections[0].get_paths()[0].vertices
    for k in range(6):
        heights = band[band[:, 0] == k][:, 1]
        expected = ESTIMATE[k] - error[k], ESTIMATE[k] + error[k]
        assert (heights.min(), heights.max()) == pytest.approx(expected)


def test_plot_correlations__draws_curves_with_their_intervals(wave):
    figure = fibdask.plot_correlations(wave["phase"], max_lag=6)
    found = fibdask.phase_statistics(wave["phase"], max_lag=6).compute()
    for axes, name in zip(figure.axes, ("two_point_correlation", "lineal_path"), strict=True):
        for axis in "xyz":
            curve = found[name].sel(axis=axis)
            drawn_there = lines(axes)[f"along {axis}"]
            np.testing.assert_allclose(drawn_there[:, 0], curve["distance"])
            np.testing.assert_allclose(drawn_there[:, 1], curve)
        assert len(axes.collections) == 3
        lower = axes.collections[0].get_paths()[0].vertices[:, 1].min()
        bounds = found[f"{name}_interval"].sel(axis="x", bound="lower")
        assert lower == pytest.approx(float(bounds.min()))


@pytest.mark.parametrize("plot", ["plot_slices", "plot_thickness", "plot_correlations"])
def test_plots__are_figures_that_notebooks_show_and_that_pyplot_need_not_know(wave, plot):
    options = {"max_lag": 3} if plot == "plot_correlations" else {}
    figure = getattr(wave.fib, plot)(**options)
    with Image.open(io.BytesIO(figure._repr_png_())) as image:
        assert min(image.size) > 200
    given = Figure()
    assert getattr(wave.fib, plot)(figure=given, **options) is given
    assert given.axes


def test_plot_slices__reads_three_planes_only(tmp_path, monkeypatch):
    volume = np.zeros((40, 300, 300), np.uint8)
    stack = build_stack(
        {"phase": volume}, z=5.0 * np.arange(40), pixel_size=(5, 5), nominal_thickness=5
    )
    opened = fibdask.open_stack(fibdask.save_stack(stack, tmp_path / "a.zarr"))
    read = count_read(monkeypatch, StoredArray)
    fibdask.plot_slices(opened)
    assert sum(read) == 300 * 300 + 2 * 40 * 300
