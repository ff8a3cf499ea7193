"""Hand tasks to workers, or to Dask in this process, and take what comes back."""

import contextlib
import os
import time
import warnings
from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from threading import Lock

import dask.threaded
import distributed
import psutil
from dask.delayed import Delayed

from ..conventions import BlocksFailedError, ConventionError, FibdaskWarning
from .writing import Outcome, failure, number_of

_POLL = 0.02  # seconds between looks at what has finished
_inherited: list[distributed.Client] = []  # whose threads are in the process that was forked


def _leave_parent() -> None:
    """Forget in a fork what waits for threads that only its parent has."""
    dask.threaded.pools_lock = Lock()
    dask.threaded.default_pool = None
    dask.threaded.pools.clear()
    with contextlib.suppress(ValueError):  # no client
        _inherited.append(distributed.Client.current())
        dask.config.set(scheduler="threads")  # where the client had set itself


os.register_at_fork(after_in_child=_leave_parent)


def _is_inherited(client: distributed.Client) -> bool:
    return any(client is other for other in _inherited)


def current_client() -> distributed.Client | None:
    """Return the Dask client of this process, if there is one that is connected."""
    try:
        client = distributed.get_client()
    except ValueError:
        return None
    if _is_inherited(client):
        msg = "the Dask client is that of the process forked: blocks are made here, without it"
        warnings.warn(msg, FibdaskWarning, stacklevel=3)
        return None
    return client if client.status == "running" else None


def worker_limits(client: distributed.Client | None) -> tuple[int, int | None]:
    """Return threads and memory in bytes of a client's smallest worker, or of this process.

    Raises
    ------
    ConventionError
        If the client's threads are in a process of which this one is a fork.
    """
    if client is None:
        return os.cpu_count() or 1, int(psutil.virtual_memory().available)
    if _is_inherited(client):
        msg = "client must be one of this process, which is a fork; got that of its parent"
        raise ConventionError(msg)
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    limits = [worker["memory_limit"] for worker in workers if worker["memory_limit"]]
    threads = max((int(worker["nthreads"]) for worker in workers), default=1)
    return threads, min(limits, default=None)


def run_tasks(
    tasks: Iterable[Delayed], client: distributed.Client | None, *, together: bool
) -> Generator[Outcome]:
    """Run tasks and yield their outcomes as they finish.

    Tasks that share a graph run `together`; others are handed over a few ahead of the workers.
    """
    iterator = iter(tasks)
    if client is not None:
        yield from _run_on_workers(iterator, client, together=together)
    elif together:
        yield from _run_shared(list(iterator))
    else:
        while batch := list(islice(iterator, os.cpu_count() or 1)):
            yield from dask.compute(*batch)


def _run_shared(tasks: list[Delayed]) -> Iterator[Outcome]:
    try:
        outcomes = dask.compute(*tasks)
    except Exception:  # something that tasks depend on: find out which of them
        for task in tasks:
            yield _run_alone(task)
    else:
        yield from outcomes


def _run_alone(task: Delayed) -> Outcome:
    try:
        outcome: Outcome = dask.compute(task)[0]
    except Exception as error:  # the block is reported as failed, the others go on
        return failure(number_of(task.key), error)
    return outcome


def _run_on_workers(
    tasks: Iterator[Delayed], client: distributed.Client, *, together: bool
) -> Iterator[Outcome]:
    waiting = distributed.as_completed(loop=client.loop)
    running: dict[str, distributed.Future] = {}
    try:
        while True:
            room = None if together else max(_ahead(client) - len(running), 0)
            futures = client.compute(list(islice(tasks, room)))
            running |= {future.key: future for future in futures}
            waiting.update(futures)
            if not running:
                return
            for future in _finished(waiting, client):
                yield _outcome(running.pop(future.key))
    finally:
        # What is not awaited any more must not write later.
        if running and client.status == "running":
            client.cancel(list(running.values()), force=True)


def _ahead(client: distributed.Client) -> int:
    try:
        threads = sum(int(count) for count in client.nthreads().values())
    except OSError as error:  # a closed connection is one
        raise _gone() from error
    return 2 * max(threads, 1)


def _gone() -> BlocksFailedError:
    msg = "the scheduler is gone; finished blocks are kept, run again to make the others"
    return BlocksFailedError(msg)


def _finished(
    waiting: distributed.as_completed, client: distributed.Client
) -> list[distributed.Future]:
    while not (batch := waiting.next_batch(block=False)):
        if client.status not in ("running", "connecting"):
            raise _gone()
        time.sleep(_POLL)
    return list(batch)


def _outcome(future: distributed.Future) -> Outcome:
    try:
        outcome: Outcome = future.result()
    except Exception as error:  # its worker died too often, or what it depends on failed
        return failure(number_of(future.key), error)
    finally:
        future.release()
    return outcome
