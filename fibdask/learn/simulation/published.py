"""The published way to images without Monte Carlo, which ours is held against; none ships.

A small network learns how many electrons come back from a bulk under a layer of epoxy, of its
atomic number, the energy of the beam and the depth. What it says of the slices below a face,
normalised, weighs them into a grey image. (The articles make it more alike by a CycleGAN.)

References
----------
T. Sardhara et al., Nanomanufacturing and Metrology 7 (2024) 4, and chapter 6 of the thesis.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import nn

from ...conventions import AXES, attributes
from ...simulate import simulate_images
from ...simulate.electrons.materials import MATERIALS
from ...simulate.images.imaging import WHITE

DEPTHS = np.arange(0.0, 200.0, 10.0)
"""Thicknesses of epoxy in nm, as published."""
_HIDDEN = (16, 32, 32, 32)
_SCALES = (79.0, 5.0, 190.0)  # of atomic number, kV and nm, so that all are below about 1
_STEP = 2.5  # nm, of the planes that electrons are followed through
_SIDE = 4  # pixels, mirrored at the sides: a layer without end
_BATCH = 8


def buried_coefficients(
    solid: str, voltage: float, depths: Sequence[float], electrons: int, seed: int
) -> np.ndarray:
    """Return shares that come back from a bulk under layers of epoxy, by Monte Carlo (depth).

    Parameters
    ----------
    solid
        Name of the material.
    voltage
        In kV.
    depths
        Thicknesses of the layers in nm, multiples of 2.5.
    electrons
        For each depth.
    seed
        Of them.
    """
    return np.array(
        [
            _buried(solid, voltage, round(depth / _STEP), electrons, seed + number)
            for number, depth in enumerate(depths)
        ]
    )


def buried_phase(planes: int, side: int = _SIDE) -> xr.DataArray:
    """Return a half-space of solid below planes of pore of 2.5 nm, phase (z, y, x)."""
    shape = (planes + 1, side, side)
    phase = np.zeros(shape, np.uint8)
    phase[planes] = 1  # and all below
    coords = {
        axis: (axis, np.arange(n) * _STEP, attributes(axis) | {"spacing": _STEP})
        for axis, n in zip(AXES, shape, strict=True)
    }
    return xr.DataArray(phase, coords, AXES, attrs=attributes("phase"))


def _buried(solid: str, voltage: float, planes: int, electrons: int, seed: int) -> float:
    stack = simulate_images(
        buried_phase(planes),
        voltage=voltage,
        slices=[0.0],
        materials={"pore": "epoxy", "solid": solid},
        electrons_per_pixel=electrons / _SIDE**2,
        gaussian_std=0.0,
        dtype="float32",
        seed=seed,
        device="cpu",
    )
    return float(stack["intensity"].mean()) * WHITE


@dataclass(frozen=True, eq=False)
class BuriedTable:
    """What the network learns.

    Attributes
    ----------
    given
        Atomic number, voltage in kV and depth in nm (row, 3).
    coefficient
        Share of the electrons that comes back (row).
    """

    given: np.ndarray
    coefficient: np.ndarray

    @classmethod
    def simulated(
        cls, solids: Sequence[str], voltages: Sequence[float], electrons: int, seed: int
    ) -> "BuriedTable":
        """Simulate all solids at all voltages under all `DEPTHS`."""
        given, found = [], []
        for solid in solids:
            for voltage in voltages:
                number = MATERIALS[solid].atomic_number
                given += [(number, voltage, depth) for depth in DEPTHS]
                found.append(buried_coefficients(solid, voltage, DEPTHS.tolist(), electrons, seed))
        return cls(np.array(given), np.concatenate(found))


class BuriedNetwork(nn.Module):
    """Says which share of the electrons comes back, of atomic number, voltage and depth."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (3, *_HIDDEN)
        layers: list[nn.Module] = []
        for given, made in zip(sizes, _HIDDEN, strict=False):
            layers += [nn.Linear(given, made), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(_HIDDEN[-1], 1))

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Return shares (row) of what is given (row, 3)."""
        found: torch.Tensor = self.layers(given / given.new_tensor(_SCALES))[:, 0]
        return found


def train_buried(table: BuriedTable, epochs: int, seed: int) -> BuriedNetwork:
    """Train the network by the mean square error in batches of 8, as published."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = BuriedNetwork()
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        given = torch.tensor(table.given, dtype=torch.float32)
        wanted = torch.tensor(table.coefficient, dtype=torch.float32)
        for _ in range(epochs):
            order = torch.randperm(len(given))
            for rows in order.split(_BATCH):  # type: ignore[no-untyped-call]
                loss = (network(given[rows]) - wanted[rows]).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return network.eval()


@torch.inference_mode()
def weighted_slices(
    network: BuriedNetwork, phase: xr.DataArray, plane: int, solid: str, voltage: float
) -> np.ndarray:
    """Return the grey image of a face, 0 of pore and 1 of solid, float32 (y, x).

    Parameters
    ----------
    network
        That says what slices weigh.
    phase
        Of the structure (z, y, x).
    plane
        The imaged one; of those below, as many count as lie less than 150 nm deep in steps of
        10 nm, 15 slices as published.
    solid
        Name of its material.
    voltage
        In kV.
    """
    depths = DEPTHS[:15]
    z = phase["z"].values
    planes = np.minimum(np.searchsorted(z, z[plane] + depths - 1e-6), len(z) - 1)
    number = MATERIALS[solid].atomic_number
    given = torch.tensor([(number, voltage, depth) for depth in depths], dtype=torch.float32)
    weights = network(given).numpy()
    weights -= weights.min()  # what is left is the epoxy's own
    return np.asarray(np.tensordot(weights / weights.sum(), phase.values[planes], 1), np.float32)
