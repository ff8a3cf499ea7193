"""Profiles of clusters: small TOML files beside a recipe, or in the user's configuration."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...conventions import RecipeError
from ..cluster import PROFILED, Profile
from ..cluster.jobs import Jobs
from ..cluster.profiles import BATCH, cluster_keys, host_keys
from ..cluster.ssh import Hosts
from .checking import checked_table
from .reading import parse_recipe
from .tables import options_of

_BESIDE_JOBS = ("interface", "patience", "gpu")
_NOT_INHERITED = ("jobs", "minimum_jobs", "workers")


def read_profile(options: Mapping[str, Any]) -> Profile | None:
    """Return the profile that the table [cluster] of a recipe names; None where it needs none.

    Raises
    ------
    RecipeError
        If there is none of that name, or it is wrong, naming the key, the value and the rule.
    """
    kind = options["kind"]
    if kind not in PROFILED:
        return None
    path = _found(options["profile"] or kind)
    content = parse_recipe(path)
    try:
        return _of_hosts(content, path) if kind == "ssh" else _of_jobs(kind, content, path)
    except RecipeError as error:
        msg = f"profile {path}: {error}"
        raise RecipeError(msg) from None


def _found(name: str) -> Path:
    """Return a profile's file: of a path, or of a name in the user's configuration."""
    if (path := Path(f"{name.removesuffix('.toml')}.toml")).is_absolute():
        return path
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    path = base / "fibdask" / path
    if not path.is_file():
        msg = (
            f"no profile {path.name} of the cluster, neither beside the recipe nor in "
            f"{path.parent}; docs/cluster.md says what it holds"
        )
        raise RecipeError(msg)
    return path


def profile_functions(kind: str) -> tuple[Callable[..., Any], ...]:
    """Return what defines the keys of a kind's profiles, in order."""
    return (Hosts, host_keys) if kind == "ssh" else (BATCH[kind][1], Jobs, cluster_keys)


def _of_hosts(content: Mapping[str, Any], path: Path) -> Profile:
    table = checked_table(path.name, content, options_of(*profile_functions("ssh")))
    common = host_keys(interface=table.pop("interface"), patience=table.pop("patience"))
    return Profile("ssh", common["interface"], common["patience"], {}, Hosts(**table))


def _of_jobs(kind: str, content: Mapping[str, Any], path: Path) -> Profile:
    table = checked_table(path.name, content, options_of(*profile_functions(kind)))
    common = cluster_keys(**{key: table.pop(key) for key in _BESIDE_JOBS})
    pools = {"cpu": _pool(kind, table)}
    if not pools["cpu"][0].least:
        msg = "minimum_jobs must be at least 1, but for those with a GPU; got 0"
        raise RecipeError(msg)
    if (gpu := common["gpu"]) is not None:
        inherited = {key: table[key] for key in table if key not in _NOT_INHERITED}
        keys = options_of(*profile_functions(kind)[:2])
        whole = checked_table("gpu", {"minimum_jobs": 0, **inherited, **gpu}, keys)
        if whole["workers"] not in (None, 1):
            msg = f"[gpu] workers must be 1, which a job's one GPU is for; got {whole['workers']}"
            raise RecipeError(msg)
        pools["gpu"] = _pool(kind, {**whole, "workers": 1})
    return Profile(kind, common["interface"], common["patience"], pools)


def _pool(kind: str, table: Mapping[str, Any]) -> tuple[Jobs, Mapping[str, Any]]:
    named = options_of(BATCH[kind][1])
    jobs = Jobs(**{key: value for key, value in table.items() if key not in named})
    return jobs, BATCH[kind][1](**{key: table[key] for key in named})
