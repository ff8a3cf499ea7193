"""Models: folders of weights, a card that says what they are good for, and a pair to test them.

Nothing here needs torch, which is first imported where a model predicts.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from ..conventions import ConventionError
from ..pieces.devices import Device, chosen_device
from ..pieces.validity import LAYERS, SIMULATION
from ..pieces.windows import SliceWindow
from .folder import CARD, TEST_PAIR, card_fingerprint, read_card
from .layers.predicting import NetworkLayerPredictor
from .predicting import NetworkPredictor, told_if_missing
from .simulation.predicting import NetworkImagePredictor

if TYPE_CHECKING:
    from .networks import Precision

Described = TypeVar("Described")


@dataclass(frozen=True)
class Model:
    """A trained network.

    Attributes
    ----------
    folder
        That holds its weights, its card and its test pair.
    card
        What it was trained on, the range that it is valid in, and its errors on unseen data.
    device
        Where it predicts: `gpu`, `cpu`, or `auto`, a GPU where the process has one that asks.
    """

    folder: Path
    card: Mapping[str, Any]
    device: str = "auto"

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.card["name"])

    @property
    def fingerprint(self) -> str:
        """Hash of the weights, and of what they are used with."""
        return card_fingerprint(self.card)

    def example(self) -> dict[str, np.ndarray]:
        """Return the window that tests it, and the probability that it finds (plane, y, x)."""
        from safetensors.numpy import load_file

        pair: dict[str, np.ndarray] = load_file(self.folder / TEST_PAIR)
        return pair

    def on(self, device: str) -> "Model":
        """Return the model that predicts on a device; `auto` is a GPU where this process has one.

        Raises
        ------
        ConventionError
            If torch is not installed, or there is no such device.
        """
        asked = replace(self, device=device)
        return replace(self, device=asked._chosen_device())

    def predictor(self, precision: "Precision | None" = None) -> NetworkPredictor:
        """Return what stages are given of it.

        Parameters
        ----------
        precision
            Of what is computed, `float32` or `bfloat16`; by default the fastest of the device.
            Probabilities differ by about a hundredth.

        Raises
        ------
        ConventionError
            If torch is not installed, or there is no such device.
        """
        with told_if_missing():
            from .networks import fastest_precision
            from .weights import architecture_of
        architecture, device = self._described(architecture_of), self._chosen_device()
        return NetworkPredictor(
            folder=str(self.folder),
            model=self.fingerprint,
            device=device,
            window=SliceWindow(architecture.above, architecture.below),
            voltages=architecture.voltages,
            halo=(architecture.halo,) * 2,
            stride=(architecture.stride,) * 2,
            floats=architecture.floats,
            scratch=architecture.scratch,
            precision=precision or fastest_precision(device, architecture.dimensions),
        )

    def image_predictor(self) -> NetworkImagePredictor:
        """Return what simulations are given of a model of images.

        Raises
        ------
        ConventionError
            If torch is not installed, or there is no such device.
        """
        with told_if_missing():
            from .simulation.networks import ImageArchitecture
        architecture = self._described(ImageArchitecture.of_card)
        return NetworkImagePredictor(
            folder=str(self.folder),
            model=self.fingerprint,
            device=self._chosen_device(),
            layers=architecture.layers,
            halo=architecture.halo,
            margin=architecture.margin,
            stride=architecture.stride,
            widths=architecture.widths,
            detail=architecture.detail,
        )

    def layer_predictor(self) -> NetworkLayerPredictor:
        """Return what layered samples are given of a model of layers.

        Raises
        ------
        ConventionError
            If torch is not installed, or there is no such device.
        """
        with told_if_missing():
            from .layers.networks import LayerArchitecture
        architecture = self._described(LayerArchitecture.of_card)
        return NetworkLayerPredictor(
            folder=str(self.folder),
            model=self.fingerprint,
            device=self._chosen_device(),
            halo=architecture.halo,
            stride=architecture.stride,
            width=architecture.width,
            smoothing=architecture.smoothing,
        )

    def _chosen_device(self) -> Device:
        """Return where it predicts; `auto` is a GPU where this process has one."""
        with told_if_missing():
            from .networks import has_gpu
        return chosen_device(self.device, has_gpu)

    def _described(self, of_card: Callable[[Mapping[str, Any]], Described]) -> Described:
        """Return the architecture on the card, which must fit what else stands there.

        Raises
        ------
        ConventionError
            If it is none, or sees farther than the card says.
        """
        try:
            architecture = of_card(self.card["architecture"])
        except (TypeError, KeyError, AttributeError) as error:
            msg = f"the card of model {self.name} describes no network: {error!r}"
            raise ConventionError(msg) from None
        for key in ("halo", "stride"):
            if (own := getattr(architecture, key)) != self.card[key]:
                msg = (
                    f"the card of model {self.name} says {key} {self.card[key]}, and its network "
                    f"has {own}: it was changed, or is of another version of fibdask"
                )
                raise ConventionError(msg)
        return architecture

    def load(self) -> None:
        """Read it and test it.

        Raises
        ------
        ConventionError
            If it does not predict what it did when it was trained, or torch is not installed.
        """
        if self.card["task"] == SIMULATION:
            self.image_predictor().load()
        elif self.card["task"] == LAYERS:
            self.layer_predictor().load()
        else:
            self.predictor().load()


def open_model(name_or_path: str | Path) -> Model:
    """Read a model's card, and check that the weights are those that it speaks of.

    Raises
    ------
    ConventionError
        If there is no such model, or card and weights do not fit together.
    """
    folder = _folder(name_or_path)
    return Model(folder, read_card(folder))


def load_model(name_or_path: str | Path) -> Model:
    """Load a trained model, after checking that it reproduces the prediction on its card.

    Parameters
    ----------
    name_or_path
        Name of a model that ships with fibdask (see `list_models`), or the folder of another.

    Returns
    -------
    Model
        The model, with `name`, `card` and `folder`.

    Raises
    ------
    ConventionError
        If there is no such model, card and weights do not fit together, or the weights do not
        predict what they did when they were trained.
    """
    model = open_model(name_or_path)
    model.load()
    return model


def shipped_models() -> list[Model]:
    """Return the models that ship with fibdask."""
    return [open_model(path.parent) for path in sorted(_shipped().glob(f"*/{CARD}"))]


def list_models() -> pd.DataFrame:
    """List the models that ship, a row for each.

    Returns
    -------
    pandas.DataFrame
        Columns: name, task, voltages in kV, pixel_size and thickness of slices in nm (least and
        most), electrons_per_pixel, error in % on unseen data, error_of (what that is a share of:
        the voxels; for images the contrast, for layers the error of the likelihood), licence.
    """
    rows = [
        {
            "name": model.name,
            "task": model.card["task"],
            "voltages": _voltages(model.card),
            "pixel_size": _range(model.card["pixel_size"]),
            "thickness": _range(model.card["thickness"]),
            "electrons_per_pixel": _range(model.card["electrons_per_pixel"]),
            **_error(model.card),
            "licence": model.card["licence"],
        }
        for model in shipped_models()
    ]
    return pd.DataFrame(rows)


def _voltages(card: Mapping[str, Any]) -> str:
    if card["task"] == SIMULATION:
        return _range(card["voltages"])
    return ", ".join(f"{v:g}" for v in card["voltages"]) or "any"


def _error(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return how wrong a model is in %, and of what, by its task."""
    errors = card["errors"]
    if card["task"] == SIMULATION:
        return {"error": errors["rms"], "error_of": "contrast"}
    if card["task"] == LAYERS:
        return {"error": 100 * errors["relative"], "error_of": "the likelihood's error"}
    return {"error": errors.get("misplaced", np.nan), "error_of": "voxels"}


def _range(ends: list[float] | None) -> str:
    if ends is None:
        return "any"
    return f"{ends[0]:g} to {ends[1]:g}"


def _shipped() -> Path:
    return Path(str(files("fibdask.learn") / "models"))


def _folder(name_or_path: str | Path) -> Path:
    if not isinstance(name_or_path, str | os.PathLike):
        kind = type(name_or_path).__name__
        msg = f"a model is told by its name or folder (that of a loaded one: .folder); got {kind}"
        raise ConventionError(msg)
    shipped = _shipped() / str(name_or_path)
    if "/" not in str(name_or_path) and (shipped / CARD).exists():
        return shipped
    folder = Path(name_or_path)
    if not folder.is_dir():
        names = ", ".join(sorted(path.parent.name for path in _shipped().glob(f"*/{CARD}")))
        msg = f"a model is a folder, or one of those that ship ({names}); got {name_or_path!r}"
        raise ConventionError(msg)
    return folder.absolute()
