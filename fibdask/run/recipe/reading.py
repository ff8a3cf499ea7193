"""Recipes: TOML tables whose keys are the keyword arguments of the stage functions.

A table is checked against the signature of its function, so a recipe knows exactly what the
function knows, and the resolved recipe states every default.
"""

import contextlib
import difflib
import inspect
import tomllib
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from unicodedata import category

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, create_model

from ...align import equalize_brightness, remove_curtaining
from ...conventions import ConventionError, RecipeError
from ...inpaint import inpaint_gaps
from ...segment import segment_phases
from ...simulate import simulate_stack, simulate_structure
from ...statistics import phase_statistics
from ...thickness import reposition_slices
from ..cluster import parse_memory
from ..estimates import ESTIMATES, Estimate
from ..shown import one_line, shown
from .sources import read_input

_Volume = Literal["intensity", "phase", "solid_probability", "true_phase"]


def cluster_options(
    *,
    workers: PositiveInt | None = None,
    threads: PositiveInt = 1,
    memory: str = "auto",
    scheduler: str | None = None,
) -> dict[str, Any]:
    """Workers of a local cluster, or the address of a running scheduler."""
    parse_memory(memory)
    return {"workers": workers, "threads": threads, "memory": memory, "scheduler": scheduler}


def output_options(
    *,
    path: str | None = None,
    variables: Annotated[list[_Volume], Field(min_length=1)] | None = None,
    block_mib: PositiveInt = 64,
    pyramid: bool = True,
    report: bool = True,
) -> dict[str, Any]:
    """Where results go and what of them is stored."""
    return {
        "path": path,
        "variables": variables,
        "block_mib": block_mib,
        "pyramid": pyramid,
        "report": report,
    }


TABLES: dict[str, Callable[..., Any] | Estimate] = {
    "input": read_input,
    "simulate": simulate_stack,
    "align": ESTIMATES["align"],
    "curtaining": remove_curtaining,
    "brightness": equalize_brightness,
    "thickness": ESTIMATES["thickness"],
    "segment": segment_phases,
    "reposition": reposition_slices,
    "inpaint": inpaint_gaps,
    "statistics": phase_statistics,
    "cluster": cluster_options,
    "output": output_options,
}
"""Function of each table, in the data's order."""

STAGES = (
    "simulate",
    "align",
    "curtaining",
    "brightness",
    "thickness",
    "segment",
    "reposition",
    "inpaint",
)
_NOT_KEYS = {"stack", "phase", "truth", "chunks", "mask", "compute", "shifts", "thickness"}


@dataclass(frozen=True)
class Recipe:
    """A checked recipe: resolved parameters by table, defaults included."""

    title: str
    tables: Mapping[str, Mapping[str, Any]]

    def text(self) -> str:
        """Return the resolved recipe as TOML, with absolute paths, so that it holds anywhere."""
        tables = {name: _without_none(_absolute(table)) for name, table in self.tables.items()}
        return tomli_w.dumps({"title": self.title, **tables})

    def until(self, stage: str) -> "Recipe":
        """Return the recipe without what comes after a stage.

        Raises
        ------
        RecipeError
            If it has no such stage.
        """
        if stage not in self.tables:
            msg = f"the recipe has no [{stage}]; it has [{'], ['.join(self.tables)}]"
            raise RecipeError(msg)
        last = list(TABLES).index(stage)
        dropped = set(list(TABLES)[last + 1 :]) - {"cluster", "output"}
        return Recipe(self.title, {k: v for k, v in self.tables.items() if k not in dropped})


def read_recipe(
    recipe: str | Path | Mapping[str, Any],
    *,
    input_path: str | Path | None = None,
    output_path: str | Path | None = None,
) -> Recipe:
    """Read and check a recipe.

    Parameters
    ----------
    recipe
        Path of a TOML file, whose relative paths are relative to it, or its content.
    input_path, output_path
        Replace the recipe's, relative to the working directory.

    Raises
    ------
    RecipeError
        Naming the key, the value and the rule, with the nearest valid key.
    """
    folder, stem = Path(), "fibdask"
    if isinstance(recipe, str | Path):
        folder, stem = Path(recipe).parent, Path(recipe).stem
        recipe = _parse(Path(recipe))
    title = recipe.get("title", one_line(stem))
    content = {name: value for name, value in recipe.items() if name != "title"}
    _check_structure(title, content)
    if input_path is not None:
        content.setdefault("input", {})
    if "input" not in content and "simulate" not in content:
        msg = "a recipe needs [input], or [simulate] to make a structure and its images"
        raise RecipeError(msg)
    for name in ("cluster", "output"):
        content.setdefault(name, {})
    content = {name: dict(content[name]) for name in TABLES if name in content}
    _resolve_paths(content, folder, input_path, output_path)
    content["output"].setdefault("path", str(folder / f"{stem}-out"))
    tables = {name: _checked(name, table) for name, table in content.items()}
    _check_paths(tables)
    _check_variables(tables)
    if "simulate" in tables:
        tables["simulate"] = _without_unused(tables, content["simulate"])
    return Recipe(title, tables)


def _check_structure(title: Any, content: Mapping[str, Any]) -> None:
    """Refuse a title that is no text, and what is no table or not a known one."""
    if not isinstance(title, str):
        msg = f"title must be a text; got {shown(title)}"
        raise RecipeError(msg)
    for name, table in content.items():
        if name not in TABLES:
            msg = f"unknown table [{one_line(name)}]{_nearest(name, TABLES)}"
            raise RecipeError(msg)
        if not isinstance(table, Mapping):
            msg = f"{name} must be a table; got {shown(table)}"
            raise RecipeError(msg)


