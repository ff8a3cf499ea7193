"""Commands of stacks: import, describe, measure, export and view them."""

import sys
from pathlib import Path
from threading import Event
from typing import Any

import click

from ...conventions import RecipeError
from .options import options, say, show


def _pixel_size(_context: Any, _option: Any, text: str | None) -> tuple[float, float] | None:
    """Return the size along y and x that an option gives."""
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


def _crop(
    _context: Any, _option: Any, given: tuple[tuple[str, int, int], ...]
) -> dict[str, tuple[int, int]] | None:
    """Return the intervals that options give, by axis, each of which has one."""
    axes = [axis for axis, *_ in given]
    if len(set(axes)) < len(axes):
        msg = f"--crop is given once for each axis; got {' and '.join(axes)}"
        raise RecipeError(msg)
    return {axis: (start, stop) for axis, start, stop in given} or None


@click.command("import")
@click.argument("source", nargs=-1, required=True)
@click.argument("out", type=click.Path())
@click.option(
    "--voltage",
    "voltages",
    multiple=True,
    type=float,
    help="Accelerating voltage in kV, one for each SOURCE.",
)
@click.option("--pixel-size", callback=_pixel_size, help="Pixel size in nm: one number, or 'y,x'.")
@click.option("--slice-thickness", type=float, help="Slice thickness in nm.")
@click.option(
    "--z-file",
    "--z",
    "z",
    type=click.Path(),
    help="CSV file with the z or thickness of each slice.",
)
@click.option("--detector", help="Detector, in a file that holds several.")
@click.option("--dataset", help="Dataset, in an HDF5 file or N5 that holds several.")
@click.option(
    "--channel",
    "channels",
    multiple=True,
    help="Channel, by name or position from 0, in files that hold several: one for all, or one "
    "for each voltage.",
)
@click.option(
    "--crop",
    multiple=True,
    type=(click.Choice(["y", "x"]), int, int),
    callback=_crop,
    metavar="AXIS START STOP",
    help="Pixels to keep along y or x, such as 'y 0 884'.",
)
@options("fresh", "quiet")
def import_(source: tuple[str, ...], out: str, fresh: bool, quiet: bool, **images: Any) -> None:
    """Read images into a store, OUT.

    Give one SOURCE for each voltage: a folder, a quoted glob or a file.
    """
    from ..folder.progress import command_monitor
    from ..importing import import_images

    shown = command_monitor(quiet=quiet)
    path = import_images(source, Path(out), resume=not fresh, monitor=shown, **images)
    say(f"stack: {path}", quiet=quiet)


@click.command()
@click.argument("source", type=click.Path())
@click.argument("destination", type=click.Path())
@click.option(
    "--remote",
    multiple=True,
    metavar="KEY=VALUE",
    help="How to reach the server: endpoint, region, anonymous=true, plain_http=true.",
)
@options("quiet")
def copy(source: str, destination: str, remote: tuple[str, ...], quiet: bool) -> None:
    """Copy a store to or from a server, s3://BUCKET/NAME.

    An interrupted copy resumes where it stopped. Credentials come from the environment:
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.
    """
    from ..copying import copy_store
    from ..folder.progress import command_monitor

    shown = command_monitor(quiet=quiet)
    place = copy_store(source, destination, remote=_remote_options(remote), monitor=shown)
    say(f"stack: {place}", quiet=quiet)


def _remote_options(given: tuple[str, ...]) -> dict[str, str | bool]:
    pairs = [option.partition("=") for option in given]
    truth: dict[str, bool] = {"true": True, "false": False}
    return {key: truth.get(value, value) for key, _, value in pairs}


@click.command()
@click.argument("stack", type=click.Path())
@options("json", "quiet")
def info(stack: str, as_json: bool, quiet: bool) -> None:
    """Describe STACK: a store, a run's folder, or a model.

    Name a model as `fibdask models` lists it, or by its folder.
    """
    from ...learn.folder import CARD
    from ...learn.models import open_model, shipped_models
    from ..folder.run_folder import SUMMARY
    from ..info import describe_run, describe_stack, format_description, format_run
    from ..info_models import format_card

    shipped = not Path(stack).exists() and stack in (model.name for model in shipped_models())
    if shipped or (Path(stack) / CARD).is_file():
        card = dict(open_model(stack).card)
        show(card, format_card(card), as_json=as_json, quiet=quiet)
        return
    if (Path(stack) / SUMMARY).is_file():
        run = describe_run(stack)
        show(run, format_run(run), as_json=as_json, quiet=quiet)
        return
    description = describe_stack(stack)
    show(description, format_description(description), as_json=as_json, quiet=quiet)


@click.command()
@click.argument("stack", type=click.Path())
@click.option(
    "--max-lag",
    type=click.IntRange(min=1),
    default=128,
    show_default=True,
    help="Longest lag of correlations, in voxels.",
)
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(),
    help="Also write a table. If interrupted, the counts so far are kept beside it.",
)
@options("json", "quiet")
def statistics(stack: str, max_lag: int, csv_path: str | None, as_json: bool, quiet: bool) -> None:
    """Measure the phase of STACK: a store, or a run's folder.

    Prints solid fraction, two-point correlation, lineal path, ligament diameter and isotropy
    errors. In a run's folder, the last phase is measured.
    """
    from ..cluster import local_cluster
    from ..exporting import counts_beside, measure_stack, write_statistics
    from ..info import format_statistics, statistics_record

    quiet_work = quiet or as_json or not sys.stdout.isatty()
    # Without a table nobody has said where to write, so nothing is left behind to go on from.
    counts = counts_beside(Path(csv_path)) if csv_path else None
    given = {"connect": local_cluster, "counts": counts, "quiet": quiet_work}
    results = measure_stack(stack, max_lag=max_lag, **given)
    if csv_path:
        write_statistics(results, Path(csv_path))
    show(statistics_record(results), format_statistics(results), as_json=as_json, quiet=quiet)


