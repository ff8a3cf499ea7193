"""The references of recipes, written from the tables and the docstrings.

`python -m fibdask.run.recipe.reference > docs/recipes.md` writes that of runs anew, and, with
`training` or `profiles` as its argument, that of trainings and of profiles of clusters.
"""

import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ...pieces.validity import IMAGES, LAYERS, PHASES, SIMULATION
from .. import stages
from ..cluster.jobs import Jobs
from ..cluster.profiles import BATCH, cluster_keys
from ..training import LABELS, adaptation_tables, training_tables
from .profiles import profile_functions
from .tables import Key, keys_of, options_of, tables

_HEAD = """# Recipes

A recipe is a TOML file: an optional `title`, then tables in the order of the data. Each table is a
stage, or sets where data come from, where they go and who works. Its keys are the options of the
function named with it, whose documentation says more. A stage without its table is left out. A
recipe begins with `[input]`, `[simulate]` or both. Unknown tables and keys are refused. This page
is generated from the code.
"""
_TRAINING_HEAD = """# Recipes of trainings

`fibdask train RECIPE` takes a TOML file of these tables; see [training](making_networks.md). Paths
are relative to the file. Unknown tables and keys are refused. This page is generated from the code.
"""
_PROFILES_HEAD = """# Profiles of clusters

A profile is a small TOML file that describes a cluster once for all recipes: `slurm.toml`,
`pbs.toml`, `lsf.toml` or `ssh.toml`, beside a recipe or in `~/.config/fibdask`. [From a laptop to a
cluster](cluster.md) tells how to use it; `deploy/` holds one of each kind to start from. Unknown
keys are refused. This page is generated from the code.
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
    """Return the page of runs."""
    titles = {stage.name: f": {stage.title.lower()}" for stage in stages.STAGES}
    parts = (
        _table(f"## `[{name}]`{titles.get(name, '')}", functions, keys_of(name))
        for name, functions in tables().items()
    )
    return "\n".join([_HEAD, *parts])


def training_reference() -> str:
    """Return the page of trainings."""
    tasks = (IMAGES, PHASES, SIMULATION, LAYERS, LABELS)
    images, phases, pairs, films, labels = map(training_tables, tasks)
    adapt = adaptation_tables()
    tables = [
        ("[data]", images["data"]),
        ("[labels]", labels["labels"]),
        ("[structures]", phases["structures"]),
        ("[pairs]", pairs["pairs"]),
        ("[films]", films["films"]),
        ("[samples]` with `[data]", images["samples"]),
        ("[samples]` with `[labels]", labels["samples"]),
        ("[samples]` with `[structures]", phases["samples"]),
        ("[network]", images["network"]),
        ("[network]` with `[labels]", labels["network"]),
        ("[network]` with `[pairs]", pairs["network"]),
        ("[network]` with `[films]", films["network"]),
        *((f"[{name}]", images[name]) for name in ("training", "output")),
        ("[adapt]", adapt["adapt"]),
        ("[output]` with `[adapt]", adapt["output"]),
    ]
    parts = (
        _table(f"## `{name}`", dict.fromkeys(key.function for key in keys.values()), keys)
        for name, keys in tables
    )
    return "\n".join([_TRAINING_HEAD, *parts])


def profile_reference() -> str:
    """Return the page of profiles of clusters."""
    tables: list[tuple[str, tuple[Callable[..., Any], ...]]] = [
        *((f"`{kind}.toml`", (function,)) for kind, (_, function) in BATCH.items()),
        ("`slurm.toml`, `pbs.toml` and `lsf.toml`", (Jobs, cluster_keys)),
        ("`ssh.toml`", profile_functions("ssh")),
    ]
    parts = (
        _table(f"## {title}", functions, options_of(*functions)) for title, functions in tables
    )
    return "\n".join([_PROFILES_HEAD, *parts])


def _table(title: str, functions: Iterable[Callable[..., Any]], keys: Mapping[str, Key]) -> str:
    """Return the part about a table: what it does, and a row for each key."""
    summaries = [_summary(function) for function in functions]
    rows = [
        f"| `{key}` | {_kind(of.kind)} | {_default(of)} | {_meaning(key, of.function)} |"
        for key, of in keys.items()
    ]
    head = ["| key | kind | default | meaning |", "|---|---|---|---|"]
    lines = [title, "", " ".join(summaries), "", *head, *rows, ""]
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
        return " or ".join(f"`{_toml(value)}`" for value in typing.get_args(hint))
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
    _, *rest = re.split(r"\n(?:Parameters|Attributes)\n-+\n", doc, maxsplit=1)
    body = re.split(r"\n\n\w+\n-{3,}\n", "".join(rest))[0]
    for names, text in re.findall(r"^(\S[^\n]*)\n((?: {4}[^\n]*\n?|\n)+)", body, re.MULTILINE):
        if key in names.split(", "):
            return " ".join(text.split()).replace("|", "\\|")
    return ""


if __name__ == "__main__":
    pages = {"training": training_reference, "profiles": profile_reference}
    sys.stdout.write(next((pages[name] for name in sys.argv[1:]), recipe_reference)())
