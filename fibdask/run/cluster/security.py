"""Who may join a cluster: anybody on this machine's loopback, beyond it whoever has the key.

A folder of certificates holds one certificate and its key, which scheduler, workers and client
share: whoever can read the key is trusted, and nobody else can connect.
"""

import ipaddress
import shutil
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask.config
import distributed
from distributed.comm.addressing import get_address_host, parse_address

from ...conventions import RecipeError

CERTIFICATE, KEY = "certificate.pem", "key.pem"
FOLDER = "certificates"
"""Where the certificates of a run lie, in its folder."""
_HERE = ("local", "cuda")  # kinds of clusters that nobody on another machine can reach
_ROLES = ("client", "scheduler", "worker")


def certificates_folder(options: Mapping[str, Any], output: Path) -> Path | None:
    """Return the folder of certificates that a table [cluster] asks for; None is plain text.

    Where workers are started on other machines, it asks for one unless `secure` is false; where a
    `scheduler` runs already, none are started, whatever the kind, and its certificates are those of
    the run only if these are there: else Dask's configuration names them.

    Raises
    ------
    RecipeError
        If it asks for both.
    """
    folder, secure = options["certificates"], options["secure"]
    if folder and secure is False:
        msg = f"certificates in {folder} are given, and --insecure (secure = false): drop one"
        raise RecipeError(msg)
    if options["scheduler"]:
        secure = (output / FOLDER / KEY).exists() if secure else False
    elif secure is None:
        secure = options["kind"] not in _HERE
    return Path(folder or output / FOLDER) if folder or secure else None


def make_security(folder: str | Path) -> distributed.Security:
    """Return the security of a folder of certificates, which are made where there is none.

    Several processes may do so at once: all get the same ones.

    Raises
    ------
    RecipeError
        As of `read_security`, or if none can be made, as where a file lies.
    """
    folder = Path(folder).absolute()
    if folder.exists() and not folder.is_dir():
        msg = f"{folder} is a file; certificates are a folder of {CERTIFICATE} and {KEY}"
        raise RecipeError(msg)
    if not folder.exists() or not any(folder.iterdir()):
        _make(folder)
    return read_security(folder)


def read_security(folder: str | Path) -> distributed.Security:
    """Return the security of a folder of certificates.

    Its files are named, so that workers on other machines that share them can read them too.

    Raises
    ------
    RecipeError
        If there are none, they are not valid now or do not fit, or others can read the key.
    """
    folder = Path(folder).absolute()
    certificate, key = folder / CERTIFICATE, folder / KEY
    if not certificate.is_file() or not key.is_file():
        msg = f"{folder} holds no certificates: {CERTIFICATE} and {KEY}"
        raise RecipeError(msg)
    if (mode := key.stat().st_mode & 0o777) & 0o077:
        msg = f"{key} may be read by others (mode {mode:o}); chmod 600 it, if nobody has read it"
        raise RecipeError(msg)
    _check(certificate, key)
    return named_security(folder)


def named_security(folder: Path) -> distributed.Security:
    """Return the security of a folder of certificates that may not have been made yet."""
    certificate, key = folder / CERTIFICATE, folder / KEY
    files = {"key": str(key), "cert": str(certificate)}
    named = {f"tls_{role}_{kind}": file for role in _ROLES for kind, file in files.items()}
    return distributed.Security(require_encryption=True, tls_ca_file=str(certificate), **named)


def security_config(security: distributed.Security | None) -> dict[str, Any]:
    """Return the configuration of Dask under which a cluster that it starts has a security."""
    if security is None:
        return {}
    config = {"require-encryption": True, "tls.ca-file": security.tls_ca_file}
    for role in _ROLES:
        files = security.get_tls_config_for_role(role)
        config |= {f"tls.{role}.{kind}": files[kind] for kind in ("key", "cert")}
    return {f"distributed.comm.{key}": value for key, value in config.items()}


