"""Channels of a file: voltages or detectors, of which a stack takes one, or all voltages."""

import re
from collections.abc import Sequence

from .headers import Header, make_header, positive

Channel = int | str | None

_SHOWN = 8  # in messages
_VOLTAGE = re.compile(r"(\d+(?:\.\d*)?) *(k?V)", re.IGNORECASE)


def find_channel(names: Sequence[str], wanted: Channel) -> int:
    """Return the position of the channel that is wanted; the only one if none is.

    Parameters
    ----------
    names
        Of the channels, in order; empty for those without a name.
    wanted
        A name, or a position from 0.

    Raises
    ------
    ValueError
        If several could be meant, or none.
    """
    if wanted is None and len(names) == 1:
        return 0
    if isinstance(wanted, str) and names.count(wanted) == 1:
        return names.index(wanted)
    if isinstance(wanted, int) and not isinstance(wanted, bool) and 0 <= wanted < len(names):
        return wanted
    shown = [f"{k} {name!r}" if name else str(k) for k, name in enumerate(names[:_SHOWN])]
    known = ", ".join(shown) + (", …" if len(names) > _SHOWN else "")
    if wanted is None:
        msg = (
            f"it holds {len(names)} channels, {known}: choose one with channel, or name their "
            "axis Z if it is depth"
        )
    else:
        msg = f"channel must be one of {known}; got {wanted!r}"
    raise ValueError(msg)


def named_voltages(names: Sequence[str]) -> dict[float, int]:
    """Return the positions of channels by the voltages in kV that their names tell.

    Empty unless all tell another one: then what tells them apart is something else.
    """
    found = {voltage: k for k, name in enumerate(names) if (voltage := _kilovolts(name))}
    return found if 1 < len(names) == len(found) else {}


def channel_header(name: str, origin: str) -> Header:
    """Return what the name of a channel tells: a voltage, or a detector."""
    voltage = _kilovolts(name)
    detector = None if voltage or not name else name
    where = f"{origin} {name!r}"
    return make_header({"voltage_kv": (voltage, where), "detector": (detector, where)})


def _kilovolts(name: str) -> float | None:
    """Return the voltage in kV where a name is one, as "1.5 kV" and "800V" are."""
    told = _VOLTAGE.fullmatch(name.strip())
    if told is None:
        return None
    return positive(told[1], 1.0 if told[2][0] in "kK" else 1e-3)
