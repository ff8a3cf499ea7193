"""Decoder of PNG and BMP files."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile

from .formats import Layout, check_held, to_grey

_MOST_DEFLATED = 8 * 1032  # pixels of one bit in each byte, by the best that deflate can do
_PIL_DTYPES = {"1": "bool", "I;16": "uint16", "I;16B": "uint16", "I": "int32", "F": "float32"}


@dataclass(frozen=True)
class Pillow:
    """PNG and BMP: one frame a file."""

    revision = 2

    def inspect(self, path: Path) -> Layout:
        """Read the header."""
        with _open_pillow(path) as image:
            dtype = np.dtype(_PIL_DTYPES.get(image.mode, "uint8"))
            width, height = image.size
            channels = len(image.getbands())
            if (count := getattr(image, "n_frames", 1)) > 1:
                msg = f"it is an animation of {count} images; save each as a file"
                raise ValueError(msg)
            check_held(height * width, path.stat().st_size, _MOST_DEFLATED)
            _check_depth(image)
            return Layout(1, height, width, dtype, 6 * height * width * channels * dtype.itemsize)

    def frames(
        self, path: Path, chosen: range, rows: slice, columns: slice
    ) -> Iterator[np.ndarray]:
        """Yield the frame."""
        for _ in chosen:
            with _open_pillow(path) as image:
                palette = image.getpalette("RGB") if image.mode == "P" else None
                frame = np.asarray(image)
                _check_opaque(frame, image.info.get("transparency"))
            if frame.ndim == 3:
                frame = np.moveaxis(frame, -1, 0)
            colours = None if palette is None else np.reshape(palette, (-1, 3)).astype(np.uint8)
            yield to_grey(frame[..., rows, columns], colours)


def _open_pillow(path: Path) -> ImageFile:
    # The classes are opened directly: Image.open warns of large images, as of an attack.
    opener = PngImageFile if path.suffix.casefold() == ".png" else BmpImageFile
    return opener(path)


def _check_depth(image: ImageFile) -> None:
    """Refuse what Pillow reads with 8 of its 16 bits."""
    stored = str(image.tile[0][3]) if image.tile else ""
    if ";16" in stored and not image.mode.startswith("I"):
        msg = f"it has 16 bits in each channel ({image.mode}), which are not read; save it as grey"
        raise ValueError(msg)


def _check_opaque(frame: np.ndarray, transparency: Any) -> None:
    """Refuse pixels (y, x) or (y, x, channel) of a value that the file marks as transparent."""
    if transparency is None:
        return
    if isinstance(transparency, bytes):  # an opacity for each colour of a palette
        transparency = np.flatnonzero(np.frombuffer(transparency, np.uint8) < 255)
    clear = np.isin(frame, transparency) if frame.ndim == 2 else (frame == transparency).all(-1)
    if clear.any():
        msg = "it is partly transparent; a slice must be opaque"
        raise ValueError(msg)
