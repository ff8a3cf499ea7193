"""Reconstruction of the volume between uneven slices, with Article II's figures below ours.

make bench-reconstruction simulates hierarchical gold in epoxy by Monte Carlo, of a seed that no
network was trained on, milled in slices of 10.16 ± 3.12 nm, and makes the volume of 2.5 nm of them,
at 50 and at 20 electrons on a pixel: of perfect slices, of segmented ones, and at once. Misplaced
voxels of the whole volume, of its imaged planes and of those between; of the whole, those where a
slice shows pore and the next one solid (tops, which images show through the pore) or the other way
round (undersides, which no image shows); isotropy errors of two-point correlation, lineal path and
ligament diameter (e S2, e L, e D) beside the truth's own; axes along which the solid joins both
faces, its share in the largest piece, and its specific surface area.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr

import fibdask
from fibdask import (
    connected_fraction,
    percolates,
    segment_phases,
    segmentation_errors,
    specific_surface_area,
)
from tests.benchmarks.depth import article, isotropy
from tests.benchmarks.published import named
from tests.benchmarks.segmentation import VOLTAGES, by_network
from tests.benchmarks.simulated import (
    SPACING,
    Sample,
    arguments,
    filled,
    print_table,
    samples,
    thinned,
    timed,
)

COLUMNS = (
    ("MP %", 3),
    ("imaged", 3),
    ("between", 3),
    ("tops", 3),
    ("undersides", 3),
    ("e S2", 4),
    ("e L", 4),
    ("e D", 4),
    ("axes", 0),
    ("largest", 4),
    ("surface 1/µm", 2),
    ("s/megavoxel", 2),
)
INTERPOLATIONS = ("nearest", "spline", "distance", "network")
ARTICLE = {  # the article's slices are perfect, too
    "truth": "original",
    "true slices, nearest": "RNN-s",
    "true slices, spline": "RCS-s",
    "true slices, network": "RML-s",
    f"reconstruction, {named(VOLTAGES)}": "RML-s",
}
Method = Callable[[xr.Dataset], xr.Dataset]


def perfect(stack: xr.Dataset) -> xr.Dataset:
    """Take the truth on the slices for their phase."""
    return stack.assign(phase=stack["true_phase"])


def interpolated(stack: xr.Dataset, *, segment: Method, method: str) -> xr.Dataset:
    """Segment the slices, put them at their depth, and fill the gaps."""
    return filled(segment(stack), method)


def reconstructed(
    stack: xr.Dataset, *, model: str, voltages: tuple[float, ...], mirrored: bool = False
) -> xr.Dataset:
    """Make the volume of the images of some of the voltages at once."""
    images = stack.sel(voltage=list(voltages))
    return fibdask.reconstruct_volume(images, spacing=SPACING, model=model, mirrored=mirrored)


def of_perfect_slices(*, network: bool = True) -> dict[str, Method]:
    """Return methods that do not look at images, by name."""
    return {
        f"true slices, {method}": partial(interpolated, segment=perfect, method=method)
        for method in INTERPOLATIONS[: None if network else -1]
    }


def of_images(model: str) -> dict[str, Method]:
    """Return methods that look at images, by name."""
    segments: dict[str, Method] = {
        "k-means 1 kV": partial(segment_phases, voltage=1.0),
        f"k-means {named(VOLTAGES)}": segment_phases,
    }
    choices = () if model == "none" else ((2.0,), VOLTAGES)
    for voltages in choices:
        segments[f"network {named(voltages)}"] = partial(by_network, model=model, voltages=voltages)
    found: dict[str, Method] = {
        f"{name}, distance": partial(interpolated, segment=segment, method="distance")
        for name, segment in segments.items()
    }
    for voltages in choices:
        one = partial(reconstructed, model=model, voltages=voltages)
        found[f"reconstruction, {named(voltages)}"] = one
        found[f"mirrored, {named(voltages)}"] = partial(one, mirrored=True)
    return found


def misplaced(phase: xr.DataArray, truth: xr.DataArray, planes: np.ndarray) -> float:
    """Return MP in % on some of the planes."""
    where = {"z": np.flatnonzero(planes)}
    return float(segmentation_errors(phase.isel(where), truth.isel(where))["misplaced"])


def faced(
    phase: xr.DataArray, truth: xr.DataArray, imaged: np.ndarray, above: int, below: int
) -> float:
    """Return misplaced voxels in % of all, where the next imaged planes have some true phases."""
    places = np.flatnonzero(imaged)
    next_above = np.searchsorted(places, np.arange(len(imaged)), side="right") - 1
    next_below = np.minimum(next_above + 1, len(places) - 1)
    faces = truth.values[places]
    there = (faces[next_above] == above) & (faces[next_below] == below)
    there[imaged] = False
    return 100 * float((there & (np.asarray(phase) != truth.values)).mean())


def figures(
    phase: xr.DataArray, truth: xr.DataArray, imaged: np.ndarray, seconds: float
) -> list[float]:
    """Return a number for each column."""
    return [
        *(misplaced(phase, truth, planes) for planes in (imaged | True, imaged, ~imaged)),
        *(faced(phase, truth, imaged, *phases) for phases in ((0, 1), (1, 0))),
        *isotropy(phase),
        float(percolates(phase).sum()),
        float(connected_fraction(phase)),
        1e3 * float(specific_surface_area(phase)),
        seconds,
    ]


def measure(
    sample: Sample, methods: dict[str, Method], stack: xr.Dataset
) -> dict[str, list[float]]:
    """Return the figures of volumes that are made of a stack, by method."""
    truth = sample.truth()
    imaged = np.isin(np.rint(truth["z"] / SPACING), np.rint(stack["z"] / SPACING))
    rows = {"truth": figures(truth, truth, imaged, float("nan"))}
    for name, method in methods.items():
        phase, seconds = timed(method, stack)
        if not np.array_equal(phase["measured"], imaged):
            msg = f"{name}: the planes that count as imaged are not those of the slices"
            raise SystemExit(msg)
        rows[name] = figures(phase.assign_coords(z=truth["z"]), truth, imaged, seconds)
    return rows


def print_rows(measured: list[dict[str, list[float]]]) -> None:
    """Print the means over samples, and the article's figures."""
    published = {}
    for name, data_set in ARTICLE.items():
        shares, errors = article()[data_set][:1], article()[data_set][3:]
        published[name] = "Article II", (*shares, *["-"] * 4, *errors, *["-"] * 4)
    print_table(COLUMNS, measured, published)


def main() -> None:
    """Print the table of perfect slices, and one for each number of electrons."""
    chosen = arguments("Reconstruction of simulated slices")
    found = samples(chosen)
    print(f"{', '.join(sample.name for sample in found)}: perfect slices")
    perfect_slices = of_perfect_slices(network=chosen.model != "none")
    print_rows([measure(sample, perfect_slices, sample.images) for sample in found])
    methods = of_images(chosen.model)
    for electrons in chosen.electrons:
        print(f"{electrons:g} electrons on a pixel")
        print_rows([measure(s, methods, thinned(s.images, electrons)) for s in found])


if __name__ == "__main__":
    main()
