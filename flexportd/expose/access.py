"""The access log: one line a request, written in batches, since rendering a log line costs more than most answers.

Lines have the shape of all others (`timestamp`, `level`, `logger`, `event`), and never hold a query, header or body.
"""

import asyncio
import contextlib
import sys
from collections import deque

import msgspec

from flexportd.clock import Clock
from flexportd.text import harmless

_EVERY = 0.1  # seconds between batches
_MOST = 20_000  # lines that wait; more are counted and left out
_SECRET_PATHS = ("/s/", "/api/v1/shared/")  # what follows is a token
_LONGEST = 300  # characters of a path


class Line(msgspec.Struct):
    """One request, as it is logged."""

    timestamp: str
    method: str
    path: str
    status: int
    bytes: int
    ms: float
    client: str
    request_id: str
    key: str | None = None
    level: str = "info"
    logger: str = "flexportd.access"
    event: str = "request"


class AccessLog:
    """Takes lines without waiting and writes them behind everybody's back."""

    def __init__(self, *, enabled: bool = False, console: bool = False) -> None:
        self._render = _for_people if console else _for_programs
        self._lines: deque[Line] = deque()
        self._left_out = 0
        self.enabled = enabled

    def note(self, line: Line) -> None:
        """Log a request that has been answered."""
        if len(self._lines) >= _MOST:
            self._left_out += 1
        else:
            self._lines.append(line)

    async def run(self, clock: Clock) -> None:
        """Write, batch by batch, until cancelled; `flush` afterwards."""
        while True:
            await clock.sleep(_EVERY)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits."""
        if not self._lines and not self._left_out:
            return
        lines, self._lines = self._lines, deque()
        left_out, self._left_out = self._left_out, 0
        await asyncio.to_thread(self._out, lines, left_out)

    def _out(self, lines: deque[Line], left_out: int) -> None:
        text = "".join(self._render(line) for line in lines)
        if left_out:
            text += self._render(Line(lines[-1].timestamp, "", "", 0, left_out, 0, "", "", event="requests_not_logged"))
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            sys.stderr.write(text)
            sys.stderr.flush()


def shown(path: str) -> str:
    """A path as it may be logged: without the tokens that some hold."""
    for prefix in _SECRET_PATHS:
        if path.startswith(prefix):
            return f"{prefix}***"
    return path[:_LONGEST]


_encode = msgspec.json.Encoder().encode


def _for_programs(line: Line) -> str:
    return _encode(line).decode() + "\n"


def _for_people(line: Line) -> str:
    who = f" key={line.key}" if line.key else ""
    path = harmless(line.path, _LONGEST)
    return (
        f"{line.timestamp} [info     ] {line.method} {path} {line.status} {line.bytes} B {line.ms:g} ms "
        f"{line.client}{who} {line.request_id}\n"
    )
