"""OAuth client credentials: one token for all requests, renewed in time.

A token lives for a day. It is renewed when nine tenths of its lifetime are over, while requests go on with the old one;
a 401 renews it at most every ten minutes. At most one token request is in flight.

Source: https://developers.flexport.com/tutorials/using-api-credentials. Whether the body of a token request must be
JSON or a form, and the format of an error, are not documented: both are tried, and both are read.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec
import structlog

from flexportd.clock import Clock, MonotonicClock, stamp
from flexportd.flexport import errors, json_text
from flexportd.flexport.error_sentences import status_message
from flexportd.flexport.oauth import token_store
from flexportd.flexport.oauth.auth import Auth
from flexportd.flexport.parse_response import message_of
from flexportd.flexport.redaction import clean_error
from flexportd.flexport.transport import HttpSession, Reply, Request, exchange
from flexportd.http.redaction import Secrets
from flexportd.tasks import Tasks

log = structlog.get_logger(__name__)

Form = Literal["json", "form"]

_MAX_BYTES = 1 << 20
_DEFAULT_LIFETIME = timedelta(hours=24)  # if the response does not say
_MIN_LIFETIME, _MAX_LIFETIME = 60, 30 * 86_400  # seconds that are plausible
_MEDIA_TYPES = {"json": "application/json", "form": "application/x-www-form-urlencoded"}
_REJECTED_FOR = 1800.0  # seconds for which rejected credentials are not sent again
_UNRENEWABLE_FOR = 43_200.0  # seconds for which a resource that refuses a fresh token causes no renewal


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of an account, and the URL that issues tokens."""

    client_id: str
    client_secret: str = field(repr=False)
    token_url: str
    audience: str

    def fingerprint(self) -> str:
        """A hash that identifies these credentials; a new secret does not change it."""
        return sha256(f"{self.client_id}\0{self.token_url}\0{self.audience}".encode()).hexdigest()[:32]


class ClientCredentials(Auth):
    """Requests tokens with a client id and secret; `path` is the token's file, `timeout` one request's, in seconds."""

    kind = "oauth"

    def __init__(self, credentials: Credentials, path: Path, timeout: float) -> None:
        super().__init__()
        self._credentials = credentials
        self._file = token_store.TokenFile(path, credentials.fingerprint())
        self._timeout = timeout
        self._state = token_store.TokenState(None, None, ())
        self._token: token_store.Token | None = None
        self._renewal: asyncio.Future[None] | None = None
        self._rejection: tuple[float, str, errors.ErrorDetails] | None = None
        self._other_form_tried = False
        self._unrenewable: dict[str, float] = {}  # resources, as path templates: few; until when

    async def open(self, session: HttpSession, tasks: Tasks, clock: Clock) -> None:
        """Read the token from the disk."""
        self._session, self._tasks, self._clock = session, tasks, clock
        self._monotonic = MonotonicClock(clock)
        try:
            self._state = await asyncio.to_thread(self._file.load, clock.now())
        except OSError as error:
            self.reason = f"{self._file.path}: {error.strerror or error}"
        self._token = self._state.token

    async def bearer(self) -> str:
        """The token, requested first if necessary.

        Raises UnauthorisedError, RateLimitedError, FlexportUnavailableError, TokensExhaustedError.
        """
        now = self._clock.now()
        if self._token is None or now >= self._token.expires:
            await self._await_renewal("start")
        elif (
            self._token.is_due(now)
            and self._renewal is None
            and token_store.refusal_reason(self._state, "age", now) is None
        ):
            self._start_renewal("age")
        assert self._token is not None
        return self._token.text

    async def renew_rejected(self, bearer: str, resource: str) -> bool:
        """Renew the token if the 401 may be due to it and the limits allow it; else False."""
        if self._token is None or self._token.text != bearer:
            return True
        if self._monotonic.seconds() < self._unrenewable.get(resource, 0.0):
            return False
        if self._renewal is None and token_store.refusal_reason(self._state, "refused", self._clock.now()) is not None:
            return False
        try:
            await self._await_renewal("refused")
        except errors.TokensExhaustedError:
            return False
        return self._token.text != bearer

    def report_result(self, resource: str, problem: str | None, *, renewed: bool = False) -> None:
        """Remember a resource that refuses a fresh token too: no more tokens are spent on it."""
        super().report_result(resource, problem)
        if problem is None:
            self._unrenewable.pop(resource, None)
        elif renewed:
            self._unrenewable[resource] = self._monotonic.seconds() + _UNRENEWABLE_FOR

    def state(self) -> dict[str, Any]:
        """For the status page; the requests are those of the last 24 hours."""
        return super().state() | {
            "expires_at": None if self._token is None else stamp(self._token.expires),
            "token_requests": len(self._state.requests_within_day(self._clock.now())),
        }

    async def _await_renewal(self, why: token_store.RenewalReason) -> None:
        """Wait for the renewal in flight, or for a new one. Cancelling a waiter does not cancel the renewal."""
        await asyncio.shield(self._renewal or self._start_renewal(why))

    def _start_renewal(self, why: token_store.RenewalReason) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._renewal = future
        self._tasks.start("flexport_token", lambda: self._renew(future, why), vital=False)
        return future

    async def _renew(self, future: asyncio.Future[None], why: token_store.RenewalReason) -> None:
        failure: errors.FlexportError = errors.FlexportUnavailableError("the token request was aborted")
        try:
            self._token = await self._renew_token(why)
            future.set_result(None)
        except errors.FlexportError as error:
            failure = error
            if isinstance(error, errors.UnauthorisedError):
                self.authorised = False
            self.reason = str(error)
            if self._token is not None:
                log.warning("token_renewal_failed", reason=str(error))
        finally:
            self._renewal = None
            if not future.done():
                future.set_exception(failure)
                future.exception()  # retrieved here, whether or not anybody waits

    async def _renew_token(self, why: token_store.RenewalReason) -> token_store.Token:
        await self._update()
        now, stored = self._clock.now(), self._state.token
        if self._token is None and stored is not None and now < stored.expires:
            return stored  # the disk could not be read when the client opened
        if self._rejection is not None and self._monotonic.seconds() < self._rejection[0]:
            raise errors.UnauthorisedError(self._rejection[1], self._rejection[2])
        refusal = token_store.refusal_reason(self._state, why, now)
        if refusal is not None:
            raise refusal
        return await self._fetch_token(why)

    async def _fetch_token(self, why: token_store.RenewalReason) -> token_store.Token:
        """Request a token with the body form that worked before; if none did, as JSON, then once as a form."""
        form: Form = "form" if self._state.form == "form" else "json"
        try:
            try:
                token = await self._request_counted(form, why)
            except OtherFormError:
                spent = len(self._state.requests_within_day(self._clock.now())) >= token_store.AUTOMATIC_REQUESTS
                if self._state.form is not None or self._other_form_tried or spent:
                    raise
                self._other_form_tried = True
                form = "form"
                token = await self._request_counted(form, why)
        except (errors.UnauthorisedError, OtherFormError) as error:
            self._rejection = self._monotonic.seconds() + _REJECTED_FOR, str(error), error.response
            raise errors.UnauthorisedError(str(error), error.response, detail=error.detail) from error
        self._rejection = None
        self._state = token_store.TokenState(token, form, self._state.requests)
        try:
            await asyncio.to_thread(self._file.save, token, form)
        except OSError as error:
            log.warning("token_save_failed", file=str(self._file.path), reason=error.strerror or str(error))
        return token

    async def _request_counted(self, form: Form, why: token_store.RenewalReason) -> token_store.Token:
        """Count one request, then send it; if it never left, it does not count."""
        await self._update(lambda: self._file.count(self._clock.now(), why))
        try:
            return await request_token(self._session, self._credentials, form, self._clock, self._timeout)
        except errors.FlexportUnavailableError as error:
            if not error.sent:
                await self._update(self._file.uncount)
            raise

    async def _update(self, change: Callable[[], None] | None = None) -> None:
        def update() -> token_store.TokenState:
            if change is not None:
                change()
            return self._file.load(self._clock.now())

        try:
            self._state = await asyncio.to_thread(update)
        except OSError as error:
            reason = f"token requests cannot be counted in {self._file.path.parent}: {error.strerror or error}"
            raise errors.FlexportUnavailableError(reason, sent=False) from error


