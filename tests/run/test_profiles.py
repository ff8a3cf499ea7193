"""Profiles of clusters, and the jobs that are made of them."""

import itertools
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import dask
import pytest

from fibdask import RecipeError
from fibdask.run.cluster import PROFILED, named_security, planned_worker
from fibdask.run.cluster.environment import WORKER_CONFIG, worker_environment
from fibdask.run.cluster.jobs import Jobs, clock, clock_seconds
from fibdask.run.cluster.lsf import parse_bjobs
from fibdask.run.cluster.pbs import parse_qstat
from fibdask.run.recipe import read_profile, read_recipe
from fibdask.run.recipe.reference import profile_reference

DEPLOY = Path(__file__).parents[2] / "deploy"
PLAIN = 'memory = "10 GiB"\nwalltime = "1-02:00:00"\ncores = 4\njobs = 3\n'
HOSTS = 'memory = "1 GiB"\nhosts = ["a"]\n'
GPU = "[gpu]\ncores = 8\njobs = 2\n"


@pytest.fixture
def profile(tmp_path):
    """Read a profile of a kind beside a recipe."""

    def read(kind, text):
        (tmp_path / f"{kind}.toml").write_text(text)
        (tmp_path / "recipe.toml").write_text('[input]\npath = "slices"\n')
        recipe = read_recipe(tmp_path / "recipe.toml", cluster=kind)
        return read_profile(recipe.tables["cluster"])

    return read


def lines(profile, pool="cpu"):
    return profile.scripts(Path("logs"))[pool].splitlines()


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("slurm", PLAIN + "partion = 'a'", "'partion' in .slurm.toml.; did you mean 'partition'"),
        ("pbs", PLAIN + "partition = 'a'", "unknown key 'partition' in .pbs.toml"),
        ("slurm", 'walltime = "01:00:00"', "needs the key memory"),
        ("slurm", PLAIN + "minimum_jobs = 4", "minimum_jobs must be at most jobs; got 4 of 3"),
        ("slurm", PLAIN + "minimum_jobs = 0", "minimum_jobs must be at least 1"),
        ("slurm", PLAIN + "workers = 5", "at most one a core; got 5 on 4 cores"),
        ("slurm", PLAIN + "cores = 0".replace("cores", "jobs "), "Cannot overwrite a value"),
        ("slurm", PLAIN.replace("1-02:00:00", "2h"), "walltime must be 'HH:MM:SS' or .* got '2h'"),
        ("slurm", PLAIN.replace("10 GiB", "much"), "memory must be an amount"),
        ("slurm", PLAIN.replace("10 GiB", "64"), "memory must be .* at least 1 MiB, .* got '64'"),
        ("slurm", PLAIN + "patience = 'long'", "patience must be 'HH:MM:SS'"),
        ("slurm", PLAIN + "[gpu]\nworkers = 2", "workers must be 1, which a job's one GPU is for"),
        ("slurm", PLAIN + "[gpu]\nhosts = 2", "unknown key 'hosts' in .gpu."),
        ("slurm", PLAIN + '[gpu]\nmemory = "2 GiB"', "as much memory as the others: 2.25 GiB"),
        ("ssh", 'memory = "1 GiB"\nhosts = []', "hosts must be names of machines"),
        ("ssh", 'memory = "1 GiB"\nhosts = ["-oProxyCommand=x"]', "hosts must be names"),
    ],
)
def test_read_profile__names_what_is_wrong(profile, kind, text, words):
    with pytest.raises(RecipeError, match=words):
        profile(kind, text)


