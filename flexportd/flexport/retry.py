"""One request to Flexport with its retries: rate limit, circuit breaker, bearer, backoff, accounting."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog

from flexportd.clock import Clock, MonotonicClock
from flexportd.flexport import errors
from flexportd.flexport.circuit_breaker import Breaker
from flexportd.flexport.oauth.auth import Auth
from flexportd.flexport.rate_limiter import RateLimiter
from flexportd.flexport.usage import Call, Purpose, UsageRecorder

T = TypeVar("T")

log = structlog.get_logger(__name__)

_INTERACTIVE_TIMEOUT = 10.0  # seconds: a person is waiting
_MIN_BACKOFF, _MAX_BACKOFF = 0.5, 20.0  # seconds
_DEFAULT_RATE_LIMIT_WAIT = 30.0  # seconds after a 429 without Retry-After
_MAX_SAME = 3  # attempts that receive the same malformed response again: it does not get better
_FAIL_FAST: frozenset[Purpose] = frozenset({"interactive", "write"})  # these do not wait for the circuit breaker


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """A request: `name` for messages, `resource` a path template; a `write` may have an effect, so it is sent once."""

    name: str
    resource: str
    purpose: Purpose
    write: bool = False


@dataclass(slots=True)
class AttemptStats:
    """The result of one attempt, filled in by its sender. `final`: a failure of it must not be retried."""

    bytes: int = 0
    final: bool = False


@dataclass(slots=True)
class _Attempts:
    """The attempts of one request so far: `before` is the last failure that was retried.

    `same` counts the attempts that received the same malformed response as the one before.
    """

    request: OutgoingRequest
    deadline: "Deadline"
    tries: int = 0
    bearer: str = ""
    renewed: bool = False
    same: int = 0
    before: errors.FlexportError | None = None


def backoff(attempt: int, jitter: float) -> float:
    """Seconds to wait after attempt number `attempt` (from 1): full jitter below a doubling limit.

    `jitter` is in [0, 1).
    """
    return jitter * min(_MAX_BACKOFF, _MIN_BACKOFF * 2.0 ** min(attempt - 1, 16))


class Deadline:
    """The time that one request may take with all its retries."""

    def __init__(self, monotonic: MonotonicClock, seconds: float) -> None:
        self._monotonic = monotonic
        self._total = seconds
        self._end = monotonic.seconds() + seconds

    def left(self) -> float:
        """Seconds until the deadline; never below zero."""
        return max(0.0, self._end - self._monotonic.seconds())

    def delay(self, attempt: int, error: errors.FlexportError, jitter: float) -> float | None:
        """Seconds to wait after this error, or None if the deadline is earlier."""
        retry_after = error.response.retry_after
        if retry_after is None and isinstance(error, errors.RateLimitedError):
            retry_after = min(_DEFAULT_RATE_LIMIT_WAIT, self._total / 2) * (1 + jitter / 5)
        wait = max(retry_after or 0.0, backoff(attempt, jitter))
        return wait if wait <= self.left() and self._total > 0 else None


class RetryingSender:
    """Sends requests: each waits for the circuit breaker and the rate limiter, until one attempt succeeds.

    `rate` is in requests per second, `timeout` in seconds for a request with all its retries.
    """

    def __init__(
        self, auth: Auth, clock: Clock, usage: UsageRecorder, *, rate: float, concurrency: int, timeout: float
    ) -> None:
        self._auth = auth
        self._clock = clock
        self._usage = usage
        self._timeout = timeout
        self._monotonic = MonotonicClock(clock)
        self.breaker = Breaker(self._monotonic)
        self.limiter = RateLimiter(rate, concurrency, clock, self._monotonic)

    async def send(self, request: OutgoingRequest, attempt: Callable[[str, AttemptStats], Awaitable[T]]) -> T:
        """The result of `attempt(bearer, stats)`, which sends one request and raises a FlexportError if it fails."""
        timeout = min(_INTERACTIVE_TIMEOUT, self._timeout) if request.purpose == "interactive" else self._timeout
        attempts = _Attempts(request, Deadline(self._monotonic, timeout))
        while True:
            attempts.tries += 1
            stats = AttemptStats()
            attempts.bearer = ""
            try:
                attempts.bearer = await self._auth.bearer()
                probe = await self._acquire(request, attempts.deadline)
                result = await self._run_attempt(attempts, attempt(attempts.bearer, stats), stats, probe=probe)
            except errors.FlexportError as error:
                try:
                    delay = await self._delay_before_retry(attempts, error, stats)
                except errors.FlexportError as final:
                    _log_failure(attempts, final)
                    raise
                await self._clock.sleep(delay)
            else:
                self._auth.report_result(request.resource, None)
                return result

    async def _delay_before_retry(self, attempts: _Attempts, error: errors.FlexportError, stats: AttemptStats) -> float:
        """Seconds to wait before the next attempt; raises the final error if there is none."""
        request = attempts.request
        if isinstance(error, errors.CircuitOpenError):
            # The failure that opened it says more than that it is open.
            raise attempts.before or error from error
        if isinstance(error, errors.UnauthorisedError) and attempts.bearer:
            if not attempts.renewed and await self._auth.renew_rejected(attempts.bearer, request.resource):
                attempts.renewed = True
                return 0.0
            self._auth.report_result(request.resource, str(error), renewed=attempts.renewed)
            raise error
        if not isinstance(
            error, errors.RateLimitedError | errors.FlexportUnavailableError | errors.MalformedResponseError
        ):
            if attempts.bearer:
                self._auth.report_result(request.resource, None)
            raise error
        if request.write and attempts.bearer and error.sent and not isinstance(error, errors.RateLimitedError):
            message = f"The request was sent, but it is not known whether it took effect. {error}"
            raise errors.UnknownOutcomeError(message, error.response, detail=error.detail or request.name) from error
        if isinstance(error, errors.MalformedResponseError):
            attempts.same = attempts.same + 1 if error.repeats(attempts.before) else 0
            if attempts.same == _MAX_SAME:
                raise error
        delay = attempts.deadline.delay(attempts.tries, error, random.random())  # noqa: S311 (jitter is no secret)
        if delay is None or error.permanent or stats.final:
            raise error
        attempts.before = error
        return delay

    async def _acquire(self, request: OutgoingRequest, deadline: Deadline) -> bool:
        """Wait until the breaker and the limiter let one request through; returns whether it is the breaker's probe."""
        while True:
            wait = self.breaker.wait()
            if wait > 0:
                if request.purpose in _FAIL_FAST or wait > deadline.left():
                    reason = self.breaker.reason
                    message = f"Flexport failed too often in a row; no requests are sent for now. {reason}"
                    raise errors.CircuitOpenError(
                        message, errors.ErrorDetails(retry_after=wait), sent=False, detail=request.name
                    )
                await self._clock.sleep(wait)
                continue
            try:
                async with asyncio.timeout(max(1.0, deadline.left())):
                    await self.limiter.acquire(request.purpose)
            except TimeoutError:
                message = "Too many requests to Flexport are waiting; this one was not sent in time"
                raise errors.FlexportUnavailableError(message, sent=False, detail=request.name) from None
            if self.breaker.wait() <= 0:
                return self.breaker.enter()
            self.limiter.release(request.purpose, used=False)

    async def _run_attempt(self, attempts: _Attempts, attempt: Awaitable[T], stats: AttemptStats, *, probe: bool) -> T:
        request, retried = attempts.request, attempts.tries > 1
        begun, started = self._monotonic.seconds(), self._clock.now()
        slug: str | None = "cancelled"
        failure: str | None = None
        detail = ""
        answered = False
        try:
            result = await attempt
            slug, answered = None, True
        except errors.FlexportError as error:
            slug = error.slug
            if isinstance(error, errors.RateLimitedError):
                self.limiter.slow_down(started)
            if (
                isinstance(error, errors.FlexportUnavailableError | errors.MalformedResponseError)
                and not error.permanent
            ):
                failure, detail = str(error), error.detail
            answered = failure is None
            raise
        else:
            return result
        finally:
            self.limiter.release(request.purpose)
            self.breaker.leave(request.resource, probe=probe, failure=failure, answered=answered, detail=detail)
            seconds = self._monotonic.seconds() - begun
            self._usage.add(Call(request.purpose, request.resource, seconds, stats.bytes, retried, slug))


def _log_failure(attempts: _Attempts, error: errors.FlexportError) -> None:
    """Log why a request failed for good. The caller reports a missing object and an open circuit."""
    write = log.debug if isinstance(error, errors.CircuitOpenError | errors.NotFoundAtFlexportError) else log.info
    write(
        "flexport_request_failed",
        request=attempts.request.name,
        reason=str(error),
        detail=error.detail,
        status=error.response.status,
        attempts=attempts.tries,
    )
