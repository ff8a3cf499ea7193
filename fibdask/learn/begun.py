"""Networks that begin with the weights of a model, to learn from other data."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from ..conventions import ConventionError, FibdaskWarning
from ..pieces.validity import model_channels
from .models import open_model
from .networks import Architecture, WindowNetwork
from .published import Published, PublishedNetwork
from .weights import architecture_of, read_network


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
    channels
        Which voltage of the model each one of the stack begins as.
    """

    fields: Architecture | Published
    folder: str
    weights: str
    channels: tuple[int, ...]

    @classmethod
    def of(cls, name_or_path: str, stack: xr.Dataset) -> "Begun":
        """Return a model as the beginning of a training by a stack.

        Raises
        ------
        ConventionError
            If there is no such model, it sees phases, or fewer voltages than the stack has, or, of
            one slice or of small stacks, other ones.

        Warns
        -----
        FibdaskWarning
            If a voltage begins as another one.
        """
        model = open_model(name_or_path)
        if model.card["task"] != "windows":
            msg = f"model {model.name} is for {model.card['task']}, not for images of slices"
            raise ConventionError(msg)
        channels = _nearest(model.name, model.card, stack)
        fields = architecture_of(model.card["architecture"])
        if isinstance(fields, Published) and channels != tuple(range(fields.voltages)):
            msg = (
                f"a training begins with all voltages of model {model.name}, "
                f"{model.card['voltages']} kV; got {stack['voltage'].values.tolist()} kV"
            )
            raise ConventionError(msg)
        fields = replace(fields, voltages=len(channels))
        return cls(fields, str(model.folder), model.fingerprint, channels)

    def build(self) -> WindowNetwork | PublishedNetwork:
        """Return the network with the weights of the model."""
        network = read_network(Path(self.folder), open_model(Path(self.folder)).card)
        if isinstance(network, PublishedNetwork):
            return network.interleave()
        if self.channels != tuple(range(network.architecture.voltages)):
            network = of_channels(network, self.channels)
        return network.interleave()


def _nearest(name: str, card: Mapping[str, Any], stack: xr.Dataset) -> tuple[int, ...]:
    """Return the channels of a model whose voltages are nearest, by their ratio."""
    known, given = np.array(card["voltages"], float), stack["voltage"].values
    ratios = np.abs(np.log(given[:, np.newaxis] / known))
    channels = [int(k) for k in ratios.argmin(axis=1)]
    if len(set(channels)) < len(channels):
        msg = (
            f"each voltage of a stack begins as another one of the model; {name} sees "
            f"{card['voltages']} kV, the stack has {given.tolist()} kV"
        )
        raise ConventionError(msg)
    others = [v for v, same in zip(given, model_channels(card, stack), strict=True) if same is None]
    if others:
        begun = ", ".join(
            f"{v:g} kV as {known[k]:g} kV" for v, k in zip(given, channels, strict=True)
        )
        text = f"model {name} sees {card['voltages']} kV: the training begins with {begun}"
        warnings.warn(text, FibdaskWarning, stacklevel=3)
    return tuple(channels)


def of_channels(network: WindowNetwork, channels: Sequence[int]) -> WindowNetwork:
    """Return a network that sees some voltages of another, and says what that says of them alone.

    Features at full resolution take the places of the images that are left out; they count nothing
    before they have learnt.
    """
    whole, chosen = network.architecture, list(channels)
    made = replace(whole, voltages=len(chosen)).build()
    state = made.state_dict()
    own = whole.detail - 2 * whole.voltages  # features at full resolution beside images
    for name, value in network.state_dict().items():
        if name == "trunk.gather.convolution.weight":
            images = value.unflatten(1, (whole.voltages, -1))
            state[name] = images[:, chosen].flatten(1, 2)
        elif name.endswith("condition.linear.weight"):
            rest, present = value[:, : -whole.voltages], value[:, -whole.voltages :]
            state[name] = torch.cat([rest, present[:, chosen]], dim=1)
        elif name == "head.detail.convolution.weight":
            images = value[:, own:].unflatten(1, (whole.voltages, 2))[:, chosen].flatten(1, 2)
            new = torch.zeros_like(value[:, : whole.detail - own - images.shape[1]])
            state[name] = torch.cat([value[:, :own], new, images], dim=1)
        else:  # of more features, the first ones
            state[name][tuple(map(slice, value.shape))] = value
    made.load_state_dict(state)
    return made
