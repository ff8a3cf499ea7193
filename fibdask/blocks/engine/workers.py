"""Workers that end and come while a stage is made, as the scheduler tells."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import distributed

from .monitor import StageReport


@contextmanager
def workers_watched(
    client: distributed.Client | None, run: str, report: StageReport
) -> Iterator[None]:
    """Note in a report the blocks of ended workers, and times without any worker.

    The scheduler tells of workers only, so that this costs nothing for a block.

    Parameters
    ----------
    run
        What the keys of the blocks begin with.
    """
    if client is None:
        yield
        return
    watch = _Watch(set(client.nthreads()), run, report)
    client.subscribe_topic("all", watch.told)
    try:
        yield
    finally:
        if client.status == "running":
            client.unsubscribe_topic("all")
        watch.end_waiting()


class _Watch:
    def __init__(self, workers: set[str], run: str, report: StageReport) -> None:
        self._workers, self._run, self._report = workers, run, report
        self._since = None if workers else time.monotonic()

    def told(self, event: tuple[float, Any]) -> None:
        """Take what the scheduler tells."""
        _, message = event
        action = message.get("action") if isinstance(message, Mapping) else None
        if action == "add-worker":
            self._workers.add(message["worker"])
            self.end_waiting()
        elif action == "remove-worker":
            self._workers.discard(message["worker"])
            again = [*message["processing-tasks"], *message["lost-computed-tasks"]]
            self._report.blocks_retried += sum(map(self._is_block, again))
            if not self._workers and self._since is None:
                self._since = time.monotonic()

    def end_waiting(self) -> None:
        """Add the time without a worker that ends now."""
        if self._since is not None:
            self._report.waiting_seconds += time.monotonic() - self._since
            self._since = None

    def _is_block(self, key: Any) -> bool:
        return str(key[0] if isinstance(key, tuple) else key).startswith(self._run)
