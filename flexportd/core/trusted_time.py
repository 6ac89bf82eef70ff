"""The time by which things are deleted: this machine's clock, unless it cannot be right.

A clock that jumped ahead makes everything look old. So the newest time at which the clock was plausible is remembered,
also across restarts. A clock that is far ahead of that is not used to delete anything before Flexport confirms it: by
the Date of its answers, or by events that it has recorded lately.
"""

import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from flexportd.clock import Clock, parse, stamp
from flexportd.core.labels import minute
from flexportd.errors import UnavailableError
from flexportd.storage.database import Database
from flexportd.storage.transaction import Session

log = structlog.get_logger(__name__)

EARLIEST = "2013-01-01T00:00:00.000Z"
"""No time that a clock or an event bears is believed to be before this: Flexport was founded in 2013."""

LOOK = 15.0  # seconds between looks at the clock

_NAME = "plausible_time"
_AHEAD = timedelta(days=45)  # that nobody may have looked at the clock, or heard from Flexport, without suspicion
_BEHIND = timedelta(hours=1)  # that a clock may be set back without a word
_STEP = timedelta(seconds=5)  # back, which is more than a clock that is kept right ever makes
_NOTED = timedelta(minutes=1)  # between notes on disk
_OFF = timedelta(days=1)  # between this machine's clock and Flexport's
_EVENTS = 20  # the newest, which may confirm a time


class TrustedTime:
    """Watches the clock of one daemon. `flexport` gives the present by Flexport's last answer, None before any."""

    def __init__(self, db: Database, clock: Clock, flexport: Callable[[], datetime | None] = lambda: None) -> None:
        self._db = db
        self._clock = clock
        self._flexport = flexport
        self._plausible: datetime | None = None  # the newest time at which the clock was
        self._noted: datetime | None = None  # the one on disk
        self._problem: str | None = None  # as it was logged
        self._seen: tuple[datetime, float] | None = None  # the clock when it was last looked at, and monotonic seconds
        self._was_set_back = False

    async def run(self, set_back: Callable[[], Awaitable[None]]) -> None:
        """Look at the clock again and again; `set_back` is called when it was set back."""
        while True:
            with contextlib.suppress(UnavailableError):  # the writer says so itself, and the next look does it
                await self.look()
                if self._was_set_back:
                    await set_back()
                    self._was_set_back = False
            await self._clock.sleep(LOOK)

    async def look(self) -> None:
        """Note the present if it is plausible. Raises UnavailableError when the disk refuses."""
        now = self._clock.now()
        if self._plausible is None:
            kept = await self._db.read(_newest)
            self._plausible = now if kept is None else parse(kept)
            self._was_set_back = now < self._plausible - _STEP
        self._compare(now)
        if self._is_right(now, self._plausible) or await self._db.read(lambda tx: _confirms(tx, now)):
            self._plausible = now
        self._tell(now)
        if self._noted is None or self._plausible - self._noted >= _NOTED or self._plausible < self._noted:
            noted = self._plausible
            await self._db.write(lambda tx: tx.meta.put(_NAME, stamp(noted)))
            self._noted = noted

    def _compare(self, now: datetime) -> None:
        """Whether the clock has been set back since the last look."""
        seconds = time.monotonic()
        if self._seen is not None:
            before, then = self._seen
            if now < before + timedelta(seconds=seconds - then) - _STEP:
                self._was_set_back = True
                log.warning("clock_moved_back", before=stamp(before), now=stamp(now))
        self._seen = now, seconds

    def _tell(self, now: datetime) -> None:
        problem = self.problem
        if problem != self._problem and (problem is None or self._problem is None):
            if problem is None:
                log.info("clock_accepted", now=stamp(now))
            else:
                log.warning("clock_rejected", reason=problem)
        self._problem = problem

    def now(self) -> datetime:
        """The present, or a time before it where the clock cannot be right."""
        now, there = self._clock.now(), self._flexport()
        if there is not None and abs(now - there) > _OFF:
            return min(now, there)
        known = self._plausible
        return now if known is None or there is not None or now <= known + _AHEAD else known

    @property
    def problem(self) -> str | None:
        """Why the clock of this machine cannot be right, as a sentence; None while it may be."""
        now, there, known = self._clock.now(), self._flexport(), self._plausible
        if there is not None:
            if abs(now - there) <= _OFF:
                return None
            return f"{_SAYS.format(minute(stamp(now)))}, but Flexport says {minute(stamp(there))}. {_NOTHING}"
        if known is not None and now > known + _AHEAD:
            return (
                f"{_SAYS.format(minute(stamp(now)))}, {(now - known).days} days after it was last plausible. {_NOTHING}"
            )
        if known is not None and now < known - _BEHIND:
            return f"{_SAYS.format(minute(stamp(now)))}, but said {minute(stamp(known))} before"
        return None

    def _is_right(self, now: datetime, known: datetime) -> bool:
        there = self._flexport()
        if there is not None:
            return abs(now - there) <= _OFF
        return known <= now <= known + _AHEAD


_SAYS = "This machine's clock is wrong. It says {}"
_NOTHING = "Nothing is deleted until it is right"


def _newest(tx: Session) -> str | None:
    """When the clock was last plausible; before that was noted, when the last event came."""
    return tx.meta.get(_NAME) or tx.events.newest()[0]


def _confirms(tx: Session, now: datetime) -> bool:
    """Whether the events that came last were recorded lately; one with a time to come says nothing."""
    since, until = stamp(now - _AHEAD), stamp(now + _OFF)
    return any(since <= at <= until for at in tx.gaps.moments(_EVENTS))
