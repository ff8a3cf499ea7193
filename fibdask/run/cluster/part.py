"""What a process has that makes one part of a run: as much as one worker of [cluster]."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...blocks import Part, Resources, own_resources
from ...conventions import RecipeError
from .local import parse_memory


def parse_part(text: str) -> Part:
    """Turn "2/8" into a part.

    Raises
    ------
    RecipeError
        If it is none.
    """
    number, slash, of = text.partition("/")
    if slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of):
        return Part(int(number), int(of))
    msg = f"--part must be a number, from 1, and how many there are, such as 2/8; got {text!r}"
    raise RecipeError(msg)


def part_resources(options: Mapping[str, Any], folder: Path) -> Resources:
    """Return what a part has: threads and memory that the table [cluster] gives a worker.

    By default its memory is what is free, within what a control group leaves the process.
    """
    own = own_resources(folder)
    given = parse_memory(options["memory"])
    return replace(own, threads=options["threads"], host_bytes=given or own.host_bytes)
