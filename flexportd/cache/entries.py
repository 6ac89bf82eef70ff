"""Entries of the disk cache: bytes with tags, epoch and checksum. Encoded with msgspec, never pickle."""

import zlib
from typing import NamedTuple

import msgspec

from flexportd.http.responses import PreparedResponse


class CacheEntry(NamedTuple):
    """A stored value. `epoch` is the one in which building it began."""

    epoch: int
    tags: tuple[str, ...]
    value: bytes


class _Stored(msgspec.Struct, array_like=True, gc=False):
    epoch: int
    tags: tuple[str, ...]
    check: int
    value: bytes


class _Packed(msgspec.Struct, array_like=True, gc=False):
    status: int
    etag: str | None
    head: bytes
    body: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_stored = msgspec.msgpack.Decoder(_Stored).decode
_decode_packed = msgspec.msgpack.Decoder(_Packed).decode


def encode_entry(entry: CacheEntry) -> bytes:
    """Encode an entry."""
    return _encode(_Stored(entry.epoch, entry.tags, zlib.crc32(entry.value), entry.value))


def decode_entry(content: bytes) -> CacheEntry:
    """Decode an entry. Raises ValueError if it is damaged."""
    stored = _decode_stored(content)  # its ValidationError is a ValueError
    if zlib.crc32(stored.value) != stored.check:
        raise ValueError("the checksum of a stored entry is wrong")
    return CacheEntry(stored.epoch, stored.tags, stored.value)


def encode_response(response: PreparedResponse) -> bytes:
    """Encode a response."""
    return _encode(_Packed(response.status, response.etag, response.head, response.body))


def decode_response(content: bytes) -> PreparedResponse:
    """Decode a response, byte for byte as it was. Raises ValueError for anything else."""
    packed = _decode_packed(content)
    # The constructor would build the head from headers, which are not stored.
    response = PreparedResponse.__new__(PreparedResponse)
    response.status, response.etag, response.head, response.body = packed.status, packed.etag, packed.head, packed.body
    return response
