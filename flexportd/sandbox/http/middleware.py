"""The middleware of the API: authentication, faults, request log, error envelopes, and Flexport's clock in `Date`.

Tokens from `POST /oauth/token` are valid for 24 hours, and at most ten are issued per day:
https://developers.flexport.com/tutorials/using-api-credentials.
"""

import hmac
import math
import re
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import NamedTuple

import msgspec
from aiohttp import web

from flexportd.clock import Clock
from flexportd.errors import FlexportdError, InvalidError, NotFoundError
from flexportd.sandbox.catalog.kinds import ALL_PATHS, EVENT, Wire
from flexportd.sandbox.faults import BODY_FAULTS, FaultInjector, RequestInfo, inject
from flexportd.sandbox.http.responses import error_response, gateway_page, json_response
from flexportd.sandbox.http.write_log import RECEIVED_WRITE, WriteLog, receive_write
from flexportd.sandbox.options import SandboxOptions
from flexportd.sandbox.world.world import World

TOKEN_PATH = "/oauth/token"  # noqa: S105 (a path)
SLOW = 3.0  # seconds
LOGGED_REQUESTS = 10_000
_DAY = timedelta(days=1)
_TOKENS_A_DAY = 10
_LISTS = frozenset(ALL_PATHS.values())
# Status, code, message and seconds to wait.
_REFUSALS: dict[str, tuple[int, str, str, int | None]] = {
    "401": (401, "unauthorized", "The bearer token is missing, wrong or expired.", None),
    "403": (403, "forbidden", "This key may not read this resource.", None),
    "404": (404, "not_found", "There is nothing here.", None),
    "429": (429, "too_many_requests", "Too many requests.", 1),
    "429_bare": (429, "too_many_requests", "Too many requests.", None),
    "500": (500, "internal_server_error", "Something went wrong.", None),
    "write_forbidden": (403, "forbidden", "This key may not write this resource.", None),
    "refused_as_duplicate": (400, "bad_request", "This has already been taken.", None),
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class LoggedRequest(NamedTuple):
    """One request as it arrived; `status` is 0 when its connection was reset."""

    method: str
    path: str
    status: int


class RequestLog:
    """The last ten thousand requests, oldest first, and the number of all requests and of token requests."""

    def __init__(self) -> None:
        self.total = 0
        self.tokens = 0
        self._requests: deque[LoggedRequest] = deque(maxlen=LOGGED_REQUESTS)

    def __iter__(self) -> Iterator[LoggedRequest]:
        return iter(tuple(self._requests))

    def __len__(self) -> int:
        return len(self._requests)

    def record(self, request: LoggedRequest, *, token: bool = False) -> None:
        """Add one."""
        self._requests.append(request)
        self.total += 1
        self.tokens += token

    def count(self, path: str = "", method: str | None = None) -> int:
        """The number of logged requests that match a regular expression (path and query) and a method."""
        pattern = re.compile(path)
        return sum(bool(pattern.search(one.path)) and method in {None, one.method} for one in self._requests)

    def clear(self) -> None:
        """Remove all, and count from zero."""
        self._requests.clear()
        self.total = self.tokens = 0


class ApiError(FlexportdError):
    """An error response, as Flexport sends it; `code` is its name in the envelope."""

    slug = "refused"

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        self.status = status
        self.code = code
        self.retry_after = retry_after
        super().__init__(message)


class Authenticator:
    """Checks bearer tokens, issues tokens and limits the request rate."""

    def __init__(self, options: SandboxOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._tokens: dict[str, datetime] = {}
        self._issued_at: deque[datetime] = deque()
        self._allowance = self._burst
        self._counted_at = clock.now()

    def check(self, authorization: str | None) -> None:
        """Accept a request. Raises ApiError: 401 without a valid bearer token, 429 above the rate limit."""
        scheme, _, bearer = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not self._accepts(bearer.strip()):
            raise ApiError(401, "unauthorized", "The bearer token is missing, wrong or expired.")
        self._consume()

    def issue_token(self, body: Mapping[str, object]) -> Wire:
        """Issue a token for client credentials. Raises ApiError: 400, 401, or 429 after ten in a day."""
        if body.get("grant_type") != "client_credentials":
            raise ApiError(400, "unsupported_grant_type", "grant_type must be client_credentials.")
        now = self._clock.now()
        while self._issued_at and self._issued_at[0] <= now - _DAY:
            self._issued_at.popleft()
        if len(self._issued_at) >= _TOKENS_A_DAY:
            wait = math.ceil((self._issued_at[0] + _DAY - now) / timedelta(seconds=1))
            raise ApiError(429, "too_many_requests", "At most 10 tokens are issued per day.", wait)
        self._issued_at.append(now)
        known_id = _same(body.get("client_id"), self._options.client_id)
        if not _same(body.get("client_secret"), self._options.client_secret) or not known_id:
            raise ApiError(401, "access_denied", "The client id or secret is wrong.")
        token = secrets.token_urlsafe(48)
        self._tokens = {known: until for known, until in self._tokens.items() if until > now}
        self._tokens[token] = now + _DAY
        return {"access_token": token, "token_type": "Bearer", "expires_in": int(_DAY.total_seconds())}

    @property
    def _burst(self) -> float:
        return max(1.0, self._options.rate_limit or 0.0)

    def _accepts(self, bearer: str) -> bool:
        if _same(bearer, self._options.api_key):
            return True
        until = self._tokens.get(bearer)
        return until is not None and until > self._clock.now()

    def _consume(self) -> None:
        rate = self._options.rate_limit
        if rate is None:
            return
        now = self._clock.now()
        passed = max(0.0, (now - self._counted_at) / timedelta(seconds=1))
        self._allowance = min(self._burst, self._allowance + passed * rate)
        self._counted_at = now
        if self._allowance < 1:
            wait = max(1, math.ceil((1 - self._allowance) / rate))
            raise ApiError(429, "too_many_requests", f"More than {rate:g} requests a second.", wait)
        self._allowance -= 1


def _same(given: object, expected: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(given.encode(), expected.encode())


class ApiMiddleware:
    """The middleware of the API."""

    def __init__(
        self,
        world: World,
        authenticator: Authenticator,
        faults: FaultInjector,
        clock: Clock,
        wait_attempted: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`wait_attempted` waits until the webhook of every event was sent once."""
        self.requests = RequestLog()
        self.writes = WriteLog()
        self._world = world
        self._authenticator = authenticator
        self._faults = faults
        self._clock = clock
        self._wait_attempted = wait_attempted

    @web.middleware
    async def handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Respond to a request, with an error envelope where it is refused or fails."""
        is_token = request.path == TOKEN_PATH and request.method == "POST"
        response = await self._respond(request, handler, is_token=is_token)
        # Set here, `Date` is not written by aiohttp: clients see the clock of the time stamps.
        response.headers["Date"] = format_datetime(self._world.now, usegmt=True)
        was_reset = request.transport is None or request.transport.is_closing()
        logged = LoggedRequest(request.method, request.raw_path, 0 if was_reset else response.status)
        self.requests.record(logged, token=is_token)
        if RECEIVED_WRITE in request:
            request[RECEIVED_WRITE].status = logged.status
        return response

    async def _respond(self, request: web.Request, handler: Handler, *, is_token: bool) -> web.StreamResponse:
        info = RequestInfo(request.method, request.raw_path, _page_number(request))
        try:
            if info.is_write:
                # A client that is gone after this point stops nothing.
                request[RECEIVED_WRITE] = await receive_write(request)
                self.writes.record(request[RECEIVED_WRITE])
            # Random faults spare token requests: ten a day are soon used up.
            fault = self._faults.scripted_fault(info)
            if is_token:
                return await self._respond_with_fault(request, handler, fault)
            self._authenticator.check(request.headers.get("Authorization"))
            if request.path == ALL_PATHS[EVENT] and self._wait_attempted is not None:
                await self._wait_attempted()  # an event listed before its webhook would look like a missed one
            if self._faults.faults.latency:
                await self._clock.sleep(self._faults.faults.latency)
            return await self._respond_with_fault(request, handler, fault or self._faults.random_fault(info))
        except ApiError as error:
            response = error_response(request, error.status, error.code, str(error))
            if error.retry_after is not None:
                response.headers["Retry-After"] = str(error.retry_after)
            return response
        except InvalidError as error:
            return error_response(request, 400, "bad_request", str(error))
        except NotFoundError as error:
            return error_response(request, 404, "not_found", str(error))
        except web.HTTPException as error:
            return _router_error(request, error)

    async def _respond_with_fault(
        self, request: web.Request, handler: Handler, fault: str | None
    ) -> web.StreamResponse:
        """Respond with that fault. A reset comes after the work is done: its outcome is unknown."""
        if fault == "5xx":
            fault = str(self._faults.server_error())
        if RECEIVED_WRITE in request:
            request[RECEIVED_WRITE].fault = fault
        refusal = _response_without_work(request, fault)
        if refusal is not None:
            return refusal
        if fault == "accepted_late":
            _reset(request)
            await self._clock.sleep(SLOW)
        response = await handler(request)
        if fault == "slow":
            await self._clock.sleep(SLOW)
        elif fault == "error_after_accepting":
            raise ApiError(*_REFUSALS["500"])
        elif fault in {"reset", "accepted_then_dropped"}:
            _reset(request)
        if fault == "truncate" and isinstance(response, web.Response) and isinstance(response.body, bytes):
            half = response.body[: len(response.body) // 2]
            return web.Response(body=half, content_type=response.content_type)
        if fault in BODY_FAULTS and isinstance(response, web.Response) and isinstance(response.body, bytes):
            return await self._inject(request, handler, fault, response)
        return response

    async def _inject(
        self, request: web.Request, handler: Handler, fault: str, response: web.Response
    ) -> web.StreamResponse:
        if response.content_type != "application/json":
            return response
        previous: Sequence[Wire] = ()
        if fault == "repeat":
            number = _page_number(request) - 1
            earlier = await handler(request.clone(rel_url=request.rel_url.update_query(page=number)))
            if isinstance(earlier, web.Response) and isinstance(earlier.body, bytes):
                previous = msgspec.json.decode(earlier.body)["data"]["data"]
        envelope = msgspec.json.decode(response.body if isinstance(response.body, bytes) else b"{}")
        return json_response(response.status, inject(fault, envelope, self._world.now, previous))


def _response_without_work(request: web.Request, fault: str | None) -> web.Response | None:
    """The response of a fault that keeps the request from its handler; None for any other. Raises ApiError."""
    if fault in _REFUSALS:
        raise ApiError(*_REFUSALS[fault])
    if fault in {"502", "503", "504"}:
        return gateway_page(int(fault))
    if fault == "html":
        return gateway_page(200)
    if fault == "dropped_before_accepting":
        _reset(request)
        return web.Response()
    return None


def _reset(request: web.Request) -> None:
    """Reset the connection: nobody receives the response."""
    if request.transport is not None:
        request.transport.abort()


def _page_number(request: web.Request) -> int:
    """The number of the requested page; 0 for anything but a list, or for no number."""
    if request.method != "GET" or request.path not in _LISTS:
        return 0
    text = request.query.get("page", "1")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _router_error(request: web.Request, error: web.HTTPException) -> web.Response:
    """An error of the router in an envelope, with the headers that matter."""
    response = error_response(request, error.status, error.reason.lower().replace(" ", "_"), error.reason)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
