"""The summary of a run, `run.json`: what it must hold to be believed."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

PARTED = "parts one peak"
"""Words of the warning of `segment_phases` of a phase that may be half of the solid."""


class _Failure(BaseModel):
    block: list[int]
    place: str
    cause: str


class _Slowest(BaseModel):
    block: list[int]
    place: str
    seconds: float


class _Stage(BaseModel):
    """Of a stage; what an earlier version did not measure is not known."""

    name: str
    blocks: int
    blocks_run: int
    blocks_skipped: int
    blocks_failed: int
    seconds: float
    forecast_bytes: int
    peak_bytes: int
    blocks_retried: int = 0
    waiting_seconds: float = 0.0
    work_seconds: float = 0.0
    voxels: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    stored_bytes: int = 0
    mvox_per_second: float | None = None
    read_mb_per_second: float | None = None
    written_mb_per_second: float | None = None
    median_seconds: float | None = None
    slowest: _Slowest | None = None
    failures: list[_Failure]
    blocks_elsewhere: int = 0


class _Summary(BaseModel):
    """Of a run.

    Attributes
    ----------
    stores
        State of each store that this run makes, in the order of making: `unfinished` or `done`.
        Any other store in the folder is of an earlier run. None of a run by a version that did
        not note them.
    error
        What ended the run, in a sentence.
    host, process
        Where it runs, or ran.
    waited_seconds
        Until there was a first worker.
    warnings
        What was told of a phase when it was made, and is true of whatever is measured of it, by
        the name of its store.
    """

    model_config = ConfigDict(extra="allow")

    title: str
    created: str
    state: str
    stages: list[_Stage]
    version: str = ""
    recipe: str = ""
    assumptions: list[str] = []
    stores: dict[str, str] | None = None
    error: str | None = None
    host: str = ""
    process: int | None = None
    waited_seconds: float = 0.0
    warnings: dict[str, list[str]] = {}


def phase_warnings_of(summary: Mapping[str, Any]) -> list[str]:
    """Return what a run has warned of that is true of whatever is measured of its phase."""
    made = [texts for name, texts in summary["warnings"].items() if name in summary["stores"]]
    return [text for texts in made for text in texts]


def parse_summary(text: str) -> dict[str, Any]:
    """Read a summary.

    Raises
    ------
    ValueError
        If it is not JSON, or not of a run.
    """
    try:
        return _Summary.model_validate_json(text).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        msg = f"{place}: {first['msg']}" if place else first["msg"]
        raise ValueError(msg) from None
