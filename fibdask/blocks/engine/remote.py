"""Objects of servers that speak S3 or HTTP, by obstore.

A dropped connection is taken up again, with longer and longer pauses, and named in the end.
obstore itself tries again only until the first byte has come; so it does not here.
"""

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from zarr.core.sync import sync
from zarr.storage import ObjectStore, StorePath

from ...conventions import ConventionError, StackReadError
from .places import Access, Place, RemotePath, check_encrypted

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before a request is sent again
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_REFUSED = re.compile(r"status code: (?!408|429)4\d\d")  # a server that answers so goes on to
_CONCURRENT = 32  # requests at a time
_TIMES = {"connect_timeout": "10s", "read_timeout": "60s", "timeout": "30m"}

Result = TypeVar("Result")


def store_of(place: Place) -> Any:
    """Return what Zarr opens for a place."""
    if isinstance(place, RemotePath):
        return StorePath(RemoteStore(place.root, place.access), _key(place))
    return place


def is_object(place: RemotePath) -> bool:
    """Tell whether there is an object.

    Raises
    ------
    StackReadError
        If the server does not say.
    """
    return bool(_of_objects([place])[0])


def read_object(place: RemotePath) -> bytes:
    """Read an object.

    Raises
    ------
    FileNotFoundError
        If there is none.
    StackReadError
        If the server does not give it.
    """
    store = client(place.root, place.access)

    async def read() -> bytes:
        import obstore

        found = await obstore.get_async(store, _key(place))
        return bytes(await found.bytes_async())

    return sync(patiently(read, str(place)))


def read_range(place: RemotePath, start: int, stop: int) -> bytes:
    """Read the bytes of an object from `start` to `stop`.

    Raises
    ------
    FileNotFoundError
        If there is no such object.
    StackReadError
        If the server does not give them all.
    """
    store = client(place.root, place.access)

    async def read() -> bytes:
        import obstore

        return bytes(await obstore.get_range_async(store, _key(place), start=start, end=stop))

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
    store = client(place.root, place.access)

    async def put() -> Any:
        import obstore

        return await obstore.put_async(store, _key(place), content, use_multipart=False)

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
        start = len(_key(place)) + 1
        return {told["path"][start:]: _state(told) for told in found}
    states = _of_objects([place.joinpath(name) for name in names])
    return {name: _state(told) for name, told in zip(names, states, strict=True) if told}


def members(place: RemotePath) -> list[str]:
    """Return the names of what a Zarr group holds.

    Raises
    ------
    StackReadError
        If a server that lists nothing is asked for a group that does not tell them either.
    """
    store = RemoteStore(place.root, place.access)

    async def collected() -> list[str]:
        return [name async for name in store.list_dir(_key(place))]

    return sync(collected())


def client(root: str, access: Access) -> Any:
    """Return obstore's client of a bucket or a server.

    Credentials are those of the environment, as tools of AWS name them.

    Raises
    ------
    ConventionError
        If the extra is not installed, or the server does not encrypt.
    """
    asked = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    return _client(root, access, frozenset(asked.items()))


@lru_cache(8)
def _client(root: str, access: Access, environment: frozenset[tuple[str, str]]) -> Any:
    """Make a client, which keeps connections, once for an environment, which it reads too."""
    try:
        from obstore.store import HTTPStore, S3Store
    except ImportError:
        msg = f'{root} is on a server, which needs the extra: pip install "fibdask[remote]"'
        raise ConventionError(msg) from None
    options: Any = {**_TIMES, "allow_http": True}  # where it is not this machine, it was asked for
    retries: Any = {"max_retries": 0}
    if not root.startswith("s3://"):
        options["allow_http"] = urlsplit(root).scheme == "http"
        return HTTPStore.from_url(root, client_options=options, retry_config=retries)
    told = dict(environment)
    endpoint = access.endpoint or next((told[n] for n in _ENDPOINTS if n in told), None)
    if endpoint is not None:
        check_encrypted(endpoint, access)
    options["allow_http"] = endpoint is not None and urlsplit(endpoint).scheme == "http"
    given = {"endpoint": endpoint, "region": access.region}
    config: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if access.anonymous:
        config["skip_signature"] = True
    bucket = urlsplit(root).netloc
    return S3Store(bucket, client_options=options, retry_config=retries, **config)


