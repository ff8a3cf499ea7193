"""Shifts of all slices at once, from measurements of pairs: small, in memory, robust."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

import numpy as np
import xarray as xr
from scipy import sparse
from scipy.sparse import csgraph, linalg

from ..conventions import (
    ConventionError,
    FibdaskWarning,
    attributes,
    check_choice,
    record_step,
)

DETREND = ("linear", "none")
FLAGS = ("good", "blank", "defocused", "mismatched")
_GOOD, _BLANK, _DEFOCUSED, _MISMATCHED = range(4)
_BLANK_CONTRAST = 0.1  # of the median
_DEFOCUSED_SHARPNESS = 0.5  # of the median nearby
_MISMATCHED_CORRELATION = 0.3  # of the median
_NEARBY = 31  # slices
_ROUNDS = 15  # of reweighting
_LEAST_SCALE = 0.05  # pixels: residuals below that are no outliers
_OUTLIER = 1.0  # pixels
_WANDER = 2.0  # pixels, that slices move against each other for nothing
_LIKELY = 2 / 3  # of the evidence, for pairs that correlate as is usual
_GAIN = 0.001  # of correlation, below which nothing is gained
_TOLD = 5  # places in one warning
_BRIDGED = 2  # slices: a pair as far apart is usual where one slice between is bad
_WEAK = 1e-6  # weight of the assumption that slices without a link did not move


def solve_shifts(pairs: xr.DataArray, *, detrend: str = "none") -> xr.Dataset:
    """Find the shifts of all slices that agree best with the measurements of pairs.

    With the shifts s of a slice, in nm, aligned(y, x) = raw(y - shift_y, x - shift_x). The first
    good slice of the reference voltage stays where it is.

    Parameters
    ----------
    pairs
        Measurements (voltage, z, neighbour, quantity), as `measure_pairs` makes them; computed.
    detrend
        `none` or `linear`: see `estimate_shifts`.

    Returns
    -------
    xarray.Dataset
        `shift_y`, `shift_x` (voltage, z) in nm; `flag` (voltage, z), uint8: 0 good, 1 blank,
        2 defocused, 3 mismatched; `contrast` in grey values and `sharpness` (voltage, z);
        `correlation_before`, `correlation_after` and `residual` (voltage, z, neighbour): the
        normalised correlation of a pair as imaged and laid onto each other, and the distance in
        nm of its measured shift from that of the solution.

    Raises
    ------
    ConventionError
        If a voltage has no two slices that could be compared.

    Warns
    -----
    FibdaskWarning
        Where slices are not linked to those before, or to the reference voltage, by any pair:
        they are taken not to have moved in between. Where slices move by more than two pixels
        in all, and pairs correlate no better for it.

    Notes
    -----
    A slice is blank with less than a tenth of the median contrast, or fewer than half its pixels
    finite; defocused with less than half the median sharpness of the slices about it; mismatched
    if its best correlation is below 0.3 of the median, or most of its pairs, by number and
    weight, contradict the solution by more than a pixel. Flagged slices take no part; their
    shifts are interpolated over z. Nor do pairs whose `evidence` is below 1, which unrelated
    slices have as well (see `measure_pairs`); from 2/3 on it suffices where the correlation is at
    least half of what is usual, at the same distance, of pairs above 1, and slices more than two
    apart are linked by others, too.

    Measurements over several slices are first reduced by what they exceed the chain of
    neighbours, in the median of 31 slices: structures that are inclined, or change with depth,
    shift distant slices by other than the sum of steps. The sum of squared residuals, with weights
    c/(1 - c)/n² for the correlation c of slices n apart (2 for voltages) is then made least by
    iteration, each residual r reduced in weight by 1/(1 + r²/s²), s being 1.48 times their
    median, at least 0.05 pixels. It starts from the least sum of absolute residuals.
    """
    check_detrend(detrend)
    flag = _quality(pairs)
    links = _links(pairs, flag)
    shape = flag.shape
    shifts = _robust(links, shape)
    flag = np.where(_contradicted(links, shifts, flag), _MISMATCHED, flag)
    _check_flags(flag, pairs)
    _warn_unlinked(links, flag, pairs)
    z = pairs["z"].values
    for v, good in enumerate(flag == _GOOD):
        for i in (0, 1):
            shifts[v, :, i] = np.interp(z, z[good], shifts[v, good, i])
    base = _position(pairs)
    first = int(np.argmax(flag[base] == _GOOD))
    shifts -= shifts[base, first]
    residual = _residual(links, shifts, pairs)
    if detrend == "linear":
        good = flag[base] == _GOOD
        if good.sum() > 1:
            slope = np.polyfit(z[good] - z[first], shifts[base, good], 1)[0]
            shifts -= slope * (z - z[first])[:, np.newaxis]
    _warn_of_no_gain(pairs, shifts, links.between(flag == _GOOD))
    return _described(pairs, shifts, flag, residual, detrend)


def check_detrend(detrend: str) -> None:
    """Refuse an unknown choice."""
    check_choice("detrend", detrend, DETREND)


@dataclass(frozen=True)
class Links:
    """Measured differences between slices.

    Attributes
    ----------
    start, stop
        Slices, numbered over voltages and z: shift[stop] - shift[start] = difference.
    difference
        Pixels (link, 2).
    weight
        Before reweighting.
    place
        Indices (voltage, z, neighbour) of the measurement of every link.
    """

    start: np.ndarray
    stop: np.ndarray
    difference: np.ndarray
    weight: np.ndarray
    place: tuple[np.ndarray, ...]

    def between(self, good: np.ndarray) -> "Links":
        """Return the links between good slices (voltage, z)."""
        return self.only(good.ravel()[self.start] & good.ravel()[self.stop])

    def only(self, kept: np.ndarray) -> "Links":
        """Return some of the links (link, bool)."""
        return replace(
            self,
            start=self.start[kept],
            stop=self.stop[kept],
            difference=self.difference[kept],
            weight=self.weight[kept],
            place=tuple(indices[kept] for indices in self.place),
        )

    def pieces(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return slices (voltage, z) as numbers, equal where a chain of links joins them."""
        ones, count = np.ones(len(self.start)), prod(shape)
        graph = sparse.coo_array((ones, (self.start, self.stop)), shape=(count, count))
        return np.asarray(csgraph.connected_components(graph, directed=False)[1]).reshape(shape)

    def residuals(self, shifts: np.ndarray) -> np.ndarray:
        """Return the distance in pixels of every difference from that of a solution."""
        flat = shifts.reshape(-1, 2)
        return np.asarray(
            np.linalg.norm(self.difference - flat[self.stop] + flat[self.start], axis=1)
        )


