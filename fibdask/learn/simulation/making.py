"""Networks of images as they begin, and judged by pairs that they have not seen."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from ...pieces.validity import SIMULATION
from ..making import Judged
from .networks import STRIDE, ImageArchitecture, ImageNetwork
from .pairs import ASPECT, PIXELS, PORES, SOLIDS, VOLTAGES, Pairs, PairStore
from .samples import ImageBatch, ImageSample, image_sample
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


@dataclass(frozen=True, eq=False)
class PairJudge:
    """Judges networks of images by pairs that they have not seen.

    Attributes
    ----------
    learnt
        Pairs that they learn from.
    unseen
        Pairs of other seeds.
    """

    learnt: PairStore
    unseen: PairStore

    def __call__(self, network: ImageNetwork) -> Judged:
        """Judge a network by all images."""
        network = network.cpu()
        scenes = [self.unseen[number] for number in range(self.unseen.scenes.count)]
        known = network.architecture
        card = {
            "task": SIMULATION,
            "voltages": list(VOLTAGES),
            "pixel_size": list(PIXELS),
            "aspect": ASPECT,
            "thickness": None,
            "gap": None,
            "materials": {"pore": list(known.pores), "solid": list(known.solids)},
            "electrons_per_pixel": None,
            "temperature": 1.0,
            "errors": _errors(network, scenes),
        }
        whole = image_sample(scenes[0], 0, known.margin)
        corner = replace(whole, shown=whole.shown[:, :_TESTED, :_TESTED])
        return Judged(card, LoadedImages, shown_of(whole), whole.share.size, shown_of(corner))

    def told(self) -> dict[str, Any]:
        """Return how pairs are drawn."""
        return {"data": asdict(self.learnt.scenes), "validation": asdict(self.unseen.scenes)}


@torch.inference_mode()
def _errors(network: ImageNetwork, scenes: Sequence[Pairs]) -> dict[str, Any]:
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
