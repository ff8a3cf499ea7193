"""Registration of a real texture with known shifts, beside chained phase correlation.

python tests/benchmarks/align.py [folder of fib25] re-slices the volume along y and x, moves the
slices by a random walk and a tilt of 2 degrees, and prints how far the estimates are from the
known shifts, relative to the estimate on the same slices left alone: root mean square of the
vector in pixels, and the error of the tilt in per cent. The peer is scikit-image's
phase_cross_correlation, one pair after the other.

Errors add up along the stack as a random walk does, and the tilt is the slope of that: it differs
much from drift to drift. At last, all drifts are summed up, with standard errors; no smaller change
of ours is one.
"""

import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import xarray as xr
from scipy import ndimage
from skimage.io import imread

from fibdask.align import apply_shifts, estimate_shifts, measure_pairs
from fibdask.conventions import build_stack
from tests.align.naive import chained, moved
from tests.benchmarks.registration import print_shine_through

FIB25 = Path(__file__).parents[3] / "shared" / "data" / "fib25"
MARGIN = 25  # pixels that shifts move in
LARGEST = 20  # pixels, of the random walk
TILT = np.tan(np.deg2rad(2))  # pixels a slice
DRIFTS = 8  # by fractions of pixels, of which the peer is shown the first ones
SHOWN = 2
BAD = 0.05  # share of slices that are blank or defocused
PIXEL = 10.0  # nm


def stack_of(images):
    """Return a stack of one voltage."""
    return build_stack(
        {"intensity": np.asarray(images)[np.newaxis]},
        z=np.arange(len(images)) * PIXEL,
        pixel_size=(PIXEL, PIXEL),
        nominal_thickness=PIXEL,
        voltage=np.ones(1),
    )


def drift(count, whole, seed):
    """Return known shifts in pixels (slice, 2): a random walk, and a tilt along y."""
    walk = np.cumsum(np.random.default_rng(seed).normal(size=(count, 2)), axis=0)
    walk *= LARGEST / np.abs(walk).max()
    walk[:, 0] += TILT * (np.arange(count) - count / 2)
    return np.rint(walk) if whole else walk


def spoiled(images, seed):
    """Return images of which some are blank and some defocused, and which are left."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(np.arange(1, len(images) - 1), round(BAD * len(images)), replace=False)
    images, good = images.copy(), np.ones(len(images), bool)
    good[chosen] = False
    images[chosen[::2]] = 0
    for k in chosen[1::2]:
        images[k] = ndimage.gaussian_filter(images[k], 4)
    return images, good


def ours(images):
    """Return shifts in pixels (slice, 2) and flags."""
    found = estimate_shifts(stack_of(images))
    shift = np.stack([found["shift_y"].values[0], found["shift_x"].values[0]], axis=-1)
    return shift / PIXEL, found["flag"].values[0] > 0


def peer(images):
    """Return shifts in pixels (slice, 2); nothing is flagged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of blank images
        shifts = chained(images)
    return shifts, np.zeros(len(images), bool)


def errors(estimate, images, still, known, good):
    """Return rms error, tilt error in per cent, slices flagged rightly and wrongly, Mpx/s.

    Tilts that are found too large have an error above 0, others one below.
    """
    start = time.perf_counter()
    found, flagged = estimate(images)
    speed = images.size / (time.perf_counter() - start) / 1e6
    error = (found - still + known)[good]
    tilt = -np.polyfit(np.flatnonzero(good), error[:, 0], 1)[0] / TILT
    rms = np.sqrt(np.square(error - error.mean(0)).sum(-1).mean())
    return rms, 100 * tilt, (flagged & ~good).sum(), (flagged & good).sum(), speed


def main(folder=FIB25):
    """Print the tables."""
    volume = np.stack([imread(file) for file in sorted(Path(folder).glob("*.png"))])
    heads = ("rms px", "tilt %", "flagged", "wrongly", "Mpx/s")
    print("case".ljust(34), *(head.rjust(8) for head in heads))
    found = defaultdict(list)
    for name, order in {"y": (1, 0, 2), "x": (2, 0, 1)}.items():
        slices = volume.transpose(order)
        base = np.stack([moved(image, (0, 0), MARGIN) for image in slices])
        stills = {method: method(base)[0] for method in (ours, peer)}
        for seed in range(DRIFTS + 1):
            for kind, method, row in drifted(slices, stills, seed):
                shifts = "sub-pixel" if seed else "whole"
                label = f"along {name}, {shifts} {seed}, {kind}, {method.__name__}"
                print(label.ljust(34), *(f"{value:8.3g}" for value in row), flush=True)
                found[kind, method.__name__].append(row[:2])
    for case, rows in found.items():
        print_summary(", ".join(case), np.array(rows))
    large()
    print_shine_through()


def drifted(slices, stills, seed):
    """Iterate over cases of a drift: which images were spoiled, the method, and its errors."""
    known = drift(len(slices), seed == 0, seed)
    images = np.stack([moved(im, s, MARGIN) for im, s in zip(slices, known, strict=True)])
    every = np.ones(len(images), bool)
    for kind, case in {"clean": (images, every), "5 % bad": spoiled(images, seed)}.items():
        for method, still in stills.items():
            if method is ours or seed <= SHOWN:
                yield kind, method, errors(method, case[0], still, known, case[1])


def print_summary(case, rows):
    """Print root mean squares of rms and tilt (case, 2) over cases, with standard errors."""
    squares = np.square(rows)
    means = np.sqrt(squares.mean(0))
    wrong = squares.std(0, ddof=1) / np.sqrt(len(rows)) / (2 * means)
    told = (f"{mean:.3g} ± {error:.2g}" for mean, error in zip(means, wrong, strict=True))
    print(f"all {len(rows)}, {case}: rms {next(told)} px, tilt {next(told)} %")


def large(size=4096, count=8):
    """Print the speed on large images, of measuring once and of applying."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, size, size), dtype=np.uint8)
    stack = stack_of(images)
    start = time.perf_counter()
    measure_pairs(stack).compute(scheduler="synchronous")
    speed = images.size / (time.perf_counter() - start) / 1e6
    print(f"measure_pairs, {count} x {size}²: {speed:.0f} Mpx/s a core")
    pixels = np.full((1, count), 33.3 * PIXEL)
    shifts = xr.Dataset({f"shift_{axis}": (("voltage", "z"), pixels) for axis in "yx"})
    start = time.perf_counter()
    apply_shifts(stack, shifts)["intensity"].data.compute(scheduler="synchronous")
    speed = images.size / (time.perf_counter() - start) / 1e6
    print(f"apply_shifts, {count} x {size}²: {speed:.0f} Mpx/s a core")


if __name__ == "__main__":
    main(*sys.argv[1:])
