"""The time used for deletions: this machine's clock, unless it cannot be right.

A clock that jumped ahead makes everything look old. So the newest plausible time is stored, also across restarts. A
clock that is far ahead of it deletes nothing until Flexport confirms the time: by the Date of its responses, or by
events that it recorded recently.
"""

import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from flexportd.clock import Clock, parse, stamp
from flexportd.core.labels import format_minute
from flexportd.errors import UnavailableError
from flexportd.storage.database import Database
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

EARLIEST = "2013-01-01T00:00:00.000Z"
"""No time of a clock or an event is before this: Flexport was founded in 2013."""

CHECK_INTERVAL = 15.0  # seconds between checks

_META_KEY = "plausible_time"
_MAX_JUMP = timedelta(days=45)  # time without a check and without Flexport that is still plausible
_MAX_SET_BACK = timedelta(hours=1)  # set back by less than this is not reported as a problem
_MIN_SET_BACK = timedelta(seconds=5)  # more than a synchronised clock is ever set back
_SAVE_INTERVAL = timedelta(minutes=1)  # between writes to disk
_MAX_SKEW = timedelta(days=1)  # between this machine's clock and Flexport's
_EVENTS = 20  # the newest ones that may confirm a time


class TrustedTime:
    """Watches the clock of one daemon. `flexport` returns the time by Flexport's last response, None before any."""

    def __init__(self, db: Database, clock: Clock, flexport: Callable[[], datetime | None] = lambda: None) -> None:
        self._db = db
        self._clock = clock
        self._flexport = flexport
        self._plausible: datetime | None = None  # the newest plausible time
        self._saved: datetime | None = None  # the one on disk
        self._problem: str | None = None  # as it was logged
        self._last_check: tuple[datetime, float] | None = None  # the clock, and monotonic seconds
        self._was_set_back = False

    async def run(self, set_back: Callable[[], Awaitable[None]]) -> None:
        """Check the clock periodically; `set_back` is called when it was set back."""
        while True:
            with contextlib.suppress(UnavailableError):  # the writer reports it, and the next check retries
                await self.check()
                if self._was_set_back:
                    await set_back()
                    self._was_set_back = False
            await self._clock.sleep(CHECK_INTERVAL)

    async def check(self) -> None:
        """Store the present time if it is plausible. Raises UnavailableError if the database is unavailable."""
        now = self._clock.now()
        if self._plausible is None:
            # Before the first one is stored: when the last event was received.
            kept = await self._db.read(lambda tx: tx.meta.get(_META_KEY) or tx.events.newest()[0])
            self._plausible = now if kept is None else parse(kept)
            self._was_set_back = now < self._plausible - _MIN_SET_BACK
        self._detect_set_back(now)
        if self._is_plausible(now, self._plausible) or await self._db.read(lambda tx: _confirms(tx, now)):
            self._plausible = now
        self._log_problem(now)
        if self._saved is None or self._plausible - self._saved >= _SAVE_INTERVAL or self._plausible < self._saved:
            noted = self._plausible
            await self._db.write(lambda tx: tx.meta.put(_META_KEY, stamp(noted)))
            self._saved = noted

    def _detect_set_back(self, now: datetime) -> None:
        seconds = time.monotonic()
        if self._last_check is not None:
            before, then = self._last_check
            if now < before + timedelta(seconds=seconds - then) - _MIN_SET_BACK:
                self._was_set_back = True
                log.warning("clock_moved_back", before=stamp(before), now=stamp(now))
        self._last_check = now, seconds

    def _log_problem(self, now: datetime) -> None:
        problem = self.problem
        if problem != self._problem and (problem is None or self._problem is None):
            if problem is None:
                log.info("clock_accepted", now=stamp(now))
            else:
                log.warning("clock_rejected", reason=problem)
        self._problem = problem

    def now(self) -> datetime:
        """The present, or an earlier time if the clock cannot be right."""
        now, there = self._clock.now(), self._flexport()
        if there is not None and abs(now - there) > _MAX_SKEW:
            return min(now, there)
        known = self._plausible
        return now if known is None or there is not None or now <= known + _MAX_JUMP else known

    @property
    def problem(self) -> str | None:
        """Why the clock of this machine cannot be right, as a sentence; None if it may be."""
        now, there, known = self._clock.now(), self._flexport(), self._plausible
        here = _WRONG_CLOCK.format(format_minute(stamp(now)))
        if there is not None:
            if abs(now - there) <= _MAX_SKEW:
                return None
            return f"{here}, but Flexport says {format_minute(stamp(there))}. {_DELETION_PAUSED}"
        if known is not None and now > known + _MAX_JUMP:
            return f"{here}, {(now - known).days} days after it was last plausible. {_DELETION_PAUSED}"
        if known is not None and now < known - _MAX_SET_BACK:
            return f"{here}, but said {format_minute(stamp(known))} before"
        return None

    def _is_plausible(self, now: datetime, known: datetime) -> bool:
        there = self._flexport()
        if there is not None:
            return abs(now - there) <= _MAX_SKEW
        return known <= now <= known + _MAX_JUMP


_WRONG_CLOCK = "This machine's clock is wrong. It says {}"
_DELETION_PAUSED = "Nothing is deleted until it is right"


def _confirms(tx: Transaction, now: datetime) -> bool:
    """Whether Flexport recorded the latest events recently; events with a time in the future do not count."""
    since, until = stamp(now - _MAX_JUMP), stamp(now + _MAX_SKEW)
    return any(since <= at <= until for at in tx.gaps.recent_times(_EVENTS))
