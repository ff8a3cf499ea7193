"""Hand tasks to workers, or to Dask in this process, and take what comes back."""

import contextlib
import os
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice
from threading import Lock
from typing import Any
from uuid import uuid4

import dask.array as da
import dask.threaded
import distributed
import xarray as xr
from dask.callbacks import Callback
from dask.delayed import Delayed

from ...conventions import BlocksFailedError, FibdaskWarning
from .arrays import gathered_records
from .writing import BlockWork, Outcome, failure, write_block

_POLL = 0.02  # seconds between looks at what has finished
_AHEAD = 8  # blocks of each thread: as many as very quick ones may be made between two looks
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


def run_name(stage: str) -> str:
    """Return what the keys of a run's tasks begin with: no two runs share futures."""
    return f"{stage.replace(' ', '_')}-{uuid4().hex}"


def run_blocks(
    work: BlockWork,
    numbers: Iterable[int],
    client: distributed.Client | None,
    *,
    threads: int,
    run: str,
    resources: Mapping[str, float] | None = None,
) -> Generator[Outcome]:
    """Make blocks of a source and yield their outcomes as they finish.

    They are handed over a few ahead of the workers of a client, or of `threads` of this process.
    What they share is sent once.

    Parameters
    ----------
    run
        What the keys of the tasks begin with.
    resources
        What a worker must have free for a block, such as {"GPU": 1}; of a client's workers.
    """
    iterator = iter(numbers)
    if client is None:
        yield from _run_here(work, iterator, threads)
        return
    # The result of a task, so that it can be made again where the worker that has it has ended.
    shared = client.submit(_same, work, key=f"shared-{run}", pure=False)

    def submit(room: int) -> dict[distributed.Future, int]:
        some = list(islice(iterator, room))
        keys = [f"{run}-{number}" for number in some]
        futures = client.map(
            write_block, some, work=shared, key=keys, pure=False, resources=resources
        )
        return dict(zip(futures, some, strict=True))

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


def run_graph(
    outcomes: da.Array,
    numbers: Sequence[int],
    client: distributed.Client | None,
    resources: Mapping[str, float] | None = None,
) -> Generator[Outcome]:
    """Run the tasks of some elements of an array of outcomes, and yield these as they finish."""
    delayed = outcomes.to_delayed()
    tasks = [delayed[number] for number in numbers]
    if client is None:
        yield from _run_shared(tasks, numbers)
        return
    remaining = iter([tasks])  # all at once: they share what they are made of

    def submit(_: int) -> dict[distributed.Future, int]:
        futures = client.compute(next(remaining, []), resources=resources)
        return dict(zip(futures, numbers, strict=False))

    yield from _run_on_workers(submit, client)


def _run_shared(tasks: list[Delayed], numbers: Sequence[int]) -> Iterator[Outcome]:
    try:
        outcomes = dask.compute(*tasks)
    except Exception:  # something that tasks depend on: find out which of them
        for task, number in zip(tasks, numbers, strict=True):
            yield _run_alone(task, number)
    else:
        yield from outcomes


def _run_alone(task: Delayed, number: int) -> Outcome:
    try:
        outcome: Outcome = dask.compute(task)[0]
    except Exception as error:  # the block is reported as failed, the others go on
        return failure(number, error)
    return outcome


def compute_gathered(
    lazy: xr.Dataset, client: distributed.Client | None, done: Callable[[], None]
) -> xr.Dataset:
    """Compute what is gathered of the same blocks, and tell when each has been looked at.

    Parameters
    ----------
    lazy
        Results of `gather_blocks` by one function, of the same inputs and grid.
    client
        Whose workers look at the blocks; None for threads of this process.
    """
    records = gathered_records(next(iter(lazy.data_vars.values())).data)
    if client is None:
        with _Watched(records.name, done):
            return lazy.compute()
    held = client.persist(records)
    waiting = distributed.as_completed(distributed.futures_of(held), loop=client.loop)
    while not waiting.is_empty():
        for _ in _finished(waiting, client):
            done()
    return lazy.compute()  # of what workers hold


class _Watched(Callback):  # type: ignore[misc]
    """Tells when Dask has made a chunk of an array in this process."""

    def __init__(self, array: str, done: Callable[[], None]) -> None:
        super().__init__()
        self._array, self._done = array, done

    def _posttask(self, key: Any, *_told: Any) -> None:
        if isinstance(key, tuple) and key[0] == self._array:
            self._done()


def _run_on_workers(
    submit: Callable[[int], dict[distributed.Future, int]], client: distributed.Client
) -> Iterator[Outcome]:
    """Yield outcomes of the futures that are submitted, for which there is so much room."""
    waiting = distributed.as_completed(loop=client.loop)
    running: dict[distributed.Future, int] = {}
    try:
        while True:
            futures = submit(max(_ahead(client) - len(running), 0))
            running |= futures
            waiting.update(list(futures))
            if not running:
                return
            batch = _finished(waiting, client)
            found = _gathered(batch, client)
            for future in batch:
                number = running.pop(future)
                yield found[future] if future in found else _outcome(future, number)
    finally:
        # What is not awaited any more must not write later.
        if running and client.status == "running":
            client.cancel(list(running), force=True)


def _ahead(client: distributed.Client) -> int:
    try:
        threads = sum(int(count) for count in client.nthreads().values())
    except OSError as error:  # a closed connection is one
        raise _gone() from error
    return _AHEAD * max(threads, 1)


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


def _gathered(
    batch: list[distributed.Future], client: distributed.Client
) -> dict[distributed.Future, Outcome]:
    """Return the outcomes of a batch in one message; none if a worker has just ended with some."""
    finished = [future for future in batch if future.status == "finished"]
    try:
        return dict(zip(finished, client.gather(finished), strict=True))
    except Exception:  # they are then asked for one by one
        return {}


def _outcome(future: distributed.Future, number: int) -> Outcome:
    try:
        outcome: Outcome = future.result()
    except Exception as error:  # its worker died too often, or what it depends on failed
        return failure(number, error)
    finally:
        future.release()
    return outcome
