"""Gaps between perfect slices, by every method, with Article II's figures below ours.

make bench-inpainting mills structures that no network has learnt from in slices of 10.16 ± 3.12 nm,
puts them onto planes 2.5 nm apart, and fills the gaps; columns are those of the reconstruction's
benchmark. At last 128 planes of 512² are filled, which took the article's network 44 s on a K80.
"""

import argparse
import os
import time

from fibdask import hierarchical_levelled_wave, inpaint_gaps, mimic_milling, reposition_slices
from tests.benchmarks.reconstruction import INTERPOLATIONS, measure, of_perfect_slices, print_rows
from tests.benchmarks.simulated import SPACING, Sample

ARTICLE_SECONDS = {"spline": 7, "network": 44}
MEAN, STD = 10.16, 3.12


def make_sample(seed: int, side: int) -> Sample:
    """Return a milled structure in memory."""
    structure = hierarchical_levelled_wave((side,) * 3, voxel_size=SPACING, seed=seed).compute()
    slices = mimic_milling(structure, mean_thickness=MEAN, std_thickness=STD, seed=seed)
    return Sample(f"seed {seed}", slices.rename(phase="true_phase").compute(), structure)


def print_seconds(planes: int, pixels: int) -> None:
    """Print how long each method takes for a volume, with all cores."""
    shape = (planes, pixels, pixels)
    structure = hierarchical_levelled_wave(shape, voxel_size=SPACING, seed=9, waves=20)
    slices = mimic_milling(structure, mean_thickness=MEAN, std_thickness=STD, seed=9)
    stack = reposition_slices(slices, spacing=SPACING).compute()
    print(f"{stack.sizes['z']} planes of {pixels}², {os.cpu_count()} cores")
    for method in INTERPOLATIONS:
        began = time.perf_counter()
        # In parts along z, so that all cores have one.
        inpaint_gaps(stack.chunk(z=planes // 4), method=method)["phase"].compute()
        seconds = time.perf_counter() - began
        told = f", Article II: {ARTICLE_SECONDS[method]} s" if method in ARTICLE_SECONDS else ""
        print(f"  {method:10}{seconds:7.1f} s{told}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[301, 302, 303])
    parser.add_argument("--side", type=int, default=192, help="voxels of a structure")
    parser.add_argument("--planes", type=int, default=128, help="that are timed")
    parser.add_argument("--pixels", type=int, default=512, help="along y and x of these")
    chosen = parser.parse_args()
    found = [make_sample(seed, chosen.side) for seed in chosen.seeds]
    print(f"{', '.join(sample.name for sample in found)}: {chosen.side}³ voxels of {SPACING} nm")
    print_rows([measure(sample, of_perfect_slices(), sample.images) for sample in found])
    print_seconds(chosen.planes, chosen.pixels)


if __name__ == "__main__":
    main()
