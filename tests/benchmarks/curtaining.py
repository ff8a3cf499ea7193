"""Stripes added and real, and steps of brightness, repaired: fibdask beside wavelet-Fourier.

`left`: energy of the added stripes in their wedge over that of what is left of them, the repaired
striped image less the repaired clean one. `error`: the same less the clean image itself, so with
the damage to its structure. `whole`: as `left`, in and outside of the wedge. `std`: change of the
clean images' standard deviation. `changed`: rms change of the clean images over that standard
deviation.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu

from fibdask import levelled_wave, read_images, simulate_images
from fibdask.align import equalize_brightness, remove_curtaining
from fibdask.conventions import build_stack
from tests.align.naive_repair import make_stripes, wavelet_fourier, wedge_energy

DATA = Path(__file__).parents[3] / "shared" / "data"
BAR = 0.912  # of the height of the dealloyed images; below it is the data bar


def stack_of(images):
    """Return a stack of one voltage."""
    z = 5.0 * np.arange(len(images))
    return build_stack(
        {"intensity": images[None]}, z=z, pixel_size=(5, 5), nominal_thickness=5, voltage=[2.0]
    )


def fib25(step=1):
    """Return real isotropic texture (z, y, x)."""
    stack = read_images(DATA / "fib25", voltage=2.0, pixel_size=8.0, slice_thickness=8.0)
    return stack["intensity"].values[0, ::step]


def porous(side=512, slices=8):
    """Return clean images of a porous structure, every sixth slice."""
    phase = levelled_wave(
        (6 * slices + 40, side, side), voxel_size=5, ligament_size=60, solid_fraction=0.4, seed=5
    )
    stack = simulate_images(phase, model="analytic", voltage=2.0, electrons_per_pixel=500, seed=3)
    return stack["intensity"].isel(z=slice(0, 6 * slices, 6)).values[0]


def without_stripes(images):
    """Repair float images with fibdask."""
    return remove_curtaining(stack_of(images.astype(np.float32)))["intensity"].values[0]


def by_wavelets(levels, sigma):
    """Return the peer with its two parameters."""
    return lambda images: np.array([wavelet_fourier(image, levels, sigma) for image in images])


def compare_stripes(name, clean, widths=(1, 2, 4)):
    """Print how methods remove added stripes, blurred by `widths`, from clean images (z, y, x)."""
    clean = clean.astype(np.float32)
    methods = {"fibdask": without_stripes}
    for levels, sigma in ((3, 1), (4, 2), (4, 4)):
        methods[f"wavelet-Fourier {levels} {sigma}"] = by_wavelets(levels, sigma)
    for share in (0.6, 0.3, 0.15):
        added = np.array(
            [
                make_stripes(image.shape, share * image.std(), k, widths)
                for k, image in enumerate(clean)
            ]
        )
        for method, repair in methods.items():
            same = repair(clean)
            striped = repair(clean + added)
            scores = [energy(added) / energy(striped - other) for other in (same, clean)]
            whole = (added**2).sum() / ((striped - same) ** 2).sum()
            std = np.mean([a.std() / b.std() - 1 for a, b in zip(same, clean, strict=True)])
            changed = (same - clean).std() / clean.std()
            print(
                f"{name:8s} stripes {share:4.2f} std  {method:20s} left 1/{scores[0]:<6.1f} "
                f"error 1/{scores[1]:<6.1f} whole 1/{whole:<6.1f} std {100 * std:+.2f} %  "
                f"changed {100 * changed:.1f} %"
            )


def energy(images):
    """Return the energy in the wedge of all images."""
    return sum(wedge_energy(image) for image in images)


def region_of(mask):
    """Return the hand-drawn region about: in each column from the first to the last white."""
    wide = ndimage.maximum_filter1d(mask, 21, axis=1)
    return np.maximum.accumulate(wide) & np.maximum.accumulate(wide[::-1])[::-1]


def bulk_energy(image, region):
    """Return the power in the wedge in the strip of bulk below the region, where it is 96 high."""
    last = len(region) - np.argmax(region[::-1].any(axis=1))
    return wedge_energy(image[last + 8 : last + 104].astype(float) - image.mean())


def compare_real(out):
    """Print the agreement with the authors' masks on real images, before and after.

    The masks are thresholds of the raw grey values, dark and bright, after a median of 3 x 3: with
    stripes and all. They tell how little of the structure is changed, not how many stripes go.
    """
    for path in sorted((DATA / "dealloyed").glob("*.tif")):
        image = np.asarray(Image.open(path))
        rows = int(BAR * len(image))
        image = image[:rows]
        mask = np.asarray(Image.open(path.with_name(path.stem + "_mask.png")))[:rows] > 0
        region = region_of(mask)
        repaired = {"before": image}
        for inclination in (0.0, -5.0):
            stack = remove_curtaining(stack_of(image[None]), inclination=inclination)
            repaired[f"fibdask {inclination:g} degrees"] = stack["intensity"].values[0, 0]
        filtered = wavelet_fourier(image, 4, 2)
        repaired["wavelet-Fourier 4 2"] = np.rint(filtered).clip(0, 255).astype(np.uint8)
        for method, grey in repaired.items():
            calm = ndimage.median_filter(grey, 3)[region]
            agreement = agreements(grey[region], mask[region])
            agreement["median, two"] = agreements(calm, mask[region])["best two"]
            text = "  ".join(f"{key} {100 * value:.2f} %" for key, value in agreement.items())
            print(
                f"{path.stem[14:]:14s} {method:20s} {text}  bulk wedge "
                f"{bulk_energy(grey, region) / bulk_energy(image, region):.3f}"
            )
        if out is not None:
            pair = np.hstack([image, repaired["fibdask -5 degrees"]])
            Image.fromarray(pair).save(out / f"{path.stem}.png")


def agreements(grey, white):
    """Return the shares of pixels alike: Otsu, and the best of one threshold and of two."""
    counts = [np.bincount(grey[white == side], minlength=256) for side in (False, True)]
    gained = np.cumsum(counts[0].astype(int) - counts[1])
    between = gained - np.minimum.accumulate(np.append(0, gained))[:-1]
    return {
        "Otsu": ((grey > threshold_otsu(grey)) == white).mean(),
        "best threshold": (counts[1].sum() + gained.max()) / len(grey),
        "best two": (counts[1].sum() + between.max()) / len(grey),
    }


def compare_brightness(name, clean):
    """Print how steps, trends and shading that are added to clean images are removed."""
    rng = np.random.default_rng(0)
    n_z, n_y, n_x = clean.shape
    base = 0.7 * clean + 20.0
    gain, offset = rng.uniform(0.8, 1.2, n_z), rng.uniform(-10, 10, n_z)
    offset += np.linspace(-10, 10, n_z)
    y, x = np.linspace(-1, 1, n_y)[:, None], np.linspace(-1, 1, n_x)[None]
    shaded = base * (1 + 0.1 * x + 0.05 * y)
    spoilt = gain[:, None, None] * shaded + offset[:, None, None]
    spoilt = np.rint(spoilt.clip(0, 255)).astype(np.uint8)
    for shading in (True, False):
        same = equalize_brightness(stack_of(clean), shading=shading)["intensity"].values[0]
        equal = equalize_brightness(stack_of(spoilt), shading=shading)["intensity"].values[0]
        slope, level = np.polyfit(base.ravel()[::17], equal.ravel()[::17], 1)
        error = (equal - slope * base - level) / slope
        print(
            f"{name:8s} shading {shading!s:5s} rms error {(spoilt - base).std():.2f} -> "
            f"{error.std():.2f}, of slices' means {(spoilt - base).mean(axis=(1, 2)).std():.2f} -> "
            f"{error.mean(axis=(1, 2)).std():.2f}; solid share by Otsu clean "
            f"{profile(clean).mean():.4f} -> {profile(same).mean():.4f}, its profile: clean std "
            f"{profile(clean).std():.4f}, rms changes: clean repaired "
            f"{rms(profile(same) - profile(clean)):.4f}, spoilt "
            f"{rms(profile(spoilt) - profile(clean)):.4f} -> "
            f"{rms(profile(equal) - profile(clean)):.4f}"
        )


def profile(images):
    """Return the share of each slice above Otsu's threshold of all."""
    return (images > threshold_otsu(images)).mean(axis=(1, 2))


