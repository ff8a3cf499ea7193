"""What the commands have in common: options, what they print, and their workers."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click

from ..shown import printable


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
            "--cluster", type=click.Choice(["local"]), help="Kind of cluster to start."
        ),
        "secure": click.option(
            "--secure/--insecure",
            default=None,
            help="Encrypt by certificates, made if need be; or use an open scheduler elsewhere.",
        ),
        "certificates": click.option(
            "--certificates", type=click.Path(), help="Folder of certificates; see --secure."
        ),
        "log-json": click.option(
            "--log-json", is_flag=True, help="Write fibdask.log in lines of JSON, one an event."
        ),
        "profile": click.option(
            "--profile", is_flag=True, help="Write OUT/profile.html, what Dask saw of the run."
        ),
        "part": click.option(
            "--part", metavar="I/N", help="Be process I of N that make RECIPE without a scheduler."
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
    workers: Any, scheduler: str | None, certificates: Path | None = None
) -> AbstractContextManager[Any]:
    """Return a client of a scheduler that runs, or of workers started for a table [cluster]."""
    from ..cluster import connect, local_cluster

    address = scheduler or workers["scheduler"]
    if address:
        secure = workers["secure"]
        return connect(address, certificates=certificates, secure=secure)  # type: ignore[no-any-return]
    return local_cluster(  # type: ignore[no-any-return]
        workers=workers["workers"],
        threads=workers["threads"],
        memory=workers["memory"],
        certificates=certificates,
    )
