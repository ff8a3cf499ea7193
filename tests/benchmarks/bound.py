"""What noise allows: the errors of readers of few pixels that know all about images.

A reader is shown the counts of electrons of a pixel, or of it and the eight around it, at some
voltages, and says whether it is solid. It knows how often such counts are seen with solid and with
pore, as the best reader does (Bayes' classifier): that is learnt from one half of the slices of a
stack of many electrons, thinned, by a small network of these numbers alone, and tried on the other
half, and the other way round.

Of what these errors are a bound, and of what not:

- Nobody who sees as little errs less on such images, except by chance and by what a small network
  fails to learn: figures are those of a reader that exists, so the least error may be a bit lower.
- Networks see more: hundreds of pixels, and slices above and below. They may err less than the
  readers of one pixel and of nine.
- The last reader is told more than any image tells: the true phase of the eight pixels around its
  own, besides their counts. What it gets wrong is what the images of these pixels leave open when
  all around is known. A method that errs less must know this pixel from slices above or below, or
  from how structures go on beyond; from the noise of these images it cannot.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from tests.benchmarks.published import named
from tests.benchmarks.simulated import (
    Column,
    electrons_sent,
    opened,
    print_table,
    simulated,
    thinned,
)

SEED, PLANES, PIXELS, MOST = 401, 72, 128, 300  # of the stack, and its electrons on a pixel
ELECTRONS = (20, 50, 100, 300)
EPOCHS, BATCH, RATE, HIDDEN = 24, 512, 3e-3, 64


@dataclass(frozen=True)
class Reader:
    """What is seen of a pixel.

    Attributes
    ----------
    name
        Of the reader.
    reach
        Pixels around it that are seen, along y and x.
    told
        Whether their phase is, too.
    """

    name: str
    reach: int
    told: bool = False


READERS = (
    Reader("one pixel", 0),
    Reader("3 × 3 pixels", 1),
    Reader("3 × 3 pixels, true phase of 8", 1, told=True),
)


def patches(counts: np.ndarray, truth: np.ndarray, reader: Reader) -> tuple[np.ndarray, np.ndarray]:
    """Return what a reader sees (pixel, image, y, x), float32, and what is there (pixel).

    Parameters
    ----------
    counts
        Of electrons (voltage, z, y, x).
    truth
        1 where solid (z, y, x).
    reader
        Its reach decides which pixels have all that it sees.
    """
    # Roots of counts have nearly the same noise everywhere (Anscombe).
    images = [2 * np.sqrt(counts + 0.375)]
    if reader.told:
        images.append(4 * truth[np.newaxis].astype(float) - 2)
    side = 2 * reader.reach + 1
    shown = np.concatenate(images).astype(np.float32)
    views = np.lib.stride_tricks.sliding_window_view(shown, (side, side), axis=(-2, -1))
    seen = views.transpose(1, 2, 3, 0, 4, 5).reshape(-1, len(shown), side, side).copy()
    if reader.told:
        seen[:, -1, reader.reach, reader.reach] = 0.0  # but not its own
    inner = slice(reader.reach, truth.shape[-1] - reader.reach)
    rows = slice(reader.reach, truth.shape[-2] - reader.reach)
    return seen, truth[:, rows, inner].ravel().astype(np.float32)


def learnt(seen: np.ndarray, truth: np.ndarray, *, epochs: int = EPOCHS) -> nn.Module:
    """Return a network that says how likely a pixel is solid, from what is seen of it."""
    torch.manual_seed(0)
    inputs = seen[0].size
    network = nn.Sequential(
        nn.Flatten(),
        nn.BatchNorm1d(inputs),
        nn.Linear(inputs, HIDDEN),
        nn.SiLU(),
        nn.Linear(HIDDEN, HIDDEN),
        nn.SiLU(),
        nn.Linear(HIDDEN, 1),
    )
    steps = epochs * -(-len(seen) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    pixels, there = torch.from_numpy(seen), torch.from_numpy(truth)
    for _ in range(epochs):
        for part in torch.randperm(len(pixels)).split(BATCH):
            said = network(turned(pixels[part]))[:, 0]
            loss = binary_cross_entropy_with_logits(said, there[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def turned(pixels: torch.Tensor) -> torch.Tensor:
    """Return patches mirrored and turned at random, all the same way, which changes nothing."""
    for axis, once in zip((-2, -1), torch.rand(2), strict=True):
        pixels = pixels.flip(axis) if once < 0.5 else pixels
    return pixels.transpose(-2, -1) if torch.rand(()) < 0.5 else pixels


def least_error(counts: np.ndarray, truth: np.ndarray, reader: Reader) -> float:
    """Return the share of pixels in % that a reader of counts (voltage, z, y, x) gets wrong."""
    middle = len(truth) // 2
    halves = [
        patches(counts[:, part], truth[part], reader)
        for part in (slice(None, middle), slice(middle, None))
    ]
    wrong = pixels = 0
    for (seen, there), (unseen, truly) in (halves, halves[::-1]):
        network = learnt(seen, there)
        with torch.inference_mode():
            said = network(torch.from_numpy(unseen))[:, 0].numpy() > 0
        wrong += int((said != (truly > 0.5)).sum())
        pixels += len(truly)
    return 100 * wrong / pixels


def detected(stack: xr.Dataset, electrons: float) -> np.ndarray:
    """Return counts (voltage, z, y, x) of as many electrons on a pixel."""
    grey = thinned(stack, electrons)["intensity"].values
    return np.rint(grey / np.min(grey[grey > 0]))


def rows(stack: xr.Dataset, electrons: Sequence[float]) -> Iterator[tuple[str, list[float]]]:
    """Iterate over readers and their errors at numbers of electrons."""
    truth = stack["true_phase"].values
    voltages = [float(v) for v in stack["voltage"].values]
    images = {number: detected(stack, number) for number in electrons}
    for reader in READERS:
        for shown in (*((v,) for v in voltages), tuple(voltages)):
            chosen = [voltages.index(v) for v in shown]
            errors = [least_error(counts[chosen], truth, reader) for counts in images.values()]
            yield f"{reader.name}, {named(shown)}", errors


def print_bound(chosen: argparse.Namespace) -> None:
    """Print the errors of readers that know all about images, MP in %."""
    folder = chosen.bound or simulated(chosen, SEED, planes=PLANES, pixels=PIXELS, electrons=MOST)
    sample = opened(str(folder), folder)
    sent = electrons_sent(sample.images)
    electrons = [number for number in ELECTRONS if number <= sent]
    columns: list[Column] = [(f"{number} electrons", 3) for number in electrons]
    print(f"What noise allows, MP %: readers that know all about images ({sample.name})")
    print_table(columns, [dict(rows(sample.images, electrons))], {})
