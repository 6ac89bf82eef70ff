"""A circuit breaker: while Flexport keeps failing, requests pause; then one at a time probes whether it works."""

import random
from typing import Any, Literal

from flexportd.clock import MonotonicClock, stamp
from flexportd.escape import escape_control

_MAX_FAILURES = 5
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 120.0  # seconds
_EPSILON = 0.001  # more than exact: the pause must be over when a sleeper wakes up
_PROBE_POLL = 1.0  # seconds between checks whether the probe succeeded

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Counts failures in a row: transport errors, 5xx and malformed responses; a 404 is a valid response.

    It opens only if more than one resource fails: one broken list must not block the others.
    """

    def __init__(self, monotonic: MonotonicClock) -> None:
        self._monotonic = monotonic
        self._failures = 0
        self._failing: set[str] = set()  # the resources of these failures; path templates, so few
        self._pauses = 0  # in a row, each twice as long
        self._until: float | None = None  # None: closed
        self._since = monotonic.wall_time(monotonic.seconds())
        self.reason: str | None = None  # the failure that opened the circuit; None while closed
        self._detail: str | None = None
        self._probing = False

    @property
    def state(self) -> State:
        if self._until is None:
            return "closed"
        return "open" if self._monotonic.seconds() < self._until else "half_open"

    def wait(self) -> float:
        """Seconds until a request may be sent; 0 if it may now."""
        if self._until is None:
            return 0.0
        left = self._until - self._monotonic.seconds()
        if left > 0:
            return left + _EPSILON
        return _PROBE_POLL if self._probing else 0.0

    def enter(self) -> bool:
        """Begin one request: call when `wait` is 0, and `leave` afterwards. Returns whether it is the probe."""
        self._probing = self._until is not None
        return self._probing

    def leave(self, resource: str, *, probe: bool, failure: str | None, answered: bool, detail: str = "") -> None:
        """End the request of a resource: with a failure, a response, or neither (it was cancelled).

        `failure` is a sentence for people, `detail` its technical reason.
        """
        if probe:
            self._probing = False
        is_closed = self._until is None
        if failure is not None:
            self._failing.add(resource)
            self._failures += 1
            # While open, only the probe's failure is news: other requests began before.
            if probe or (is_closed and self._failures >= _MAX_FAILURES and len(self._failing) > 1):
                pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._pauses, 10))
                pause = min(_LONGEST_PAUSE, pause * (1 + random.random() / 4))  # noqa: S311 (jitter is no secret)
                self._pauses += 1
                self._until = self._monotonic.seconds() + pause
                self.reason, self._detail = escape_control(failure), escape_control(detail) or None
        elif answered and (probe or is_closed):
            self._failures, self._pauses, self._until, self.reason, self._detail = 0, 0, None, None, None
            self._failing.clear()
        if is_closed != (self._until is None):
            self._since = self._monotonic.wall_time(self._monotonic.seconds())

    def view(self) -> dict[str, Any]:
        """For the status page: `retry_at` is None while closed."""
        return {
            "state": self.state,
            "since": stamp(self._since),
            "reason": self.reason,
            "detail": self._detail,
            "retry_at": None if self._until is None else stamp(self._monotonic.wall_time(self._until)),
            "failures": self._failures,
        }
