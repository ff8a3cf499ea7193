"""Commands of runs: make one, simulate, say what it did, report it."""

import shlex
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...conventions import FibdaskError, RecipeError
from ..shown import listed, printable
from .options import client_of, options, say, show

if TYPE_CHECKING:
    from ..folder.run_folder import RunFolder
    from ..runner import Pipeline

_HOW = ("secure", "certificates", "log-json", "profile")


@click.command()
@click.argument("recipe", type=click.Path())
@options("input", "out", "fresh", "scheduler", "cluster", "part", *_HOW, "quiet")
def run(
    recipe: str,
    input_path: str | None,
    out: str | None,
    fresh: bool,
    scheduler: str | None,
    cluster: str | None,
    part: str | None,
    quiet: bool,
    **how: Any,
) -> None:
    """Run RECIPE, or resume an interrupted run.

    Given images or a store instead of a recipe, it proposes a recipe.
    """
    from ..recipe import read_recipe

    workers = {"--scheduler": scheduler, "--cluster": cluster, "--part": part}
    if len(given := [name for name, value in workers.items() if value]) > 1:
        msg = f"{' and '.join(given)} exclude each other; give one"
        raise RecipeError(msg)
    _propose_for_images(recipe, quiet=quiet)
    read = read_recipe(recipe, input_path=input_path, output_path=out, cluster=cluster)
    if part:
        _run_part(read, fresh, part, quiet, how)
    else:
        _run(read, fresh, scheduler, quiet, how)


def _propose_for_images(source: str, *, quiet: bool) -> None:
    """Show a recipe for images or a store that are given in place of one, and end.

    Raises
    ------
    RecipeError
        If there are such: saying how the recipe is written.
    """
    from ...blocks import is_address
    from ...io.images.registry import is_image
    from ..proposing import propose_recipe

    is_run = (Path(source) / "recipe.toml").is_file()
    if is_run or not (is_image(Path(source)) or Path(source).is_dir() or is_address(source)):
        return
    try:
        text, needed = propose_recipe([source], Path("recipe.toml"))
    except FibdaskError as error:
        msg = f"{source} is no recipe, and none can be proposed for it: {error}"
        raise RecipeError(msg) from None
    say(text, quiet=quiet)
    also = f", then fill in {listed(needed)}" if needed else ""
    msg = (
        f"{source} is no recipe; above is one for it: write it by `fibdask init "
        f"{shlex.quote(source)}`{also}, and run it by `fibdask run recipe.toml`"
    )
    raise RecipeError(msg)


def _run_part(recipe: Any, fresh: bool, part: str, quiet: bool, how: Mapping[str, Any]) -> None:
    from ..cluster import keep_as_workers, parse_part
    from ..runner import Pipeline

    this = parse_part(part)
    if fresh and this.of > 1:
        msg = "--fresh and --part exclude each other: a part would remove what others have made"
        raise RecipeError(msg)
    if how["profile"]:
        msg = "--profile and --part exclude each other: Dask sees nothing of a part"
        raise RecipeError(msg)
    if how["secure"] or how["certificates"]:
        option = "--secure" if how["secure"] else "--certificates"
        msg = f"{option} and --part exclude each other: a part talks to nobody"
        raise RecipeError(msg)
    keep_as_workers()
    pipeline = Pipeline(recipe, resume=not fresh, quiet=quiet, log_json=how["log_json"], part=this)
    pipeline.run(None)
    tell(pipeline, quiet=quiet)


@click.command()
@click.argument("recipe", type=click.Path())
@options("input", "out", "fresh", "scheduler", *_HOW, "quiet")
def simulate(
    recipe: str,
    input_path: str | None,
    out: str | None,
    fresh: bool,
    scheduler: str | None,
    quiet: bool,
    **how: Any,
) -> None:
    """Make the structure and the images of RECIPE.

    Later stages are not run. OUT/simulate.zarr holds images and truth at the slices' depths,
    OUT/structure.zarr the structure. An interrupted simulation resumes where it stopped. It runs as
    jobs or on other machines if [cluster] of RECIPE names their kind; for parts, use fibdask run.
    """
    from ..recipe import read_recipe

    read = read_recipe(recipe, input_path=input_path, output_path=out)
    _run(read, fresh, scheduler, quiet, how, until="simulate")
    say(f"stack: {Path(read.tables['output']['path']) / 'simulate.zarr'}", quiet=quiet)


