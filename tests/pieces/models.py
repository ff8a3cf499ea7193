"""Models that need no network: those of a module that stands in for `fibdask.learn.models`."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from fibdask.conventions import ConventionError
from fibdask.pieces import models
from tests.pieces.predictors import CoarseMix

CARD = {
    "name": "mix",
    "task": "windows",
    "voltages": [1.0, 2.0],
    "pixel_size": [2.0, 5.0],
    "thickness": [5.0, 20.0],
    "gap": [1.0, 22.0],
    "errors": {"misplaced": 1.0},
}


@dataclass(frozen=True)
class MixModel:
    """What `load_model` returns."""

    card: dict = field(default_factory=lambda: dict(CARD))
    stride: tuple = (4, 2)
    device: str = "cpu"

    @property
    def name(self):
        return self.card["name"]

    @property
    def folder(self):
        return Path("models") / self.name

    @property
    def fingerprint(self):
        return f"fingerprint of {self.name}"

    def on(self, device):
        return self

    def predictor(self):
        voltages = len(self.card["voltages"])
        return CoarseMix(voltages=voltages, stride=self.stride, fingerprint=self.fingerprint)


def offer(monkeypatch, *found):
    """Let stages find these models, and no others."""

    def load_model(name_or_path):
        for model in found:
            if name_or_path in (model.name, model.folder):
                return model
        msg = f"no model {name_or_path!r}"
        raise ConventionError(msg)

    module = SimpleNamespace(load_model=load_model, shipped_models=lambda: list(found))
    monkeypatch.setattr(models, "import_module", lambda _: module)
