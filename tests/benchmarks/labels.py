"""A few painted slices: forest and network by their number and place, beside published figures.

make bench-labels simulates a membrane of 80 % porosity, 600 slices at 3 kV, whose pore backs shine
through some seven slices, with noise and with brightness that drifts over the depth, by the
analytic model of imaging. Of it 5 or 20 slices are painted as they truly are, the first ones
("initial") or evenly spread ("distributed"), none of them within five slices of those that are
judged by: 47, 434 and 598. The forest and the network say what is solid there; the network learns
for `--minutes` from the painted slices, from what the forest makes of more of them, or from the
weights of a model that ships, which knows gold at other voltages. The published figures are of
another, real membrane: their order is to be compared, not their digits.

Then it prints how long features and trees take for a million pixels, beside scikit-image and
scikit-learn, and how long it takes by three commands from images to a first result.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tifffile
import xarray as xr
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from fibdask import (
    add_brightness_drift,
    fit_forest,
    levelled_wave,
    open_stack,
    save_stack,
    segment_phases,
    simulate_images,
    train,
)
from fibdask.blocks import whole
from fibdask.run.cli import main as fibdask
from fibdask.run.labelling import most_doubted
from fibdask.segment.forest.features import Features
from fibdask.segment.forest.trees import Growth, Trees

VOXEL, SLICES, PIXELS = 10.0, 600, 160
JUDGED = (47, 434, 598)
SHIPPED = "gold-windows"
PUBLISHED = {
    (5, "initial"): (0.832, 0.837, 0.793),
    (5, "distributed"): (0.738, 0.758, 0.731),
    (20, "initial"): (0.912, 0.881, 0.863),
    (20, "distributed"): (0.914, 0.945, 0.892),
}


def membrane(folder: Path) -> xr.Dataset:
    """Return the stack, which is made once."""
    path = folder / "membrane.zarr"
    if not path.exists():
        solid = levelled_wave(
            (SLICES + 40, PIXELS, PIXELS),
            voxel_size=VOXEL,
            ligament_size=60,
            solid_fraction=0.2,
            seed=11,
        )
        images = simulate_images(
            solid,
            voltage=3,
            model="analytic",
            slices=VOXEL * np.arange(SLICES),
            electrons_per_pixel=40,
            materials={"pore": "epoxy", "solid": "Cu"},
            seed=5,
        )
        drifting = add_brightness_drift(
            images, gain_std=0.1, offset_std=0.03, persistence=60, seed=7
        )
        save_stack(drifting, path, pyramid=False)
    return open_stack(path)


def places(count: int, how: str) -> np.ndarray:
    """Return which slices are painted."""
    if how == "initial":
        return np.arange(count)
    even = SLICES // (count * 6) + SLICES * np.arange(count) // count
    near = np.abs(even[:, np.newaxis] - JUDGED).min(axis=1) < 6
    return even - 6 * near


def paint(stack: xr.Dataset, slices: Sequence[int], folder: Path) -> str:
    """Paint slices as they truly are."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in slices:
        assert min(abs(int(k) - judged) for judged in JUDGED) > 5
        tifffile.imwrite(folder / f"slice_{k:04}.tif", stack["true_phase"].values[k])
    return str(folder)


def judged(stack: xr.Dataset, volume: xr.DataArray) -> tuple[list[float], list[float]]:
    """Return accuracy and cross-entropy of probabilities at the slices that are judged by."""
    found = xr.concat([volume.isel(z=slice(k, k + 1)) for k in JUDGED], "z").values
    truth = stack["true_phase"].values[list(JUDGED)]
    likely = np.clip(np.where(truth == 1, found, 1 - found), 1 / 510, None)
    right = ((found > 0.5) == truth).mean(axis=(1, 2))
    return right.tolist(), (-np.log(likely).mean(axis=(1, 2))).tolist()


def row(name: str, figures: tuple[list[float], list[float]], seconds: float) -> None:
    """Print a row."""
    right, loss = (" ".join(f"{value:.3f}" for value in values) for values in figures)
    print(f"{name:44}{right}   {loss}   {seconds:5.0f} s", flush=True)


