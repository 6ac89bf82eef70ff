"""What lies on disk: an answer as bytes, with its tags, its epoch and a check sum. Made with msgspec, never pickle."""

import zlib
from typing import NamedTuple

import msgspec

from flexportd.http.responses import Answer


class Entry(NamedTuple):
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
_decode_entry = msgspec.msgpack.Decoder(_Stored).decode
_decode_answer = msgspec.msgpack.Decoder(_Packed).decode


def entry_bytes(entry: Entry) -> bytes:
    """An entry as it is stored."""
    return _encode(_Stored(entry.epoch, entry.tags, zlib.crc32(entry.value), entry.value))


def entry_of(content: bytes) -> Entry:
    """An entry that was stored. Raises ValueError for what the disk has mangled."""
    found = _decode_entry(content)  # its ValidationError is a ValueError
    if zlib.crc32(found.value) != found.check:
        raise ValueError("the check sum of a stored answer is wrong")
    return Entry(found.epoch, found.tags, found.value)


def answer_bytes(answer: Answer) -> bytes:
    """An answer as it is stored."""
    return _encode(_Packed(answer.status, answer.etag, answer.head, answer.body))


def answer_of(content: bytes) -> Answer:
    """An answer that was stored, byte by byte what it was. Raises ValueError for anything else."""
    found = _decode_answer(content)
    # Its constructor makes the head anew from headers, which are not known any more.
    answer = Answer.__new__(Answer)
    answer.status, answer.etag, answer.head, answer.body = found.status, found.etag, found.head, found.body
    return answer
