"""How far simulated images can be told from recorded ones, and by what.

make bench-two_sample describes patches of both by features of noise, sharpness, grey values and
texture. Their nearest neighbours and a forest learn to tell them apart, judged by slices that they
have not seen: 0.5 is chance, 1 is always. The floor is how well two halves of the recorded images
are told apart. Without arguments, the recorded images are simulated too, spoilt by blur, noise,
drift and another grey scale that the simulation is not told of: it is compared plain, and with what
`simulation_options` measures. `--real STORE --simulated STORE` compares others.
"""

import argparse
from pathlib import Path

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter, laplace
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fibdask
from fibdask import add_brightness_drift, add_noise, simulate_stack, simulation_options
from fibdask.simulate import scale_brightness

PATCH = 32  # pixels
FOLDS = 4
SCALES = (1.0, 2.0, 4.0)
SHAPE = (72, 160, 160)
STRUCTURE = {"shape": SHAPE, "ligament_size": (45.0,), "solid_fraction": (0.4,)}
SLICES = {"mean_thickness": 10.0, "std_thickness": 0.0, "voltage": (2.0,), "model": "analytic"}


def features(patch: np.ndarray) -> dict[str, float]:
    """Return what a patch (y, x) of grey values from 0 to 1 is like."""
    found = {f"quantile {q:g}": float(np.quantile(patch, q)) for q in (0.02, 0.25, 0.5, 0.75, 0.98)}
    found["noise"] = float(np.median(np.abs(laplace(laplace(patch)))))
    smooth = [patch, *(gaussian_filter(patch, scale) for scale in SCALES)]
    names = ("0 to 1", "1 to 2", "2 to 4")
    for name, fine, coarse in zip(names, smooth[:-1], smooth[1:], strict=True):
        found[f"texture of {name} pixels"] = float((fine - coarse).std())
    for scale, image in zip(SCALES, smooth[1:], strict=True):
        slope = np.hypot(*np.gradient(image))
        found[f"steepest edges at {scale:g} pixels"] = float(np.quantile(slope, 0.98))
    return found


def described(stack: xr.Dataset) -> tuple[list[dict[str, float]], list[int]]:
    """Return features of all patches of the lowest voltage, and the slices that they are of."""
    image = stack["intensity"].values[0]
    white = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
    rows, slices = [], []
    for k, one in enumerate(image):
        for y in range(0, one.shape[0] - PATCH + 1, PATCH):
            for x in range(0, one.shape[1] - PATCH + 1, PATCH):
                rows.append(features(one[y : y + PATCH, x : x + PATCH] / white))
                slices.append(k)
    return rows, slices


def told_apart(first: xr.Dataset, second: xr.Dataset) -> tuple[float, float, list[str]]:
    """Return the accuracy of neighbours and of a forest, and what the forest looks at most."""
    described_first, described_second = described(first), described(second)
    rows = described_first[0] + described_second[0]
    names = list(rows[0])
    table = np.array([[row[name] for name in names] for row in rows])
    whose = np.repeat([0, 1], [len(described_first[0]), len(described_second[0])])
    groups = np.concatenate([described_first[1], described_second[1]])
    folds = GroupKFold(FOLDS)
    neighbours = make_pipeline(StandardScaler(), KNeighborsClassifier(9))
    forest = RandomForestClassifier(200, min_samples_leaf=3, random_state=0)
    accuracies = [
        float((cross_val_predict(model, table, whose, groups=groups, cv=folds) == whose).mean())
        for model in (neighbours, forest)
    ]
    weights = forest.fit(table, whose).feature_importances_
    most = [f"{names[i]} ({weights[i]:.2f})" for i in np.argsort(weights)[::-1][:3]]
    return accuracies[0], accuracies[1], most


def recorded() -> xr.Dataset:
    """Return images that stand in for recorded ones."""
    made = simulate_stack(
        **STRUCTURE, **SLICES, electrons_per_pixel=300.0, gaussian_std=0.0, blur_width=4.0, seed=1
    )
    made = scale_brightness(made, contrast=0.7, brightness=0.1)
    made = add_noise(made, electrons_per_pixel=80.0, gaussian_std=0.02, seed=2)
    return add_brightness_drift(made, gain_std=0.03, offset_std=0.01, seed=3).compute()


def told(name: str, first: xr.Dataset, second: xr.Dataset) -> None:
    """Print how far two stacks are told apart."""
    neighbours, forest, most = told_apart(first, second)
    print(f"{name:28} neighbours {neighbours:.3f}  forest {forest:.3f}  by {', '.join(most)}")


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, help="Store of recorded images.")
    parser.add_argument("--simulated", type=Path, help="Store of simulated ones.")
    given = parser.parse_args()
    real = fibdask.open_stack(given.real).compute() if given.real else recorded()
    half = real.sizes["x"] // 2
    told("real against real", real.isel(x=slice(0, half)), real.isel(x=slice(half, None)))
    if given.simulated:
        told("simulated", real, fibdask.open_stack(given.simulated).compute())
        return
    plain = simulate_stack(**STRUCTURE, **SLICES, seed=9).compute()
    told("simulated", real, plain)
    options = simulation_options(real, model="analytic")
    like = simulate_stack(**STRUCTURE, model="analytic", **options, seed=9).compute()
    told("simulated like it", real, like)


if __name__ == "__main__":
    main()
