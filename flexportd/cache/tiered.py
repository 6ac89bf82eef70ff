"""Memory in front, disk behind: one cache that outlasts a restart, and holds what is too much for memory."""

import hashlib
import time
from collections.abc import Callable, Hashable, Iterable, Mapping

from flexportd.cache.disk_cache import DiskCache, DiskStats
from flexportd.cache.entries import decode_response, encode_response
from flexportd.cache.memory import ResponseCache
from flexportd.http.responses import PreparedResponse

_FILE = "file"


class Cache(ResponseCache):
    """An AnswerCache with a disk behind it. `get` looks in memory alone, and so never waits; `fetch` in both.

    What is put without a type stays in memory: it is not worth a place on disk. Tags are known by their text here, a
    tag `("shipments", 7)` and a tag `"shipments/7"` are one.
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

    async def open(self, seal: str | None) -> None:
        """Start the disk layer; see `DiskCache.open`."""
        await self._disk.open(seal)

    async def close(self) -> str | None:
        """Stop the disk layer; see `DiskCache.close`."""
        return await self._disk.close()

    async def fetch(self, key: Hashable, kind: str) -> PreparedResponse | None:
        """The answer from either layer, or None."""
        answer = self.get(key)
        return await self.fetch_behind(key, kind) if answer is None else answer

    async def fetch_behind(self, key: Hashable, kind: str) -> PreparedResponse | None:
        """The answer from disk, kept in memory from now on, or None."""
        seconds = self._lifetime(kind)
        found = await self._disk.find(_disk_key(key)) if seconds > 0 else None
        if found is None:
            return None
        entry, left = found
        try:
            answer = decode_response(entry.value)
        except ValueError:
            return None
        # Nothing was dropped since `find` looked: the loop has not run anything in between.
        self._insert(key, answer, entry.tags, min(left, seconds))
        return answer

    def put(
        self, key: Hashable, answer: PreparedResponse, tags: tuple[Hashable, ...], epoch: int, kind: str | None = None
    ) -> None:
        """Keep an answer in memory and, if it is of a type, on disk, unless what it shows changed since `epoch`."""
        texts = tuple(map(_tag_text, tags))
        super().put(key, answer, texts, epoch, kind)
        if kind is not None and self._fits(answer):
            self._disk.put(_disk_key(key), encode_response(answer), self._lifetime(kind), texts, self._on_disk(epoch))

    def invalidate(self, tags: Iterable[Hashable]) -> None:
        """Forget every answer and file with one of these tags, in both layers."""
        texts = {_tag_text(tag) for tag in tags}
        super().invalidate(texts)
        self._disk.invalidate(texts)

    def reload(self, ttls: Mapping[str, float]) -> None:
        """Apply other times to live; nothing that earlier settings made is kept."""
        self.ttls = ttls
        self.invalidate_all()

    def invalidate_all(self) -> None:
        """Forget every answer and file, as when the settings that they show have changed."""
        super().invalidate(())
        for key in list(self._entries):
            self._remove(key)
        self._disk.invalidate_all()

    async def clear(self) -> None:
        """Forget everything, and delete it from disk."""
        self.invalidate_all()
        # Counts as a drop of its own there, which the number of ours must follow.
        self.epoch += 1
        await self._disk.clear()

    async def file(self, key: str) -> bytes | None:
        """The bytes of a file, from disk alone, or None."""
        return await self._disk.get(_disk_key((_FILE, key)))

    def put_file(self, key: str, content: bytes, tags: tuple[Hashable, ...], epoch: int) -> None:
        """Keep the bytes of a file on disk, unless a tag of it was dropped since `epoch`."""
        seconds = self._lifetime(_FILE)
        self._disk.put(_disk_key((_FILE, key)), content, seconds, tuple(map(_tag_text, tags)), self._on_disk(epoch))

    def disk_stats(self) -> DiskStats:
        """How the disk layer does; `hits` and `misses` of this class are those of memory."""
        return self._disk.stats()

    def _on_disk(self, epoch: int) -> int:
        """The disk's number for an epoch of ours: both count drops, the disk across restarts."""
        return self._disk.epoch - (self.epoch - epoch)


def _tag_text(tag: Hashable) -> str:
    return tag if isinstance(tag, str) else "/".join(map(str, tag)) if isinstance(tag, tuple) else str(tag)


def _disk_key(key: Hashable) -> str:
    """A key as it lies on disk: short, and sound whatever bytes a request's path holds."""
    return hashlib.blake2b(ascii(key).encode(), digest_size=16).hexdigest()
