"""Arrays of Zarr whose chunks are decoded into the room that they claim, and no more.

Zarr makes what the data of a chunk grow to, which a few bytes may make any size, and looks at its
length afterwards.
"""

import zlib
from dataclasses import replace
from math import prod
from typing import Any

import imagecodecs
import zarr
from zarr.codecs import GzipCodec, ShardingCodec, ZstdCodec

_SURPLUS, _HEADER = 64, 2**12  # what other codecs before may add: a part of the bytes, and bytes
_GZIP = zlib.MAX_WBITS + 16


def bounded(array: "zarr.Array[Any]") -> "zarr.Array[Any]":
    """Return an array that raises where a chunk would grow beyond its size."""
    inner = array.async_array
    if inner.metadata.zarr_format != 3:
        return array
    codecs = tuple(map(_bounded, inner.metadata.codecs))
    if codecs == inner.metadata.codecs:
        return array
    metadata = replace(inner.metadata, codecs=codecs)
    return zarr.Array(zarr.AsyncArray(metadata, inner.store_path, inner.config))


def _bounded(codec: Any) -> Any:
    if isinstance(codec, ShardingCodec):
        return replace(codec, codecs=tuple(map(_bounded, codec.codecs)))
    if type(codec) is ZstdCodec:
        return _Zstd(level=codec.level, checksum=codec.checksum)
    if type(codec) is GzipCodec:
        return _Gzip(level=codec.level)
    return codec


def _most(spec: Any) -> int:
    """Return the bytes of a chunk, with what other codecs may have added."""
    size: int = prod(spec.shape) * spec.dtype.item_size
    return size + size // _SURPLUS + _HEADER


class _Zstd(ZstdCodec):
    def _decode_sync(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        data = imagecodecs.zstd_decode(chunk_bytes.as_numpy_array(), out=_most(chunk_spec))
        return chunk_spec.prototype.buffer.from_bytes(data)


class _Gzip(GzipCodec):
    def _decode_sync(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        decoder = zlib.decompressobj(_GZIP)
        data = decoder.decompress(chunk_bytes.to_bytes(), _most(chunk_spec))
        if decoder.unconsumed_tail:
            msg = f"a chunk of it grows beyond {_most(chunk_spec)} bytes"
            raise ValueError(msg)
        return chunk_spec.prototype.buffer.from_bytes(data)
