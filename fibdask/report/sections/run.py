"""Sections about the run itself: failures, times, steps and recipe."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import xarray as xr

from ...conventions import recorded_steps
from ..markup import Section, paragraph, table
from ..words import duration, memory

_CARD = "model_card"  # has a section of its own
_COUNTS = ("blocks", "blocks_run", "blocks_skipped", "blocks_failed")
_SPEED_HEAD = (
    "Stage",
    "Mvox/s",
    "MB/s read",
    "MB/s written",
    "Block, median",
    "Slowest block",
    "Its place",
    "Tried again",
    "Without workers",
)
_TIMING_HEAD = ("Stage", "Blocks", "Run", "Skipped", "Failed", "Time")


def timing_section(summary: Mapping[str, Any]) -> Section | None:
    """List blocks, times and memory of every stage."""
    stages = summary.get("stages", [])
    if not stages:
        return None
    rows = [
        (
            str(stage["name"]),
            *(f"{stage[key]:,}" for key in _COUNTS),
            duration(stage["seconds"]),
            memory(stage["forecast_bytes"]),
            memory(stage["peak_bytes"]),
        )
        for stage in stages
    ]
    totals = (f"{sum(stage[key] for stage in stages):,}" for key in _COUNTS)
    rows.append(("all", *totals, duration(sum(stage["seconds"] for stage in stages)), "", ""))
    head = (*_TIMING_HEAD, "Memory, forecast", "Memory, measured")
    body = table(head, rows, numbers=range(1, len(head)), style="total")
    note = "Memory is that of one process: forecast before the run, and the measured peak."
    body += paragraph(note) + _speeds(stages)
    return Section("timings", "Time and memory", body)


def _speeds(stages: Sequence[Mapping[str, Any]]) -> str:
    """List how fast the blocks of each stage were made, and which took longest."""
    rows = [
        (
            str(stage["name"]),
            *(_rate(stage.get(f"{key}_per_second")) for key in ("mvox", "read_mb", "written_mb")),
            _brief(stage["median_seconds"]),
            _brief(stage["slowest"]["seconds"]),
            str(stage["slowest"]["place"]),
            str(stage["blocks_retried"]),
            duration(stage["waiting_seconds"]),
        )
        for stage in stages
        if stage.get("slowest")
    ]
    if not rows:
        return ""
    note = (
        "Of the last run in which blocks were made. MB are of voxels before compression, halos "
        "included where they are read; a block tried again is one whose worker had ended."
    )
    return table(_SPEED_HEAD, rows, numbers=(1, 2, 3, 4, 5, 7, 8)) + paragraph(note)


def _brief(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else duration(seconds)


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def failures_section(summary: Mapping[str, Any]) -> Section | None:
    """Name the blocks that failed, and why."""
    rows = [
        (str(stage["name"]), str(failure["block"]), str(failure["cause"]))
        for stage in summary.get("stages", [])
        for failure in stage.get("failures", [])
    ]
    if not rows:
        return None
    body = table(("Stage", "Block", "Cause"), rows)
    return Section("failures", "Failed blocks", body, alarm=True)


def provenance_section(
    stages: Mapping[str, xr.Dataset], summary: Mapping[str, Any]
) -> Section | None:
    """List the steps that made the result, with their parameters."""
    records = recorded_steps(list(stages.values())[-1]) if stages else []
    rows = [
        (
            str(record["step"]),
            "\n".join(f"{k} = {_plain(v)}" for k, v in record["parameters"].items() if k != _CARD),
            str(record["version"]),
        )
        for record in records
    ]
    body = table(("Step", "Parameters", "Version"), rows) if rows else ""
    assumptions = [f"<li>{escape(str(text))}</li>" for text in summary.get("assumptions", [])]
    if assumptions:
        body += f"<h3>Assumed, not measured</h3>\n<ul>{''.join(assumptions)}</ul>"
    return Section("provenance", "Provenance", body) if body else None


def _plain(value: object) -> str:
    return "none" if value is None else str(value)


def recipe_section(summary: Mapping[str, Any]) -> Section | None:
    """Show the resolved recipe."""
    text = str(summary.get("recipe", "")).strip()
    return Section("recipe", "Recipe", f"<pre>{escape(text)}</pre>") if text else None
