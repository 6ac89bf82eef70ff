"""A circuit breaker: while Flexport keeps failing it is left alone, then tried by one request at a time."""

import random
from typing import Any, Literal

from flexportd.clock import stamp
from flexportd.escape import escape_control
from flexportd.flexport.monotonic import MonotonicClock

_MAX_FAILURES = 5
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 120.0  # seconds
_EPSILON = 0.001  # more than exact: who wakes up must find it over
_PROBE_POLL = 1.0  # seconds until one may ask again whether the probe came through

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Counts failures in a row. Only transport errors, 5xx and malformed answers are failures; a 404 is an answer.

    It opens when more than one resource fails: one list that Flexport cannot give must not stand in the way of others.
    """

    def __init__(self, steady: MonotonicClock) -> None:
        self._monotonic = steady
        self._failures = 0
        self._failing: set[str] = set()  # the resources of these failures; path templates, so few
        self._pauses = 0  # in a row, each twice as long
        self._until: float | None = None  # None: closed
        self._since = steady.wall_time(steady.seconds())
        self._reason: str | None = None
        self._detail: str | None = None
        self._probing = False

    @property
    def state(self) -> State:
        """What it is now."""
        if self._until is None:
            return "closed"
        return "open" if self._monotonic.seconds() < self._until else "half_open"

    @property
    def reason(self) -> str | None:
        """The failure that opened it; None while closed."""
        return self._reason

    def wait(self) -> float:
        """Seconds until a request may be tried; 0 when it may now."""
        if self._until is None:
            return 0.0
        left = self._until - self._monotonic.seconds()
        if left > 0:
            return left + _EPSILON
        return _PROBE_POLL if self._probing else 0.0

    def enter(self) -> bool:
        """Take the right to send one request: call when `wait` was 0, and `leave` afterwards.

        Returns whether it is the probe.
        """
        self._probing = self._until is not None
        return self._probing

    def leave(self, resource: str, *, probe: bool, failure: str | None, answered: bool, detail: str = "") -> None:
        """Tell how the request of a resource went: with a failure, with an answer, or neither (it was cancelled).

        `failure` is a sentence for people, `detail` what stands behind it.
        """
        if probe:
            self._probing = False
        if failure is not None:
            self._failing.add(resource)
            self._failed(failure, detail, probe=probe)
        elif answered and (probe or self._until is None):
            if self._until is not None:
                self._since = self._monotonic.wall_time(self._monotonic.seconds())
            self._failures, self._pauses, self._until, self._reason, self._detail = 0, 0, None, None, None
            self._failing.clear()

    def _failed(self, reason: str, detail: str, *, probe: bool) -> None:
        self._failures += 1
        # A request that began before it opened says nothing new.
        enough = self._failures >= _MAX_FAILURES and len(self._failing) > 1
        if (self._until is None and enough) or probe:
            if self._until is None:
                self._since = self._monotonic.wall_time(self._monotonic.seconds())
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._pauses, 10))
            pause = min(_LONGEST_PAUSE, pause * (1 + random.random() / 4))  # noqa: S311 (jitter is no secret)
            self._pauses += 1
            self._until = self._monotonic.seconds() + pause
            self._reason, self._detail = escape_control(reason), escape_control(detail) or None

    def view(self) -> dict[str, Any]:
        """For the status page: `retry_at` is None while closed."""
        return {
            "state": self.state,
            "since": stamp(self._since),
            "reason": self._reason,
            "detail": self._detail,
            "retry_at": None if self._until is None else stamp(self._monotonic.wall_time(self._until)),
            "failures": self._failures,
        }
