"""Article II on mimicking data: what uneven slices cost, and what each method gives back.

python tests/benchmarks/depth.py [size] [structures] prints errors and isotropy errors as mean ±
standard deviation over structures of size³ voxels, beside the figures of the paper.
"""

import sys
import time

import numpy as np

from fibdask import (
    hierarchical_levelled_wave,
    inpaint_gaps,
    isotropy_errors,
    mimic_milling,
    reposition_slices,
    segmentation_errors,
)

VOXEL = 2.5  # nm
PAPER = {
    "nearest": (4.89, 19.98, 0.89),
    "spline": (3.12, 13.52, 0.93),
    "distance": (2.35, 10.04, 0.95),
}
COLUMNS = ("MP %", "MGP %", "MDS", "e S2", "e L", "e D", "Mvoxel/s")


def structure(size, seed):
    """Return a truth in memory and its repositioned slices."""
    truth = hierarchical_levelled_wave((size,) * 3, voxel_size=(VOXEL,) * 3, seed=seed).compute()
    slices = mimic_milling(truth, mean_thickness=10.16, std_thickness=3.12, seed=seed)
    stack = reposition_slices(slices.compute(), spacing=VOXEL).compute()
    return truth.isel(z=slice(0, stack.sizes["z"])), stack


def isotropy(phase):
    """Return the three isotropy errors."""
    found = isotropy_errors(phase, max_lag=min(64, min(phase.shape) - 1)).compute()
    names = ("two_point_correlation", "lineal_path", "ligament_diameter")
    return [float(found[name]) for name in names]


def measure(truth, stack, method):
    """Return the figures of one method."""
    start = time.perf_counter()
    phase = inpaint_gaps(stack, method=method)["phase"].compute(scheduler="synchronous")
    speed = phase.size / (time.perf_counter() - start) / 1e6
    errors = segmentation_errors(phase, truth).compute()
    shares = [float(errors[name]) for name in ("misplaced", "misplaced_solid", "mean_dice")]
    return [*shares, *isotropy(phase), speed]


def main(size=256, structures=3):
    """Print the table."""
    rows = {method: [] for method in PAPER}
    truths = []
    for method in PAPER:  # compiled before anything is timed
        measure(*structure(32, 0), method)
    for seed in range(structures):
        truth, stack = structure(size, seed)
        truths.append([float(truth.mean()), *isotropy(truth)])
        for method, row in rows.items():
            row.append(measure(truth, stack, method))
    fraction, *ideal = np.mean(truths, axis=0)
    print(f"{structures} structures of {size}³ voxels, solid fraction {fraction:.3f}")
    print(f"isotropy errors of the truth {' '.join(f'{value:.4f}' for value in ideal)}")
    print(f"{'method':10s}" + "".join(f"{name:>18s}" for name in COLUMNS) + "   Article II")
    for method, row in rows.items():
        cells = zip(np.mean(row, axis=0), np.std(row, axis=0), strict=True)
        text = "".join(f"{mean:10.3f} ± {std:5.3f}" for mean, std in cells)
        print(f"{method:10s}{text}   {PAPER[method]}")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
