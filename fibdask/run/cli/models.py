"""Commands of networks: train one, list those that ship."""

from pathlib import Path

import click

from .options import options, say, show


@click.command()
@click.argument("recipe", type=click.Path())
@click.option("--minutes", type=float, help="Minutes of training instead of the recipe's.")
@options("out", "json", "quiet")
def train(recipe: str, minutes: float | None, out: str | None, as_json: bool, quiet: bool) -> None:
    """Train a network as RECIPE says, or adapt one.

    An interrupted training resumes where it stopped. With a table [adapt], a model is fitted to a
    stack without labels; if no fitted one is better, the given model is named.
    """
    from ...learn.models import open_model
    from ..folder.run_folder import REPORT
    from ..info_models import adapted, judged
    from ..training import read_adaptation
    from ..training import train as train_network

    adaptation = read_adaptation(recipe, output_path=out)
    folder = train_network(recipe, minutes=minutes, output_path=out, quiet=quiet or as_json)
    card = dict(open_model(folder).card)
    told = "\n".join((*judged(card), *adapted(card)))
    show({"path": str(folder), **card}, told, as_json=as_json, quiet=quiet)
    page = folder if adaptation is None else Path(adaptation["output"]["path"])
    if page.absolute() != folder.absolute():
        text = "no candidate scores clearly better on this stack: the given model stays"
        say(text, quiet=quiet or as_json)
    say(f"report: {page / REPORT}", quiet=quiet or as_json)
    say(f"model: {folder}", quiet=quiet or as_json)


@click.command()
@options("json", "quiet")
def models(as_json: bool, quiet: bool) -> None:
    """List the networks that ship with fibdask."""
    from ...learn import list_models
    from ..info_models import format_models

    table = list_models()
    known = table.astype(object).where(table.notna(), None)  # JSON has no NaN
    rows = known.to_dict("records")
    show({"models": rows}, format_models(rows), as_json=as_json, quiet=quiet)


COMMANDS = (train, models)
