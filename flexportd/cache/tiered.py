"""The response cache in two layers: memory, and disk for what is too much for memory or must outlive a restart."""

import hashlib
import time
from collections.abc import Callable, Hashable, Iterable, Mapping

from flexportd.cache.disk_cache import DiskCache, DiskStats
from flexportd.cache.entries import decode_response, encode_response
from flexportd.cache.memory import ResponseCache
from flexportd.http.responses import PreparedResponse

_FILE = "file"


class Cache(ResponseCache):
    """A `ResponseCache` with a disk behind it. `get` looks only in memory and never waits; `fetch` looks in both.

    A response without a type stays in memory. Tags are compared as text: `("shipments", 7)` and `"shipments/7"` are the
    same tag.
    """

    def __init__(
        self,
        disk: DiskCache,
        limit: int = 16 << 20,
        ttls: Mapping[str, float] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(limit, ttls, now)
        self._disk = disk

    async def open(self, token: str | None) -> None:
        """Start the disk layer; see `DiskCache.open`."""
        await self._disk.open(token)

    async def close(self) -> str | None:
        """Stop the disk layer; see `DiskCache.close`."""
        return await self._disk.close()

    async def fetch(self, key: Hashable, kind: str) -> PreparedResponse | None:
        """The response from either layer, or None."""
        response = self.get(key)
        return await self.fetch_behind(key, kind) if response is None else response

    async def fetch_behind(self, key: Hashable, kind: str) -> PreparedResponse | None:
        """The response from disk, which is then kept in memory, or None."""
        seconds = self._lifetime(kind)
        hit = await self._disk.find(_disk_key(key)) if seconds > 0 else None
        if hit is None:
            return None
        entry, left = hit
        try:
            response = decode_response(entry.value)
        except ValueError:
            return None
        # Nothing was invalidated since `find`: the loop has run nothing in between.
        self._insert(key, response, entry.tags, min(left, seconds))
        return response

    def put(
        self, key: Hashable, response: PreparedResponse, tags: tuple[Hashable, ...], epoch: int, kind: str | None = None
    ) -> None:
        """Store a response in memory and, if it has a type, on disk, unless one of its tags changed since `epoch`."""
        texts = tuple(map(_tag_text, tags))
        super().put(key, response, texts, epoch, kind)
        if kind is not None and self._fits(response):
            self._disk.put(_disk_key(key), encode_response(response), self._lifetime(kind), texts, self._on_disk(epoch))

    def invalidate(self, tags: Iterable[Hashable]) -> None:
        """Drop every response and file with one of these tags, in both layers."""
        texts = {_tag_text(tag) for tag in tags}
        super().invalidate(texts)
        self._disk.invalidate(texts)

    def reload(self, ttls: Mapping[str, float]) -> None:
        """Apply other times to live; nothing that earlier settings made is kept."""
        self.ttls = ttls
        self.invalidate_all()

    def invalidate_all(self) -> None:
        """Drop every response and file, as when the settings that they show have changed."""
        super().invalidate(())
        for key in list(self._entries):
            self._remove(key)
        self._disk.invalidate_all()

    async def clear(self) -> None:
        """Drop everything, and delete it from disk."""
        self.invalidate_all()
        # It counts as another invalidation there, which our epoch must follow.
        self.epoch += 1
        await self._disk.clear()

    async def file(self, key: str) -> bytes | None:
        """The bytes of a file, which is only on disk, or None."""
        return await self._disk.get(_disk_key((_FILE, key)))

    def put_file(self, key: str, content: bytes, tags: tuple[Hashable, ...], epoch: int) -> None:
        """Store the bytes of a file on disk, unless one of its tags was invalidated since `epoch`."""
        seconds = self._lifetime(_FILE)
        self._disk.put(_disk_key((_FILE, key)), content, seconds, tuple(map(_tag_text, tags)), self._on_disk(epoch))

    def disk_stats(self) -> DiskStats:
        """Counts of the disk layer; `hits` and `misses` of this class are those of memory."""
        return self._disk.stats()

    def _on_disk(self, epoch: int) -> int:
        """The epoch on disk for one in memory: both count invalidations, the disk across restarts."""
        return self._disk.epoch - (self.epoch - epoch)


def _tag_text(tag: Hashable) -> str:
    return tag if isinstance(tag, str) else "/".join(map(str, tag)) if isinstance(tag, tuple) else str(tag)


def _disk_key(key: Hashable) -> str:
    """A key on disk: short, and valid whatever bytes the path of a request has."""
    return hashlib.blake2b(ascii(key).encode(), digest_size=16).hexdigest()
