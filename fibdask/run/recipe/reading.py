"""Recipes: TOML tables whose keys are the keyword arguments of the stage functions.

A table is checked against the signature of its function, so a recipe knows exactly what the
function knows, and the resolved recipe states every default.
"""

import contextlib
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...blocks import is_address
from ...conventions import RecipeError
from ..cluster import PROFILED
from ..shown import one_line
from ..stages import SIMULATE
from .checking import check_structure, checked
from .record import Recipe
from .tables import tables


def read_recipe(
    recipe: str | Path | Mapping[str, Any],
    *,
    input_path: str | Path | None = None,
    output_path: str | Path | None = None,
    cluster: str | None = None,
) -> Recipe:
    """Read and check a recipe.

    Parameters
    ----------
    recipe
        Path of a TOML file, whose relative paths are relative to it, or its content.
    input_path, output_path
        Replace the recipe's, relative to the working directory.
    cluster
        Kind of cluster instead of the recipe's, of which nothing else in [cluster] is said then.

    Raises
    ------
    RecipeError
        Naming the key, the value and the rule, with the nearest valid key.
    """
    recipe, folder, stem = opened(recipe, "fibdask")
    check_structure(recipe, tables())
    title = recipe.get("title", one_line(stem))
    content = {name: value for name, value in recipe.items() if name != "title"}
    if input_path is not None:
        content.setdefault("input", {})
    if "input" not in content and SIMULATE not in content:
        msg = "a recipe needs [input], or [simulate] to make a structure and its images"
        raise RecipeError(msg)
    for name in ("cluster", "output"):
        content.setdefault(name, {})
    content = {name: dict(content[name]) for name in tables() if name in content}
    if cluster is not None and cluster != content["cluster"].get("kind", "local"):
        content["cluster"] = {"kind": cluster}
    _resolve_paths(content, folder, input_path, output_path)
    content["output"].setdefault("path", str(folder / f"{stem}-out"))
    like = content.get(SIMULATE, {}).get("like")
    return Recipe(title, checked(content), () if like is None else (like,))


def opened(
    recipe: str | Path | Mapping[str, Any], name: str
) -> tuple[Mapping[str, Any], Path, str]:
    """Return the content of a recipe, the folder that its paths are relative to, and its name.

    What is no file lies in the working directory, and is given a name.
    """
    if isinstance(recipe, str | Path):
        path = Path(recipe)
        return parse_recipe(path), path.parent, path.stem
    return recipe, Path(), name


def parse_recipe(path: Path) -> Mapping[str, Any]:
    """Read a TOML file.

    Raises
    ------
    RecipeError
        If it is none.
    """
    if path.is_dir():
        msg = f"{path} is a folder, not a recipe: {_whose(path)}"
        raise RecipeError(msg)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        msg = f"recipe {path} cannot be read: {error.strerror}"
    except RecursionError:
        msg = f"recipe {path} is nested too deep: a recipe holds tables of keys"
    except ValueError as error:
        msg = f"recipe {path} is not valid TOML: {error}"
    raise RecipeError(msg)


def _whose(folder: Path) -> str:
    """Say which recipe is meant by a folder: that of the run in it, or one for its images."""
    if (recipe := folder / "recipe.toml").is_file():
        return f"{recipe} is that of the run in it"
    return f"`fibdask init {shlex.quote(str(folder))}` writes one for the images in it"


def _resolve_paths(
    content: dict[str, dict[str, Any]],
    folder: Path,
    input_path: str | Path | None,
    output_path: str | Path | None,
) -> None:
    """Make paths absolute or relative to the working directory."""
    table = content.get("input", {})
    if input_path is not None:
        table.pop("voltages", None)
        table["path"] = beside(Path(), str(input_path))
    elif isinstance(table.get("path"), str):
        table["path"] = beside(folder, table["path"])
    if isinstance(table.get("z"), str):
        table["z"] = beside(folder, table["z"])
    like = content.get(SIMULATE, {}).get("like")
    if isinstance(like, str):
        content[SIMULATE]["like"] = beside(folder.absolute(), like)
    if isinstance(content["cluster"].get("certificates"), str):
        content["cluster"]["certificates"] = beside(folder, content["cluster"]["certificates"])
    if isinstance(table.get("voltages"), Mapping):
        table["voltages"] = _resolve_voltages(table["voltages"], folder)
    for name, table in content.items():
        key = "network" if name == SIMULATE else "model"
        if isinstance(table.get(key), str):
            table[key] = resolve_model(table[key], folder)
    if isinstance(labels := content.get("segment", {}).get("labels"), str):
        content["segment"]["labels"] = beside(folder.absolute(), labels)
    films = content.get("layers", {})
    if isinstance(films.get("table"), str):
        films["table"] = beside(folder.absolute(), films["table"])
    kind = content["cluster"].get("kind")
    profile = content["cluster"].get("profile", kind)
    if kind in PROFILED and isinstance(profile, str):
        content["cluster"]["profile"] = _resolve_profile(profile, folder)
    if output_path is not None:
        content["output"]["path"] = beside(Path(), str(output_path))
    elif isinstance(content["output"].get("path"), str):
        content["output"]["path"] = beside(folder, content["output"]["path"])


def resolve_model(model: str, folder: Path) -> str:
    """Return the folder of a model, where there is one; else it is a name."""
    path = Path(beside(folder, model))
    return str(path.absolute()) if path.is_dir() else model


def _resolve_profile(profile: str, folder: Path) -> str:
    """Return the path of a cluster's profile, where it lies beside the recipe; else its name."""
    name = profile.removesuffix(".toml")
    path = Path(beside(folder.absolute(), f"{name}.toml"))
    return str(path) if path.is_file() else name


def _resolve_voltages(voltages: Mapping[str, Any], folder: Path) -> dict[str, str]:
    for key, path in voltages.items():
        if isinstance(path, Mapping):  # TOML takes the point of a bare 2.5 for a table in a table
            whole = f"{key}.{next(iter(path), '')}"
            msg = f'[input.voltages] a key with a point must be quoted: "{whole}" = …'
            raise RecipeError(msg)
    return {key: beside(folder, str(path)) for key, path in voltages.items()}


def beside(folder: Path, path: str) -> str:
    """Return a path that is relative to a recipe, or to a home folder (~).

    Addresses are relative to nothing.
    """
    if is_address(path):
        return path
    with contextlib.suppress(RuntimeError):  # of a name that begins with ~ and is nobody's
        return str(folder / Path(path).expanduser())
    return str(folder / path)
