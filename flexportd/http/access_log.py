"""The access log: one line per request, written in batches, since rendering a line costs more than most responses.

Lines have the usual fields (`timestamp`, `level`, `logger`, `event`), and never contain a query, header or body.
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
_MAX_WAITING = 20_000  # waiting lines; more are counted and dropped
_SECRET_PATHS = ("/s/", "/api/v1/shared/")  # followed by a token
_MAX_PATH = 300  # characters of a path


class AccessLogEntry(NamedTuple):
    """One request: when its response was ready (`time.perf_counter`), and how many seconds it took."""

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
    """A line of the log."""

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
    """The line that reports dropped lines."""

    timestamp: str
    level: str
    logger: str
    event: str
    count: int


class AccessLog:
    """Accepts lines without waiting, and writes them in the background."""

    def __init__(self, clock: Clock, *, enabled: bool = False, console: bool = False) -> None:
        self._clock = clock
        self._render = _render_console if console else _render_json
        self._lines: list[AccessLogEntry] = []
        self._dropped = 0
        self.enabled = enabled

    def record(self, line: AccessLogEntry) -> None:
        """Log a finished request."""
        if len(self._lines) >= _MAX_WAITING:
            self._dropped += 1
        else:
            self._lines.append(line)

    async def run(self) -> None:
        """Write batches until cancelled; call `flush` afterwards."""
        while True:
            await self._clock.sleep(_INTERVAL)
            await self.flush()

    async def flush(self) -> None:
        """Write the waiting lines."""
        if self._lines:
            lines, self._lines = self._lines, []
            dropped, self._dropped = self._dropped, 0
            await asyncio.to_thread(self._write, lines, dropped)

    def _write(self, lines: list[AccessLogEntry], dropped: int) -> None:
        now, at = self._clock.now(), time.perf_counter()
        entries, shared = list[_JsonEntry | _DroppedEntry](), (0, "")  # many end within the same millisecond
        for line in lines:
            ago = int((at - line.ended) * 1000)
            if ago != shared[0] or not shared[1]:
                shared = (ago, stamp(now - timedelta(milliseconds=ago)))
            entries.append(_json_entry(line, shared[1]))
        if dropped:
            entries.append(_DroppedEntry(stamp(now), "warning", _LOGGER, "access_log_entries_dropped", dropped))
        with contextlib.suppress(OSError, ValueError):  # stderr was closed
            sys.stderr.write("".join(map(self._render, entries)))
            sys.stderr.flush()


def _json_entry(line: AccessLogEntry, at: str) -> _JsonEntry:
    return _JsonEntry(
        at, "info", _LOGGER, "request_finished", line.method[:20], redact_path(line.path.partition("?")[0]),
        line.status,        line.bytes, round(line.seconds * 1000, 3), line.client, line.request_id, line.key,
    )  # fmt: skip


def has_token(url: URL) -> bool:
    """Whether a URL contains the token of a share link or calendar, which must stay secret."""
    return url.path.startswith(_SECRET_PATHS) or "token" in url.query


def redact_path(path: str) -> str:
    """A path without the token that it may contain."""
    for prefix in _SECRET_PATHS:
        if path.startswith(prefix):
            return f"{prefix}***"
    return path[:_MAX_PATH]


_encode = msgspec.json.Encoder().encode


def _render_json(line: _JsonEntry | _DroppedEntry) -> str:
    return _encode(line).decode() + "\n"


def _render_console(line: _JsonEntry | _DroppedEntry) -> str:
    if isinstance(line, _DroppedEntry):
        return f"{line.timestamp} [warning  ] {line.count} requests were not logged: too many at once\n"
    key = f" key={line.key}" if line.key else ""
    path = escape_control(line.path, _MAX_PATH)
    return (
        f"{line.timestamp} [info     ] {line.method} {path} {line.status} {line.bytes} B {line.ms:g} ms "
        f"{line.client}{key} {line.request_id}\n"
    )
