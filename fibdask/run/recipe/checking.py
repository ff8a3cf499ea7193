"""What a recipe must hold: known tables, known keys, values of their kind, and paths."""

import contextlib
import difflib
import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from unicodedata import category

from pydantic import ValidationError

from ...blocks import Access, is_address
from ...conventions import ConventionError, RecipeError
from ...io.metadata import is_store
from ...simulate import simulate_structure
from .. import stages
from ..shown import listed, one_line, shown
from ..stages import SIMULATE
from .likeness import with_likeness
from .tables import Key, checker_of, cluster_options, keys_of


def check_structure(content: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse a title that is no text, and what is no table or not a known one."""
    title = content.get("title", "")
    if not isinstance(title, str):
        msg = f"title must be a text; got {shown(title)}"
        raise RecipeError(msg)
    for name, table in content.items():
        if name == "title":
            continue
        if name not in known:
            msg = f"unknown table [{one_line(name)}]{_nearest(name, known)}"
            raise RecipeError(msg)
        if not isinstance(table, Mapping):
            msg = f"{name} must be a table; got {shown(table)}"
            raise RecipeError(msg)


def checked(content: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the tables of a recipe with all defaults.

    Raises
    ------
    RecipeError
        Naming the key, the value and the rule, with the nearest valid key.
    """
    found = {name: checked_table(name, table, keys_of(name)) for name, table in content.items()}
    table = found.get("input", {})
    check_paths(table.get("path"), table.get("z"), *(table.get("voltages") or {}).values())
    check_paths(found["cluster"]["certificates"])
    _check_remote(table)
    check_output(found["output"]["path"])
    cluster_options(**found["cluster"])
    _check_variables(found)
    _check_stages(found)
    if SIMULATE in found:
        given = content[SIMULATE]
        found[SIMULATE] = _without_unused(found, given)
        found[SIMULATE] = with_likeness(found[SIMULATE], given, found.get("input"))
    return found


_TOML = {
    "tuple_type": "it must be a list, in square brackets",
    "dict_type": "it must be a table, in braces",
}
"""Faults that are told in the words of recipes, by their types."""


def checked_table(name: str, table: Mapping[str, Any], keys: Mapping[str, Key]) -> dict[str, Any]:
    """Return a table with all defaults; see `checked`."""
    model = checker_of(name, keys)
    for key in table:
        if key not in model.model_fields:
            msg = f"unknown key {shown(key)} in [{name}]{_nearest(key, model.model_fields)}"
            raise RecipeError(msg)
    try:
        checked = model.model_validate(dict(table))
    except ValidationError as error:
        first, *_ = found = error.errors()
        place = ".".join(str(part) for part in first["loc"][:1])
        lacking = [".".join(map(str, one["loc"])) for one in found if one["type"] == "missing"]
        if place in lacking:
            msg = f"[{name}] needs the key{'s' * (len(lacking) > 1)} {listed(lacking)}"
        else:
            fault = _TOML.get(first["type"], first["msg"])
            msg = f"[{name}] {place} = {shown(table.get(place))}: {fault}"
        raise RecipeError(msg) from None
    for key, value in table.items():
        if _taken_for_numbers(value, getattr(checked, key)):
            msg = f"[{name}] {key} = {shown(value)}: true and false are no values of this key"
            raise RecipeError(msg)
    return {field: getattr(checked, field) for field in model.model_fields}


def _taken_for_numbers(value: Any, checked: Any) -> bool:
    """Tell whether true or false of a value, or within it, became something else."""
    if isinstance(value, Mapping):
        pairs = zip(value.values(), checked.values(), strict=True)
        return any(_taken_for_numbers(*pair) for pair in pairs)
    if isinstance(value, list | tuple):
        return any(_taken_for_numbers(*pair) for pair in zip(value, checked, strict=True))
    return isinstance(value, bool) and not isinstance(checked, bool)


def check_paths(*paths: Any) -> None:
    """Refuse paths that no file system or no recipe can hold."""
    for path in paths:
        if isinstance(path, str) and any(char == "\0" or category(char) == "Cs" for char in path):
            msg = f"a path must be text without zero bytes; got {shown(path)}"
            raise RecipeError(msg)


def check_output(output: str) -> None:
    """Refuse a folder for results that cannot be one, or lies where it may not."""
    check_paths(output)
    if is_address(output):
        msg = (
            f"output path must be a folder of this machine, whose locks and files a run needs to "
            f"be resumed; got {output}: run into a folder, then `fibdask copy` its stores there"
        )
        raise RecipeError(msg)
    if (store := _store_around(output)) is not None:
        msg = (
            f"output path {output} lies inside the store {store}, and would become a part of it; "
            "choose a folder beside it"
        )
        raise RecipeError(msg)


def _check_remote(table: Mapping[str, Any]) -> None:
    """Refuse options of a server that are none, before a recipe is kept anywhere."""
    try:
        Access.of(table.get("remote") or {})
    except ConventionError as error:
        msg = f"[input] {error}"
        raise RecipeError(msg) from None


def _store_around(path: str) -> Path | None:
    """Return the store that a path lies in, if any."""
    with contextlib.suppress(OSError):  # of a name that no file system takes
        return next((folder for folder in Path(path).absolute().parents if is_store(folder)), None)
    return None


def _check_variables(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse to leave out what a stage makes, which stages after it read from disk."""
    wanted = found["output"]["variables"]
    for stage in stages.in_order(found):
        if wanted is not None and stage.makes and stage.makes not in wanted:
            msg = (
                f"[output] variables must hold {stage.makes!r}, which [{stage.name}] makes; "
                f"got {wanted}"
            )
            raise RecipeError(msg)


def _check_stages(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse stages whose work another one does."""
    for stage in stages.in_order(found):
        if spare := [f"[{name}]" for name in stage.instead_of if name in found]:
            msg = (
                f"[{stage.name}] makes the volume of the images in one step, and goes without "
                f"{' and '.join(spare)}: remove one or the other"
            )
            raise RecipeError(msg)


def _without_unused(found: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return [simulate] without keys of the structure where [input] holds one."""
    table = dict(found[SIMULATE])
    if "input" not in found:
        if table["shape"] is None:
            msg = "[simulate] needs the key shape, or an [input] that holds a structure"
            raise RecipeError(msg)
        return table
    keys = set(inspect.signature(simulate_structure).parameters) - {"seed"}
    if unused := [key for key in given if key in keys]:
        msg = f"[simulate] {', '.join(unused)}: not used where [input] holds the structure; remove"
        raise RecipeError(msg)
    return {key: value for key, value in table.items() if key not in keys}


def _nearest(key: str, valid: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(valid), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; valid are {', '.join(valid)}"
