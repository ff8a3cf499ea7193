"""The tables that a recipe may hold, and their keys: the options of the stages' functions."""

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, create_model

from ...conventions import RecipeError
from ...statistics import phase_statistics
from .. import stages
from ..cluster import PROFILED, Kind, parse_memory
from .likeness import LikeOptions
from .sources import read_input

_Volume = Literal[
    "intensity",
    "phase",
    "label",
    "solid_probability",
    "voltage_disagreement",
    "label_probability",
    "true_phase",
]
_NOT_KEYS = ("chunks", "compute", "mask", "truth")  # options that no text can state


def cluster_options(
    *,
    kind: Kind = "local",
    profile: str | None = None,
    workers: PositiveInt | None = None,
    threads: PositiveInt = 1,
    memory: str = "auto",
    scheduler: str | None = None,
    secure: bool | None = None,
    certificates: str | None = None,
) -> dict[str, Any]:
    """Where to start workers, or the address of a running scheduler.

    Parameters
    ----------
    kind
        Where workers run. `local`: processes on this machine; `cuda`: one for each of its GPUs;
        `ssh`: on other machines; `slurm`, `pbs`, `lsf`: jobs of a batch system. `--cluster`
        overrides it.
    profile
        Profile for `ssh` and batch systems: name of a file, without ".toml", beside the recipe or
        else in ~/.config/fibdask; by default the kind.
    workers
        Number of processes on this machine; by default one per core, or per GPU.
    threads
        Threads per process.
    memory
        Memory limit of each process, such as "1.5 GiB"; by default an equal share of 90 % of the
        free memory.
    scheduler
        Address of a running Dask scheduler, whose workers to use.
    secure
        Whether to encrypt with certificates, by default in `certificates` of the output folder;
        false also allows an unencrypted scheduler on another machine.
    certificates
        Folder of certificates; they are made if there are none and workers are started.

    Raises
    ------
    RecipeError
        If some of it is not used by the kind.
    """
    parse_memory(memory)
    found = {"workers": workers, "threads": threads, "memory": memory}
    unused = {"workers": None, "threads": 1, "memory": "auto"} if kind in PROFILED else {}
    unused |= {"threads": 1} if kind == "cuda" else {}
    given = [key for key, default in unused.items() if found[key] != default]
    given += ["profile"] if profile and kind not in PROFILED else []
    given += ["scheduler"] if scheduler and kind != "local" else []
    if given:
        msg = f"[cluster] {', '.join(given)}: not used where kind is {kind!r}; remove"
        raise RecipeError(msg)
    found |= {"scheduler": scheduler, "secure": secure, "certificates": certificates}
    return {"kind": kind, "profile": profile, **found}


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where results go, and which are stored.

    Attributes
    ----------
    path
        Folder of the run; by default named after the recipe, beside it.
    variables
        Volumes to store after each stage. By default, or while none of those named exists: the
        phase and its probability, or the images before there is a phase.
    block_mib
        Largest size of a block in MiB.
    pyramid
        Whether to add coarser levels for viewers to the last stack.
    report
        Whether to write `report.html`.
    log
        Format of `fibdask.log`: lines for people, or one of JSON for each event.
    """

    path: str | None = None
    variables: Annotated[list[_Volume], Field(min_length=1)] | None = None
    block_mib: PositiveInt = 64
    pyramid: bool = True
    report: bool = True
    log: Literal["text", "json"] = "text"


def tables() -> dict[str, tuple[Callable[..., Any], ...]]:
    """Return the functions of each table, in the data's order."""
    measured = {stages.SIMULATE: (LikeOptions,)}
    return {
        "input": (read_input,),
        **{stage.name: stage.functions + measured.get(stage.name, ()) for stage in stages.STAGES},
        stages.STATISTICS: (phase_statistics,),
        "cluster": (cluster_options,),
        "output": (OutputOptions,),
    }


@dataclass(frozen=True)
class Key:
    """A key of a table: an option of a function, with the kind of its values and its default."""

    function: Callable[..., Any]
    kind: Any
    default: Any

    @property
    def is_needed(self) -> bool:
        """Whether it has no default."""
        return self.default is inspect.Parameter.empty


def keys_of(name: str) -> dict[str, Key]:
    """Return the keys of a table: what its functions take by name, and a text can state."""
    return options_of(*tables()[name])


def options_of(*functions: Callable[..., Any]) -> dict[str, Key]:
    """Return what functions take by name and classes as fields, where a text can state it."""
    found = {}
    for function in functions:
        hints = typing.get_type_hints(function, include_extras=True)
        for key, parameter in inspect.signature(function).parameters.items():
            named = parameter.kind is parameter.KEYWORD_ONLY or inspect.isclass(function)
            if named and key not in _NOT_KEYS:
                found[key] = Key(function, hints[key], parameter.default)
    return found


def checker_of(name: str, keys: Mapping[str, Key]) -> type[BaseModel]:
    """Build the checker of a table."""
    fields: dict[str, Any] = {
        key: (of.kind, ... if of.is_needed else of.default) for key, of in keys.items()
    }
    config = ConfigDict(extra="forbid", strict=False)
    return create_model(name, __config__=config, **fields)
