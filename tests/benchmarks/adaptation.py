"""Models fitted without labels to images that they never saw, against their truth.

make bench-adaptation makes small stacks in domains that the shipped model was not trained for, some
by Monte Carlo, some by the attenuation model, some spoilt by artefacts. It adapts the model to each
and prints misplaced voxels (MP, % of the slices) of the given model, of what the label-free score
has chosen and of each candidate, isotropy errors of the two-point correlation before and after, and
seconds of a core; at last how the ranks of scores agree with those of true errors, and a table of
domains and methods: the best candidate by its score that needs no training, self-training,
simulated images like those of the domain, and the published way, a CycleGAN. No truth is used but
to judge, and what networks learn from is made of what they see. Stacks are kept in --out.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import spearmanr

import fibdask
from fibdask import (
    add_brightness_drift,
    add_curtaining,
    add_noise,
    blur_edges,
    isotropy_errors,
    save_stack,
    simulate_images,
)
from fibdask.conventions import build_stack
from fibdask.learn.adaptation.candidates import Fitting
from fibdask.learn.adaptation.target import Target
from fibdask.run.training.adapting import best
from tests.benchmarks.robustness import SPACING

SHAPE = (80, 112, 112)
UNMILLED = 75.0  # nm
THICKNESS = 10.0  # nm
ELECTRONS = 30.0
METHODS = ("parent", "statistics", "self_training", "simulation", "translation")
STEPS = {"self-training": 60, "simulation": 240, "translation": 100}
Change = Callable[[xr.Dataset], xr.Dataset]


def waves(ligament: tuple[float, ...], solid: tuple[float, ...]) -> xr.DataArray:
    """Return a structure of levelled waves."""
    return fibdask.hierarchical_levelled_wave(
        SHAPE, voxel_size=SPACING, ligament_size=ligament, solid_fraction=solid, seed=77
    ).compute()


def pores() -> xr.DataArray:
    """Return a block of solid with round pores, which is no wave."""
    return fibdask.random_pores(
        SHAPE, voxel_size=SPACING, pore_diameter=60, std_diameter=15, solid_fraction=0.4, seed=77
    ).compute()


@dataclass(frozen=True)
class Domain:
    """Images with something that the model was not trained for.

    Attributes
    ----------
    structure
        Makes their structure.
    images
        Options of `simulate_images`, by Monte Carlo unless they say another model.
    of
        Name of the domain whose images are changed instead.
    change
        What is done to them.
    """

    structure: Callable[[], xr.DataArray]
    images: Mapping[str, Any] = field(default_factory=dict)
    of: str | None = None
    change: Change = lambda stack: stack

    def simulated(self) -> xr.Dataset:
        """Return the images and their truth, lazily."""
        phase = self.structure()
        kept = phase[phase["z"] <= phase["z"][-1] - UNMILLED]
        faces = kept["z"].values[:: round(THICKNESS / SPACING)]
        options: dict[str, Any] = {"voltage": [1.0, 2.0, 4.0], "electrons_per_pixel": ELECTRONS}
        options |= self.images
        return simulate_images(phase, slices=faces, gaussian_std=0.02, seed=5, **options)


def darker(stack: xr.Dataset, *, gamma: float) -> xr.Dataset:
    """Return images of a detector whose grey values are a power of the signal."""
    grey = 255 * (stack["intensity"].astype(np.float32) / 255) ** gamma
    return stack.assign(
        intensity=grey.round().astype(np.uint8).assign_attrs(stack["intensity"].attrs)
    )


def smeared(stack: xr.Dataset) -> xr.Dataset:
    """Return images of blurred edges, with noise that is not."""
    blurred = blur_edges(stack, width=4.0)
    return add_noise(blurred, electrons_per_pixel=None, gaussian_std=0.05, seed=3)


KNOWN = "as learnt from"
FAST = {"model": "analytic"}
GOLD = partial(waves, (110, 15), (0.35, 0.35))
DRIFTS = {"gain_std": 0.1, "offset_std": 0.05, "gradient_std": 0.1}
DOMAINS = {
    KNOWN: Domain(GOLD),
    "blur and noise": Domain(GOLD, of=KNOWN, change=smeared),
    "drift and illumination": Domain(
        GOLD, of=KNOWN, change=partial(add_brightness_drift, **DRIFTS, seed=3)
    ),
    "curtains": Domain(GOLD, of=KNOWN, change=partial(add_curtaining, strength=0.08, seed=3)),
    "non-linear contrast": Domain(GOLD, of=KNOWN, change=partial(darker, gamma=0.5)),
    "beam of 5 nm": Domain(GOLD, {"beam_diameter": 5.0}),
    "Browning's scattering": Domain(GOLD, {"elastic": "browning"}),
    "attenuation model": Domain(GOLD, FAST),
    "low-loss detector": Domain(GOLD, FAST | {"detector": "icd"}),
    "silver": Domain(GOLD, FAST | {"materials": {"pore": "epoxy", "solid": "Ag"}}),
    "ligaments of 45 nm": Domain(partial(waves, (45,), (0.3,)), FAST),
    "round pores": Domain(pores, FAST),
}


def made(name: str, folder: Path) -> xr.Dataset:
    """Return a domain, simulated unless it is stored; nothing is recorded of how."""
    domain = DOMAINS[name]
    path = folder / f"{(domain.of or name).replace(' ', '-')}.zarr"
    if not path.exists():
        save_stack(DOMAINS[domain.of or name].simulated(), path)
    stack = domain.change(fibdask.open_stack(path).compute()).compute()
    return stack.assign_attrs(provenance=[])


def isotropy(said: np.ndarray, target: Target) -> float:
    """Return the isotropy error of the two-point correlation of what is said of slices."""
    phase = build_stack(
        {"phase": (said > 0.5).astype(np.uint8)},
        z=target.z,
        pixel_size=(target.pixel, target.pixel),
        nominal_thickness=THICKNESS,
    )["phase"]
    return float(isotropy_errors(phase, max_lag=8)["two_point_correlation"])


def row(name: str, stack: xr.Dataset, folder: Path, steps: Mapping[str, int]) -> dict[str, Any]:
    """Return errors of the candidates of a domain, their scores, and what was chosen."""
    model = fibdask.load_model("gold-windows")
    target = Target.of(model, stack)
    state = folder / f"state-{name.replace(' ', '-')}"
    found, seconds = [], {}
    began = time.process_time()
    for one in Fitting(model, target, state, steps, seed=0).candidates():
        found.append(one)
        seconds[one.name] = time.process_time() - began - sum(seconds.values())
    truth = middle(stack["true_phase"], target)
    wrong = {one.name: 100 * float(((one.said > 0.5) != truth).mean()) for one in found}
    totals = [one.score.total for one in found]
    chosen = best(found)
    return {
        "before": wrong["parent"],
        "after": wrong[chosen.name],
        "isotropy": [isotropy(one.said, target) for one in (found[0], chosen)],
        "truth": isotropy(truth.astype(np.float32), target),
        "chosen": chosen.name,
        "wrong": wrong,
        "scores": {one.name: one.score.told() for one in found},
        "rank": float(spearmanr(totals, list(wrong.values())).statistic),
        "seconds": seconds,
    }


def methods(found: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return the MP of each method in a domain, and its seconds beyond those of the others."""
    of = {
        method: [name for name in found["wrong"] if method_of(name) == method] for method in METHODS
    }
    table = {}
    for method, names in of.items():
        if names:
            least = min(names, key=lambda name: found["scores"][name]["total"])
            table[method] = found["wrong"][least], sum(found["seconds"][name] for name in names)
    return table


