"""What every request passes: the cache fast path, authorization, errors as problem documents, the access log.

Nine requests in ten are webhooks, or for a cached response, and routing costs more than answering them.
`RequestPipeline` answers these itself; every other request goes through aiohttp's router, with the same response.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

from aiohttp import hdrs, web
from aiohttp.http_parser import RawRequestMessage
from multidict import MultiMapping

from flexportd.clock import Clock, parse
from flexportd.core.access.keys import UNRESTRICTED, Principal
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import FlexportdError, ForbiddenError, RefusedError, UnavailableError
from flexportd.expose.context import ACCESS_LOG, CACHE, CLOCK, DISPLAY, PRINCIPAL, TIMEOUT, WEBHOOKS
from flexportd.expose.openapi.route import Route
from flexportd.expose.security.access_policy import ACCESS_POLICY, REQUEST_ID_HEADER, response_headers
from flexportd.expose.security.authentication import BASIC_CHALLENGE, BEARER_CHALLENGE
from flexportd.expose.security.cors import preflight_headers
from flexportd.expose.security.csrf import check_form_token
from flexportd.expose.webhook_refusals import wrong_path_message
from flexportd.http.access_log import AccessLogEntry, has_token
from flexportd.http.client_ip import client_of
from flexportd.http.compression import cache_key
from flexportd.http.connections import PendingResponse
from flexportd.http.problems import FAILURE_PAGE, REQUEST_ID, as_problem, problem
from flexportd.http.responses import HTML, LARGE, NO_REFERRER, PreparedResponse, PreparedStreamResponse, whole
from flexportd.storage.database import Database
from flexportd.storage.readers import FOR_OPERATOR
from flexportd.storage.repositories.sync import ListState

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

KEY_PROBLEMS = ("key-missing", "key-unknown", "key-revoked", "key-expired")

AUDIENCE_ALLOWED = "for_audiences"
"""The attribute of a page's handler that is available to audience keys; the handler limits what it shows."""

FORM_SCOPE = "form_scope"
"""The attribute of a form's handler with the scope that a key needs; without it: admin."""

TIME_LIMIT = 30.0  # seconds for a response; streams have their own limits

_PREFLIGHT = PreparedResponse(204, b"", None)


class _Sender(NamedTuple):
    """The sender of a request that is answered without a request object; a `client_ip.Sender`."""

    remote: str | None
    headers: MultiMapping[str]


_INTERVAL = 10.0  # seconds between refreshes
_PREFIX = "/api/v1/"


class Freshness:
    """When each resource was last read completely, or its changes were."""

    def __init__(self, db: Database, clock: Clock, domains: Iterable[ResourceType]) -> None:
        self._db = db
        self._clock = clock
        self._routes = {domain.name: domain.route for domain in domains}
        self._confirmed: dict[str, float] = {}

    async def run(self) -> None:
        """Refresh periodically, until cancelled."""
        while True:
            with contextlib.suppress(UnavailableError):  # until the next refresh
                await self.refresh()
            await self._clock.sleep(_INTERVAL)

    async def refresh(self) -> None:
        """Load when each list was confirmed."""
        states = await self._db.read(lambda tx: tx.sync.list_states())
        confirmed = {route: _confirmed(states[name]) for name, route in self._routes.items() if name in states}
        self._confirmed = {route: at for route, at in confirmed.items() if at is not None}

    def age(self, path: str) -> int | None:
        """Seconds since the data of this path was last confirmed; None if unknown."""
        if not self._confirmed or not path.startswith(_PREFIX):
            return None
        at = self._confirmed.get(path[len(_PREFIX) :].partition("?")[0].partition("/")[0])
        return None if at is None else max(0, int(self._clock.now().timestamp() - at))


def _confirmed(state: ListState) -> float | None:
    moments = [at for at in (state.complete_at, state.incremental_since) if at]
    return parse(max(moments)).timestamp() if moments else None


