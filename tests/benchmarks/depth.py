"""Article II on mimicking data: what uneven slices cost, and what each method gives back.

python -m tests.benchmarks.depth makes every data set of the article from simulated structures, and
prints errors as mean ± standard deviation, with the article's below: misplaced voxels and solid
(MP, MGP), mean Dice score (MDS), and the isotropy errors of two-point correlation, lineal path and
ligament diameter (e S2, e L, e D). --full takes 25 structures of 256³ voxels, 10 series of each.

The article's real slices (-r) are simulated here, too, and its two measurements of thickness are
stand-ins. RML is its learned inpainting: figures of the article only. RDI is our `distance`.
"""

import argparse
import re
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product

import dask
import numpy as np

from fibdask.conventions import FibdaskWarning, finish_stack
from fibdask.inpaint import inpaint_gaps
from fibdask.simulate import hierarchical_levelled_wave, mimic_milling
from fibdask.statistics import isotropy_errors, segmentation_errors
from fibdask.thickness import reposition_slices

FINE, COARSE, AIM = 2.5, 10.0, 10.0  # nm: the two grids, and the thickness that was aimed at
MEAN, STD = 10.16, 3.12  # nm: of the thickness of slices
MAX_LAG = 64  # voxels
COLUMNS = ("MP %", "MGP %", "MDS", "e S2", "e L", "e D")
DIGITS = (2, 2, 3, 4, 4, 4)
STATISTICS = ("two_point_correlation", "lineal_path", "ligament_diameter")

ARTICLE = """
original      0             0             1             .1038 ± .0283  .0188 ± .0131  .0138 ± .0096
RNN-s         4.89 ± 0.53   19.98 ± 2.07  0.89 ± 0.012  .1149 ± .0247  .0479 ± .0222  .0306 ± .0185
RCS-s         3.12 ± 0.11   13.52 ± 0.46  0.93 ± 0.002  .1091 ± .0278  .0482 ± .0188  .0299 ± .0173
RML-s         2.35 ± 0.11   10.04 ± 0.42  0.95 ± 0.003  .1086 ± .0274  .0341 ± .0131  .0211 ± .0114
DNN-s         19.97 ± 0.91  81.62 ± 3.18  0.53 ± 0.002  .2104 ± .0467  .0633 ± .0276  .0386 ± .0191
SRCS-s        5.29 ± 0.37   22.38 ± 1.34  0.88 ± 0.008  .1153 ± .0267  .0716 ± .0222  .0455 ± .0198
DNN-r         -             -             -             0.24           0.15           0.09
SRCS-r ruler  -             -             -             0.22           0.07           0.04
SRCS-r ASV    -             -             -             0.27           0.16           0.10
RML-r ruler   -             -             -             0.21           0.06           0.02
RML-r ASV     -             -             -             0.26           0.17           0.10
"""


# ── thicknesses that are taken for the true ones ─────────────────────────────────────────────


def true(thickness, _rng):
    """Return the thicknesses as they are."""
    return thickness


def constant(thickness, _rng, *, aim=AIM):
    """Return the thickness that was aimed at."""
    return np.full(len(thickness), aim)


def noisy(thickness, rng, *, sigma):
    """Return thicknesses with independent errors, which add up with depth."""
    return thickness + rng.normal(0, sigma, len(thickness))


def noisy_depth(thickness, rng, *, sigma):
    """Return thicknesses between depths that have independent errors, as of a ruler."""
    errors = rng.normal(0, sigma, len(thickness))  # the first slice is the reference
    return thickness + np.diff(errors, prepend=0)


def on_the_fly(thickness, rng):
    """Return thicknesses of which 30 % are at most 1 nm; the whole depth is kept."""
    found = np.where(rng.random(len(thickness)) < 0.3, rng.random(len(thickness)), thickness)
    return found * (thickness.sum() / found.sum())


ruler = partial(noisy_depth, sigma=0.5)


