"""Commands of networks: train one, list those that ship."""

from typing import Any

import click

from .options import options, say, show


@click.command()
@click.argument("recipe", type=click.Path())
@click.option("--minutes", type=float, help="Of training instead of the recipe's.")
@options("out", "json", "quiet")
def train(recipe: str, minutes: float | None, out: str | None, as_json: bool, quiet: bool) -> None:
    """Train a network as RECIPE says.

    An interrupted training is taken up where it was.
    """
    from ...learn.models import open_model
    from ..training import train as train_network

    folder = train_network(recipe, minutes=minutes, output_path=out, quiet=quiet or as_json)
    card = dict(open_model(folder).card)
    show({"path": str(folder), **card}, _judged(card), as_json=as_json, quiet=quiet)
    say(f"report: {folder / 'report.html'}", quiet=quiet or as_json)
    say(f"model: {folder}", quiet=quiet or as_json)


def _judged(card: dict[str, Any]) -> str:
    """Return the errors of a model in a line each."""
    errors = card["errors"]
    if "conditions" not in errors:
        return f"{errors['misplaced']:.3g} % of voxels wrong, {errors['between']:.3g} % in gaps"
    lines = []
    for row in errors["conditions"]:
        voltages = ", ".join(f"{v:g}" for v in row["voltages"])
        between = "none" if row["between"] is None else f"{row['between']:.3g} %"
        lines.append(
            f"{voltages} kV, {row['electrons_per_pixel']:g} electrons a pixel: "
            f"{row['misplaced']:.3g} % of voxels wrong, {row['on_slices']:.3g} % on slices, "
            f"{between} between them"
        )
    return "\n".join(lines)


@click.command()
@options("json", "quiet")
def models(as_json: bool, quiet: bool) -> None:
    """List the networks that ship with fibdask."""
    from ...learn import list_models

    table = list_models()
    text = table.to_string(index=False) if len(table) else "no models ship with this fibdask"
    show({"models": table.to_dict("records")}, text, as_json=as_json, quiet=quiet)


COMMANDS = (train, models)
