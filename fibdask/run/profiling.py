"""What Dask tells of a run in a page of its own: each task on its worker, and what it moved."""

import contextlib
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import distributed

from ..conventions import FibdaskWarning, RecipeError
from .folder.run_folder import LOCK, PARTIAL


def check_profile(client: distributed.Client | None) -> distributed.Client:
    """Return the client of a profile; refused without one, or with nothing to draw it with.

    Raises
    ------
    RecipeError
        Saying what is missing.
    """
    if client is None:
        msg = "--profile tells what a Dask scheduler saw, and this run uses none"
        raise RecipeError(msg)
    if find_spec("bokeh") is None:
        msg = "--profile draws with the package bokeh, which is not installed: pip install bokeh"
        raise RecipeError(msg)
    return client


@contextlib.contextmanager
def profiled(client: distributed.Client | None, path: Path) -> Iterator[None]:
    """Write Dask's performance report of what a client does meanwhile into the folder of a run.

    It is one HTML page that needs no network. A run is not lost for its sake: what keeps it from
    being written is said.

    Raises
    ------
    RecipeError
        As of `check_profile`.
    """
    client = check_profile(client)
    partial = path.with_name(PARTIAL.format(path.name))
    report = distributed.performance_report(str(partial), mode="inline")
    with client.as_current():
        report.__enter__()
        try:
            yield
        finally:
            _end(report, partial, path)


def _end(report: distributed.performance_report, partial: Path, path: Path) -> None:
    """Write a report into the folder of a run; where none was begun, it stays as it is."""
    if not (path.parent / LOCK).is_file():
        return
    try:
        report.__exit__(None, None, None)
        partial.replace(path)
    except Exception as error:  # of whatever kind the scheduler raises, or it is gone
        text = f"no profile was written to {path}: {error}"
        warnings.warn(text, FibdaskWarning, stacklevel=4)
        partial.unlink(missing_ok=True)
