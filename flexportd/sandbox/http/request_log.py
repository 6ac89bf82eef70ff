"""What the sandbox was asked, for tests that count."""

import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

KEPT = 10_000


class LoggedRequest(NamedTuple):
    """One request as it arrived; `status` is 0 when its connection was reset."""

    method: str
    path: str
    status: int


class RequestLog:
    """The last ten thousand requests, oldest first, and how many there were. Tokens are counted apart as well."""

    def __init__(self) -> None:
        self.total = 0
        self.tokens = 0
        self._kept: deque[LoggedRequest] = deque(maxlen=KEPT)

    def __iter__(self) -> Iterator[LoggedRequest]:
        return iter(tuple(self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    def record(self, asked: LoggedRequest, *, token: bool = False) -> None:
        """Remember one."""
        self._kept.append(asked)
        self.total += 1
        self.tokens += token

    def count(self, path: str = "", method: str | None = None) -> int:
        """How many of those kept match a regular expression (path and query) and a method."""
        wanted = re.compile(path)
        return sum(wanted.search(one.path) is not None and method in {None, one.method} for one in self._kept)

    def clear(self) -> None:
        """Forget them all, and count from zero."""
        self._kept.clear()
        self.total = self.tokens = 0
