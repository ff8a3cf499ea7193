"""Simulated stacks of seeds that no network has seen, for benchmarks of what is made of them.

Each is made once, by `fibdask simulate` of a recipe that is written beside it, and taken up where
it was if that is interrupted. Electrons are many at first; images of fewer are drawn from these.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from fibdask import FibdaskWarning, inpaint_gaps, open_stack, reposition_slices
from fibdask.conventions import recorded_steps
from fibdask.run.cli import main as fibdask

SPACING = 2.5  # nm
ELECTRONS = 60  # on a pixel of what is simulated
RECIPE = """title = "{images} images of seed {seed}"

[simulate]
shape = [{planes}, {pixels}, {pixels}]
voxel_size = 2.5
ligament_size = [110, 15]
solid_fraction = [0.35, 0.35]
unmilled = 100
voltage = [1, 2, 4]
model = "{images}"
electrons_per_pixel = {electrons}
gaussian_std = 0
dtype = "float32"
seed = {seed}

[cluster]
workers = {workers}

[output]
path = "{path}"
report = false
"""
WHITE = 0.6  # backscatter coefficient that images show white


@dataclass(frozen=True)
class Sample:
    """Images with their truth on the slices, and the phase of the structure."""

    name: str
    images: xr.Dataset
    structure: xr.DataArray

    def truth(self) -> xr.DataArray:
        """Return the true phase from the first slice to the last."""
        z = self.images["z"].values
        return self.structure.sel(z=slice(z[0] - SPACING / 2, z[-1] + SPACING / 2))

    @property
    def seeds(self) -> set[int]:
        """Return those of all steps that made it."""
        given = (step["parameters"] for step in recorded_steps(self.images))
        return {parameters["seed"] for parameters in given if "seed" in parameters}


def arguments(about: str) -> argparse.Namespace:
    """Read the command line."""
    return command_line(about).parse_args()


def command_line(about: str) -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--folder", type=Path, default=Path("benchmark-data"), help="of the stacks")
    parser.add_argument("--seeds", type=int, nargs="+", default=[101])
    parser.add_argument("--planes", type=int, default=144, help="of the structure")
    parser.add_argument("--pixels", type=int, default=256, help="along y and x")
    parser.add_argument("--images", choices=("monte_carlo", "analytic"), default="monte_carlo")
    parser.add_argument("--workers", type=int, default=2, help="that simulate")
    parser.add_argument("--stack", type=Path, help="store of images to take instead")
    parser.add_argument("--structure", type=Path, help="store of the structure of --stack")
    parser.add_argument("--electrons", type=float, nargs="+", default=[50, 20], help="on a pixel")
    parser.add_argument(
        "--model", default="auto", help="network: auto, a name or path, or none for other methods"
    )
    return parser


def samples(chosen: argparse.Namespace) -> list[Sample]:
    """Return the stacks that are asked for, made where they are not there yet."""
    if chosen.stack:
        structure = chosen.structure or chosen.stack.with_name("structure.zarr")
        return [_opened(str(chosen.stack), chosen.stack, structure)]
    found = []
    for seed in chosen.seeds:
        folder = simulated(chosen, seed)
        found.append(opened(f"seed {seed}", folder))
    return found


def simulated(chosen: argparse.Namespace, seed: int, **changed: int) -> Path:
    """Run the recipe of a seed, which makes nothing where all is there; return its folder."""
    given = {key: getattr(chosen, key) for key in ("images", "planes", "pixels", "workers")}
    given |= {"electrons": ELECTRONS, **changed}
    name = f"{chosen.images}-{given['planes']}-{given['pixels']}-{seed}"
    if given["electrons"] != ELECTRONS:
        name += f"-{given['electrons']}"
    folder = (chosen.folder / name).absolute()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    recipe = chosen.folder / f"{name}.toml"
    recipe.write_text(RECIPE.format(seed=seed, path=folder.as_posix(), **given))
    fibdask(["simulate", str(recipe), "--quiet"])
    return folder


def opened(name: str, folder: Path) -> Sample:
    """Read what `fibdask simulate` has left in a folder."""
    return _opened(name, folder / "simulate.zarr", folder / "structure.zarr")


def _opened(name: str, stack: Path, structure: Path) -> Sample:
    images = open_stack(stack)
    # That the stores belong together is seen on the slices, which show planes of the structure.
    phase = open_stack(structure)["phase"].compute()
    sample = Sample(name, images.compute(), phase)
    planes = phase.sel(z=images["z"].values, method="nearest", tolerance=SPACING / 4)
    if not np.array_equal(planes.values, sample.images["true_phase"].values):
        msg = f"the slices of {stack} are no planes of {structure}"
        raise SystemExit(msg)
    return sample


def electrons_sent(stack: xr.Dataset) -> float:
    """Return how many electrons on a pixel a stack was simulated with."""
    return float(recorded_steps(stack)[-1]["parameters"]["electrons_per_pixel"])


def filled(slices: xr.Dataset, method: str) -> xr.Dataset:
    """Put slices with a phase at their depth, and fill the gaps."""
    volume = reposition_slices(slices[["phase"]], spacing=SPACING)
    return inpaint_gaps(volume, method=method)


def thinned(stack: xr.Dataset, electrons: float, *, seed: int = 0) -> xr.Dataset:
    """Return a simulated stack as fewer electrons on a pixel would have shown it.

    Numbers of electrons are Poisson-distributed: of those that were detected, each stays with the
    same probability, and what is left is distributed as if only so many had been sent.
    """
    sent = electrons_sent(stack)
    if electrons > sent:
        msg = f"{electrons:g} electrons on a pixel are more than the {sent:g} that were sent"
        raise SystemExit(msg)
    grey = stack["intensity"]
    detected = np.rint(grey.values * (sent * WHITE)).astype(np.int64)
    rng = np.random.default_rng([seed, round(1000 * electrons)])
    kept = rng.binomial(detected, electrons / sent) / (electrons * WHITE)
    return stack.assign(intensity=(grey.dims, kept.astype(np.float32), grey.attrs))


def timed(
    make: Callable[[xr.Dataset], xr.Dataset], stack: xr.Dataset
) -> tuple[xr.DataArray, float]:
    """Return the phase that is made of a stack, and the seconds it took for a million voxels.

    A corner is made before, so that what is compiled or loaded once does not count.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FibdaskWarning)
        make(stack.isel(y=slice(0, 64), x=slice(0, 64)))["phase"].compute()
        started = time.perf_counter()
        phase = make(stack)["phase"].compute()
    return phase, (time.perf_counter() - started) / (phase.size / 1e6)


