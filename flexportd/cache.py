"""The memory layer: finished answers, dropped the moment that what they show changes."""

from collections import OrderedDict
from collections.abc import Hashable, Iterable

from flexportd.answers import Answer

_OVERHEAD = 400  # bytes of bookkeeping for one answer


class AnswerCache:
    """Least recently used answers go first; never more than `limit` bytes.

    An answer is stored with tags; `drop` by tag is called when a batch has been committed. Whoever builds an answer
    takes `epoch` before reading, so that an answer read before a change is not stored after it.
    """

    def __init__(self, limit: int = 16 << 20) -> None:
        self._limit = limit
        self._entries: OrderedDict[Hashable, tuple[Answer, tuple[Hashable, ...]]] = OrderedDict()
        self._by_tag: dict[Hashable, set[Hashable]] = {}
        self.size = 0
        self.epoch = 0
        self.hits = 0
        self.misses = 0

    def get(self, key: Hashable) -> Answer | None:
        """The answer, or None."""
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: Hashable, answer: Answer, tags: tuple[Hashable, ...], epoch: int) -> None:
        """Keep an answer, unless something changed since `epoch` or it is too large to be worth it."""
        if epoch != self.epoch or answer.size() > self._limit // 8:
            return
        self._forget(key)
        self._entries[key] = (answer, tags)
        self.size += answer.size() + _OVERHEAD
        for tag in tags:
            self._by_tag.setdefault(tag, set()).add(key)
        while self.size > self._limit:
            self._forget(next(iter(self._entries)))

    def drop(self, tags: Iterable[Hashable]) -> None:
        """Forget every answer with one of these tags."""
        self.epoch += 1
        for tag in tags:
            for key in list(self._by_tag.get(tag, ())):
                self._forget(key)

    def _forget(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        answer, tags = entry
        self.size -= answer.size() + _OVERHEAD
        for tag in tags:
            keys = self._by_tag.get(tag)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._by_tag[tag]
