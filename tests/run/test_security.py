"""Who can connect: this machine by default, whoever has the key beyond it, nobody else."""

import asyncio
import contextlib
import ipaddress
import json
import socket
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dask
import distributed
import numpy as np
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fibdask import RecipeError
from fibdask.run.cli import main
from fibdask.run.cluster import certificates_folder, connect
from fibdask.run.cluster.security import (
    CERTIFICATE,
    KEY,
    is_loopback,
    make_security,
    read_security,
    scheduler_security,
)
from fibdask.run.cluster.ssh import Hosts, worker_arguments
from fibdask.run.folder import RunFolder
from tests.holding import PATIENCE, wait_until
from tests.run.helpers import start

RECIPE = """
[input]
path = "a.npy"
voltage = 2
pixel_size = 5
slice_thickness = 10
[segment]
method = "threshold"
threshold = 100
[cluster]
workers = 1
memory = "1 GiB"
[output]
path = "out"
report = false
"""

LOCAL = {"kind": "local", "scheduler": None, "certificates": None, "secure": None}


@pytest.fixture
def recipe(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (6, 40, 44), dtype=np.uint8)
    np.save(tmp_path / "a.npy", values)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path / "recipe.toml"


# What listens


def listening(process):
    """Return the sockets at which a process and all that it started listen: address, inode."""
    inodes = set()
    for one in [process, *process.children(recursive=True)]:
        for link in Path(f"/proc/{one.pid}/fd").iterdir():
            try:
                target = str(link.readlink())
            except OSError:  # closed meanwhile
                continue
            if target.startswith("socket:["):
                inodes.add(target[len("socket:[") : -1])
    return {(address, inode) for address, inode in all_listening() if inode in inodes}


def all_listening():
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                words = bytes.fromhex(fields[1].split(":")[0])
                parts = [words[k : k + 4][::-1] for k in range(0, len(words), 4)]
                yield ipaddress.ip_address(b"".join(parts)), fields[9]


@pytest.mark.cluster
def test_run__nothing_listens_beyond_this_machine(recipe, hold):
    held = hold("segment.zarr/phase/c/")
    process = start("run", recipe, "--quiet", hold=held)
    found = set()
    while process.poll() is None:
        at_work = bool(held.processes)
        with contextlib.suppress(psutil.Error, OSError):  # something has just ended
            found |= listening(psutil.Process(process.pid))
            if at_work:
                held.let_go()
        time.sleep(0.2)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert len(found) >= 4  # scheduler, dashboard, nanny and worker
    assert {address for address, _ in found} == {ipaddress.ip_address("127.0.0.1")}


# Certificates


def test_make_security__files_are_for_the_user_only(tmp_path):
    folder = tmp_path / "new" / "certificates"
    security = make_security(folder)
    assert security.require_encryption
    modes = {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}
    assert modes == {CERTIFICATE: 0o600, KEY: 0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.parent.iterdir()) == [folder]


def test_make_security__all_who_make_it_at_once_get_the_same(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make_security, [tmp_path / "c"] * 4))
    key = (tmp_path / "c" / KEY).read_text()
    make_security(tmp_path / "c")
    assert (tmp_path / "c" / KEY).read_text() == key
    assert list(tmp_path.iterdir()) == [tmp_path / "c"]


def test_read_security__refuses_a_key_that_others_can_read(tmp_path):
    make_security(tmp_path / "c")
    (tmp_path / "c" / KEY).chmod(0o644)
    with pytest.raises(RecipeError, match=r"key.pem may be read by others \(mode 644\)"):
        make_security(tmp_path / "c")


def test_read_security__refuses_the_key_of_another(tmp_path):
    make_security(tmp_path / "a")
    make_security(tmp_path / "b")
    (tmp_path / "b" / KEY).replace(tmp_path / "a" / KEY)
    with pytest.raises(RecipeError, match="are no certificate with its key"):
        read_security(tmp_path / "a")


@pytest.mark.parametrize("text", ["", "a\x1b[31m", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_read_security__refuses_what_is_no_certificate(tmp_path, text):
    make_security(tmp_path / "a")
    (tmp_path / "a" / CERTIFICATE).write_text(text)
    with pytest.raises(RecipeError, match="are no certificate with its key"):
        read_security(tmp_path / "a")


@pytest.mark.parametrize(
    ("begins", "ends", "told"),
    [(-9, -1, "has expired on"), (1 / 24, 9, r"is valid from .* UTC only")],
)
def test_read_security__refuses_one_that_is_not_valid_now(tmp_path, begins, ends, told):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "other")])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    built = built.not_valid_before(now + timedelta(begins)).not_valid_after(now + timedelta(ends))
    pem = serialization.Encoding.PEM
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / CERTIFICATE).write_bytes(built.sign(key, hashes.SHA256()).public_bytes(pem))
    (tmp_path / KEY).touch(mode=0o600)
    (tmp_path / KEY).write_bytes(key.private_bytes(pem, *private))
    with pytest.raises(RecipeError, match=told):
        read_security(tmp_path)


