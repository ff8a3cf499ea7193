"""Before a run: a small part of its input is read, and networks of the recipe are asked for it."""

import contextlib
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec

import dask
import numpy as np
import xarray as xr

from ..align import estimate_shifts
from ..conventions import (
    ConventionError,
    FibdaskError,
    FibdaskWarning,
    axis_spacing,
    measured_slices,
    recorded_steps,
)
from ..imaging.voltages import left_by_voltage
from ..learn.models import open_model, shipped_models
from ..pieces.models import AUTO, Seen, find_model
from ..pieces.validity import IMAGES, known_materials, model_channels
from ..reconstruct import reconstruct_volume
from ..segment import segment_phases
from .folder.summary import PARTED
from .recipe import Recipe, blamed_on
from .stages import in_order
from .walk import first_stack, is_stored

_MOST = {"z": 32, "y": 256, "x": 256}  # slices and pixels in the middle that are looked at
_COMPARED = 17  # slices that are compared with the next
_LEAST = 128  # pixels along an axis: smaller images tell displacements too badly
_APART, _ALIKE, _BETTER = 0.6, 0.35, 0.4
"""Pixels that slices are apart, their correlation in register, and the share of them whose
correlation was less before, from which on displacements are told."""
_MEDIAN = 0.6745  # of the absolute values of a normal distribution, in its standard deviation
_TILTS = (0.0, 18.0, 36.0, 52.0, -18.0, -36.0, -52.0)  # degrees
_SEEN = {"z": 12, "y": 128, "x": 128}  # slices and pixels that a network is asked for by each
_SURER, _SURE = 0.9, 1e-3
"""Share of its doubts that a network has left at another tilt, and mean ones that tell nothing."""
_MUCH_SURER = 0.8  # as large a share, where another model is told of
_OTHER_VOLTAGE = 1.25
"""Times as much as images of the given voltage leave unexplained of what those of another do, from
which on that is told. Of gold in epoxy seen by gold-windows, it was at most 0.66 at 33 right
voltages, and 1.03 with drifts, stripes and noise; more at 63 of 66 wrong ones, and about 2.3 in the
median. Of gold in vacuum it was up to 1.6 at right ones, where porous-windows sees 0.9."""
_BAR = 4  # a data bar is less than one part in so many of an image
_CHANGE_GREY = {"curtaining", "brightness"}
"""Tables of recipes that change grey values before they are segmented."""
_ASKED = ("voltage", "model", "device", "tilt")
_OF_THE_WHOLE = {"region_of_interest": None, "data_bar": 0}  # options that say places
_Given = ParamSpec("_Given")


def look_at_input(recipe: Recipe) -> None:
    """Read a slice, and segment some of them, or ask the network that reconstructs, as they are.

    What k-means makes of them is told where it parts a peak of grey values, unless the recipe
    changes these before. What a network makes is told, where it does not fit its card, whether
    another model that ships is much surer, whether grey values seem to be inverted, whether images
    are of another detector, another voltage or a beam of another tilt, and whether slices are
    displaced that the recipe does not align, or have a data bar. Nothing is known of images that it
    simulates.

    Raises
    ------
    StackReadError
        If the slice cannot be read, such as one in colours.

    Warns
    -----
    FibdaskWarning
        See `segment_phases`; or if slices are displaced or have a data bar, images are inverted,
        of another detector, voltage or tilt, or another model is surer.
    """
    if "input" not in recipe.tables:
        return
    source = first_stack(recipe)
    in_register = "intensity" in source and "align" not in recipe.tables
    as_seen = "intensity" in source and not _CHANGE_GREY & recipe.tables.keys()
    if "intensity" in source:
        _middle(source)["intensity"][:, :1].compute()
        # Where alignment fills what it moves, a bar is no longer where [segment] cuts it off.
        filled = recipe.tables.get("align", {}).get("outside", "crop") != "crop"
        cut = 0 if filled else recipe.tables.get("segment", {}).get("data_bar", 0)
        warn_of_data_bar(source, cut)
    if in_register:
        in_register = not warn_of_steps(_middle(source))
    for stage in in_order(recipe.tables):
        table = recipe.tables[stage.name]
        if stage.makes == "phase" and stage.asks_network(table):
            with blamed_on(stage.name), contextlib.suppress(ConventionError):
                # What does not fit the part alone, such as its thickness, is not told.
                made = stage.function(_middle(source), **_anywhere(table))
                made["solid_probability"][:1, :1, :1].compute()
                asked = {key: table[key] for key in _ASKED}
                warn_of_surer_model(_middle(source), **asked)
                warn_of_inverted(_middle(source), **asked)
                # Displaced slices look like a tilt, and either hides how deep solid shines through.
                tilted = in_register and warn_of_tilt(_middle(source), **asked)
                # Wrong depths look like a wrong voltage, too.
                if in_register and not tilted and "thickness" not in recipe.tables:
                    warn_of_voltage(_middle(source), **asked)
                if table["voltage"] is None:
                    warn_of_detector(_middle(source), table["model"], table["tilt"])
        elif stage.makes == "phase" and table["method"] == "kmeans" and as_seen:
            warn_of_parted_peak(source, **table)


