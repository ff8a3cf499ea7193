"""The command `fibdask`: thin faces of library functions; no tracebacks for user errors."""

import json
import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import click

from ...conventions import VERSION, BlocksFailedError, FibdaskError, FibdaskWarning, RecipeError
from ..shown import lines, one_line


def _say(text: str, *, quiet: bool = False) -> None:
    if not quiet:
        click.echo(text)


def _print(value: dict[str, Any], text: str, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        click.echo(json.dumps(value))
    else:
        _say(text, quiet=quiet)


def _options(*names: str) -> Callable[[Any], Any]:
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
        "fresh": click.option(
            "--fresh", is_flag=True, help="Make everything anew; what lies there is removed."
        ),
    }

    def decorate(command: Any) -> Any:
        for name in reversed(names):
            command = known[name](command)
        return command

    return decorate


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="fibdask")
def cli() -> None:
    """Make trustworthy 3D microstructures of FIB-SEM stacks that are larger than memory."""


@cli.command()
@click.argument("recipe", type=click.Path())
@_options("input", "out", "fresh", "scheduler", "cluster", "quiet")
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
    _run(read_recipe(recipe, input_path=input_path, output_path=out), fresh, scheduler, quiet)


@cli.command()
@click.argument("recipe", type=click.Path())
@_options("input", "out", "fresh", "scheduler", "quiet")
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
    _say(f"stack: {Path(read.tables['output']['path']) / 'simulate.zarr'}", quiet=quiet)


def _run(
    recipe: Any, fresh: bool, scheduler: str | None, quiet: bool, until: str | None = None
) -> None:
    from ..runner import Pipeline

    pipeline = Pipeline(recipe, resume=not fresh, quiet=quiet, until=until)
    with _client(recipe.tables["cluster"], scheduler) as client:
        _say(f"dashboard: {client.dashboard_link}", quiet=quiet)
        pipeline.run(client)
    measured = pipeline.statistics
    for text in [] if measured is None else measured.attrs["warnings"]:
        _say(f"mind: {text}", quiet=quiet)
    if recipe.tables["output"]["report"]:
        _say(f"report: {Path(recipe.tables['output']['path']) / 'report.html'}", quiet=quiet)


def _client(options: Any, scheduler: str | None) -> AbstractContextManager[Any]:
    from ..cluster import connect, local_cluster

    address = scheduler or options["scheduler"]
    if address:
        return connect(address)  # type: ignore[no-any-return]
    return local_cluster(  # type: ignore[no-any-return]
        workers=options["workers"], threads=options["threads"], memory=options["memory"]
    )


@cli.command()
@click.option("--out", type=click.Path(), default="fibdask-demo", show_default=True)
@_options("fresh", "quiet")
def demo(out: str, fresh: bool, quiet: bool) -> None:
    """Run everything on a small simulated stack and report."""
    from importlib.resources import as_file, files

    from ..recipe import read_recipe

    with as_file(files("fibdask.run.cli") / "demo.toml") as path:
        _run(read_recipe(path, output_path=out), fresh, None, quiet)


@cli.command("import")
@click.argument("source", nargs=-1, required=True)
@click.argument("out", type=click.Path())
@click.option("--voltage", multiple=True, type=float, help="kV; one for each SOURCE.")
@click.option("--pixel-size", type=str, help="nm; one number, or 'y,x'.")
@click.option("--slice-thickness", type=float, help="nm.")
@click.option("--z-file", "--z", type=click.Path(), help="CSV with z or thickness of each slice.")
@click.option("--detector", help="Detector of a file that holds several.")
@click.option("--dataset", help="Dataset of an HDF5 file that holds several.")
@click.option(
    "--crop",
    multiple=True,
    type=(click.Choice(["y", "x"]), int, int),
    metavar="AXIS START STOP",
    help="Pixels to keep along y or x, such as 'y 0 884'.",
)
@_options("fresh", "quiet")
def import_(
    source: tuple[str, ...],
    out: str,
    voltage: tuple[float, ...],
    pixel_size: str | None,
    slice_thickness: float | None,
    z_file: str | None,
    detector: str | None,
    dataset: str | None,
    crop: tuple[tuple[str, int, int], ...],
    fresh: bool,
    quiet: bool,
) -> None:
    """Read images into a store, OUT.

    SOURCE is a folder, a quoted glob or a file; one for each voltage.
    """
    from ..importing import import_images

    path = import_images(
        source,
        Path(out),
        voltages=voltage,
        pixel_size=_pixel_size(pixel_size),
        slice_thickness=slice_thickness,
        z=z_file,
        detector=detector,
        dataset=dataset,
        crop={axis: (start, stop) for axis, start, stop in crop} or None,
        resume=not fresh,
    )
    _say(f"stack: {path}", quiet=quiet)