def _parse(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        msg = f"recipe {path} cannot be read: {error.strerror}"
    except RecursionError:
        msg = f"recipe {path} is nested too deep: a recipe holds tables of keys"
    except ValueError as error:
        msg = f"recipe {path} is not valid TOML: {error}"
    raise RecipeError(msg)


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
        table["path"] = str(input_path)
    elif isinstance(table.get("path"), str):
        table["path"] = str(folder / table["path"])
    if isinstance(table.get("z"), str):
        table["z"] = str(folder / table["z"])
    if isinstance(table.get("voltages"), Mapping):
        table["voltages"] = _resolve_voltages(table["voltages"], folder)
    if output_path is not None:
        content["output"]["path"] = str(output_path)
    elif isinstance(content["output"].get("path"), str):
        content["output"]["path"] = str(folder / content["output"]["path"])


def _resolve_voltages(voltages: Mapping[str, Any], folder: Path) -> dict[str, str]:
    for key, path in voltages.items():
        if isinstance(path, Mapping):  # TOML takes the point of a bare 2.5 for a table in a table
            whole = f"{key}.{next(iter(path), '')}"
            msg = f'[input.voltages] a key with a point must be quoted: "{whole}" = …'
            raise RecipeError(msg)
    return {key: str(folder / str(path)) for key, path in voltages.items()}


def _checked(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    model = _model(name)
    for key in table:
        if key not in model.model_fields:
            msg = f"unknown key {shown(key)} in [{name}]{_nearest(key, model.model_fields)}"
            raise RecipeError(msg)
    try:
        checked = model.model_validate(dict(table))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][:1])
        if first["type"] == "missing":
            msg = f"[{name}] needs the key {place}"
        else:
            msg = f"[{name}] {place} = {shown(table.get(place))}: {first['msg']}"
        raise RecipeError(msg) from None
    for key, value in table.items():
        if isinstance(value, bool) and not isinstance(getattr(checked, key), bool):
            msg = f"[{name}] {key} = {shown(value)}: it is neither true nor false"
            raise RecipeError(msg)
    return {field: getattr(checked, field) for field in model.model_fields}


def _check_paths(tables: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse paths that no file system or no recipe can hold."""
    table = tables.get("input", {})
    paths = [table.get("path"), table.get("z"), tables["output"]["path"]]
    for path in (*paths, *(table.get("voltages") or {}).values()):
        if isinstance(path, str) and any(char == "\0" or category(char) == "Cs" for char in path):
            msg = f"a path must be text without zero bytes; got {shown(path)}"
            raise RecipeError(msg)


def _check_variables(tables: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse to leave out the phase, which stages after its segmentation read from disk."""
    wanted = tables["output"]["variables"]
    if wanted is not None and "segment" in tables and "phase" not in wanted:
        msg = f"[output] variables must hold 'phase', which [segment] makes; got {wanted}"
        raise RecipeError(msg)


def _without_unused(tables: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return [simulate] without keys of the structure where [input] holds one."""
    table = dict(tables["simulate"])
    if "input" not in tables:
        if table["shape"] is None:
            msg = "[simulate] needs the key shape, or an [input] that holds a structure"
            raise RecipeError(msg)
        return table
    keys = set(inspect.signature(simulate_structure).parameters) - {"seed"}
    if unused := [key for key in given if key in keys]:
        msg = f"[simulate] {', '.join(unused)}: not used where [input] holds the structure; remove"
        raise RecipeError(msg)
    return {key: value for key, value in table.items() if key not in keys}


def _model(name: str) -> type[BaseModel]:
    """Build the checker of a table from the signatures of its functions."""
    table = TABLES[name]
    fields: dict[str, Any] = {}
    for function in table.functions if isinstance(table, Estimate) else (table,):
        hints = typing.get_type_hints(function, include_extras=True)
        fields |= {
            key: (hints[key], ... if p.default is inspect.Parameter.empty else p.default)
            for key, p in inspect.signature(function).parameters.items()
            if key not in _NOT_KEYS
        }
    config = ConfigDict(extra="forbid", strict=False)
    return create_model(name, __config__=config, **fields)


def _nearest(key: str, valid: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(valid), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; valid are {', '.join(valid)}"


def _absolute(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with absolute paths: of its input and depths, or of its output."""
    paths = {key: table[key] for key in ("path", "z") if isinstance(table.get(key), str)}
    absolute: dict[str, Any] = {key: str(Path(path).absolute()) for key, path in paths.items()}
    if table.get("voltages"):
        given = table["voltages"].items()
        absolute["voltages"] = {kv: str(Path(path).absolute()) for kv, path in given}
    return {**table, **absolute}


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value


def call_stage(name: str, stack: Any, parameters: Mapping[str, Any]) -> Any:
    """Call a stage's function; what it refuses is an error of the recipe's table.

    Raises
    ------
    RecipeError
        Naming the table.
    """
    function = TABLES[name]
    assert not isinstance(function, Estimate)
    with blamed_on(name):
        return function(stack, **parameters)


@contextlib.contextmanager
def blamed_on(name: str) -> Iterator[None]:
    """Turn what is refused into an error of a recipe's table.

    Raises
    ------
    RecipeError
        Naming the table.
    """
    try:
        yield
    except ConventionError as error:
        msg = f"[{name}] {error}"
        raise RecipeError(msg) from error
