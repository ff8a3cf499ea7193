"""Small stacks whose electrons are counted in memory."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
from scipy.ndimage import gaussian_filter

from fibdask.learn.data import SimulatedStack
from fibdask.learn.samples import Samples, Variation
from fibdask.pieces.windows import SliceWindow

SLICES = np.array([0, 3, 8, 12, 13, 20, 24, 30])  # planes of the structure
CLEAN = Variation((50.0, 50.0), 0.0, 0.0, 0.0, 0.0, 0.0)


def small_stack(seed=0, *, voltages=(1.0, 2.0), size=40, **changed):
    """Eight uneven slices of a random structure, solid ten times as bright as pore."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.standard_normal((36, size, size)), 3, mode="wrap")
    truth = (smooth > 0).astype(np.uint8)
    depths = np.arange(36) * 2.5
    bright = np.where(truth[SLICES], 30.0, 3.0)
    counts = rng.poisson(np.stack([bright] * len(voltages))).astype(np.uint16)
    fields = {
        "counts": counts,
        "electrons": 60.0,
        "voltage": np.array(voltages),
        "z": depths[SLICES],
        "truth": truth,
        "depths": depths,
        "pixel_size": 2.5,
        "history": (
            ("levelled_wave", {"seed": seed, "ligament_size": 20.0}),
            ("simulate_images", {"seed": seed + 100, "materials": {"pore": "C", "solid": "Au"}}),
        ),
        "name": f"small-{seed}",
    }
    return SimulatedStack(**fields | changed)


def small_samples(*stacks, variation=None, above=2, below=2, crop=16, seed=5):
    window = SliceWindow(above, below)
    drawn = {"window": window, "crop": crop, "planes": 3, "seed": seed}
    return Samples(stacks or (small_stack(),), variation or Variation(), **drawn)


def taken_by(call):
    """Return the bytes that a call adds to those of this process at most, as the system counts."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what there is now
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def _status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


_WITHOUT_TORCH = """
import sys

class Without:
    def find_spec(self, name, *others):
        if name in ("torch", "safetensors"):
            raise ImportError(f"No module named {name!r}")

sys.meta_path.insert(0, Without())
"""


def without_torch(code, returned=0):
    """Run code in a process that has no torch; return what it printed, and its errors."""
    command = [sys.executable, "-c", _WITHOUT_TORCH + dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == returned, done.stderr
    return done.stdout, done.stderr
