"""Networks on what differs from that which they have learnt from, and what is said of it.

make bench-robustness simulates small stacks by Monte Carlo, with one thing different in each, and
prints voxels that networks misplace (MP) on the slices and in the volume between them, how many
times the error of the model's card that is, what k-means makes of the slices, and whether the stack
is refused, warned of, or found fine, by `fibdask check` as well. Nobody is told how images were
made: `fine` and `warned` come of voltages, pixels, depths and grey values alone. What is refused is
shown to a copy of the model whose card knows no bounds; other voltages are shown as the nearest. At
last gaps between phases.
"""

import argparse
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy.ndimage import shift

import fibdask
from fibdask import (
    ConventionError,
    FibdaskWarning,
    add_brightness_drift,
    add_curtaining,
    add_noise,
    add_shifts,
    blur_edges,
    inpaint_gaps,
    load_model,
    mimic_milling,
    reposition_slices,
    segment_phases,
    simulate_images,
)
from fibdask.run.looking import (
    warn_of_detector,
    warn_of_steps,
    warn_of_surer_model,
    warn_of_tilt,
    warn_of_voltage,
)

SPACING = 2.5  # nm
GOLD = {"pore": "epoxy", "solid": "Au"}
KNOWN = np.array([1.0, 2.0, 4.0])  # kV
UNMILLED = 75.0  # nm, of what lies below the last slice
MANY = 3.0  # times the error of a card
Change = Callable[[xr.Dataset], xr.Dataset]


def waves(
    ligament: tuple[float, ...] = (110, 15),
    solid: tuple[float, ...] = (0.35, 0.35),
    pixel: float = SPACING,
    shape: tuple[int, int, int] = (90, 64, 80),
    seed: int = 11,
) -> xr.DataArray:
    """Return a structure of levelled waves."""
    return fibdask.hierarchical_levelled_wave(
        shape,
        voxel_size=(SPACING, pixel, pixel),
        ligament_size=ligament,
        solid_fraction=solid,
        seed=seed,
    ).compute()


def balls(*, solid: bool, shape: tuple[int, int, int] = (90, 64, 80)) -> xr.DataArray:
    """Return overlapping balls of pore, or of solid."""
    phase = fibdask.random_pores(
        shape,
        voxel_size=SPACING,
        pore_diameter=50,
        std_diameter=12,
        solid_fraction=0.7 if solid else 0.3,
        seed=11,
    ).compute()
    return phase.copy(data=(phase.values != solid).astype(np.uint8))


@dataclass(frozen=True)
class Case:
    """Images with something different.

    Attributes
    ----------
    structure
        Makes their structure.
    milling
        Mean and standard deviation of slices in nm.
    images
        Options of `simulate_images`.
    change
        What else is done to them.
    given
        Options that networks are given.
    """

    structure: Callable[[], xr.DataArray] = waves
    milling: tuple[float, float] = (10.16, 3.12)
    images: Mapping[str, Any] = field(default_factory=dict)
    change: Change = lambda stack: stack
    given: Mapping[str, Any] = field(default_factory=dict)

    def milled(self, phase: xr.DataArray) -> xr.Dataset:
        """Return the slices of a structure."""
        mean, std = self.milling
        if std:
            return mimic_milling(phase, mean_thickness=mean, std_thickness=std, seed=5)
        return phase[:: round(mean / SPACING)].to_dataset(name="phase")

    def made(self) -> tuple[xr.Dataset, xr.DataArray]:
        """Return the images with their truth, of which nothing is recorded, and the structure."""
        phase = self.structure()
        kept = phase[phase["z"] <= phase["z"][-1] - UNMILLED]
        options = {"voltage": KNOWN, "electrons_per_pixel": 50.0, "materials": GOLD}
        stack = simulate_images(
            phase,
            slices=self.milled(kept)["z"].values,
            gaussian_std=0,
            dtype="float32",
            seed=5,
            **options | self.images,
        )
        stack = _truth_moved(self.change(stack).compute())
        return stack.assign_attrs(provenance=[]), phase


def electrons(number: float) -> Case:
    """Return a case of more or fewer electrons on a pixel."""
    return Case(images={"electrons_per_pixel": number})


def pixels(size: float, count: int) -> Case:
    """Return a case of other pixels."""
    return Case(partial(waves, pixel=size, shape=(90, count, count)))


