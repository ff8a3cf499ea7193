"""Whose results lie in an output folder: those of another recipe are refused, never dropped."""

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...blocks import is_address
from ...conventions import RecipeError, StackReadError
from ..recipe import Recipe
from ..shown import one_line, shown
from ..stages import STATISTICS, estimate_stores, stack_stores
from ..walk import first_name
from .run_folder import COUNTS, PROFILE, REPORT, SUMMARY, RunFolder

_BESIDE = (COUNTS, REPORT, PROFILE)


@dataclass(frozen=True)
class Earlier:
    """What an earlier run has left in a folder.

    Attributes
    ----------
    recipe
        Its recipe; None where that is not known.
    created
        When it began.
    stores
        Those that lie there, whoever made them, in the data's order.
    """

    recipe: Recipe | None
    created: str
    stores: tuple[str, ...]

    def __str__(self) -> str:
        """Say what lies there, of which recipe and input, and of when."""
        stores = f"the stores {', '.join(self.stores)}" if self.stores else "no stores"
        if self.recipe is None:
            return f"{stores} of an unknown run"
        read = " and ".join(str(path) for path in input_paths(self.recipe))
        source = f" of the input {read}" if read else ""
        return one_line(
            f"{stores} of the recipe {shown(self.recipe.title)}{source}, {self.created}"
        )


def earlier_run(folder: RunFolder) -> Earlier | None:
    """Return what an earlier run has left in a folder, if anything.

    Raises
    ------
    StackReadError
        If its summary is damaged.
    """
    known = (*stack_stores(), *estimate_stores().values(), STATISTICS)
    stores = tuple(name for name in known if os.path.lexists(folder.store(name)))
    if not (folder.path / SUMMARY).is_file():
        return Earlier(None, "", stores) if stores else None
    summary = folder.read()
    try:
        content = tomllib.loads(summary["recipe"])
    except (ValueError, RecursionError):
        content = {}
    tables = {name: table for name, table in content.items() if isinstance(table, Mapping)}
    recipe = Recipe(summary["title"], tables) if tables else None
    return Earlier(recipe, summary["created"], stores)


def check_owner(folder: RunFolder, recipe: Recipe) -> None:
    """Refuse a folder in which results of another recipe lie.

    The same recipe may come with other parameters, more stages or another input.

    Raises
    ------
    RecipeError
        Saying what lies there; also if a store of it is a link to elsewhere.
    """
    earlier = earlier_run(folder)
    if earlier is None or not earlier.stores:
        return
    _refuse_links(folder, earlier, recipe)
    if difference := _difference(folder, earlier, recipe):
        msg = (
            f"output path {folder.path} holds {earlier}; this is another recipe: {difference}. "
            "Choose another output path, take the stores away, or use --fresh (resume=False), "
            "which removes what lies there"
        )
        raise RecipeError(msg)


def _refuse_links(folder: RunFolder, earlier: Earlier, recipe: Recipe) -> None:
    """Refuse stores that are links, except those that are only read."""
    read = _read_stores(folder, earlier.stores, recipe)
    for name in earlier.stores:
        if name not in read and folder.store(name).is_symlink():
            msg = (
                f"{folder.store(name)} is a link, and what it points to would be changed; "
                "remove the link, or use --fresh (resume=False), which removes it"
            )
            raise RecipeError(msg)


def _difference(folder: RunFolder, earlier: Earlier, recipe: Recipe) -> str:
    """Return what makes a recipe another than the earlier one, or nothing."""
    estimates = {store for stage, store in estimate_stores().items() if stage in recipe.tables}
    known = {first_name(recipe), *recipe.tables, *estimates}
    read = _read_stores(folder, earlier.stores, recipe)
    foreign = [s for s in earlier.stores if s not in known and s not in read]
    if foreign:
        return f"it makes no {', '.join(foreign)}"
    if earlier.recipe is None:
        return "nobody knows which one made the stores"
    if first_name(earlier.recipe) != first_name(recipe):
        return f"it begins with {first_name(recipe)}, not {first_name(earlier.recipe)}"
    if earlier.recipe.title != recipe.title:
        return f"its title is {shown(recipe.title)}"
    return ""


def replaced_input(folder: RunFolder, recipe: Recipe) -> str:
    """Return a sentence if the results of another input lie in a folder, or nothing."""
    earlier = earlier_run(folder)
    if earlier is None or earlier.recipe is None or not earlier.stores:
        return ""
    now = input_paths(recipe)
    if _resolved(input_paths(earlier.recipe)) == _resolved(now):
        return ""
    inputs = " and ".join(str(path) for path in _resolved(now))
    return one_line(f"{folder.path} holds {earlier}; results of {inputs} replace them")


def remove_earlier(folder: RunFolder, recipe: Recipe) -> str:
    """Remove what earlier runs have stored in a folder, and return what that was.

    What this recipe reads is left where it is, and so is what no run has made.
    """
    try:
        earlier = earlier_run(folder)
    except StackReadError:  # a damaged summary: begin anew
        folder.discard(folder.path / SUMMARY)
        earlier = earlier_run(folder)
    if earlier is None:
        return ""
    read = _read_stores(folder, earlier.stores, recipe)
    stores = [folder.store(name) for name in earlier.stores if name not in read]
    paths = [p for p in (*stores, *map(folder.path.joinpath, _BESIDE)) if os.path.lexists(p)]
    for path in paths:
        folder.discard(path)
    names = ", ".join(path.name for path in paths) or "nothing"
    kept = f"; kept, because they are read: {', '.join(read)}" if read else ""
    return one_line(f"{folder.path} held {earlier}; removed: {names}{kept}")


def input_paths(recipe: Recipe) -> list[Path | str]:
    """Return the paths and addresses that a recipe reads."""
    table = recipe.tables.get("input", {})
    paths = [table["path"]] if table.get("path") else list((table.get("voltages") or {}).values())
    return [path if is_address(path) else Path(str(path)) for path in paths]


def outdated_input(recipe: Recipe) -> str:
    """Return a sentence if a recipe reads a store that the last run beside it did not make.

    Such a run may have begun anew, of something else, and not have come so far.
    """
    for path in _local(input_paths(recipe)):
        folder, name = RunFolder(path.parent), path.stem
        if folder.store(name) != path or not (folder.path / SUMMARY).is_file():
            continue
        try:
            summary, earlier = folder.read(), earlier_run(folder)
        except StackReadError:  # a damaged one tells nothing
            continue
        known = earlier is not None and name in earlier.stores
        read = earlier and earlier.recipe and _read_stores(folder, [name], earlier.recipe)
        if known and not read and summary["stores"].get(name) != "done":
            return one_line(
                f"{path} is of an earlier run: the last one beside it, {summary['created']}, is "
                f"{summary['state']} and has not made it; let that recipe run to its end"
            )
    return ""


def _resolved(paths: Iterable[Path | str]) -> list[Path | str]:
    return [path.resolve() if isinstance(path, Path) else path for path in paths]


def _local(paths: Iterable[Path | str]) -> list[Path]:
    return [path for path in _resolved(paths) if isinstance(path, Path)]


def _read_stores(folder: RunFolder, stores: Iterable[str], recipe: Recipe) -> list[str]:
    """Return the stores of a folder that a recipe reads, or reads a part of."""
    places = {name: folder.store(name).resolve() for name in stores}
    read = _local([*input_paths(recipe), *map(Path, recipe.measured)])
    return [name for name, place in places.items() if any(p.is_relative_to(place) for p in read)]
