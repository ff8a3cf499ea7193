"""Where stores lie: folders of this machine, and addresses of servers, and the objects there."""

import asyncio
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from zarr.core.sync import sync
from zarr.storage import StorePath

from ...conventions import ConventionError, StackReadError
from .access import Access, check_encrypted
from .remote import RemoteStore, client, patiently

SCHEMES = ("s3", "https", "http")
_FETCHED = 2**18  # bytes at a time, at least, of a file on a server
_CONCURRENT = 32  # requests at a time


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
    access: Access

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
        """The part of the address after the root; those of https:// are quoted once more."""
        key = self.address[len(self.root) :].strip("/")
        return key if self.root.startswith("s3://") else unquote(key)

    @property
    def client(self) -> Any:
        """Obstore's client of its server."""
        return client(self.root, self.access)

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
        return bool(_of_objects([self])[0])

    exists = is_file

    def stat(self) -> RemoteStat:
        """Ask the server for the size of the object.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
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
        store, key = self.client, self.key

        async def read() -> bytes:
            import obstore

            found = await obstore.get_async(store, key)
            return bytes(await found.bytes_async())

        return sync(patiently(read, str(self)))

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Read the object as a file, of which parts are fetched when they are read."""
        return io.BufferedReader(_Ranges(self), _FETCHED)

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """Iterate over places `*/name`, one for each member of a Zarr group."""
        _, _, name = pattern.partition("/")
        yield from (self.joinpath(member, name) for member in _members(self))


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


def store_of(place: Place) -> Any:
    """Return what Zarr opens for a place."""
    if isinstance(place, RemotePath):
        return StorePath(RemoteStore(place.root, place.access), place.key)
    return place


def read_range(place: RemotePath, start: int, stop: int) -> bytes:
    """Read the bytes of an object from `start` to `stop`.

    Raises
    ------
    FileNotFoundError
        If there is no such object.
    StackReadError
        If the server does not give them all.
    """
    store = place.client

    async def read() -> bytes:
        import obstore

        return bytes(await obstore.get_range_async(store, place.key, start=start, end=stop))

    found = sync(patiently(read, str(place)))
    if len(found) != stop - start:
        msg = f"{place} has changed while it was read: {len(found)} of {stop - start} bytes came"
        raise StackReadError(msg)
    return found


def put_object(place: RemotePath, content: bytes) -> None:
    """Write an object, whole or not at all.

    Raises
    ------
    StackReadError
        If the server does not take it.
    """
    store = place.client

    async def put() -> Any:
        import obstore

        return await obstore.put_async(store, place.key, content, use_multipart=False)

    sync(patiently(put, str(place), "written"))


def object_states(place: RemotePath, names: Sequence[str] | None) -> dict[str, tuple[int, str]]:
    """Return size and tag of the objects below a place, by name.

    Parameters
    ----------
    names
        Those that may be there; None to ask the server, which one that speaks S3 can tell.
    """
    if names is None:
        found = sync(_listed(place))
        start = len(place.key) + 1
        return {told["path"][start:]: _state(told) for told in found}
    states = _of_objects([place.joinpath(name) for name in names])
    return {name: _state(told) for name, told in zip(names, states, strict=True) if told}


def _members(place: RemotePath) -> list[str]:
    """Return the names of what a Zarr group holds.

    Raises
    ------
    StackReadError
        If a server that lists nothing is asked for a group that does not tell them either.
    """
    store = RemoteStore(place.root, place.access)

    async def collected() -> list[str]:
        return [name async for name in store.list_dir(place.key)]

    return sync(collected())


async def _listed(place: RemotePath) -> Sequence[Any]:
    store = place.client
    import obstore

    return await patiently(
        lambda: obstore.list(store, prefix=place.key).collect_async(), str(place)
    )


def _of_objects(places: Iterable[RemotePath]) -> list[Any]:
    """Return what a server tells of objects; None of those that are not there."""
    places = list(places)
    stores = {place: place.client for place in places}
    room = asyncio.Semaphore(_CONCURRENT)

    async def head(place: RemotePath) -> Any:
        import obstore

        async with room:
            store = stores[place]
            try:
                return await patiently(lambda: obstore.head_async(store, place.key), str(place))
            except FileNotFoundError:
                return None

    async def all_heads() -> list[Any]:
        return await asyncio.gather(*map(head, places))

    return sync(all_heads())


def _state(told: Any) -> tuple[int, str]:
    return told["size"], told["e_tag"] or told["last_modified"].isoformat()
