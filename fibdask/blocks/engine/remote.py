"""Servers that speak S3 or HTTP, by obstore.

A dropped connection is taken up again, with longer and longer pauses, and named in the end.
obstore itself tries again only until the first byte has come; so it does not here.
"""

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

from zarr.storage import ObjectStore

from ...conventions import ConventionError, StackReadError
from .access import Access, check_encrypted

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before a request is sent again
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_REFUSED = re.compile(r"status code: (?!408|429)4\d\d")  # a server that answers so goes on to
_TIMES = {"connect_timeout": "10s", "read_timeout": "60s", "timeout": "30m"}

Result = TypeVar("Result")


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
        self._root, self._access = root, access

    def __reduce__(self) -> tuple[Any, ...]:
        """Open it anew wherever it is taken to."""
        return RemoteStore, (self._root, self._access)

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """Read an object or a part of it."""
        read = super().get
        return await patiently(lambda: read(key, prototype, byte_range), self._address(key))

    async def exists(self, key: str) -> bool:
        """Tell whether there is an object."""
        exists = super().exists
        return await patiently(lambda: exists(key), self._address(key))

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:  # type: ignore[override]
        """Yield the names of what lies below."""
        if self._root.startswith("s3://"):
            listed = super().list_dir
            names = await patiently(lambda: _collected(listed(prefix)), self._address(prefix))
        else:
            names = await self._told_members(prefix)
        for name in names:
            yield name

    async def _told_members(self, prefix: str) -> list[str]:
        """Return the members that the metadata of a group tell, where a server lists nothing."""
        from zarr.core.buffer import default_buffer_prototype

        for file in ("zarr.json", ".zmetadata"):
            found = await self.get(f"{prefix}/{file}".lstrip("/"), default_buffer_prototype())
            if found is not None and (names := _named_in(found.to_bytes())):
                return names
        msg = (
            f"{self._address(prefix)} does not tell what it holds, and its server lists nothing: "
            "it has no consolidated metadata; write those, or read it through s3://"
        )
        raise StackReadError(msg)

    def _address(self, key: str) -> str:
        """Return the address of an object, or of what lies below a prefix."""
        return f"{self._root}/{key}".rstrip("/")


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


async def _collected(names: AsyncIterator[str]) -> list[str]:
    return [name async for name in names]


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
