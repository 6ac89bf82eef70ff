"""The access log: one line a request, written in batches, since rendering a log line costs more than most answers.

Lines have the shape of all others (`timestamp`, `level`, `logger`, `event`), and never hold a query, header or body.
"""

import asyncio
import contextlib
import sys
import time
from datetime import timedelta
from typing import NamedTuple

import msgspec
from yarl import URL

from flexportd.clock import Clock, stamp
from flexportd.escape import harmless

_LOGGER = "flexportd.access"
_EVERY = 0.1  # seconds between batches
_MOST = 20_000  # lines that wait; more are counted and left out
_SECRET_PATHS = ("/s/", "/api/v1/shared/")  # what follows is a token
_LONGEST = 300  # characters of a path


class Line(NamedTuple):
    """One request: when its answer was ready (`time.perf_counter`), and how many seconds that took."""

    ended: float
    method: str
    path: str
    status: int
    bytes: int
    seconds: float
    client: str
    request_id: str
    key: str | None


class _Told(msgspec.Struct):
    """A line as it is written."""

    timestamp: str
    level: str
    logger: str
    event: str
    method: str
    path: str
    status: int
    bytes: int
    ms: float
    client: str
    request_id: str
    key: str | None


class _LeftOut(msgspec.Struct):
    """The line that tells how many there was no room for."""

    timestamp: str
    level: str
    logger: str
    event: str
    count: int


class AccessLog:
    """Takes lines without waiting and writes them behind everybody's back."""

    def __init__(self, clock: Clock, *, enabled: bool = False, console: bool = False) -> None:
        self._clock = clock
        self._render = _for_people if console else _for_programs
        self._lines: list[Line] = []
        self._left_out = 0
        self.enabled = enabled

    def note(self, line: Line) -> None:
        """Log a request that has been answered."""
        if len(self._lines) >= _MOST:
            self._left_out += 1
        else:
            self._lines.append(line)

    async def run(self) -> None:
        """Write, batch by batch, until cancelled; `flush` afterwards."""
        while True:
            await self._clock.sleep(_EVERY)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits."""
        if self._lines:
            lines, self._lines = self._lines, []
            left_out, self._left_out = self._left_out, 0
            await asyncio.to_thread(self._out, lines, left_out)

    def _out(self, lines: list[Line], left_out: int) -> None:
        now, at = self._clock.now(), time.perf_counter()
        told, shared = list[_Told | _LeftOut](), (0, "")  # many end within one thousandth of a second
        for line in lines:
            ago = int((at - line.ended) * 1000)
            if ago != shared[0] or not shared[1]:
                shared = (ago, stamp(now - timedelta(milliseconds=ago)))
            told.append(_told(line, shared[1]))
        if left_out:
            told.append(_LeftOut(stamp(now), "warning", _LOGGER, "access_log_entries_dropped", left_out))
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            sys.stderr.write("".join(map(self._render, told)))
            sys.stderr.flush()


def _told(line: Line, at: str) -> _Told:
    return _Told(
        at, "info", _LOGGER, "request_finished", line.method[:20], shown(line.path.partition("?")[0]), line.status,
        line.bytes, round(line.seconds * 1000, 3), line.client, line.request_id, line.key,
    )  # fmt: skip


def has_token(url: URL) -> bool:
    """Whether an address holds a token, that of a share link or of a calendar: nobody else may learn it."""
    return url.path.startswith(_SECRET_PATHS) or "token" in url.query


def shown(path: str) -> str:
    """A path as it may be logged: without the tokens that some hold."""
    for prefix in _SECRET_PATHS:
        if path.startswith(prefix):
            return f"{prefix}***"
    return path[:_LONGEST]


_encode = msgspec.json.Encoder().encode


def _for_programs(line: _Told | _LeftOut) -> str:
    return _encode(line).decode() + "\n"


def _for_people(line: _Told | _LeftOut) -> str:
    if isinstance(line, _LeftOut):
        return f"{line.timestamp} [warning  ] {line.count} requests are not logged: too many came at once\n"
    who = f" key={line.key}" if line.key else ""
    path = harmless(line.path, _LONGEST)
    return (
        f"{line.timestamp} [info     ] {line.method} {path} {line.status} {line.bytes} B {line.ms:g} ms "
        f"{line.client}{who} {line.request_id}\n"
    )
