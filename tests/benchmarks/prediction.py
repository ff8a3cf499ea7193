"""Speed of networks on large images, beside the bare network and MONAI's sliding window.

python -m tests.benchmarks.prediction [--side N] [--slices N] [--model NAME]

Everything runs in one process on one core, with the same weights on the same simulated images:
a window of slices shown to the network whole, which is the least that can be done; fibdask, from
chunks of an array to probabilities; and MONAI's `sliding_window_inference`, as it is recommended
(overlap of a half, Gaussian weights), where it is installed: in windows of the crops that the
networks were trained on, as its tutorials do, and in larger ones, which lose less at their edges.
What differs from the whole is told, too: at an edge of a tile a network without its surroundings
guesses.
"""

import argparse
import time
from functools import partial

import dask
import dask.array as da
import numpy as np
import torch

from fibdask import hierarchical_levelled_wave, load_model, mimic_milling, simulate_images
from fibdask.learn.networks import WindowNetwork
from fibdask.learn.weights import LoadedNetwork
from fibdask.pieces.windows import NO_SLICE, PlacedPlanes, predict_planes, window_predictions

try:
    from monai.inferers import sliding_window_inference
except ImportError:
    sliding_window_inference = None

SPACING = 2.5
VOLTAGES = (1.0, 2.0, 4.0)
OVERLAP, WINDOWS = 0.5, (128, 256)


def make_stack(side, slices):
    """Return images by the analytic model, which are as heavy as any others."""
    shape = (5 * slices, side, side)
    structure = hierarchical_levelled_wave(shape, voxel_size=SPACING, seed=9, waves=20)
    milled = mimic_milling(structure, mean_thickness=10, std_thickness=3, seed=9)
    milled = milled.isel(z=slice(0, slices))
    images = simulate_images(
        structure,
        slices=milled,
        voltage=[1, 2, 4],
        model="analytic",
        electrons_per_pixel=50,
        seed=9,
    )
    return images.compute()


class OnePlane(torch.nn.Module):
    """The network as MONAI calls it: images (batch, image, y, x) to logits of planes."""

    def __init__(self, network: WindowNetwork, distances, offsets) -> None:
        super().__init__()
        self.network, self.distances, self.offsets = network, distances, offsets

    def forward(self, images):
        """Return logits (batch, plane, y, x)."""
        architecture = self.network.architecture
        batch, _, y, x = images.shape
        images = images.to(self.network.head.last.weight.dtype)
        images = images.reshape(batch, architecture.voltages, architecture.slots, y, x)
        distances = self.distances.expand(batch, -1)
        present = torch.ones(batch, architecture.voltages)
        seen = self.network.look(images)
        planes = [
            self.network(*seen, present, distances, offset.expand(batch)) for offset in self.offsets
        ]
        return torch.stack(planes, dim=1).float()


def seconds_of(call):
    """Return the time of a call, and its result."""
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def shown(stack, planes, window, i, ranges):
    """Return the normalised images of a window (voltage, slot, y, x), its distances and offsets."""
    slots = window.slices(i, len(planes.z))
    low, high = ranges.T[:, :, np.newaxis, np.newaxis]
    images = np.zeros((len(low), len(slots), *stack["intensity"].shape[2:]), np.float32)
    for slot in np.flatnonzero(slots != NO_SLICE):
        images[:, slot] = (stack["intensity"].values[:, slots[slot]] - low) / (high - low)
    return images, window.distances(i, planes.z), planes.offsets[planes.above == i]


def main():
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--slices", type=int, default=5)
    parser.add_argument("--model", default="gold-windows")
    parser.add_argument("--precision", choices=("float32", "bfloat16"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(options.model)
    predictor = model.predictor(options.precision)
    loaded: LoadedNetwork = predictor.load()
    stack = make_stack(options.side, options.slices)
    z = stack["z"].values
    depths = np.arange(round(z[0] / SPACING), round(z[-1] / SPACING) + 1) * SPACING
    planes = PlacedPlanes.between(z, np.ones(len(z), bool), depths)
    image = stack["intensity"].data
    ranges = np.stack([np.quantile(v, (0.01, 0.99)) for v in image])
    windows = [shown(stack, planes, predictor.window, i, ranges) for i in range(len(z))]
    voxels = len(depths) * options.side**2 / 1e6

    def bare():
        present = np.ones(3, bool)
        parts = [loaded.predict(w, present, d, o) for w, d, o in windows]
        return np.concatenate(parts)

    def monai(side):
        parts = []
        for images, distances, offsets in windows:
            network = OnePlane(
                loaded.network,
                torch.tensor(distances[None], dtype=torch.float32),
                torch.tensor(offsets, dtype=torch.float32),
            )
            flat = torch.from_numpy(images.reshape(1, -1, *images.shape[2:]))
            logits = sliding_window_inference(
                flat, (side, side), 4, network, overlap=OVERLAP, mode="gaussian"
            )
            parts.append((logits[0] / loaded.temperature).sigmoid().numpy())
        return np.concatenate(parts)

    def ours():
        asked = window_predictions(predictor, planes, image.shape, [0, 1, 2])
        made = predict_planes(image, asked, [da.from_array(ranges)])
        with dask.config.set(scheduler="synchronous"):
            return made.compute()

    loaded.predict(*(windows[0][0][:, :, :256, :256], np.ones(3, bool)), *windows[0][1:])
    rows = {"the bare network, whole images": bare, "fibdask": ours}
    if sliding_window_inference is not None:
        for side in WINDOWS:
            rows[f"MONAI, sliding windows of {side}²"] = partial(monai, side)
    print(f"{len(depths)} planes of {options.side}², {model.name}, {predictor.precision}, one core")
    print(f"{'':34}{'s':>8}{'s/Mvoxel':>10}{'of bare':>9}{'largest difference':>20}{'phase':>10}")
    reference, base = None, None
    with torch.inference_mode():
        for name, call in rows.items():
            seconds, result = seconds_of(call)
            if reference is None:
                reference, base = result, seconds
            differ = np.abs(result - reference).max()
            phase = ((result > 0.5) != (reference > 0.5)).mean()
            print(
                f"{name:34}{seconds:8.1f}{seconds / voxels:10.2f}{base / seconds:9.2f}"
                f"{differ:20.2g}{100 * phase:9.3f}%"
            )
    if sliding_window_inference is None:
        print("MONAI: not installed (pip install 'fibdask[crosscheck]')")


if __name__ == "__main__":
    main()
