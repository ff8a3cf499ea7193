"""Pairs for networks of images: what lies below faces, and how many electrons came back from them.

Structures of several kinds, materials, pixels and voltages are drawn, each from a seed and its
number, and imaged by Monte Carlo with few electrons: over many pairs their noise cancels out.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from io import BytesIO
from math import ceil, nan
from pathlib import Path

import numpy as np
import xarray as xr

from ...blocks import locked, put_file
from ...conventions import AXES, ConventionError, attributes
from ...simulate import hierarchical_levelled_wave, levelled_wave, random_pores, simulate_images
from ...simulate.images.imaging import WHITE
from ...simulate.images.layers import Layers, half_contrast_depth

SOLIDS, PORES = ("Au", "Ag", "Cu", "Al", "Si"), ("epoxy", "PMMA", "vacuum")
_SOLIDS_DRAWN, _PORES_DRAWN = (0.34, 0.2, 0.2, 0.14, 0.12), (0.4, 0.25, 0.35)  # how often each
VOLTAGES = 0.8, 5.0
"""Least and most that networks are trained for, in kV."""
PIXELS = 1.8, 4.4
"""Least and most pixel size in nm; pixels may be longer along one axis by `ASPECT`."""
ASPECT = 1.3
_BEYOND = 1.06  # times voltages beyond those that are promised are learnt from
_PLANES = 160  # of a structure below its faces, at most
_VACUUM_DEPTH = 600.0  # nm of structures with empty pores
_WAVES = 60
STEPS = 255
"""Of what is seen, as it is stored."""
_RECORD = "pairs.json"
_REVISION = 3  # of how scenes are drawn and imaged


@dataclass(frozen=True)
class Scenes:
    """Structures that are drawn, each with some images.

    Attributes
    ----------
    count
        Of structures.
    side
        Pixels along y and x.
    images
        Of each structure: each of a voltage and a face of its own.
    electrons_per_pixel
        Of each image.
    seed
        Of all of it.
    """

    count: int = 260
    side: int = 128
    images: int = 4
    electrons_per_pixel: float = 24.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("count", "side", "images", "electrons_per_pixel"):
            if (number := getattr(self, name)) < 1:
                msg = f"{name} must be at least 1; got {number}"
                raise ConventionError(msg)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Images of a structure, with what lies below each face.

    Attributes
    ----------
    seen
        Below each face, as `Layers.look` returns it, uint8 of 255 (image, layer, y, x).
    counts
        Of detected electrons, uint16 (image, y, x).
    voltage
        Of the images in kV.
    pixel_size
        Along y and x in nm.
    materials
        Of pore and solid.
    electrons
        On each pixel, on average.
    """

    seen: np.ndarray
    counts: np.ndarray
    voltage: np.ndarray
    pixel_size: tuple[float, float]
    materials: tuple[str, str]
    electrons: float