def _pixel_size(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        msg = f"--pixel-size must be one number or 'y,x' in nm; got {text!r}"
        raise RecipeError(msg)
    return numbers[0], numbers[-1]


@cli.command()
@click.argument("stack", type=click.Path())
@_options("json", "quiet")
def info(stack: str, as_json: bool, quiet: bool) -> None:
    """Say what STACK, a store or the folder of a run, holds."""
    from ..folder.run_folder import SUMMARY
    from ..info import describe_run, describe_stack, format_description, format_run

    if (Path(stack) / SUMMARY).is_file():
        run = describe_run(stack)
        _print(run, format_run(run), as_json=as_json, quiet=quiet)
        return
    description = describe_stack(stack)
    _print(description, format_description(description), as_json=as_json, quiet=quiet)


@cli.command()
@click.argument("recipe", type=click.Path())
@_options("input", "out", "json", "quiet")
def check(recipe: str, input_path: str | None, out: str | None, as_json: bool, quiet: bool) -> None:
    """Check RECIPE and its input; nothing is computed."""
    from ..planner import check_recipe, format_check

    found = check_recipe(recipe, input_path=input_path, output_path=out)
    _print(found, format_check(found), as_json=as_json, quiet=quiet)


@cli.command()
@click.argument("recipe", type=click.Path())
@_options("input", "out", "json", "quiet")
def plan(recipe: str, input_path: str | None, out: str | None, as_json: bool, quiet: bool) -> None:
    """Forecast blocks, tasks, memory and disk of RECIPE."""
    from ..planner import format_plan, plan_recipe

    forecast = plan_recipe(recipe, input_path=input_path, output_path=out)
    _print(forecast, format_plan(forecast), as_json=as_json, quiet=quiet)


@cli.command()
@click.argument("out", type=click.Path())
@_options("json", "quiet")
def status(out: str, as_json: bool, quiet: bool) -> None:
    """Say what the last run in OUT did."""
    from ..folder.run_folder import RunFolder
    from ..info import format_status

    summary = RunFolder(Path(out)).read()
    _print(summary, format_status(summary), as_json=as_json, quiet=quiet)


@cli.command()
@click.argument("out", type=click.Path())
@_options("quiet")
def report(out: str, quiet: bool) -> None:
    """Write the report of the run in OUT anew."""
    from ..folder.results import reopen, reopen_estimates, report_run
    from ..folder.run_folder import RunFolder

    folder = RunFolder(Path(out))
    folder.read()
    stacks, statistics = reopen(folder)
    page = report_run(folder, stacks, reopen_estimates(folder), statistics)
    _say(f"report: {page}", quiet=quiet)


@cli.command()
@click.argument("stack", type=click.Path())
@click.option("--max-lag", type=click.IntRange(min=1), default=128, show_default=True)
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(),
    help="Also write a table; what is counted for it is kept beside it if interrupted.",
)
@_options("json", "quiet")
def statistics(stack: str, max_lag: int, csv_path: str | None, as_json: bool, quiet: bool) -> None:
    """Measure the phase of STACK.

    Solid fraction, two-point correlation, lineal path, ligament diameter and isotropy errors of
    a store, or of the last phase in a run's folder.
    """
    from ..exporting import counts_beside, measure_stack, write_statistics
    from ..info import format_statistics, statistics_record

    options = {"scheduler": None, "workers": None, "threads": 1, "memory": None}
    quiet_work = quiet or as_json or not sys.stdout.isatty()
    connect = partial(_client, options, None)  # once the stack is known to be there
    # Without a table nobody has said where to write, so nothing is left behind to go on from.
    counts = counts_beside(Path(csv_path)) if csv_path else None
    given = {"connect": connect, "counts": counts, "quiet": quiet_work}
    results = measure_stack(stack, max_lag=max_lag, **given)
    if csv_path:
        write_statistics(results, Path(csv_path))
    _print(statistics_record(results), format_statistics(results), as_json=as_json, quiet=quiet)


@cli.command()
@click.argument("stack", type=click.Path())
@click.option("--phase", "phase_path", type=click.Path(), help="TIFF to write the phase to.")
@click.option("--statistics", "csv_path", type=click.Path(), help="CSV to write statistics to.")
@click.option("--max-lag", type=click.IntRange(min=1), help="Voxels; by default the run's, or 128.")
@_options("quiet")
def export(
    stack: str, phase_path: str | None, csv_path: str | None, max_lag: int | None, quiet: bool
) -> None:
    """Write the phase as TIFF, or the statistics as CSV.

    STACK is a store, or a run's folder.
    """
    from ..exporting import counts_beside, export_phase, stored_statistics, write_statistics

    if not phase_path and not csv_path:
        msg = "export needs --phase OUT.tif or --statistics OUT.csv"
        raise RecipeError(msg)
    if max_lag and not csv_path:
        msg = "--max-lag is of --statistics OUT.csv, which is not given"
        raise RecipeError(msg)
    counts = counts_beside(Path(csv_path)) if csv_path else None
    if phase_path:
        _say(f"phase: {export_phase(stack, Path(phase_path))}", quiet=quiet)
    if csv_path:
        results = stored_statistics(stack, max_lag=max_lag, counts=counts)
        _say(f"statistics: {write_statistics(results, Path(csv_path))}", quiet=quiet)


def _show_warning(message: Warning | str, category: type[Warning], *place: Any) -> None:
    """Print a warning; where in the code it arose is told of other packages' only."""
    own = issubclass(category, FibdaskWarning)
    where = "" if own else f" ({place[0]}:{place[1]})"
    click.echo(f"warning: {one_line(message)}{where}", err=True)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage or recipe."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            cli(arguments, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; run again to go on", err=True)
        sys.exit(1)
    except FibdaskError as error:
        text = lines(error) if isinstance(error, BlocksFailedError) else one_line(error)
        click.echo(f"error: {text}", err=True)
        sys.exit(2 if isinstance(error, RecipeError) else 1)
    except (OSError, MemoryError) as error:  # a full disk, a folder that may not be written
        click.echo(f"error: {one_line(error) or 'this machine has not enough memory'}", err=True)
        sys.exit(1)