FRESHNESS = web.AppKey("freshness", Freshness)


class RequestPipeline:
    """Handles every request of one application; `router` is aiohttp's handler."""

    def __init__(self, app: web.Application, router: Handler, *, for_operator: bool = False) -> None:
        self._cache = app[CACHE]
        self._router = router
        self._access_policy = app[ACCESS_POLICY]
        self._access_log = app[ACCESS_LOG]
        self._freshness = app[FRESHNESS]
        self._display = app[DISPLAY]
        self._webhooks = app[WEBHOOKS]
        self._for_operator = for_operator
        self._simulated = None if app[CLOCK].speed == 1 else app[CLOCK]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Respond, and log the request."""
        began, method = time.perf_counter(), request.method
        request_id = self._access_policy.request_id(request.headers)
        if self._for_operator:
            FOR_OPERATOR.set(True)  # each request runs in its own context
        if method == hdrs.METH_POST and self._is_webhook(request.raw_path):
            return await self._webhook(request, request_id)
        cached = self._from_cache(request, request_id) if method == hdrs.METH_GET else None
        response = await self._via_router(request, request_id) if cached is None else cached
        if method == hdrs.METH_POST and response.status >= 400:
            response = await self._explain_wrong_path(request, response, request_id)
        if self._simulated is not None and isinstance(response, PreparedStreamResponse):
            response.date = self._simulated.now()  # commands compute ages from it
        if self._access_log.enabled:
            self._log(request, response, began, request_id)
        return response

    def at_once(self, message: RawRequestMessage, body: bytes, remote: str | None) -> bytes | PendingResponse | None:
        """The response to a webhook, or to a request without a key for a cached response.

        It makes no request object and no task, which cost three times as much as the rest. None for every other
        request: `handle` answers it.
        """
        policy, headers = self._access_policy, message.headers
        if self._simulated is not None or policy.has_tls or policy.is_https:
            return None
        if message.method == hdrs.METH_POST:
            return self._begin_webhook(message, body, remote) if self._is_webhook(message.path) else None
        if message.method != hdrs.METH_GET or body or hdrs.IF_NONE_MATCH in headers or policy.cors_origins:
            return None
        if not policy.is_public(headers):
            return None
        began, path = time.perf_counter(), message.path
        answer = self._cache.get(cache_key(path, headers.get(hdrs.ACCEPT_ENCODING, "")))
        if answer is None or len(answer.body) > LARGE:
            return None
        request_id, age = policy.request_id(headers), self._freshness.age(path)
        request_headers = b"X-Request-Id: %b\r\n" % request_id.encode("ascii")
        if age is not None:
            request_headers += b"Age: %d\r\n" % age
        if self._access_log.enabled:
            now, client = time.perf_counter(), self._client(remote, headers)
            request_ids = (client, request_id, UNRESTRICTED.key_id)
            size, seconds = len(answer.body), now - began
            self._access_log.record(
                AccessLogEntry(now, hdrs.METH_GET, message.url.path, answer.status, size, seconds, *request_ids)
            )
        return whole(answer, request_headers)

    def _begin_webhook(self, message: RawRequestMessage, body: bytes, remote: str | None) -> PendingResponse | None:
        headers = message.headers
        if hdrs.EXPECT in headers or message.compression is not None:
            return None
        delivery = self._webhooks.begin(headers, body, lambda: self._client(remote, headers))
        if delivery is None:
            return None
        request_headers = b"X-Request-Id: %b\r\n" % self._access_policy.request_id(headers).encode("ascii")

        def render(_: object) -> bytes:
            try:
                answer = delivery.answer()
            except Exception as error:  # noqa: BLE001 (the sender gets the error, and sends the webhook again)
                answer = as_problem(None, error).response(None)
            return whole(answer, request_headers)

        return PendingResponse(delivery.stored, render)

    def _client(self, remote: str | None, headers: MultiMapping[str]) -> str:
        return client_of(_Sender(remote, headers), self._access_policy.trusted_proxies).name

    def _is_webhook(self, path: str) -> bool:
        """Whether this is the webhook's path; people add slashes at its end."""
        configured = self._display.webhook_path
        return path == configured or (path.endswith("/") and path.rstrip("/") == configured)

    async def _explain_wrong_path(
        self, request: web.Request, response: web.StreamResponse, request_id: str
    ) -> web.StreamResponse:
        """The response, or for a webhook on a wrong path a 404 that names the right one: Flexport sends it again."""
        if not await self._webhooks.is_misdirected(request):
            return response
        explained = PreparedStreamResponse(
            problem(404, "not-found", wrong_path_message(request.rel_url.raw_path, self._display), None, request_id)
        )
        explained.request_headers = _header_lines(
            {REQUEST_ID_HEADER: request_id, **response_headers(request, self._access_policy)}
        )
        return explained

    async def _webhook(self, request: web.Request, request_id: str) -> web.StreamResponse:
        # Not in the access log: the event log has each webhook, and a line would cost more than the acknowledgement.
        if hdrs.EXPECT in request.headers:
            return await self._via_router(request, request_id)
        response = await error_middleware(request, self._webhooks.receive, as_pages=False)
        if isinstance(response, PreparedStreamResponse):
            response.request_headers = b"X-Request-Id: %b\r\n" % request_id.encode("ascii")
            if self._access_policy.has_tls or self._access_policy.is_https:
                response.request_headers += _header_lines(self._access_policy.hsts(request))
        return response

    def _from_cache(self, request: web.Request, request_id: str) -> PreparedStreamResponse | None:
        """A cached response for a caller who may see everything; None for all other requests."""
        headers, path = request.headers, request.raw_path
        if hdrs.IF_NONE_MATCH in headers:
            return None
        answer = self._cache.get(cache_key(path, headers.get(hdrs.ACCEPT_ENCODING, "")))
        if answer is None:
            return None
        response = PreparedStreamResponse(answer)
        age = self._freshness.age(path)
        response.request_headers = b"X-Request-Id: %b\r\n" % request_id.encode("ascii")
        if age is not None:
            response.request_headers += b"Age: %d\r\n" % age
        if self._access_policy.is_public(headers):
            if self._access_policy.cors_origins or self._access_policy.has_tls or self._access_policy.is_https:
                response.request_headers += _header_lines(response_headers(request, self._access_policy))
            return response
        try:
            self._access_policy.check_origin(request)
            principal = request[PRINCIPAL] = self._access_policy.authenticate(request, "read")
        except FlexportdError:
            return None  # the router responds with the error
        if principal.audience is not None:
            return None
        response.request_headers += _header_lines(response_headers(request, self._access_policy))
        return response

    async def _via_router(self, request: web.Request, request_id: str) -> web.StreamResponse:
        request[REQUEST_ID] = request_id
        preflight = preflight_headers(request, self._access_policy.cors_origins)
        if preflight is not None:
            response: web.StreamResponse = PreparedStreamResponse(_PREFLIGHT)
        else:
            response = await error_middleware(request, self._router)  # aiohttp's own errors as well
        if isinstance(response, PreparedStreamResponse):
            headers = {REQUEST_ID_HEADER: request_id, **response_headers(request, self._access_policy)}
            headers |= preflight or {}
            age = self._freshness.age(request.raw_path) if request.method in (hdrs.METH_GET, hdrs.METH_HEAD) else None
            if age is not None:
                headers["Age"] = str(age)
            response.request_headers = _header_lines(headers)
        return response

    def _log(self, request: web.Request, response: web.StreamResponse, began: float, request_id: str) -> None:
        now = time.perf_counter()
        size = response.length if isinstance(response, PreparedStreamResponse) else response.body_length
        key = request.get(PRINCIPAL, UNRESTRICTED).key_id
        client = self._access_policy.client(request)
        line = AccessLogEntry(
            now, request.method, request.path, response.status, size, now - began, client, request_id, key
        )
        self._access_log.record(line)


