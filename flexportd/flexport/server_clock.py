"""Flexport's clock as seen from here, from the Date of its answers.

A Date is cut to whole seconds and is written before the answer reaches us, so (Date - our time of receipt) is never
more than Flexport's clock is ahead of ours. The largest of the last such differences is therefore the best one, and
what `at` gives is never later than the truth: nothing read at that time can be newer than it claims.
"""

import time
from collections import deque
from datetime import datetime, timedelta
from typing import Any

from flexportd.clock import stamp
from flexportd.escape import escape_control
from flexportd.flexport.deadline import http_date

_MIN_SAMPLES, _MAX_SAMPLES = 50, 1000  # answers: so many at least, and those of a while
_SAMPLE_AGE = timedelta(minutes=1)  # fifty answers in the second half of one second know less than those before them
_MAX_OFFSET_CHANGE = timedelta(days=1)
_AGREEING = 3  # unexpected Dates in a row that agree
_OUR_CLOCK_MOVED = timedelta(minutes=2)  # more than any answer is under way: then it is our clock that jumped


def _seconds() -> float:
    """Seconds that no setting of the clock moves, and that go on while the machine sleeps where that can be had."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class ServerClock:
    """The offset between Flexport's clock and ours, learnt from answers."""

    def __init__(self) -> None:
        self._offsets: deque[tuple[datetime, timedelta]] = deque(maxlen=_MAX_SAMPLES)
        self._best = timedelta()
        self._strays: deque[timedelta] = deque(maxlen=_AGREEING)
        self._ignored = 0
        self._note: str | None = None
        self._last: tuple[datetime, float] | None = None  # the last Date, and our monotonic seconds when it came

    def observe(self, date: str | None, received: datetime) -> str:
        """Learn from an answer's Date header and our time of its receipt; returns the answer's date as a stamp.

        A Date that is missing, unreadable or more than a day from what is expected is ignored and noted, and the
        estimate stands in for it; unless several in a row agree: then that is what Flexport's clock shows.
        """
        moment = http_date(date) if date is not None else None
        if moment is not None:
            self._last = moment, _seconds()
        if moment is None or not self._is_believable(moment - received):
            self._ignored += 1
            found = "no Date" if date is None else f"Date {escape_control(date, 60)!r}"
            self._note = f"{found} in an answer received at {stamp(received)}"
            return self.at(received)
        offset = moment - received
        if self._offsets and offset < self._best - _OUR_CLOCK_MOVED:
            self._offsets.clear()
        self._offsets.append((received, offset))
        while len(self._offsets) > _MIN_SAMPLES and self._offsets[0][0] < received - _SAMPLE_AGE:
            self._offsets.popleft()
        self._best = max(offset for _, offset in self._offsets)
        return stamp(moment)

    def _is_believable(self, offset: timedelta) -> bool:
        if abs(offset - self.offset()) <= _MAX_OFFSET_CHANGE:
            self._strays.clear()
            return True
        self._strays.append(offset)
        agree = len(self._strays) == _AGREEING and max(self._strays) - min(self._strays) <= _MAX_OFFSET_CHANGE
        if agree:
            self._offsets.clear()
            self._best = timedelta()
            self._strays.clear()
        return agree

    def at(self, local: datetime) -> str:
        """Flexport's time, as a stamp, at a moment of ours; ours where nothing is known."""
        return stamp(local + self.offset())

    def now(self) -> datetime | None:
        """Flexport's present by the last Date, whatever this machine's clock says; None before the first answer."""
        if self._last is None:
            return None
        moment, came = self._last
        return moment + timedelta(seconds=_seconds() - came)

    def offset(self) -> timedelta:
        """How far Flexport's clock is ahead of ours at least; zero where nothing is known."""
        return self._best

    def state(self) -> dict[str, Any]:
        """For the status page; the offset in seconds, None before the first answer."""
        known = round(self.offset() / timedelta(seconds=1), 3) if self._offsets else None
        return {"offset_seconds": known, "responses": len(self._offsets), "ignored": self._ignored, "note": self._note}