# ── data sets ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class DataSet:
    """How slices become a volume: by which thickness, on which grid (nm), and filled how."""

    name: str
    thickness: Callable[..., np.ndarray]
    grid: float
    method: str

    def volume(self, slices, rng):
        """Return the phase on the fine grid."""
        depth = depths(self.thickness(np.diff(slices["z"].values), rng))
        stack = at_depth(slices, depth)
        with warnings.catch_warnings():  # of slices that a coarse grid displaces: so it does
            warnings.simplefilter("ignore", FibdaskWarning)
            if self.grid != FINE:
                drop = surplus(depth, self.grid)
                stack = reposition_slices(stack, spacing=self.grid, drop=drop)
            stack = reposition_slices(stack, spacing=FINE)
        return inpaint_gaps(stack, method=self.method)["phase"].compute()


SIMULATED = (
    DataSet("RNN-s", true, FINE, "nearest"),
    DataSet("RCS-s", true, FINE, "spline"),
    DataSet("RDI-s", true, FINE, "distance"),
    DataSet("DNN-s", constant, FINE, "nearest"),
    DataSet("DDI-s", constant, FINE, "distance"),
    DataSet("SRCS-s", true, COARSE, "spline"),
    DataSet("SRDI-s", true, COARSE, "distance"),
)
REAL = (
    DataSet("DNN-r", constant, FINE, "nearest"),
    DataSet("SRCS-r ruler", ruler, COARSE, "spline"),
    DataSet("SRCS-r ASV", on_the_fly, COARSE, "spline"),
    DataSet("RDI-r ruler", ruler, FINE, "distance"),
    DataSet("RDI-r ASV", on_the_fly, FINE, "distance"),
)
AIMED_LOW = (
    DataSet("DNN, aim 8 nm", partial(constant, aim=8.0), FINE, "nearest"),
    DataSet("DDI, aim 8 nm", partial(constant, aim=8.0), FINE, "distance"),
)
SIGMAS = (0.5, 1.0, 2.0, 3.0)  # nm
NOISY_DEPTH = tuple(
    DataSet(f"{s} nm", partial(noisy_depth, sigma=s), FINE, "distance") for s in SIGMAS
)
NOISY = tuple(DataSet(f"{s} nm, sum", partial(noisy, sigma=s), FINE, "distance") for s in SIGMAS)
DATA_SETS = (*SIMULATED, *AIMED_LOW, *REAL, *NOISY_DEPTH, *NOISY)


def depths(thickness):
    """Return the depths (slice) that follow from thicknesses, which are kept positive."""
    return np.append(0, np.cumsum(np.maximum(thickness, 0.01)))


def at_depth(slices, depth):
    """Return the slices at other depths."""
    moved = slices.drop_vars("slice_thickness")
    return finish_stack(
        moved.assign_coords(z=("z", depth, slices["z"].attrs)), nominal_thickness=AIM
    )


def surplus(depth, grid):
    """Return the thinnest slices, as many as the grid has not planes for."""
    planes = int(np.floor(depth[-1] / grid + 0.5)) + 1
    most = max(len(depth) - planes, 0)
    return np.sort(np.argsort(np.diff(depth)[1:-1], kind="stable")[:most] + 1)


# ── figures ──────────────────────────────────────────────────────────────────────────────────


def isotropy(phase):
    """Return the three isotropy errors."""
    found = isotropy_errors(phase, max_lag=min(MAX_LAG, min(phase.shape) - 1)).compute()
    return [float(found[name]) for name in STATISTICS]


def figures(phase, truth):
    """Return the figures of a volume, over the depth that it shares with the truth."""
    common = slice(0, min(phase.sizes["z"], truth.sizes["z"]))
    phase, truth = phase.isel(z=common), truth.isel(z=common)
    errors = segmentation_errors(phase, truth).compute()
    shares = [float(errors[name]) for name in ("misplaced", "misplaced_solid", "mean_dice")]
    return [*shares, *isotropy(phase)]


def measure(structure, series, *, size):
    """Return (solid fraction, figures by data set) of a series of slices of a structure."""
    with dask.config.set(scheduler="synchronous"):
        truth = hierarchical_levelled_wave((size,) * 3, voxel_size=FINE, seed=structure).compute()
        own = 1000 * structure + series
        slices = mimic_milling(truth, mean_thickness=MEAN, std_thickness=STD, seed=own).compute()
        row = {"original": [0.0, 0.0, 1.0, *isotropy(truth)]}
        for place, data_set in enumerate(DATA_SETS):
            volume = data_set.volume(slices, np.random.default_rng([own, place]))
            row[data_set.name] = figures(volume, truth)
    return float(truth.mean()), row


