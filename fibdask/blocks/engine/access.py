"""How servers are reached: by what a user says of them, and encrypted."""

import difflib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from ...conventions import ConventionError


@dataclass(frozen=True)
class Access:
    """How a server is reached; who asks stands in the environment, and is never kept.

    Attributes
    ----------
    endpoint
        Address of a server that speaks S3, other than Amazon's.
    region
        Of the bucket.
    anonymous
        Ask without credentials.
    plain_http
        Take a server beyond this machine that does not encrypt.
    """

    endpoint: str | None = None
    region: str | None = None
    anonymous: bool = False
    plain_http: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Access":
        """Check options that a user gave.

        Raises
        ------
        ConventionError
            Naming the option.
        """
        known = {field.name: bool if field.default is False else str for field in fields(cls)}
        for name, value in options.items():
            if name not in known:
                close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
                hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
                msg = f"remote has no option {name!r}; {hint}"
                raise ConventionError(msg)
            if not isinstance(value, known[name]):
                kind = "true or false" if known[name] is bool else "a text"
                msg = f"remote {name} must be {kind}; got {value!r}"
                raise ConventionError(msg)
        return cls(**options)


def check_encrypted(address: str, access: Access) -> None:
    """Refuse a server beyond this machine that does not encrypt.

    Raises
    ------
    ConventionError
        Naming the address.
    """
    parts = urlsplit(address)
    if parts.scheme == "https" or access.plain_http or is_loopback(parts.hostname or ""):
        return
    msg = (
        f"{address} is not encrypted: whoever carries it can read and change the voxels; use "
        "https://, or plain_http = true (remote) in a network that is yours alone"
    )
    raise ConventionError(msg)


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
