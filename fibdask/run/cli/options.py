"""What the commands have in common: options, what they print, and their workers."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..shown import printable

if TYPE_CHECKING:
    from distributed import Client

    from ..recipe import Recipe

KINDS = ("local", "slurm", "pbs", "lsf", "cuda", "ssh")
"""Those of `run.cluster`, which would take a second to import."""


def say(text: str, *, quiet: bool = False) -> None:
    """Print a text, unless asked to be quiet; nothing in it commands the terminal."""
    if not quiet:
        click.echo(printable(text))


def show(value: dict[str, Any], text: str, *, as_json: bool, quiet: bool) -> None:
    """Print a record as JSON, or as text."""
    if as_json:
        click.echo(json.dumps(value))
    else:
        say(text, quiet=quiet)


def options(*names: str) -> Callable[[Any], Any]:
    """Add options that several commands share."""
    known = {
        "quiet": click.option("--quiet", is_flag=True, help="Print only errors."),
        "json": click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        "input": click.option(
            "--input",
            "input_path",
            type=click.Path(),
            help="Input instead of the recipe's. A run replaces results of another input in its "
            "output folder; to keep both, also give --out.",
        ),
        "out": click.option(
            "--out", type=click.Path(), help="Output folder instead of the recipe's."
        ),
        "scheduler": click.option("--scheduler", help="Address of a running Dask scheduler."),
        "cluster": click.option(
            "--cluster", type=click.Choice(KINDS), help="Kind of cluster instead of the recipe's."
        ),
        "secure": click.option(
            "--secure/--insecure",
            default=None,
            help="Encrypt with certificates, made if needed; or allow an unencrypted scheduler "
            "elsewhere.",
        ),
        "certificates": click.option(
            "--certificates", type=click.Path(), help="Folder of certificates; see --secure."
        ),
        "log-json": click.option(
            "--log-json", is_flag=True, help="Write fibdask.log as JSON, one line for each event."
        ),
        "profile": click.option(
            "--profile", is_flag=True, help="Write OUT/profile.html, Dask's report of the run."
        ),
        "part": click.option(
            "--part", metavar="I/N", help="Be process I of N that run RECIPE together."
        ),
        "fresh": click.option("--fresh", is_flag=True, help="Start anew: remove earlier results."),
    }

    def decorate(command: Any) -> Any:
        for name in reversed(names):
            command = known[name](command)
        return command

    return decorate


def client_of(
    recipe: "Recipe", scheduler: str | None, how: Mapping[str, Any], *, quiet: bool
) -> AbstractContextManager["Client"]:
    """Return a client of a scheduler that runs, or of workers started for a recipe."""
    from ..cluster import certificates_folder, connect, workers
    from ..folder.progress import LOGGER
    from ..folder.run_folder import JOBS
    from ..recipe import read_profile

    def tell(text: str) -> None:
        LOGGER.info(text)
        say(text, quiet=quiet)

    given = {key: how[key] for key in ("secure", "certificates") if how.get(key) is not None}
    options = {**recipe.tables["cluster"], **given}
    options["scheduler"] = scheduler or options["scheduler"]
    out = Path(recipe.tables["output"]["path"])
    certificates = certificates_folder(options, out)
    if address := options["scheduler"]:
        secure = options["secure"]
        return connect(address, certificates=certificates, secure=secure)  # type: ignore[no-any-return]
    profile = read_profile(options)
    return workers(options, profile, logs=out / JOBS, tell=tell, certificates=certificates)