def measure_all(structures, series, size, workers):
    """Return solid fractions, and figures by name (structures × series, figure)."""
    task = partial(measure, size=size)
    numbers = zip(*product(range(structures), range(series)), strict=True)
    if workers == 1:
        found = list(map(task, *numbers))
    else:
        with ProcessPoolExecutor(workers) as pool:
            found = list(pool.map(task, *numbers))
    rows = [row for _, row in found]
    return [f for f, _ in found], {name: np.array([row[name] for row in rows]) for name in rows[0]}


# ── report ───────────────────────────────────────────────────────────────────────────────────


def article():
    """Return the article's figures as text, by the name of the data set."""
    rows = [re.split(r"\s{2,}", line) for line in ARTICLE.strip().splitlines()]
    return {name: cells for name, *cells in rows}


def print_rows(measured, names, published):
    """Print means and standard deviations, and below each row what was published."""
    print(f"{'':24s}" + "".join(f"{name:>17s}" for name in COLUMNS))
    for name in names:
        if name in measured:
            cells = zip(measured[name].mean(axis=0), measured[name].std(axis=0), strict=True)
            texts = [
                f"{mean:.{digits}f} ± {std:.{digits}f}"
                for (mean, std), digits in zip(cells, DIGITS, strict=True)
            ]
            print(f"{name:24s}" + "".join(f"{text:>17s}" for text in texts))
        if name in published:
            label = "  Article II" if name in measured else f"{name} (Art. II)"
            print(f"{label:24s}" + "".join(f"{text:>17s}" for text in published[name]))


def print_gain(measured, before, after):
    """Print what repositioning alone takes off the isotropy errors."""
    print(f"\n{before} → {after}: the same slices, at their own thickness")
    ideal = measured["original"]
    for column, title in enumerate(COLUMNS[3:], start=3):
        worse, better = measured[before][:, column], measured[after][:, column]
        added = [np.abs(errors - ideal[:, column]).mean() for errors in (worse, better)]
        print(
            f"  {title:5s}{worse.mean():.4f} → {better.mean():.4f}; mean distance from that of the "
            f"original {added[0]:.4f} → {added[1]:.4f}, ratio {added[1] / added[0]:.2f}"
        )


def arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Article II as a benchmark")
    parser.add_argument("--structures", type=int, default=25)
    parser.add_argument("--series", type=int, default=4, help="of slices of each structure")
    parser.add_argument("--size", type=int, default=192, help="voxels along each axis")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--full", action="store_true", help="10 series of 256³ voxels")
    chosen = parser.parse_args()
    if chosen.full:
        chosen.series, chosen.size = 10, 256
    return chosen


def main():
    """Print the tables."""
    chosen = arguments()
    start = time.perf_counter()
    fractions, measured = measure_all(chosen.structures, chosen.series, chosen.size, chosen.workers)
    print(
        f"{chosen.structures} structures of {chosen.size}³ voxels × {chosen.series} series, solid "
        f"fraction {np.mean(fractions):.3f} ± {np.std(fractions):.3f}, isotropy errors up to "
        f"{MAX_LAG} voxels; {time.perf_counter() - start:.0f} s"
    )
    published = article()
    titles = {
        "Simulated slices": ["original", "RNN-s", "RCS-s", "RML-s", "RDI-s"],
        "Without repositioning, and on the standard grid": ["DNN-s", "DDI-s", "SRCS-s", "SRDI-s"],
        "Milled a quarter too thick": [d.name for d in AIMED_LOW],
        "Stand-ins for real slices": [
            "DNN-r",
            "SRCS-r ruler",
            "SRCS-r ASV",
            "RML-r ruler",
            "RDI-r ruler",
            "RML-r ASV",
            "RDI-r ASV",
        ],
        "RDI where depths have independent errors": [d.name for d in NOISY_DEPTH],
        "RDI where thicknesses have independent errors, which add up": [d.name for d in NOISY],
    }
    for title, names in titles.items():
        print(f"\n{title}")
        print_rows(measured, names, published)
    for before, after in (
        ("DNN-s", "RNN-s"),
        ("DDI-s", "RDI-s"),
        ("DNN, aim 8 nm", "RNN-s"),
        ("DDI, aim 8 nm", "RDI-s"),
    ):
        print_gain(measured, before, after)


if __name__ == "__main__":
    main()