Column = tuple[str, int]  # title, digits
Rows = Mapping[str, Sequence[float]]  # of a sample: a number a column, by name


def print_table(
    columns: Sequence[Column],
    measured: Sequence[Rows],
    published: Mapping[str, tuple[str, Sequence[str]]],
) -> None:
    """Print means over samples, with standard deviations where there are several of them.

    Below a row comes what was published, by whom: as texts, a column each.
    """
    titles, digits = zip(*columns, strict=True)
    lines = [("", titles)]
    for name in measured[0]:
        values = np.array([rows[name] for rows in measured])
        lines.append((name, tuple(_texts(values, digits))))
        if name in published:
            source, texts = published[name]
            lines.append((f"  {source}", tuple(texts)))
    first = max(len(name) for name, _ in lines)
    widths = [max(map(len, column)) for column in zip(*(t for _, t in lines), strict=True)]
    for name, texts in lines:
        cells = (f"{text:>{width}}" for text, width in zip(texts, widths, strict=True))
        print("  ".join([f"  {name:<{first}}", *cells]))


def _texts(values: np.ndarray, digits: Sequence[int]) -> Iterator[str]:
    for column, places in zip(values.T, digits, strict=True):
        if np.isnan(column).all():
            yield "-"
            continue
        spread = f" ± {column.std():.{places}f}" if len(column) > 1 else ""
        yield f"{column.mean():.{places}f}{spread}"
