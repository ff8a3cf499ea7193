"""Planes of a volume side by side in one picture, from which a page draws those across any axis."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from PIL import Image

Colour = tuple[float, float, float]

_SHADES = 17  # between two colours, where pixels hold both
_QUALITIES = (75, 40, 20, 10, 5, 0)
_PART = 8  # of a picture, that tells how much all of it takes


@dataclass(frozen=True)
class Sprite:
    """A picture of planes, each as large as the others, in rows of `columns`, as data address."""

    source: str
    columns: int


def grey_sprite(
    values: np.ndarray, limits: tuple[float, float], known: np.ndarray, most: int
) -> Sprite:
    """Picture grey values (z, y, x) between `limits`; what is not finite or `known` is clear.

    `known` (z) are the planes that hold data. Noise is compressed, to at most about `most` bytes.
    """
    low, high = limits
    clear = ~(np.isfinite(values) & known[:, None, None])
    grey = np.clip((np.where(clear, low, values) - low) / (high - low), 0, 1)
    return _sprite(np.rint(255 * grey).astype(np.uint8), clear, most)


def share_sprite(
    shares: np.ndarray, colours: tuple[Colour, Colour], known: np.ndarray, most: int
) -> Sprite:
    """Picture shares (z, y, x) from 0 to 1 as a mixture of two colours."""
    steps = np.rint((_SHADES - 1) * shares).astype(np.uint8)
    mixed = np.linspace(*colours, _SHADES)
    return _coloured(steps, mixed, known, most)


def class_sprite(
    classes: np.ndarray, colours: Sequence[Colour], known: np.ndarray, most: int
) -> Sprite:
    """Picture classes (z, y, x), numbers of colours."""
    return _coloured(classes, np.array(colours), known, most)


def _coloured(numbers: np.ndarray, palette: np.ndarray, known: np.ndarray, most: int) -> Sprite:
    colours = np.rint(255 * palette).astype(np.uint8)
    clear = np.broadcast_to(~known[:, None, None], numbers.shape)
    return _sprite(colours[numbers], clear, most)


def _sprite(planes: np.ndarray, clear: np.ndarray, most: int) -> Sprite:
    """Return planes (z, y, x), or (z, y, x, rgb), as a picture."""
    columns = _columns(planes.shape)
    picture = _side_by_side(planes, columns)
    if clear.any():
        opaque = _side_by_side(np.where(clear, 0, 255).astype(np.uint8), columns)
        grey = picture.ndim == 2
        rgb = np.repeat(picture[..., None], 3, axis=2) if grey else picture
        picture = np.concatenate([rgb, opaque[..., None]], axis=2)
    encoded = _encoded(Image.fromarray(picture), planes.ndim == 4, most)
    return Sprite(f"data:image/webp;base64,{base64.b64encode(encoded).decode()}", columns)


def _columns(shape: Sequence[int]) -> int:
    """Return how many planes stand in a row, for a picture about as wide as it is high."""
    planes, rows, columns = shape[:3]
    return max(min(round(sqrt(planes * rows / columns)), planes), 1)


def _side_by_side(planes: np.ndarray, columns: int) -> np.ndarray:
    count, height, width = planes.shape[:3]
    rows = -(-count // columns)
    whole = np.zeros((rows * columns, *planes.shape[1:]), np.uint8)
    whole[:count] = planes
    grid = whole.reshape(rows, columns, *planes.shape[1:]).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, *planes.shape[3:])


def _encoded(image: Image.Image, exact: bool, most: int) -> bytes:
    """Return WebP of about `most` bytes: as it is if wanted and it fits, else as good as fits.

    Rows of the middle tell how much a quality takes; the worst one takes about a bit a pixel.
    """
    tried: list[dict[str, Any]] = [{"quality": quality} for quality in _QUALITIES]
    if exact:
        tried.insert(0, {"lossless": True})
    rows = max(image.height // _PART, 1)
    top = (image.height - rows) // 2
    part = image.crop((0, top, image.width, top + rows))
    for options in tried:
        if len(_webp(part, options)) * image.height <= most * rows:
            break
    return _webp(image, options)


def _webp(image: Image.Image, options: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="webp", method=0, **options)
    return stream.getvalue()
