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
    FlexportError,
    FlexportUnavailableError,
    Said,
    TokensExhaustedError,
    UnauthorisedError,
)
from flexportd.flexport.monotonic import Steady
from flexportd.flexport.oauth.allowance import REQUESTS_ALLOWED, objection
from flexportd.flexport.oauth.auth import Verdict
from flexportd.flexport.oauth.grant import Credentials, Form, OtherFormError, ask
from flexportd.flexport.oauth.token_store import Kept, Token, TokenFile, Why
from flexportd.flexport.transport import HttpSession
from flexportd.tasks import Tasks

log = structlog.get_logger(__name__)

_NOTHING = Kept(None, None, ())
_LOCK_STEP, _LOCK_WAIT = 0.1, 90.0  # seconds
_DENIED = 1800.0  # seconds for which credentials that were refused are not tried again by themselves
_REFUSED_ANYWAY = 43_200.0  # seconds for which a resource that a fresh token does not open causes no renewal


class ClientCredentials:
    """Fetches tokens with a client id and secret; `path` is the token's file, `timeout` one request's, in seconds."""

    def __init__(self, credentials: Credentials, path: Path, timeout: float) -> None:
        self._credentials = credentials
        self._file = TokenFile(path, credentials.bound())
        self._timeout = timeout
        self._kept = _NOTHING
        self._token: Token | None = None
        self._renewal: asyncio.Future[None] | None = None
        self._denied: tuple[float, str, Said] | None = None
        self._other_form_tried = False
        self._refused_anyway: dict[str, float] = {}  # resources, as path templates: few; until when
        self._verdict = Verdict()

    async def open(self, session: HttpSession, tasks: Tasks, clock: Clock) -> None:
        """Read what the disk knows."""
        self._session, self._tasks, self._clock = session, tasks, clock
        self._steady = Steady(clock)
        try:
            self._kept = await asyncio.to_thread(self._file.load, clock.now())
        except OSError as error:
            self._verdict.reason = f"{self._file.path}: {error.strerror or error}"
        self._token = self._kept.token

    async def bearer(self) -> str:
        """The token, fetched first if need be.

        Raises UnauthorisedError, RateLimitedError, FlexportUnavailableError, TokensExhaustedError.
        """
        now = self._clock.now()
        if self._token is None or now >= self._token.expires:
            await self._flight("start")
        elif self._token.due(now) and self._renewal is None and objection(self._kept, "age", now) is None:
            self._take_off("age")
        assert self._token is not None
        return self._token.text

    async def refused(self, bearer: str, resource: str) -> bool:
        """Renew the token if the 401 may be the token's fault and the rules allow it; else False."""
        if self._token is None or self._token.text != bearer:
            return True
        if self._steady.seconds() < self._refused_anyway.get(resource, 0.0):
            return False
        if self._renewal is None and objection(self._kept, "refused", self._clock.now()) is not None:
            return False
        try:
            await self._flight("refused")
        except TokensExhaustedError:
            return False
        return self._token.text != bearer

    def settled(self, resource: str, problem: str | None, *, renewed: bool = False) -> None:
        """Remember a resource that is refused with a fresh token too: no further token is spent on it."""
        self._verdict.note(problem)
        if problem is None:
            self._refused_anyway.pop(resource, None)
        elif renewed:
            self._refused_anyway[resource] = self._steady.seconds() + _REFUSED_ANYWAY

    async def renew(self) -> None:
        """Fetch a new token because a person asks, also with the two requests that are kept for that.

        Raises as `bearer`.
        """
        await self._flight("person")

    def state(self) -> dict[str, Any]:
        """For the status page: authorised or the reason why not, the token's end, the requests of the last 24 hours."""
        return {
            "kind": "oauth",
            "authorised": self._verdict.authorised,
            "reason": self._verdict.reason,
            "expires_at": None if self._token is None else stamp(self._token.expires),
            "token_requests": len(self._kept.within(self._clock.now())),
            "token_requests_limit": REQUESTS_ALLOWED,
        }

    async def _flight(self, why: Why) -> None:
        """Wait for the renewal that is under way, or for a new one. Who waits may be cancelled; the renewal goes on."""
        await asyncio.shield(self._renewal or self._take_off(why))

    def _take_off(self, why: Why) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._renewal = future
        self._tasks.start("flexport_token", lambda: self._fly(future, why), vital=False)
        return future

    async def _fly(self, future: asyncio.Future[None], why: Why) -> None:
        failure: FlexportError = FlexportUnavailableError("the token request was broken off")
        try:
            self._token = await self._renewed(why)
            future.set_result(None)
        except FlexportError as error:
            failure = error
            if isinstance(error, UnauthorisedError):
                self._verdict.authorised = False
            self._verdict.reason = str(error)
            if self._token is not None:
                log.warning("token_renewal_failed", reason=str(error))
        finally:
            self._renewal = None
            if not future.done():
                future.set_exception(failure)
                future.exception()  # known here, whether or not anybody waits

    async def _renewed(self, why: Why) -> Token:
        async with self._alone():
            await self._load()
            found = self._kept.token
            ours = self._token.text if self._token is not None else None
            now = self._clock.now()
            if found is not None and found.text != ours and now < found.expires and why != "person":
                return found  # somebody else was quicker
            if self._denied is not None and why != "person" and self._steady.seconds() < self._denied[0]:
                raise UnauthorisedError(self._denied[1], self._denied[2])
            refusal = objection(self._kept, why, now)
            if refusal is not None:
                raise refusal
            return await self._fetched(why)

    async def _fetched(self, why: Why) -> Token:
        """Ask in the form that worked before; where none is known as JSON, then once as a form."""
        form: Form = "form" if self._kept.form == "form" else "json"
        try:
            try:
                token = await self._counted(form, why)
            except OtherFormError:
                spent = len(self._kept.within(self._clock.now())) >= REQUESTS_ALLOWED - (0 if why == "person" else 2)
                if self._kept.form is not None or self._other_form_tried or spent:
                    raise
                self._other_form_tried = True
                form = "form"
                token = await self._counted(form, why)
        except (UnauthorisedError, OtherFormError) as error:
            self._denied = self._steady.seconds() + _DENIED, str(error), error.said
            raise UnauthorisedError(str(error), error.said, detail=error.detail) from error
        self._denied = None
        self._kept = Kept(token, form, self._kept.asked)
        try:
            await asyncio.to_thread(self._file.save, token, form)
        except OSError as error:
            log.warning("token_save_failed", file=str(self._file.path), reason=error.strerror or str(error))
        return token

    async def _counted(self, form: Form, why: Why) -> Token:
        """Count one request, then send it; one that never left is taken back."""
        try:
            await asyncio.to_thread(self._file.count, self._clock.now(), why)
        except OSError as error:
            raise self._uncountable(error) from error
        await self._load()
        try:
            return await ask(self._session, self._credentials, form, self._clock, self._timeout)
        except FlexportUnavailableError as error:
            if not error.sent:
                try:
                    await asyncio.to_thread(self._file.uncount)
                except OSError as unwritable:
                    raise self._uncountable(unwritable) from error
                await self._load()
            raise

    async def _load(self) -> None:
        try:
            self._kept = await asyncio.to_thread(self._file.load, self._clock.now())
        except OSError as error:
            raise self._uncountable(error) from error

    def _uncountable(self, error: OSError) -> FlexportUnavailableError:
        reason = f"token requests cannot be counted in {self._file.path.parent}: {error.strerror or error}"
        return FlexportUnavailableError(reason, Said(), sent=False)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """No other client, in whatever process, asks meanwhile."""
        lock = self._file.lock()
        end = self._steady.seconds() + _LOCK_WAIT
        try:
            while not await self._taken(lock.take):
                if self._steady.seconds() >= end:
                    raise FlexportUnavailableError("another flexportd has been asking for a token for long", sent=False)
                await self._clock.sleep(_LOCK_STEP)
            yield
        finally:
            lock.drop()

    async def _taken(self, take: Any) -> bool:
        try:
            return bool(await asyncio.to_thread(take))
        except OSError as error:
            raise self._uncountable(error) from error
