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
from flexportd.escape import escape_control

_LOGGER = "flexportd.access"
_INTERVAL = 0.1  # seconds between batches
_MAX_WAITING = 20_000  # lines that wait; more are counted and left out
_SECRET_PATHS = ("/s/", "/api/v1/shared/")  # what follows is a token
_MAX_PATH = 300  # characters of a path


class AccessLogEntry(NamedTuple):
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


class _JsonEntry(msgspec.Struct):
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


class _DroppedEntry(msgspec.Struct):
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
        self._render = _render_console if console else _render_json
        self._lines: list[AccessLogEntry] = []
        self._dropped = 0
        self.enabled = enabled

    def record(self, line: AccessLogEntry) -> None:
        """Log a request that has been answered."""
        if len(self._lines) >= _MAX_WAITING:
            self._dropped += 1
        else:
            self._lines.append(line)

    async def run(self) -> None:
        """Write, batch by batch, until cancelled; `flush` afterwards."""
        while True:
            await self._clock.sleep(_INTERVAL)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits."""
        if self._lines:
            lines, self._lines = self._lines, []
            left_out, self._dropped = self._dropped, 0
            await asyncio.to_thread(self._write, lines, left_out)

    def _write(self, lines: list[AccessLogEntry], left_out: int) -> None:
        now, at = self._clock.now(), time.perf_counter()
        told, shared = list[_JsonEntry | _DroppedEntry](), (0, "")  # many end within one thousandth of a second
        for line in lines:
            ago = int((at - line.ended) * 1000)
            if ago != shared[0] or not shared[1]:
                shared = (ago, stamp(now - timedelta(milliseconds=ago)))
            told.append(_json_entry(line, shared[1]))
        if left_out:
            told.append(_DroppedEntry(stamp(now), "warning", _LOGGER, "access_log_entries_dropped", left_out))
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            sys.stderr.write("".join(map(self._render, told)))
            sys.stderr.flush()


def _json_entry(line: AccessLogEntry, at: str) -> _JsonEntry:
    return _JsonEntry(
        at, "info", _LOGGER, "request_finished", line.method[:20], redact_path(line.path.partition("?")[0]),
        line.status,        line.bytes, round(line.seconds * 1000, 3), line.client, line.request_id, line.key,
    )  # fmt: skip


def has_token(url: URL) -> bool:
    """Whether an address holds a token, that of a share link or of a calendar: nobody else may learn it."""
    return url.path.startswith(_SECRET_PATHS) or "token" in url.query


def redact_path(path: str) -> str:
    """A path as it may be logged: without the tokens that some hold."""
    for prefix in _SECRET_PATHS:
        if path.startswith(prefix):
            return f"{prefix}***"
    return path[:_MAX_PATH]


_encode = msgspec.json.Encoder().encode


def _render_json(line: _JsonEntry | _DroppedEntry) -> str:
    return _encode(line).decode() + "\n"


def _render_console(line: _JsonEntry | _DroppedEntry) -> str:
    if isinstance(line, _DroppedEntry):
        return f"{line.timestamp} [warning  ] {line.count} requests are not logged: too many came at once\n"
    who = f" key={line.key}" if line.key else ""
    path = escape_control(line.path, _MAX_PATH)
    return (
        f"{line.timestamp} [info     ] {line.method} {path} {line.status} {line.bytes} B {line.ms:g} ms "
        f"{line.client}{who} {line.request_id}\n"
    )
