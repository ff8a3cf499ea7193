"""What lies in deploy/, where it cannot be run here: as text."""

import re
import subprocess
import tomllib
from pathlib import Path

import distributed
import pytest
import yaml

from fibdask import RecipeError
from fibdask.blocks import GPU
from fibdask.conventions import VERSION
from fibdask.run.cli.options import KINDS
from fibdask.run.cluster import PROFILED
from fibdask.run.cluster.cuda import cuda_cluster
from fibdask.run.cluster.environment import worker_environment
from fibdask.run.recipe.tables import cluster_options

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SCRIPTS = [p for p in DEPLOY.rglob("*") if p.suffix in (".sh", ".sbatch", ".pbs", ".lsf")]
PAGES = [*DEPLOY.rglob("README.md"), ROOT / "docs" / "cluster.md"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts__are_read_by_the_shell(path):
    shell = path.read_text().split("\n")[0].removeprefix("#!").split()[-1].rpartition("/")[2]
    done = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.parent.name)
def test_pages__point_to_what_is_there_and_name_options_that_are_known(path):
    text = path.read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("https://") or (path.parent / link).exists(), link
    kinds = set(re.findall(r"--cluster (\w+)", text))
    assert kinds <= set(KINDS)
    for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        cluster = tomllib.loads(re.sub("(?m)^ +", "", block)).get("cluster", {})
        cluster_options(**cluster)


def test_kinds__have_each_a_page():
    assert {"local", "cuda", *PROFILED} == set(KINDS)
    for kind in set(KINDS) - {"local"}:
        assert (DEPLOY / kind / "README.md").is_file()


def test_containers__have_one_base_and_copy_what_is_there():
    docker, apptainer, ignored = (
        (DEPLOY / "container" / name).read_text()
        for name in ("Dockerfile", "fibdask.def", "Dockerfile.dockerignore")
    )
    bases = re.findall(r"^From:? (\S+)", docker + apptainer, re.MULTILINE | re.IGNORECASE)
    assert len(bases) == 2
    assert len(set(bases)) == 1
    copied = dict(re.findall(r"^    (\S+) (/opt/fibdask/\S+)$", apptainer, re.MULTILINE))
    assert set(copied) == set(re.findall(r"^!(\S+)", ignored, re.MULTILINE))
    for source, place in copied.items():
        assert (ROOT / source).exists()
        assert place == f"/opt/fibdask/{source}"
    for text in (docker, apptainer):
        assert "sh /opt/fibdask/deploy/container/install.sh /opt/fibdask" in text


def test_containers__install_as_the_makefile_does():
    script, makefile = (
        " ".join(path.read_text().replace("\\\n", "").split())
        for path in (DEPLOY / "container" / "install.sh", ROOT / "Makefile")
    )
    for options in (
        '--only-binary :all: -c constraints.txt "setuptools>=77" wheel',
        "--prefer-binary --no-build-isolation -c constraints.txt",
    ):
        assert options in script
        assert options in makefile
    assert '".[all]"' in script  # every extra that fixes no version


@pytest.fixture
def manifests():
    """The objects of Kubernetes, by kind."""
    texts = [path.read_text() for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))]
    objects = [found for text in texts for found in yaml.safe_load_all(text)]
    return {found["kind"]: found for found in objects}


def test_manifests__belong_together(manifests):
    assert set(manifests) == {"DaskCluster", "NetworkPolicy", "Job"}
    cluster, job = manifests["DaskCluster"], manifests["Job"]["spec"]["template"]
    assert cluster["apiVersion"] == "kubernetes.dask.org/v1"
    name = cluster["metadata"]["name"]
    address = job["spec"]["containers"][0]["args"][-1]
    assert address == f"tcp://{name}-scheduler:8786"  # as the operator names its service
    assert "--insecure" in job["spec"]["containers"][0]["args"]  # or the address is refused
    scheduler, worker = cluster["spec"]["scheduler"], cluster["spec"]["worker"]
    selector = {"dask.org/cluster-name": name, "dask.org/component": "scheduler"}
    assert scheduler["service"]["selector"] == selector
    (port,) = scheduler["service"]["ports"]
    assert port["targetPort"] == scheduler["spec"]["containers"][0]["ports"][0]["name"]
    policy = manifests["NetworkPolicy"]["spec"]
    allowed = [peer["podSelector"]["matchLabels"] for peer in policy["ingress"][0]["from"]]
    assert job["metadata"]["labels"] in allowed
    assert policy["podSelector"]["matchLabels"] in allowed
    for spec in (scheduler["spec"], worker["spec"], job["spec"]):
        (container,) = spec["containers"]
        assert container["image"] == f"fibdask:{VERSION}"
        mounts = {mount["name"] for mount in container.get("volumeMounts", ())}
        assert mounts == {volume["name"] for volume in spec.get("volumes", ())}


def test_manifests__give_workers_what_all_workers_are_given(manifests):
    (container,) = manifests["DaskCluster"]["spec"]["worker"]["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment == worker_environment(1)
    arguments = container["args"]
    limit = int(arguments[arguments.index("--memory-limit") + 1].removesuffix("MiB"))
    assert limit == 0.9 * int(container["resources"]["limits"]["memory"].removesuffix("Mi"))


def test_cuda_cluster__says_what_is_missing():
    with pytest.raises(RecipeError, match=r"workers on GPUs need dask-cuda .* fibdask\[cuda\]"):
        cuda_cluster()


@pytest.mark.cluster
def test_cuda_cluster__starts_workers_of_one_thread_that_offer_a_gpu():
    with (
        cuda_cluster(workers=1, memory="1 GiB", start=distributed.LocalCluster) as cluster,
        distributed.Client(cluster) as client,
    ):
        (worker,) = client.scheduler_info()["workers"].values()
        assert worker["nthreads"] == 1
        assert worker["resources"] == GPU
        assert worker["memory_limit"] == 2**30
        assert cluster.scheduler.address.startswith("tcp://127.0.0.1:")
        assert client.submit(sum, [1, 2], resources=GPU).result() == 3


def test_cuda_cluster__says_what_the_driver_says():
    def start(**options):
        msg = "no driver"
        raise OSError(msg)

    with pytest.raises(RecipeError, match="on a GPU of this machine: OSError: no driver"):
        cuda_cluster(start=start)
