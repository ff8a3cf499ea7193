"""Which axes files of arrays say that they have."""

import json
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

_ATTRIBUTES = ("DIMENSION_LABELS", "axes", "axis_order", "axislabels", "dims")
_AXES = {"depth": "z", "slice": "z", "slices": "z", "section": "z", "sections": "z"}
_AXES |= {"height": "y", "row": "y", "rows": "y", "width": "x", "column": "x", "columns": "x"}


def hdf5_axes(data: Any) -> str | None:
    """Return the letters of the axes of a dataset, by ilastik (vigra), HDF5 or an attribute."""
    # h5py's own way to the labels ends the process on damaged files
    found = next((data.attrs[name] for name in _ATTRIBUTES if name in data.attrs), None)
    if "axistags" in data.attrs:
        found = [axis["key"] for axis in json.loads(text_of(data.attrs["axistags"]))["axes"]]
    elif found is None and "DIMENSION_LIST" in data.attrs:  # scales, as netCDF has them
        found = [
            data.file[scale[0]].name.rpartition("/")[2] if len(scale) else ""
            for scale in data.attrs["DIMENSION_LIST"]
        ]
    if found is None:
        return None
    names = [text_of(name) for name in np.ravel(np.asarray(found, object))]
    if len(names) == 1:
        names = list(names[0]) if len(names[0]) == data.ndim else re.findall(r"\w+", names[0])
    return axis_letters(names, data.ndim)


def axis_letters(names: Iterable[str], ndim: int) -> str | None:
    """Return the letters of so many axes, as of "z", "Depth" or "z_nm"; None for other words."""
    letters = [_letter(name.casefold()) for name in names]
    return "".join(letters) if len(letters) == ndim and all(letters) else None


def text_of(value: Any) -> str:
    """Return an attribute of HDF5 as text."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _letter(name: str) -> str:
    word, *_ = re.split(r"[\W_]", name, maxsplit=1)
    return word if len(word) == 1 and word.isalpha() else _AXES.get(word, "")
