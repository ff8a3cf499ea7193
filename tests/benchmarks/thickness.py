"""Slice thickness: what is recovered of planes dropped from a real stack, and from rulers.

python tests/benchmarks/thickness.py [data] [seeds] drops planes of fib25 (10 nm, isotropic) by
gamma laws along each axis, and prints the error after scale, rms(a t - true) / mean(true) with the
best a, and the scale, mean(t) / mean(true), as mean over seeds; beside a constant thickness and the
correlation of neighbours looked up in one mean in-plane curve. Then rulers are rendered.
"""

import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from fibdask.conventions import build_stack
from fibdask.thickness.estimation import estimate_slice_thickness
from tests.thickness.naive import (
    gamma_planes,
    render_ruler,
    scaled_error,
    thickness_by_mean_curve,
)

VOXEL = 10.0  # nm
LAWS = ((3.0, 1.0), (3.0, 1.7), (2.0, 1.0), (5.0, 2.0))  # planes
PIXEL = 3.26  # nm


def stack_of(slices, pixel, step):
    """Return a stack that knows nothing but a mean thickness."""
    return build_stack(
        {"intensity": slices[np.newaxis]},
        z=step * np.arange(len(slices)),
        pixel_size=(pixel, pixel),
        nominal_thickness=step,
        voltage=np.array([2.0]),
    )


def spoiled(slices, seed):
    """Blank every twentieth slice, defocus another twentieth, and add noise to all."""
    rng = np.random.default_rng(seed)
    out = slices + rng.normal(0, 8, slices.shape)
    out[7::20] = 0
    for k in range(15, len(out), 20):
        out[k] = gaussian_filter(out[k], 2.5)
    return np.clip(out, 0, 255).astype(np.uint8)


def by_images(slices, true):
    """Return error after scale and scale, on slices with a thickness, and how many have none."""
    found = estimate_slice_thickness(stack_of(slices, VOXEL, true.mean()), method="images")
    found = found.values[:-1]
    known = np.isfinite(found)
    return (*scaled_error(found[known], true[known]), np.count_nonzero(~known))


def dropped_planes(volume, seeds):
    """Print the table of dropped planes."""
    print(f"{'planes':>10} axis {'constant':>9} {'mean curve':>16} {'images':>16}", end="")
    print(f" {'images, spoiled':>22} {'s':>6}")
    for mean, std in LAWS:
        for axis in range(3):
            turned = np.moveaxis(volume, axis, 0)
            rows, start = [], time.perf_counter()
            for seed in range(seeds):
                planes = gamma_planes(len(turned), mean, std, seed)
                slices = np.ascontiguousarray(turned[planes])
                true = VOXEL * np.diff(planes)
                peer = scaled_error(VOXEL * thickness_by_mean_curve(slices), true)
                spoilt = by_images(spoiled(slices, seed), true)
                rows.append([true.std() / true.mean(), *peer, *by_images(slices, true), *spoilt])
            row = np.mean(rows, axis=0)
            print(
                f"{mean:4.1f} ± {std:3.1f}  {'zyx'[axis]}   {row[0]:9.1%}"
                f" {row[1]:9.1%} × {row[2]:4.2f} {row[3]:9.1%} × {row[4]:4.2f}"
                f" {row[6]:9.1%} × {row[7]:4.2f} ({row[8]:4.1f})"
                f" {time.perf_counter() - start:6.1f}"
            )


def rulers(count=400):
    """Print the table of rendered rulers."""
    print(f"\n{'ruler':>24} {'rows':>5} {'noise':>6} {'rms nm':>7} {'stated':>7} {'lost':>5}")
    rng = np.random.default_rng(0)
    true = np.maximum(rng.gamma(10.6, 10.16 / 10.6, count - 1), 1.0)
    for rows, noise in ((120, 10), (60, 10), (60, 20), (20, 10)):
        slices, ruler = render_ruler(
            true, pixel=PIXEL, shape=(rows, 2400), half=880, noise=noise, drift=0.5
        )
        slices[50] = 0
        one = ruler | {"inclined": ruler["inclined"][:1]}
        for name, table in (("two inclined marks", ruler), ("one inclined mark", one)):
            found = estimate_slice_thickness(stack_of(slices, PIXEL, 10.0), ruler=table)
            error = np.sqrt(np.nanmean((found.values[:-1] - true) ** 2))
            stated = np.sqrt(np.nanmean(found["standard_error"].values ** 2))
            lost = np.flatnonzero(found["lost"]).tolist()
            print(f"{name:>24} {rows:5d} {noise:6d} {error:7.3f} {stated:7.3f} {lost}")


def main(data="../shared/data/fib25", seeds=3):
    """Print both tables."""
    files = sorted(Path(data).glob("*.png"))
    if files:
        dropped_planes(np.stack([np.asarray(Image.open(path)) for path in files]), int(seeds))
    else:
        print(f"{data} holds no images: dropped planes are left out")
    rulers()


if __name__ == "__main__":
    main(*sys.argv[1:])
