"""The summary of a run, `run.json`: what it must hold to be believed."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class _Failure(BaseModel):
    block: list[int]
    place: str
    cause: str


class _Stage(BaseModel):
    name: str
    blocks: int
    blocks_run: int
    blocks_skipped: int
    blocks_failed: int
    seconds: float
    forecast_bytes: int
    peak_bytes: int
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
