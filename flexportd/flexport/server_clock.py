"""Flexport's clock, estimated from the Date of its responses.

A Date is truncated to whole seconds and is written before we receive the response, so (Date - our time of receipt) is
never more than Flexport's clock is ahead of ours. The largest of the recent differences is therefore the best estimate,
and `at` is never later than the true time: data that was read at that time is never newer than its stamp.
"""

import time
from collections import deque
from datetime import datetime, timedelta
from typing import Any

from flexportd.clock import stamp
from flexportd.escape import escape_control
from flexportd.http.retry_after import http_date

_MIN_SAMPLES, _MAX_SAMPLES = 50, 1000  # responses
_SAMPLE_AGE = timedelta(minutes=1)  # older ones count too: fifty in the second half of one second say less
_MAX_OFFSET_CHANGE = timedelta(days=1)
_AGREEING = 3  # unexpected Dates in a row that agree
_OUR_CLOCK_MOVED = timedelta(minutes=2)  # longer than any response takes: our own clock was set


def _seconds() -> float:
    """Seconds of a clock that cannot be set, and that includes the time the machine sleeps, if the system has one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class ServerClock:
    """The offset between Flexport's clock and ours."""

    def __init__(self) -> None:
        self._offsets: deque[tuple[datetime, timedelta]] = deque(maxlen=_MAX_SAMPLES)
        self._best = timedelta()
        self._unexpected: deque[timedelta] = deque(maxlen=_AGREEING)
        self._ignored = 0
        self._note: str | None = None
        self._last: tuple[datetime, float] | None = None  # the last Date, and the monotonic seconds of its receipt

    def observe(self, date: str | None, received: datetime) -> str:
        """Add a response's Date header and our time of its receipt; returns the response's date as a stamp.

        A Date that is missing, unreadable or more than a day from the estimate is ignored and noted, and the estimate
        is used in its place; unless several in a row agree: then Flexport's clock was set.
        """
        moment = http_date(date) if date is not None else None
        if moment is not None:
            self._last = moment, _seconds()
        if moment is None or not self._is_plausible(moment - received):
            self._ignored += 1
            what = "no Date" if date is None else f"Date {escape_control(date, 60)!r}"
            self._note = f"{what} in a response received at {stamp(received)}"
            return self.at(received)
        offset = moment - received
        if self._offsets and offset < self._best - _OUR_CLOCK_MOVED:
            self._offsets.clear()
        self._offsets.append((received, offset))
        while len(self._offsets) > _MIN_SAMPLES and self._offsets[0][0] < received - _SAMPLE_AGE:
            self._offsets.popleft()
        self._best = max(offset for _, offset in self._offsets)
        return stamp(moment)

    def _is_plausible(self, offset: timedelta) -> bool:
        if abs(offset - self.offset()) <= _MAX_OFFSET_CHANGE:
            self._unexpected.clear()
            return True
        self._unexpected.append(offset)
        agree = (
            len(self._unexpected) == _AGREEING and max(self._unexpected) - min(self._unexpected) <= _MAX_OFFSET_CHANGE
        )
        if agree:
            self._offsets.clear()
            self._best = timedelta()
            self._unexpected.clear()
        return agree

    def earliest(self, local: datetime) -> str:
        """The earliest time that Flexport's clock can show, as a stamp, at a time of our clock."""
        return self.at(local if self._offsets else local - _MAX_OFFSET_CHANGE)

    def at(self, local: datetime) -> str:
        """Flexport's time, as a stamp, at a time of our clock; equal to ours before the first response."""
        return stamp(local + self.offset())

    def now(self) -> datetime | None:
        """Flexport's present time, independent of this machine's clock; None before the first response."""
        if self._last is None:
            return None
        moment, received = self._last
        return moment + timedelta(seconds=_seconds() - received)

    def offset(self) -> timedelta:
        """How far at least Flexport's clock is ahead of ours; zero before the first response."""
        return self._best

    def state(self) -> dict[str, Any]:
        """For the status page; the offset in seconds, None before the first response."""
        known = round(self.offset() / timedelta(seconds=1), 3) if self._offsets else None
        return {"offset_seconds": known, "responses": len(self._offsets), "ignored": self._ignored, "note": self._note}
