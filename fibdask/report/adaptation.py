"""A page about a model that was fitted to a stack without labels: scores, before and after."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .figures.plots import embedded
from .figures.training import picture_row
from .markup import Section, picture, table
from .page import write_page
from .words import number

_COLUMNS = {
    "total": "Score",
    "tested": "wrong in simulated images, %",
    "doubt": "expected wrong, %",
    "disagreement": "apart in one voltage, %",
    "anisotropy": "not isotropic, %",
    "departure": "against what was sure, %",
    "unevenness": "uneven along z, %",
    "solid_fraction": "solid fraction",
}


def write_adaptation_report(
    path: str | Path, *, told: Mapping[str, Any], pictures: Sequence[tuple[str, np.ndarray]]
) -> Path:
    """Write a page about the candidates of an adaptation, which works from disk.

    Parameters
    ----------
    path
        Of the page.
    told
        `method`, `parent`, `chosen`, `candidates` with their scores, and `versions`.
    pictures
        Titled pictures (y, x), from 0 to 1, of a slice, and of solid before and after.
    """
    summary = {
        "title": f"Network {told['parent']['name']}, adapted",
        "version": told["versions"]["fibdask"],
    }
    return write_page(path, summary, [_scores(told), _pictures(told, pictures)])


def _scores(told: Mapping[str, Any]) -> Section:
    rows = [
        (
            f"{name} (chosen)" if name == told["chosen"] else name,
            *("–" if score[key] is None else number(score[key], ".3g") for key in _COLUMNS),
        )
        for name, score in told["candidates"].items()
    ]
    head = ("Candidate", *_COLUMNS.values())
    body = table(head, rows, numbers=tuple(range(1, len(head))))
    return Section("scores", "Scores without labels, the lower the better", body)


def _pictures(told: Mapping[str, Any], pictures: Sequence[tuple[str, np.ndarray]]) -> Section:
    figure = embedded(picture_row([*pictures]), "webp")
    caption = (
        "A slice as the network is shown it, and the probability of solid that it finds: the given "
        f"model before, {told['chosen']} after."
    )
    if told["chosen"] == "parent":
        caption += " No candidate scored clearly better: the given model stays."
    return Section("pictures", "Before and after", picture(figure, "Before and after.", caption))