def test_read_security__says_what_it_misses(tmp_path):
    with pytest.raises(RecipeError, match=r"holds no certificates: certificate.pem and key.pem"):
        read_security(tmp_path)


def test_make_security__refuses_a_file(tmp_path):
    (tmp_path / "cert.pem").touch()
    with pytest.raises(RecipeError, match=r"cert.pem is a file; certificates are a folder"):
        make_security(tmp_path / "cert.pem")


@pytest.mark.parametrize(
    ("certificates", "secure", "folder"),
    [
        (None, None, None),
        (None, False, None),
        (None, True, "out/certificates"),
        ("mine", None, "mine"),
        ("mine", True, "mine"),
    ],
)
def test_certificates_folder__is_that_of_the_run_or_the_users(certificates, secure, folder):
    options = LOCAL | {"certificates": certificates, "secure": secure}
    assert certificates_folder(options, Path("out")) == (folder and Path(folder))


@pytest.mark.parametrize("kind", ["slurm", "ssh"])
def test_certificates_folder__is_always_needed_beyond_this_machine(kind):
    options = LOCAL | {"kind": kind}
    assert certificates_folder(options, Path("out")) == Path("out/certificates")
    assert certificates_folder(options | {"secure": False}, Path("out")) is None


def test_certificates_folder__of_a_scheduler_is_that_of_the_run_where_there_is_one(tmp_path):
    options = LOCAL | {"scheduler": "tls://127.0.0.1:8786", "secure": True}
    assert certificates_folder(options, tmp_path) is None  # Dask's configuration names them
    make_security(tmp_path / "certificates")
    assert certificates_folder(options, tmp_path) == tmp_path / "certificates"
    assert certificates_folder(options | {"certificates": "mine"}, tmp_path) == Path("mine")


def test_run__by_a_scheduler_starts_nothing_that_needs_certificates(recipe, capsys):
    recipe.write_text(RECIPE.replace('workers = 1\nmemory = "1 GiB"', 'kind = "slurm"'))
    with pytest.raises(SystemExit) as ended:
        main(["run", str(recipe), "--scheduler", "tls://127.0.0.1:8786"])
    assert ended.value.code == 2
    assert "needs certificates: give their folder with --certificates" in capsys.readouterr().err


def test_certificates_folder__refuses_both():
    with pytest.raises(RecipeError, match="are given, and --insecure"):
        certificates_folder(LOCAL | {"certificates": "mine", "secure": False}, Path("out"))


def test_run_folder__with_certificates_only_may_become_that_of_a_run(tmp_path):
    make_security(tmp_path / "out" / "certificates")
    with RunFolder(tmp_path / "out").taken():
        assert (tmp_path / "out" / "certificates" / KEY).is_file()


# Addresses


@pytest.mark.parametrize(
    ("address", "answer"),
    [
        ("tcp://127.0.0.1:8786", True),
        ("tcp://127.9.9.9:8786", True),
        ("127.0.0.1:8786", True),
        ("tcp://localhost:8786", True),
        ("tcp://[::1]:8786", True),
        ("inproc://1.2.3.4/1/1", True),
        ("tcp://0.0.0.0:8786", False),
        ("tcp://192.168.1.7:8786", False),
        ("tcp://[fe80::1]:8786", False),
        ("tcp://no-such-host.invalid:8786", False),
        ("", False),
    ],
)
def test_is_loopback__knows_this_machine(address, answer):
    assert is_loopback(address) is answer


def test_scheduler_security__plain_text_beyond_this_machine_needs_a_word():
    address = "tcp://192.168.1.7:8786"
    with pytest.raises(RecipeError, match=r"beyond this machine and not encrypted.*--insecure"):
        scheduler_security(address, certificates=None, secure=None)
    assert scheduler_security(address, certificates=None, secure=False) is None
    assert scheduler_security("tcp://127.0.0.1:1", certificates=None, secure=None) is None


def test_scheduler_security__wanted_encryption_is_not_left_out(tmp_path):
    for given in (
        {"certificates": None, "secure": True},
        {"certificates": tmp_path, "secure": None},
    ):
        with pytest.raises(RecipeError, match="its address must begin with tls://"):
            scheduler_security("tcp://127.0.0.1:8786", **given)


def test_scheduler_security__takes_the_certificates_that_dask_knows(tmp_path):
    with pytest.raises(RecipeError, match="needs certificates: give their folder"):
        scheduler_security("tls://127.0.0.1:8786", certificates=None, secure=None)
    make_security(tmp_path / "c")
    known = {"distributed.comm.tls.ca-file": str(tmp_path / "c" / CERTIFICATE)}
    with dask.config.set(known):
        found = scheduler_security("tls://127.0.0.1:8786", certificates=None, secure=None)
    assert found.tls_ca_file == str(tmp_path / "c" / CERTIFICATE)


