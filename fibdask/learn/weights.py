"""Weights on the disk: written with a card and a pair of data that tests them, and read again."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from ..blocks import Region, lengths, put_file
from ..conventions import ConventionError, DeviceLostError, MemoryBudgetError
from ..pieces.devices import Device
from .folder import CARD, TEST_PAIR, USED_WITH, WEIGHTS, read_chosen_card, used_with
from .greymaps import GreyMap, grey_maps, mapped_images
from .networks import Architecture, Foldable, Network, Precision, WindowNetwork, has_gpu
from .published import Published, PublishedNetwork
from .samples import Sample

AnyNetwork = TypeVar("AnyNetwork", bound=Foldable)


@dataclass(frozen=True)
class Loaded(ABC, Generic[AnyNetwork]):
    """A network ready to predict, in this process.

    Attributes
    ----------
    network
        On the device and in the precision that it predicts in.
    """

    predicted: ClassVar[str]
    """Name in a test pair of what the network predicted when it was trained."""
    told: ClassVar[str]
    """What these values are."""
    tolerance: ClassVar[float]
    """Of them: processors round in different orders."""

    network: AnyNetwork

    @classmethod
    @abstractmethod
    def of(cls, network: AnyNetwork, card: Mapping[str, Any]) -> Self:
        """Fold a network, which then predicts as a card says."""

    @staticmethod
    @abstractmethod
    def stored(folder: Path, card: Mapping[str, Any]) -> AnyNetwork:
        """Read the network of a model as it was trained; see `with_weights`."""

    @abstractmethod
    def again(self, pair: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return what is predicted of what a test pair shows, by name."""

    @classmethod
    def read(
        cls, folder: Path, fingerprint: str, device: Device, precision: Precision = "float32"
    ) -> Self:
        """Read a model, and test it on the processor before it is rounded.

        Raises
        ------
        ConventionError
            If it is not the model of the fingerprint, or does not predict what it should, or this
            process has no such device.
        """
        card = read_chosen_card(folder, fingerprint)
        loaded = cls.of(cls.stored(folder, card), card)
        loaded.test(folder / TEST_PAIR)
        loaded.network.to(own_device(device), getattr(torch, precision))
        return loaded

    def test(self, pair: Path) -> None:
        """Compare with what was predicted when the network was trained.

        Raises
        ------
        ConventionError
            If the pair cannot be read, or something else is predicted.
        """
        try:
            tensors = {name: value.numpy() for name, value in load_file(pair).items()}
            error = float(np.abs(self.again(tensors) - tensors[self.predicted]).max())
        except (OSError, KeyError, SafetensorError, RuntimeError, ValueError) as fault:
            msg = f"the model cannot be tested by {pair}: {fault}"
            raise ConventionError(msg) from None
        if not error <= self.tolerance:
            msg = (
                f"the model does not predict what it should: {self.told} of {pair} differ by "
                f"{error:.2g}, at most {self.tolerance:g} is rounding; it is damaged, or torch "
                f"{torch.__version__} computes something else on this processor"
            )
            raise ConventionError(msg)

    def write(
        self,
        folder: Path,
        network: AnyNetwork,
        card: Mapping[str, Any],
        shown: Mapping[str, np.ndarray],
    ) -> None:
        """Write a model; the card, which makes it one, comes last.

        Parameters
        ----------
        folder
            Which may hold an earlier one.
        network
            As it was trained, of which this one was made ready.
        card
            All but what is known of its architecture and weights.
        shown
            What tests it, by name, with what is predicted of it.
        """
        pair = {**shown, self.predicted: self.again(shown)}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CARD).unlink(missing_ok=True)
        state = {
            name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
        }
        weights: bytes = save(state)
        put_file(folder / WEIGHTS, weights)
        tensors = {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in pair.items()}
        put_file(folder / TEST_PAIR, save(tensors))
        architecture = network.architecture
        told = dict(card) | {
            "architecture": architecture.as_card(),
            "halo": architecture.halo,
            "stride": architecture.stride,
            "sha256": sha256(weights).hexdigest(),
        }
        told[USED_WITH] = used_with(told)
        put_file(folder / CARD, (json.dumps(told, indent=1) + "\n").encode())