def forest(stack: xr.Dataset, labels: str, name: str) -> xr.DataArray:
    """Grow a forest, print its row, and return its probabilities."""
    begun = time.perf_counter()
    found = segment_phases(stack, method="random_forest", labels=labels)["solid_probability"]
    figures = judged(stack, found)
    row(f"forest, {name}", figures, time.perf_counter() - begun)
    return found


def network(
    stack: xr.Dataset, folder: Path, labels: str, name: str, minutes: float, **options: object
) -> None:
    """Train a network and print its row."""
    started = time.perf_counter()
    training = {"minutes": minutes, "look_every": 20, "decline": "cosine", "average": 20}
    begun = "begin" in options
    recipe: Mapping[str, object] = {
        "labels": {"stack": str(folder / "membrane.zarr"), "path": labels, **options},
        "network": {} if begun else {"widths": [24, 32, 48]},
        "samples": {"crop": 96},
        # What has learnt before is changed less in a step.
        "training": training | ({"learning_rate": 5e-4} if begun else {}),
        "output": {"path": str(folder / name.replace(" ", "-").replace(",", ""))},
    }
    model = train(recipe)
    found = segment_phases(stack, method="network", model=str(model))["solid_probability"]
    row(f"network, {name}", judged(stack, found), time.perf_counter() - started)


def accuracies(folder: Path, minutes: float) -> None:
    """Print the table of accuracies."""
    stack = membrane(folder)
    heads = " ".join(f"{k:5}" for k in JUDGED)
    print(f"{'accuracy and loss at slices':44}{heads}   {heads}")
    phase = segment_phases(stack, method="kmeans")["phase"].astype(float)
    row("k-means", judged(stack, phase), 0)
    painted = {
        (count, how): paint(stack, places(count, how), folder / f"{count}-{how}")
        for count, how in PUBLISHED
    }
    for (count, how), figures in PUBLISHED.items():
        name = f"{count} {how}"
        forest(stack, painted[count, how], name)
        shown = " ".join(f"{value:.3f}" for value in figures)
        print(f"{f'  published, {name}':44}{shown}", flush=True)
    doubted(stack, folder, painted[5, "distributed"])
    if minutes:
        print(
            f"networks learn for {minutes:g} minutes, on what this machine has to spare", flush=True
        )
        for key in ((5, "distributed"), (20, "distributed"), (20, "initial")):
            network(stack, folder, painted[key], f"painted {key[0]} {key[1]}", minutes)
        for key in ((5, "distributed"), (20, "distributed")):
            name = f"fine-tuned, {key[0]} {key[1]}"
            network(stack, folder, painted[key], name, minutes, begin=SHIPPED)
        taught = {"teacher": "forest", "taught": 40}
        name = "from forest, 5 distributed"
        network(stack, folder, painted[5, "distributed"], name, minutes, **taught)


def doubted(stack: xr.Dataset, folder: Path, labels: str) -> None:
    """Print what 10 slices are worth: 5 more where the forest of 5 is in doubt, or evenly."""
    forest(stack, paint(stack, places(10, "distributed"), folder / "10"), "10 distributed")
    first = places(5, "distributed")
    grown = fit_forest(stack, labels=labels).save(folder / "forest")
    found = segment_phases(stack, method="random_forest", model=str(grown))
    # Every 20th slice tells where doubts are; those that are judged by are not painted.
    looked = np.arange(0, SLICES, 20)
    planes = xr.concat(
        [found["solid_probability"].isel(z=slice(k, k + 1)) for k in looked], "z"
    ).compute()
    free = np.abs(looked[:, np.newaxis] - JUDGED).min(axis=1) > 5
    cut = np.unique(np.searchsorted(looked, first).clip(0, len(looked) - 1))
    free[cut] = False
    chosen = looked[[one.slice for one in most_doubted(planes, cut, free, 5)]]
    more = paint(stack, [*first, *chosen], folder / "5-and-5")
    forest(stack, more, "5 distributed and 5 most in doubt")


