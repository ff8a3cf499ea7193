"""Networks that begin with the weights of a model, to learn from other data."""

from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from ..conventions import ConventionError
from ..pieces.validity import model_channels
from .models import open_model
from .networks import Architecture, WindowNetwork
from .weights import read_network


@dataclass(frozen=True)
class Begun:
    """An architecture, and the model whose weights it begins with.

    Attributes
    ----------
    fields
        The architecture.
    folder
        Of the model.
    weights
        Their fingerprint.
    """

    fields: Architecture
    folder: str
    weights: str

    @classmethod
    def of(cls, name_or_path: str, stack: xr.Dataset) -> "Begun":
        """Return a model as the beginning of a training by a stack.

        Raises
        ------
        ConventionError
            If there is no such model, or it sees other voltages, or phases.
        """
        model = open_model(name_or_path)
        if model.card["task"] != "windows":
            msg = f"model {model.name} is for {model.card['task']}, not for images of slices"
            raise ConventionError(msg)
        channels = model_channels(model.card, stack)
        if channels != list(range(len(model.card["voltages"]))):
            msg = (
                f"a training begins with a model of the same voltages; {model.name} sees "
                f"{model.card['voltages']} kV, the stack has {stack['voltage'].values.tolist()} kV"
            )
            raise ConventionError(msg)
        fields = Architecture.of_card(model.card["architecture"])
        return cls(fields, str(model.folder), model.fingerprint)

    def build(self) -> WindowNetwork:
        """Return the network with the weights of the model."""
        model = open_model(Path(self.folder))
        return read_network(Path(self.folder), model.card).interleave()
