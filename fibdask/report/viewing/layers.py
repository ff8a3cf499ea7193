"""Layers of neuroglancer: volumes at their places in nm, with contrast and colours."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import neuroglancer
import numpy as np
import xarray as xr

from ...conventions import (
    AXES,
    FibdaskError,
    FibdaskWarning,
    measured_slices,
)
from .volumes import (
    EvenGrid,
    NamedVolume,
    ShownVolume,
    even_grid,
    named_volumes,
    shown_volumes,
)

_PIXELS = 330  # of the screen, that the longer edge of a slice is drawn on at first
_AVERAGED = 64  # voxels of a level that one on the screen is made of, at most


class ServedVolume(neuroglancer.LocalVolume):  # type: ignore[misc]
    """A volume whose coarser voxels are made of the coarsest level that is fine enough."""

    def __init__(self, levels: Sequence[ShownVolume], space: Any, *, volume_type: str) -> None:
        most = _AVERAGED * 8 ** (len(levels) - 1)
        super().__init__(
            levels[0], dimensions=space, volume_type=volume_type, max_downsampling=most
        )
        self.coarser = [
            neuroglancer.LocalVolume(level, dimensions=space, volume_type=volume_type)
            for level in levels[1:]
        ]

    def get_encoded_subvolume(
        self, data_format: str, start: np.ndarray, end: np.ndarray, scale_key: str
    ) -> Any:
        """Return voxels of a region, each made of as many as `scale_key` says along each axis.

        Raises
        ------
        ValueError
            If they cannot be read: the page is refused them, and the person is told why.
        """
        try:
            return self._encoded(data_format, start, end, scale_key)
        except FibdaskError as error:
            warnings.warn(str(error), FibdaskWarning, stacklevel=2)
            raise ValueError(str(error)) from error

    def _encoded(self, data_format: str, start: Any, end: Any, scale_key: str) -> Any:
        factors = [int(factor) for factor in scale_key.split(",")]
        number = min(min(factors).bit_length() - 1, len(self.coarser))
        if number < 1 or any(factor % 2**number for factor in factors):
            return super().get_encoded_subvolume(data_format, start, end, scale_key)
        rest = ",".join(str(factor // 2**number) for factor in factors)
        level = self.coarser[number - 1]
        return level.get_encoded_subvolume(data_format, start, end, rest)


class Layers:
    """Layers of volumes, each of its own stack."""

    def __init__(self, stacks: Mapping[str, xr.Dataset]) -> None:
        self.stacks = stacks
        self.different = {id(stack): stack for stack in stacks.values()}
        self.grids = {key: even_grid(stack) for key, stack in self.different.items()}

    def show_in(self, state: Any) -> None:
        """Put the layers into the state of a viewer, which looks at the middle of the first."""
        for name, layer, visible in chain(self._images(), self._labels(), self._gaps()):
            state.layers.append(name=name, layer=layer, visible=visible)
        first = next(iter(self.stacks.values()))
        grid = self.grids[id(first)]
        lengths = np.multiply(_sizes(first, grid), grid.spacing)
        middle = np.array(grid.start) + (lengths - grid.spacing) / 2
        pixel = min(grid.spacing[1:])
        state.dimensions = _space((pixel,) * 3, "xyz")
        state.position = middle[::-1] / pixel
        state.cross_section_scale = float(lengths[1:].max()) / pixel / _PIXELS
        state.projection_scale = 2 * float(lengths.max()) / pixel
        state.layout = "4panel"

    def _images(self) -> Iterator[tuple[str, Any, bool]]:
        """Iterate over names and layers of images, and whether they are seen at first: one is."""
        images = [volume for volume in named_volumes(self.stacks) if not volume.is_label]
        for number, volume in enumerate(images):
            yield volume.title, self._image(volume), not number

    def _labels(self) -> Iterator[tuple[str, Any, bool]]:
        """Iterate over phases and other labels in the same way."""
        labels = [volume for volume in named_volumes(self.stacks) if volume.is_label]
        for number, volume in enumerate(labels):
            yield volume.title, self._segmentation(volume), not number

    def _gaps(self) -> Iterator[tuple[str, Any, bool]]:
        """Iterate over layers of planes that are not measured, of each stack with such planes.

        Where slices were moved these are many, so that they are seen only when asked for.
        """
        incomplete = [s for s in self.different.values() if not measured_slices(s).all()]
        for number, stack in enumerate(incomplete):
            yield f"not measured{f' {number + 1}' if number else ''}", self._boxes(stack), False

    def _image(self, volume: NamedVolume) -> Any:
        return neuroglancer.ImageLayer(
            source=self._source(volume.name, "image", volume.voltage),
            shader_controls={"normalized": {"range": list(volume.grey_limits())}},
            opacity=1.0,
        )

    def _segmentation(self, volume: NamedVolume) -> Any:
        colours = volume.class_colours()
        return neuroglancer.SegmentationLayer(
            source=self._source(volume.name, "segmentation"),
            segment_colors=colours,
            hide_segment_zero=0 not in colours,  # pores are left clear
            selected_alpha=0.35,
        )

    def _source(self, name: str, volume_type: str, voltage: int | None = None) -> Any:
        stack = self.stacks[name]
        grid = self.grids[id(stack)]
        labels = volume_type == "segmentation"
        levels = shown_volumes(stack[name], grid, labels=labels, voltage=voltage)
        space = _space(grid.spacing)
        # The first voxel begins half its length before its centre.
        offset = np.divide(grid.start, grid.spacing) - 0.5
        return neuroglancer.LayerDataSource(
            url=ServedVolume(levels, space, volume_type=volume_type),
            transform=neuroglancer.CoordinateSpaceTransform(
                output_dimensions=space, matrix=np.column_stack([np.eye(3), offset])
            ),
            enable_default_subsources=False,  # surfaces would be made of the whole volume
            subsources={"default": True, "bounds": True},
        )

    def _boxes(self, stack: xr.Dataset) -> Any:
        """Return boxes in nm around the planes that are not measured, one for those that touch."""
        grid = self.grids[id(stack)]
        edges = np.diff(np.pad((~measured_slices(stack)[grid.planes]).astype(np.int8), 1))
        sizes = _sizes(stack, grid)
        boxes = []
        for first, stop in zip(np.flatnonzero(edges > 0), np.flatnonzero(edges < 0), strict=True):
            corners = np.array([(first, 0, 0), (stop, *sizes[1:])]) - 0.5
            low, high = np.array(grid.start) + corners * grid.spacing
            told = f"slices {grid.planes[first]} to {grid.planes[stop - 1]}: not measured"
            boxes.append(
                neuroglancer.AxisAlignedBoundingBoxAnnotation(
                    id=str(first), point_a=low, point_b=high, description=told
                )
            )
        space = _space((1.0, 1.0, 1.0))
        return neuroglancer.LocalAnnotationLayer(dimensions=space, annotations=boxes)


def _sizes(stack: xr.Dataset, grid: EvenGrid) -> tuple[int, int, int]:
    """Return the number of planes, rows and columns that are shown of a stack."""
    return len(grid.planes), stack.sizes["y"], stack.sizes["x"]


def _space(spacing: Sequence[float], axes: Sequence[str] = AXES) -> Any:
    return neuroglancer.CoordinateSpace(names=list(axes), units="nm", scales=list(spacing))
