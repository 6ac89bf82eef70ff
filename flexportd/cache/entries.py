"""What lies on disk: an answer as bytes, with its tags, its epoch and a check sum. Made with msgspec, never pickle."""

import zlib
from typing import NamedTuple

import msgspec

from flexportd.http.responses import PreparedResponse


class CacheEntry(NamedTuple):
    """One thing that is stored. `epoch` is the one in which its building began."""

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
    """An entry as it is stored."""
    return _encode(_Stored(entry.epoch, entry.tags, zlib.crc32(entry.value), entry.value))


def decode_entry(content: bytes) -> CacheEntry:
    """An entry that was stored. Raises ValueError for what the disk has mangled."""
    found = _decode_stored(content)  # its ValidationError is a ValueError
    if zlib.crc32(found.value) != found.check:
        raise ValueError("the check sum of a stored answer is wrong")
    return CacheEntry(found.epoch, found.tags, found.value)


def encode_response(answer: PreparedResponse) -> bytes:
    """An answer as it is stored."""
    return _encode(_Packed(answer.status, answer.etag, answer.head, answer.body))


def decode_response(content: bytes) -> PreparedResponse:
    """An answer that was stored, byte by byte what it was. Raises ValueError for anything else."""
    found = _decode_packed(content)
    # Its constructor makes the head anew from headers, which are not known any more.
    answer = PreparedResponse.__new__(PreparedResponse)
    answer.status, answer.etag, answer.head, answer.body = found.status, found.etag, found.head, found.body
    return answer
