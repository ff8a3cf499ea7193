"""Levelled waves: bicontinuous structures from a random field of plane waves."""

import warnings
from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy.special import ndtri

from ...conventions import (
    AXES,
    ConventionError,
    FibdaskWarning,
    check_count,
    check_inner_share,
    check_positive,
    check_seed,
)
from ._functions import LevelledWaves
from .building import (
    Chunks,
    VoxelSize,
    build_structure,
    check_resolved,
    check_shape,
    check_voxel_size,
)

# ln(ligament size / wavelength) = Σ c_n tⁿ for a level t: fitted to the chords of 0.8 million
# wavelengths of the field along a line; right to 0.3 % for solid fractions of 0.01 to 0.99.
_LOG_LIGAMENT_SIZE = (-0.4684, -0.9671, 0.2182, -0.0233)
_RESOLVED = 3.5  # voxels of a wave, from which on ligaments are as large as they should be
_QUADRATURE = np.polynomial.legendre.leggauss(64)


def levelled_wave(
    shape: Sequence[int],
    *,
    voxel_size: VoxelSize,
    ligament_size: float,
    solid_fraction: float,
    seed: int,
    waves: int = 100,
    chunks: Chunks = "auto",
) -> xr.DataArray:
    """Generate a bicontinuous structure of ligaments, such as nanoporous metal.

    Lazy: any block is computed from its coordinates alone.

    Parameters
    ----------
    shape
        Number of voxels (z, y, x).
    voxel_size
        Voxel size (z, y, x), or of a cube, in nm.
    ligament_size
        Mean ligament diameter in nm: the area under the lineal path L(r)/L(0) of the solid (see
        `ligament_diameter`), half the length-weighted mean chord. The mean over seeds is accurate
        to about 1 %; along one axis of one realisation of 100 waves, however large, it deviates by
        about 4 %.
    solid_fraction
        Expected volume fraction of the solid, between 0 and 1.
    seed
        Seed of the random directions and phases of the waves.
    waves
        Number N of plane waves. The statistics are those of a Gaussian field as N → ∞.
    chunks
        Blocks of the result: "auto", a number of voxels, or one for each axis.

    Returns
    -------
    xarray.DataArray
        `phase` (z, y, x), uint8: 0 pore, 1 solid.

    Raises
    ------
    ConventionError
        If an argument is out of range.

    Warns
    -----
    FibdaskWarning
        If voxels do not resolve the waves, which are much shorter than the ligaments of dense
        structures.

    Notes
    -----
    Solid is where f(r) = √(2/N) Σ cos(k_i·r + φ_i) > t, with t = Φ⁻¹(1 − solid_fraction),
    ``|k_i| = 2π/λ`` and uniform phases. Directions are uniform on the sphere. They are drawn as
    orthogonal triples, so that the curvature of the covariance at its origin, and with it the
    surface area, is the same along all axes in every realisation.

    The wavelength λ follows from the ligament size: along a line, f is white noise cut off at 1/λ,
    and the mean chord of its solid is √3 λ solid_fraction exp(t²/2) (Rice's formula). The ratio of
    the ligament size to λ has no closed form and is interpolated by a polynomial in t. At a solid
    fraction of 0.5, λ = 1.60 × ligament_size; at 0.35, 2.25 ×.

    References
    ----------
    .. [1] Soyarslan, C., Bargmann, S., Pradas, M., Weissmüller, J. (2018), 3D stochastic
       bicontinuous microstructures: generation, topology and elasticity, Acta Materialia 149.
    """
    return _build(
        "levelled_wave", shape, voxel_size, (ligament_size,), (solid_fraction,), seed, waves, chunks
    )