def rms(values):
    """Return the root mean square."""
    return np.sqrt(np.mean(values**2))


def time_repairs(side=2048):
    """Print seconds per megapixel."""
    image = np.tile(porous(512, 1)[0], (side // 512, side // 512)).astype(np.float32)
    peer = by_wavelets(4, 2)
    level = stack_of(image[None].astype(np.uint8))
    for name, repair in (
        ("remove_curtaining", lambda: without_stripes(image[None])),
        ("wavelet-Fourier", lambda: peer(image[None])),
        ("equalize_brightness", lambda: equalize_brightness(level)["intensity"].values),
    ):
        started = time.perf_counter()
        repair()
        seconds = time.perf_counter() - started
        print(f"{name:20s} {1e6 * seconds / side**2:.3f} s/Mpx on an image of {side} x {side}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder for pairs of real images")
    folder = parser.parse_args().out
    pores, texture = porous(), fib25(1)
    compare_stripes("porous", pores)
    compare_stripes("fib25", texture[::32])
    compare_stripes("broad", porous(1024, 2), widths=(6,))
    compare_real(folder)
    deep = levelled_wave(
        (100, 384, 384), voxel_size=5, ligament_size=60, solid_fraction=0.4, seed=5
    )
    clean = simulate_images(deep, model="analytic", voltage=2.0, electrons_per_pixel=500, seed=3)[
        "intensity"
    ]
    compare_brightness("porous", clean.isel(z=slice(0, 60)).values[0])
    compare_brightness("fib25", texture)
    time_repairs()