@dataclass(frozen=True)
class LoadedNetwork(Loaded[Network]):
    """A network of windows of slices ready to predict, in this process.

    Attributes
    ----------
    network
        Folded, on the device and in the precision that it predicts in.
    temperature
        That logits are divided by, so that probabilities are frequencies.
    grey_map
        What grey values of each voltage become before the network sees them; none if as they are.
    """

    predicted = "probability"
    told = "probabilities"
    tolerance = 1e-3

    temperature: float
    grey_map: tuple[GreyMap, ...] = ()

    @classmethod
    def of(cls, network: Network, card: Mapping[str, Any]) -> Self:
        """Fold a network, which then predicts as a card says."""
        return cls(network.fold(), float(card["temperature"]), grey_maps(card))

    @staticmethod
    def stored(folder: Path, card: Mapping[str, Any]) -> Network:
        """Read the network of a model as it was trained."""
        return read_network(folder, card)

    @torch.inference_mode()
    def predict(
        self,
        images: np.ndarray,
        present: np.ndarray,
        distances: np.ndarray,
        offsets: np.ndarray,
        pixels: Region | None = None,
    ) -> np.ndarray:
        """Return probabilities (plane, y, x), by default of all pixels; see `NetworkPredictor`."""
        with one_thread(), errors_of_cuda():
            if self.grey_map:
                images = mapped_images(images, self.grey_map, present, distances)
            weight = next(self.network.parameters())
            place = partial(torch.as_tensor, device=weight.device, dtype=torch.float32)
            shown = place(np.ascontiguousarray(images))[None].to(weight.dtype)
            there, away = place(present)[None], place(distances)[None]
            seen = self.network.look(shown)
            shape = images.shape[-2:] if pixels is None else lengths(pixels)
            result = np.empty((len(offsets), *shape), np.float32)
            for plane, offset in enumerate(place(offsets)):
                logits = self.network(*seen, there, away, offset[None], pixels=pixels)
                result[plane] = (logits[0].float() / self.temperature).sigmoid().cpu().numpy()
        return result

    def again(self, pair: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return probabilities of a window."""
        return self.predict(pair["images"], pair["present"], pair["distances"], pair["offsets"])


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in this thread alone: blocks run side by side, and bits do not depend on cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def own_device(device: Device) -> torch.device:
    """Return a device of this process.

    Raises
    ------
    ConventionError
        If it has no GPU, but was to predict on one: values of its processor are others.
    """
    if device == "gpu" and not has_gpu():
        msg = (
            "this network was to predict on a GPU, and this process has none; on a processor it "
            "would not say the same bit for bit: set device to cpu"
        )
        raise ConventionError(msg)
    return torch.device("cuda" if device == "gpu" else "cpu")


@contextmanager
def errors_of_cuda() -> Iterator[None]:
    """Tell a full memory, after which one may go on, from other errors, after which not."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        msg = f"the memory of the GPU does not hold a window of this network: {error}"
        raise MemoryBudgetError(msg) from None
    except getattr(torch, "AcceleratorError", ()) as error:
        msg = f"the GPU has failed, and this process cannot use it any more: {error}"
        raise DeviceLostError(msg) from error


def read_network(folder: Path, card: Mapping[str, Any]) -> WindowNetwork | PublishedNetwork:
    """Read the weights of a model, as they were trained.

    Raises
    ------
    ConventionError
        If they are not those of the architecture on its card.
    """

    def built() -> WindowNetwork | PublishedNetwork:
        architecture = architecture_of(card["architecture"])
        if isinstance(architecture, Published):
            return PublishedNetwork(architecture)
        return WindowNetwork(architecture)

    return with_weights(folder, built)


def read_windows(folder: Path, card: Mapping[str, Any], what: str) -> WindowNetwork:
    """Read the weights of a model whose network knows the depths of slices.

    Parameters
    ----------
    what
        Is done with it.

    Raises
    ------
    ConventionError
        If it is another network, or they are not those of its card.
    """
    network = read_network(folder, card)
    if not isinstance(network, WindowNetwork):
        dimensions = network.architecture.dimensions
        msg = (
            f"model {card['name']} is a network of {dimensions} dimensions, which cannot be {what}"
        )
        raise ConventionError(msg)
    return network


def architecture_of(fields: Mapping[str, Any]) -> Architecture | Published:
    """Return what determines a network but for its weights, of what its card says."""
    if "blocks" in fields:
        return Published.of_card(fields)
    return Architecture.of_card(dict(fields))


def with_weights(folder: Path, build: Callable[[], AnyNetwork]) -> AnyNetwork:
    """Return a network with the weights of a model.

    Parameters
    ----------
    folder
        Of the model.
    build
        Returns the network with its first weights, as the card describes it.

    Raises
    ------
    ConventionError
        If they do not fit it, or the card describes none.
    """
    try:
        network = build()
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError, TypeError, KeyError) as error:
        msg = f"the weights do not fit the card of the model {folder}: {error}"
        raise ConventionError(msg) from None
    return network


def write_model(folder: Path, network: Network, card: Mapping[str, Any], sample: Sample) -> None:
    """Write a model with the corner of a sample, which tests it.

    Parameters
    ----------
    network
        As it was trained, not folded.
    card
        All but what is known of the weights themselves.
    sample
        Of what it sees.
    """
    loaded = LoadedNetwork.of(deepcopy(network).cpu(), card)
    loaded.write(folder, network, card, sample.corner.shown)