def test_read_profile__is_looked_for_beside_the_recipe_then_in_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "here").mkdir()
    path = tmp_path / "here" / "recipe.toml"
    path.write_text('[input]\npath = "a"\n[cluster]\nkind = "slurm"\nprofile = "fat"\n')

    def jobs():
        profile = read_profile(read_recipe(path).tables["cluster"])
        return profile.jobs["cpu"][0].jobs

    with pytest.raises(RecipeError, match=r"no profile fat.toml .* neither beside the recipe nor"):
        jobs()
    (tmp_path / "config" / "fibdask").mkdir(parents=True)
    (tmp_path / "config" / "fibdask" / "fat.toml").write_text(PLAIN)
    assert jobs() == 3
    (tmp_path / "here" / "fat.toml").write_text(PLAIN.replace("jobs = 3", "jobs = 5"))
    assert jobs() == 5


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"kind": "slurm", "workers": 2}, "workers: not used where kind is 'slurm'"),
        ({"kind": "local", "profile": "fat"}, "profile: not used where kind is 'local'"),
        ({"kind": "cuda", "threads": 2}, "threads: not used where kind is 'cuda'"),
        ({"kind": "ssh", "scheduler": "tcp://a:1"}, "scheduler: not used where kind is 'ssh'"),
        ({"kind": "slrum"}, "kind = 'slrum'"),
    ],
)
def test_read_recipe__refuses_what_a_kind_of_cluster_does_not_use(table, words):
    with pytest.raises(RecipeError, match=words):
        read_recipe({"input": {"path": "a"}, "cluster": table})


def test_job_script__of_slurm_has_what_the_profile_says(profile):
    extra = (
        'partition = "p"\naccount = "a"\ndirectives = ["--qos=x"]\nprologue = ["module load y"]\n'
    )
    found = profile("slurm", PLAIN + 'interface = "lo"\n' + extra)
    script = lines(found)
    for option in ("-p p", "-A a", "--cpus-per-task=4", "--mem=10240M", "-t 1-02:00:00", "--qos=x"):
        assert f"#SBATCH {option}" in script
    assert "#SBATCH -o logs/%j.log" in script
    assert script.index("export NUMBA_NUM_THREADS=1") < script.index("module load y")
    command = shlex.split(script[-1])
    options = dict(itertools.pairwise(command))
    assert (options["--nworkers"], options["--nthreads"]) == ("4", "1")
    assert options["--memory-limit"] == "2.25GiB"
    assert options["--interface"] == "lo"
    assert options["--dashboard-address"] == "127.0.0.1:0"
    assert options["--local-directory"] == "${TMPDIR:-/tmp}"
    assert planned_worker({}, found) == (1, int(0.9 * 10 * 2**30 / 4))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("slurm", ["#SBATCH --gres=gpu:1", "#SBATCH -p p", "#SBATCH --cpus-per-task=8"]),
        ("pbs", ["#PBS -l select=1:ncpus=8:mem=10240mb:ngpus=1", "#PBS -q p"]),
        ("lsf", ['#BSUB -gpu "num=1"', "#BSUB -n 8", "#BSUB -q p"]),
    ],
)
def test_job_script__with_a_gpu_takes_the_other_keys_of_the_profile(profile, kind, expected):
    queue = "partition" if kind == "slurm" else "queue"
    found = profile(kind, f'{queue} = "p"\n{PLAIN}{GPU}')
    script = lines(found, "gpu")
    assert set(expected) <= set(script)
    assert "--resources GPU=1" in script[-1]
    assert "export OMP_NUM_THREADS=8" in script
    assert "GPU" not in "".join(lines(found))
    plain, gpu = found.pools(Path("logs"))
    assert (plain.jobs, plain.least, plain.processes, plain.gpu) == (3, 3, 4, False)
    assert (gpu.jobs, gpu.least, gpu.processes, gpu.gpu) == (2, 0, 1, True)


def test_job_script__of_pbs_and_lsf(profile):
    pbs = lines(profile("pbs", PLAIN))
    assert {"#PBS -l walltime=26:00:00", "#PBS -j oe", "#PBS -o logs/"} <= set(pbs)
    assert "#PBS -l select=1:ncpus=4:mem=10240mb" in pbs
    lsf = lines(profile("lsf", PLAIN))
    assert {"#BSUB -W 26:00", "#BSUB -n 4", "#BSUB -o logs/%J.log"} <= set(lsf)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("slurm", "#SBATCH -o 'my 5%% folder/%j.log'"),
        ("pbs", "#PBS -o 'my 5% folder/'"),
        ("lsf", "#BSUB -o 'my 5% folder/%J.log'"),
    ],
)
def test_job_script__a_path_is_one_word(profile, kind, expected):
    assert expected in profile(kind, PLAIN).scripts(Path("my 5% folder"))["cpu"].splitlines()