def _header_lines(headers: Mapping[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1", "replace")


@web.middleware
async def auth_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Authorize the request, then respond within the time limit."""

    async def authorized(request: web.Request) -> web.StreamResponse:
        route = route_of(request)
        if request.match_info.http_exception is not None:
            return await handler(request)
        is_proven = _authorize(request, route)
        if route is not None and route.streams:
            return await handler(request)
        try:
            async with asyncio.timeout(TIME_LIMIT) as limit:
                request[TIMEOUT] = limit
                if route is None and not is_proven:
                    await check_form_token(request)
                return await handler(request)
        except TimeoutError:
            if not limit.expired():
                raise
            raise RefusedError(
                503, "response-timeout", f"The answer took longer than {TIME_LIMIT:g} s.", retry_after=5
            ) from None

    return await error_middleware(request, authorized)


def _authorize(request: web.Request, route: Route | None) -> bool:
    """Whether it is proven that no other site's page sent this. Raises RefusedError, ForbiddenError."""
    policy = request.app[ACCESS_POLICY]
    if route is not None:
        scope = route.scope
    elif request.path.startswith("/static/"):
        scope = None
    elif request.method in (hdrs.METH_GET, hdrs.METH_HEAD):  # pages
        scope = "read"
    else:
        scope = getattr(request.match_info.handler, FORM_SCOPE, "admin")
    is_proven = scope is None or policy.check_origin(request)
    principal = request[PRINCIPAL] = policy.authenticate(request, scope)
    if scope is not None and principal.audience is not None:
        if route is None and not getattr(request.match_info.handler, AUDIENCE_ALLOWED, False):
            raise web.HTTPNotFound  # an audience key has few pages; the others do not exist for it
        if route is not None and not route.audience_allowed:
            raise ForbiddenError("This key can only open its own shipments.")
    return is_proven


def principal_of(request: web.Request) -> Principal | None:
    """The caller, also where no route was found; None for one who was refused."""
    try:
        return request.app[ACCESS_POLICY].authenticate(request, "read")
    except RefusedError:
        return None


def route_of(request: web.Request) -> Route | None:
    """The declared route of a request; None for pages and unknown paths."""
    route: Route | None = getattr(request.match_info.handler, "route", None)
    return route


async def error_middleware(request: web.Request, handler: Handler, *, as_pages: bool = True) -> web.StreamResponse:
    """Turn errors into problem documents, without the text of unknown ones; `as_pages`: into pages for browsers."""
    try:
        return await handler(request)
    except Exception as error:
        if isinstance(error, web.HTTPException) and error.status < 400:
            raise
        if request.writer.output_size and request.transport is not None:
            request.transport.abort()  # a body has begun, and must not look complete
            raise
        document = as_problem(request, error)
    is_page = as_pages and _wants_html(request)
    if document.slug in KEY_PROBLEMS:
        document.headers["www_authenticate"] = BASIC_CHALLENGE if is_page else BEARER_CHALLENGE
    if is_page:
        if has_token(request.rel_url):
            document.headers["referrer_policy"] = NO_REFERRER
        body = await request.app[FAILURE_PAGE](request, document.status, document.detail)
        answer = PreparedResponse(document.status, body, HTML, **document.headers)
    else:
        answer = document.response(request.get(REQUEST_ID))
    # The unread rest of a body cannot be distinguished from a next request.
    return PreparedStreamResponse(answer, close=not request.content.is_eof())


def _wants_html(request: web.Request) -> bool:
    """Whether a browser requests a page: programs get problem documents, also those that accept any text (Java)."""
    return (
        "text/html" in request.headers.get(hdrs.ACCEPT, "")
        and not request.path.startswith("/api/")
        and (request.method in (hdrs.METH_GET, hdrs.METH_HEAD) or route_of(request) is None)
        and FAILURE_PAGE in request.app
    )
