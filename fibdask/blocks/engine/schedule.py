"""Hand tasks to workers, or to Dask in this process, and take what comes back."""

import contextlib
import os
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice
from threading import Lock
from uuid import uuid4

import dask.threaded
import distributed
from dask.delayed import Delayed

from ...conventions import BlocksFailedError, FibdaskWarning
from .writing import BlockWork, Outcome, failure, number_of, write_block

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


def is_inherited(client: distributed.Client) -> bool:
    """Tell whether a client's threads are in a process of which this one is a fork."""
    return any(client is other for other in _inherited)


def current_client() -> distributed.Client | None:
    """Return the Dask client of this process, if there is one that is connected."""
    try:
        client = distributed.get_client()
    except ValueError:
        return None
    if is_inherited(client):
        msg = "the Dask client is that of the process forked: blocks are made here, without it"
        warnings.warn(msg, FibdaskWarning, stacklevel=3)
        return None
    return client if client.status == "running" else None


def run_blocks(
    work: BlockWork,
    numbers: Iterable[int],
    client: distributed.Client | None,
    *,
    threads: int,
    name: str,
) -> Generator[Outcome]:
    """Make blocks of a source and yield their outcomes as they finish.

    They are handed over a few ahead of the workers of a client, or of `threads` of this process.
    What they share is sent once.
    """
    iterator = iter(numbers)
    if client is None:
        yield from _run_here(work, iterator, threads)
        return
    run = f"{name.replace(' ', '_')}-{uuid4().hex}"
    # The result of a task, so that it can be made again where the worker that has it has ended.
    shared = client.submit(_same, work, key=f"shared-{run}", pure=False)

    def submit(room: int) -> list[distributed.Future]:
        return [
            client.submit(write_block, number, shared, key=f"{run}-{number}", pure=False)
            for number in islice(iterator, room)
        ]

    yield from _run_on_workers(submit, client)


def _same(work: BlockWork) -> BlockWork:
    return work


def _run_here(work: BlockWork, numbers: Iterator[int], threads: int) -> Iterator[Outcome]:
    with ThreadPoolExecutor(threads) as pool:
        running = {pool.submit(write_block, n, work) for n in islice(numbers, 2 * threads)}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(write_block, n, work) for n in islice(numbers, len(done))}
                yield from (future.result() for future in done)
        finally:
            pool.shutdown(cancel_futures=True)  # what is not awaited any more is not begun


def run_graph(tasks: list[Delayed], client: distributed.Client | None) -> Generator[Outcome]:
    """Run tasks that share a graph, and yield their outcomes as they finish."""
    if client is None:
        yield from _run_shared(tasks)
    else:
        remaining = iter([tasks])
        yield from _run_on_workers(lambda _: client.compute(next(remaining, [])), client)


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
    submit: Callable[[int], list[distributed.Future]], client: distributed.Client
) -> Iterator[Outcome]:
    """Yield outcomes of the futures that are submitted, for which there is so much room."""
    waiting = distributed.as_completed(loop=client.loop)
    running: dict[str, distributed.Future] = {}
    try:
        while True:
            futures = submit(max(_ahead(client) - len(running), 0))
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
