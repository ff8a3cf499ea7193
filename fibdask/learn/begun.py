"""Networks that begin with the weights of a model, to learn from other data."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from ..blocks import fingerprint
from ..conventions import ConventionError, FibdaskWarning, recorded_steps
from ..pieces.validity import IMAGES, model_channels
from .cards import image_hashes
from .data import SimulatedStack
from .greymaps import GREY_MAP
from .models import open_model
from .networks import Architecture, Network, WindowNetwork
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
    def of(cls, name_or_path: str, voltages: np.ndarray) -> "Begun":
        """Return a model as the beginning of a training by images of some voltages in kV.

        Raises
        ------
        ConventionError
            If there is no such model, it sees phases, a bent scale of grey values, or fewer
            voltages than there are, or, of one slice or of small stacks, other ones.

        Warns
        -----
        FibdaskWarning
            If a voltage begins as another one.
        """
        model = open_model(name_or_path)
        if model.card["task"] != IMAGES:
            msg = f"model {model.name} is for {model.card['task']}, not for images of slices"
            raise ConventionError(msg)
        if model.card.get(GREY_MAP):
            msg = (
                f"model {model.name} was adapted with a bent scale of grey values, which a "
                "training would lose: begin with the model that it was adapted from, and adapt "
                "that which is made"
            )
            raise ConventionError(msg)
        channels = _nearest(model.name, model.card, voltages)
        fields = architecture_of(model.card["architecture"])
        if isinstance(fields, Published) and channels != tuple(range(fields.voltages)):
            msg = (
                f"a training begins with all voltages of model {model.name}, "
                f"{model.card['voltages']} kV; got {[*map(float, voltages)]} kV"
            )
            raise ConventionError(msg)
        fields = replace(fields, voltages=len(channels))
        return cls(fields, str(model.folder), model.fingerprint, channels)

    @classmethod
    def of_windows(cls, name_or_path: str, voltages: np.ndarray) -> "Begun":
        """Return a model as `of`, which must tell of planes between slices too.

        Raises
        ------
        ConventionError
            If it does not, too.
        """
        begun = cls.of(name_or_path, voltages)
        if isinstance(begun.fields, Published):
            name = begun.told()["name"]
            msg = f"model {name} knows nothing of what lies between slices, which samples show"
            raise ConventionError(msg)
        return begun

    @property
    def fingerprint(self) -> str:
        """Hash of the network, wherever the model lies."""
        return fingerprint(self.fields, self.weights, self.channels)

    @property
    def above(self) -> int:
        """Slices of a window at or before its own."""
        return self.fields.above

    @property
    def below(self) -> int:
        """Slices after it."""
        return self.fields.below

    @property
    def stride(self) -> int:
        """Windows begin at multiples of it in pixels."""
        return self.fields.stride

    @property
    def halo(self) -> int:
        """How many pixels along y and x it sees in either direction."""
        return self.fields.halo

    def told(self) -> dict[str, Any]:
        """Return what a card says of the model, and of what that has learnt from."""
        card = open_model(Path(self.folder)).card
        adapted = {"adapted": card["adapted"]} if "adapted" in card else {}
        return adapted | {
            "name": card["name"],
            "sha256": card["sha256"],
            "training": card.get("training", {}),
        }

    def check_unseen(self, stacks: Iterable[SimulatedStack]) -> None:
        """Refuse to judge by simulated stacks that the model has learnt from.

        Raises
        ------
        ConventionError
            If one has a seed of those.
        """
        told = self.told()
        learnt = set(_told_seeds(told["training"]))
        for stack in stacks:
            if shared := learnt & stack.seeds.items():
                step, seed = min(shared)
                msg = (
                    "networks are judged by what they have not learnt from; the training begins "
                    f"with model {told['name']}, which has learnt from a stack with the same seed "
                    f"of {step}, {seed}, as {stack.name} for validation"
                )
                raise ConventionError(msg)

    def learnt_slices(self, stack: xr.Dataset, painted: Sequence[int]) -> list[int]:
        """Return which painted slices of a stack show an image that the model has learnt from."""
        hashes = dict(zip(painted, map(set, image_hashes(stack, painted)), strict=True))
        found: set[int] = set()
        for told in _told_data(self.told()["training"]):
            if "images" in told:
                known = {own for each in told["images"] for own in each}
                found |= {k for k, own in hashes.items() if own & known}
            elif (steps := recorded_steps(stack)) and told.get("steps") == steps:  # before 0.15
                found |= set(told.get("slices", ()))
        return sorted(found)

    def build(self) -> WindowNetwork | PublishedNetwork:
        """Return the network with the weights of the model."""
        network = read_network(Path(self.folder), open_model(Path(self.folder)).card)
        if isinstance(network, PublishedNetwork):
            return network.interleave()
        if self.channels != tuple(range(network.architecture.voltages)):
            network = of_channels(network, self.channels)
        return network.interleave()


@dataclass(frozen=True)
class Mixed(Begun):
    """A beginning whose weights stay in part in what is made, as the mean of both [1].

    Attributes
    ----------
    kept
        Share of these weights.

    References
    ----------
    .. [1] M. Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022.
    """

    kept: float

    @property
    def fingerprint(self) -> str:
        """Hash of the network, and of the share that stays."""
        return fingerprint(super().fingerprint, self.kept)

    def told(self) -> dict[str, Any]:
        """Return what a card says of the model, and of the share that stays."""
        return super().told() | {"kept": self.kept}

    def mixed(self, network: Network) -> Network:
        """Return a network of weights between those of the beginning and of one that has learnt."""
        begun, made = self.build().state_dict(), deepcopy(network)
        state = {
            name: torch.lerp(value, begun[name].to(value), self.kept)
            if value.is_floating_point()
            else value
            for name, value in network.state_dict().items()
        }
        made.load_state_dict(state)
        return made


def _nearest(name: str, card: Mapping[str, Any], voltages: np.ndarray) -> tuple[int, ...]:
    """Return the channels of a model whose voltages are nearest, by their ratio."""
    known, given = np.array(card["voltages"], float), np.array(voltages, float)
    ratios = np.abs(np.log(given[:, np.newaxis] / known))
    channels = [int(k) for k in ratios.argmin(axis=1)]
    if len(set(channels)) < len(channels):
        msg = (
            f"each voltage begins as another one of the model; {name} sees {card['voltages']} kV, "
            f"the data have {given.tolist()} kV"
        )
        raise ConventionError(msg)
    same = model_channels(card, xr.Dataset(coords={"voltage": given}))
    others = [voltage for voltage, channel in zip(given, same, strict=True) if channel is None]
    if others:
        begun = ", ".join(
            f"{v:g} kV as {known[k]:g} kV" for v, k in zip(given, channels, strict=True)
        )
        text = f"model {name} sees {card['voltages']} kV: the training begins with {begun}"
        warnings.warn(text, FibdaskWarning, stacklevel=3)
    return tuple(channels)


def _told_data(training: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Iterate over what cards tell of the data that a model, and those before it, learnt from."""
    data = training.get("data")
    yield from data if isinstance(data, list) else ()
    if "begun" in training:
        yield from _told_data(training["begun"]["training"])


def _told_seeds(training: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Iterate over steps and seeds of what a model, and those before it, have learnt from."""
    for stack in _told_data(training):
        for step in stack.get("steps", ()):
            if "seed" in step:
                yield step["step"], step["seed"]


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
