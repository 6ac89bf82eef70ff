"""The API's description of itself, for programs and for people."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from flexportd.answers import HTML
from flexportd.expose.contract.route import Returns, Route
from flexportd.expose.door import DOOR
from flexportd.expose.parts import PARTS
from flexportd.expose.responding import respond

_LOCAL = "http://localhost:8080"  # in examples, where no public_url is configured


def _tags(request: web.Request) -> tuple[str, ...]:
    """Kept until the settings change; the control socket, by which no key is asked for, has one of its own."""
    return ("description",) if request.app[DOOR].gate is not None else ()


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/openapi.json`."""
    return await respond(request, lambda: _document(request), _tags(request))


async def read(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/docs`."""

    async def build() -> bytes:
        url, document = request.app[PARTS].shown.public_url or _LOCAL, await _document(request)
        return await asyncio.to_thread(_page, document, url)

    return await respond(request, build, _tags(request), HTML)


async def _document(request: web.Request) -> dict[str, Any]:
    routes, keys = request.app[PARTS].routes, request.app[DOOR].asks_for_keys
    return await asyncio.to_thread(_made, routes, keys=keys)


# What makes them is imported when somebody asks, in a thread: few daemons are asked, and it takes memory.
def _made(routes: Sequence[Route], *, keys: bool) -> dict[str, Any]:
    from flexportd.expose.contract.openapi import document  # noqa: PLC0415

    return document(routes, keys=keys)


def _page(document: dict[str, Any], url: str) -> bytes:
    from flexportd.expose.contract.reading import page  # noqa: PLC0415

    return page(document, url)


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/openapi.json",
        handler=show,
        name="get_description",
        tag="about",
        summary="This description (OpenAPI 3.1)",
        scope=None,
        returns=(Returns(about="The description.", model=dict[str, Any]),),
    ),
    Route(
        method="GET",
        path="/api/v1/docs",
        handler=read,
        name="read_description",
        tag="about",
        summary="This description as a page to read, without any network",
        scope=None,
        returns=(Returns(about="The page.", media=("text/html",)),),
    ),
)
