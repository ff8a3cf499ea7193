"""Images by the network that ships beside Monte Carlo: errors, depths, seconds; the published way.

python -m tests.benchmarks.learned [--side N] [--electrons N] [--network NAME] [--timed N]
    [--translation STEPS]

Structures are hierarchical gold and plain waves of other materials, of seeds that no network has
learnt from. Errors are in % of white, the contrast between the bulks of solid and pore. Monte Carlo
has noise: its part in the mean error is told beside it, and the root mean square is told without.
With --translation, a CycleGAN of so many steps makes weighted slices of gold into images by Monte
Carlo of another structure, without pairs: the published way as a whole. Seconds are those of some
slices of 512 x 512 pixels in one process on one core, and what 512 of them would take on two.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from fibdask import hierarchical_levelled_wave, levelled_wave, load_model, simulate_images
from fibdask.learn.adaptation.target import Target
from fibdask.learn.adaptation.translation import (
    CycleDesign,
    UnpairedBatch,
    UnpairedSamples,
    translated,
)
from fibdask.learn.simulation.published import (
    BuriedTable,
    buried_coefficients,
    buried_phase,
    train_buried,
    weighted_slices,
)
from fibdask.learn.training import Schedule, Training
from fibdask.pieces.windows import SliceWindow
from fibdask.simulate import backscatter_coefficient
from fibdask.simulate.images.imaging import WHITE

FACES = range(0, 60, 4)  # planes that the published way learns from
VOLTAGES = (1.0, 2.0, 4.0)
KNOWN = {1.0: 7.0, 2.0: 23.0, 4.0: 88.0}  # half-contrast depths in nm of gold under epoxy
GOLD = {"pore": "epoxy", "solid": "Au"}
SEED = 101
PIXEL = 2.5
ROOT = (2 / np.pi) ** 0.5  # mean of the absolute values of a normal distribution, of its std
CLEAN = {"gaussian_std": 0.0, "dtype": "float32", "seed": SEED, "device": "cpu"}


def structures(side):
    """Iterate over unseen structures, with their materials."""
    gold = hierarchical_levelled_wave((140, side, side), voxel_size=PIXEL, seed=SEED).compute()
    yield gold, GOLD
    for number, (pore, solid) in enumerate([("PMMA", "Ag"), ("epoxy", "Cu"), ("vacuum", "Au")]):
        wave = levelled_wave(
            (140, side, side),
            voxel_size=PIXEL,
            ligament_size=30,
            solid_fraction=0.4,
            seed=SEED + number,
        )
        yield wave.compute(), {"pore": pore, "solid": solid}


def bulks(materials, voltage):
    """Return the coefficients of pore and solid."""
    return [
        backscatter_coefficient(name, beam_energy_kev=voltage, electrons=300_000, seed=SEED)
        for name in (materials["pore"], materials["solid"])
    ]


def judged(said, counted, electrons, contrast, solid):
    """Return errors in %: mean, its part that is noise, root mean square without, means."""
    wrong = said - counted
    variance = counted.mean() / electrons
    std = np.sqrt(np.maximum(counted, 1 / electrons) / electrons)
    rms = np.sqrt(max(np.square(wrong).mean() - variance, 0))
    means = [wrong[part].mean() for part in (solid, ~solid)]
    return [100 * v / contrast for v in (np.abs(wrong).mean(), ROOT * std.mean(), rms, *means)]


def show_errors(side, electrons, network, table, steps):
    """Print the errors of images of a face of each structure at each voltage."""
    print(
        f"{'':26}{'mean |error|':>14}{'noise in it':>14}{'rms without':>14}{'solid':>9}{'pore':>9}"
    )
    ann = train_buried(table, epochs=300, seed=SEED)
    cycle = translator(ann, side, electrons, steps) if steps else None
    for phase, materials in structures(side):
        name = f"{materials['solid']} in {materials['pore']}"
        solid = phase.values[0] > 0
        made = translated(cycle, weighted(ann, phase, [0])) if cycle and materials == GOLD else None
        for v, voltage in enumerate(VOLTAGES):
            options = CLEAN | {"voltage": voltage, "slices": [0.0], "materials": materials}
            seen = simulate_images(phase, electrons_per_pixel=electrons, **options)
            counted = seen.intensity.values[0, 0] * WHITE
            learned = {"model": "learned", "network": network, "electrons_per_pixel": None}
            said = simulate_images(phase, **learned, **options).intensity.values[0, 0] * WHITE
            pore, bright = bulks(materials, voltage)
            grey = weighted_slices(ann, phase, 0, materials["solid"], voltage)
            shown = {"network": said, "ANN": pore + (bright - pore) * grey}
            if made is not None:
                shown["CycleGAN"] = pore + (bright - pore) * made[v, 0]
            for title, image in shown.items():
                errors = judged(image, counted, electrons, bright - pore, solid)
                told = "".join(f"{e:14.2f}" for e in errors[:3])
                told += "".join(f"{e:+9.2f}" for e in errors[3:])
                print(f"{name:14}{voltage:g} kV {title:9}{told}", flush=True)


def weighted(ann, phase, planes):
    """Return images of faces of gold by the network of the articles (voltage, face, y, x)."""
    return np.stack(
        [
            [weighted_slices(ann, phase, plane, "Au", voltage) for plane in planes]
            for voltage in VOLTAGES
        ]
    )


def translator(ann, side, electrons, steps):
    """Return networks that have learnt to make weighted slices look like Monte Carlo, unpaired."""
    one, other = (
        hierarchical_levelled_wave(
            (140, side, side), voxel_size=PIXEL, seed=SEED + 10 + k
        ).compute()
        for k in range(2)
    )
    faces = other["z"].values[list(FACES)].tolist()
    options = CLEAN | {"voltage": VOLTAGES, "slices": faces, "electrons_per_pixel": electrons}
    seen = simulate_images(other, **options)["intensity"].values * WHITE
    ends = np.array([bulks(GOLD, voltage) for voltage in VOLTAGES])
    pore, bright = (end[:, np.newaxis, np.newaxis, np.newaxis] for end in ends.T)
    looks = [weighted(ann, one, FACES), ((seen - pore) / (bright - pore)).astype(np.float32)]
    window, z = SliceWindow(1, 1), np.arange(len(FACES)) * 4 * PIXEL
    source, target = (Target(images, z, window, PIXEL) for images in looks)
    drawn = {"window": window, "crop": min(128, side), "planes": 1, "seed": SEED}
    samples = UnpairedSamples(source=source, target=target, **drawn)
    schedule = Schedule(steps=steps, batch=1, learning_rate=2e-4, decline="late", seed=SEED)
    with TemporaryDirectory() as folder:
        training = Training(
            CycleDesign(len(VOLTAGES)), samples, schedule, Path(folder), gather=UnpairedBatch.of
        )
        return training.run(lambda *_: None).to_target


def half_depth(depths, coefficients):
    """Return the depth at which half of the contrast is left."""
    contrast = coefficients - coefficients[-1]
    below = int(np.argmax(contrast < contrast[0] / 2))
    left = contrast[below - 1 : below + 1]
    share = (left[0] - contrast[0] / 2) / (left[0] - left[1])
    return float(depths[below - 1] + share * (depths[below] - depths[below - 1]))


def show_depths(network, electrons):
    """Print at which depths gold under epoxy shows with half of its contrast."""
    print(f"\n{'half-contrast depth, nm':24}{'known':>10}{'Monte Carlo':>14}{'network':>10}")
    for voltage, known in KNOWN.items():
        step = 2.5 if voltage < 4 else 10.0
        depths = np.append(np.arange(0, 1.6 * known, step), 5 * np.ceil(0.6 * known) * 1.0)
        options = CLEAN | {"voltage": voltage, "slices": [0.0], "electrons_per_pixel": None}
        learned = {"model": "learned", "network": network}
        said = [
            float(
                simulate_images(buried_phase(round(d / 2.5), 64), **learned, **options).intensity[
                    0, 0, 32, 32
                ]
            )
            for d in depths
        ]
        counted = buried_coefficients("Au", voltage, depths.tolist(), electrons, SEED)
        found = [half_depth(depths, np.array(values)) for values in (counted, said)]
        print(f"{voltage:22g} kV{known:10g}{found[0]:14.1f}{found[1]:10.1f}", flush=True)


def show_seconds(network, slices, electrons=100):
    """Print how long some slices take, and what 512 would."""
    print(f"\n{'512 x 512, seconds':24}{'a slice':>10}{'512 on 2 cores':>16}")
    phase = hierarchical_levelled_wave((130, 512, 512), voxel_size=PIXEL, seed=SEED).compute()
    for voltage in VOLTAGES:
        for model, count in (("learned", slices), ("monte_carlo", 1)):
            options = CLEAN | {"voltage": voltage, "electrons_per_pixel": electrons}
            options |= {"model": model} | ({"network": network} if model == "learned" else {})
            faces = phase.z.values[: count + 1]
            simulate_images(phase, slices=faces[:1], **options).compute(scheduler="synchronous")
            begun = time.perf_counter(), time.process_time()
            stack = simulate_images(phase, slices=faces[1:], **options)
            stack.intensity.compute(scheduler="synchronous")
            wall = (time.perf_counter() - begun[0]) / count
            own = (time.process_time() - begun[1]) / count
            told = f"{wall:10.2f}{256 * wall:16.0f}"
            print(f"{voltage:g} kV {model:19}{told}   ({own:.2f} s of a core a slice)", flush=True)


def main():
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--electrons", type=int, default=400)
    parser.add_argument("--network", default="auto")
    parser.add_argument("--timed", type=int, default=4)
    parser.add_argument("--translation", type=int, default=0, help="Steps of a CycleGAN.")
    given = parser.parse_args()
    if given.network != "auto":
        load_model(given.network)
    table = BuriedTable.simulated(("Au", "Ag", "Cu"), VOLTAGES, 20_000, SEED)
    show_errors(given.side, given.electrons, given.network, table, given.translation)
    show_depths(given.network, 200_000)
    show_seconds(given.network, given.timed)


if __name__ == "__main__":
    main()