def solid_in(pore: str, solid: str) -> Case:
    """Return a case of other materials."""
    return Case(images={"materials": {"pore": pore, "solid": solid}})


def changed(function: Callable[..., xr.Dataset], **options: Any) -> Case:
    """Return a case of images that are changed afterwards."""
    return Case(change=partial(function, **options))


def declared(voltage: tuple[float, ...], as_: tuple[float, ...]) -> Case:
    """Return a case of images at voltages that are said to be others."""
    return Case(
        images={"voltage": voltage},
        change=lambda stack: stack.assign_coords(
            voltage=("voltage", list(as_), stack["voltage"].attrs)
        ).sortby("voltage"),
    )


def displaced(step: float) -> Case:
    """Return a case of slices that are not in register, large enough for that to be seen."""
    large = partial(waves, shape=(90, 192, 192))
    return Case(large, change=partial(add_shifts, step_std=step, seed=2))


CASES = {
    "as learnt from": Case(),
    **{f"{number} electrons a pixel": electrons(number) for number in (5, 10, 20, 150)},
    "noise of 10 % of white": changed(
        add_noise, electrons_per_pixel=None, gaussian_std=0.1, seed=1
    ),
    "noise of 20 % of white": changed(
        add_noise, electrons_per_pixel=None, gaussian_std=0.2, seed=1
    ),
    "0.8, 1.5 and 3 kV": Case(images={"voltage": (0.8, 1.5, 3.0)}),
    "1 kV said to be 4": declared((1.0,), (4.0,)),
    "4 kV said to be 1": declared((4.0,), (1.0,)),
    "2 kV said to be 4": declared((2.0,), (4.0,)),
    "1 and 4 kV swapped": declared((1.0, 2.0, 4.0), (4.0, 2.0, 1.0)),
    "pixels of 1.25 nm": pixels(1.25, 128),
    "pixels of 4 nm": pixels(4.0, 44),
    "pixels of 6 nm": pixels(6.0, 36),
    "ligaments of 60 and 8 nm": Case(partial(waves, ligament=(60, 8))),
    "ligaments of 200 and 30 nm": Case(partial(waves, ligament=(200, 30), seed=13)),
    "ligaments of 10 nm": Case(partial(waves, ligament=(10,), solid=(0.35,))),
    "ligaments of 30 nm": Case(partial(waves, ligament=(30,), solid=(0.35,))),
    "ligaments of 60 nm": Case(partial(waves, ligament=(60,), solid=(0.35,))),
    "solid fraction 0.04": Case(partial(waves, solid=(0.2, 0.2))),
    "solid fraction 0.30": Case(partial(waves, solid=(0.55, 0.55))),
    "solid fraction 0.56": Case(partial(waves, solid=(0.75, 0.75))),
    "silver in epoxy": solid_in("epoxy", "Ag"),
    "silicon in epoxy": solid_in("epoxy", "Si"),
    "aluminium in epoxy": solid_in("epoxy", "Al"),
    "gold in PMMA": solid_in("PMMA", "Au"),
    "gold in vacuum": solid_in("vacuum", "Au"),
    "pores like balls": Case(partial(balls, solid=False)),
    "solid like balls": Case(partial(balls, solid=True)),
    "beam of 8 nm": Case(images={"beam_diameter": 8.0}),
    "blur of 5 nm": changed(blur_edges, width=5.0),
    "blur of 10 nm": changed(blur_edges, width=10.0),
    "steps of 2.5 nm between slices": displaced(2.5),
    "steps of 5 nm between slices": displaced(5.0),
    "2.5 nm between voltages": changed(add_shifts, voltage_std=2.5, seed=2),
    "gain of 5 %": changed(add_brightness_drift, gain_std=0.05, offset_std=0.025, seed=3),
    "gain of 20 %": changed(add_brightness_drift, gain_std=0.2, offset_std=0.1, seed=3),
    "stripes of 10 %": changed(add_curtaining, strength=0.1, seed=4),
    "stripes of 30 %": changed(add_curtaining, strength=0.3, seed=4),
    "slices of 5 ± 1.5 nm": Case(milling=(5.0, 1.5)),
    "slices of 20 ± 6 nm": Case(milling=(20.0, 6.0)),
    "slices of 30 ± 9 nm": Case(milling=(30.0, 9.0)),
    "slices of 10 ± 0 nm": Case(milling=(10.0, 0.0)),
    "slices of 10 ± 6 nm": Case(milling=(10.16, 6.0)),
    "energy-filtered detector": Case(images={"detector": "icd"}),
    "surface tilted by 36°": Case(images={"tilt": 36.0}),
    "the same, and tilt = 36": Case(images={"tilt": 36.0}, given={"tilt": 36.0}),
}
GAPS = {
    "as learnt from": Case(partial(waves, shape=(96, 96, 96), seed=301)),
    "ligaments of 60 and 8 nm": Case(partial(waves, (60, 8), shape=(96, 96, 96))),
    "ligaments of 10 nm": Case(partial(waves, (10,), (0.35,), shape=(96, 96, 96))),
    "ligaments of 60 nm": Case(partial(waves, (60,), (0.35,), shape=(96, 96, 96))),
    "solid fraction 0.04": Case(partial(waves, solid=(0.2, 0.2), shape=(96, 96, 96))),
    "solid fraction 0.56": Case(partial(waves, solid=(0.75, 0.75), shape=(96, 96, 96))),
    "pores like balls": Case(partial(balls, solid=False, shape=(96, 96, 96))),
    "solid like balls": Case(partial(balls, solid=True, shape=(96, 96, 96))),
    "slices of 5 ± 1.5 nm": Case(partial(waves, shape=(96, 96, 96)), (5.0, 1.5)),
    "slices of 16 ± 5 nm": Case(partial(waves, shape=(96, 96, 96)), (16.0, 5.0)),
    "slices of 25 ± 8 nm": Case(partial(waves, shape=(96, 96, 96)), (25.0, 8.0)),
    "slices of 10 ± 0 nm": Case(partial(waves, shape=(96, 96, 96)), (10.0, 0.0)),
    "slices of 10 ± 6 nm": Case(partial(waves, shape=(96, 96, 96)), (10.16, 6.0)),
}


