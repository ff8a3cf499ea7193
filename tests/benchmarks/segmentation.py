"""Segmentation of slices that show what lies below them, with Article III's figures below ours.

make bench-segmentation simulates hierarchical gold in epoxy by Monte Carlo, of a seed that no
network was trained on, and segments its slices, at 50 and at 20 electrons on a pixel: by Otsu,
k-means, and networks of one, two and three voltages. Misplaced voxels and solid (MP, MGP), mean
Dice score (MDS) and solid fraction. The article's images are noisier than ours of 50 electrons:
compare what k-means makes of both. Below, how many voxels are wrong among the 5 % on which voltages
disagree most, and among the 5 % of which the network of all voltages is least sure.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr

from fibdask import segment_phases, segmentation_errors
from tests.benchmarks.simulated import Sample, arguments, print_table, samples, thinned, timed

VOLTAGES = (1.0, 2.0, 4.0)
SUBSETS = ((1.0,), (2.0,), (4.0,), (1.0, 2.0), (1.0, 4.0), (2.0, 4.0), VOLTAGES)
COLUMNS = (("MP %", 3), ("MGP %", 3), ("MDS", 4), ("solid fraction", 4), ("s/megavoxel", 2))
_MOST = 0.05  # share of voxels that are doubted most
ARTICLE = {
    "truth": ("0", "0", "1", "0.123", "-"),
    "k-means, 1 kV": ("4.455", "-", "-", "0.147", "-"),
    "k-means, 2 kV": ("9.490", "-", "-", "0.180", "-"),
    "k-means, 4 kV": ("18.626", "-", "-", "0.258", "-"),
    "network, 1 kV": ("0.245", "-", "-", "0.121–0.123", "-"),
    "network, 2 kV": ("0.654", "-", "-", "0.121–0.123", "-"),
    "network, 4 kV": ("1.407", "-", "-", "0.121–0.123", "-"),
    "network, 1/2/4 kV": ("0.225", "0.944", "0.995", "0.121–0.123", "-"),
}


def by_network(stack: xr.Dataset, *, model: str, voltages: tuple[float, ...]) -> xr.Dataset:
    """Segment by the network of some of the voltages, which sees no others."""
    return segment_phases(stack.sel(voltage=list(voltages)), method="network", model=model)


def named(voltages: tuple[float, ...]) -> str:
    """Return voltages as a text."""
    return "/".join(f"{kilovolts:g}" for kilovolts in voltages) + " kV"


def methods(model: str) -> dict[str, Callable[[xr.Dataset], xr.Dataset]]:
    """Return functions that segment a stack, by name."""
    found: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {}
    for title, method in (("Otsu", "otsu"), ("k-means", "kmeans")):
        for kilovolts in VOLTAGES:
            one = partial(segment_phases, method=method, voltage=kilovolts)
            found[f"{title}, {kilovolts:g} kV"] = one
    found[f"k-means, {named(VOLTAGES)}"] = segment_phases
    if model != "none":
        for voltages in SUBSETS:
            one = partial(by_network, model=model, voltages=voltages)
            found[f"network, {named(voltages)}"] = one
    return found


def figures(phase: xr.DataArray, truth: xr.DataArray, seconds: float) -> list[float]:
    """Return a number for each column."""
    errors = segmentation_errors(phase, truth).compute()
    shares = [float(errors[name]) for name in ("misplaced", "misplaced_solid", "mean_dice")]
    return [*shares, float(phase.mean()), seconds]


def measure(sample: Sample, electrons: float, model: str) -> dict[str, list[float]]:
    """Return the figures of a stack, by method."""
    stack, truth = thinned(sample.images, electrons), sample.images["true_phase"]
    rows = {"truth": figures(truth, truth, float("nan"))}
    for name, method in methods(model).items():
        phase, seconds = timed(method, stack)
        rows[name] = figures(phase, truth, seconds)
    return rows


def print_located(stack: xr.Dataset, model: str) -> None:
    """Print how well errors are found where voltages disagree, and where the network is unsure."""
    made = segment_phases(stack, method="network", model=model, disagreement=True).compute()
    wrong = made["phase"].values != stack["true_phase"].values
    solid = made["solid_probability"].values
    doubts = {
        "disagreement of voltages": made["voltage_disagreement"].values,
        "doubt of the network": np.minimum(solid, 1 - solid),
    }
    for name, doubt in doubts.items():
        order = np.argsort(-doubt, axis=None, kind="stable")
        there, elsewhere = np.split(wrong.ravel()[order], [round(_MOST * wrong.size)])
        rest = f"{100 * elsewhere.mean():.2f} % of the others"
        print(
            f"  {name}: of the first {_MOST:.0%} {100 * there.mean():.1f} % are wrong, "
            f"{there.sum() / wrong.sum():.0%} of all errors; {rest}"
        )


def main() -> None:
    """Print a table for each number of electrons."""
    chosen = arguments("Segmentation of simulated slices")
    found = samples(chosen)
    published = {name: ("Article III", texts) for name, texts in ARTICLE.items()}
    for electrons in chosen.electrons:
        measured = [measure(sample, electrons, chosen.model) for sample in found]
        print(f"{electrons:g} electrons on a pixel: {', '.join(s.name for s in found)}")
        print_table(COLUMNS, measured, published)
        if chosen.model != "none":
            for sample in found:
                print_located(thinned(sample.images, electrons), chosen.model)


if __name__ == "__main__":
    main()
