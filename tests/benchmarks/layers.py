"""Layers from series of beam energies, on the protocol of V. Artemov et al., and beyond it.

Their maps are made as their program makes them: Perlin noise of 2 × 2 cells, cut into terraces and
stretched to 15 nm of gold and 150 nm of aluminium, in whole nm. Volumes have voxels of 10 nm, of
which each material has as many as fit into its thickness; an absent class counts as right.

Signals of `monte_carlo` are made by a table of other electrons than they are read with, drawn from
the counts of the one that ships: both differ by the error that it states.

    python -m tests.benchmarks.layers [--maps 40] [--speed SIDE] [--methods "likelihood;network"]
"""

import argparse
import contextlib
import shutil
import tempfile
import threading
import time
from pathlib import Path

import dask.array as da
import numpy as np
import psutil
import xarray as xr

import fibdask
from fibdask.microtomography.films import shipped_films, write_films

LAYERS = (("Al", 150.0), ("Au", 15.0))
PUBLISHED = {
    "Tikhonov (published)": (0.617, 0.642, 0.876),
    "U-Net to maps (published)": (0.953, 0.957, 0.995),
    "hybrid UVNet (published)": (0.938, 0.982, 0.981),
}
PUBLISHED_SHARP = {
    "Tikhonov, no noise": (0.893, 0.900, 0.980),
    "Tikhonov, 2 %": (0.572, 0.614, 0.962),
    "hybrid UVNet, 2 %": (0.734, 0.815, 0.978),
}
METHODS = {
    "tikhonov": {"method": "tikhonov"},
    "likelihood": {},
    "likelihood, smoothing 9": {"smoothing": 9.0},
    "network": {"method": "network"},
}
SIZE, PLANES = 128, 16
TINY = 1e-7