def hierarchical_levelled_wave(
    shape: Sequence[int],
    *,
    voxel_size: VoxelSize,
    ligament_size: Sequence[float] = (110.0, 15.0),
    solid_fraction: Sequence[float] = (0.35, 0.35),
    seed: int,
    waves: int = 100,
    chunks: Chunks = "auto",
) -> xr.DataArray:
    """Generate ligaments that are themselves made of ligaments, as in hierarchical nanoporous gold.

    Lazy. A voxel is solid where a levelled wave of each level is; the expected solid fraction is
    the product of those of the levels.

    Parameters
    ----------
    shape
        Number of voxels (z, y, x).
    voxel_size
        Voxel size (z, y, x), or of a cube, in nm.
    ligament_size
        Mean ligament diameter of each level in nm, as for `levelled_wave`.
    solid_fraction
        Expected solid fraction of each level.
    seed
        The first level is the `levelled_wave` of this seed; the others are independent of it.
    waves
        Number of plane waves of each level.
    chunks
        Blocks of the result: "auto", a number of voxels, or one for each axis.

    Returns
    -------
    xarray.DataArray
        `phase` (z, y, x), uint8: 0 pore, 1 solid.

    Raises
    ------
    ConventionError
        If an argument is out of range.

    Warns
    -----
    FibdaskWarning
        As `levelled_wave`.
    """
    sizes, fractions = (
        tuple(np.atleast_1d(given).tolist()) for given in (ligament_size, solid_fraction)
    )
    if len(sizes) != len(fractions) or not sizes:
        msg = (
            "ligament_size and solid_fraction must have one value for each level; "
            f"got {sizes} and {fractions}"
        )
        raise ConventionError(msg)
    return _build(
        "hierarchical_levelled_wave", shape, voxel_size, sizes, fractions, seed, waves, chunks
    )


def _build(
    step: str,
    shape: Sequence[int],
    voxel_size: VoxelSize,
    ligament_size: tuple[float, ...],
    solid_fraction: tuple[float, ...],
    seed: int,
    waves: int,
    chunks: Chunks,
) -> xr.DataArray:
    sizes = check_voxel_size(voxel_size)
    levels = _levels(solid_fraction)
    for size in ligament_size:
        check_resolved("ligament_size", size, sizes)
    wave_numbers = _wave_numbers(ligament_size, levels)
    _warn_of_short_waves(2 * np.pi / wave_numbers, ligament_size, solid_fraction, min(sizes))
    vectors, phases = _draw_waves(wave_numbers, seed, waves)
    return build_structure(
        LevelledWaves(vectors, phases, levels, sizes),
        shape=check_shape(shape),
        voxel_size=sizes,
        chunks=chunks,
        step=step,
        parameters={
            "ligament_size": ligament_size,
            "solid_fraction": solid_fraction,
            "seed": seed,
            "waves": waves,
        },
    )


def levelled_wave_covariance(
    distance: Sequence[float],
    *,
    ligament_size: float,
    solid_fraction: float,
    seed: int,
    waves: int = 100,
    axes: Sequence[str] = AXES,
) -> xr.DataArray:
    """Return the covariance of the field behind a `levelled_wave` of the same arguments.

    One realisation has fixed directions, so its covariance (1/N) Σ cos(k_i·r) along an axis, the
    mean over any large volume, differs from the expectation sin(kr)/(kr).

    Parameters
    ----------
    distance
        Distances r along the axes in nm.
    ligament_size, solid_fraction, seed, waves
        As for `levelled_wave`.
    axes
        Axes along which the distances are taken.

    Returns
    -------
    xarray.DataArray
        Covariance (axis, distance), float64; 1 at distance 0.

    Raises
    ------
    ConventionError
        If an argument is out of range.
    """
    wave_numbers = _wave_numbers((ligament_size,), _levels((solid_fraction,)))
    vectors, _ = _draw_waves(wave_numbers, seed, waves)
    if not set(axes) <= set(AXES):
        msg = f"axes must be among {', '.join(AXES)}; got {', '.join(axes)}"
        raise ConventionError(msg)
    r = np.asarray(distance, np.float64)
    along = [vectors[0, :, AXES.index(axis), np.newaxis] for axis in axes]
    covariance = np.stack([np.cos(component * r).mean(axis=0) for component in along])
    coords = {"axis": list(axes), "distance": ("distance", r, {"units": "nm"})}
    attrs = {"long_name": "covariance of the levelled field"}
    return xr.DataArray(covariance, coords, ("axis", "distance"), "covariance", attrs)


