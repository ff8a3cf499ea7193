"""The voxels that are measured: solid or pore, inside a mask."""

from typing import Literal, get_args

from ..conventions import ConventionError

Chosen = Literal["solid", "pore"]


def check_choice(of: str) -> None:
    """Check the name of a phase.

    Raises
    ------
    ConventionError
        If it is neither solid nor pore.
    """
    if of not in get_args(Chosen):
        msg = f"of must be one of {', '.join(get_args(Chosen))}; got {of!r}"
        raise ConventionError(msg)