def perlin(size: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Return Perlin noise (y, x) with gradients of components uniform from -1 to 1."""
    slopes = rng.uniform(-1, 1, (cells + 1, cells + 1, 2))
    places = np.arange(size) / size * cells
    corner, inside = places.astype(int), places % 1
    fade = inside**3 * (inside * (6 * inside - 15) + 10)
    noise = np.zeros((size, size))
    for a in (0, 1):
        for b in (0, 1):
            slope = slopes[np.ix_(corner + a, corner + b)]
            ramp = slope[..., 0] * (inside - a)[:, None] + slope[..., 1] * (inside - b)
            noise += ramp * np.outer(abs(1 - a - fade), abs(1 - b - fade))
    return noise


def published_map(seed: int) -> np.ndarray:
    """Return thicknesses (Al, Au; y, x) in whole nm."""
    rng = np.random.default_rng((2022, seed))
    maps = []
    for steps, most in ((10, 150), (20, 15)):
        terraces = np.zeros(1)
        while not terraces.max():
            terraces = np.floor(np.maximum(perlin(SIZE, 2, rng), 0) * steps)
        maps.append(np.floor(terraces * most / terraces.max()))
    return np.array(maps)


def as_array(maps: np.ndarray) -> xr.DataArray:
    places = {axis: (axis, np.arange(n) * 10.0, {"units": "nm"})
              for axis, n in zip("yx", maps.shape[1:], strict=True)}  # fmt: skip
    coords = {"layer": ["Al", "Au"], **places}
    return xr.DataArray(maps, dims=("layer", "y", "x"), coords=coords, attrs={"units": "nm"})


def volume(maps: np.ndarray) -> np.ndarray:
    """Return classes (z, y, x) from the substrate up: 1 gold, 2 aluminium, 0 empty."""
    aluminium, gold = np.floor(np.rint(maps) / 10)
    z = np.arange(PLANES)[:, None, None]
    return np.where(z < gold, 1, np.where(z < gold + aluminium, 2, 0))


def scores(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return intersections, unions and sizes (3, class)."""
    pairs = [(found == c, truth == c) for c in range(3)]
    return np.array([[(f & t).sum(), (f | t).sum(), t.sum()] for f, t in pairs]).T


def published_scores(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return IoU and recall by class, and accuracy, of counts (map, 3, class), as they do."""
    both, either, there = counts.swapaxes(0, 1)
    iou = ((both + TINY) / (either + TINY)).mean(axis=0)
    recall = ((both + TINY) / (there + TINY)).mean(axis=0)
    return iou, recall, float(both.sum() / there.sum())


def estimate(
    maps: np.ndarray, forward: str, noise: float, seed: int, table: Path | None = None, **options
) -> xr.Dataset:
    signal = fibdask.layer_signals(
        as_array(maps), forward=forward, noise=noise, seed=seed, table=table
    )
    return fibdask.estimate_layers(
        signal, forward=forward, layers=LAYERS, noise=max(noise, 1e-3), **options
    ).compute(scheduler="sync")


def row(name: str, counts: list[np.ndarray]) -> None:
    iou, recall, accuracy = published_scores(np.array(counts))
    told = f"{iou.mean():.3f}  {recall.mean():.3f}  {accuracy:.3f}"
    materials = f"Au {iou[1]:.3f} {recall[1]:.3f}  Al {iou[2]:.3f} {recall[2]:.3f}"
    print(f"{name:32} {told}    {materials}", flush=True)


def table_of_maps(number: int) -> None:
    maps = [published_map(seed) for seed in range(number)]
    bare = [np.mean([m[k] == 0 for m in maps]) for k in (1, 0)]
    print(f"\n{number} maps of {SIZE}², 2 % noise, report2022; without Au {bare[0]:.2f}, "
          f"without Al {bare[1]:.2f}; thickness rounded to whole nm, as the maps are")  # fmt: skip
    print(f"{'':32} mIoU   recall accuracy  by material: IoU, recall")
    for name, (iou, recall, accuracy) in PUBLISHED.items():
        print(f"{name:32} {iou:.3f}  {recall:.3f}  {accuracy:.3f}")
    for name, options in METHODS.items():
        counts = []
        for seed, truth in enumerate(maps):
            found = estimate(truth, "report2022", 0.02, seed, **options)["thickness"].values
            counts.append(scores(volume(found), volume(truth)))
        row(name, counts)


def table_of_sharp(number: int) -> None:
    print(f"\n{number} maps of {SIZE}² of plates and lines (layered_film, relief='sharp')")
    for name, (iou, recall, accuracy) in PUBLISHED_SHARP.items():
        print(f"{name + ' (published)':32} {iou:.3f}  {recall:.3f}  {accuracy:.3f}")
    films = [(name, 0.0, most) for name, most in LAYERS]
    for noise in (0.0, 0.005, 0.02):
        for name, options in METHODS.items():
            if name == "network" and not noise:
                continue  # it has learnt from noisy signals
            counts = []
            for seed in range(number):
                shape = (PLANES, SIZE, SIZE)
                film = fibdask.layered_film(
                    shape, layers=films, relief="sharp", feature_size=640.0, seed=seed
                )
                truth = film["layer_thickness"].values
                found = estimate(truth, "report2022", noise, seed, **options)["thickness"].values
                counts.append(scores(volume(found), volume(truth)))
            row(f"{name}, {100 * noise:g} %", counts)


def other_tables(folder: Path, number: int) -> list[Path]:
    """Write tables of films as other electrons might have made them."""
    paths = [folder / f"films-{seed}.npz" for seed in range(number)]
    for seed, path in enumerate(paths):
        write_films(shipped_films().redrawn(np.random.default_rng(seed)), path)
    return paths


def table_of_errors(number: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows_of_errors(number, other_tables(Path(folder), number))


def rows_of_errors(number: int, tables: list[Path]) -> None:
    print(f"\nmean absolute error in nm (Al, Au) of {number} of the maps, and the share of pixels "
          "with a layer that lie within one standard error of it")  # fmt: skip
    maps = [published_map(seed) for seed in range(number)]
    for forward in ("report2022", "analytic", "monte_carlo"):
        for noise in (0.005, 0.01, 0.02, 0.05):
            for name, options in METHODS.items():
                off, inside = [], []
                for seed, truth in enumerate(maps):
                    table = tables[seed] if forward == "monte_carlo" else None
                    found = estimate(truth, forward, noise, seed, table, **options)
                    apart = np.abs(found["thickness"].values - truth)
                    off.append(apart.mean(axis=(1, 2)))
                    if "thickness_error" in found:
                        within = apart <= found["thickness_error"].values
                        inside.append([within[k][truth[k] > 0].mean() for k in (0, 1)])
                al, au = np.mean(off, axis=0)
                told = "" if not inside else "  inside {:.2f} {:.2f}".format(*np.mean(inside, 0))
                print(f"{forward:12} {100 * noise:3g} %  {name:24} {al:6.2f} {au:6.3f}{told}",
                      flush=True)  # fmt: skip


class Peak:
    """The most memory that a child process has taken while it was watched, and their own time.

    `gib` is in GiB, `seconds` that of all processors.
    """

    def __init__(self) -> None:
        self.gib, self._over = 0.0, threading.Event()
        self._before = self._own_seconds()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.seconds = self._own_seconds() - self._before

    def _own_seconds(self) -> float:
        taken = 0.0
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                taken += sum(process.cpu_times()[:2])
        return taken

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            taken = 0
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    taken = max(taken, process.memory_info().rss)
            self.gib = max(self.gib, taken / 2**30)


def tiled_signals(side: int, folder: Path) -> xr.DataArray:
    """Return signals of a large map, lazily: those of one of 512² again and again."""
    films = [(name, 0.0, most) for name, most in LAYERS]
    film = fibdask.layered_film(
        (1, 512, 512), layers=films, relief="terraced", feature_size=640.0, seed=0
    )
    small = fibdask.layer_signals(film["layer_thickness"], noise=0.02, seed=0)
    fibdask.save_stack(small.to_dataset(), folder / "small.zarr")
    small = fibdask.open_stack(folder / "small.zarr")["signal"]
    times = -(-side // 512)
    values = da.concatenate([da.concatenate([small.data] * times, 1)] * times, 2)
    places = {axis: (axis, np.arange(side) * 10.0, {"units": "nm"}) for axis in "yx"}
    coords = {"energy": small["energy"].variable, **places}
    data = values[:, :side, :side]
    return xr.DataArray(data, coords, small.dims, name="signal", attrs=small.attrs)


def table_of_speed(side: int, names: list[str]) -> None:
    """Estimate a large stored map on two workers of 1.5 GiB."""
    folder = Path(tempfile.mkdtemp(prefix="layers-"))
    try:
        signal = tiled_signals(side, folder)
        with fibdask.local_cluster(workers=2, memory="1.5 GiB"):
            fibdask.save_stack(signal.to_dataset(), folder / "signals.zarr")
            stored = fibdask.open_stack(folder / "signals.zarr")
            for name in names:
                sample = fibdask.estimate_layers(stored, layers=LAYERS, **METHODS[name])
                began = time.perf_counter()
                with Peak() as peak:
                    fibdask.save_stack(sample[["thickness"]], folder / f"{name}.zarr")
                seconds = time.perf_counter() - began
                print(f"{side}² × 31, {name}, 2 workers of 1.5 GiB: {seconds:.0f} s, "
                      f"{side**2 / 1e6 / seconds:.3f} Mpix/s, {peak.seconds:.0f} s of processors, "
                      f"{peak.gib:.2f} GiB at most in one",
                      flush=True)  # fmt: skip
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--maps", type=int, default=40)
    parser.add_argument("--speed", type=int, default=1024, help="side of the map in pixels")
    parser.add_argument("--methods", default=";".join(METHODS), help="whose speed is told")
    options = parser.parse_args()
    if options.maps:
        table_of_maps(options.maps)
        table_of_sharp(max(options.maps // 4, 1))
        table_of_errors(max(options.maps // 10, 1))
    table_of_speed(options.speed, options.methods.split(";"))


if __name__ == "__main__":
    main()