@dataclass(frozen=True)
class PairStore:
    """Pairs of scenes in a folder, a file for each: what is there is not made again.

    Attributes
    ----------
    folder
        Of the files, and of a record of what determines them.
    scenes
        That are drawn.
    layers
        That are looked at.
    """

    folder: Path
    scenes: Scenes
    layers: Layers

    def make(self, tell: Callable[[int, int, float], None]) -> None:
        """Simulate what is missing.

        Parameters
        ----------
        tell
            Called after each scene with their number, how many there are, and NaN.

        Raises
        ------
        ConventionError
            If the folder holds other pairs.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / "pairs.lock"):
            self._check_record()
            for number in range(self.scenes.count):
                if not self._file(number).exists():
                    pairs = make_pairs(self.scenes, number, self.layers)
                    content = BytesIO()
                    np.savez_compressed(content, **asdict(pairs))
                    put_file(self._file(number), content.getvalue())
                tell(number + 1, self.scenes.count, nan)

    def __getitem__(self, number: int) -> Pairs:
        """Read the pairs of a scene."""
        with np.load(self._file(number)) as file:
            found = {name: file[name] for name in file.files}
        names = "pixel_size", "materials"
        lists = {name: tuple(found[name].tolist()) for name in names}
        return Pairs(**found | lists | {"electrons": float(found["electrons"])})

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:05d}.npz"

    def _check_record(self) -> None:
        """Refuse a folder of other pairs; more scenes of the same kind may be added."""
        told = asdict(self.scenes) | asdict(self.layers) | {"revision": _REVISION}
        del told["count"]
        content = json.dumps(told, indent=1) + "\n"
        record = self.folder / _RECORD
        if record.exists() and json.loads(record.read_text()) != json.loads(content):
            msg = f"{self.folder} holds other pairs, see {record.name}; remove it to make these"
            raise ConventionError(msg)
        put_file(record, content.encode())


def make_pairs(scenes: Scenes, number: int, layers: Layers) -> Pairs:
    """Draw a structure and simulate its images."""
    rng = np.random.default_rng((scenes.seed, number))
    materials = (
        str(rng.choice(PORES, p=_PORES_DRAWN)),
        str(rng.choice(SOLIDS, p=_SOLIDS_DRAWN)),
    )
    vacuum = materials[0] == "vacuum"
    low, high = np.log(VOLTAGES[0] / _BEYOND), np.log(VOLTAGES[1] * _BEYOND)
    voltage = np.exp(rng.uniform(low, high, scenes.images))
    phase = draw_structure(rng, scenes.side, float(voltage.max()), layers, vacuum=vacuum)
    planes = rng.integers(0, max(phase.sizes["z"] // 4, 1), scenes.images)
    pixel_size = float(phase["y"][1] - phase["y"][0]), float(phase["x"][1] - phase["x"][0])
    seen, counts = (
        np.stack([of(kv, plane) for kv, plane in zip(voltage, planes, strict=True)])
        for of in (
            partial(_look, layers, phase, pixel_size, vacuum),
            partial(_count, phase, materials, scenes, number),
        )
    )
    return Pairs(seen, counts, voltage, pixel_size, materials, scenes.electrons_per_pixel)


def _look(
    layers: Layers,
    phase: xr.DataArray,
    pixel_size: tuple[float, float],
    vacuum: bool,
    voltage: float,
    plane: int,
) -> np.ndarray:
    """Return what is seen below a face, uint8 of 255 (layer, y, x)."""
    z = phase["z"].values
    weights = layers.weights(z, plane, voltage, vacuum=vacuum)
    below = slice(plane, plane + len(weights))
    depths = z[below] - z[plane]
    seen = layers.look(phase.values[below], depths, weights, voltage, pixel_size, vacuum=vacuum)
    return np.asarray(np.rint(seen * STEPS), np.uint8)


def _count(
    phase: xr.DataArray,
    materials: tuple[str, str],
    scenes: Scenes,
    number: int,
    voltage: float,
    plane: int,
) -> np.ndarray:
    """Return how many electrons each pixel of a face scatters back, uint16 (y, x)."""
    stack = simulate_images(
        phase,
        voltage=voltage,
        slices=[float(phase["z"][plane])],
        materials=dict(zip(("pore", "solid"), materials, strict=True)),
        electrons_per_pixel=scenes.electrons_per_pixel,
        gaussian_std=0.0,
        dtype="float32",
        seed=scenes.seed * 10**6 + number,
        device="cpu",
    )
    white = scenes.electrons_per_pixel * WHITE
    return np.asarray(np.rint(stack["intensity"].values[0, 0] * white), np.uint16)


def draw_structure(
    rng: np.random.Generator, side: int, voltage: float, layers: Layers, *, vacuum: bool
) -> xr.DataArray:
    """Draw a structure as deep as is seen at a voltage in kV, phase (z, y, x).

    A part of them has uneven planes, of whole multiples of the least distance.
    """
    x = float(np.exp(rng.uniform(*np.log(PIXELS))))
    y = x * float(rng.uniform(1, ASPECT) if rng.random() < 0.25 else 1)
    depth = float(layers.depths(voltage, vacuum=vacuum)[-1])
    depth = 1.25 * (_VACUUM_DEPTH if vacuum else depth) + 20
    z = max(float(np.exp(rng.uniform(np.log(1.5), np.log(6.0)))), depth / _PLANES)
    shape = (ceil(depth / z), side, side)
    kinds = (_waves, _hierarchy, _spheres, _terraces)
    draw = kinds[int(rng.choice(len(kinds), p=(0.3, 0.35, 0.15, 0.2)))]
    phase: xr.DataArray = draw(rng, shape, (z, y, x), half_contrast_depth(voltage)).compute()
    if rng.random() < 0.2:
        steps = rng.integers(1, 6, len(phase["z"]))
        planes = np.append(0, np.cumsum(steps))
        phase = phase.isel(z=planes[planes < len(phase["z"])])
    return phase


def _waves(
    rng: np.random.Generator, shape: tuple[int, ...], voxel: tuple[float, ...], _: float
) -> xr.DataArray:
    return levelled_wave(
        shape,
        voxel_size=voxel,
        ligament_size=float(np.exp(rng.uniform(np.log(12), np.log(150)))),
        solid_fraction=float(rng.uniform(0.1, 0.65)),
        seed=int(rng.integers(2**31)),
        waves=_WAVES,
    )


def _hierarchy(
    rng: np.random.Generator, shape: tuple[int, ...], voxel: tuple[float, ...], _: float
) -> xr.DataArray:
    return hierarchical_levelled_wave(
        shape,
        voxel_size=voxel,
        ligament_size=(float(rng.uniform(50, 150)), float(rng.uniform(12, 30))),
        solid_fraction=tuple(float(share) for share in rng.uniform(0.3, 0.7, 2)),
        seed=int(rng.integers(2**31)),
        waves=_WAVES,
    )


def _spheres(
    rng: np.random.Generator, shape: tuple[int, ...], voxel: tuple[float, ...], _: float
) -> xr.DataArray:
    """Return spherical pores, or spheres of solid."""
    share = float(rng.uniform(0.15, 0.65))
    phase = random_pores(
        shape,
        voxel_size=voxel,
        pore_diameter=float(np.exp(rng.uniform(np.log(20), np.log(150)))),
        solid_fraction=share,
        seed=int(rng.integers(2**31)),
    )
    return phase if rng.random() < 0.5 else (1 - phase).astype(np.uint8)


def _terraces(
    rng: np.random.Generator, shape: tuple[int, ...], voxel: tuple[float, ...], scale: float
) -> xr.DataArray:
    """Return patches of slabs: each begins at a depth of its own, and so does one below it.

    Their depths and thicknesses count in units of `scale` in nm.
    """
    patches = int(rng.integers(1, 12))
    centres = rng.uniform(0, 1, (patches, 2)) * shape[1:]
    places = np.indices(shape[1:])[:, np.newaxis] - centres.T[:, :, np.newaxis, np.newaxis]
    nearest = (places**2).sum(axis=0).argmin(axis=0)
    gaps = scale * rng.uniform(0, 1.5, (2, patches)) * (rng.random((2, patches)) < 0.75)
    slabs = scale * np.exp(rng.uniform(np.log(0.03), np.log(4), (2, patches)))
    depths = (np.arange(shape[0])[:, np.newaxis] + 0.5) * voxel[0]
    first, end = gaps[0], gaps[0] + slabs[0]
    second, last = end + gaps[1], end + gaps[1] + slabs[1]
    solid = ((depths >= first) & (depths < end)) | ((depths >= second) & (depths < last))
    solid &= rng.random(patches) < 0.9
    coords = {
        axis: (axis, np.arange(n) * size, attributes(axis) | {"spacing": size})
        for axis, n, size in zip(AXES, shape, voxel, strict=True)
    }
    return xr.DataArray(solid[:, nearest].astype(np.uint8), coords, AXES, attrs=attributes("phase"))