def throughput() -> None:
    """Print seconds for a million pixels of ours and of scikit-image with scikit-learn."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (1, 9, 512, 512), np.uint8)
    z = VOXEL * np.arange(9)
    scales = [VOXEL * scale for scale in (1, 2, 4, 8)]
    features = Features.of(scales, (VOXEL, VOXEL), z, np.ones(9, bool), image.shape)
    region = (slice(3, 6), *whole((512, 512)))
    ends = np.array([[0.0, 255.0]])
    shown = [made.reshape(len(made), -1).copy() for _, made in features.planes(image, region, ends)]
    truth = rng.integers(0, 2, 20000)
    trees = Trees.of(Growth().grow(shown[0][:, :20000].T.copy(), truth, 2), 2)
    trees.probabilities(shown[0][:, :1000].copy())
    begun = time.process_time()
    for _, made in features.planes(image, region, ends):
        trees.probabilities(made.reshape(len(made), -1))
    ours = (time.process_time() - begun) / (3 * 512**2 / 1e6)
    given = {"sigma_min": 1, "sigma_max": 8, "num_sigma": 4, "workers": 1}
    theirs = HistGradientBoostingClassifier(max_iter=100, max_depth=6, early_stopping=False)
    found = multiscale_basic_features(image[0, 0], **given)
    theirs.fit(found.reshape(-1, found.shape[-1])[:20000], truth)
    begun = time.process_time()
    found = multiscale_basic_features(image[0, 0], **given)
    with threadpool_limits(1):
        theirs.predict_proba(found.reshape(-1, found.shape[-1]))
    other = (time.process_time() - begun) / (512**2 / 1e6)
    print(
        f"features and trees, s of one core for a million pixels: fibdask {ours:.2f} "
        f"({features.count} features, 100 trees), scikit-image and scikit-learn {other:.2f} "
        f"({found.shape[-1]} features, as many trees): {other / ours:.1f} times",
        flush=True,
    )


def first_result(folder: Path) -> None:
    """Print how long three commands take: images in, five slices of 512² to paint, the phase."""
    stack = levelled_wave(
        (70, 512, 512), voxel_size=VOXEL, ligament_size=60, solid_fraction=0.2, seed=3
    )
    images = simulate_images(
        stack,
        voltage=3,
        model="analytic",
        slices=VOXEL * np.arange(30),
        materials={"pore": "epoxy", "solid": "Cu"},
        seed=5,
    ).compute()
    tifffile.imwrite(folder / "images.tif", images["intensity"].values[0], photometric="minisblack")
    store, out = str(folder / "stack.zarr"), folder / "paint"
    recipe = folder / "forest.toml"
    recipe.write_text(
        '[input]\npath = "stack.zarr"\n[segment]\nmethod = "random_forest"\nlabels = "paint"\n'
    )
    geometry = ("--voltage", "3", "--pixel-size", "10", "--slice-thickness", "10")
    seconds = []
    for command in (
        ["import", str(folder / "images.tif"), store, *geometry, "--quiet"],
        ["labels", store, str(out), "--slices", "5", "--quiet"],
        ["run", str(recipe), "--quiet"],
    ):
        begun = time.perf_counter()
        fibdask(command)
        seconds.append(time.perf_counter() - begun)
        for file in (out / "images").glob("*.tif"):
            k = int(file.stem.split("_")[1])
            tifffile.imwrite(out / "labels" / file.name, images["true_phase"].values[k] + 1)
    found = open_stack(folder / "forest-out/segment.zarr")["phase"].values
    right = (found == images["true_phase"].values).mean()
    print(
        f"30 slices of 512² from images to phase: {' + '.join(f'{s:.0f}' for s in seconds)} s; "
        f"{100 * right:.1f} % of voxels are right"
    )


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each network; 0 for none")
    parser.add_argument("--only", choices=("accuracy", "speed", "first"))
    parser.add_argument("--folder", type=Path, help="to keep what is made")
    given = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if given.only in (None, "speed"):
            throughput()
        if given.only in (None, "accuracy"):
            accuracies(folder, given.minutes)
        if given.only in (None, "first"):
            first_result(folder)


if __name__ == "__main__":
    main()