def look_at_images(stack: xr.Dataset, table: Mapping[str, Any]) -> None:
    """Ask the models that ship for a few images, before a run asks its network for all of them.

    Parameters
    ----------
    stack
        That the stage is given, with `intensity`.
    table
        Its options.

    Warns
    -----
    FibdaskWarning
        If another model is much surer, or images seem to be inverted.
    """
    # A few images that are not stored may take all of them, such as the brightness of all slices.
    if "intensity" in stack and is_stored(stack[["intensity"]]):
        asked = {key: table[key] for key in _ASKED} | {"device": "cpu"}  # GPUs are for workers
        # What is wrong will be told of all images.
        with contextlib.suppress(FibdaskError), dask.config.set(scheduler="synchronous"):
            warn_of_surer_model(stack, **asked)
            warn_of_inverted(stack, **asked)


def _warning(rule: Callable[_Given, str | None]) -> Callable[_Given, bool]:
    """Return a function that warns of what a rule tells, and returns whether that is something.

    A part that does not fit, such as a single slice, tells nothing, though the stack may fit.
    """

    @wraps(rule)
    def warn(*args: _Given.args, **kwargs: _Given.kwargs) -> bool:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FibdaskWarning)
            try:
                text = rule(*args, **kwargs)
            except ConventionError:
                return False
        if text is not None:
            warnings.warn(text, FibdaskWarning, stacklevel=3)
        return text is not None

    return warn