def tls_options(security: distributed.Security | None) -> dict[str, str]:
    """Return the options of Dask's command of workers that name the certificates of a security."""
    files = {} if security is None else security.get_tls_config_for_role("worker")
    return {
        f"tls-{key.replace('_', '-')}": str(file)
        for key, file in files.items()
        if key != "ciphers" and file is not None
    }


def scheduler_security(
    address: str, *, certificates: Path | None, secure: bool | None
) -> distributed.Security | None:
    """Return the security with which a running scheduler is spoken to; None is plain text.

    Parameters
    ----------
    certificates
        Folder of them; without, those that Dask's configuration names.
    secure
        Whether only TLS will do; False also allows plain text beyond this machine.

    Raises
    ------
    RecipeError
        If the address is beyond loopback and not encrypted, or the certificates are missing.
    """
    if _scheme(address) == "tls":
        if certificates is not None:
            return read_security(certificates)
        if dask.config.get("distributed.comm.tls.ca-file"):
            return distributed.Security()
        msg = f"scheduler {address} needs certificates: give their folder with --certificates"
        raise RecipeError(msg)
    if secure or certificates is not None:
        msg = f"scheduler {address} is not encrypted: its address must begin with tls://"
        raise RecipeError(msg)
    if secure is None and _places(address) and not is_loopback(address):
        msg = (
            f"scheduler {address} is beyond this machine and not encrypted: whoever reaches it "
            "runs what he likes as you. Start it with certificates and give tls://… with "
            "--certificates, or say --insecure where the network is yours alone"
        )
        raise RecipeError(msg)
    return None


def is_loopback(address: str) -> bool:
    """Tell whether an address is reached from this machine only; a name by all that it means."""
    if _scheme(address) == "inproc":
        return True
    found = _places(address)
    return bool(found) and all(ipaddress.ip_address(place).is_loopback for place in found)


def _places(address: str) -> set[str]:
    """Return what an address means; nothing where its name is not known."""
    try:
        return {str(told[4][0]) for told in socket.getaddrinfo(get_address_host(address), None)}
    except (OSError, ValueError):
        return set()


def _scheme(address: str) -> str:
    try:
        return str(parse_address(address)[0])
    except ValueError:
        return ""


def _make(folder: Path) -> None:
    """Make a certificate and its key, whole or not at all; those of another process stay."""
    _needs("cryptography")
    made = distributed.Security.temporary()
    beside = folder.with_name(f".{folder.name}.{uuid4().hex}.partial")
    try:
        beside.mkdir(parents=True, mode=0o700)
        for name, text in ((CERTIFICATE, made.tls_ca_file), (KEY, made.tls_client_key)):
            file = beside / name
            file.touch(mode=0o600)  # before there is anything to be read in it
            file.write_text(text)
        if not (folder / KEY).exists():
            beside.rename(folder)
    except OSError as error:
        if not (folder / KEY).exists():
            msg = f"certificates cannot be written to {folder}: {error.strerror}"
            raise RecipeError(msg) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _check(certificate: Path, key: Path) -> None:
    """Refuse a certificate that has expired or is not valid yet, or is not that of the key."""
    x509 = _needs("cryptography.x509")
    try:
        read = x509.load_pem_x509_certificate(certificate.read_bytes())
        ssl.create_default_context(cafile=certificate).load_cert_chain(certificate, key)
    except (OSError, ValueError) as error:  # those of ssl are such
        msg = f"{certificate} and {key.name} are no certificate with its key: {error}"
        raise RecipeError(msg) from None
    begins, ends = read.not_valid_before_utc, read.not_valid_after_utc
    if ends < datetime.now(UTC):
        msg = f"{certificate} has expired on {ends:%Y-%m-%d}; remove {certificate.parent}"
        raise RecipeError(msg)
    if begins > datetime.now(UTC):
        msg = (
            f"{certificate} is valid from {begins:%Y-%m-%d %H:%M} UTC only; wait, set the clock "
            f"right, or remove {certificate.parent}"
        )
        raise RecipeError(msg)


def _needs(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        msg = "certificates need the package cryptography: pip install 'fibdask[cluster]'"
        raise RecipeError(msg) from error
