"""Networks fitted to images without labels: their statistics, or what they see in these."""

from collections.abc import Iterator
from copy import deepcopy

import numpy as np
import torch
from torch import nn

from ..networks import WindowNetwork
from ..samples import Sample
from ..training import Batch, autocast
from .target import Target

Predicted = tuple[np.ndarray, list[np.ndarray]]
"""Probabilities of slices (z, y, x) from all voltages, and from each (voltage)."""


@torch.no_grad()
def with_target_statistics(network: WindowNetwork, target: Target, share: float) -> WindowNetwork:
    """Return a network whose batch norms have seen the target, too.

    Parameters
    ----------
    network
        Not folded.
    share
        Weight of the target's means and variances in those that the network has then.
    """
    fitted, seen = deepcopy(network), deepcopy(network).train()
    for norm in _norms(seen):
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
    for part in _batches(target.samples()):
        with autocast(torch.device("cpu")):
            part.logits(seen)
    others = dict(seen.named_buffers())
    for name, own in fitted.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            own.lerp_(others[name], share)
    return fitted


def predicted(network: WindowNetwork, target: Target, temperature: float) -> Predicted:
    """Return what a network says of the slices of a target."""
    folded = deepcopy(network).fold()
    voltages = len(target.images)
    shown = [np.ones(voltages, bool), *np.eye(voltages, dtype=bool)]
    first, *alone = (
        np.stack([probability(folded, s.face, of, temperature)[0] for s in target.samples()])
        for of in shown
    )
    return first, alone


@torch.inference_mode()
def probability(
    folded: WindowNetwork, sample: Sample, present: np.ndarray, temperature: float
) -> np.ndarray:
    """Return the probability of solid on the planes of a window (plane, y, x), of some voltages."""
    images = sample.images * present[:, None, None, None]
    shown = Sample(
        images.astype(np.float32),
        present.astype(np.float32),
        sample.distances,
        sample.offsets,
        sample.truth,
    )
    with autocast(torch.device("cpu")):
        logits = Batch.of([shown], torch.device("cpu")).logits(folded)[0]
    return np.asarray((logits.float() / temperature).sigmoid().numpy())


def _norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]


def _batches(samples: Iterator[Sample]) -> Iterator[Batch]:
    return (Batch.of([sample], torch.device("cpu")) for sample in samples)
