"""What every request passes first: its id, the short way for what lies ready, the headers of its own, the access log.

Nine requests in ten are webhooks, or ask for an answer that lies ready, and routing costs more than answering them.
Whatever is not plainly one of these goes the long way, through aiohttp's router, which gives the same answer.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from aiohttp import hdrs, web
from aiohttp.http_parser import RawRequestMessage
from multidict import MultiMapping

from flexportd.core.access.keys import UNRESTRICTED
from flexportd.errors import FlexportdError
from flexportd.expose.authorization_middleware import error_middleware
from flexportd.expose.context import ACCESS_LOG, CACHE, CLOCK, DISPLAY, FRESHNESS, WEBHOOKS
from flexportd.expose.request_keys import PRINCIPAL, RESPONSE_HEADERS
from flexportd.expose.security.access_policy import ACCESS_POLICY, REQUEST_ID_HEADER, response_headers
from flexportd.expose.webhook_refusals import wrong_path_message
from flexportd.http.access_log import AccessLogEntry
from flexportd.http.client_ip import client_of
from flexportd.http.compression import cache_key
from flexportd.http.connections import PendingResponse
from flexportd.http.problems import REQUEST_ID, answer_of, as_problem, problem
from flexportd.http.responses import LARGE, PreparedResponse, PreparedStreamResponse, whole
from flexportd.storage.readers import FOR_OPERATOR


class _Sender(NamedTuple):
    """Who sends what is answered without a request object; see `peers.Sender`."""

    remote: str | None
    headers: MultiMapping[str]


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_PREFLIGHT = PreparedResponse(204, b"", None)


class RequestPipeline:
    """Stands before an application's own handler."""

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
        """Answer, and log."""
        began, method = time.perf_counter(), request.method
        request_id = self._access_policy.request_id(request.headers)
        if self._for_operator:
            FOR_OPERATOR.set(True)  # each request runs in a context of its own
        if method == hdrs.METH_POST and self._is_webhook(request.raw_path):
            return await self._webhook(request, request_id)
        found = self._from_cache(request, request_id) if method == hdrs.METH_GET else None
        response = await self._via_router(request, request_id) if found is None else found
        if method == hdrs.METH_POST and response.status >= 400:
            response = await self._explain_wrong_path(request, response, request_id)
        if self._simulated is not None and isinstance(response, PreparedStreamResponse):
            response.date = self._simulated.now()  # commands tell ages by it
        if self._access_log.enabled:
            self._log(request, response, began, request_id)
        return response

    def at_once(self, message: RawRequestMessage, body: bytes, remote: str | None) -> bytes | PendingResponse | None:
        """The response to a webhook, or to a request without a key for a cached response.

        No request object and no task is made, which cost three times as much as all else. None for every other
        request: `handle` answers it.
        """
        door, headers = self._access_policy, message.headers
        if self._simulated is not None or door.has_tls or door.is_https:
            return None
        if message.method == hdrs.METH_POST:
            return self._begin_webhook(message, body, remote) if self._is_webhook(message.path) else None
        if message.method != hdrs.METH_GET or body or hdrs.IF_NONE_MATCH in headers or door.cors_origins:
            return None
        if not door.is_public(headers):
            return None
        began, path = time.perf_counter(), message.path
        answer = self._cache.get(cache_key(path, headers.get(hdrs.ACCEPT_ENCODING, "")))
        if answer is None or len(answer.body) > LARGE:
            return None
        request_id, age = door.request_id(headers), self._freshness.age(path)
        request_headers = b"X-Request-Id: %b\r\n" % request_id.encode("ascii")
        if age is not None:
            request_headers += b"Age: %d\r\n" % age
        if self._access_log.enabled:
            now, client = time.perf_counter(), self._client(remote, headers)
            size = len(answer.body)
            named = (client, request_id, UNRESTRICTED.key_id)
            self._access_log.record(
                AccessLogEntry(now, hdrs.METH_GET, message.url.path, answer.status, size, now - began, *named)
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
            except Exception as error:  # noqa: BLE001 (told to the sender, who sends it again)
                answer = answer_of(as_problem(None, error), None)
            return whole(answer, request_headers)

        return PendingResponse(delivery.stored, render)

    def _client(self, remote: str | None, headers: MultiMapping[str]) -> str:
        return client_of(_Sender(remote, headers), self._access_policy.trusted_proxies).name

    def _is_webhook(self, path: str) -> bool:
        """Whether this is the webhook's path; people add slashes at its end."""
        own = self._display.webhook_path
        return path == own or (path.endswith("/") and path.rstrip("/") == own)

    async def _explain_wrong_path(
        self, request: web.Request, response: web.StreamResponse, request_id: str
    ) -> web.StreamResponse:
        """The answer to a request that is refused; a webhook that missed its path is told the right one.

        It is a 404, so that Flexport sends the webhook again.
        """
        if not await self._webhooks.is_misdirected(request):
            return response
        found = PreparedStreamResponse(
            problem(404, "not-found", wrong_path_message(request.rel_url.raw_path, self._display), None, request_id)
        )
        found.request_headers = _header_lines(
            {REQUEST_ID_HEADER: request_id, **response_headers(request, self._access_policy)}
        )
        return found

    async def _webhook(self, request: web.Request, request_id: str) -> web.StreamResponse:
        # The event log tells of each; a line in the access log would cost more than the acknowledgement.
        if hdrs.EXPECT in request.headers:
            return await self._via_router(request, request_id)
        response = await error_middleware(request, self._webhooks.receive, as_pages=False)
        if isinstance(response, PreparedStreamResponse):
            response.request_headers = b"X-Request-Id: %b\r\n" % request_id.encode("ascii")
            if self._access_policy.has_tls or self._access_policy.is_https:
                response.request_headers += _header_lines(self._access_policy.hsts(request))
        return response

    def _from_cache(self, request: web.Request, request_id: str) -> PreparedStreamResponse | None:
        """The short way: an answer that lies ready, for who may see everything."""
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
            viewer = request[PRINCIPAL] = self._access_policy.authenticate(request, "read")
        except FlexportdError:
            return None  # the long way says what is wrong
        if viewer.audience is not None:
            return None
        response.request_headers += _header_lines(response_headers(request, self._access_policy))
        return response

    async def _via_router(self, request: web.Request, request_id: str) -> web.StreamResponse:
        request[REQUEST_ID] = request_id
        preflight = self._access_policy.preflight(request)
        if preflight is not None:
            request[RESPONSE_HEADERS] = preflight
            response: web.StreamResponse = PreparedStreamResponse(_PREFLIGHT)
        else:
            response = await error_middleware(
                request, self._router
            )  # what goes wrong before the entrance is told as well
        if isinstance(response, PreparedStreamResponse):
            own = {REQUEST_ID_HEADER: request_id, **response_headers(request, self._access_policy)}
            age = self._freshness.age(request.raw_path) if request.method in (hdrs.METH_GET, hdrs.METH_HEAD) else None
            response.request_headers = _header_lines(own if age is None else own | {"Age": str(age)})
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
    """Headers as they are sent."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1", "replace")