@pytest.mark.parametrize("kind", ["slurm", "pbs", "lsf"])
def test_job_script__paths_of_workers_are_one_word(profile, kind):
    found = profile(kind, PLAIN + 'scratch = "/my disk/${USER}"\n')
    (script,) = found.scripts(Path("logs"), named_security(Path("/my run"))).values()
    options = dict(itertools.pairwise(shlex.split(script.splitlines()[-1])))
    assert options["--local-directory"] == "/my disk/${USER}"
    assert options["--tls-key"] == "/my run/key.pem"
    assert options["--protocol"] == "tls://"


@pytest.mark.parametrize(("kind", "text"), [("slurm", PLAIN), ("ssh", HOSTS)])
def test_job_script__names_the_certificates_of_workers(profile, kind, text):
    found = profile(kind, text)
    (script,) = found.scripts(Path("logs"), named_security(Path("/shared/c"))).values()
    assert "--protocol tls://" in script
    assert "--tls-key /shared/c/key.pem" in script
    (plain,) = found.scripts(Path("logs")).values()
    assert "tls" not in plain


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("*/*.toml")), ids=lambda path: path.stem)
def test_profiles_of_deploy__are_read_and_so_is_what_they_suggest(profile, path):
    text = path.read_text()
    suggested = "\n".join(
        line.removeprefix("#") if line.startswith("#") and not line.startswith("# ") else line
        for line in text.splitlines()
    )
    assert tomllib.loads(suggested) != tomllib.loads(text)
    for content in (text, suggested):
        assert profile(path.stem, content).scripts(Path("logs"))
    assert path.stem in PROFILED


@pytest.mark.parametrize("walltime", ["00:01:00", "00:10:00", "04:00:00", "7-00:00:00"])
def test_jobs__workers_end_before_their_job(walltime):
    jobs = Jobs(memory="1 GiB", walltime=walltime)
    lifetime, stagger = jobs.lifetime
    assert lifetime - stagger > 0
    assert lifetime + stagger <= jobs.seconds - 20
    assert lifetime >= jobs.seconds // 2


def test_jobs__workers_take_less_than_their_job():
    jobs = Jobs(memory="8 GiB", walltime="01:00:00", cores=4)
    assert jobs.worker_bytes * jobs.processes <= 0.9 * jobs.job_bytes


@pytest.mark.parametrize("seconds", [1, 59, 3600, 86399, 86400, 200000])
def test_clock__is_read_as_it_was_written(seconds):
    assert clock_seconds("walltime", clock(seconds)) == seconds
    assert clock_seconds("walltime", clock(seconds, days=False)) == seconds


THREADS = "import numba, torch; print(numba.get_num_threads(), torch.get_num_threads())"


def test_worker_environment__limits_the_threads_of_libraries():
    command = [sys.executable, "-c", THREADS]
    environment = {**worker_environment(1), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]


def test_worker_environment__says_of_memory_what_local_workers_are_told():
    told = {k: v for k, v in worker_environment(1).items() if k.startswith("MALLOC_")}
    with dask.config.set(WORKER_CONFIG):
        local = dict(dask.config.get("distributed.nanny.pre-spawn-environ"))
    assert len(told) == 3
    assert told.items() <= local.items()


QSTAT = """Job Id: 12.server
    Job_Name = fibdask
    job_state = Q
    comment = Not Running: Insufficient amount of
\t resource: ncpus
    queue = workq

Job Id: 13.server
    job_state = R
    comment = Job run at Sat Nov 28 at 14:00 on (node1:ncpus=4)

Job Id: 14.server
    job_state = F
"""


def test_parse_qstat__tells_of_jobs_that_have_not_ended():
    found = parse_qstat(QSTAT)
    assert set(found) == {"12", "13"}
    assert found["12"] == "queued (Not Running: Insufficient amount of resource: ncpus)"
    assert found["13"].startswith("running (Job run at")


BJOBS = """12|PEND|Job slot limit reached
13|RUN|-
14|EXIT|-
15|PEND|
"""


def test_parse_bjobs__tells_of_jobs_that_have_not_ended():
    assert parse_bjobs(BJOBS) == {
        "12": "PEND (Job slot limit reached)",
        "13": "RUN",
        "15": "PEND",
    }


def test_profile_reference__is_what_the_page_says():
    page = (DEPLOY.parent / "docs" / "profiles.md").read_text()
    assert page == profile_reference(), "write it: make docs"
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    for key, kind, _, meaning in rows:
        assert kind[0] != "<", key  # a kind that has no words
        assert len(meaning) > 8, key
