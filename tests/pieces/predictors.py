"""Predictors of windows that need no network."""

from dataclasses import dataclass

import numpy as np

from fibdask.pieces.windows import SliceWindow

WINDOW = SliceWindow(2, 2)
ALL = (slice(None), slice(None))


@dataclass(frozen=True)
class CoarseMix:
    """Mixes slots by distance and voltages by presence, and averages over cells and neighbours.

    Cells are as large as the stride and begin where images do, as where a network coarsens.
    """

    window: SliceWindow = WINDOW
    voltages: int = 2
    stride: tuple = (4, 2)
    fingerprint: str = "mix"

    @property
    def halo(self):
        return tuple(2 * s - 1 for s in self.stride)

    def bytes(self, shape, planes):
        # Planes, put together, beside the sums of one.
        return (8 * planes + 32) * int(np.prod(shape)), 0

    def __call__(self, images, present, distances, offsets, pixels=ALL):
        assert images.dtype == np.float32
        assert images.shape[:2] == (self.voltages, self.window.size)
        assert all(n % s == 0 for n, s in zip(images.shape[2:], self.stride, strict=True))
        assert not images[~present].any()
        assert not images[:, np.isnan(distances)].any()
        share = 1 / (1 + present.sum())
        whole = [self._plane(images, distances, offset, share) for offset in offsets]
        return np.stack(whole)[:, *pixels]

    def _plane(self, images, distances, offset, share):
        weights = np.nan_to_num(1 / (1 + np.abs(distances - offset)))
        weights = weights * (1 + np.arange(len(weights)))
        mixed = np.zeros(images.shape[2:])
        for v, image in enumerate(images):
            for weight, slot in zip(weights / weights.sum(), image, strict=True):
                mixed += (v + 1) * weight * slot
        y, x = self.stride
        rows, columns = (n // s for n, s in zip(mixed.shape, self.stride, strict=True))
        cells = mixed.reshape(rows, y, columns, x).mean(axis=(1, 3))
        for axis in (0, 1):
            padded = np.pad(cells, [(int(i == axis),) * 2 for i in range(2)], mode="edge")
            padded = np.moveaxis(padded, axis, 0)
            cells = np.moveaxis((padded[:-2] + padded[1:-1] + padded[2:]) / 3, 0, axis)
        spread = cells.repeat(y, axis=0).repeat(x, axis=1)
        return (share * (0.5 * mixed + 0.5 * spread)).clip(0, 1).astype(np.float32)
