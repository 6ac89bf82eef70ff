"""The memory layer of the cache: responses, invalidated by tag when what they show changes."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeAlias

from flexportd.http.responses import PreparedResponse

_OVERHEAD = 400  # bytes of overhead for one response
_DEFAULT_KIND = "page"  # the type of a response without one

_Entry: TypeAlias = tuple[PreparedResponse, tuple[Hashable, ...], float]


def kind_of(tags: tuple[Hashable, ...]) -> str:
    """The type of a response, as `[cache] ttl` names it, from its first tag: `("companies", 7)` is a `company`."""
    first = tags[0] if tags else _DEFAULT_KIND
    name = str(first[0] if isinstance(first, tuple) else first)
    return f"{name[:-3]}y" if name.endswith("ies") else name.removesuffix("s")


class ResponseCache:
    """At most `limit` bytes of responses; the least recently used are evicted first.

    A response is stored with tags, which are invalidated after each commit. A handler reads `epoch` before it builds a
    response, so that one built before a change is not stored after it. `ttls` are seconds by type of response, and may
    be replaced while running; a type without one is kept as long as a page.
    """

    def __init__(
        self,
        limit: int = 16 << 20,
        ttls: Mapping[str, float] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ttls: Mapping[str, float] = ttls or {}
        self._limit = limit
        self._now = now
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._by_tag: dict[Hashable, set[Hashable]] = {}
        self.size = 0
        self.epoch = 0
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> PreparedResponse | None:
        """The response, or None."""
        entry = self._entries.get(key)
        if entry is None or entry[2] <= self._now():
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return entry[0]

    async def fetch_behind(self, _key: Hashable, _kind: str) -> PreparedResponse | None:
        """The response of the layer behind this one, after a miss of `get`: None without such a layer."""
        return None

    def put(
        self, key: Hashable, response: PreparedResponse, tags: tuple[Hashable, ...], epoch: int, kind: str | None = None
    ) -> None:
        """Store a response, unless something changed since `epoch` or it is too large."""
        if epoch == self.epoch:
            self._insert(key, response, tags, self._lifetime(kind))

    def invalidate(self, tags: Iterable[Hashable]) -> None:
        """Drop every response with one of these tags."""
        self.epoch += 1
        for tag in tags:
            for key in list(self._by_tag.get(tag, ())):
                self._remove(key)

    def _lifetime(self, kind: str | None) -> float:
        ttl = self.ttls.get(kind or _DEFAULT_KIND)
        return self.ttls.get(_DEFAULT_KIND, math.inf) if ttl is None else ttl

    def _insert(self, key: Hashable, response: PreparedResponse, tags: tuple[Hashable, ...], seconds: float) -> None:
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
            keys = self._by_tag.get(tag)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._by_tag[tag]
