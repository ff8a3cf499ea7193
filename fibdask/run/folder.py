"""The folder of a run: stores of the stages, log, and the summary that status and report read."""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..blocks import StageReport, is_locked, locked
from ..conventions import VERSION, StackReadError

SUMMARY = "run.json"
LOG = "fibdask.log"
COUNTS = "counts"
LOCK = "run.lock"
_WRITE_EVERY = 1.0  # seconds


class RunFolder:
    """Output folder of a recipe, and its summary on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.summary: dict[str, Any] = {}
        self._earlier: dict[str, Any] = {}
        self._written = 0.0

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Keep the folder from being used by two runs at once.

        Raises
        ------
        StackReadError
            If another run uses it, or the path is something else than the folder of a run.
        """
        self._check()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"output path {self.path} cannot be written: {error.strerror}"
            raise StackReadError(msg) from error
        with locked(self.path / LOCK):
            yield

    def _check(self) -> None:
        used = self.path.exists() and not (self.path.is_dir() and not any(self.path.iterdir()))
        known = self._file.is_file() or (self.path / LOCK).is_file()
        if used and not known:
            msg = (
                f"output path {self.path} exists and is not the folder of a run; "
                "choose another or remove it"
            )
            raise StackReadError(msg)

    def prepare(self, title: str, recipe: str, assumptions: list[str]) -> None:
        """Begin the summary of a run; figures of an earlier one are kept where nothing runs."""
        if self._file.is_file():
            self._earlier = {stage["name"]: stage for stage in self.read()["stages"]}
        self.summary = {
            "title": title,
            "version": VERSION,
            "created": time.strftime("%Y-%m-%d %H:%M:%S %z"),
            "recipe": recipe,
            "assumptions": assumptions,
            "state": "running",
            "stages": [],
        }
        (self.path / "recipe.toml").write_text(recipe, encoding="utf-8")
        self._write()

    @property
    def _file(self) -> Path:
        return self.path / SUMMARY

    def store(self, stage: str) -> Path:
        """Return the store of a stage."""
        return self.path / f"{stage}.zarr"

    def read(self) -> dict[str, Any]:
        """Read the summary of the last run; one that was killed is `interrupted`.

        Raises
        ------
        StackReadError
            If there is none.
        """
        try:
            summary = dict(json.loads(self._file.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            msg = f"{self.path} is not the folder of a run: {SUMMARY} cannot be read ({error})"
            raise StackReadError(msg) from None
        if summary.get("state") == "running" and not is_locked(self.path / LOCK):
            summary["state"] = "interrupted"
        return summary

    def update(self, stage: Mapping[str, Any], *, now: bool) -> None:
        """Put a stage's figures into the summary; on disk at once, or within a second."""
        stages = [s for s in self.summary["stages"] if s["name"] != stage["name"]]
        self.summary["stages"] = [*stages, dict(stage)]
        if now or time.monotonic() - self._written > _WRITE_EVERY:
            self._write()

    def finish(self, state: str) -> None:
        """Write the last summary of a run."""
        self.summary["state"] = state
        self._write()

    def _write(self) -> None:
        temporary = self._file.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.summary, indent=1), encoding="utf-8")
        temporary.replace(self._file)
        self._written = time.monotonic()

    def merge(self, name: str, reports: list[StageReport]) -> dict[str, Any]:
        """Add up the arrays of a stage; a stage of which nothing ran keeps its measured peak."""
        failures = [asdict(failure) for report in reports for failure in report.failures]
        stage: dict[str, Any] = {
            "name": name,
            "blocks": sum(r.blocks for r in reports),
            "blocks_run": sum(r.blocks_run for r in reports),
            "blocks_skipped": sum(r.blocks_skipped for r in reports),
            "blocks_failed": len(failures),
            "seconds": round(sum(r.seconds for r in reports), 3),
            "forecast_bytes": max(r.forecast_bytes for r in reports),
            "peak_bytes": max(r.peak_bytes for r in reports),
            "failures": failures,
        }
        earlier = self._earlier.get(name)
        if earlier and not stage["blocks_run"] and not failures:
            for key in ("peak_bytes", "forecast_bytes"):
                stage[key] = max(int(stage[key]), int(earlier[key]))
        return stage