@click.command()
@click.argument("stack", type=click.Path())
@options("json", "quiet")
def measure(stack: str, as_json: bool, quiet: bool) -> None:
    """Measure how the images of STACK were taken.

    Prints noise, blur, brightness drift, stripes and grey levels of each voltage, with standard
    errors. To simulate such images, set `like = "STACK"` in [simulate] of a recipe.
    """
    from ...imaging import measure_imaging
    from ...io import open_stack
    from ..info import format_imaging, imaging_record
    from ..telling import computing

    with computing("measuring", quiet=quiet or as_json or not sys.stdout.isatty()):
        found = measure_imaging(open_stack(stack))
    show(imaging_record(found), format_imaging(found), as_json=as_json, quiet=quiet)


@click.command()
@click.argument("stack", type=click.Path())
@click.option("--phase", "phase_path", type=click.Path(), help="File to write the phase to.")
@click.option("--image", "image_path", type=click.Path(), help="File to write the images to.")
@click.option("--voltage", type=float, help="Voltage of the images in kV.")
@click.option(
    "--surface",
    "mesh_path",
    type=click.Path(),
    help="STL or PLY file to write the solid's surface to.",
)
@click.option(
    "--statistics",
    "csv_path",
    type=click.Path(),
    help="CSV or Parquet file to write statistics to.",
)
@click.option(
    "--max-lag",
    type=click.IntRange(min=1),
    help="Longest lag of the statistics in voxels; by default the run's, or 128.",
)
@options("quiet")
def export(
    stack: str,
    phase_path: str | None,
    image_path: str | None,
    voltage: float | None,
    mesh_path: str | None,
    csv_path: str | None,
    max_lag: int | None,
    quiet: bool,
) -> None:
    """Write phase, images, surface or statistics to files.

    STACK is a store or a run's folder. The suffix sets the format of voxels: .tif, .ome.tif, .zarr
    (OME-Zarr), .mrc, .nrrd, .nii, .vti (VTK), or .npy, which stores no voxel size. Solid is 255 in
    TIFF, else 1. OME-TIFF and OME-Zarr hold all voltages, or the one of --voltage. Surfaces (.stl,
    .ply) are closed where solid meets a side of the volume; their lengths are in nm.
    """
    from ..cluster import local_cluster
    from ..exporting import (
        counts_beside,
        export_images,
        export_phase,
        export_surface,
        stored_statistics,
        write_statistics,
    )
    from ..folder.progress import command_monitor

    if not (phase_path or image_path or mesh_path or csv_path):
        msg = (
            "export needs --phase OUT.tif, --image OUT.tif, --surface OUT.stl or "
            "--statistics OUT.csv"
        )
        raise RecipeError(msg)
    if max_lag and not csv_path:
        msg = "--max-lag is of --statistics OUT.csv, which is not given"
        raise RecipeError(msg)
    if voltage is not None and not image_path:
        msg = "--voltage is of --image OUT.tif, which is not given"
        raise RecipeError(msg)
    _check_files(phase_path, image_path, mesh_path, csv_path)
    counts = counts_beside(Path(csv_path)) if csv_path else None
    shown = command_monitor(quiet=quiet)
    if phase_path:
        say(f"phase: {export_phase(stack, Path(phase_path), monitor=shown)}", quiet=quiet)
    if image_path:
        out = export_images(stack, Path(image_path), voltage=voltage, monitor=shown)
        say(f"images: {out}", quiet=quiet)
    if mesh_path:
        say(f"surface: {export_surface(stack, Path(mesh_path), monitor=shown)}", quiet=quiet)
    if csv_path:
        given = {"connect": local_cluster, "counts": counts, "quiet": quiet}
        results = stored_statistics(stack, max_lag=max_lag, **given)
        say(f"statistics: {write_statistics(results, Path(csv_path))}", quiet=quiet)


def _check_files(*paths: str | None) -> None:
    """Refuse a file that is to hold two things: the second would take the place of the first."""
    files = [Path(path).absolute() for path in paths if path]
    if twice := next((file for file in files if files.count(file) > 1), None):
        msg = f"each file holds one thing; {twice} is to hold two: give two names"
        raise RecipeError(msg)


@click.command()
@click.argument("stack", type=click.Path())
@click.option("--no-wait", is_flag=True, help="Only print what would be shown.")
@options("json", "quiet")
def view(stack: str, no_wait: bool, as_json: bool, quiet: bool) -> None:
    """View STACK in a browser: a store, or a run's folder.

    Prints a link to a page that this machine serves until Ctrl-C.
    """
    from ..viewing import view_path

    page = view_path(stack)
    text = f"layers: {', '.join(page.layers)}\n{page.link}"
    show({"link": page.link, "layers": page.layers}, text, as_json=as_json, quiet=quiet)
    try:
        if not no_wait:
            say("Ctrl-C ends the page", quiet=quiet or as_json)
            Event().wait()
    except KeyboardInterrupt:  # how it is meant to end
        pass
    finally:
        page.close()


COMMANDS = (import_, copy, info, measure, statistics, export, view)