class OtherFormError(errors.FlexportError):
    """The token URL may expect the other form of the body (400 or 415)."""


async def request_token(
    session: HttpSession, credentials: Credentials, form: Form, clock: Clock, seconds: float
) -> token_store.Token:
    """Send one token request; it may take `seconds`.

    Raises OtherFormError on 400 and 415, UnauthorisedError on another refusal, RateLimitedError, and
    FlexportUnavailableError for everything else: never an error that could be about another request.
    """
    fields = {
        "client_id": credentials.client_id,
        "client_secret": credentials.client_secret,
        "audience": credentials.audience,
        "grant_type": "client_credentials",
    }
    body = msgspec.json.encode(fields) if form == "json" else urlencode(fields).encode("ascii")
    headers = {"Accept": "application/json", "Content-Type": _MEDIA_TYPES[form]}
    request = Request("POST", credentials.token_url, headers, body)
    try:
        reply = await exchange(session, request, clock, seconds=seconds, max_size=_MAX_BYTES)
    except errors.MalformedResponseError as error:
        clean_error(Secrets((credentials.client_secret,)), error)
        raise errors.FlexportUnavailableError(f"No token. {error}", error.response, detail=error.detail) from error
    if not 200 <= reply.status < 300:
        raise _error(reply, credentials)
    return _token(reply)


def _error(reply: Reply, credentials: Credentials) -> errors.FlexportError:
    # The body may repeat the request.
    body = Secrets((credentials.client_secret,)).clean(reply.body)
    body = body.replace(credentials.client_secret.encode(), b"***")
    message = f"No token. {status_message(reply.status, message_of(body))}"
    details = replace(reply.error_details(), body=b"", started_at=None)
    if reply.status in (400, 415):
        return OtherFormError(message, details)
    kind = errors.error_class(reply.status)
    if not issubclass(kind, errors.RateLimitedError | errors.FlexportUnavailableError):
        kind = errors.UnauthorisedError if reply.status >= 400 else errors.FlexportUnavailableError
    return kind(message, details)


def _token(reply: Reply) -> token_store.Token:
    """The token of a response; everything else in it is ignored, even if it is not JSON."""
    try:
        fields = json_text.members(json_text.strip_bom(reply.body))
    except json_text.BrokenJsonError:
        fields = {}
    text, lifetime = (json_text.value(fields.get(name)) for name in ("access_token", "expires_in"))
    if not isinstance(text, str) or not token_store.is_usable(text):
        details = errors.ErrorDetails(reply.status)
        raise errors.FlexportUnavailableError("No token. Flexport's answer has no usable access_token", details)
    if isinstance(lifetime, str) and lifetime.isascii() and lifetime.isdigit() and len(lifetime) < 10:
        lifetime = int(lifetime)
    is_number = isinstance(lifetime, int | float) and not isinstance(lifetime, bool)
    is_plausible = is_number and _MIN_LIFETIME <= lifetime <= _MAX_LIFETIME
    expires = reply.started + (timedelta(seconds=lifetime) if is_plausible else _DEFAULT_LIFETIME)
    return token_store.Token(text, reply.started, expires)
