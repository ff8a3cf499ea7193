"""The reference of recipes, docs/recipes.md, written from the tables and the docstrings.

`python -m fibdask.run.recipe.reference > docs/recipes.md` writes it anew.
"""

import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import stages
from .tables import Key, keys_of, tables

_HEAD = """# Recipes

A recipe is a TOML file: an optional `title`, then tables in the order of the data. A table is a
stage, or says where the data come from, where they go and who works; its keys are the options of
the function named with it, which says more of them. A stage without its table is left out; a
recipe begins with `[input]`, `[simulate]` or both. Unknown tables and keys are refused. This page
is written from the code.
"""
_WORDS = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    dict: "table",
    tuple: "list",
    list: "list",
}


def recipe_reference() -> str:
    """Return the page."""
    return "\n".join([_HEAD, *map(_table, tables())])


def _table(name: str) -> str:
    """Return the part about a table: what it does, and a row for each key."""
    functions = tables()[name]
    titles = {stage.name: f": {stage.title.lower()}" for stage in stages.STAGES}
    summaries = [_summary(function) for function in functions]
    rows = [
        f"| `{key}` | {_kind(of.kind)} | {_default(of)} | {_meaning(key, of.function)} |"
        for key, of in keys_of(name).items()
    ]
    head = ["| key | kind | default | meaning |", "|---|---|---|---|"]
    lines = [f"## `[{name}]`{titles.get(name, '')}", "", " ".join(summaries), "", *head, *rows, ""]
    return "\n".join(lines)


def _summary(function: Callable[..., Any]) -> str:
    text = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
    package = function.__module__.split(".")[1]
    return text if package == "run" else f"`{function.__name__}`: {text}"


def _kind(hint: Any) -> str:
    """Return the kind of a key's values in words."""
    if typing.get_origin(hint) is typing.Annotated:
        return _kind(typing.get_args(hint)[0])
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(f'`"{value}"`' for value in typing.get_args(hint))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [_kind(part) for part in typing.get_args(hint) if part is not type(None)]
        return " or ".join(dict.fromkeys(kinds))
    plain = typing.get_origin(hint) or hint
    named = {Mapping: "table", Sequence: "list"}
    return named.get(plain) or _WORDS.get(plain) or str(plain)


def _default(key: Key) -> str:
    if key.is_needed:
        return "needed"
    return "" if key.default is None else f"`{_toml(key.default)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else f"{value:.6g}"


def _meaning(key: str, function: Callable[..., Any]) -> str:
    """Return what the function's docstring says of a parameter."""
    doc = inspect.getdoc(function) or ""
    _, _, rest = doc.partition("\nParameters\n----------\n")
    body = re.split(r"\n\n\w+\n-{3,}\n", rest)[0]
    for names, text in re.findall(r"^(\S[^\n]*)\n((?: {4}[^\n]*\n?|\n)+)", body, re.MULTILINE):
        if key in names.split(", "):
            return " ".join(text.split()).replace("|", "\\|")
    return ""


if __name__ == "__main__":
    sys.stdout.write(recipe_reference())
