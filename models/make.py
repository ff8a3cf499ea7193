"""Makes the models that ship, from nothing, and copies them into the package.

Simulates what networks learn from and are judged by, trains them as the recipes beside this file
say, and judges them. An interrupted run goes on where it was. With `--minutes`, all of it is made
in about these, of which each step gets its share of what is left: trainings are shorter, and where
electrons take long, there are fewer to learn from.
"""

import argparse
import json
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from shutil import copyfile, rmtree
from typing import Any

import xarray as xr

import fibdask

HERE = Path(__file__).parent
SHIPPED = HERE.parent / "fibdask" / "learn" / "models"
FILES = ("weights.safetensors", "test_pair.safetensors", "card.json")
JOURNAL = "made.json"
TRAINED = 0.8  # share of the minutes of a step in which its network learns; in others it is judged
LEAST = 0.25  # minutes of a training
ELECTRONS = 60
SLICE = 10.0  # nm, mean thickness of those that are simulated


@dataclass(frozen=True)
class Step:
    """A recipe, and the minutes that two cores without half precision need for it.

    Attributes
    ----------
    name
        Of the recipe.
    minutes
        Of the whole step.
    least
        Planes or pairs to which what is simulated may be cut; none where it may not be.
    """

    name: str
    minutes: float
    least: int | None = None

    def read(self, folder: Path) -> dict[str, Any]:
        """Return the recipe."""
        return tomllib.loads((folder / f"{self.name}.toml").read_text(encoding="utf-8"))


STEPS = (
    Step("gold-unseen", 10),
    *(Step(f"gold-{number}", 10, least=100) for number in range(1, 7)),
    *(
        Step(f"other-{name}", 10, least=100)
        for name in ("aluminium", "dense", "detector", "vacuum")
    ),
    Step("windows", 70),
    Step("windows-2", 60),
    Step("windows-3", 30),
    Step("windows-4", 125),
    Step("windows-5", 100),
    Step("porous", 75),
    Step("phases", 15),
    Step("simulation", 110, least=60),
    Step("layers", 25),
)
"""In this order: some begin with what others made."""


@dataclass
class Journal:
    """What has been made in a number of minutes, kept in a file.

    Attributes
    ----------
    path
        Of the file.
    minutes
        For all steps; none where recipes are followed.
    pace
        Electrons per minute, in the simulation of images.
    given
        Minutes that each step has got, by its name.
    taken
        Minutes that it took, by its name.
    done
        Steps that are done.
    """

    path: Path
    minutes: float | None
    pace: float = 0.0
    given: dict[str, float] = field(default_factory=dict)
    taken: dict[str, float] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path, minutes: float | None) -> "Journal":
        """Read that of as many minutes, or begin one, and no training where others were."""
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if kept.pop("minutes", minutes) != minutes:
            kept = {}
            for state in path.parent.glob("*-model/state"):
                rmtree(state)
        return cls(path, minutes, **kept)

    def save(self) -> None:
        """Keep it."""
        kept = {name: value for name, value in vars(self).items() if name != "path"}
        self.path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")

    def share(self, step: Step, steps: tuple[Step, ...]) -> float:
        """Return the minutes of a step: its part of those left, as large as among steps left."""
        if self.minutes is None:
            return step.minutes
        if step.name not in self.given:
            left = max(self.minutes - sum(self.taken.values()), 0.0)
            rest = sum(one.minutes for one in steps if one.name not in self.done)
            self.given[step.name] = left * step.minutes / rest
        return self.given[step.name]

    @contextmanager
    def timed(self, step: Step) -> Iterator[None]:
        """Add the minutes that a step takes, also one that is interrupted."""
        begun = time.monotonic()
        try:
            yield
            self.done = list(dict.fromkeys([*self.done, step.name]))
        finally:
            minutes = (time.monotonic() - begun) / 60
            self.taken[step.name] = self.taken.get(step.name, 0.0) + minutes
            self.save()


def electrons_per_minute() -> float:
    """Return how many electrons this machine simulates, by images of a small structure."""
    images(8).compute()  # what is compiled once, is
    measured = images(128)
    begun = time.monotonic()
    measured.compute()
    return 60 * ELECTRONS * measured.size / (time.monotonic() - begun)


def images(side: int) -> xr.DataArray:
    """Return some as the recipes simulate them, lazily."""
    phase = fibdask.levelled_wave(
        (80, side, side), voxel_size=2.5, ligament_size=50, solid_fraction=0.5, seed=1
    )
    planes = [10, 30, 50, 70]
    stack = fibdask.simulate_images(
        phase, slices=planes, voltage=[1, 2, 4], electrons_per_pixel=ELECTRONS, seed=1
    )
    intensity: xr.DataArray = stack.intensity
    return intensity


def cut_stack(recipe: dict[str, Any], electrons: float, least: int) -> None:
    """Leave as many planes of the structure as electrons suffice for."""
    simulated = recipe["simulate"]
    planes, height, width = simulated["shape"]
    depth = simulated["unmilled"] + electrons / electrons_of_slice(simulated) * SLICE
    simulated["shape"] = [cut(planes, depth / simulated["voxel_size"], least), height, width]


