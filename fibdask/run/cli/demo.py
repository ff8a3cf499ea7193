"""The command that shows everything: the same images by thresholds and by a network."""

from collections.abc import Iterator
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import client_of, options, say
from .runs import tell

if TYPE_CHECKING:
    from ..recipe import Recipe
    from ..runner import Pipeline

_HEAD = ("misplaced %", "on slices", "between", "solid fraction", "true", "seconds")


@click.command()
@click.option(
    "--out", type=click.Path(), default="fibdask-demo", show_default=True, help="Output folder."
)
@click.option("--fast", is_flag=True, help="Simulate the images by a network, not by Monte Carlo.")
@options("fresh", "quiet")
def demo(out: str, fast: bool, fresh: bool, quiet: bool) -> None:
    """Run everything on a small simulated stack and report.

    OUT/classical holds the result of k-means and interpolation, OUT/network that of a network on
    the same images. Finally, both are compared with the truth. Images are simulated by Monte
    Carlo, or with --fast by a network, which needs the extra `learn`.
    """
    from ...learn.predicting import TORCH_IS_MISSING
    from ..runner import Pipeline

    classical, network = _recipes(Path(out), fast=fast)
    learned = all(find_spec(name) for name in ("torch", "safetensors"))
    runs = [Pipeline(classical, resume=not fresh, quiet=quiet)]
    with client_of(classical, None, {}, quiet=quiet) as client:
        say(f"dashboard: {client.dashboard_link}", quiet=quiet)
        runs[0].run(client)
        if learned:
            _share_images(runs[0], network, fresh=fresh)
            runs.append(Pipeline(network, resume=True, quiet=quiet))
            runs[1].run(client)
    if not quiet:
        say("\n".join(["", *_compared(*runs), ""]))
    if not learned:
        say(TORCH_IS_MISSING, quiet=quiet)
    for run in runs:
        tell(run, quiet=quiet)


def _recipes(out: Path, *, fast: bool) -> tuple["Recipe", "Recipe"]:
    """Return the recipe of the demo, and one with a network in the place of its stages."""
    from ..recipe import parse_recipe, read_recipe
    from ..stages import STAGES

    with as_file(files("fibdask.run.cli") / "demo.toml") as path:
        tables = parse_recipe(path)
    if fast:
        tables["simulate"]["model"] = "learned"
    (stage,) = (stage for stage in STAGES if stage.name == "reconstruct")
    others = {name: table for name, table in tables.items() if name not in stage.instead_of}
    others[stage.name] = {"spacing": tables["reposition"]["spacing"]}
    others["title"] = f"{tables['title']}, by a network"
    return (
        read_recipe(tables, output_path=out / "classical"),
        read_recipe(others, output_path=out / "network"),
    )


def _share_images(first: "Pipeline", recipe: "Recipe", *, fresh: bool) -> None:
    """Let a run of a recipe begin with the images of the first, so that none is made twice."""
    from ..folder.ownership import check_owner, remove_earlier
    from ..folder.run_folder import RunFolder
    from ..folder.sharing import share_stores
    from ..stages import SIMULATE, STRUCTURE

    folder = RunFolder(Path(recipe.tables["output"]["path"]))
    with folder.taken():
        if fresh:
            remove_earlier(folder, recipe)
        check_owner(folder, recipe)
        share_stores(first.folder, folder, recipe, (STRUCTURE, SIMULATE))


def _compared(classical: "Pipeline", *networks: "Pipeline") -> Iterator[str]:
    """Iterate over the lines of a table: how much is wrong, and how long it took."""
    from ...statistics import solid_fraction

    yield " " * 26 + "".join(f"{title:>16}" for title in _HEAD)
    found: Any = classical.statistics
    slices = classical.stacks["segment"]
    fractions = [solid_fraction(slices[name]) for name in ("phase", "true_phase")]
    errors = [found["misplaced"], found["misplaced"], None]
    yield _line("k-means, slices", errors, fractions, _seconds(classical, "segment"))
    names = "segment", "reposition", "inpaint"
    yield _volume_line("k-means + distance, volume", classical, *names)
    for network in networks:
        yield _volume_line("network, volume", network, "reconstruct")


def _volume_line(title: str, run: "Pipeline", *stages: str) -> str:
    found: Any = run.statistics
    parts = ("", "_on_slices", "_between")
    errors = [found[f"volume_misplaced{part}"] for part in parts]
    fractions = [found[name] for name in ("solid_fraction", "true_solid_fraction")]
    return _line(title, errors, fractions, _seconds(run, *stages))


def _line(title: str, errors: list[Any], fractions: list[Any], seconds: str) -> str:
    told = ["" if error is None else f"{float(error):.2f}" for error in errors]
    told += [f"{float(fraction):.4f}" for fraction in fractions]
    return f"{title:26}" + "".join(f"{text:>16}" for text in (*told, seconds))


def _seconds(run: "Pipeline", *stages: str) -> str:
    """Return how long stages took, with what they count; nothing of a run made them: stored."""
    made = [row for row in run.folder.summary["stages"] if row["name"].split()[0] in stages]
    if not any(row["blocks_run"] for row in made):
        return "stored"
    return f"{sum(row['seconds'] for row in made):.1f}"


COMMANDS = (demo,)