class RemoteStore(ObjectStore[Any]):
    """A store of Zarr on a server, for reading; copies hold its address, and no credentials."""

    def __init__(self, root: str, access: Access) -> None:
        super().__init__(client(root, access), read_only=True)
        self._place = RemotePath(root, access)

    def __reduce__(self) -> tuple[Any, ...]:
        """Open it anew wherever it is taken to."""
        return RemoteStore, (self._place.address, self._place.access)

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """Read an object or a part of it."""
        read = super().get
        return await patiently(
            lambda: read(key, prototype, byte_range), str(self._place.joinpath(key))
        )

    async def exists(self, key: str) -> bool:
        """Tell whether there is an object."""
        exists = super().exists
        return await patiently(lambda: exists(key), str(self._place.joinpath(key)))

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:  # type: ignore[override]
        """Yield the names of what lies below."""
        place = self._place.joinpath(prefix) if prefix else self._place
        if self._place.address.startswith("s3://"):
            listed = super().list_dir
            names = await patiently(lambda: _collected(listed(prefix)), str(place))
        else:
            names = await self._told_members(place, prefix)
        for name in names:
            yield name

    async def _told_members(self, place: RemotePath, prefix: str) -> list[str]:
        """Return the members that the metadata of a group tell, where a server lists nothing."""
        from zarr.core.buffer import default_buffer_prototype

        for file in ("zarr.json", ".zmetadata"):
            found = await self.get(f"{prefix}/{file}".lstrip("/"), default_buffer_prototype())
            if found is not None and (names := _named_in(found.to_bytes())):
                return names
        msg = (
            f"{place} does not tell what it holds, and its server lists nothing: it has no "
            "consolidated metadata; write those, or read it through s3://"
        )
        raise StackReadError(msg)


async def patiently(step: Callable[[], Awaitable[Result]], what: str, done: str = "read") -> Result:
    """Take a step, and take it again where the connection was dropped.

    Raises
    ------
    FileNotFoundError
        If there is no such object.
    StackReadError
        Naming the object, its server and the number of tries.
    """
    from obstore.exceptions import BaseError, GenericError

    began = time.monotonic()
    for number, pause in enumerate([*PAUSES, None], 1):
        try:
            return await step()
        except BaseError as error:
            passing = isinstance(error, GenericError) and not _REFUSED.search(str(error))
            if pause is None or not passing:
                tries = f"{number} tries in {time.monotonic() - began:.0f} s"
                how = tries if passing else "what the server says is final"
                msg = f"{what} cannot be {done} ({how}): {_brief(error)}"
                raise StackReadError(msg) from None
        await asyncio.sleep(pause)
    raise AssertionError


def _brief(error: BaseException) -> str:
    """Return the first line of an error, without the page that a server sent with it."""
    return str(error).partition("\n")[0].partition("<")[0].rstrip(": ")


def _key(place: RemotePath) -> str:
    """Return the key of an object; those of addresses https:// are quoted once more."""
    return place.key if place.root.startswith("s3://") else unquote(place.key)


async def _collected(names: AsyncIterator[str]) -> list[str]:
    return [name async for name in names]


async def _listed(place: RemotePath) -> Sequence[Any]:
    store = client(place.root, place.access)
    import obstore

    return await patiently(
        lambda: obstore.list(store, prefix=_key(place)).collect_async(), str(place)
    )


def _of_objects(places: Iterable[RemotePath]) -> list[Any]:
    """Return what a server tells of objects; None of those that are not there."""
    places = list(places)
    stores = {place: client(place.root, place.access) for place in places}
    room = asyncio.Semaphore(_CONCURRENT)

    async def head(place: RemotePath) -> Any:
        import obstore

        async with room:
            store = stores[place]
            try:
                return await patiently(lambda: obstore.head_async(store, _key(place)), str(place))
            except FileNotFoundError:
                return None

    async def all_heads() -> list[Any]:
        return await asyncio.gather(*map(head, places))

    return sync(all_heads())


def _state(told: Any) -> tuple[int, str]:
    return told["size"], told["e_tag"] or told["last_modified"].isoformat()


def _named_in(content: bytes) -> list[str]:
    """Return the names of members in the metadata of a group, sealed or consolidated."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return []
    sealed = _part(_part(found, "attributes"), "checksums")
    consolidated = _part(_part(found, "consolidated_metadata"), "metadata")
    files = [*_keys(sealed), *_keys(_part(found, "metadata"))]
    folders = [file.partition("/")[0] for file in files if "/" in file]
    groups = [name.partition("/")[0] for name in _keys(consolidated)]
    return list(dict.fromkeys([*folders, *groups]))


def _keys(found: Any) -> list[str]:
    return list(found) if isinstance(found, dict) else []


def _part(found: Any, name: str) -> Any:
    return found.get(name) if isinstance(found, dict) else None
