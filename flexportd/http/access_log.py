"""The access log: one line per request, written in batches, since rendering a line costs more than most responses.

Lines have the usual fields (`timestamp`, `level`, `logger`, `event`), and never contain a query, header or body.
"""

import asyncio
import contextlib
import sys
import time
from datetime import timedelta
from typing import Any, NamedTuple

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
        texts, shared = list[str](), (0, "")  # many end within the same millisecond
        for line in lines:
            ago = int((at - line.ended) * 1000)
            if ago != shared[0] or not shared[1]:
                shared = (ago, stamp(now - timedelta(milliseconds=ago)))
            texts.append(self._render(_fields(shared[1], line)))
        if dropped:
            head = {"timestamp": stamp(now), "level": "warning", "logger": _LOGGER}
            texts.append(self._render({**head, "event": "access_log_entries_dropped", "count": dropped}))
        with contextlib.suppress(OSError, ValueError):  # stderr was closed
            sys.stderr.write("".join(texts))
            sys.stderr.flush()


def _fields(at: str, line: AccessLogEntry) -> dict[str, Any]:
    return {
        "timestamp": at, "level": "info", "logger": _LOGGER, "event": "request_finished",
        "method": line.method[:20], "path": redact_path(line.path.partition("?")[0]), "status": line.status,
        "bytes": line.bytes, "ms": round(line.seconds * 1000, 3), "client": line.client,
        "request_id": line.request_id, "key": line.key,
    }  # fmt: skip


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


def _render_json(fields: dict[str, Any]) -> str:
    return _encode(fields).decode() + "\n"


def _render_console(fields: dict[str, Any]) -> str:
    if "count" in fields:
        return "{timestamp} [warning  ] {count} requests were not logged: too many at once\n".format(**fields)
    key = f" key={fields['key']}" if fields["key"] else ""
    path = escape_control(fields["path"], _MAX_PATH)
    return (
        "{timestamp} [info     ] {method} {shown} {status} {bytes} B {ms:g} ms {client}{named} {request_id}\n"
    ).format(**fields, shown=path, named=key)
