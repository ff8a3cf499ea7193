"""Commands of recipes: a first one, and what they need, before anything is made."""

import shlex
from pathlib import Path

import click

from ...conventions import RecipeError
from ..shown import listed
from .options import options, say, show


@click.command()
@click.argument("source", nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="recipe.toml",
    show_default=True,
    help="File to write.",
)
@click.option("--detector", help="Detector, in a file that holds several.")
@click.option("--dataset", help="Dataset, in an HDF5 file or N5 that holds several.")
@click.option("--channel", help="Channel, by name or position from 0, in files that hold several.")
@options("quiet")
def init(source: tuple[str, ...], out: Path, quiet: bool, **choice: str | None) -> None:
    """Write a recipe for the images of SOURCE.

    Give a folder, a quoted glob or a file for each voltage, or a store. The recipe takes what file
    headers state; the command asks no questions.
    """
    from ..proposing import write_recipe

    needed = write_recipe(source, out, **choice)
    say(f"recipe: {out}", quiet=quiet)
    if needed:
        say(f"fill in, since nothing tells: {listed(needed)}", quiet=quiet)
    say(f"then: fibdask run {shlex.quote(str(out))}", quiet=quiet)


@click.command()
@click.argument("recipe", type=click.Path())
@options("input", "out", "cluster", "json", "quiet")
def check(
    recipe: str,
    input_path: str | None,
    out: str | None,
    cluster: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check RECIPE and its input.

    Reads a small part of the images. Compares slices there with their neighbours, unless the recipe
    aligns them, and tries the recipe's network, if there is one, on some.
    """
    from ..planner import check_recipe, format_check

    found = check_recipe(recipe, input_path=input_path, output_path=out, cluster=cluster)
    show(found, format_check(found), as_json=as_json, quiet=quiet)


@click.command()
@click.argument("recipe", type=click.Path())
@options("input", "out", "cluster", "part", "json", "quiet")
def plan(
    recipe: str,
    input_path: str | None,
    out: str | None,
    cluster: str | None,
    part: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Forecast blocks, tasks, memory and disk of RECIPE, or a part.

    If workers are jobs, also shows their script as it would be submitted.
    """
    from ..cluster import parse_part
    from ..planner import format_plan, plan_recipe

    if part and cluster:
        msg = "--part and --cluster exclude each other; give one"
        raise RecipeError(msg)
    this = parse_part(part) if part else None
    forecast = plan_recipe(
        recipe, part=this, input_path=input_path, output_path=out, cluster=cluster
    )
    show(forecast, format_plan(forecast), as_json=as_json, quiet=quiet)


COMMANDS = (init, check, plan)
