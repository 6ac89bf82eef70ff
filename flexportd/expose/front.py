"""What every request passes first: its id, the short way for what lies ready, the headers of its own, the access log.

Nine requests in ten are webhooks, or ask for an answer that lies ready, and routing costs more than answering them.
Whatever is not plainly one of these goes the long way, through aiohttp's router, which gives the same answer.
"""

import time
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from flexportd.answers import Answer, EncodedResponse
from flexportd.clock import Clock
from flexportd.core.keys import EVERYTHING
from flexportd.expose.access import Line, shown
from flexportd.expose.carried import HEADERS, REQUEST_ID, VIEWER
from flexportd.expose.coding import key_of
from flexportd.expose.door import Door, own_headers
from flexportd.expose.entrance import problems
from flexportd.expose.parts import Parts

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_PREFLIGHT = Answer(204, b"", None, cache_control="no-store")


class Front:
    """Stands before an application's own handler."""

    def __init__(self, parts: Parts, long_way: Handler, door: Door) -> None:
        self._parts = parts
        self._cache = parts.cache
        self._long_way = long_way
        self._door = door
        self._access = parts.access
        self._freshness = parts.freshness
        self._clock: Clock = parts.clock

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer, and log."""
        began = time.perf_counter()
        request_id = self._door.request_id(request.headers)
        request[REQUEST_ID] = request_id
        if request.method == hdrs.METH_POST and request.raw_path == self._parts.shown.webhook_path:
            return await self._webhook(request, request_id)
        response: web.StreamResponse = self._ready(request) or await self._long(request)
        if isinstance(response, EncodedResponse):
            response.extra = self._extra(request, request_id)
        if self._access.enabled:
            self._log(request, response, began)
        return response

    async def _webhook(self, request: web.Request, request_id: str) -> web.StreamResponse:
        # The event log tells of each; a line in the access log would cost more than the acknowledgement.
        if hdrs.EXPECT in request.headers:
            response = await self._long_way(request)
        else:
            response = await problems(request, self._parts.webhook)
        if isinstance(response, EncodedResponse):
            response.extra = b"X-Request-Id: %b\r\n" % request_id.encode("ascii")
        return response

    def _ready(self, request: web.Request) -> EncodedResponse | None:
        """The short way: an answer that lies ready, for who may see everything."""
        headers = request.headers
        if request.method != hdrs.METH_GET or hdrs.IF_NONE_MATCH in headers:
            return None
        path = request.raw_path
        answer = self._cache.get(key_of(path, headers.get(hdrs.ACCEPT_ENCODING, "")))
        if answer is None:
            return None
        try:
            self._door.check_origin(request)
            viewer = self._door.enter(request, "read")
        except Exception:  # noqa: BLE001 (the long way says what is wrong)
            return None
        if viewer.audience is not None:
            return None
        request[VIEWER] = viewer
        return EncodedResponse(answer)

    async def _long(self, request: web.Request) -> web.StreamResponse:
        preflight = self._door.preflight(request)
        if preflight is not None:
            request[HEADERS] = preflight
            return EncodedResponse(_PREFLIGHT)
        return await self._long_way(request)

    def _extra(self, request: web.Request, request_id: str) -> bytes:
        """The header lines of this request's own."""
        lines = b"X-Request-Id: %b\r\n" % request_id.encode("ascii")
        if request.method == hdrs.METH_GET:
            age = self._freshness.age(request.path)
            if age is not None:
                lines += b"Age: %d\r\n" % age
        for name, value in own_headers(request, self._door).items():
            lines += f"{name}: {value}\r\n".encode("latin-1", "replace")
        return lines

    def _log(self, request: web.Request, response: web.StreamResponse, began: float) -> None:
        viewer = request.get(VIEWER, EVERYTHING)
        self._access.note(
            Line(
                timestamp=self._clock.stamp(),
                method=request.method[:20],
                path=shown(request.path),
                status=response.status,
                bytes=response.length if isinstance(response, EncodedResponse) else response.body_length,
                ms=round((time.perf_counter() - began) * 1000, 3),
                client=self._door.client(request),
                request_id=request[REQUEST_ID],
                key=viewer.key_id,
            )
        )