@_warning
def warn_of_data_bar(stack: xr.Dataset, cropped: int = 0) -> str | None:
    """Warn of rows at the bottom that slices share to the last bit, as noise never lets them.

    Rows of one grey value, such as those beside an aligned slice, tell nothing; nor do slices that
    are alike as a whole.

    Parameters
    ----------
    stack
        With `intensity`; the first, middle and last slice of its first voltage are compared.
    cropped
        Rows at the bottom that are known to be no image.

    Warns
    -----
    FibdaskWarning
        With the number of rows.
    """
    measured = np.flatnonzero(measured_slices(stack))
    rows = stack.sizes["y"] // _BAR
    if len(measured) < 2 or not rows:
        return None
    chosen = [int(measured[place]) for place in (0, len(measured) // 2, -1)]
    lowest = stack["intensity"].isel(voltage=0, y=slice(-rows, None))
    first, *others = (lowest.isel(z=z).values for z in chosen)
    same = np.all([(first == other).all(axis=1) for other in others], axis=0)
    shared = rows - int(np.argmax(same))
    marked = (same & (np.ptp(first, axis=1) > 0)).any()
    if not (marked and same[-1] and not same[0] and shared > cropped):
        return None
    return (
        f"among the lowest {shared} of {stack.sizes['y']} rows are some that are the same in the "
        "first, middle and last slice, as those of a data bar are: it would count as structure; "
        "look at a slice, and cut it off ([input] crop)"
    )


@_warning
def warn_of_parted_peak(stack: xr.Dataset, **options: Any) -> str | None:
    """Warn of k-means that parts one peak of grey values in two.

    What else it warns of is true of the middle alone. A region of interest, which may lie
    elsewhere, is left to the run.

    Parameters
    ----------
    stack
        With `intensity`.
    **options
        As `segment_phases` takes them.

    Warns
    -----
    FibdaskWarning
        As `segment_phases` does.
    """
    if options["region_of_interest"] is not None:
        return None
    image = stack.isel(y=slice(0, stack.sizes["y"] - options["data_bar"]))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", FibdaskWarning)
        segment_phases(_middle(image), **_anywhere(options))["phase"].compute()
    texts = [str(one.message) for one in told]
    return next((text for text in texts if PARTED in text), None)


@_warning
def warn_of_steps(part: xr.Dataset) -> str | None:
    """Warn of slices that are not in register, which no network shows by its doubts.

    Slices too far apart or too noisy to look alike tell nothing, nor do small images.

    Parameters
    ----------
    part
        Of a stack with `intensity`; the first voltage and slices of it are compared.

    Warns
    -----
    FibdaskWarning
        With how far they are displaced.
    """
    few = part.isel(voltage=[0], z=slice(0, _COMPARED))
    if min(few.sizes["y"], few.sizes["x"]) < _LEAST:
        return None
    found = estimate_shifts(few, neighbours=1, rounds=1)
    steps = [np.diff(found[f"shift_{axis}"][0]) / axis_spacing(few, axis) for axis in "yx"]
    typical = float(np.median(np.abs(steps)) / _MEDIAN)
    after, before = (found[f"correlation_{when}"][0, :-1, 0] for when in ("after", "before"))
    better = float((after > before).mean())
    displaced = float(after.median()) >= _ALIKE and typical >= _APART and better >= _BETTER
    if not displaced:
        return None
    return (
        f"slices in the middle of the input are displaced against their neighbours by "
        f"{typical:.1f} pixels along y and x (standard deviation), and the recipe has no "
        "[align]: what is between them, and networks that see several, need them in register"
    )


@_warning
def warn_of_tilt(part: xr.Dataset, tilt: float = 0.0, **asked: Any) -> str | None:
    """Warn of a beam of another tilt than is given, along which a network sees slices more surely.

    Parameters
    ----------
    part
        Of a stack with `intensity`, whose slices are in register.
    tilt
        That is given.
    **asked
        How else `segment_phases` asks the network.

    Warns
    -----
    FibdaskWarning
        With the tilt in degrees, one of a few.
    """
    few = _middle(part, _SEEN)
    doubts = {
        tilted: _doubt(segment_phases(few, method="network", tilt=tilted, **asked))
        for tilted in dict.fromkeys((tilt, *_TILTS))
    }
    best = min(doubts, key=doubts.__getitem__)
    surer = doubts[tilt] > _SURE and doubts[best] < _SURER * doubts[tilt]
    if not surer:
        return None
    beam = f"a beam that is tilted by about {best:g} degrees" if best else "an upright beam"
    return (
        f"images in the middle of the input look as those of {beam}, and tilt is {tilt:g}: "
        "what shines through fits together better there; set tilt to that of the microscope"
    )


@_warning
def warn_of_surer_model(part: xr.Dataset, model: str = AUTO, **asked: Any) -> str | None:
    """Warn of a model that ships and is much surer of images than the one that is asked.

    Parameters
    ----------
    part
        Of a stack with `intensity`.
    model, **asked
        As `segment_phases` takes them.

    Warns
    -----
    FibdaskWarning
        With its name, and the voxels that both expect to be wrong.
    """
    few = _middle(part, _SEEN)
    made = segment_phases(few, method="network", model=model, **asked)
    chosen = recorded_steps(made)[-1]["parameters"]["model"] if model == AUTO else model
    others = {}
    for shipped in shipped_models():
        if shipped.card["task"] == IMAGES and shipped.name != chosen:
            with contextlib.suppress(ConventionError):
                other = segment_phases(few, method="network", model=shipped.name, **asked)
                others[shipped.name] = _doubt(other)
    if not others or (own := _doubt(made)) <= _SURE:
        return None
    best = min(others, key=others.__getitem__)
    if not others[best] < _MUCH_SURER * own:
        return None
    return (
        f"model {best} expects {100 * others[best]:.3g} % of voxels to be wrong in the middle "
        f"of the input, and {chosen}, which is asked, {100 * own:.3g} %: it has learnt from "
        f"images that are more like these, as it seems; compare both (model = {best!r})"
    )


@_warning
def warn_of_inverted(part: xr.Dataset, **asked: Any) -> str | None:
    """Warn of images in which pores are bright, which a network may doubt little.

    It finds more solid in them than in any that it has learnt from; of their negatives it is surer,
    and finds as much as it knows.

    Parameters
    ----------
    part
        Of a stack with `intensity`.
    **asked
        As `segment_phases` takes it.

    Warns
    -----
    FibdaskWarning
        With the solid fractions of both.
    """
    few = _middle(part, _SEEN)
    made = segment_phases(few, method="network", **asked).compute()
    card = recorded_steps(made)[-1]["parameters"]["model_card"]
    low, high = card.get("solid_fraction") or (0.0, 1.0)
    if (given := _solid(made)) <= high:
        return None
    other = segment_phases(_negative(few), method="network", **asked).compute()
    found = _solid(other)
    if not (low <= found <= high and _doubt(other) < _MUCH_SURER * _doubt(made)):
        return None
    return (
        f"the network finds a solid fraction of {given:.2g} in the middle of the input, and of "
        f"{found:.2g}, of which it is surer, if grey values are inverted: it has learnt from "
        "images in which solid is bright; invert them if pores are bright in these"
    )


@_warning
def warn_of_voltage(
    part: xr.Dataset, model: str = AUTO, tilt: float = 0.0, **asked: Any
) -> str | None:
    """Warn of images that look like those of another voltage, by how deep solid shines through.

    Parameters
    ----------
    part
        Of a stack with `intensity`, whose slices are in register.
    model
        As `reconstruct_volume` takes it.
    tilt
        That is given; images of a tilted beam, which nothing simulates fast, tell nothing.
    **asked
        How else `reconstruct_volume` asks the network.

    Warns
    -----
    FibdaskWarning
        With the voltage that is given, and the one of those that the network knows which they look
        most like.
    """
    if tilt:
        return None
    few = _middle(part, _SEEN)
    used, told = _other_voltages(few, model, **asked)
    for shipped in shipped_models():
        # One that has learnt from other materials may see how the given voltage shows these.
        if told and shipped.card["task"] == IMAGES and shipped.name != used:
            with contextlib.suppress(ConventionError):
                _, agreed = _other_voltages(few, shipped.name, **asked)
                told = {given: best for given, best in told.items() if given in agreed}
    if not told:
        return None
    each = ", and ".join(f"of {best:g} kV than of {given:g} kV" for given, best in told.items())
    return (
        f"images in the middle of the input look more like those {each}, by how deep below pores "
        "solid shines through: check the voltages and the depths of slices, by which the network "
        "judges that"
    )


def _other_voltages(few: xr.Dataset, model: str, **asked: Any) -> tuple[str, dict[float, float]]:
    """Return the name of a model, and of voltages the others whose images theirs look more like."""
    seen = reconstruct_volume(few, spacing=axis_spacing(few, "x"), model=model, **asked)
    step = recorded_steps(seen)[-1]["parameters"]
    card, shown = step["model_card"], few.sel(voltage=step["voltage"])
    known = card["voltages"]
    left = left_by_voltage(shown, seen["phase"].compute(), known, known_materials(card))
    rows = zip(step["voltage"], model_channels(card, shown), left, strict=True)
    return step["model"], {
        given: known[int(np.argmin(row))]
        for given, own, row in rows
        if row[own] > _OTHER_VOLTAGE * row.min()
    }


def _negative(stack: xr.Dataset) -> xr.Dataset:
    """Return a stack with inverted images, of the same range."""
    image = stack["intensity"]
    values = image.values
    ends = np.nanmin(values), np.nanmax(values)
    return stack.assign(intensity=image.copy(data=ends[1] - (values - ends[0])))


def _solid(segmented: xr.Dataset) -> float:
    """Return the solid fraction that a network finds."""
    return float((segmented["solid_probability"].values > 0.5).mean())


def _doubt(segmented: xr.Dataset) -> float:
    """Return the share of voxels that a network expects to be wrong."""
    solid = segmented["solid_probability"].values
    return float(np.minimum(solid, 1 - solid).mean())


@_warning
def warn_of_detector(part: xr.Dataset, model: str = AUTO, tilt: float = 0.0) -> str | None:
    """Warn of images of another detector than a network has learnt from, which it doubts little.

    Parameters
    ----------
    part
        Of a stack with `intensity`, of all voltages that the network sees.
    model, tilt
        As `segment_phases` takes them.

    Warns
    -----
    FibdaskWarning
        With the detector.
    """
    from ..learn.adaptation.detectors import learnt_detectors, other_detector

    chosen = open_model(find_model(model, part, seen=Seen(tilt)).folder)
    if (detector := other_detector(chosen, part, tilt)) is None:
        return None
    knowing = [m.name for m in shipped_models() if detector in learnt_detectors(m.card)]
    other = f", or compare {knowing[0]}, which knows that detector" if knowing else ""
    return (
        f"images in the middle of the input look as the detector {detector!r} shows what model "
        f"{chosen.name} sees in them, not as those that it has learnt from: it may be wrong "
        "several times as often as its card says; fit it to the stack (adapt_model with "
        f'method="simulation"){other}'
    )


def _middle(source: xr.Dataset, most_of: Mapping[str, int] = _MOST) -> xr.Dataset:
    places = {}
    for axis, most in most_of.items():
        n = source.sizes[axis]
        start = max((n - most) // 2, 0)
        places[axis] = slice(start, start + most)
    return source.isel(places)


def _anywhere(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a stage without those that say places of the whole stack."""
    return {key: _OF_THE_WHOLE.get(key, value) for key, value in table.items()}
