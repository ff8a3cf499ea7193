"""Images by a network: whether it knows such images, and the function that makes them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from ...conventions import ConventionError, check_spacing
from ...pieces.models import find_image_model
from ..electrons.transport import CUTOFF_EV
from ._functions_learned import LearnedImages
from ._functions_monte_carlo import Materials, Microscope, tile_block
from .noise import Noise

_LEARNT: Mapping[str, Any] = {
    "acceptance_angle": 90.0,
    "energy_window": 1.0,
    "tilt": 0.0,
    "beam_diameter": 0.0,
    "cutoff_ev": CUTOFF_EV,
    "elastic": "mott",
    "losses": "continuous",
}
"""What Monte Carlo was that networks learn from."""


def learned_images(
    phase: xr.DataArray,
    faces: tuple[np.ndarray, np.ndarray, np.ndarray],
    materials: Materials,
    microscope: Microscope,
    network: str,
    device: str,
    noise: Noise,
    dtype: str,
) -> tuple[LearnedImages, dict[str, Any]]:
    """Return the function that makes images of faces, and what provenance tells of its network.

    Parameters
    ----------
    phase
        Of the structure (z, y, x).
    faces
        z of its planes in nm, the imaged ones, and voltages in kV.
    materials, network, device, dtype
        As for `simulate_images`.
    microscope
        Which must be that of the images that networks learn from.
    noise
        Of counts: electrons on a pixel, or 0.

    Raises
    ------
    ConventionError
        If the network does not know such images, or torch is not installed.
    """
    _check_microscope(microscope)
    named = _named(materials)
    pixel_size = check_spacing(phase, "y"), check_spacing(phase, "x")
    model = find_image_model(
        network,
        voltages=faces[2].tolist(),
        pixel_size=pixel_size,
        materials=named,
        device=device,
    )
    predictor = model.image_predictor()
    image = phase.sizes["y"], phase.sizes["x"]
    noise = replace(noise, electrons=noise.electrons * microscope.white)
    images = LearnedImages(
        *faces,
        pixel_size,
        image,
        tile_block(*image)[2:],
        (named["pore"], named["solid"]),
        predictor,
        microscope.white,
        noise,
        dtype,
    )
    told = {
        "network": model.name,
        "network_fingerprint": model.fingerprint,
        "network_errors": {k: v for k, v in model.card["errors"].items() if np.isscalar(v)},
        "device": predictor.device,
    }
    return images, told


def _check_microscope(microscope: Microscope) -> None:
    for name, known in _LEARNT.items():
        if (value := getattr(microscope, name)) != known:
            told = [f"{v:g}" if isinstance(v, float) else repr(v) for v in (known, value)]
            msg = (
                f"with the model 'learned', {name} is {told[0]}, as of the images that networks "
                f"have learnt from; got {told[1]}: use the model 'monte_carlo'"
            )
            raise ConventionError(msg)


def _named(materials: Materials) -> dict[str, str]:
    """Return materials by name; others are not those of a network, whatever they are called."""
    if set(materials) != {"pore", "solid"} or not all(
        isinstance(material, str) for material in materials.values()
    ):
        found = ", ".join(f"{key}: {material}" for key, material in materials.items())
        msg = (
            "with the model 'learned', materials must be the names of those of pore and solid; "
            f"got {found}: use the model 'monte_carlo'"
        )
        raise ConventionError(msg)
    return {str(phase): str(material) for phase, material in materials.items()}
