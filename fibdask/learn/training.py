"""Training of networks: in steps that depend on nothing but the seed and their number."""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import count
from math import cos, inf, pi
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ..blocks import fingerprint, locked, put_file
from ..conventions import (
    ConventionError,
    check_choice,
    check_count,
    check_not_negative,
    check_positive,
    check_seed,
)
from .networks import Network, fastest_precision, has_gpu
from .samples import Sample

STATE = "training.safetensors"
"""What a training is taken up from, in its folder."""
_WARM = 200  # steps in which the rate rises, at most, where it falls late
_LATE = 0.9  # share of the steps after which it does
_PACE = 8  # steps after which their number follows from the time that there is
_CLIP = 1.0
_AHEAD = {"cuda": 8}  # batches that are made at once, where steps take less time than they do
_LOOKED_AT = 4  # batches of unseen samples
_MOST_SEED = 2**63 - 1
_PLATEAUS = 4  # after which nothing is expected any more
_PROGRESS = ("fingerprint", "step", "steps", "losses", "looks", "seconds")


class Numbered(Protocol):
    """Samples by their number, each made of that and a seed alone."""

    def __getitem__(self, number: int) -> Any:
        """Return a sample."""


class Learnt(Protocol):
    """Samples put together, that a network learns from in a step."""

    def loss(self, network: Any) -> torch.Tensor:
        """Return how wrong a network is."""


Decline = Literal["cosine", "late", "plateau"]
"""How a learning rate falls; see `Schedule`."""
Drawn = TypeVar("Drawn", bound=Numbered)
Learner = TypeVar("Learner", bound=nn.Module)
Built = TypeVar("Built", bound=nn.Module, covariant=True)


