"""Commands of runs: make one, simulate, say what it did, report it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...conventions import RecipeError
from .options import client_of, options, say, show

if TYPE_CHECKING:
    from ..runner import Pipeline


@click.command()
@click.argument("recipe", type=click.Path())
@options("input", "out", "fresh", "scheduler", "cluster", "quiet")
def run(
    recipe: str,
    input_path: str | None,
    out: str | None,
    fresh: bool,
    scheduler: str | None,
    cluster: str | None,
    quiet: bool,
) -> None:
    """Run RECIPE; an interrupted run is taken up where it was."""
    from ..recipe import read_recipe

    if scheduler and cluster:
        msg = "--scheduler and --cluster exclude each other; give one"
        raise RecipeError(msg)
    read = read_recipe(recipe, input_path=input_path, output_path=out, cluster=cluster)
    _run(read, fresh, scheduler, quiet)


@click.command()
@click.argument("recipe", type=click.Path())
@options("input", "out", "fresh", "scheduler", "quiet")
def simulate(
    recipe: str,
    input_path: str | None,
    out: str | None,
    fresh: bool,
    scheduler: str | None,
    quiet: bool,
) -> None:
    """Make the structure and the images of RECIPE.

    Nothing of its later stages. OUT/simulate.zarr holds images and truth at the slices' depths,
    OUT/structure.zarr the structure. An interrupted simulation is taken up where it was.
    """
    from ..recipe import read_recipe

    read = read_recipe(recipe, input_path=input_path, output_path=out)
    _run(read, fresh, scheduler, quiet, until="simulate")
    say(f"stack: {Path(read.tables['output']['path']) / 'simulate.zarr'}", quiet=quiet)


def _run(
    recipe: Any, fresh: bool, scheduler: str | None, quiet: bool, until: str | None = None
) -> None:
    from ..runner import Pipeline

    pipeline = Pipeline(recipe, resume=not fresh, quiet=quiet, until=until)
    with client_of(recipe, scheduler, quiet=quiet) as client:
        say(f"dashboard: {client.dashboard_link}", quiet=quiet)
        pipeline.run(client)
    tell(pipeline, quiet=quiet)


def tell(run: "Pipeline", *, quiet: bool) -> None:
    """Say what must be known beside the numbers of a run, and where its report is."""
    measured = run.statistics
    for text in [] if measured is None else measured.attrs["warnings"]:
        say(f"mind: {text}", quiet=quiet)
    if run.recipe.tables["output"]["report"]:
        say(f"report: {run.folder.path / 'report.html'}", quiet=quiet)


@click.command()
@click.argument("out", type=click.Path())
@options("json", "quiet")
def status(out: str, as_json: bool, quiet: bool) -> None:
    """Say what the last run in OUT did."""
    from ..folder.run_folder import RunFolder
    from ..info import format_status

    summary = RunFolder(Path(out)).read()
    show(summary, format_status(summary), as_json=as_json, quiet=quiet)


@click.command()
@click.argument("out", type=click.Path())
@options("quiet")
def report(out: str, quiet: bool) -> None:
    """Write the report of the run in OUT anew."""
    from ..folder.results import reopen, reopen_estimates, report_run
    from ..folder.run_folder import RunFolder

    folder = RunFolder(Path(out))
    folder.read()
    stacks, statistics = reopen(folder)
    page = report_run(folder, stacks, reopen_estimates(folder), statistics)
    say(f"report: {page}", quiet=quiet)


COMMANDS = (run, simulate, status, report)
