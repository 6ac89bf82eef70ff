"""Responses of documents and pages: cached, with ETag and 304, compressed."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Any, NamedTuple

import msgspec
from aiohttp import hdrs, web

from flexportd.cache import kind_of
from flexportd.expose.context import CACHE, CANONICAL_PATH, PRINCIPAL
from flexportd.expose.openapi.route import Route
from flexportd.http.compression import cache_key, compress, negotiate
from flexportd.http.responses import JSON, PreparedResponse, PreparedStreamResponse, if_none_match, not_modified

_MIN_COMPRESSED = 1400  # bytes: below, it fits a packet anyway

_LARGE = 256 << 10  # bytes: a larger body is hashed in a thread

_encode = msgspec.json.Encoder().encode

Producer = Callable[[], Awaitable[Any]]
"""Reads and builds a document, the bytes of a page, or an `EncodedPage`."""


class EncodedPage(NamedTuple):
    """A page of a list as JSON, and the cursor of the next."""

    body: bytes
    next: str | None


def encode_page(rows: Iterable[Any], following: str | None, as_of: str | None) -> EncodedPage:
    """A page of a list. Each row is encoded separately, so that other threads can run in between."""
    data = b",".join([_encode(row) for row in rows])
    return EncodedPage(b'{"data":[%b],"next":%b,"as_of":%b}' % (data, _encode(following), _encode(as_of)), following)


async def respond(
    request: web.Request,
    build: Producer,
    tags: tuple[Hashable, ...] = (),
    content_type: str = JSON,
    kind: str | None = None,
) -> web.StreamResponse:
    """Respond with what `build` returns. With tags it is cached until something with one of them changes.

    `kind` selects the maximum age in `[cache] ttl`; by default it follows from the first tag.
    """
    cache, accepted = request.app[CACHE], request.headers.get(hdrs.ACCEPT_ENCODING, "")
    key = cache_key(request.raw_path, accepted)
    if not _is_shareable(request):
        tags = ()
    answer = cache.get(key) if tags else None
    if answer is None and tags:
        kind = kind or kind_of(tags)
        answer = await cache.fetch_behind(key, kind)
    if answer is None:
        epoch = cache.epoch
        document = await build()
        answer = await _prepare(document, content_type, link=_link(request, document), coding=negotiate(accepted))
        if tags:
            cache.put(key, answer, tags, epoch, kind)
    if hdrs.IF_NONE_MATCH in request.headers and if_none_match(request, answer.etag):
        return PreparedStreamResponse(not_modified(answer.etag or "", vary="Accept-Encoding"))
    return PreparedStreamResponse(answer)


async def respond_with(request: web.Request, document: Any) -> web.StreamResponse:
    """Respond with a document that is ready, such as the result of an action."""

    async def build() -> Any:
        return document

    return await respond(request, build)


def _is_shareable(request: web.Request) -> bool:
    """Whether all callers with the scope `read` get the same response: the cache fast path gives it to each of them."""
    route: Route | None = getattr(request.match_info.handler, "route", None)
    sees_all = PRINCIPAL not in request or request[PRINCIPAL].audience is None
    # A reference may resolve to another object later, without a change of this one.
    return sees_all and CANONICAL_PATH not in request and (route is None or route.scope in (None, "read"))


async def _prepare(document: Any, content_type: str, *, link: str | None, coding: str | None) -> PreparedResponse:
    body = document.body if isinstance(document, EncodedPage) else document
    body = body if isinstance(body, bytes) else _encode(body)
    etag = _etag(body) if len(body) < _LARGE else await asyncio.to_thread(_etag, body)
    headers = {"etag": etag, "vary": "Accept-Encoding"}
    if link is not None:
        headers["link"] = link
    if coding is not None and len(body) >= _MIN_COMPRESSED:
        headers["content_encoding"] = coding
        headers["etag"] = f'{etag[:-1]}-{coding}"'
        body = await asyncio.to_thread(compress, body, coding)
    return PreparedResponse(200, body, content_type, **headers)


def _etag(body: bytes) -> str:
    return f'"{hashlib.blake2b(body, digest_size=9).hexdigest()}"'


def _link(request: web.Request, document: Any) -> str | None:
    cursor = document.next if isinstance(document, EncodedPage) else None
    if isinstance(document, dict):
        cursor = document.get("next")
    return None if cursor is None else f'<{request.rel_url.update_query(cursor=cursor)}>; rel="next"'
