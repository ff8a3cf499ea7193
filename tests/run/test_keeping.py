"""How many jobs are kept, with workers in this process as jobs."""

from contextlib import contextmanager
from threading import Event

import distributed
import pytest
from distributed.deploy.spec import ProcessInterface

from fibdask import BlocksFailedError
from fibdask.blocks import GPU
from fibdask.run.cluster import keeping
from fibdask.run.cluster.jobs import Launcher, Pool
from fibdask.run.cluster.keeping import JobCluster
from tests.holding import wait_until

pytestmark = pytest.mark.cluster


class Inside(ProcessInterface):
    """A job that is a worker of this process."""

    def __init__(self, scheduler, *, name, resources, starts):
        super().__init__(scheduler=scheduler, name=name)
        options = {"name": name, "nthreads": 1, "resources": resources, "host": "127.0.0.1"}
        self.worker = distributed.Worker(scheduler, dashboard=False, **options)
        self.job_id, self.starts = name, starts

    async def start(self):
        if self.starts:
            await self.worker
        await super().start()

    async def close(self):
        if self.starts:
            await self.worker.close()
        await super().close()


class Here(Launcher):
    """Starts them, and knows those that are there."""

    asks, submits = "the queue", "the queue"

    def __init__(self):
        self.ended = set()

    def job_class(self):
        return Inside

    async def look(self, ids):
        there = (name for name in ids if name not in self.ended and not name.startswith("bad"))
        return dict.fromkeys(there, "PENDING (Test)")

    def script(self, pool):
        return ""


def pool(name, jobs, least, *, starts=True):
    gpu = name == "gpu"
    options = {"resources": GPU if gpu else None, "starts": starts}
    return Pool(name, jobs, least, processes=1, gpu=gpu, options=options)


@pytest.fixture
def cluster_of(monkeypatch, tmp_path):
    """Start a cluster that looks often and gives up idle jobs soon."""
    monkeypatch.setattr(keeping, "_LOOK", 0.05)
    monkeypatch.setattr(keeping, "_IDLE", 0.2)
    monkeypatch.setattr(keeping, "_AGAIN", 0.2)

    @contextmanager
    def start(*pools, patience=100):
        told = []
        options = {"logs": tmp_path, "interface": "lo", "patience": patience, "tell": told.append}
        with JobCluster(Here(), pools, **options) as cluster:
            cluster.told = told
            yield cluster

    return start


def until(cluster, condition):
    wait_until(lambda: cluster.failure or condition())
    assert cluster.failure is None


def names(cluster):
    return {worker.name for worker in list(cluster.scheduler.workers.values())}


def where():
    return distributed.get_worker().name


ENOUGH = Event()  # seen by tasks, since workers are in this process


def last(number):
    """Last until there have been enough workers."""
    return ENOUGH.wait(), number


def test_job_cluster__replaces_a_job_that_has_ended(cluster_of):
    with cluster_of(pool("cpu", 2, 2)) as cluster:
        until(cluster, lambda: names(cluster) == {"cpu-0", "cpu-1"})
        cluster._launcher.ended.add("cpu-0")
        cluster.loop.add_callback(cluster.workers["cpu-0"].worker.close)
        until(cluster, lambda: names(cluster) == {"cpu-1", "cpu-2"})
        until(cluster, lambda: cluster.told[-1] == "2 of 2 workers")
        assert cluster.failure is None


def test_job_cluster__has_as_many_jobs_as_there_is_work_for(cluster_of):
    with cluster_of(pool("cpu", 3, 1)) as cluster, distributed.Client(cluster) as client:
        until(cluster, lambda: len(names(cluster)) == 1)
        futures = client.map(last, range(9))
        until(cluster, lambda: len(names(cluster)) == 3)
        ENOUGH.set()
        distributed.wait(futures)
        until(cluster, lambda: len(names(cluster)) == 1)
        assert cluster.failure is None


def test_job_cluster__jobs_with_a_gpu_come_and_go_with_what_needs_them(cluster_of):
    pools = pool("cpu", 1, 1), pool("gpu", 1, 0)
    with cluster_of(*pools) as cluster, distributed.Client(cluster) as client:
        until(cluster, lambda: names(cluster) == {"cpu-0"})
        assert client.submit(where, pure=False).result(timeout=60) == "cpu-0"
        asked = [client.submit(where, pure=False, resources=GPU) for _ in range(3)]
        assert client.gather(asked) == ["gpu-1"] * 3
        until(cluster, lambda: names(cluster) == {"cpu-0"})


def test_job_cluster__waits_no_longer_than_there_is_patience(cluster_of):
    with cluster_of(pool("cpu", 2, 2, starts=False), patience=0.5) as cluster:
        wait_until(lambda: cluster.failure is not None)
    assert isinstance(cluster.failure, BlocksFailedError)
    words = "0 of 2 workers; the queue says 2 PENDING (Test)"
    assert words in str(cluster.failure)
    assert words in cluster.told


def test_job_cluster__goes_on_without_jobs_that_end_at_once(cluster_of):
    bad = pool("bad", 1, 1, starts=False)
    with cluster_of(pool("cpu", 1, 1), bad, patience=0.5) as cluster:
        until(cluster, lambda: [text for text in cluster.told if "4 jobs ended before" in text])
        assert names(cluster) == {"cpu-0"}
    with cluster_of(bad) as cluster:
        wait_until(lambda: cluster.failure is not None)
    assert "3 jobs ended before a worker of theirs joined" in str(cluster.failure)


def test_job_cluster__that_cannot_go_on_lets_nobody_wait(cluster_of):
    with (
        cluster_of(pool("cpu", 1, 1), patience=0.5) as cluster,
        distributed.Client(cluster) as client,
    ):
        until(cluster, lambda: names(cluster))
        cluster.client = client
        cluster._pools[0].options["starts"] = False
        cluster._launcher.ended.add("cpu-0")
        cluster.loop.add_callback(cluster.workers["cpu-0"].worker.close)
        wait_until(lambda: client.status == "closed")
        assert "no worker has started within 0 s" in cluster.told[-1]


def test_job_cluster__listens_on_its_interface_alone(cluster_of):
    with cluster_of(pool("cpu", 1, 1)) as cluster:
        until(cluster, lambda: names(cluster))
        assert cluster.scheduler.address.startswith("tcp://127.0.0.1:")
        assert cluster.dashboard_link.startswith("http://127.0.0.1:")
