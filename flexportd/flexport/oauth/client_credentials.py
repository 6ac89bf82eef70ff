"""The token of OAuth client credentials: kept, renewed in time, by one for all who need it.

A token lives a day. It is renewed when nine tenths of its life are over while requests go on with the old one; a 401
renews it at most every ten minutes. All requests for it go through one flight, also across processes.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from flexportd.clock import Clock, stamp
from flexportd.flexport.errors import (
    ErrorDetails,
    FlexportError,
    FlexportUnavailableError,
    TokensExhaustedError,
    UnauthorisedError,
)
from flexportd.flexport.monotonic import MonotonicClock
from flexportd.flexport.oauth.allowance import REQUESTS_ALLOWED, refusal_reason
from flexportd.flexport.oauth.auth import AuthStatus
from flexportd.flexport.oauth.grant import Credentials, Form, OtherFormError, request_token
from flexportd.flexport.oauth.token_store import RenewalReason, Token, TokenFile, TokenState
from flexportd.flexport.transport import HttpSession
from flexportd.tasks import Tasks

log = structlog.get_logger(__name__)

_NO_STATE = TokenState(None, None, ())
_LOCK_STEP, _LOCK_WAIT = 0.1, 90.0  # seconds
_REJECTED_FOR = 1800.0  # seconds for which credentials that were refused are not tried again by themselves
_UNRENEWABLE_FOR = 43_200.0  # seconds for which a resource that a fresh token does not open causes no renewal


class ClientCredentials:
    """Fetches tokens with a client id and secret; `path` is the token's file, `timeout` one request's, in seconds."""

    def __init__(self, credentials: Credentials, path: Path, timeout: float) -> None:
        self._credentials = credentials
        self._file = TokenFile(path, credentials.fingerprint())
        self._timeout = timeout
        self._state = _NO_STATE
        self._token: Token | None = None
        self._renewal: asyncio.Future[None] | None = None
        self._rejection: tuple[float, str, ErrorDetails] | None = None
        self._other_form_tried = False
        self._refused_anyway: dict[str, float] = {}  # resources, as path templates: few; until when
        self._status = AuthStatus()

    async def open(self, session: HttpSession, tasks: Tasks, clock: Clock) -> None:
        """Read what the disk knows."""
        self._session, self._tasks, self._clock = session, tasks, clock
        self._steady = MonotonicClock(clock)
        try:
            self._state = await asyncio.to_thread(self._file.load, clock.now())
        except OSError as error:
            self._status.reason = f"{self._file.path}: {error.strerror or error}"
        self._token = self._state.token

    async def bearer(self) -> str:
        """The token, fetched first if need be.

        Raises UnauthorisedError, RateLimitedError, FlexportUnavailableError, TokensExhaustedError.
        """
        now = self._clock.now()
        if self._token is None or now >= self._token.expires:
            await self._await_renewal("start")
        elif self._token.is_due(now) and self._renewal is None and refusal_reason(self._state, "age", now) is None:
            self._start_renewal("age")
        assert self._token is not None
        return self._token.text

    async def renew_rejected(self, bearer: str, resource: str) -> bool:
        """Renew the token if the 401 may be the token's fault and the rules allow it; else False."""
        if self._token is None or self._token.text != bearer:
            return True
        if self._steady.seconds() < self._refused_anyway.get(resource, 0.0):
            return False
        if self._renewal is None and refusal_reason(self._state, "refused", self._clock.now()) is not None:
            return False
        try:
            await self._await_renewal("refused")
        except TokensExhaustedError:
            return False
        return self._token.text != bearer

    def report_result(self, resource: str, problem: str | None, *, renewed: bool = False) -> None:
        """Remember a resource that is refused with a fresh token too: no further token is spent on it."""
        self._status.record(problem)
        if problem is None:
            self._refused_anyway.pop(resource, None)
        elif renewed:
            self._refused_anyway[resource] = self._steady.seconds() + _UNRENEWABLE_FOR

    async def renew(self) -> None:
        """Fetch a new token because a person asks, also with the two requests that are kept for that.

        Raises as `bearer`.
        """
        await self._await_renewal("person")

    def state(self) -> dict[str, Any]:
        """For the status page: authorised or the reason why not, the token's end, the requests of the last 24 hours."""
        return {
            "kind": "oauth",
            "authorised": self._status.authorised,
            "reason": self._status.reason,
            "expires_at": None if self._token is None else stamp(self._token.expires),
            "token_requests": len(self._state.requests_within_day(self._clock.now())),
            "token_requests_limit": REQUESTS_ALLOWED,
        }

    async def _await_renewal(self, why: RenewalReason) -> None:
        """Wait for the renewal that is under way, or for a new one. Who waits may be cancelled; the renewal goes on."""
        await asyncio.shield(self._renewal or self._start_renewal(why))

    def _start_renewal(self, why: RenewalReason) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._renewal = future
        self._tasks.start("flexport_token", lambda: self._renew(future, why), vital=False)
        return future

    async def _renew(self, future: asyncio.Future[None], why: RenewalReason) -> None:
        failure: FlexportError = FlexportUnavailableError("the token request was broken off")
        try:
            self._token = await self._renew_token(why)
            future.set_result(None)
        except FlexportError as error:
            failure = error
            if isinstance(error, UnauthorisedError):
                self._status.authorised = False
            self._status.reason = str(error)
            if self._token is not None:
                log.warning("token_renewal_failed", reason=str(error))
        finally:
            self._renewal = None
            if not future.done():
                future.set_exception(failure)
                future.exception()  # known here, whether or not anybody waits

    async def _renew_token(self, why: RenewalReason) -> Token:
        async with self._exclusive():
            await self._load()
            found = self._state.token
            ours = self._token.text if self._token is not None else None
            now = self._clock.now()
            if found is not None and found.text != ours and now < found.expires and why != "person":
                return found  # somebody else was quicker
            if self._rejection is not None and why != "person" and self._steady.seconds() < self._rejection[0]:
                raise UnauthorisedError(self._rejection[1], self._rejection[2])
            refusal = refusal_reason(self._state, why, now)
            if refusal is not None:
                raise refusal
            return await self._fetch_token(why)

    async def _fetch_token(self, why: RenewalReason) -> Token:
        """Ask in the form that worked before; where none is known as JSON, then once as a form."""
        form: Form = "form" if self._state.form == "form" else "json"
        try:
            try:
                token = await self._request_counted(form, why)
            except OtherFormError:
                spent = len(self._state.requests_within_day(self._clock.now())) >= REQUESTS_ALLOWED - (
                    0 if why == "person" else 2
                )
                if self._state.form is not None or self._other_form_tried or spent:
                    raise
                self._other_form_tried = True
                form = "form"
                token = await self._request_counted(form, why)
        except (UnauthorisedError, OtherFormError) as error:
            self._rejection = self._steady.seconds() + _REJECTED_FOR, str(error), error.response_details
            raise UnauthorisedError(str(error), error.response_details, detail=error.detail) from error
        self._rejection = None
        self._state = TokenState(token, form, self._state.requests)
        try:
            await asyncio.to_thread(self._file.save, token, form)
        except OSError as error:
            log.warning("token_save_failed", file=str(self._file.path), reason=error.strerror or str(error))
        return token

    async def _request_counted(self, form: Form, why: RenewalReason) -> Token:
        """Count one request, then send it; one that never left is taken back."""
        try:
            await asyncio.to_thread(self._file.count, self._clock.now(), why)
        except OSError as error:
            raise self._counting_error(error) from error
        await self._load()
        try:
            return await request_token(self._session, self._credentials, form, self._clock, self._timeout)
        except FlexportUnavailableError as error:
            if not error.sent:
                try:
                    await asyncio.to_thread(self._file.uncount)
                except OSError as unwritable:
                    raise self._counting_error(unwritable) from error
                await self._load()
            raise

    async def _load(self) -> None:
        try:
            self._state = await asyncio.to_thread(self._file.load, self._clock.now())
        except OSError as error:
            raise self._counting_error(error) from error

    def _counting_error(self, error: OSError) -> FlexportUnavailableError:
        reason = f"token requests cannot be counted in {self._file.path.parent}: {error.strerror or error}"
        return FlexportUnavailableError(reason, ErrorDetails(), sent=False)

    @asynccontextmanager
    async def _exclusive(self) -> AsyncIterator[None]:
        """No other client, in whatever process, asks meanwhile."""
        lock = self._file.lock()
        end = self._steady.seconds() + _LOCK_WAIT
        try:
            while not await self._try_lock(lock.acquire):
                if self._steady.seconds() >= end:
                    raise FlexportUnavailableError("another flexportd has been asking for a token for long", sent=False)
                await self._clock.sleep(_LOCK_STEP)
            yield
        finally:
            lock.release()

    async def _try_lock(self, take: Any) -> bool:
        try:
            return bool(await asyncio.to_thread(take))
        except OSError as error:
            raise self._counting_error(error) from error