def _truth_moved(stack: xr.Dataset) -> xr.Dataset:
    """Return images with the truth where their slices lie; of several voltages, the first."""
    if "true_shift_y" not in stack.coords:
        return stack
    size = float(stack["x"][1] - stack["x"][0])
    by = np.stack([stack[f"true_shift_{axis}"].values[0] / size for axis in "yx"], axis=-1)
    planes = zip(stack["true_phase"].values, by, strict=True)
    moved = np.stack([shift(plane, move, order=0, mode="mirror") for plane, move in planes])
    return stack.assign(true_phase=(stack["true_phase"].dims, moved))


def lifted(name: str, folder: Path) -> str:
    """Return a copy of a model whose card knows no bounds of pixels and slices."""
    shutil.copytree(load_model(name).folder, folder / name)
    card = json.loads((folder / name / "card.json").read_text())
    card |= {"pixel_size": [0.01, 1000], "thickness": [0.01, 1000]}
    (folder / name / "card.json").write_text(json.dumps(card))
    return str(folder / name)


@dataclass(frozen=True)
class Asked:
    """A model by its name, a copy of it without bounds, and the errors of its card."""

    name: str
    unbounded: str
    errors: Mapping[str, Any]

    def errors_at(self, voltage: np.ndarray) -> Mapping[str, Any]:
        """Return what the card says of voltages, or of all where it does not know these."""
        conditions = self.errors["conditions"]
        return next((c for c in conditions if c["voltages"] == list(voltage)), self.errors)


@dataclass(frozen=True)
class Found:
    """The phase that a network finds, and what was said of the images meanwhile."""

    phase: xr.DataArray
    said: str


def at_known_voltages(stack: xr.Dataset) -> xr.Dataset:
    """Return images as if they were taken at the nearest voltages that models know."""
    if "voltage" not in stack.coords:
        return stack
    nearest = [KNOWN[np.abs(np.log(KNOWN / kv)).argmin()] for kv in stack["voltage"].values]
    return stack.assign_coords(voltage=("voltage", nearest, stack["voltage"].attrs))


