"""A recipe of a training that has been read and checked, and what tasks make of its tables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ...conventions import ConventionError
from ..recipe.record import blamed_on
from ..recipe.tables import options_of

if TYPE_CHECKING:
    from ...learn.making import Judge

STATE = "state"
"""Folder in that of a model, of what is needed to go on with its training."""
Telling = Callable[[str], Any]
"""Returns a context, by the name of what is done, whose value takes its progress."""
Made = TypeVar("Made")


@dataclass(frozen=True)
class TrainingRecipe:
    """A checked recipe of a training: parameters by table, defaults included."""

    tables: Mapping[str, Mapping[str, Any]]

    @property
    def folder(self) -> Path:
        """Of the model."""
        return Path(self.tables["output"]["path"])

    @property
    def state(self) -> Path:
        """Folder of what is needed to go on with the training."""
        return self.folder / STATE

    @property
    def described(self) -> dict[str, str]:
        """Name and licence of the model, as its card says."""
        return {key: self.tables["output"][key] for key in ("name", "licence")}

    def made(self, name: str, kind: Callable[..., Made]) -> Made:
        """Return what takes the keys of a table, which is blamed for what is refused."""
        with blamed_on(name):
            return kind(**self.tables[name])

    def varied(self, kind: Callable[..., Made], drawing: type) -> tuple[Made, dict[str, Any]]:
        """Return what differs between samples, and how they are drawn; see `made`."""
        options = dict(self.tables["samples"])
        drawn = {name: options.pop(name) for name in options_of(drawing)}
        with blamed_on("samples"):
            return kind(**options), drawn


@dataclass(frozen=True)
class Parts:
    """What a training is made of beside its schedule.

    Attributes
    ----------
    design, samples
        Of the network, and what it learns from.
    judge
        By what it has not learnt from.
    options
        Of `Training`: what it is looked at with, how samples are put together.
    """

    design: Any
    samples: Any
    judge: "Judge"
    options: Mapping[str, Any]


def check_seeds(seed: int, unseen_seed: int) -> None:
    """Refuse to judge networks by what they have learnt from."""
    if seed == unseen_seed:
        msg = f"seed and unseen_seed must differ; both are {seed}"
        raise ConventionError(msg)
