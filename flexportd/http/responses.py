"""Prepared HTTP responses: encoded once, sent in one piece.

aiohttp builds and serialises the headers of each response, which costs more than the lookup of an object. A
`PreparedResponse` holds the finished bytes; `PreparedStreamResponse` adds only the date and the connection header.
It overrides what aiohttp's server calls on a response (`prepare`, `write_eof`) and sets `_eof_sent`, which `prepared`
reads; the version is bounded in pyproject.toml and tests/integration/test_responses.py pins the bytes on the wire.
"""

import functools
from datetime import datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"

# On every response. Pages may load nothing from elsewhere and cannot be framed.
SECURITY_HEADERS = (
    "X-Content-Type-Options: nosniff\r\n"
    "X-Frame-Options: DENY\r\n"
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'\r\n"
)

NO_STORE = "no-store"
"""Proxies and browsers must not store an account's data; programs may keep an ETag and send If-None-Match."""

NO_REFERRER = "no-referrer"
"""The Referrer-Policy of everything that is not a page, and of pages with a token in their URL."""

_PAGE_REFERRER_POLICY = "same-origin"  # with "no-referrer" the forms of a page say `Origin: null`

_SECURITY_HEADERS = dict(line.split(": ", 1) for line in SECURITY_HEADERS.strip().split("\r\n"))

LARGE = 64 << 10  # bytes of a body beyond which a response waits until the client has read most of it


def add_security_headers(response: web.StreamResponse) -> None:
    """Add the headers that every prepared response has to a streamed one."""
    response.headers.update(_SECURITY_HEADERS)
    response.headers["Referrer-Policy"] = NO_REFERRER
    response.headers[hdrs.CACHE_CONTROL] = NO_STORE


class PreparedResponse:
    """The finished bytes of one response, to be sent any number of times."""

    __slots__ = ("body", "etag", "head", "status")

    def __init__(self, status: int, body: bytes, content_type: str | None = JSON, **headers: str) -> None:
        """Further headers are keywords: `retry_after="5"` is `Retry-After: 5`. Cache-Control is no-store by default."""
        length = None if status == 304 else len(body)
        self.head = (
            _common_head(status, length, content_type) if not headers else _head(status, length, content_type, headers)
        )
        self.body = body
        self.status = status
        self.etag = headers.get("etag")

    def size(self) -> int:
        """Its size in bytes."""
        return len(self.head) + len(self.body)


def _head(status: int, length: int | None, content_type: str | None, headers: dict[str, str]) -> bytes:
    headers.setdefault("cache_control", NO_STORE)
    headers.setdefault("referrer_policy", _PAGE_REFERRER_POLICY if content_type == HTML else NO_REFERRER)
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    if length is not None:
        lines.append(f"Content-Length: {length}")
    lines += [f"{name.replace('_', '-').title()}: {_clean(value)}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n" + SECURITY_HEADERS).encode("latin-1")


@functools.lru_cache(maxsize=64)
def _common_head(status: int, length: int | None, content_type: str | None) -> bytes:
    """The head of a response without headers of its own, such as the acknowledgement of a webhook."""
    return _head(status, length, content_type, {})


def _clean(value: str) -> str:
    """A value without line breaks, which could inject another header, in latin-1."""
    return value.replace("\r", " ").replace("\n", " ").encode("latin-1", "replace").decode("latin-1")


class PreparedStreamResponse(web.StreamResponse):
    """Sends a PreparedResponse. Middleware and signals cannot change it: everything is in the bytes already."""

    def __init__(self, answer: PreparedResponse, *, close: bool = False) -> None:
        super().__init__(status=answer.status)
        self._answer = answer
        self._close = close
        self.request_headers = b""  # header lines that depend on the request: its id, its rate
        self.date: datetime | None = None  # a simulated time; None: the machine's

    @property
    def length(self) -> int:
        """The size of its body in bytes."""
        return len(self._answer.body)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write head and body to the transport at once."""
        if self._eof_sent:
            return None
        keep_alive = request.keep_alive and not self._close
        self._keep_alive = keep_alive
        transport = request.transport
        self._eof_sent = True
        if transport is None or transport.is_closing():
            return None
        answer = self._answer
        last = b"\r\nConnection: close\r\n\r\n" if not keep_alive else _HEAD_END[request.version.minor == 0]
        date = rfc822_formatted_time() if self.date is None else format_datetime(self.date, usegmt=True)
        head = b"%b%bDate: %b%b" % (answer.head, self.request_headers, date.encode("ascii"), last)
        if request.method == hdrs.METH_HEAD or not answer.body:
            transport.write(head)
        elif len(answer.body) < LARGE:
            transport.write(head + answer.body)
        else:
            transport.writelines((head, answer.body))
        if transport.get_write_buffer_size() > LARGE:
            # A slow reader delays its own next request, and holds no more than one body in memory.
            await request.writer.drain()
        self._body_length = len(answer.body)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send."""


def whole(answer: PreparedResponse, request_headers: bytes = b"") -> bytes:
    """All bytes of the response to a GET or POST of HTTP/1.1 on a connection that stays open."""
    return b"%b%bDate: %b\r\n\r\n%b" % (
        answer.head,
        request_headers,
        rfc822_formatted_time().encode("ascii"),
        answer.body,
    )


_HEAD_END = {False: b"\r\n\r\n", True: b"\r\nConnection: keep-alive\r\n\r\n"}


def not_modified(etag: str, **headers: str) -> PreparedResponse:
    """304 for this ETag, with further headers that the full response would have."""
    return PreparedResponse(304, b"", None, etag=etag, **headers)


def if_none_match(request: web.BaseRequest, etag: str | None) -> bool:
    """Whether If-None-Match names this ETag (or any)."""
    wanted: Any = request.headers.get(hdrs.IF_NONE_MATCH)
    if wanted is None or etag is None:
        return False
    return wanted.strip() == "*" or any(part.strip().removeprefix("W/") == etag for part in wanted.split(","))