class Design(Protocol[Built]):
    """What determines a network but for its weights."""

    def build(self) -> Built:
        """Return the network, with the first weights that torch draws."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a network learns.

    Attributes
    ----------
    minutes
        Minutes of training. The number of steps follows from the pace of the first ones; on a busy
        machine, better set `steps`.
    steps
        Number of steps, instead of `minutes`.
    batch
        Samples per step.
    learning_rate
        Highest learning rate, reached after a tenth of the steps.
    weight_decay
        Weight decay of AdamW.
    decline
        How the learning rate falls: along a `cosine`; `late`, in a line over the last tenth of the
        steps, so that longer trainings begin alike; or by half on each `plateau` of the loss on
        unseen data. The fourth plateau ends the training, and the weights of the lowest loss are
        taken.
    look_every
        Steps between two looks at unseen data; one always follows the last step.
    patience
        Looks without a lower loss that make a plateau.
    average
        Steps over which weights are averaged, exponentially.
    seed
        Seed of the first weights.
    """

    minutes: float = 30.0
    steps: int | None = None
    batch: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    decline: Decline = "cosine"
    look_every: int = 100
    patience: int = 3
    average: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("minutes", "learning_rate"):
            check_positive(name, getattr(self, name))
        check_not_negative("weight_decay", self.weight_decay)
        if check_seed(self.seed) > _MOST_SEED:
            msg = f"seed must be at most {_MOST_SEED}, as torch takes it; got {self.seed}"
            raise ConventionError(msg)
        check_choice("decline", self.decline, ("cosine", "late", "plateau"))
        for name in ("steps", "batch", "look_every", "patience", "average"):
            if (number := getattr(self, name)) is not None or name != "steps":
                check_count(name, number)

    @property
    def revision(self) -> int:
        """Of the weights that come of it: those of a `plateau` may be the last ones, too."""
        return 2 if self.decline == "plateau" else 1

    def plateaus(self, looks: Sequence[float]) -> int:
        """Return how often losses at successive looks have not fallen for long enough."""
        found, lowest, since = 0, inf, 0
        for loss in looks:
            since = 0 if loss < lowest else since + 1
            lowest = min(loss, lowest)
            if since == self.patience:
                found, since = found + 1, 0
        return found

    def rate(self, step: int, steps: int, looks: Sequence[float] = ()) -> float:
        """Return the learning rate of a step after some looks."""
        rise = max(steps // 10, 1)
        if self.decline == "late":
            rise = min(rise, _WARM)
        if step < rise:
            return self.learning_rate * (step + 1) / rise
        if self.decline == "plateau":
            return self.learning_rate * float(0.5 ** self.plateaus(looks))
        if self.decline == "late":
            return self.learning_rate * min((steps - step) / (steps * (1 - _LATE)), 1.0)
        return self.learning_rate * 0.5 * (1 + cos(pi * (step - rise) / (steps - rise)))


@dataclass(frozen=True)
class Batch:
    """Samples as tensors, with a leading dimension each."""

    images: torch.Tensor
    present: torch.Tensor
    distances: torch.Tensor
    offsets: torch.Tensor
    truth: torch.Tensor

    @classmethod
    def of(cls, samples: list[Sample], device: torch.device) -> "Batch":
        """Put samples together."""
        names = ("images", "present", "distances", "offsets", "truth")
        arrays = (np.stack([getattr(sample, name) for sample in samples]) for name in names)
        return cls(*(torch.from_numpy(array).to(device, non_blocking=True) for array in arrays))

    def logits(self, network: Network) -> torch.Tensor:
        """Return what a network says of all planes (batch, plane, y, x)."""
        windows = (*network.look(self.images), self.present, self.distances)
        # One batch of all planes: a window stands there once for each of them.
        each = (part.repeat_interleave(self.offsets.shape[1], dim=0) for part in windows)
        logits: torch.Tensor = network(*each, self.offsets.flatten())
        return logits.reshape(*self.offsets.shape, *logits.shape[1:])

    def loss(self, network: Network) -> torch.Tensor:
        """Return that of what the network says of all planes."""
        with autocast(self.truth.device):
            logits = self.logits(network)
        return phase_loss(logits.float(), self.truth)


class Training(Generic[Drawn, Learner]):
    """A network that learns, and all that is needed to take it up again.

    Parameters
    ----------
    architecture
        Of the network.
    samples
        What it learns from.
    schedule
        How.
    folder
        Where its state is kept.
    unseen
        What it does not learn from, but is looked at with; needed for a `plateau`.
    gather
        Puts samples together on a device.
    device
        Of torch.
    saved_every
        Seconds between states on the disk.
    ahead
        Batches that are made at once, by as many threads; by default 8 for a GPU, 1 otherwise.
    made_of
        Hash of what determines network and samples, where they are themselves computed by torch,
        whose last bits differ with the number of threads; by default they tell it.
    """

    def __init__(
        self,
        architecture: Design[Learner],
        samples: Drawn,
        schedule: Schedule,
        folder: Path,
        unseen: Numbered | None = None,
        gather: Callable[[list[Any], torch.device], Learnt] = Batch.of,
        device: str = "cpu",
        saved_every: float = 120.0,
        ahead: int | None = None,
        made_of: str | None = None,
    ) -> None:
        if unseen is None and schedule.decline == "plateau":
            msg = "decline 'plateau' needs unseen samples"
            raise ConventionError(msg)
        self.design, self.samples, self.schedule, self.folder = (
            architecture,
            samples,
            schedule,
            folder,
        )
        self.unseen, self._gather = unseen, gather
        self.device = torch.device(device)
        told = (architecture, samples) if made_of is None else (made_of,)
        self.fingerprint = fingerprint(*told, schedule, unseen, self.device.type)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(schedule.seed)
            self.network = architecture.build().to(self.device)
            self.averaged = architecture.build().to(self.device)
        self.averaged.load_state_dict(self.network.state_dict())
        self.best = deepcopy(self.averaged)
        self.looks: list[float] = []
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), weight_decay=schedule.weight_decay
        )
        self.step, self.steps, self.losses = 0, schedule.steps or 0, list[float]()
        self.seconds = 0.0
        self._saved_every = saved_every
        self._ahead = ahead or _AHEAD.get(self.device.type, 1)

    def run(self, tell: Callable[[int, int, float], None]) -> Learner:
        """Learn until the schedule ends, and return the network of averaged weights.

        Parameters
        ----------
        tell
            Called after each step with their number, how many there will be (0 while that is not
            known), and the mean loss of the last ones.

        Raises
        ------
        ConventionError
            If the folder holds the state of another training, or the loss is no number.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / "training.lock"):
            self.take_up()
            batches = self._batches()
            saved = time.monotonic()
            while not self.is_done:
                begun = time.monotonic()
                self.losses.append(self._learn(next(batches)))
                self.step += 1
                # The first step compiles and allocates; it does not tell the pace.
                self.seconds += (time.monotonic() - begun) if self.step > 1 else 0.0
                if not self.steps and self.step == _PACE:
                    self.steps = self._affordable()
                if self.step % self.schedule.look_every == 0 or self.is_done:
                    self._look()
                if time.monotonic() - saved > self._saved_every or self.is_done:
                    self._save()
                    saved = time.monotonic()
                tell(self.step, self.steps, self.loss)
        return self.best if self.schedule.decline == "plateau" else self.averaged

    @property
    def is_done(self) -> bool:
        """Whether all steps are made, or no more are worth it."""
        settled = self.schedule.decline == "plateau" and (
            self.schedule.plateaus(self.looks) >= _PLATEAUS
        )
        return settled or 0 < self.steps <= self.step

    @property
    def loss(self) -> float:
        """Mean of the last ones."""
        return float(np.mean(self.losses[-50:]))

    def _affordable(self) -> int:
        pace = self.seconds / (_PACE - 1)
        return max(int(60 * self.schedule.minutes / pace), _PACE + 1)

    def _batches(self) -> Iterator[Learnt]:
        """Iterate over batches from the present step on; the next ones are made meanwhile."""
        with ThreadPoolExecutor(self._ahead) as pool:
            numbers = count(self.step)
            make = partial(self._batch, samples=self.samples)
            waiting = deque(pool.submit(make, next(numbers)) for _ in range(self._ahead))
            while True:
                batch = waiting.popleft().result()
                waiting.append(pool.submit(make, next(numbers)))
                yield batch

    def _batch(self, step: int, samples: Numbered) -> Learnt:
        size = self.schedule.batch
        drawn = [samples[step * size + number] for number in range(size)]
        return self._gather(drawn, self.device)

    def _learn(self, batch: Learnt) -> float:
        rate = self.schedule.rate(self.step, self.steps or 10**6, self.looks)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        loss = batch.loss(self.network)
        _check_number(float(loss.detach()), f"step {self.step}")
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP)
        self.optimizer.step()
        self._average()
        return float(loss.detach())

    @torch.no_grad()
    def _look(self) -> None:
        """Note the loss of the averaged weights on unseen samples, always the same ones."""
        if self.unseen is None:
            return
        self.averaged.eval()
        batches = (self._batch(number, self.unseen) for number in range(_LOOKED_AT))
        loss = float(np.mean([float(batch.loss(self.averaged)) for batch in batches]))
        _check_number(loss, f"unseen data after step {self.step}")
        self.looks.append(loss)
        if min(self.looks) == self.looks[-1]:
            self.best.load_state_dict(self.averaged.state_dict())

    @torch.no_grad()
    def _average(self) -> None:
        # At first over all steps so far, so that the first weights are forgotten.
        kept = min(self.step / (self.step + 1), 1 - 1 / self.schedule.average)
        new = self.network.state_dict()
        for name, value in self.averaged.state_dict().items():
            if value.is_floating_point():
                value.lerp_(new[name], 1 - kept)
            else:
                value.copy_(new[name])

    def _state(self) -> dict[str, torch.Tensor]:
        state = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        state |= {f"averaged.{k}": v for k, v in self.averaged.state_dict().items()}
        if self.schedule.decline == "plateau":
            state |= {f"best.{k}": v for k, v in self.best.state_dict().items()}
        for number, values in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{number}.{k}": torch.as_tensor(v) for k, v in values.items()}
        return {k: v.detach().cpu().contiguous() for k, v in state.items()}

    def _save(self) -> None:
        progress = {name: getattr(self, name) for name in _PROGRESS}
        put_file(self.folder / STATE, save(self._state(), {"progress": json.dumps(progress)}))

    def take_up(self) -> None:
        """Go on from the state in the folder, if there is one.

        Raises
        ------
        ConventionError
            If it is that of another training, or damaged.
        """
        path = self.folder / STATE
        if not path.exists():
            return
        try:
            with safe_open(path, "pt") as file:
                progress = json.loads(file.metadata()["progress"])
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            msg = f"{path} is damaged: {error}; remove it to train anew"
            raise ConventionError(msg) from None
        if progress["fingerprint"] != self.fingerprint:
            msg = (
                f"{path} is the state of another training, of other data or parameters, or of "
                "another version of fibdask; remove it to train anew, or choose another output"
            )
            raise ConventionError(msg)
        for name in _PROGRESS:
            setattr(self, name, progress[name])
        for name in ("network", "averaged", "best"):
            if part := _part(state, name):
                getattr(self, name).load_state_dict(part)
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _part(state, "optimizer").items():
            number, key = name.split(".", 1)
            moments.setdefault(int(number), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _check_number(loss: float, place: str) -> None:
    if not np.isfinite(loss):
        msg = (
            f"the loss of {place} is {loss:g}: nothing can be learnt any more; "
            "lower the learning_rate"
        )
        raise ConventionError(msg)


def _part(state: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    begin = f"{name}."
    return {key.removeprefix(begin): v for key, v in state.items() if key.startswith(begin)}


def best_device() -> str:
    """Return the name of the device that trains fastest."""
    return "cuda" if has_gpu() else "cpu"


def phase_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return cross-entropy and Dice loss of logits and truth (batch, plane, y, x).

    Where the truth is NaN it is not known, and counts nowhere.
    """
    known = truth.isfinite()
    if not known.all():
        logits, truth = logits[known], truth[known]
    entropy = binary_cross_entropy_with_logits(logits, truth)
    solid = logits.sigmoid()
    both, sum_of = (solid * truth).sum(), solid.sum() + truth.sum()
    return entropy + 0.1 * (1 - 2 * both / sum_of.clamp(min=1.0))


def autocast(device: torch.device) -> torch.autocast:
    """Return a context of half precision where the device is faster in it."""
    fast = device.type == "cuda" or fastest_precision() == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)
