"""Where stores lie: folders of this machine, and addresses of servers, which are only read."""

import difflib
import io
import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

from ...conventions import ConventionError

SCHEMES = ("s3", "https", "http")
_FETCHED = 2**18  # bytes at a time, at least, of a file on a server


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


class RemoteStat(NamedTuple):
    """What a server tells of an object."""

    st_size: int


@dataclass(frozen=True)
class RemotePath:
    """A place on a server, with what of `pathlib.Path` the reading of stores and images needs.

    Attributes
    ----------
    address
        Without a slash at the end.
    access
        How its server is reached.
    """

    address: str
    access: Access = Access()

    def __str__(self) -> str:
        """Return the address."""
        return self.address

    def __truediv__(self, name: str) -> "RemotePath":
        """Return a place below."""
        return self.joinpath(name)

    def joinpath(self, *names: str) -> "RemotePath":
        """Return a place below."""
        return RemotePath("/".join([self.address, *names]), self.access)

    @property
    def name(self) -> str:
        """The last part."""
        return self.address.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The end of the name, from its last dot on."""
        _, dot, end = self.name.rpartition(".")
        return dot + end

    @property
    def parent(self) -> "RemotePath":
        """The place around."""
        return RemotePath(self.address.rpartition("/")[0], self.access)

    @property
    def root(self) -> str:
        """Address of the bucket or the server."""
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def key(self) -> str:
        """The part of the address after the root."""
        return self.address[len(self.root) :].strip("/")

    def absolute(self) -> "RemotePath":
        """Return itself: an address does not depend on the working folder."""
        return self

    resolve = absolute

    def is_relative_to(self, other: "RemotePath") -> bool:
        """Tell whether it lies below another place."""
        below = self.address.startswith(f"{other.address}/")
        return below and ".." not in self.address.split("/")

    def is_file(self) -> bool:
        """Ask the server whether there is such an object."""
        from .remote import is_object

        return is_object(self)

    exists = is_file

    def stat(self) -> RemoteStat:
        """Ask the server for the size of the object.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        from .remote import object_states

        states = object_states(self.parent, [self.name])
        if self.name not in states:
            raise FileNotFoundError(str(self))
        return RemoteStat(states[self.name][0])

    def read_bytes(self) -> bytes:
        """Read the object.

        Raises
        ------
        FileNotFoundError
            If there is none.
        StackReadError
            If the server does not give it.
        """
        from .remote import read_object

        return read_object(self)

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Read the object as a file, of which parts are fetched when they are read."""
        return io.BufferedReader(_Ranges(self), _FETCHED)

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """Iterate over places `*/name`, one for each member of a Zarr group."""
        from .remote import members

        _, _, name = pattern.partition("/")
        yield from (self.joinpath(member, name) for member in members(self))


class _Ranges(io.RawIOBase):
    """The bytes of an object, by ranges."""

    def __init__(self, place: RemotePath) -> None:
        super().__init__()
        self._place, self._at, self._size = place, 0, place.stat().st_size

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that parts can be read."""
        return True

    def tell(self) -> int:
        """Return where the next byte is."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte, from the begin, from here, or from the end on."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fetch as many bytes as a buffer holds, or as there are left."""
        from .remote import read_range

        stop = min(self._at + len(buffer), self._size)
        if stop <= self._at:
            return 0
        found = read_range(self._place, self._at, stop)
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


Place = Path | RemotePath


def is_address(path: Any) -> bool:
    """Tell whether a path is an address rather than one of this machine."""
    return isinstance(path, str) and "://" in path


def located(path: str, access: Access | None) -> Place:
    """Return a place of which `str` and access were kept."""
    return Path(path) if access is None else RemotePath(path, access)


def remote_path(address: str, access: Access) -> RemotePath:
    """Return the place of an address that a user gave.

    Raises
    ------
    ConventionError
        If it is none of those that are read, or tells who asks.
    """
    scheme = address.partition("://")[0]
    parts = urlsplit(address)
    if scheme not in SCHEMES or not parts.netloc:
        msg = f"an address is s3://bucket/… or https://…; got {address!r}"
        raise ConventionError(msg)
    if "@" in parts.netloc or parts.query or parts.fragment:
        msg = (
            f"an address must not hold names, passwords or signatures ({scheme}://"
            f"{parts.netloc.rpartition('@')[2]}{parts.path}): addresses are kept with results; "
            "credentials are read from the environment"
        )
        raise ConventionError(msg)
    if scheme != "s3":
        check_encrypted(address, access)
        if access.endpoint is not None:
            msg = f"remote endpoint is of addresses s3://…; got {address}"
            raise ConventionError(msg)
    return RemotePath(address.rstrip("/"), access)


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