def _values(pairs: xr.DataArray, quantity: str) -> np.ndarray:
    return np.asarray(pairs.sel(quantity=quantity).values, np.float64)


def _position(pairs: xr.DataArray) -> int:
    """Return the position of the reference voltage."""
    distance = np.abs(pairs["voltage"].values - pairs.attrs["reference_voltage"])
    return int(np.argmin(distance))


def _quality(pairs: xr.DataArray) -> np.ndarray:
    """Return the flag (voltage, z) of what every slice shows by itself and beside others."""
    contrast = _values(pairs, "contrast")[..., 0]
    sharpness = _values(pairs, "sharpness")[..., 0]
    best = _best_correlation(pairs)
    flag = np.zeros(contrast.shape, np.uint8)
    for v in range(len(flag)):
        blank = ~(contrast[v] > 0)
        if not blank.all():
            blank |= contrast[v] < _BLANK_CONTRAST * np.median(contrast[v][~blank])
            usual = _running_median(np.where(blank, np.nan, sharpness[v]))
            flag[v][sharpness[v] < _DEFOCUSED_SHARPNESS * usual] = _DEFOCUSED
            flag[v][best[v] < _MISMATCHED_CORRELATION * np.nanmedian(best[v][~blank])] = _MISMATCHED
        flag[v][blank] = _BLANK
    return flag


def _best_correlation(pairs: xr.DataArray) -> np.ndarray:
    """Return the highest correlation (voltage, z) of a slice with any it resembles, else -1."""
    after = np.where(_resemble(pairs), _values(pairs, "correlation_after"), -1.0)
    numbers = pairs["neighbour"].values
    best = np.full(after.shape[:2], -1.0)
    for i, n in enumerate(numbers):
        if n == 0 and after.shape[0] > 1 and len(numbers) > 1:
            continue  # the reference, which correlates with itself, tells nothing
        best = np.maximum(best, after[..., i])
        best[:, n:] = np.maximum(best[:, n:], after[:, : best.shape[1] - n, i])
    return best


