"""Import images into a store."""

from pathlib import Path
from typing import Any

from ..blocks import NO_MONITOR, Monitor
from ..conventions import RecipeError
from ..io import read_images
from ..io.store import save_watched
from .disk import told_if_full
from .recipe.sources import by_voltage


def import_images(
    sources: tuple[str, ...],
    out: Path,
    *,
    voltages: tuple[float, ...],
    channels: tuple[str, ...] = (),
    resume: bool = True,
    monitor: Monitor = NO_MONITOR,
    **options: Any,
) -> Path:
    """Read images of one or several voltages and save them as a stack; `monitor` is told of it.

    Raises
    ------
    RecipeError
        If sources and voltages do not match in number, or a voltage is given twice.
    """
    if len(sources) > 1 and len(sources) != len(voltages):
        msg = (
            f"{len(sources)} sources need as many --voltage; got {len(voltages)} "
            "(quote a glob, so that the shell does not expand it)"
        )
        raise RecipeError(msg)
    if len(sources) == 1 and len(voltages) > 1 and len(channels) < 2:
        msg = f"one source needs one --voltage; got {len(voltages)}"
        raise RecipeError(msg)
    if len(channels) > 1 and len(channels) != len(voltages):
        msg = f"{len(channels)} --channel need as many --voltage; got {len(voltages)}"
        raise RecipeError(msg)
    given = {key: value for key, value in options.items() if value is not None}
    if (place := given.get("detector", "")).isdecimal():
        given["detector"] = int(place)
    if channels:
        places = [int(name) if name.isdecimal() else name for name in channels]
        several = dict(zip(voltages, places, strict=False))
        given["channel"] = several if len(channels) > 1 else places[0]
    if len(sources) == 1 and len(channels) > 1:
        sources *= len(channels)
    if len(sources) == 1:
        voltage = voltages[0] if voltages else None
        stack = read_images(sources[0], voltage=voltage, **given)
    else:
        stack = read_images(by_voltage([*zip(voltages, sources, strict=True)]), **given)
    with told_if_full(out.absolute().parent):
        return save_watched(stack, out, monitor, resume=resume)
