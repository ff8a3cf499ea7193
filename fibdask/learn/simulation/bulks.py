"""Backscatter coefficients of bulks, by Monte Carlo, as smooth functions of the voltage."""

from io import BytesIO
from pathlib import Path

import numpy as np

from ...blocks import put_file
from ...simulate import backscatter_coefficient
from .pairs import PORES, SOLIDS, VOLTAGES

MATERIALS = (*PORES, *SOLIDS)
"""In the order of a table's rows."""
GRID = np.geomspace(VOLTAGES[0] * 0.9, VOLTAGES[1] * 1.1, 12)
"""Voltages in kV of its columns."""
_DEGREE = 4  # of the polynomial of ln V that is fitted, so that less noise is left


def stored_coefficients(folder: Path, electrons: int, seed: int) -> np.ndarray:
    """Return what `bulk_coefficients` does, from a folder if they are there, and keep them."""
    file = folder / f"bulks-{electrons}-{seed}.npy"
    if not file.exists():
        content = BytesIO()
        np.save(content, bulk_coefficients(electrons, seed))
        put_file(file, content.getvalue())
    return np.asarray(np.load(file))


def bulk_coefficients(electrons: int, seed: int) -> np.ndarray:
    """Return the coefficients η of all materials, float32 (material, voltage)."""
    table = np.array(
        [
            [
                backscatter_coefficient(name, beam_energy_kev=kv, electrons=electrons, seed=seed)
                for kv in GRID.tolist()
            ]
            for name in MATERIALS
        ]
    )
    place = np.log(GRID)
    fits = np.polynomial.polynomial.polyfit(place, table.T, _DEGREE)
    return np.asarray(np.polynomial.polynomial.polyval(place, fits), np.float32)
