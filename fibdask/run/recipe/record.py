"""A recipe that has been read and checked."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from ...blocks import is_address
from ...conventions import ConventionError, RecipeError
from .tables import tables


@dataclass(frozen=True)
class Recipe:
    """A checked recipe: resolved parameters by table, defaults included.

    Attributes
    ----------
    measured
        Where the stacks lie that some of these parameters were measured of.
    """

    title: str
    tables: Mapping[str, Mapping[str, Any]]
    measured: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the resolved recipe as TOML, with absolute paths, so that it holds anywhere."""
        content = {name: _without_none(_absolute(table)) for name, table in self.tables.items()}
        return tomli_w.dumps({"title": self.title, **content})

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
        names = list(tables())
        dropped = {*names[names.index(stage) + 1 :]} - {"cluster", "output"}
        return replace(self, tables={k: v for k, v in self.tables.items() if k not in dropped})


def _absolute(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with absolute paths: of its input and depths, or of its output."""
    keys = ("path", "z", "certificates")
    paths = {key: table[key] for key in keys if isinstance(table.get(key), str)}
    absolute: dict[str, Any] = {key: _whole(path) for key, path in paths.items()}
    if table.get("voltages"):
        given = table["voltages"].items()
        absolute["voltages"] = {kv: _whole(path) for kv, path in given}
    return {**table, **absolute}


def _whole(path: str) -> str:
    return path if is_address(path) else str(Path(path).absolute())


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value


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
