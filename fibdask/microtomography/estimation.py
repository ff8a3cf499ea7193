"""How thick each layer is at every pixel, from signals at several energies of the beam."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import xarray as xr

from ..blocks import BlockFunction, map_blocks, reduce_blocks
from ..conventions import (
    LAYER_DIMS,
    ConventionError,
    FibdaskWarning,
    OptionTable,
    check_belongs,
    check_choice,
    check_not_negative,
    check_positive,
    finish_layers,
    layer_attributes,
    plain_number,
    record_step,
    require_layers,
)
from ..pieces.looks import LookedAt, SomeRegions, after_look, spread_tiles
from ..pieces.models import AUTO, OF_NETWORK, find_layer_model, model_record
from ._functions import (
    TILE,
    FitCounts,
    Misfit,
    MostLikely,
    NetworkLayers,
    Regularised,
    ToldFit,
)
from .dictionary import Dictionary
from .forward import ALUMINIUM_ON_GOLD, ForwardName, find_forward
from .grids import MOST_LAYERS
from .guesses import LayerPredictor
from .signals import check_noise, input_of, layer_labels, maps_block, table_told
from .smoothing import radii

LayerMethod = Literal["likelihood", "tikhonov", "network"]
METHODS: tuple[LayerMethod, ...] = ("likelihood", "tikhonov", "network")
REGULARISATION, ABSENT = 1e-3, 0.5
_OPTIONS: OptionTable = {
    "smoothing": (0.0, ("likelihood",)),
    "absent": (ABSENT, ("likelihood", "network")),
    "regularisation": (REGULARISATION, ("tikhonov",)),
}
_LARGEST_RADIUS = 32.0


def estimate_layers(
    signals: xr.DataArray | xr.Dataset,
    *,
    method: LayerMethod = "likelihood",
    forward: ForwardName = "monte_carlo",
    layers: Sequence[tuple[str, float]] = ALUMINIUM_ON_GOLD,
    substrate: str = "Si",
    table: str | None = None,
    noise: float = 0.02,
    absent: float = ABSENT,
    smoothing: float = 0.0,
    regularisation: float = REGULARISATION,
    voxel_size: float = 10.0,
    model: str = AUTO,
    device: str = AUTO,
) -> xr.Dataset:
    """Estimate the thickness of each layer at every pixel, lazily.

    Parameters
    ----------
    signals
        Of a layered sample, (energy, y, x), as `layer_signals` returns them: those of
        `monte_carlo` are 1 on the bare substrate, those of the other models 0.49 on silicon. NaN
        or 0 where there are no data. Alone, or in a dataset.
    method
        `likelihood`: the thicknesses most likely to give such signals, pixel by pixel. `tikhonov`:
        least squares with a regularisation, pixel by pixel, the source's baseline. `network`: a
        U-Net that sees the likelihood's maps and their errors, pixel by pixel and smoothed.
    forward
        Model of the signals: `monte_carlo`, `analytic` or `report2022`, see `layer_signals`.
    layers
        Material and largest thickness in nm of each layer, 1 to 3, from the surface down.
    substrate
        Material below the layers.
    table
        For `monte_carlo`: a file of `simulate_films`; by default the one that ships.
    noise
        Standard deviation of the signals relative to themselves.
    absent
        For `likelihood` and `network`: prior probability that a layer is absent at a pixel; 0 if
        every layer is everywhere.
    smoothing
        For `likelihood`: largest radius in pixels, at least 1.5, within which similar signals are
        averaged first; 0 to treat every pixel by itself. 9 is good for films of even patches: it
        helps as much as about 80 times as many electrons.
    regularisation
        For `tikhonov`: factor of the squares of thicknesses relative to the largest.
    voxel_size
        Height of the voxels of `label` in nm.
    model
        For `network`: name or folder of a model for layers, as `fibdask train` makes them; `auto`
        is the best one that ships, if any.
    device
        For `network`: where it predicts, `cpu`, `gpu`, or `auto`, a GPU if this process has one.

    Returns
    -------
    xarray.Dataset
        `thickness` (layer, y, x) in nm, float32. `label` (z, y, x), as from `layer_labels` with
        layers thinner than a voxel kept.

        `likelihood` and `network` also return `thickness_error` (layer, y, x) in nm, the half-width
        of the 68.27 % interval about the thickness of a layer that is there; and `misfit` (y, x),
        about 1 where model and noise are right, larger where they are not.

    Raises
    ------
    ConventionError
        If the model does not know a material, an energy or a thickness, an argument is out of
        range, or the network was not trained for such noise; when computed, if a signal is
        negative.

    Warns
    -----
    FibdaskWarning
        If the signals are known to come from another model, another substrate, or with other noise;
        if a network has not learnt from such layers; when computed, if more than a tenth of up to
        65,536 pixels, from tiles all over the maps, have signals that no thicknesses explain within
        the noise.

    Notes
    -----
    Logarithms of signals are compared with those of a dictionary of all thicknesses. The best entry
    is refined by damped least squares along the tangents of the nearest one. Each pattern of
    present and absent layers is fitted, and the most probable one taken, with a uniform prior up to
    the largest thickness for each layer present (Laplace's approximation).

    The distribution of a layer's thickness, if it is present, is the sum over all patterns with
    this layer of the likelihood along its thickness, followed from the fit to where it is
    negligible or the thickness is 0 or the largest, the other layers integrated as Gaussians. Its
    variance is that of the noise, and that of the electrons that the model's table was made from,
    whose errors are correlated at adjacent energies. The error is the distance within which 68.27 %
    of the distribution lie: the standard error of a Gaussian, and its equivalent at bounds or where
    patterns differ. If nothing is known of a layer, as of gold below aluminium that no electron
    passes, the error is as wide as the prior; for an absent layer, it is how much of it might be
    there unseen.

    With `smoothing`, the error is that of as many pixels as were averaged: adaptive weights
    smoothing, see `smoothed`, keeps to pixels that differ by no more than noise. Where the patches
    all around are small, thickness changes steadily, and the error is up to 2.8 times as wide, as
    was measured.
    """
    check_choice("method", method, METHODS)
    check_belongs(method, {"model": model, "device": device}, OF_NETWORK)
    signal = require_layers(signals, "signal")
    energies = signal["energy"].values
    known = find_forward(forward, layers, substrate, table)
    if len(known.layers) > MOST_LAYERS:
        msg = f"estimate_layers tells up to {MOST_LAYERS} layers apart; got {len(known.layers)}"
        raise ConventionError(msg)
    for name, most in known.layers:
        check_positive(f"largest thickness of {name}", most, "nm")
    known.check(energies)
    share = check_noise(noise)
    lacking, radius = _checked_options(method, absent, smoothing, regularisation)
    _warn_of_others(signal, forward, substrate, share)
    maps = _Maps(signal, Dictionary(known, tuple(map(float, energies))), share, lacking)
    own: dict[str, Any]
    if method == "likelihood":
        sample, own = maps.likely(radius), {"absent": absent, "smoothing": smoothing}
    elif method == "network":
        _warn_of_unlearnt(known.layers)
        found = find_layer_model(model, noise=share, device=device)
        sample = maps.told_by(found.layer_predictor())
        own = {"absent": absent} | model_record(found)
    else:
        sample, own = maps.regularised(regularisation), {"regularisation": regularisation}
    sample["thickness"].attrs |= {"substrate": substrate}
    deepest = sum(most for _, most in known.layers)
    labels = layer_labels(sample["thickness"], voxel_size=voxel_size, most=deepest)
    told = {"method": method, "forward": forward, "layers": [list(layer) for layer in layers],
            "substrate": substrate, "noise": noise, "voxel_size": voxel_size,
            **table_told(table)}  # fmt: skip
    sample = finish_layers(sample.assign(label=labels))
    for history in (signal.attrs, signals.attrs):
        sample.attrs |= {k: v for k, v in history.items() if k == "provenance"}
    return record_step(sample, "estimate_layers", told | own, input_of(signal))


def _checked_options(
    method: LayerMethod, absent: float, smoothing: float, regularisation: float
) -> tuple[float, float]:
    """Return `absent` and `smoothing`, and refuse options that a method does not look at."""
    lacking = plain_number(absent)
    if not 0 <= lacking < 1:
        msg = f"absent must be a probability from 0 to less than 1; got {absent!r}"
        raise ConventionError(msg)
    ridge = check_not_negative("regularisation", regularisation)
    radius = check_not_negative("smoothing", smoothing, "pixels")
    if radius > _LARGEST_RADIUS:
        msg = f"smoothing must be at most {_LARGEST_RADIUS:g} pixels; got {smoothing}"
        raise ConventionError(msg)
    if radius and not radii(radius):
        msg = f"smoothing must be 0, or at least 1.5 pixels: less averages nothing; got {smoothing}"
        raise ConventionError(msg)
    given = {"smoothing": radius, "absent": lacking, "regularisation": ridge}
    check_belongs(method, given, _OPTIONS)
    return lacking, radius


def _warn_of_others(signal: xr.DataArray, forward: str, substrate: str, noise: float) -> None:
    """Tell where signals say that they were made otherwise than they are read."""
    for name, taken in (("forward", forward), ("substrate", substrate), ("noise", noise)):
        made = signal.attrs.get(name, taken)
        if made != taken and not (name == "noise" and made == 0):
            warnings.warn(
                f"the signals were made with {name} {made!r}, and are read with {taken!r}: "
                f"thicknesses or their errors will be wrong; set {name}",
                FibdaskWarning,
                stacklevel=3,
            )


def _warn_of_unlearnt(layers: tuple[tuple[str, float], ...]) -> None:
    """Tell where a network is asked for layers that no film of its training has."""
    learnt, asked = ([name for name, _ in some] for some in (ALUMINIUM_ON_GOLD, layers))
    if asked != learnt:
        warnings.warn(
            f"networks of layers learn from films of {' on '.join(learnt)}; how far off they are "
            f"on {' on '.join(asked)} is not known: compare with method 'likelihood'",
            FibdaskWarning,
            stacklevel=3,
        )


@dataclass(frozen=True)
class _Maps:
    """Makes maps of a sample of its signals (energy, y, x), read with a dictionary."""

    signal: xr.DataArray
    dictionary: Dictionary
    noise: float
    absent: float

    def likely(self, smoothing: float) -> xr.Dataset:
        """Return the most likely thickness with its error and misfit."""
        return self._with_errors(
            MostLikely(self.dictionary, self._shape, self.noise, smoothing, self.absent)
        )

    def told_by(self, predictor: LayerPredictor) -> xr.Dataset:
        """Return what a network tells, its error and misfit."""
        shown = self.dictionary, self._shape, self.noise, predictor.smoothing
        return self._with_errors(NetworkLayers(*shown, self.absent, predictor))

    @property
    def _shape(self) -> tuple[int, int]:
        height, width = self.signal.shape[1:]
        return height, width

    def _with_errors(self, function: MostLikely | NetworkLayers) -> xr.Dataset:
        sample = self._thickness(function)
        thickness = sample["thickness"]
        errors = self._layers(replace(function, errors=True))
        misfit = map_blocks(
            Misfit(self.dictionary, self.noise),
            (self.signal.data, thickness.data),
            shape=thickness.shape[1:],
            dtype=np.float32,
            block=self._block(thickness.shape[1:]),
            shared=True,
        )
        return sample.assign(
            thickness_error=(LAYER_DIMS, errors, layer_attributes("thickness_error")),
            misfit=(("y", "x"), misfit, layer_attributes("misfit")),
        )

    def regularised(self, regularisation: float) -> xr.Dataset:
        """Return the regularised thickness."""
        of_signals = Dictionary(self.dictionary.forward, self.dictionary.energies, False)
        return self._thickness(Regularised(of_signals, regularisation))

    def _thickness(self, function: BlockFunction) -> xr.Dataset:
        names = [name for name, _ in self.dictionary.forward.layers]
        coords: dict[str, Any] = {"layer": ("layer", names, layer_attributes("layer"))}
        coords |= {axis: self.signal[axis].variable for axis in ("y", "x")}
        data = self._looked_at(self._layers(function))
        return xr.Dataset({"thickness": (LAYER_DIMS, data, layer_attributes("thickness"))}, coords)

    def _looked_at(self, thickness: Any) -> Any:
        """Return maps (layer, y, x), lazily; some signals are looked at before others are read.

        Whatever tells the thicknesses, the most likely ones say whether any fit the signals.
        """
        function = FitCounts(self.dictionary, self._shape, self.noise, 0.0, self.absent)
        look = reduce_blocks(
            function,
            (self.signal.data,),
            grid=SomeRegions(spread_tiles(self._shape)),
            finish=ToldFit(self.noise),
            shape=(2,),
        )
        return after_look(LookedAt(), thickness, look)

    def _layers(self, function: BlockFunction) -> Any:
        """Return maps of all layers (layer, y, x), each block of which a function makes."""
        shape = (len(self.dictionary.most), *self.signal.shape[1:])
        block = self._block(shape)
        if isinstance(function, NetworkLayers):  # which else sees most of its tiles several times
            block = (*block[:-2], *(b // TILE * TILE or b for b in block[-2:]))
        return map_blocks(function, (self.signal.data,), shape=shape, dtype=np.float32, block=block)

    def _block(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return blocks of all layers, as large as those of all energies may be."""
        return maps_block(self.signal.data, shape, 4 * len(self.dictionary.energies))
