"""`xarray.open_dataset(path, engine="fibdask")`: stacks opened as users of xarray know it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import xarray as xr
from xarray.backends import BackendEntrypoint

from ..conventions import ConventionError
from .images import read_images
from .metadata import is_store
from .opening import open_stack
from .paths import read_place


class StackBackend(BackendEntrypoint):
    """Opens stores as `open_stack` does, and images as `read_images` does, lazily."""

    description: ClassVar[str] = "FIB-SEM stacks: stores of fibdask, and images of slices"

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        voltage: float | None = None,
        pixel_size: float | tuple[float, float] | None = None,
        slice_thickness: Any = None,
        z: Any = None,
        detector: str | int | None = None,
        crop: Any = None,
        dataset: str | None = None,
        channel: Any = None,
        remote: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open a stack.

        Parameters
        ----------
        filename_or_obj
            Folder of a store, or images as of `read_images`.
        drop_variables
            Names that are left out.
        voltage, pixel_size, slice_thickness, z, detector, crop, dataset, channel
            Of images, as of `read_images`.
        remote
            How the server of an address is reached, as of `open_stack`.

        Raises
        ------
        StackReadError
            If it cannot be read.
        ConventionError
            If it is no stack, or a store is given what is for images.
        """
        images = {
            "voltage": voltage,
            "pixel_size": pixel_size,
            "slice_thickness": slice_thickness,
            "z": z,
            "detector": detector,
            "crop": crop,
            "dataset": dataset,
            "channel": channel,
        }
        if _is_store(filename_or_obj, remote):
            given = [name for name, value in images.items() if value is not None]
            if given:
                msg = f"{filename_or_obj} is a store, which tells its own {given[0]}; leave it out"
                raise ConventionError(msg)
            stack = open_stack(filename_or_obj, remote=remote)
        else:
            stack = read_images(filename_or_obj, **images, remote=remote)
        return stack.drop_vars(drop_variables or ())


def _is_store(source: Any, remote: Mapping[str, Any] | None) -> bool:
    return isinstance(source, str | Path) and is_store(read_place(source, remote))
