"""How fast a stage was, of what its arrays report."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...blocks import StageReport, Work

ADDED = ("work_seconds", "voxels", "read_bytes", "written_bytes", "stored_bytes")
"""What blocks took, which adds up."""
MEASURED = (
    *ADDED,
    "mvox_per_second",
    "read_mb_per_second",
    "written_mb_per_second",
    "median_seconds",
    "slowest",
)
"""What is known of a stage once blocks of it have run."""


def figures(reports: Sequence[StageReport]) -> dict[str, Any]:
    """Return what the blocks of a stage took, and how fast they were made all together."""
    work = sum((report.work for report in reports), Work())
    seconds = sum(report.seconds for report in reports)
    slow, median = work.slowest, work.median_seconds
    added = {key: getattr(work, key.removeprefix("work_")) for key in ADDED}
    return {
        "blocks_retried": sum(report.blocks_retried for report in reports),
        "waiting_seconds": round(sum(report.waiting_seconds for report in reports), 3),
        **added,
        "work_seconds": round(work.seconds, 3),
        **rates(added, seconds),
        "median_seconds": None if median is None else _digits(median),
        "slowest": slow
        and {"block": list(slow.block), "place": slow.place, "seconds": _digits(slow.seconds)},
    }


def rates(added: Mapping[str, Any], seconds: float) -> dict[str, float | None]:
    """Return how fast it was, of what adds up."""
    return {
        "mvox_per_second": _millions(added["voxels"], seconds),
        "read_mb_per_second": _millions(added["read_bytes"], seconds),
        "written_mb_per_second": _millions(added["written_bytes"], seconds),
    }


def _millions(count: int, seconds: float) -> float | None:
    """Return millions a second; None where nothing was made."""
    return _digits(count / seconds / 1e6) if count and seconds else None


def _digits(number: float) -> float:
    """Return a number to four digits, however small."""
    return float(f"{number:.4g}")
