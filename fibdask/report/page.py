"""The page: sections put into a template and written to one file."""

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import xarray as xr

from ..conventions import is_layered
from .markup import Section
from .sections.depth import alignment_section, depth_section
from .sections.labels import labels_section
from .sections.layers import layers_section
from .sections.look import look_section
from .sections.network import network_section
from .sections.overview import overview_section
from .sections.run import (
    failures_section,
    provenance_section,
    recipe_section,
    timing_section,
)
from .sections.slices import slices_section
from .sections.statistics import accuracy_section, profile_section, statistics_section


def write_report(
    path: str | Path,
    *,
    stages: Mapping[str, xr.Dataset],
    statistics: xr.Dataset | None,
    summary: Mapping[str, Any],
    estimates: Mapping[str, xr.Dataset] | None = None,
    titles: Mapping[str, str] | None = None,
    tell: Callable[[int, int], None] = lambda *_: None,
) -> Path:
    """Write the report of a run: one HTML page that works from disk without a network.

    Of each stage three planes are read. Of the last volumes, small copies are made to look
    through, for which `READ_BYTES` of `figures.sampled` are decoded at most, however large they
    are. What is absent is left out.

    Parameters
    ----------
    path
        Of the page.
    stages
        Stacks (voltage, z, y, x) after each stage, in the order of processing, by stage name.
        That of `simulate`, or else the first one, holds the slices as imaged; that of
        `thickness` holds them at their measured depth. Of layered samples, the maps are shown.
    statistics
        Statistics of the last phase, any of `two_point_correlation` and `lineal_path` (axis, lag)
        with `distance` (axis, lag) in nm, `ligament_diameter` (axis) in nm, `solid_fraction` (),
        `solid_fraction_profile` (z), `isotropy_error` and `isotropy_noise` (statistic),
        `misplaced` () and `misplaced_solid` () in %, `mean_dice` (), and the same of the whole
        volume with `volume_`; `true_solid_fraction` () and `true_ligament_diameter` (axis) in nm;
        `volume_misplaced_on_slices` and `_between` of its planes that hold a slice and of others;
        of a network `unsure_share`, `expected_misplaced` and `expected_solid_fraction` (plane),
        with `depth` (plane) in nm; intervals (bound, …) of the same names with `_interval`; or
        None. What must be known beside them, as `statistics_warnings` finds it, is listed.
    summary
        What is known of the run: `title`, `version`, `created`, `recipe` (TOML), `assumptions`
        ("voltage = 2"), and `stages`, a list of `name`, `blocks`, `blocks_run`, `blocks_skipped`,
        `blocks_failed`, `seconds`, `forecast_bytes`, `peak_bytes` and `failures` (each with
        `block` and `cause`), and, where blocks were made, `mvox_per_second`,
        `read_mb_per_second`, `written_mb_per_second`, `median_seconds`, `slowest` (`seconds` and
        `place`), `blocks_retried` and `waiting_seconds`; and `error`, a sentence if the run ended
        early.
    estimates
        What was estimated of the slices, by stage: for `align`, as `estimate_shifts` returns it;
        for `thickness`, what `estimate_slice_thickness` returns as a dataset, with the variable
        `thickness` (z) in nm, and `reference_thickness` (z) in nm if there is a second source,
        with its name in the attribute `source`; for `segment` by painted slices, what
        `learning_curve` returns, with `expected_misplaced` (plane) in %, or, in the attribute
        `reason`, why there is none.
    titles
        What stages are called, by stage name; by default the name.
    tell
        Is told how many sections are made, and how many there are.

    Returns
    -------
    Path
        The page.
    """
    numbers = xr.Dataset() if statistics is None else statistics.compute()
    found = estimates or {}
    stacks = {name: stack for name, stack in stages.items() if not is_layered(stack)}
    layered = {name: sample for name, sample in stages.items() if is_layered(sample)}
    sections = (
        partial(overview_section, stacks, numbers, summary),
        partial(failures_section, summary),
        partial(look_section, stacks),
        partial(layers_section, layered),
        partial(slices_section, stacks, titles or {}),
        partial(network_section, stacks, numbers),
        partial(labels_section, stacks, found),
        partial(alignment_section, found),
        partial(depth_section, stacks, found),
        partial(profile_section, stacks, numbers),
        partial(statistics_section, numbers),
        partial(accuracy_section, numbers),
        partial(timing_section, summary),
        partial(provenance_section, stages, summary),
        partial(recipe_section, summary),
    )
    made = []
    for make in sections:
        made.append(make())
        tell(len(made), len(sections))
    return write_page(path, summary, made)


def write_page(
    path: str | Path, summary: Mapping[str, Any], made: Iterable[Section | None]
) -> Path:
    """Put sections, those that are not None, into the template and write it to one file.

    The page runs no scripts but those of the sections, whatever it holds.
    """
    path = Path(path)
    shown = [section for section in made if section is not None]
    scripts = dict.fromkeys(section.script for section in shown if section.script)
    package = files(__package__ or "fibdask.report") / "templates"
    template = Template(package.joinpath("page.html").read_text(encoding="utf-8"))
    known = [str(summary[key]) for key in ("created",) if summary.get(key)]
    known += [f"fibdask {summary['version']}"] if summary.get("version") else []
    page = template.substitute(
        title=escape(str(summary.get("title", "Run"))),
        style=package.joinpath("page.css").read_text(encoding="utf-8"),
        made=escape(" · ".join(known)),
        navigation="\n".join(section.link() for section in shown),
        notes=_notes(summary),
        sections="\n".join(section.html() for section in shown),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
        allowed=" ".join(map(_digest, scripts)) or "'none'",
    )
    temporary = path.with_name(f".{path.name}.partial")
    try:
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _digest(script: str) -> str:
    """Return what tells a browser that it may run a script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _notes(summary: Mapping[str, Any]) -> str:
    """Return banners: failed blocks and what else ended the run in red, assumptions in yellow."""
    notes = []
    failed = sum(stage.get("blocks_failed", 0) for stage in summary.get("stages", []))
    if failed:
        blocks = "1 block failed" if failed == 1 else f"{failed} blocks failed"
        text = f'<strong>{blocks}.</strong> What follows is incomplete; see <a href="#failures">'
        notes.append(f'<p class="banner alarm" role="alert">{text}failed blocks</a>.</p>')
    elif summary.get("error") or summary.get("state") == "interrupted":
        cause = escape(str(summary.get("error") or "it was interrupted"))
        text = f"<strong>The run ended early:</strong> {cause}."
        notes.append(f'<p class="banner alarm" role="alert">{text} What follows is incomplete.</p>')
    assumptions = [escape(str(text)) for text in summary.get("assumptions", [])]
    if assumptions:
        text = "<strong>Assumed, not measured:</strong> " + "; ".join(assumptions) + "."
        notes.append(f'<p class="banner note">{text}</p>')
    return "\n".join(notes)
