"""The response cache in two layers: memory, and disk for what does not fit in memory."""

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeAlias

import msgspec

from flexportd.cache.disk_cache import DiskCache
from flexportd.http.responses import PreparedResponse

_OVERHEAD = 400  # bytes of overhead for one response
_DEFAULT_KIND = "page"  # the type of a response without one
_FILE = "file"

_Entry: TypeAlias = tuple[PreparedResponse, tuple[str, ...], float]


class _Packed(msgspec.Struct, array_like=True, gc=False):
    status: int
    etag: str | None
    head: bytes
    body: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode


def kind_of(tags: tuple[Hashable, ...]) -> str:
    """The type of a response, as `[cache] ttl` names it, from its first tag: `("companies", 7)` is a `company`."""
    first = tags[0] if tags else _DEFAULT_KIND
    name = str(first[0] if isinstance(first, tuple) else first)
    return f"{name[:-3]}y" if name.endswith("ies") else name.removesuffix("s")


class Cache:
    """Responses in memory, at most `limit` bytes, with a disk behind it; the least recently used are evicted first.

    A response is stored with tags, which are invalidated after each commit. A handler reads `epoch` before it builds a
    response, so that one built before a change is not stored after it. Tags are compared as text: `("shipments", 7)`
    and `"shipments/7"` are the same tag. `ttls` are seconds by type of response; a type without one is kept as long as
    a page. A response without a type stays in memory.
    """

    def __init__(
        self,
        disk: DiskCache,
        limit: int = 16 << 20,
        ttls: Mapping[str, float] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.disk = disk
        self.ttls: Mapping[str, float] = ttls or {}
        self._limit = limit
        self._now = now
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._by_tag: dict[str, set[Hashable]] = {}
        self.size = 0
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def epoch(self) -> int:
        """Read before building a response, and passed to `put`."""
        return self.disk.epoch

    def get(self, key: Hashable) -> PreparedResponse | None:
        """The response, or None; looks only in memory and never waits."""
        entry = self._entries.get(key)
        if entry is None or entry[2] <= self._now():
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return entry[0]

    async def fetch_behind(self, key: Hashable, kind: str) -> PreparedResponse | None:
        """The response from disk, after a miss of `get`; it is then kept in memory. None if it is not there either."""
        seconds = self._lifetime(kind)
        hit = await self.disk.find(_disk_key(key)) if seconds > 0 else None
        if hit is None:
            return None
        entry, left = hit
        try:
            packed = _decode(entry.value)
        except ValueError:
            return None
        # The constructor would build the head from headers, which are not stored.
        response = PreparedResponse.__new__(PreparedResponse)
        response.status, response.etag = packed.status, packed.etag
        response.head, response.body = packed.head, packed.body
        # Nothing was invalidated since `find`: the loop has run nothing in between.
        self._insert(key, response, entry.tags, min(left, seconds))
        return response

    def put(
        self, key: Hashable, response: PreparedResponse, tags: tuple[Hashable, ...], epoch: int, kind: str | None = None
    ) -> None:
        """Store a response in memory, and on disk if it has a type, unless it is too large or something changed since.

        In memory each change since `epoch` counts, on disk those of its tags.
        """
        texts, seconds = tuple(map(_tag_text, tags)), self._lifetime(kind)
        if epoch == self.epoch:
            self._insert(key, response, texts, seconds)
        if kind is not None and self._fits(response):
            packed = _encode(_Packed(response.status, response.etag, response.head, response.body))
            self.disk.put(_disk_key(key), packed, seconds, texts, epoch)

    async def file(self, key: str) -> bytes | None:
        """The bytes of a file, which is only on disk, or None."""
        return await self.disk.get(_disk_key((_FILE, key)))

    def put_file(self, key: str, content: bytes, tags: tuple[Hashable, ...], epoch: int) -> None:
        """Store the bytes of a file on disk, unless one of its tags was invalidated since `epoch`."""
        self.disk.put(_disk_key((_FILE, key)), content, self._lifetime(_FILE), tuple(map(_tag_text, tags)), epoch)

    def invalidate(self, tags: Iterable[Hashable]) -> None:
        """Drop every response and file with one of these tags, in both layers."""
        texts = {_tag_text(tag) for tag in tags}
        self.disk.invalidate(texts)
        for tag in texts:
            for key in list(self._by_tag.get(tag, ())):
                self._remove(key)

    def invalidate_all(self) -> None:
        """Drop every response and file, as when the settings that they show have changed."""
        self.disk.invalidate_all()
        for key in list(self._entries):
            self._remove(key)

    def reload(self, ttls: Mapping[str, float]) -> None:
        """Apply other times to live; nothing that earlier settings made is kept."""
        self.ttls = ttls
        self.invalidate_all()

    def _lifetime(self, kind: str | None) -> float:
        ttl = self.ttls.get(kind or _DEFAULT_KIND)
        return self.ttls.get(_DEFAULT_KIND, math.inf) if ttl is None else ttl

    def _insert(self, key: Hashable, response: PreparedResponse, tags: tuple[str, ...], seconds: float) -> None:
        self._remove(key)
        if seconds <= 0 or not self._fits(response):
            return
        self._entries[key] = (response, tags, self._now() + seconds)
        self.size += response.size() + _OVERHEAD
        for tag in tags:
            self._by_tag.setdefault(tag, set()).add(key)
        while self.size > self._limit:
            self._remove(next(iter(self._entries)))

    def _fits(self, response: PreparedResponse) -> bool:
        return response.size() <= self._limit // 8

    def _remove(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        response, tags, _ = entry
        self.size -= response.size() + _OVERHEAD
        for tag in tags:
            keys = self._by_tag.get(tag, set())
            keys.discard(key)
            if not keys:
                self._by_tag.pop(tag, None)


def _tag_text(tag: Hashable) -> str:
    return tag if isinstance(tag, str) else "/".join(map(str, tag)) if isinstance(tag, tuple) else str(tag)


def _disk_key(key: Hashable) -> str:
    """A key on disk: short, and valid whatever bytes the path of a request has."""
    return hashlib.blake2b(ascii(key).encode(), digest_size=16).hexdigest()
