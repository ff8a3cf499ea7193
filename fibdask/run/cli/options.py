"""What the commands have in common: options, what they print, and their workers."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from distributed import Client

    from ..recipe import Recipe

KINDS = ("local", "slurm", "pbs", "lsf", "cuda", "ssh")
"""Those of `run.cluster`, which would take a second to import."""


def say(text: str, *, quiet: bool = False) -> None:
    """Print a line, unless asked to be quiet."""
    if not quiet:
        click.echo(text)


def show(value: dict[str, Any], text: str, *, as_json: bool, quiet: bool) -> None:
    """Print a record as JSON, or as text."""
    if as_json:
        click.echo(json.dumps(value))
    else:
        say(text, quiet=quiet)


def options(*names: str) -> Callable[[Any], Any]:
    """Add options that several commands share."""
    known = {
        "quiet": click.option("--quiet", is_flag=True, help="Print nothing but errors."),
        "json": click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        "input": click.option(
            "--input", "input_path", type=click.Path(), help="Input instead of the recipe's."
        ),
        "out": click.option(
            "--out", type=click.Path(), help="Output folder instead of the recipe's."
        ),
        "scheduler": click.option("--scheduler", help="Address of a running Dask scheduler."),
        "cluster": click.option(
            "--cluster", type=click.Choice(KINDS), help="Kind of cluster instead of the recipe's."
        ),
        "fresh": click.option(
            "--fresh", is_flag=True, help="Make everything anew; what lies there is removed."
        ),
    }

    def decorate(command: Any) -> Any:
        for name in reversed(names):
            command = known[name](command)
        return command

    return decorate


def client_of(
    recipe: "Recipe", scheduler: str | None, *, quiet: bool
) -> AbstractContextManager["Client"]:
    """Return a client of a scheduler that runs, or of workers started for a recipe."""
    from ..cluster import connect, workers
    from ..folder.progress import LOGGER
    from ..folder.run_folder import JOBS
    from ..recipe import read_profile

    def tell(text: str) -> None:
        LOGGER.info(text)
        say(text, quiet=quiet)

    options = recipe.tables["cluster"]
    if address := scheduler or options["scheduler"]:
        return connect(address)  # type: ignore[no-any-return]
    logs = Path(recipe.tables["output"]["path"]) / JOBS
    return workers(options, read_profile(options), logs=logs, tell=tell)