def electrons_of_slice(simulated: Mapping[str, Any]) -> float:
    """Return how many electrons the images of a slice take."""
    pixels: int = simulated["shape"][1] * simulated["shape"][2]
    return pixels * len(simulated["voltage"]) * float(simulated["electrons_per_pixel"])


def cut_pairs(recipe: dict[str, Any], electrons: float, least: int) -> None:
    """Leave as many pairs of structure and images as electrons suffice for."""
    pairs = recipe["pairs"]
    each, unseen = electrons_of_pairs(pairs)
    pairs["count"] = cut(pairs["count"], (electrons - unseen) / each, least)


def electrons_of_pairs(pairs: Mapping[str, Any]) -> tuple[float, float]:
    """Return how many electrons a pair takes, and all those that judge."""
    pixels = pairs.get("images", 4) * pairs.get("side", 128) ** 2
    unseen = pairs["unseen_electrons"] * pairs["unseen_count"]
    return pixels * float(pairs["electrons_per_pixel"]), pixels * float(unseen)


def cut(whole: int, suffices: float, least: int) -> int:
    """Return a number that is no more than what suffices, where that is not too few."""
    return min(whole, max(int(suffices), least))


def least_minutes(folder: Path, steps: tuple[Step, ...], pace: float) -> float:
    """Return the minutes of what cannot be cut: simulations, and the shortest trainings."""
    minutes = 0.0
    for step in steps:
        recipe = step.read(folder)
        if simulated := recipe.get("simulate"):
            planes = step.least or simulated["shape"][0]
            slices = (planes * simulated["voxel_size"] - simulated["unmilled"]) / SLICE
            minutes += slices * electrons_of_slice(simulated) / pace
            continue
        minutes += LEAST
        if pairs := recipe.get("pairs"):
            each, unseen = electrons_of_pairs(pairs)
            minutes += ((step.least or pairs["count"]) * each + unseen) / pace
    return minutes


def make_step(step: Step, folder: Path, journal: Journal, steps: tuple[Step, ...]) -> None:
    """Make what a recipe says, in its share of the minutes."""
    recipe, share = step.read(folder), journal.share(step, steps)
    journal.save()
    limited = journal.minutes is not None
    if "simulate" in recipe:
        if limited and step.least:
            cut_stack(recipe, share * journal.pace, step.least)
        recipe["output"] |= {"path": f"{step.name}-out"}
        with fibdask.local_cluster() as client:
            fibdask.run_recipe(recipe, client=client, quiet=False)
        return
    if limited and step.least:  # half for what is learnt from, half for learning
        share /= 2
        cut_pairs(recipe, share * journal.pace, step.least)
    minutes = max(TRAINED * share, LEAST) if limited else None
    fibdask.train(recipe, minutes=minutes, output_path=f"{step.name}-model", quiet=False)


def ship(model: Path, shipped: Path) -> None:
    """Copy a model to those of the package, under the name that its card says."""
    card = json.loads((model / "card.json").read_text(encoding="utf-8"))
    folder = shipped / card["name"]
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        copyfile(model / name, folder / name)


def make(
    folder: Path, shipped: Path, minutes: float | None, steps: tuple[Step, ...] = STEPS
) -> Mapping[str, float]:
    """Make all steps from recipes in a folder, and return the minutes that each took."""
    journal = Journal.open(folder / JOURNAL, minutes)
    with chdir(folder):  # to which the paths in recipes are relative
        if minutes is not None and not journal.pace:
            journal.pace = electrons_per_minute()
            least = least_minutes(folder, steps, journal.pace)
            if least > minutes:
                print(f"{minutes:g} minutes are too few: the least takes some {least:.0f} here")
        for step in steps:
            with journal.timed(step):
                make_step(step, folder, journal, steps)
            if (model := folder / f"{step.name}-model").is_dir():
                ship(model, shipped)
            print(f"{step.name}: {journal.taken[step.name]:.1f} minutes", flush=True)
    return journal.taken


def make_films() -> None:
    """Make the tables of films that the package holds."""
    fibdask.simulate_films(HERE / "films.npz", layers=[("Al", 200), ("Au", 20)], substrate="Si")
    tables = HERE.parent / "fibdask" / "microtomography" / "data"
    copyfile(HERE / "films.npz", tables / "aluminium_gold_silicon.npz")


def main() -> None:
    """Make what the command asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, help="for all of it; by default as recipes say")
    minutes = parser.parse_args().minutes
    if minutes is not None and not 0 < minutes < inf:
        parser.error(f"minutes must be finite and > 0; got {minutes:g}")
    print(f"minutes together: {sum(make(HERE, SHIPPED, minutes).values()):.1f}")
    if minutes is None:
        make_films()
    print(fibdask.list_models())


if __name__ == "__main__":
    main()
