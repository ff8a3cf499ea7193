"""Registration where structure shines through, by each voltage and by what a network finds.

make bench-align prints it at last: images of gold in epoxy by Monte Carlo, with the beam normal to
the face and tilted by 36°, moved by a random walk of 2.5 nm a slice. Of the shifts that are
estimated, the root mean square error in pixels of 2.5 nm, as they are and without their straight
line over z, and the slope along y in pixels a slice: structure that lies deeper shows at other
places of a tilted beam, and goes on doing so from slice to slice.
"""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from fibdask import (
    add_shifts,
    estimate_shifts,
    hierarchical_levelled_wave,
    mimic_milling,
    segment_phases,
    simulate_images,
)

PIXEL = 2.5  # nm
UNMILLED = 75.0  # nm
STRUCTURES = {"110 and 15 nm": ((110.0, 15.0), (0.35, 0.35)), "60 nm": ((60.0,), (0.35,))}


def moved_images(ligament: tuple[float, ...], solid: tuple[float, ...], tilt: float) -> xr.Dataset:
    """Return images whose shifts are known."""
    phase = hierarchical_levelled_wave(
        (110, 128, 160), voxel_size=PIXEL, ligament_size=ligament, solid_fraction=solid, seed=11
    ).compute()
    kept = phase[phase["z"] <= phase["z"][-1] - UNMILLED]
    slices = mimic_milling(kept, mean_thickness=10.16, std_thickness=3.12, seed=5)
    images = simulate_images(
        phase,
        slices=slices,
        voltage=(1, 2, 4),
        electrons_per_pixel=25,
        gaussian_std=0,
        dtype="float32",
        seed=5,
        tilt=tilt,
    )
    return add_shifts(images.compute(), step_std=PIXEL, seed=3).compute()


def registered(stack: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """Iterate over what images are registered by, and the shifts that are found."""
    for kilovolts in (1.0, 4.0):
        found = estimate_shifts(stack, reference_voltage=kilovolts)
        yield f"1, 2 and 4 kV, onto {kilovolts:g} kV", found
    for kilovolts in (1.0, 2.0, 4.0):
        yield f"{kilovolts:g} kV alone", estimate_shifts(stack.sel(voltage=[kilovolts]))
    solid = segment_phases(stack, method="network")["solid_probability"].compute()
    one = stack.isel(voltage=[0])
    grey = one["intensity"].copy(data=solid.values[np.newaxis])
    yield "solid that a network finds", estimate_shifts(one.assign(intensity=grey))


def errors(found: xr.Dataset, known: xr.Dataset) -> tuple[float, float, float]:
    """Return rms errors in pixels, without their line over z too, and the slope along y."""
    error = np.stack(
        [found[f"shift_{a}"].values[0] + known[f"true_shift_{a}"].values[0] for a in "yx"], axis=-1
    )
    error = (error - error.mean(axis=0)) / PIXEL
    number = np.arange(len(error))
    line = np.polyfit(number, error, 1)
    rest = error - number[:, np.newaxis] * line[0] - line[1]
    rms, straight = (float(np.sqrt(np.square(e).sum(-1).mean())) for e in (error, rest))
    return rms, straight, float(line[0, 0])


def print_shine_through() -> None:
    """Print the table."""
    heads = ("rms px", "no line", "slope y")
    print("shine-through".ljust(52), *(head.rjust(8) for head in heads))
    for name, (ligament, solid) in STRUCTURES.items():
        for tilt in (0.0, 36.0):
            known = moved_images(ligament, solid, tilt)
            for by, found in registered(known):
                label = f"{name}, tilt {tilt:g}°, {by}"
                row = errors(found, known)
                print(label.ljust(52), *(f"{value:8.2f}" for value in row), flush=True)


if __name__ == "__main__":
    print_shine_through()
