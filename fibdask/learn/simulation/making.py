"""A network of images made: trained on pairs, judged by others, and written with its card."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...pieces.validity import SIMULATION
from ..making import is_made, told_training
from ..models import Model, open_model
from ..training import Training
from .networks import STRIDE, ImageArchitecture, ImageNetwork
from .pairs import ASPECT, PIXELS, PORES, SOLIDS, VOLTAGES, Pairs, PairStore
from .samples import ImageBatch, ImageSample, ImageSamples, image_sample
from .weights import LoadedImages, shown_of

BANDS = (0.8, 1.5, 3.0, 5.0)
"""Voltages in kV between which errors are told apart."""
_TESTED = 6 * STRIDE  # pixels along y and x of the window that tests a model when it is loaded


@dataclass(frozen=True, eq=False)
class BulkDesign:
    """A network of images that knows how bright bulks are before it learns.

    Attributes
    ----------
    architecture
        Of the network.
    bulk
        As `bulk_coefficients` returns it.
    """

    architecture: ImageArchitecture
    bulk: np.ndarray

    def build(self) -> ImageNetwork:
        """Return the network with its first weights."""
        network = self.architecture.build()
        network.bulk.copy_(torch.from_numpy(self.bulk))
        return network


@dataclass(frozen=True)
class ImageErrors:
    """By how much a network errs on images, in % of the contrast between the bulks.

    Attributes
    ----------
    rms
        Root of the mean square error of pixels, without that of the counted electrons.
    solid, pore
        Mean error where a face is solid, or pore.
    """

    rms: float
    solid: float
    pore: float

    @classmethod
    def of(
        cls, network: ImageNetwork, images: Sequence[ImageSample], electrons: float
    ) -> "ImageErrors":
        """Judge a network by images of as many electrons on a pixel."""
        squares, ends = [], []
        for sample in images:
            batch = ImageBatch.of([sample], torch.device("cpu"))
            seen = batch.seen(network)
            wrong = batch.brightness(network, precisely=True) - seen
            pore, solid = network.bulks(batch.voltage, batch.materials)
            # Counts are Poisson-distributed: their variance is their mean.
            noise = batch.share / electrons / (solid - pore) ** 2
            squares.append(float((wrong.square() - noise).mean()))
            margin = network.architecture.margin
            y, x = (slice(margin, margin + n) for n in seen.shape[1:])
            is_solid = batch.shown[:, 0, y, x] > 0.5
            ends.append([float(wrong[part].mean()) for part in (is_solid, ~is_solid)])
        solid, pore = 100 * np.nanmean(ends, axis=0)
        rms = 100 * max(float(np.mean(squares)), 0.0) ** 0.5
        return cls(round(rms, 3), round(float(solid), 3), round(float(pore), 3))


def make_images_model(
    folder: Path,
    training: Training[ImageSamples, ImageNetwork],
    unseen: PairStore,
    *,
    name: str,
    licence: str,
    data: dict[str, Any],
    tell: Callable[[int, int, float], None],
) -> Model:
    """Train a network, judge it, and write it, unless that is done already.

    Parameters
    ----------
    folder
        That the model is written to.
    training
        Which may have been begun before.
    unseen
        Pairs of other seeds, which the network is judged by.
    name, licence
        Of the model, as its card says.
    data
        What the card says of what it learns from and is judged by.
    tell
        As for `Training.run`.
    """
    if is_made(folder, training, {"name": name, "licence": licence}):
        return open_model(folder)
    network = training.run(tell).cpu().eval()
    scenes = [unseen[number] for number in range(unseen.scenes.count)]
    told = network.architecture
    card = {
        "name": name,
        "task": SIMULATION,
        "voltages": list(VOLTAGES),
        "pixel_size": list(PIXELS),
        "aspect": ASPECT,
        "thickness": None,
        "gap": None,
        "materials": {"pore": list(told.pores), "solid": list(told.solids)},
        "electrons_per_pixel": None,
        "temperature": 1.0,
        "errors": judge(network, scenes),
        "seconds_per_megavoxel": _pace(network, scenes[0]),
        "licence": licence,
        "training": told_training(training) | data,
    }
    corner = shown_of(_corner(scenes[0], told.margin))
    LoadedImages.of(network, card).write(folder, network, card, corner)
    return open_model(folder)


@torch.inference_mode()
def judge(network: ImageNetwork, scenes: Sequence[Pairs]) -> dict[str, Any]:
    """Return the errors of a network on scenes, all and by voltage and materials."""
    margin = network.architecture.margin
    images = [image_sample(p, i, margin) for p in scenes for i in range(len(p.counts))]
    electrons = scenes[0].electrons
    rows = [
        row | {"images": len(part)} | asdict(ImageErrors.of(network, part, electrons))
        for row, part in _parts(images)
        if part
    ]
    return asdict(ImageErrors.of(network, images, electrons)) | {"conditions": rows}


def _parts(
    images: Sequence[ImageSample],
) -> Iterator[tuple[dict[str, Any], list[ImageSample]]]:
    """Iterate over images of some voltages, and of some materials."""
    for low, high in pairwise(BANDS):
        row = {"voltages": [low, high], "materials": None}
        yield row, [image for image in images if low <= image.voltage < high]
    for pore in PORES:
        for solid in SOLIDS:
            named = {"pore": pore, "solid": solid}
            of = [image for image in images if image.materials == (pore, solid)]
            yield {"voltages": list(VOLTAGES), "materials": named}, of


def _pace(network: ImageNetwork, pairs: Pairs) -> float:
    """Return seconds that one core takes for a million pixels."""
    loaded = LoadedImages(network)
    sample = image_sample(pairs, 0, network.architecture.margin)
    given = sample.shown, sample.voltage, sample.pixel_size, sample.materials
    loaded.predict(*given)  # the first time, memory is taken
    begun = time.perf_counter()
    loaded.predict(*given)
    return float(f"{(time.perf_counter() - begun) / (sample.share.size / 1e6):.3g}")


def _corner(pairs: Pairs, margin: int) -> ImageSample:
    """Return a small part of an image."""
    whole = image_sample(pairs, 0, margin)
    part = (..., slice(_TESTED), slice(_TESTED))
    shown, share = (np.ascontiguousarray(v[part]) for v in (whole.shown, whole.share))
    return ImageSample(shown, share, whole.voltage, whole.pixel_size, whole.materials)