def _run(
    recipe: Any,
    fresh: bool,
    scheduler: str | None,
    quiet: bool,
    how: Mapping[str, Any],
    until: str | None = None,
) -> None:
    from ..folder.run_folder import PROFILE
    from ..profiling import profiled
    from ..runner import Pipeline

    pipeline = Pipeline(
        recipe, resume=not fresh, quiet=quiet, until=until, log_json=how["log_json"]
    )
    out = pipeline.folder.path
    with client_of(recipe, scheduler, how, quiet=quiet) as client:
        say(f"dashboard: {client.dashboard_link}", quiet=quiet)
        with profiled(client, out / PROFILE) if how["profile"] else nullcontext():
            pipeline.run(client)
    if how["profile"]:
        say(f"profile: {out / PROFILE}", quiet=quiet)
    tell(pipeline, quiet=quiet)


def tell(run: "Pipeline", *, quiet: bool) -> None:
    """Say what must be known beside the numbers of a run, and where its report is."""
    measured = run.statistics
    for text in [] if measured is None else measured.attrs["warnings"]:
        say(f"mind: {text}", quiet=quiet)
    if run.reported:
        say(f"report: {run.folder.path / 'report.html'}", quiet=quiet)


@click.command()
@click.argument("out", type=click.Path())
@click.option("--watch", is_flag=True, help="Keep watching until the run ends, whoever started it.")
@options("json", "quiet")
def status(out: str, watch: bool, as_json: bool, quiet: bool) -> None:
    """Show the state of the last run in OUT.

    With --watch, the exit code is that of the run: 0 if it is done. A run that has not begun is
    waited for.
    """
    from ..folder.run_folder import RunFolder
    from ..status import format_status

    folder = RunFolder(Path(out))
    summary = _watch(folder, as_json=as_json, quiet=quiet) if watch else folder.read()
    if not (watch and as_json):
        show(summary, format_status(summary), as_json=as_json, quiet=quiet)
    if watch and summary["state"] != "done":
        sys.exit(1)


def _watch(folder: "RunFolder", *, as_json: bool, quiet: bool) -> dict[str, Any]:
    """Show how a run goes on, and return its last summary."""
    from rich.live import Live
    from rich.text import Text

    from ..status import ProgressLines, format_status, progress, watched

    summary: dict[str, Any] = {}
    lines = ProgressLines()
    if folder.is_awaited:
        say(f"no run has begun in {folder.path} yet: waiting", quiet=quiet or as_json)
    drawn = sys.stdout.isatty() and not as_json and not quiet
    with Live(transient=True, auto_refresh=False) if drawn else nullcontext() as live:
        for summary in watched(folder):
            if live is not None:
                told = [format_status(summary), "", *map(progress, summary["stages"][-1:])]
                live.update(Text(printable("\n".join(told))), refresh=True)
            elif as_json:
                show(summary, "", as_json=True, quiet=quiet)
            elif new := lines(summary):
                say("\n".join(new), quiet=quiet)
                sys.stdout.flush()
    return summary


@click.command()
@click.argument("out", type=click.Path())
@options("quiet")
def report(out: str, quiet: bool) -> None:
    """Rewrite the report of the run in OUT."""
    from ..folder.reopening import reopen_stages
    from ..folder.results import reopen, reopen_estimates, report_run
    from ..folder.run_folder import RunFolder

    folder = RunFolder(Path(out))
    folder.read()
    estimates = reopen_estimates(folder)
    stored, statistics = reopen(folder)
    stacks = reopen_stages(folder, stored, estimates)
    page = report_run(folder, stacks, estimates, statistics, quiet=quiet)
    say(f"report: {page}", quiet=quiet)


COMMANDS = (run, simulate, status, report)
