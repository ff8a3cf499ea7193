"""The parts of a run that are at work, and their figures put together."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...blocks import Part, is_locked
from .figures import ADDED, MEASURED, rates
from .summary import parse_summary

PARTS = "parts"
_LOCK = re.compile(r"([1-9]\d*)-of-([1-9]\d*)\.lock")
_LARGEST = ("blocks", "seconds", "forecast_bytes", "peak_bytes")


def part_file(folder: Path, part: Part, kind: str) -> Path:
    """Return the file of a part in the folder of a run: its `lock`, or its figures (`json`)."""
    return folder / PARTS / f"{part.number}-of-{part.of}.{kind}"


def living_parts(folder: Path) -> list[Part]:
    """Return the parts of a run that are at work."""
    files = sorted(file for file in (folder / PARTS).glob("*.lock") if is_locked(file))
    found = [_LOCK.fullmatch(file.name) for file in files]
    return [Part(int(match[1]), int(match[2])) for match in found if match]


def read_figures(folder: Path) -> list[dict[str, Any]]:
    """Return what the parts of a run have done; of one that was killed, what it had written."""
    figures = []
    for file in sorted((folder / PARTS).glob("*.json")):
        try:
            figures.append(parse_summary(file.read_text(encoding="utf-8")))
        except (OSError, ValueError):  # removed, because the run has just ended
            continue
    return figures


def merged(summary: Mapping[str, Any], figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the summary of a run with the figures of its parts.

    Its own stages are those of an earlier run: what of them was measured is kept where none ran.
    """
    earlier = {stage["name"]: stage for stage in summary["stages"]}
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for stage in (stage for part in figures for stage in part["stages"]):
        by_name.setdefault(stage["name"], []).append(stage)
    stages = [_stage(found, earlier.get(name)) for name, found in by_name.items()]
    return {**summary, "stages": stages}


def ended(
    summary: Mapping[str, Any], figures: Sequence[Mapping[str, Any]], state: str
) -> dict[str, Any]:
    """Return the summary of a run whose last part has ended in a state.

    It is done where any part came to the end, whatever failed for others.
    """
    whole = merged(summary, figures)
    if any(part["state"] == "done" for part in figures):
        made_up = [{**stage, "blocks_failed": 0, "failures": []} for stage in whole["stages"]]
        return {**whole, "stages": made_up, "state": "done", "error": None}
    errors = [part["error"] for part in figures if part["error"]]
    return {**whole, "state": state, "error": errors[0] if errors else None}


def _stage(found: Sequence[Mapping[str, Any]], earlier: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the figures of a stage; beside its blocks, of the part that made the most of them."""
    stage = dict(max(found, key=lambda part: part["blocks_run"]))
    failures = {tuple(f["block"]): f for part in found for f in part["failures"]}
    run = sum(part["blocks_run"] for part in found)
    stage |= {key: max(part[key] for part in found) for key in _LARGEST}
    # What was there when the first part came; and all that any part knows of, in whose place a
    # part may have come that was killed.
    there = min(part["blocks_skipped"] for part in found)
    known = max(p["blocks_run"] + p["blocks_skipped"] + p["blocks_elsewhere"] for p in found)
    done = min(max(run + there, known), stage["blocks"] - len(failures))
    stage |= _work(found)
    stage |= {
        "blocks_run": run,
        "blocks_skipped": max(done - run, 0),
        "blocks_elsewhere": 0,
        "blocks_failed": len(failures),
        "failures": [failures[block] for block in sorted(failures)],
    }
    if earlier and not run and not failures:
        keys = ("peak_bytes", "forecast_bytes")
        stage |= {key: max(stage[key], earlier[key]) for key in keys}
        stage |= {key: earlier[key] for key in MEASURED}
    return stage


def _work(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the blocks of all parts took, who worked side by side."""
    work = {key: sum(part[key] for part in found) for key in ADDED}
    seconds = max(part["seconds"] for part in found)
    slow = [part["slowest"] for part in found if part["slowest"]]
    slowest = max(slow, key=lambda block: block["seconds"], default=None)
    return {**work, **rates(work, seconds), "slowest": slowest}
