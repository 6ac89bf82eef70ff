"""The API documentation: OpenAPI for programs, a page for people."""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from aiohttp import web

from flexportd.expose.cached_response import respond
from flexportd.expose.context import DISPLAY, SERVER_INFO
from flexportd.expose.dashboard.render import render
from flexportd.expose.openapi.route import SERVED_ROUTES, Response, Route
from flexportd.expose.openapi.router import route
from flexportd.expose.security.access_policy import ACCESS_POLICY, configured_url
from flexportd.http.responses import HTML

_LOCAL = "http://localhost:8080"  # in examples, if the daemon listens only on Unix sockets


def _cache_tags(request: web.Request) -> tuple[str, ...]:
    """Cached until the settings change; not for the control socket, which requires no key."""
    return ("description",) if request.app[ACCESS_POLICY].authenticator is not None else ()


class _DocumentCache:
    """The last document of each kind. Built one at a time: it takes long, and needs no key."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._made: dict[Callable[..., bytes], tuple[Hashable, bytes]] = {}

    async def get(self, make: Callable[..., bytes], routes: Sequence[Route], *rest: Hashable) -> bytes:
        """The result of `make` for these arguments."""
        async with self._lock:
            cached = self._made.get(make)
            if cached is None or cached[0] != rest:
                cached = self._made[make] = rest, await asyncio.to_thread(make, routes, *rest)
            return cached[1]


_caches: WeakKeyDictionary[web.Application, _DocumentCache] = WeakKeyDictionary()


@route(
    "GET",
    "/openapi.json",
    tag="documentation",
    returns=Response(description="The OpenAPI document.", model=dict[str, Any]),
    scope=None,
)
async def get_openapi(request: web.Request) -> web.StreamResponse:
    """Get the OpenAPI 3.1 description of this API."""
    needs_key = request.app[ACCESS_POLICY].requires_key
    return await respond(
        request,
        lambda: _cache_of(request).get(_openapi_json, request.app[SERVED_ROUTES], needs_key),
        _cache_tags(request),
    )


@route("GET", "/docs", tag="documentation", returns=Response(description="The page.", media=("text/html",)), scope=None)
async def get_api_docs(request: web.Request) -> web.StreamResponse:
    """Get the API documentation page (works offline)."""
    needs_key = request.app[ACCESS_POLICY].requires_key
    routes, url = request.app[SERVED_ROUTES], configured_url(request.app[DISPLAY], request.app[SERVER_INFO]) or _LOCAL
    return await respond(
        request, lambda: _cache_of(request).get(_docs_html, routes, needs_key, url), _cache_tags(request), HTML
    )


def _cache_of(request: web.Request) -> _DocumentCache:
    return _caches.setdefault(request.app, _DocumentCache())


# Imported on the first request, in a thread: few daemons serve one, and the modules take memory.
def _openapi_json(routes: Sequence[Route], needs_key: bool) -> bytes:
    from flexportd.expose.openapi.document import openapi_document  # noqa: PLC0415

    return msgspec.json.encode(openapi_document(routes, keys=needs_key))


def _docs_html(routes: Sequence[Route], needs_key: bool, url: str) -> bytes:
    from flexportd.expose.docs_page import api_page  # noqa: PLC0415

    return render("api.html", api_page(routes, url, keys=needs_key))