def levelled_wave_two_point_correlation(
    distance: Sequence[float],
    *,
    ligament_size: float,
    solid_fraction: float,
    seed: int,
    waves: int = 100,
    axes: Sequence[str] = AXES,
) -> xr.DataArray:
    """Return the two-point correlation of a `levelled_wave` of the same arguments.

    This is what the S2 of the volume tends to as the volume grows, up to terms of order 1/N by
    which N waves are no Gaussian field.

    Parameters
    ----------
    distance
        Distances r along the axes in nm.
    ligament_size, solid_fraction, seed, waves
        As for `levelled_wave`.
    axes
        Axes along which the distances are taken.

    Returns
    -------
    xarray.DataArray
        S2 (axis, distance), float64; the solid fraction at distance 0.

    Raises
    ------
    ConventionError
        If an argument is out of range.

    Notes
    -----
    S2(r) = P(f(0) > t, f(r) > t) of two normal deviates of covariance ρ(r), by
    S2 = φ² + 1/(2π) ∫ exp(−t²/(1 + sin θ)) dθ over θ from 0 to asin ρ (Plackett's identity).
    """
    covariance = levelled_wave_covariance(
        distance,
        ligament_size=ligament_size,
        solid_fraction=solid_fraction,
        seed=seed,
        waves=waves,
        axes=axes,
    )
    s2 = _joint_exceedance(covariance.values, solid_fraction)
    attrs = {"long_name": "two-point correlation of the solid"}
    return (
        covariance.copy(data=s2)
        .rename("two_point_correlation")
        .drop_attrs(deep=False)
        .assign_attrs(attrs)
    )


def _joint_exceedance(covariance: np.ndarray, fraction: float) -> np.ndarray:
    nodes, weights = _QUADRATURE
    half = np.arcsin(np.clip(covariance, -1, 1))[..., np.newaxis] / 2
    above = 1 + np.sin(half * (nodes + 1))
    level = float(ndtri(1 - fraction))
    density = np.exp(-(level**2) / np.maximum(above, np.finfo(np.float64).tiny))
    return np.asarray(fraction**2 + (half[..., 0] * (density @ weights)) / (2 * np.pi))


def _levels(solid_fraction: Sequence[float]) -> np.ndarray:
    fractions = [check_inner_share("solid_fraction", fraction) for fraction in solid_fraction]
    return np.asarray(ndtri(1 - np.array(fractions)))


def _wave_numbers(ligament_size: Sequence[float], levels: np.ndarray) -> np.ndarray:
    sizes = np.array([check_positive("ligament_size", size, "nm") for size in ligament_size])
    wavelengths = sizes / np.exp(np.polynomial.Polynomial(_LOG_LIGAMENT_SIZE)(levels))
    return np.asarray(2 * np.pi / wavelengths)


def _warn_of_short_waves(
    wavelengths: np.ndarray, sizes: Sequence[float], fractions: Sequence[float], voxel: float
) -> None:
    """Warn of ligaments so dense that voxels cannot show the waves that they are made of."""
    for length, size, fraction in zip(wavelengths, sizes, fractions, strict=True):
        if length < _RESOLVED * voxel:
            text = (
                f"ligaments of {size:g} nm at a solid fraction of {fraction:g} are made of waves "
                f"of {length:.3g} nm, which voxels of {voxel:g} nm do not resolve: ligaments come "
                f"out larger; take voxels of at most {length / _RESOLVED:.2g} nm"
            )
            warnings.warn(text, FibdaskWarning, stacklevel=4)


def _draw_waves(wave_numbers: np.ndarray, seed: int, waves: int) -> tuple[np.ndarray, np.ndarray]:
    """Return wave vectors in rad/nm (level, wave, axis) and phases (level, wave)."""
    waves = check_count("waves", waves)
    rng = np.random.default_rng(check_seed(seed))
    vectors, phases = [], []
    for wave_number in wave_numbers:
        vectors.append(wave_number * _orthogonal_triples(rng, -(-waves // 3))[:waves])
        phases.append(rng.uniform(0, 2 * np.pi, waves))
    return np.stack(vectors), np.stack(phases)


def _orthogonal_triples(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return unit vectors (3 × count, axis), each uniform on the sphere, three by three a frame."""
    first, other = rng.normal(size=(2, count, 3))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    other -= (other * first).sum(axis=1, keepdims=True) * first
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return np.stack([first, other, np.cross(first, other)], axis=1).reshape(-1, 3)
