"""The API's description of itself, for programs and for people."""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from aiohttp import web

from flexportd.expose.base_url import configured_url
from flexportd.expose.cached_response import respond
from flexportd.expose.context import PARTS
from flexportd.expose.openapi.route import Returns, Route
from flexportd.expose.security.access_policy import DOOR
from flexportd.http.responses import HTML

_LOCAL = "http://localhost:8080"  # in examples, where only Unix sockets are open


def _tags(request: web.Request) -> tuple[str, ...]:
    """Kept until the settings change; the control socket, by which no key is asked for, has one of its own."""
    return ("description",) if request.app[DOOR].gate is not None else ()


class _Kept:
    """What was made last, each under what it was made of. One at a time: it takes long, and anybody may ask."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._made: dict[Callable[..., bytes], tuple[Hashable, bytes]] = {}

    async def get(self, make: Callable[..., bytes], routes: Sequence[Route], *rest: Hashable) -> bytes:
        """What `make` gives for these."""
        async with self._lock:
            kept = self._made.get(make)
            if kept is None or kept[0] != rest:
                kept = self._made[make] = rest, await asyncio.to_thread(make, routes, *rest)
            return kept[1]


_kept: WeakKeyDictionary[web.Application, _Kept] = WeakKeyDictionary()


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/openapi.json`."""
    asks = request.app[DOOR].asks_for_keys
    return await respond(request, lambda: _of(request).get(_made, request.app[PARTS].routes, asks), _tags(request))


async def read(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/docs`."""
    parts, asks = request.app[PARTS], request.app[DOOR].asks_for_keys
    routes, url = parts.routes, configured_url(parts) or _LOCAL
    return await respond(request, lambda: _of(request).get(_page, routes, asks, url), _tags(request), HTML)


def _of(request: web.Request) -> _Kept:
    return _kept.setdefault(request.app, _Kept())


# What makes them is imported when somebody asks, in a thread: few daemons are asked, and it takes memory.
def _document(routes: Sequence[Route], asks: bool) -> dict[str, Any]:
    from flexportd.expose.openapi.document import document  # noqa: PLC0415

    return document(routes, keys=asks)


def _made(routes: Sequence[Route], asks: bool) -> bytes:
    return msgspec.json.encode(_document(routes, asks))


def _page(routes: Sequence[Route], asks: bool, url: str) -> bytes:
    from flexportd.expose.openapi.docs_page import page  # noqa: PLC0415

    return page(_document(routes, asks), url)


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/openapi.json",
        handler=show,
        name="get_openapi",
        tag="documentation",
        summary="OpenAPI 3.1 description of this API",
        scope=None,
        returns=(Returns(about="The OpenAPI document.", model=dict[str, Any]),),
    ),
    Route(
        method="GET",
        path="/api/v1/docs",
        handler=read,
        name="get_api_docs",
        tag="documentation",
        summary="API documentation page (works offline)",
        scope=None,
        returns=(Returns(about="The page.", media=("text/html",)),),
    ),
)