@pytest.mark.parametrize("options", [[], ["--secure"]])
def test_run__does_not_speak_to_an_open_scheduler_elsewhere(recipe, capsys, options):
    with pytest.raises(SystemExit) as ended:
        main(["run", str(recipe), "--scheduler", "tcp://192.0.2.1:8786", *options])
    assert ended.value.code == 2
    assert "not encrypted" in capsys.readouterr().err


# Real processes


def dask_process(role, folder, *arguments):
    files = {"ca-file": CERTIFICATE, "cert": CERTIFICATE, "key": KEY}
    trust = [part for key, name in files.items() for part in (f"--tls-{key}", str(folder / name))]
    command = [sys.executable, "-m", "distributed.cli.dask_" + role, *arguments, *trust]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def trust(tmp_path_factory):
    """Two folders of certificates: the right one, and a wrong one."""
    folder = tmp_path_factory.mktemp("trust")
    for name in ("right", "wrong"):
        make_security(folder / name)
    return folder


def address_in(told):
    """Return the address that a scheduler has written; nothing while it is writing."""
    with contextlib.suppress(json.JSONDecodeError):
        return json.loads(told.read_text())["address"]


@pytest.fixture(scope="module")
def address(trust):
    """Address of a scheduler with a worker that is trusted, and one that is not."""
    told = trust / "scheduler.json"
    local = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    processes = [
        dask_process("scheduler", trust / "right", *local, "--scheduler-file", str(told)),
    ]
    try:
        address = wait_until(lambda: told.exists() and address_in(told))
        common = [address, "--nthreads", "1", "--no-dashboard", "--no-nanny", "--death-timeout"]
        right = dask_process("worker", trust / "right", *common, str(PATIENCE))
        wrong = dask_process("worker", trust / "wrong", *common, "4")
        processes += right, wrong
        _, errors = wrong.communicate(timeout=PATIENCE)
        assert wrong.returncode != 0
        assert "Timed out starting worker" in errors
        yield address
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_worker_arguments__nothing_listens_beyond_the_interface(address, trust):
    security = read_security(trust / "right")
    hosts = Hosts(hosts=("here",), memory="1 GiB")
    command = worker_arguments(address, "here", hosts, "lo", "tls://", security)
    with (
        connect(address, certificates=trust / "right") as client,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as worker,
    ):
        try:
            wait_until(lambda: "here" in {w["name"] for w in workers_of(client)})
            found = listening(psutil.Process(worker.pid))
        finally:
            worker.terminate()
        wait_until(lambda: "here" not in {w["name"] for w in workers_of(client)})
    assert len(found) == 3  # nanny, worker, and its health
    assert {place for place, _ in found} == {ipaddress.ip_address("127.0.0.1")}


def workers_of(client):
    return client.scheduler_info(n_workers=-1)["workers"].values()


def test_connect__with_the_right_certificate_works_and_only_its_worker_is_there(address, trust):
    assert address.startswith("tls://127.0.0.1:")
    with connect(address, certificates=trust / "right") as client:
        client.wait_for_workers(1, timeout=PATIENCE)
        assert client.submit(sum, [1, 2]).result(timeout=PATIENCE) == 3
        assert len(client.nthreads()) == 1


def test_run__by_a_scheduler_with_certificates(address, trust, recipe):
    given = ["--scheduler", address, "--certificates", str(trust / "right"), "--quiet"]
    main(["run", str(recipe), *given])
    assert RunFolder(recipe.parent / "out").read()["state"] == "done"


def test_connect__is_refused_with_a_wrong_certificate_or_in_plain_text(address, trust):
    wrong = read_security(trust / "wrong").get_connection_args("client")
    for place, arguments in ((address, wrong), (address.replace("tls://", "tcp://"), {})):
        with pytest.raises(OSError):
            asyncio.run(asked(place, arguments))


async def asked(address, arguments):
    """Connect, and ask who is there: TLS 1.3 tells a refusal with the first message."""
    comm = await distributed.comm.connect(address, timeout=4, **arguments)
    try:
        await comm.write({"op": "identity", "reply": True})
        return await comm.read()
    finally:
        comm.abort()


def test_connect__is_refused_without_a_certificate(address, trust):
    context = ssl.create_default_context(cafile=trust / "right" / CERTIFICATE)
    context.check_hostname = False
    host, port = address.removeprefix("tls://").split(":")
    with (
        socket.create_connection((host, int(port)), timeout=30) as plain,
        pytest.raises(ssl.SSLError, match="certificate required"),
        context.wrap_socket(plain) as encrypted,
    ):
        encrypted.recv(1)
