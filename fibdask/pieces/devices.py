"""Where blocks are computed that may be on a GPU."""

from collections.abc import Callable
from typing import Literal, cast, get_args

from ..conventions import check_choice

Device = Literal["cpu", "gpu"]


def chosen_device(device: str, has_gpu: Callable[[], bool]) -> Device:
    """Return where to compute; `auto` is a GPU where this process has one.

    Raises
    ------
    ConventionError
        If there is no such device.
    """
    if device == "auto":
        return "gpu" if has_gpu() else "cpu"
    check_choice("device", device, ("auto", *get_args(Device)))
    return cast("Device", device)
