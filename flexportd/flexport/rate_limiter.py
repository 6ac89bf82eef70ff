"""A rate limiter with a limit on concurrent requests, priorities, and no starvation.

The priority is interactive, write, refresh, events, sync, details. A purpose that waits behind others still gets its
turn: sync after at most four skips, the others after nine. With more than one place, one is kept free of sync and
details, so that a person's refresh finds it. No task runs for this: one of the waiting requests sleeps for all.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flexportd.clock import Clock, MonotonicClock
from flexportd.flexport.errors import FlexportUnavailableError
from flexportd.flexport.usage import PURPOSES, Purpose

_MAX_SKIPPED: dict[Purpose, int] = {"interactive": 9, "write": 9, "refresh": 9, "events": 9, "sync": 4, "details": 9}
_MAX_WAITING = 2_000
_MIN_RATE = 1 / 32  # of the configured rate
_RECOVERY = 120.0  # seconds from zero back to the configured rate


@dataclass(slots=True, eq=False)
class _Waiter:
    granted: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class RateLimiter:
    """A token bucket and a number of places. Call `acquire` before each request and `release` after it."""

    def __init__(self, rate: float, places: int, clock: Clock, monotonic: MonotonicClock) -> None:
        self._configured = rate
        self._places = places
        self._clock = clock
        self._monotonic = monotonic
        self._burst = max(1.0, rate / 5)
        self._tokens = self._burst
        self._filled = monotonic.seconds()
        self._slowed: tuple[float, float] | None = None  # when (monotonic), and to which rate
        self._slowed_at: datetime | None = None
        self._waiting: dict[Purpose, deque[_Waiter]] = {purpose: deque() for purpose in PURPOSES}
        self._skipped = dict.fromkeys(PURPOSES, 0)
        self._in_flight = dict.fromkeys(PURPOSES, 0)
        self._sleeper: _Waiter | None = None

    async def acquire(self, purpose: Purpose) -> None:
        """Wait for a turn. Raises FlexportUnavailableError if too many requests wait already."""
        if sum(map(len, self._waiting.values())) >= _MAX_WAITING:
            raise FlexportUnavailableError(f"{_MAX_WAITING} requests to Flexport wait already", sent=False)
        turn = _Waiter()
        self._waiting[purpose].append(turn)
        self._grant()
        try:
            while not turn.granted:
                await self._wait_for_refill(turn)
        except BaseException:
            if turn.granted:
                self.release(purpose, used=False)
            else:
                self._waiting[purpose].remove(turn)
                self._grant()
            raise

    async def _wait_for_refill(self, turn: _Waiter) -> None:
        self._refill()
        # Slightly more than exact: rounding must not leave the bucket just below one.
        seconds = 0.0 if self._tokens >= 1 else (1 - self._tokens) / self.rate() + 1e-6
        if seconds <= 0:
            self._grant()
        if seconds <= 0 or self._sleeper is not None:
            await turn.wake.wait()
            turn.wake.clear()
            return
        self._sleeper = turn
        try:
            await self._clock.sleep(seconds)
        finally:
            self._sleeper = None
        self._grant()

    def release(self, purpose: Purpose, *, used: bool = True) -> None:
        """Return the place; if nothing was sent (`used` False), the token too."""
        self._in_flight[purpose] -= 1
        if not used:
            self._tokens = min(self._burst, self._tokens + 1)
        self._grant()

    def slow_down(self, started: datetime) -> None:
        """Halve the rate because a request that began at `started` was answered 429; once per burst."""
        if self._slowed_at is not None and started <= self._slowed_at:
            return
        self._refill()
        self._slowed = self._monotonic.seconds(), max(self._configured * _MIN_RATE, self.rate() / 2)
        self._slowed_at = self._clock.now()
        self._tokens = min(self._tokens, 1.0)

    def rate(self) -> float:
        """The present rate in requests per second: the configured one, or less after a 429."""
        if self._slowed is None:
            return self._configured
        at, rate = self._slowed
        return min(self._configured, rate + self._configured * (self._monotonic.seconds() - at) / _RECOVERY)

    def _refill(self) -> None:
        now = self._monotonic.seconds()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self.rate())
        self._filled = now

    def _grant(self) -> None:
        """Grant the available tokens, then make sure that a waiting request sleeps until the next one."""
        self._refill()
        while self._tokens >= 1 and (purpose := self._next()) is not None:
            turn = self._waiting[purpose].popleft()
            self._tokens -= 1
            self._in_flight[purpose] += 1
            turn.granted = True
            turn.wake.set()
        if self._sleeper is None and self._tokens < 1:
            first = next((queue[0] for queue in self._waiting.values() if queue), None)
            if first is not None:
                first.wake.set()

    def _next(self) -> Purpose | None:
        if sum(self._in_flight.values()) >= self._places:
            return None
        eligible = [purpose for purpose in PURPOSES if self._waiting[purpose]]
        if self._places > 1 and self._in_flight["sync"] + self._in_flight["details"] >= self._places - 1:
            eligible = [purpose for purpose in eligible if purpose not in ("sync", "details")]
        if not eligible:
            return None
        # From the end: the lowest priorities have waited the most.
        due = [name for name in reversed(eligible) if self._skipped[name] >= _MAX_SKIPPED[name]]
        chosen = due[0] if due else eligible[0]
        for purpose in PURPOSES:
            if purpose == chosen or not self._waiting[purpose]:
                self._skipped[purpose] = 0
            elif purpose in eligible:
                self._skipped[purpose] += 1
        return chosen

    def view(self) -> dict[str, Any]:
        """For the status page; rates in requests per second."""
        return {
            "current": round(self.rate(), 3),
            "configured": self._configured,
            "in_flight": sum(self._in_flight.values()),
            "waiting": {purpose: len(queue) for purpose, queue in self._waiting.items()},
        }