def asked(make: Callable[..., xr.Dataset], stack: xr.Dataset, model: Asked) -> Found:
    """Ask a model; the copy without bounds where it does not fit."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            phase, said = make(stack, model=model.name)["phase"].compute(), "fine"
        except ConventionError:
            known = at_known_voltages(stack)
            phase, said = make(known, model=model.unbounded)["phase"].compute(), "refused"
    if said == "fine" and any(issubclass(w.category, FibdaskWarning) for w in caught):
        said = "warned"
    return Found(phase, said)


def wrong(phase: xr.DataArray, truth: np.ndarray) -> float:
    """Return misplaced voxels in %."""
    return float(100 * (phase.values != truth).mean())


def looked_at(
    stack: xr.Dataset, *, make: Callable[..., xr.Dataset], model: str, **options: Any
) -> xr.Dataset:
    """Ask a network for images, which are looked at as `fibdask check` does."""
    seen = {"model": model, "tilt": options.get("tilt", 0.0)}
    warn_of_steps(stack)
    warn_of_surer_model(stack, voltage=None, **seen)
    warn_of_tilt(stack, **seen)
    warn_of_detector(stack, **seen)
    warn_of_voltage(stack, **seen)
    return make(stack, model=model, **options)


segmented = partial(looked_at, make=segment_phases, method="network")
reconstructed = partial(looked_at, make=fibdask.reconstruct_volume, spacing=SPACING)


def of_images(case: Case, model: Asked) -> Iterator[tuple[str, ...]]:
    """Iterate over two parts of a row, of slices and of the volume; the last one is a verdict."""
    stack, structure = case.made()
    slices = asked(partial(segmented, **case.given), stack, model)
    error = wrong(slices.phase, stack["true_phase"].values)
    known = model.errors_at(stack["voltage"].values)
    yield (*told(error, known["on_slices"], slices.said),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FibdaskWarning)
        by_means = wrong(segment_phases(stack)["phase"].compute(), stack["true_phase"].values)
    yield (f"{by_means:.2f}",)
    if "true_shift_y" in stack.coords:  # of a volume that is sheared, the truth is not known
        yield "-", "-", "-"
        return
    volume = asked(partial(reconstructed, **case.given), stack, model)
    truth = structure.sel(z=volume.phase["z"].values, method="nearest")
    yield (*told(wrong(volume.phase, truth.values), known["misplaced"], volume.said),)


def of_gaps(case: Case, model: Asked) -> Iterator[tuple[str, ...]]:
    """Iterate over two parts of a row: of a network, and of distances."""
    structure = case.structure()
    stack = reposition_slices(case.milled(structure), spacing=SPACING).compute()
    filled = asked(partial(inpaint_gaps, method="network"), stack, model)
    truth = structure.sel(z=filled.phase["z"].values, method="nearest").values
    yield (*told(wrong(filled.phase, truth), model.errors["misplaced"], filled.said),)
    yield (f"{wrong(inpaint_gaps(stack, method='distance')['phase'].compute(), truth):.2f}",)


def told(error: float, known: float, said: str) -> tuple[str, str, str]:
    """Return an error, how many times that of the card it is, and what was said of it."""
    missed = " MISSED" if said == "fine" and error > MANY * known else ""
    return f"{error:.2f}", f"{error / known:.1f}", said + missed


def print_rows(
    title: str, cases: Mapping[str, Case], row: Callable[..., Iterator[tuple[str, ...]]], model: str
) -> None:
    """Print a row for each case, as soon as it is known."""
    print(title, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        asks = Asked(model, lifted(model, Path(folder)), load_model(model).card["errors"])
        for name, case in cases.items():
            cells = [cell for part in row(case, asks) for cell in part]
            print(f"  {name:32}", *(f"{cell:>9}" for cell in cells), flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", default="gold-windows", help="model of images")
    parser.add_argument("--phases", default="gap-phases", help="model of phases")
    parser.add_argument("--only", default="", help="cases whose names hold this")
    chosen = parser.parse_args()
    images, gaps = (
        {name: case for name, case in cases.items() if chosen.only in name}
        for cases in (CASES, GAPS)
    )
    head = "slices MP %, times the card's, said of it; k-means MP %; volume MP %, times, said"
    print_rows(head, images, of_images, chosen.images)
    print_rows(
        "gaps MP %, times the card's, said of it; distance MP %", gaps, of_gaps, chosen.phases
    )


if __name__ == "__main__":
    main()
