"""Whose turn it is: a rate, a limit on requests under way, and shares that starve nobody.

Precedence is interactive, write, refresh, events, sync, details. Whoever waits longest behind others gets a turn all
the same: lists every fifth at the latest, the others every tenth. With more than one place, one is always kept free of
lists and details, so that a person's refresh finds it. No task runs for this: of those who wait, one keeps the time for
all.
"""

import asyncio
from collections import deque
from datetime import datetime
from typing import Any

from flexportd.clock import Clock
from flexportd.flexport.errors import FlexportUnavailableError
from flexportd.flexport.monotonic import MonotonicClock
from flexportd.flexport.usage import PURPOSES, Purpose

_MAX_SKIPPED: dict[Purpose, int] = {"interactive": 9, "write": 9, "refresh": 9, "events": 9, "sync": 4, "details": 9}
_MAX_WAITING = 2_000
_MIN_RATE = 1 / 32  # of the configured rate
_RECOVERY = 120.0  # seconds from nothing back to the configured rate


class _Waiter:
    __slots__ = ("granted", "purpose", "wake")

    def __init__(self, purpose: Purpose) -> None:
        self.purpose = purpose
        self.granted = False
        self.wake = asyncio.Event()


class RateLimiter:
    """A token bucket and places. `acquire` before a request, `release` after it, also when it failed."""

    def __init__(self, rate: float, places: int, clock: Clock, steady: MonotonicClock) -> None:
        self._configured = rate
        self._places = places
        self._clock = clock
        self._monotonic = steady
        self._burst = max(1.0, rate / 5)
        self._tokens = self._burst
        self._filled = steady.seconds()
        self._slowed: tuple[float, float] | None = None  # when, and to which rate
        self._slowed_at: datetime | None = None
        self._waiting: dict[Purpose, deque[_Waiter]] = {purpose: deque() for purpose in PURPOSES}
        self._passed_over = dict.fromkeys(PURPOSES, 0)
        self._under_way = dict.fromkeys(PURPOSES, 0)
        self._timekeeper: _Waiter | None = None

    async def acquire(self, purpose: Purpose) -> None:
        """Wait for a turn. Cancelled while waiting, it takes nothing from the others.

        Raises FlexportUnavailableError when too many wait already.
        """
        if sum(map(len, self._waiting.values())) >= _MAX_WAITING:
            raise FlexportUnavailableError(f"{_MAX_WAITING} requests to Flexport wait already", sent=False)
        turn = _Waiter(purpose)
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
        lacking = self._until_token()
        if lacking <= 0:
            self._grant()
        if lacking <= 0 or self._timekeeper is not None:
            await turn.wake.wait()
            turn.wake.clear()
            return
        self._timekeeper = turn
        try:
            await self._clock.sleep(lacking)
        finally:
            self._timekeeper = None
        self._grant()

    def release(self, purpose: Purpose, *, used: bool = True) -> None:
        """Give the place back; with `used` False the token too, because nothing was sent."""
        self._under_way[purpose] -= 1
        if not used:
            self._tokens = min(self._burst, self._tokens + 1)
        self._grant()

    def slow_down(self, started: datetime) -> None:
        """Halve the rate because a request that began at `started` was answered 429; once for all of one burst."""
        if self._slowed_at is not None and started <= self._slowed_at:
            return
        self._refill()
        slowest = self._configured * _MIN_RATE
        self._slowed = self._monotonic.seconds(), max(slowest, self.rate() / 2)
        self._slowed_at = self._clock.now()
        self._tokens = min(self._tokens, 1.0)

    def rate(self) -> float:
        """Requests a second now: the configured ones, or what has been won back since the last 429."""
        if self._slowed is None:
            return self._configured
        at, rate = self._slowed
        return min(self._configured, rate + self._configured * (self._monotonic.seconds() - at) / _RECOVERY)

    def _refill(self) -> None:
        now = self._monotonic.seconds()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self.rate())
        self._filled = now

    def _until_token(self) -> float:
        self._refill()
        # A touch more than exact: rounding must not leave the bucket a hair below one.
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) / self.rate() + 1e-6

    def _grant(self) -> None:
        """Hand out what there is, then see to it that someone keeps the time."""
        self._refill()
        while self._tokens >= 1 and (chosen := self._next()) is not None:
            turn = self._waiting[chosen].popleft()
            self._tokens -= 1
            self._under_way[chosen] += 1
            turn.granted = True
            turn.wake.set()
        if self._timekeeper is None and self._tokens < 1:
            for queue in self._waiting.values():
                if queue:
                    queue[0].wake.set()
                    return

    def _next(self) -> Purpose | None:
        free = self._places - sum(self._under_way.values())
        if free <= 0:
            return None
        able = [purpose for purpose in PURPOSES if self._waiting[purpose]]
        if self._places > 1 and self._under_way["sync"] + self._under_way["details"] >= self._places - 1:
            able = [purpose for purpose in able if purpose not in ("sync", "details")]
        if not able:
            return None
        # From the back: lists are owed the most, and are last in rank.
        due = [name for name in reversed(able) if self._passed_over[name] >= _MAX_SKIPPED[name]]
        chosen = due[0] if due else able[0]
        for purpose in PURPOSES:
            if purpose == chosen or not self._waiting[purpose]:
                self._passed_over[purpose] = 0
            elif purpose in able:
                self._passed_over[purpose] += 1
        return chosen

    def view(self) -> dict[str, Any]:
        """For the status page; rates in requests a second."""
        return {
            "current": round(self.rate(), 3),
            "configured": self._configured,
            "in_flight": sum(self._under_way.values()),
            "waiting": {purpose: len(queue) for purpose, queue in self._waiting.items()},
        }
