"""The command of painted slices."""

import click

from .options import options, show


@click.command()
@click.argument("stack", type=click.Path())
@click.argument("out", type=click.Path())
@click.option(
    "--slices",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Number of slices to cut.",
)
@click.option(
    "--how",
    type=click.Choice(["spread", "start", "uncertain"]),
    default="spread",
    show_default=True,
    help="Which slices: evenly spread, the first ones, or where a result is in doubt.",
)
@click.option(
    "--result", type=click.Path(), help="Run or store whose probabilities show the doubt."
)
@click.option("--classes", help="Class names, in order; by default those in OUT, or pore,solid.")
@click.option(
    "--unlabelled",
    type=click.Choice(["0", "255"]),
    help="Value of unpainted pixels; classes are then 1, 2, … or 0, 1, …. By default that in OUT, "
    "or 0.",
)
@options("json", "quiet")
def labels(
    stack: str,
    out: str,
    slices: int,
    how: str,
    result: str | None,
    classes: str | None,
    unlabelled: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Cut slices of STACK to paint, into the folder OUT.

    [segment] with method = "random_forest" and `fibdask train` read what is painted. Called again,
    it adds slices to those in OUT.
    """
    from dataclasses import asdict

    from ..labelling import cut_slices, format_chosen
    from ..telling import computing

    names = None if classes is None else [name.strip() for name in classes.split(",")]
    value = None if unlabelled is None else int(unlabelled)
    given = {"how": how, "result": result, "classes": names, "unlabelled": value}
    with computing("looking", quiet=quiet or as_json):
        chosen = cut_slices(stack, out, slices=slices, **given)  # type: ignore[arg-type]
    record = {"out": str(out), "slices": [asdict(one) for one in chosen]}
    show(record, format_chosen(chosen, out), as_json=as_json, quiet=quiet)


COMMANDS = (labels,)
