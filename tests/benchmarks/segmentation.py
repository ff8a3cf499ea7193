"""Segmentation of slices that show what lies below them, with the articles' figures below ours.

make bench-segmentation simulates hierarchical gold in epoxy by Monte Carlo, of a seed that no
network was trained on, and segments its slices, at 100, 50 and 20 electrons on a pixel, as far as
so many were simulated: by Otsu, k-means, the networks of the articles, which it trains for
`--minutes` each, and ours, of all voltages or some of them. Misplaced voxels and solid (MP, MGP),
mean Dice score (MDS) and solid fraction are of the slices; isotropy errors (e S2, e L, e D), axes
along which the solid joins both faces, and how much its specific surface area is off are of the
volume that `distance` makes of them. Below stands how many voxels are wrong among the 5 % on
which voltages disagree most, and among the 5 % of which our network of all voltages is least sure.
At last it prints what noise alone allows (tests.benchmarks.bound). The articles' images differ from
ours: compare what k-means makes of both.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

from fibdask import percolates, segment_phases, segmentation_errors, specific_surface_area
from fibdask.learn.data import SimulatedStack, check_data
from fibdask.run.cli import main as fibdask
from tests.benchmarks.bound import print_bound
from tests.benchmarks.depth import isotropy
from tests.benchmarks.published import CROP, MODELS, School, members, named
from tests.benchmarks.simulated import (
    Sample,
    command_line,
    electrons_sent,
    filled,
    print_table,
    samples,
    thinned,
    timed,
)

VOLTAGES = (1.0, 2.0, 4.0)
SUBSETS = ((1.0,), (2.0,), (4.0,), (1.0, 2.0), (1.0, 4.0), (2.0, 4.0), VOLTAGES)
_MOST = 0.05  # share of voxels that are doubted most
COLUMNS = (
    ("MP %", 3),
    ("MGP %", 3),
    ("MDS", 4),
    ("solid", 4),
    ("e S2", 4),
    ("e L", 4),
    ("e D", 4),
    ("axes", 0),
    ("surface %", 1),
    ("s/megavoxel", 2),
)
ARTICLE_1 = """
Otsu, 2 kV            43     -       -      0.54         0.96    0.65    0.71
2D, 2 kV              4      -       -      0.12         0.18    0.03    0.02
2.5D, 7 slices, 2 kV  3      -       -      0.13         0.18    0.02    0.02
3D, 2 kV              3      -       -      0.12         0.17    0.01    0.003
"""
ARTICLE_3 = """
truth                 0      0       1      0.123        0.0965  0.0087  0.0120
k-means, 1 kV         4.455  8.776   0.904  0.147        0.1609  0.0734  0.0583
k-means, 2 kV         9.490  15.573  0.815  0.180        0.2313  0.1442  0.1087
k-means, 4 kV         18.626 20.904  0.698  0.258        0.2317  0.2336  0.1805
network, 1 kV         0.245  0.963   0.994  0.123        0.0963  0.0100  0.0111
network, 2 kV         0.654  2.512   0.985  0.123        0.0976  0.0102  0.0091
network, 4 kV         1.407  6.466   0.967  0.121        0.0936  0.0143  0.0078
network, 1/2/4 kV     0.225  0.944   0.995  0.123        0.0961  0.0100  0.0106
early fusion          2.8    20.33   0.93   -            -       -       -
intermediate fusion   2.58   6.92    0.94   -            -       -       -
late fusion           0.23   0.94    0.99   -            -       -       -
"""
Method = Callable[[xr.Dataset], xr.Dataset]


def published(names: Sequence[str]) -> Mapping[str, tuple[str, list[str]]]:
    """Return what the articles say, below the first row that it belongs to."""
    found = {}
    for source, text in (("Article I", ARTICLE_1), ("Article III", ARTICLE_3)):
        for line in text.strip().splitlines():
            *words, mp, mgp, mds, solid, s2, path, diameter = line.split()
            title = " ".join(words)
            row = next((name for name in names if name.startswith(title)), None)
            if row:
                found[row] = source, [mp, mgp, mds, solid, s2, path, diameter, "-", "-", "-"]
    return found


def by_network(stack: xr.Dataset, *, model: str, voltages: tuple[float, ...]) -> xr.Dataset:
    """Segment by the network of some of the voltages, which sees no others."""
    return segment_phases(stack.sel(voltage=list(voltages)), method="network", model=model)


def classical() -> dict[str, Method]:
    """Return methods that look at grey values alone, by name."""
    found: dict[str, Method] = {}
    for title, method in (("Otsu", "otsu"), ("k-means", "kmeans")):
        for kilovolts in VOLTAGES:
            one = partial(segment_phases, method=method, voltage=kilovolts)
            found[f"{title}, {kilovolts:g} kV"] = one
    found[f"k-means, {named(VOLTAGES)}"] = segment_phases
    return found


def ours(model: str) -> dict[str, Method]:
    """Return our network with all voltages, and some of them, by name."""
    if model == "none":
        return {}
    return {
        f"network, {named(voltages)}": partial(by_network, model=model, voltages=voltages)
        for voltages in SUBSETS
    }


def of_articles(chosen: argparse.Namespace, found: list[Sample]) -> dict[str, Method]:
    """Return networks of the articles, trained, by name."""
    wanted = members(VOLTAGES, chosen.width, chosen.networks)
    if not wanted:
        return {}
    stacks = [SimulatedStack.open(folder) for folder in training_data(chosen)]
    # What is judged by must not have been learnt from.
    seeds = {seed for stack in stacks for seed in stack.seeds.values()}
    for sample in found:
        if seeds & sample.seeds:
            msg = f"{sample.name} was learnt from: the same seeds {sorted(seeds & sample.seeds)}"
            raise SystemExit(msg)
    check_data(stacks, [], CROP)
    school = School(stacks, chosen.state, chosen.minutes)
    return {member.name: school.trained(member).segment for member in wanted}


def training_data(chosen: argparse.Namespace) -> list[Path]:
    """Return folders of stacks to learn from, made by the recipes of our models if need be."""
    if chosen.training:
        return list(chosen.training)
    folders = []
    for recipe in sorted(MODELS.glob("gold-[0-9].toml")):
        folder = (chosen.folder / recipe.stem).absolute()
        fibdask(["simulate", str(recipe), "--out", str(folder), "--quiet"])
        folders.append(folder)
    return folders


def figures(segmented: xr.Dataset, sample: Sample, surface: float, seconds: float) -> list[float]:
    """Return a number for each column."""
    phase = segmented["phase"]
    errors = segmentation_errors(phase, sample.images["true_phase"]).compute()
    shares = [float(errors[name]) for name in ("misplaced", "misplaced_solid", "mean_dice")]
    volume = filled(segmented, "distance")["phase"].compute()
    found = float(specific_surface_area(volume))
    return [
        *shares,
        float(phase.mean()),
        *isotropy(volume),
        float(percolates(volume).sum()),
        100 * (found / surface - 1),
        seconds,
    ]


def measure(sample: Sample, methods: dict[str, Method], electrons: float) -> dict[str, list[float]]:
    """Return the figures of a stack, by method."""
    stack = thinned(sample.images, electrons)
    surface = float(specific_surface_area(sample.truth()))
    perfect = stack.assign(phase=stack["true_phase"])
    rows = {"truth": figures(perfect, sample, surface, float("nan"))}
    for name, method in methods.items():
        phase, seconds = timed(method, stack)
        rows[name] = figures(stack.assign(phase=phase), sample, surface, seconds)
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


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = command_line("Segmentation of simulated slices")
    parser.set_defaults(electrons=[100, 50, 20])
    add = parser.add_argument
    add("--training", type=Path, nargs="*", help="folders of stacks to learn from instead")
    add("--networks", nargs="*", default=["*"], help="of the articles: names, or patterns of them")
    add("--minutes", type=float, default=1.0, help="that each of them learns")
    add("--width", type=int, default=16, help="features of their finest level; 64 as published")
    add("--state", type=Path, default=Path("benchmark-data/networks"), help="of their trainings")
    add("--bound", type=Path, help="folder of a stack of many electrons for the bound instead")
    return parser.parse_args()


def main() -> None:
    """Print a table for each number of electrons, and what noise allows."""
    chosen = options()
    found = samples(chosen)
    sent = min(electrons_sent(sample.images) for sample in found)
    methods = classical() | of_articles(chosen, found) | ours(chosen.model)
    for electrons in chosen.electrons:
        if electrons > sent:
            print(f"{electrons:g} electrons on a pixel: only {sent:g} were simulated")
            continue
        measured = [measure(sample, methods, electrons) for sample in found]
        print(f"{electrons:g} electrons on a pixel: {', '.join(s.name for s in found)}")
        print_table(COLUMNS, measured, published([*measured[0]]))
        if chosen.model != "none":
            for sample in found:
                print_located(thinned(sample.images, electrons), chosen.model)
    print_bound(chosen)


if __name__ == "__main__":
    main()
