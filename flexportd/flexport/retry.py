"""One request to Flexport with all that belongs to it: turn, bearer, retries, bookkeeping."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import structlog

from flexportd.clock import Clock
from flexportd.flexport.circuit_breaker import Breaker
from flexportd.flexport.deadline import INTERACTIVE_TIMEOUT, Deadline
from flexportd.flexport.errors import (
    CircuitOpenError,
    ErrorDetails,
    FlexportError,
    FlexportUnavailableError,
    MalformedResponseError,
    NotFoundAtFlexportError,
    RateLimitedError,
    UnauthorisedError,
    UnknownOutcomeError,
)
from flexportd.flexport.monotonic import MonotonicClock
from flexportd.flexport.oauth.auth import Auth
from flexportd.flexport.rate_limiter import RateLimiter
from flexportd.flexport.usage import Call, Purpose, UsageRecorder

T = TypeVar("T")

log = structlog.get_logger(__name__)

_MAX_SAME = 3  # tries that bring the same malformed answer again: it does not get better
_FAIL_FAST: frozenset[Purpose] = frozenset({"interactive", "write"})  # told at once that the breaker is open


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """What is wanted: `name` for messages, `resource` a path template; `write`: may have an effect, so is sent once."""

    name: str
    resource: str
    purpose: Purpose
    write: bool = False


@dataclass(slots=True)
class AttemptStats:
    """What one attempt comes to, filled in by who makes it. `final`: its failure may not be followed by another try."""

    started: datetime
    status: int = 0
    bytes: int = 0
    final: bool = False


@dataclass(frozen=True, slots=True)
class RateControl:
    """What every request passes: the breaker, then the pace; `patience` in seconds."""

    monotonic: MonotonicClock
    breaker: Breaker
    limiter: RateLimiter
    timeout: float


@dataclass(slots=True)
class _Attempts:
    """How far one order has come: `before` is the last failure that was followed by another try.

    `same` counts the tries since a malformed answer first came that brought it again byte by byte.
    """

    request: OutgoingRequest
    deadline: Deadline
    tries: int = 0
    bearer: str = ""
    renewed: bool = False
    same: int = 0
    before: FlexportError | None = None


class RetryingSender:
    """Makes attempts, in turn, until one succeeds or patience ends."""

    def __init__(self, auth: Auth, clock: Clock, book: UsageRecorder, way: RateControl) -> None:
        self._auth = auth
        self._clock = clock
        self._usage = book
        self._control = way

    async def send(self, order: OutgoingRequest, attempt: Callable[[str, AttemptStats], Awaitable[T]]) -> T:
        """The result of `attempt(bearer, tally)`, which sends one request and raises a FlexportError when it fails."""
        longest = (
            min(INTERACTIVE_TIMEOUT, self._control.timeout) if order.purpose == "interactive" else self._control.timeout
        )
        effort = _Attempts(order, Deadline(self._control.monotonic, longest))
        while True:
            effort.tries += 1
            tally = AttemptStats(self._clock.now())
            effort.bearer = ""
            try:
                effort.bearer = await self._auth.bearer()
                probe = await self._acquire(order, effort.deadline)
                result = await self._run_attempt(effort, attempt(effort.bearer, tally), tally, probe=probe)
            except FlexportError as error:
                try:
                    delay = await self._delay_before_retry(effort, error, tally)
                except FlexportError as final:
                    _log_failure(effort, final)
                    raise
                await self._clock.sleep(delay)
            else:
                self._auth.report_result(order.resource, None)
                return result

    async def _delay_before_retry(self, effort: _Attempts, error: FlexportError, tally: AttemptStats) -> float:
        """Seconds to wait for another try; raises what is to be told when there is none."""
        order = effort.request
        if isinstance(error, CircuitOpenError):
            # What opened it here says more than that it is open.
            raise effort.before or error from error
        if isinstance(error, UnauthorisedError) and effort.bearer:
            if not effort.renewed and await self._auth.renew_rejected(effort.bearer, order.resource):
                effort.renewed = True
                return 0.0
            self._auth.report_result(order.resource, str(error), renewed=effort.renewed)
            raise error
        if not isinstance(error, RateLimitedError | FlexportUnavailableError | MalformedResponseError):
            if effort.bearer:
                self._auth.report_result(order.resource, None)
            raise error
        if order.write and effort.bearer and error.sent and not isinstance(error, RateLimitedError):
            message = f"It was sent, and whether it took effect is not known. {error}"
            raise UnknownOutcomeError(message, error.response_details, detail=error.detail or order.name) from error
        if isinstance(error, MalformedResponseError):
            effort.same = effort.same + 1 if error.repeats(effort.before) else 0
            if effort.same == _MAX_SAME:
                raise error
        delay = effort.deadline.delay(effort.tries, error, random.random())  # noqa: S311 (jitter is no secret)
        if delay is None or error.permanent or tally.final:
            raise error
        effort.before = error
        return delay

    async def _acquire(self, order: OutgoingRequest, patience: Deadline) -> bool:
        """Wait until the breaker and the pace let one request through; returns whether it is the breaker's probe."""
        breaker, pace = self._control.breaker, self._control.limiter
        while True:
            wait = breaker.wait()
            if wait > 0:
                if order.purpose in _FAIL_FAST or wait > patience.left():
                    message = f"Flexport is not asked for now, because it failed too often in a row. {breaker.reason}"
                    raise CircuitOpenError(message, ErrorDetails(retry_after=wait), sent=False, detail=order.name)
                await self._clock.sleep(wait)
                continue
            try:
                async with asyncio.timeout(max(1.0, patience.left())):
                    await pace.acquire(order.purpose)
            except TimeoutError:
                raise FlexportUnavailableError(
                    "Too many requests to Flexport are waiting; this one was not sent in time",
                    sent=False,
                    detail=order.name,
                ) from None
            if breaker.wait() > 0:
                pace.release(order.purpose, used=False)
                continue
            return breaker.enter()

    async def _run_attempt(self, effort: _Attempts, attempt: Awaitable[T], tally: AttemptStats, *, probe: bool) -> T:
        order, retried = effort.request, effort.tries > 1
        begun = self._control.monotonic.seconds()
        tally.started = self._clock.now()
        slug: str | None = "broken-off"
        failure: str | None = None
        detail = ""
        answered = False
        try:
            result = await attempt
            slug, answered = None, True
        except FlexportError as error:
            slug = error.slug
            if isinstance(error, RateLimitedError):
                self._control.limiter.slow_down(tally.started)
            if isinstance(error, FlexportUnavailableError | MalformedResponseError) and not error.permanent:
                failure, detail = str(error), error.detail
            answered = failure is None
            raise
        else:
            return result
        finally:
            self._control.limiter.release(order.purpose)
            self._control.breaker.leave(order.resource, probe=probe, failure=failure, answered=answered, detail=detail)
            seconds = self._control.monotonic.seconds() - begun
            self._usage.add(Call(order.purpose, order.resource, tally.status, seconds, tally.bytes, retried, slug))


def _log_failure(effort: _Attempts, error: FlexportError) -> None:
    """Log why a request is given up. What is an answer, or was not even sent, is told by whoever asked."""
    told = log.debug if isinstance(error, CircuitOpenError | NotFoundAtFlexportError) else log.info
    told(
        "flexport_request_failed",
        request=effort.request.name,
        reason=str(error),
        detail=error.detail,
        status=error.status,
        attempts=effort.tries,
    )