def _resemble(pairs: xr.DataArray) -> np.ndarray:
    """Return which pairs (voltage, z, neighbour) resemble each other by more than chance."""
    evidence, after = (_values(pairs, name) for name in ("evidence", "correlation_after"))
    sure = evidence >= 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of distances without any
        usual = np.nanmedian(np.where(sure, after, np.nan), axis=1, keepdims=True)
    # Images of few structures are near chance everywhere: there, alike is what is usual.
    alike: np.ndarray = sure | ((evidence >= _LIKELY) & (after >= usual / 2))
    return alike


def _running_median(values: np.ndarray) -> np.ndarray:
    """Return the median of finite values about each place along the first axis."""
    half = _NEARBY // 2
    wide = np.pad(values, [(half, half)] + [(0, 0)] * (values.ndim - 1), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(wide, _NEARBY, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of places without any
        return np.asarray(np.nanmedian(windows, axis=-1))


def _links(pairs: xr.DataArray, flag: np.ndarray) -> Links:
    """Return what was measured between good slices."""
    numbers = pairs["neighbour"].values
    shift = np.stack([_values(pairs, f"shift_{axis}") for axis in ("y", "x")], axis=-1)
    after = _values(pairs, "correlation_after")
    slices = flag.shape[1]
    for image, good in zip(shift, flag == _GOOD, strict=True):
        _reduce_to_chain(image, numbers, good)
    base = _position(pairs)
    measured = np.isfinite(shift).all(axis=-1) & _resemble(pairs)
    measured[base, :, numbers == 0] = False
    v, k, i = np.nonzero(measured)
    n = numbers[i]
    c = np.minimum(after[v, k, i], 0.99)
    links = Links(
        start=np.where(n == 0, base * slices + k, v * slices + k),
        stop=v * slices + k + n,
        difference=shift[v, k, i],
        weight=c / (1 - c) / np.where(n == 0, 2, n) ** 2,
        place=(v, k, i),
    ).between(flag == _GOOD)
    near = numbers[links.place[2]] <= _BRIDGED
    sure = near | (_values(pairs, "evidence")[links.place] >= 1)
    # A distant pair near chance may add to a chain, but it is not what holds it together.
    piece = links.only(sure).pieces(flag.shape).ravel()
    return links.only(sure | (piece[links.start] == piece[links.stop]))


def _reduce_to_chain(shift: np.ndarray, numbers: np.ndarray, good: np.ndarray) -> None:
    """Take from shifts (z, neighbour, 2) what distant slices exceed the chain of steps by."""
    if 1 not in numbers:
        return
    steps = shift[:, list(numbers).index(1)].copy()
    steps[:-1][~(good[:-1] & good[1:])] = np.nan
    for i, n in enumerate(numbers):
        if 1 < n < len(steps):
            chain = np.sum([steps[j : len(steps) - n + j] for j in range(n)], axis=0)
            excess = _running_median(shift[:-n, i] - chain)
            shift[:-n, i] -= np.nan_to_num(excess)


def _robust(links: Links, shape: tuple[int, ...]) -> np.ndarray:
    """Return shifts (voltage, z, 2) in pixels."""
    weight = np.ones(len(links.start))
    shifts = np.zeros((*shape, 2))
    if not len(weight):
        return shifts
    # Least absolute residuals come first: there, a wrong pair is outvoted by number, not weight.
    for _ in range(_ROUNDS):
        shifts = _least_squares(links, weight, shape)
        weight = 1 / np.maximum(links.residuals(shifts), _LEAST_SCALE)
    for _ in range(_ROUNDS):
        residual = links.residuals(shifts)
        scale = max(1.4826 * float(np.median(residual)), _LEAST_SCALE)
        shifts = _least_squares(links, links.weight / (1 + (residual / scale) ** 2), shape)
    return shifts


def _least_squares(links: Links, weight: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Solve for the shifts (voltage, z, 2) of all slices."""
    count = prod(shape)
    numbers = np.arange(count).reshape(shape)
    # So that the solution is one: steps of slices that nothing else links are 0.
    start = np.concatenate([links.start, numbers[:, :-1].ravel(), numbers[:-1].ravel()])
    stop = np.concatenate([links.stop, numbers[:, 1:].ravel(), numbers[1:].ravel()])
    weak = np.full(len(start) - len(weight), _WEAK)
    root = np.sqrt(np.concatenate([weight, weak]))
    rows = np.arange(len(root))
    matrix = sparse.csr_array(
        (
            np.concatenate([root, -root]),
            (np.concatenate([rows, rows]), np.concatenate([stop, start])),
        ),
        shape=(len(root), count),
    )
    right = np.zeros((len(root), 2))
    right[: len(weight)] = links.difference * root[: len(weight), np.newaxis]
    # One slice is held, so that the normal equations have a solution.
    normal = (matrix.T @ matrix)[1:, 1:].tocsc()
    solution = np.zeros((count, 2))
    if count > 1:
        solution[1:] = linalg.splu(normal).solve((matrix.T @ right)[1:])
    return solution.reshape(*shape, 2)


def _contradicted(links: Links, shifts: np.ndarray, flag: np.ndarray) -> np.ndarray:
    """Return the good slices (voltage, z) most of whose links contradict the solution.

    By number and by weight: links between distant slices, or a single one between neighbours,
    may be wrong without any fault of a slice.
    """
    ends = np.concatenate([links.start, links.stop])
    wrong = np.tile(links.residuals(shifts) > _OUTLIER, 2)
    found = np.bincount(ends, minlength=flag.size) > 1
    for weight in (np.ones(len(ends)), np.tile(links.weight, 2)):
        total = np.bincount(ends, weights=weight, minlength=flag.size)
        found &= np.bincount(ends, weights=weight * wrong, minlength=flag.size) > total / 2
    return np.asarray(found.reshape(flag.shape) & (flag == _GOOD))


def _check_flags(flag: np.ndarray, pairs: xr.DataArray) -> None:
    for v, voltage in enumerate(pairs["voltage"].values):
        found = np.bincount(flag[v], minlength=len(FLAGS))
        if found[_GOOD] == 0 or (flag.shape[1] > 1 and found[_GOOD] < 2):
            counts = ", ".join(
                f"{n} {name}" for n, name in zip(found[1:], FLAGS[1:], strict=True) if n
            )
            msg = (
                f"two slices that can be compared are needed; at {voltage:g} kV there are "
                f"{flag.shape[1]} slices, {counts}"
            )
            raise ConventionError(msg)


def _warn_unlinked(links: Links, flag: np.ndarray, pairs: xr.DataArray) -> None:
    """Warn of good slices that no chain of measurements links to the first good slice."""
    good = flag == _GOOD
    piece = links.between(good).pieces(flag.shape)
    base = _position(pairs)
    loose = (piece != piece[base, np.argmax(good[base])]) & good
    if loose.any():
        breaks = [text for v in range(len(flag)) for text in _breaks(pairs, piece, good, v)]
        more = f" and {len(breaks) - _TOLD} more" if len(breaks) > _TOLD else ""
        text = (
            f"{loose.sum()} slices are not linked to those before: {'; '.join(breaks[:_TOLD])}"
            f"{more}; they are taken not to have moved there; a larger max_shift finds longer "
            "steps, more neighbours bridge longer runs of bad slices"
        )
        warnings.warn(text, FibdaskWarning, stacklevel=3)


def _breaks(pairs: xr.DataArray, piece: np.ndarray, good: np.ndarray, v: int) -> Iterator[str]:
    """Describe where a voltage falls apart, and that it does from the reference voltage."""
    numbers, after = pairs["neighbour"].values.tolist(), _values(pairs, "correlation_after")
    voltages, base = pairs["voltage"].values, _position(pairs)
    slices = np.flatnonzero(good[v])
    for k, following in pairwise(slices):
        if piece[v, k] != piece[v, following]:
            place = f"slices {k} and {following} at {voltages[v]:g} kV"
            n = following - k
            if n not in numbers:
                yield f"{place} are too far apart to be compared"
                continue
            column = after[v, :, numbers.index(n)]
            rest = np.median(column[np.isfinite(column)])
            alike = f"correlation {column[k]:.2g}, usually {rest:.2g}"
            yield f"{place} do not resemble each other ({alike})"
    both = good[v] & good[base]
    if v != base and not (piece[v] == piece[base])[both].any():
        found = np.nanmedian(np.append(after[v, both, 0], np.nan)) if both.any() else np.nan
        yield (
            f"images at {voltages[v]:g} kV do not resemble those at {voltages[base]:g} kV "
            f"(correlation {found:.2g})"
        )


def _warn_of_no_gain(pairs: xr.DataArray, shifts: np.ndarray, links: Links) -> None:
    """Warn of shifts for which slices correlate no better than as imaged."""
    numbers = pairs["neighbour"].values
    before, after = (_values(pairs, f"correlation_{time}") for time in ("before", "after"))
    for v, voltage in enumerate(pairs["voltage"].values):
        moved = np.ptp(shifts[v], axis=0)
        told = (links.place[0] == v) & (numbers[links.place[2]] > 0)
        if moved.max() < _WANDER or not told.any():
            continue
        places = tuple(indices[told] for indices in links.place)
        gain = after[places] - before[places]
        if max(gain[places[2] == i].mean() for i in np.unique(places[2])) < _GAIN:
            size = (moved * pairs.attrs["pixel_size"]).max()
            text = (
                f"moving slices at {voltage:g} kV by up to {size:.3g} nm gains nothing: pairs "
                f"correlate by {np.mean(before[places]):.3f} before and "
                f"{np.mean(after[places]):.3f} after; a drift too slow to be seen in them is not "
                "told from structures that are inclined or change with depth; detrend='linear' "
                "leaves its straight line in the images"
            )
            warnings.warn(text, FibdaskWarning, stacklevel=3)


def _residual(links: Links, shifts: np.ndarray, pairs: xr.DataArray) -> np.ndarray:
    """Return the residuals (voltage, z, neighbour) in nm; NaN without a link."""
    size = np.asarray(pairs.attrs["pixel_size"], np.float64)
    flat = shifts.reshape(-1, 2)
    apart = (links.difference - flat[links.stop] + flat[links.start]) * size
    residual = np.full(pairs.shape[:3], np.nan)
    residual[links.place] = np.linalg.norm(apart, axis=1)
    return residual


def _described(
    pairs: xr.DataArray,
    shifts: np.ndarray,
    flag: np.ndarray,
    residual: np.ndarray,
    detrend: str,
) -> xr.Dataset:
    """Return the result with names, units and the choices made."""
    image, pair = ("voltage", "z"), ("voltage", "z", "neighbour")
    flags = {"flag_values": list(range(len(FLAGS))), "flag_meanings": " ".join(FLAGS)}
    contents = {
        "flag": (image, flag.astype(np.uint8), flags | {"long_name": "quality of the slice"}),
        "residual": (
            pair,
            residual,
            {"long_name": "measured shift of the pair less the solution", "units": "nm"},
        ),
    }
    for i, axis in enumerate(("y", "x")):
        values = shifts[..., i] * pairs.attrs["pixel_size"][i]
        contents[f"shift_{axis}"] = (image, values, attributes(f"shift_{axis}"))
    names = {
        "correlation_before": "normalised correlation of the pair as imaged",
        "correlation_after": "normalised correlation of the pair laid onto each other",
    }
    for name, text in names.items():
        contents[name] = (pair, _values(pairs, name), {"long_name": text, "units": "1"})
    names = {
        "contrast": "standard deviation of grey values",
        "sharpness": "share of fine detail in the slice",
    }
    for name, text in names.items():
        contents[name] = (image, _values(pairs, name)[..., 0], {"long_name": text})
    coords = {name: pairs[name] for name in pair}
    choices = {"detrend": detrend, "reference_voltage": pairs.attrs["reference_voltage"]}
    result = xr.Dataset(contents, coords=coords, attrs=choices)
    parameters = choices | {name: pairs.attrs[name] for name in ("region", "fiducial_region")}
    parameters["neighbours"] = int(pairs["neighbour"].max())
    fingerprint = pairs.attrs["input_fingerprint"]
    return record_step(result, "estimate_shifts", parameters, fingerprint)
