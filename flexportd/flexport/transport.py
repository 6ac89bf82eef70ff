"""One HTTP exchange with Flexport, and every way in which it can go wrong in our words.

Only here aiohttp's errors are caught. `sent` of the errors raised is False where it is certain that
the request never left: the connection was not made.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

from flexportd.clock import Clock
from flexportd.escape import escape_control
from flexportd.flexport.deadline import http_date, retry_after
from flexportd.flexport.error_sentences import exception_message
from flexportd.flexport.errors import (
    MAX_BODY,
    ErrorDetails,
    FlexportError,
    FlexportUnavailableError,
    MalformedResponseError,
    ResponseTooLargeError,
)
from flexportd.flexport.proxy import Proxy

CONNECT_TIMEOUT = 10.0  # seconds
MAX_ERROR_BODY = 64 << 10  # bytes of a failure's body that are read: enough to parse what it says
_REQUEST_IDS = ("X-Request-Id", "CF-Ray")

_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
_PROXY = (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError)
_PROTOCOL_ERRORS = (aiohttp.ClientPayloadError, aiohttp.ClientResponseError, aiohttp.InvalidURL)


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent; `url` is complete and percent-encoded."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an exchange may take as a whole, and how large its answer may be."""

    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; the times are ours, `received` that of the head."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    started: datetime
    received: datetime
    started_at: str | None = None  # a stamp on Flexport's clock, where that is known

    def error_details(self, *, always: bool = False) -> ErrorDetails:
        """What the answer tells beside its data; the beginning of its body only for a failure, or `always`."""
        now = http_date(self.headers.get("Date", "")) or self.received
        wait = retry_after(self.headers.get("Retry-After"), now)
        found = next((self.headers[name] for name in _REQUEST_IDS if self.headers.get(name)), None)
        kept = self.body[:MAX_BODY] if always or self.status >= 300 else b""
        return ErrorDetails(self.status, escape_control(found, 100) if found else None, wait, kept, self.started_at)

    @property
    def media_type(self) -> str:
        """Of Content-Type the part before the parameters, in lower case; empty without one."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()


@dataclass(slots=True)
class RequestProgress:
    """How far one request has come."""

    connected: bool = False


@dataclass(frozen=True, slots=True)
class HttpSession:
    """Connections to Flexport, all through `proxy` if there is one; close it in the end."""

    http: aiohttp.ClientSession
    proxy: Proxy | None = None

    @classmethod
    def open(cls, connector: aiohttp.TCPConnector, user_agent: str | None, proxy: Proxy | None) -> "HttpSession":
        """No cookies, and no proxies or passwords from the environment."""
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(_on_connected)
        trace.on_connection_reuseconn.append(_on_connected)
        http = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={} if user_agent is None else {"User-Agent": user_agent},
            trust_env=False,
            raise_for_status=False,
            trace_configs=[trace],
        )
        return cls(http, proxy)

    @property
    def user_agent(self) -> str | None:
        """What every request names."""
        return self.http.headers.get("User-Agent")

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self.http.closed

    async def close(self) -> None:
        """Close all connections."""
        await self.http.close()


async def _on_connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _what: object) -> None:
    context.trace_request_ctx.connected = True


def open_session(concurrency: int, user_agent: str, proxy: Proxy | None = None) -> HttpSession:
    """The one session: as many connections as requests, and one more for the token."""
    return HttpSession.open(aiohttp.TCPConnector(limit=concurrency + 1, ttl_dns_cache=60), user_agent, proxy)


async def exchange(session: HttpSession, request: Request, clock: Clock, limits: Limits) -> Reply:
    """Send and read the whole answer. Redirects are not followed.

    Raises FlexportUnavailableError, MalformedAnswerError, AnswerTooLargeError.
    """
    patience = aiohttp.ClientTimeout(total=limits.seconds, connect=min(CONNECT_TIMEOUT, limits.seconds))
    started = clock.now()
    response = await open_response(session, request, patience)
    try:
        received = clock.now()
        failed = response.status >= 300
        body = bytearray()
        async for chunk in chunks(response, request):
            body += chunk
            if failed and len(body) >= MAX_ERROR_BODY:
                break
            if not failed and len(body) > limits.bytes:
                said = Reply(response.status, response.headers, b"", started, received).error_details()
                raise ResponseTooLargeError(
                    f"Flexport's answer is larger than {limits.bytes} bytes", said, detail=describe(request)
                )
        return Reply(response.status, response.headers, bytes(body), started, received)
    finally:
        response.close()  # what was read to its end has given its connection back already


async def open_response(
    session: HttpSession, request: Request, limits: aiohttp.ClientTimeout
) -> aiohttp.ClientResponse:
    """Send, and read the answer's head; the body is to be read with `chunks`, and the response to be closed."""
    url, proxy, progress = URL(request.url, encoded=True), session.proxy, RequestProgress()
    headers, through = request.headers, dict[str, Any]()
    if proxy is not None:
        through = {"proxy": proxy.url, "proxy_headers": proxy.headers}
        if url.scheme == "http":  # there is no CONNECT: the request itself is for the proxy
            headers = {**headers, **proxy.headers}
    with translate_errors(request, proxy, progress):
        response = await session.http.request(
            request.method,
            url,
            headers=headers,
            data=request.body,
            allow_redirects=False,
            timeout=limits,
            trace_request_ctx=progress,
            **through,
        )
    if proxy is not None and url.scheme == "http" and response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        response.close()
        refusal = proxy.refusal(response.status, "", f"{url.host}:{url.port}")
        raise FlexportUnavailableError(f"{describe(request)}: {refusal}", sent=False)
    return response


async def chunks(response: aiohttp.ClientResponse, request: Request) -> AsyncIterator[bytes]:
    """The body's bytes as they come."""
    while True:
        with translate_errors(request):
            chunk = await response.content.readany()
        if not chunk:
            return
        yield chunk


@contextmanager
def translate_errors(
    request: Request, proxy: Proxy | None = None, progress: RequestProgress | None = None
) -> Iterator[None]:
    """Whatever aiohttp raises comes out in our words. Nothing of others may run inside."""
    try:
        yield
    except (aiohttp.ClientError, OSError, ValueError) as error:
        if proxy is not None and progress is not None and not progress.connected and not _is_url_error(error):
            failure = proxy.failure(error, URL(request.url, encoded=True))
            raise FlexportUnavailableError(f"{describe(request)}: {failure}", sent=False) from error
        raise translate(error, request) from error


def _is_url_error(error: Exception) -> bool:
    """Whether an error is about the URL itself, before any connection."""
    return isinstance(error, aiohttp.InvalidURL) or not isinstance(error, aiohttp.ClientError | OSError)


def translate(error: Exception, request: Request) -> FlexportError:
    """The error of ours for one of aiohttp's, of the operating system's, or of a time-out."""
    sent = not isinstance(error, _NOT_SENT)
    senseless = isinstance(error, _PROTOCOL_ERRORS) or not isinstance(error, aiohttp.ClientError | OSError)
    kind = MalformedResponseError if senseless and not isinstance(error, _PROXY) else FlexportUnavailableError
    detail = f"{describe(request)}: {_short(error)}"
    return kind(exception_message(error, request.url), sent=sent, detail=detail)


def describe(request: Request) -> str:
    """Method, host and path, for messages: never the query, never credentials."""
    url = URL(request.url, encoded=True)
    return escape_control(f"{request.method} {url.host}{url.path}")


def _short(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{type(error).__name__}: {escape_control(error.message)}"
    return escape_control(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
