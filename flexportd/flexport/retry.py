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
from flexportd.flexport.deadline import INTERACTIVE, Patience
from flexportd.flexport.errors import (
    CircuitOpenError,
    FlexportError,
    FlexportUnavailableError,
    MalformedAnswerError,
    NotFoundAtFlexportError,
    RateLimitedError,
    Said,
    UnauthorisedError,
    UnknownOutcomeError,
)
from flexportd.flexport.monotonic import Steady
from flexportd.flexport.oauth.auth import Auth
from flexportd.flexport.rate_limiter import Pace
from flexportd.flexport.usage import Call, CallBook, Purpose

T = TypeVar("T")

log = structlog.get_logger(__name__)

_SAME = 3  # tries that bring the same malformed answer again: it does not get better
_AT_ONCE: frozenset[Purpose] = frozenset({"interactive", "write"})  # told at once that the breaker is open


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted: `name` for messages, `resource` a path template; `write`: may have an effect, so is sent once."""

    name: str
    resource: str
    purpose: Purpose
    write: bool = False


@dataclass(slots=True)
class Tally:
    """What one attempt comes to, filled in by who makes it. `final`: its failure may not be followed by another try."""

    started: datetime
    status: int = 0
    bytes: int = 0
    final: bool = False


@dataclass(frozen=True, slots=True)
class Way:
    """What every request passes: the breaker, then the pace; `patience` in seconds."""

    steady: Steady
    breaker: Breaker
    pace: Pace
    patience: float


@dataclass(slots=True)
class _Effort:
    """How far one order has come: `before` is the last failure that was followed by another try.

    `same` counts the tries since a malformed answer first came that brought it again byte by byte.
    """

    order: Order
    patience: Patience
    tries: int = 0
    bearer: str = ""
    renewed: bool = False
    same: int = 0
    before: FlexportError | None = None


class Asking:
    """Makes attempts, in turn, until one succeeds or patience ends."""

    def __init__(self, auth: Auth, clock: Clock, book: CallBook, way: Way) -> None:
        self._auth = auth
        self._clock = clock
        self._book = book
        self._way = way

    async def ask(self, order: Order, attempt: Callable[[str, Tally], Awaitable[T]]) -> T:
        """The result of `attempt(bearer, tally)`, which sends one request and raises a FlexportError when it fails."""
        longest = min(INTERACTIVE, self._way.patience) if order.purpose == "interactive" else self._way.patience
        effort = _Effort(order, Patience(self._way.steady, longest))
        while True:
            effort.tries += 1
            tally = Tally(self._clock.now())
            effort.bearer = ""
            try:
                effort.bearer = await self._auth.bearer()
                probe = await self._turn(order, effort.patience)
                result = await self._attempted(effort, attempt(effort.bearer, tally), tally, probe=probe)
            except FlexportError as error:
                try:
                    delay = await self._before_the_next(effort, error, tally)
                except FlexportError as final:
                    _note(effort, final)
                    raise
                await self._clock.sleep(delay)
            else:
                self._auth.settled(order.resource, None)
                return result

    async def _before_the_next(self, effort: _Effort, error: FlexportError, tally: Tally) -> float:
        """Seconds to wait for another try; raises what is to be told when there is none."""
        order = effort.order
        if isinstance(error, CircuitOpenError):
            # What opened it here says more than that it is open.
            raise effort.before or error from error
        if isinstance(error, UnauthorisedError) and effort.bearer:
            if not effort.renewed and await self._auth.refused(effort.bearer, order.resource):
                effort.renewed = True
                return 0.0
            self._auth.settled(order.resource, str(error), renewed=effort.renewed)
            raise error
        if not isinstance(error, RateLimitedError | FlexportUnavailableError | MalformedAnswerError):
            if effort.bearer:
                self._auth.settled(order.resource, None)
            raise error
        if order.write and effort.bearer and error.sent and not isinstance(error, RateLimitedError):
            message = f"It was sent, and whether it took effect is not known. {error}"
            raise UnknownOutcomeError(message, error.said, detail=error.detail or order.name) from error
        if isinstance(error, MalformedAnswerError):
            effort.same = effort.same + 1 if error.repeats(effort.before) else 0
            if effort.same == _SAME:
                raise error
        delay = effort.patience.delay(effort.tries, error, random.random())  # noqa: S311 (jitter is no secret)
        if delay is None or error.permanent or tally.final:
            raise error
        effort.before = error
        return delay

    async def _turn(self, order: Order, patience: Patience) -> bool:
        """Wait until the breaker and the pace let one request through; returns whether it is the breaker's probe."""
        breaker, pace = self._way.breaker, self._way.pace
        while True:
            wait = breaker.wait()
            if wait > 0:
                if order.purpose in _AT_ONCE or wait > patience.left():
                    message = f"Flexport is not asked for now, because it failed too often in a row. {breaker.reason}"
                    raise CircuitOpenError(message, Said(retry_after=wait), sent=False, detail=order.name)
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

    async def _attempted(self, effort: _Effort, attempt: Awaitable[T], tally: Tally, *, probe: bool) -> T:
        order, retried = effort.order, effort.tries > 1
        begun = self._way.steady.seconds()
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
                self._way.pace.slow_down(tally.started)
            if isinstance(error, FlexportUnavailableError | MalformedAnswerError) and not error.permanent:
                failure, detail = str(error), error.detail
            answered = failure is None
            raise
        else:
            return result
        finally:
            self._way.pace.release(order.purpose)
            self._way.breaker.leave(order.resource, probe=probe, failure=failure, answered=answered, detail=detail)
            seconds = self._way.steady.seconds() - begun
            self._book.add(Call(order.purpose, order.resource, tally.status, seconds, tally.bytes, retried, slug))


def _note(effort: _Effort, error: FlexportError) -> None:
    """Log why a request is given up. What is an answer, or was not even sent, is told by whoever asked."""
    told = log.debug if isinstance(error, CircuitOpenError | NotFoundAtFlexportError) else log.info
    told(
        "flexport_request_failed",
        request=effort.order.name,
        reason=str(error),
        detail=error.detail,
        status=error.status,
        attempts=effort.tries,
    )
