"""Commands of recipes: what they need, before anything is made."""

import click

from .options import options, show


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
    """Check RECIPE and its input; nothing is computed."""
    from ..planner import check_recipe, format_check

    found = check_recipe(recipe, input_path=input_path, output_path=out, cluster=cluster)
    show(found, format_check(found), as_json=as_json, quiet=quiet)


@click.command()
@click.argument("recipe", type=click.Path())
@options("input", "out", "cluster", "json", "quiet")
def plan(
    recipe: str,
    input_path: str | None,
    out: str | None,
    cluster: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Forecast blocks, tasks, memory and disk of RECIPE.

    Where workers are jobs, their script is shown as it would be submitted.
    """
    from ..planner import format_plan, plan_recipe

    forecast = plan_recipe(recipe, input_path=input_path, output_path=out, cluster=cluster)
    show(forecast, format_plan(forecast), as_json=as_json, quiet=quiet)


COMMANDS = (check, plan)
