"""Tables of backscatter from films, by fibdask's own electrons: made once, then interpolated."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib.resources import files
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any
from zipfile import BadZipFile
from zlib import error as ZlibError

import numpy as np

from ..blocks import locked, put_file
from ..conventions import ConventionError, StackReadError, check_positive
from .between import FilmFit, counting_covariance, fitting_lengths
from .grids import MOST_LAYERS, FilmGrid, named_layers

_SAVED_EVERY = 8  # nodes
_ROUNDING = 1e-6  # relative, of energies at the ends of a table
_THICKNESSES = {1: 12, 2: 7, 3: 5}  # of each layer, by the number of layers
_TOLD = 4  # thicknesses of each layer, of whose signals errors are told
_DAMAGED = (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile, ZlibError)
"""What NumPy raises of a file that holds no such table, or half of one."""
_SHIPPED = "aluminium_gold_silicon.npz"


def simulate_films(
    path: str | Path,
    *,
    layers: Sequence[tuple[str, float]],
    substrate: str,
    beam_energy_kev: tuple[float, float] = (5.0, 35.0),
    electrons: int = 400_000,
    seed: int = 0,
) -> Path:
    """Simulate the backscatter of films of all thicknesses, for layers of any materials.

    Continues an interrupted call; one core takes about a quarter of an hour for two layers.

    Parameters
    ----------
    path
        File of the table, the `table` of `layer_signals` and `estimate_layers`.
    layers
        Material and largest thickness in nm of each of 1 to 3 layers, from the surface down.
    substrate
        Material below them.
    beam_energy_kev
        Least and largest energy of the beam in keV.
    electrons
        Number of electrons on each film.
    seed
        Seed of the electrons.

    Returns
    -------
    Path
        File of the table.

    Raises
    ------
    ConventionError
        If an argument is out of range, or the file is another table.
    """
    if np.shape(beam_energy_kev) != (2,):
        msg = f"beam_energy_kev must be two, the least and the most in keV; got {beam_energy_kev}"
        raise ConventionError(msg)
    low, high = (check_positive("beam_energy_kev", energy, "keV") for energy in beam_energy_kev)
    grid = FilmGrid(
        named_layers(layers),
        substrate,
        (low, high),
        _THICKNESSES[min(max(len(layers), 1), MOST_LAYERS)],
        electrons=electrons,
        seed=seed,
    )
    path = Path(path).absolute()
    with locked(path.with_name(f".{path.name}.lock"), what=path):
        _fill(grid, path)
    return path


def _fill(grid: FilmGrid, path: Path) -> None:
    counts = np.full(grid.shape, -1, np.int32)
    if path.exists():
        found = read_films(path)
        if found.grid != grid:
            msg = f"{path} is the table of other films, {found.grid}; choose another path"
            raise ConventionError(msg)
        counts = found.counts
    missing = [node for node in product(*map(range, grid.shape)) if counts[node] < 0]
    for number, node in enumerate(missing, start=1):
        counts[node] = grid.send(node)
        if number % _SAVED_EVERY == 0 and number < len(missing):
            write_films(FilmTable(grid, counts, np.zeros(0)), path)
    if missing:
        write_films(FilmTable(grid, counts, fitting_lengths(grid, counts)), path)


def write_films(table: "FilmTable", path: Path) -> None:
    """Write a table, from which `read_films` reads it."""
    content = BytesIO()
    grid = np.array(json.dumps(asdict(table.grid)))
    np.savez_compressed(content, counts=table.counts, grid=grid, lengths=table.lengths)
    put_file(path, content.getvalue())


@dataclass(frozen=True, eq=False)
class FilmTable:
    """Electrons that films of all thicknesses scatter back, and what lies between.

    Attributes
    ----------
    grid
        The films.
    counts
        Of electrons, int32 (energy, layer 1, …); −1 where not simulated yet.
    lengths
        As of `FilmFit`, of a table that is finished.
    """

    grid: FilmGrid
    counts: np.ndarray
    lengths: np.ndarray

    def __post_init__(self) -> None:
        if self.counts.shape != self.grid.shape:
            msg = f"counts must be {self.grid.shape}; got {self.counts.shape}"
            raise ConventionError(msg)

    def check_layers(self, layers: Sequence[tuple[str, float]], substrate: str) -> None:
        """Refuse layers that the table does not hold.

        Raises
        ------
        ConventionError
            Naming both.
        """
        names = [name for name, _ in self.grid.layers]
        wanted = [name for name, _ in layers]
        if wanted != names or substrate != self.grid.substrate:
            msg = (
                f"the table is of {' on '.join([*names, self.grid.substrate])}; got "
                f"{' on '.join([*wanted, substrate])}: make one with simulate_films"
            )
            raise ConventionError(msg)
        for (name, most), (_, highest) in zip(layers, self.grid.layers, strict=True):
            if most > highest:
                msg = f"the table knows {name} up to {highest:g} nm; got {most:g} nm"
                raise ConventionError(msg)

    def check_energies(self, energies: np.ndarray) -> None:
        """Refuse energies in keV outside the table.

        Raises
        ------
        ConventionError
            Naming the energy and the range.
        """
        low, high = self.grid.energies
        outside = (energies < low * (1 - _ROUNDING)) | (energies > high * (1 + _ROUNDING))
        if outside.any():
            wrong = float(energies[int(np.argmax(outside))])
            msg = f"the table holds from {low:g} to {high:g} keV; got {wrong:g} keV"
            raise ConventionError(msg)

    @property
    def fit(self) -> FilmFit:
        """What lies between the films, found once in a process.

        Raises
        ------
        ConventionError
            If some are missing.
        """
        missing = int((self.counts < 0).sum())
        if missing:
            msg = (
                f"the table of films is not finished, {missing} of {self.counts.size} are missing: "
                "call simulate_films again with the same arguments"
            )
            raise ConventionError(msg)
        return _fit(self.grid, self.counts.tobytes(), self.lengths.tobytes())

    def redrawn(self, rng: np.random.Generator) -> "FilmTable":
        """Return the table as other electrons might have made it."""
        return replace(self, counts=rng.poisson(self.counts).astype(np.int32))

    def covariance(self, most: Sequence[float], energies: np.ndarray) -> np.ndarray:
        """Return how errors go together in signals, of films up to some thicknesses in nm (layer).

        It is that of `counting_covariance`, (energy, energy), of films that have all layers.
        """
        axes = [np.linspace(0, depth, _TOLD + 1)[1:] for depth in most]
        films = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")])
        return counting_covariance(self.grid, self.counts, self.lengths, films, energies)

    def backscatter(self, thickness: np.ndarray, energies: np.ndarray) -> np.ndarray:
        """Return backscatter coefficients (energy, film) of films of a thickness (layer, film)."""
        return self.fit.coefficients(thickness, energies)


@lru_cache(maxsize=4)
def _fit(grid: FilmGrid, counts: bytes, lengths: bytes) -> FilmFit:
    found = np.frombuffer(counts, np.int32).reshape(grid.shape)
    return FilmFit.of(grid, found, np.frombuffer(lengths))


@lru_cache(maxsize=1)
def shipped_films() -> FilmTable:
    """Return the table that ships: aluminium up to 200 nm on gold up to 20 nm on silicon."""
    return read_films(Path(str(files(__package__) / "data" / _SHIPPED)))


def read_films(path: Path) -> FilmTable:
    """Return a table that `simulate_films` has made.

    Raises
    ------
    StackReadError
        If it is none.
    """
    try:
        with path.open("rb") as file, np.load(file) as content:
            fields: Mapping[str, Any] = json.loads(str(content["grid"]))
            layers = tuple((name, most) for name, most in fields["layers"])
            given = {**fields, "layers": layers, "energies": tuple(fields["energies"])}
            return FilmTable(FilmGrid(**given), content["counts"], content["lengths"])
    except _DAMAGED as error:
        msg = f"{path} is no table of films: {error}"
        raise StackReadError(msg) from None