def method_of(candidate: str) -> str:
    """Return the method that a candidate was made by."""
    if candidate in ("parent", "translation"):
        return candidate
    if candidate.endswith("self-trained"):
        return "self_training"
    return "simulation" if "simulated" in candidate else "statistics"


def middle(volume: xr.DataArray, target: Target) -> np.ndarray:
    """Return the part of a volume (z, y, x) that a target shows."""
    parts = []
    for n, shown in zip(volume.shape, (len(target), *target.images.shape[-2:]), strict=True):
        start = (n - shown) // 2
        parts.append(slice(start, start + shown))
    return np.asarray(volume.values[tuple(parts)])


def told(name: str, found: Mapping[str, Any]) -> str:
    """Return a line of the table."""
    change = 100 * (found["after"] / found["before"] - 1)
    before, after = found["isotropy"]
    seconds = sum(found["seconds"].values())
    each = ", ".join(f"{key} {value:.2f}" for key, value in found["wrong"].items())
    return (
        f"{name:24} MP {found['before']:6.3f} → {found['after']:6.3f} ({change:+5.1f} %)  "
        f"isotropy {before:.4f} → {after:.4f} (truth {found['truth']:.4f})  "
        f"rank {found['rank']:+.2f}  {seconds:4.0f} s  {found['chosen']} [{each}]"
    )


def main() -> None:
    """Adapt the model to every domain, and print what that brought."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench-adaptation"))
    parser.add_argument("--domains", nargs="*", default=list(DOMAINS), help="Names of some.")
    for method, steps in STEPS.items():
        parser.add_argument(f"--{method}", type=int, default=steps, help="Steps; 0 for none.")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    steps = {method: getattr(given, method) for method in METHODS[2:] if getattr(given, method)}
    rows = {}
    for name in given.domains:
        rows[name] = row(name, made(name, given.out), given.out, steps)
        print(told(name, rows[name]), flush=True)
        (given.out / "results.json").write_text(json.dumps(rows, indent=1))
    changes = [100 * (one["after"] / one["before"] - 1) for one in rows.values()]
    ranks = [one["rank"] for one in rows.values()]
    print(
        f"MP changes by {np.median(changes):+.1f} % in the median, {max(changes):+.1f} % at worst; "
        f"rank correlation of score and error {np.median(ranks):.2f} in the median"
    )
    print(f"\n{'MP in %, seconds':24}" + "".join(f"{method:>20}" for method in METHODS))
    for name, found in rows.items():
        table = methods(found)
        cells = (f"{table[m][0]:.3f}{table[m][1]:7.0f} s" if m in table else "" for m in METHODS)
        print(f"{name:24}" + "".join(f"{cell:>20}" for cell in cells))


if __name__ == "__main__":
    main()
