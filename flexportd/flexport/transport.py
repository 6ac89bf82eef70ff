"""One HTTP exchange with Flexport, directly or through a forward proxy.

aiohttp's errors are caught only here. `sent` of the errors raised is False if the request certainly never left: no
connection was made.
"""

import io
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
from flexportd.flexport import errors
from flexportd.flexport.error_sentences import FailureKind, classify_failure, exception_message
from flexportd.http.retry_after import http_date, retry_after

CONNECT_TIMEOUT = 10.0  # seconds
MAX_ERROR_BODY = 64 << 10  # bytes of a failure's body that are read: enough to parse its message
_LARGE_BODY = 1 << 20  # bytes; aiohttp sends bytes as one piece
_REQUEST_IDS = ("X-Request-Id", "CF-Ray")
_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent; `url` is complete and percent-encoded."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What was received; the times are ours, `received` that of the head."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    started: datetime
    received: datetime
    started_at: str | None = None  # a stamp on Flexport's clock, if that is known

    def error_details(self, *, always: bool = False) -> errors.ErrorDetails:
        """What an error keeps of this; the beginning of the body only for a failure, or `always`."""
        now = http_date(self.headers.get("Date", "")) or self.received
        wait = retry_after(self.headers.get("Retry-After"), now)
        request_id = next((self.headers[name] for name in _REQUEST_IDS if self.headers.get(name)), None)
        body = self.body[: errors.MAX_BODY] if always or self.status >= 300 else b""
        return errors.ErrorDetails(
            self.status, escape_control(request_id, 100) if request_id else None, wait, body, self.started_at
        )

    @property
    def media_type(self) -> str:
        """Content-Type without parameters, in lower case; empty if there is none."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Proxy:
    """A forward proxy (RFC 9110, sections 3.7 and 9.3.6).

    For https, it opens a tunnel (CONNECT) and sees only the host: TLS is between Flexport and us. For http, it sees the
    whole request. `url` has no user and password; `authorization` is the value of `Proxy-Authorization`.
    """

    url: str
    authorization: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Host and port, for messages."""
        return self.url.partition("://")[2]

    @property
    def headers(self) -> dict[str, str]:
        """The headers for the proxy itself."""
        return {} if self.authorization is None else {"Proxy-Authorization": self.authorization}

    def refusal(self, status: int, reason: str, target: str) -> str:
        """The message for a response of the proxy itself."""
        if status != HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            return (
                f"the proxy {self.name} does not connect to {target}: {status} {escape_control(reason, 100)}".rstrip()
            )
        if self.authorization is None:
            return f"the proxy {self.name} asks for a user and password (407); see [flexport] proxy"
        return f"the proxy {self.name} does not accept the user and password of [flexport] proxy (407)"

    def failure(self, error: Exception, url: URL) -> str:
        """The message for a connection to `url` that was not made through the proxy."""
        target = f"{url.host}:{url.port}"
        cause = getattr(error, "os_error", None)
        reason = "" if cause is None else escape_control(cause.strerror or str(cause) or type(cause).__name__, 200)
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return self.refusal(error.status, error.message, target)
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return f"the name of the proxy {self.name} cannot be resolved ({reason})"
        if isinstance(error, aiohttp.ClientProxyConnectionError):
            return f"the proxy {self.name} cannot be reached ({reason})"
        if isinstance(error, TimeoutError):
            return f"no connection to {target} through the proxy {self.name} within the time allowed"
        if isinstance(error, aiohttp.ClientConnectorError):
            return f"no TLS connection to {target} through the proxy {self.name} ({reason})"
        return f"the proxy {self.name} closed the connection or is not an HTTP proxy ({type(error).__name__})"


@dataclass(frozen=True, slots=True)
class HttpSession:
    """Connections to Flexport, all through `proxy` if there is one. Close `http` in the end."""

    http: aiohttp.ClientSession
    proxy: Proxy | None = None

    @classmethod
    def open(cls, connector: aiohttp.TCPConnector, user_agent: str | None, proxy: Proxy | None) -> "HttpSession":
        """Without cookies, and without proxies or passwords from the environment."""
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


async def _on_connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _what: object) -> None:
    context.trace_request_ctx.connected = True


async def exchange(session: HttpSession, request: Request, clock: Clock, *, seconds: float, max_size: int) -> Reply:
    """Send a request and read the whole response, of `max_size` bytes at most, within `seconds`.

    Redirects are not followed. Raises FlexportUnavailableError, MalformedResponseError, ResponseTooLargeError.
    """
    started = clock.now()
    response = await open_response(
        session, request, aiohttp.ClientTimeout(total=seconds, connect=min(CONNECT_TIMEOUT, seconds))
    )
    try:
        received = clock.now()
        is_failure = response.status >= 300
        body = bytearray()
        async for chunk in chunks(response, request):
            body += chunk
            if is_failure and len(body) >= MAX_ERROR_BODY:
                break
            if not is_failure and len(body) > max_size:
                details = Reply(response.status, response.headers, b"", started, received).error_details()
                message = f"Flexport's answer is larger than {max_size} bytes"
                raise errors.ResponseTooLargeError(message, details, detail=describe(request))
        return Reply(response.status, response.headers, bytes(body), started, received)
    finally:
        response.close()  # a response that was read to its end has released its connection already


async def open_response(
    session: HttpSession, request: Request, limits: aiohttp.ClientTimeout
) -> aiohttp.ClientResponse:
    """Send a request and read the response's head; the caller reads the body with `chunks` and closes the response."""
    url, proxy, progress = URL(request.url, encoded=True), session.proxy, SimpleNamespace(connected=False)
    headers, options = request.headers, dict[str, Any]()
    if proxy is not None:
        options = {"proxy": proxy.url, "proxy_headers": proxy.headers}
        if url.scheme == "http":  # there is no CONNECT: the request itself is for the proxy
            headers = {**headers, **proxy.headers}
    with translate_errors(request, proxy, progress):
        response = await session.http.request(
            request.method,
            url,
            headers=headers,
            data=_payload(request.body),
            allow_redirects=False,
            timeout=limits,
            trace_request_ctx=progress,
            **options,
        )
    if proxy is not None and url.scheme == "http" and response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        response.close()
        refusal = proxy.refusal(response.status, "", f"{url.host}:{url.port}")
        raise errors.FlexportUnavailableError(f"{describe(request)}: {refusal}", sent=False)
    return response


async def chunks(response: aiohttp.ClientResponse, request: Request) -> AsyncIterator[bytes]:
    """The body's bytes as they arrive."""
    while True:
        with translate_errors(request):
            chunk = await response.content.readany()
        if not chunk:
            return
        yield chunk


@contextmanager
def translate_errors(
    request: Request, proxy: Proxy | None = None, progress: SimpleNamespace | None = None
) -> Iterator[None]:
    """Raise a FlexportError in place of aiohttp's errors. Only calls of aiohttp may run inside."""
    try:
        yield
    except (aiohttp.ClientError, OSError, ValueError) as error:
        is_network = isinstance(error, aiohttp.ClientError | OSError) and not isinstance(error, aiohttp.InvalidURL)
        if proxy is not None and progress is not None and not progress.connected and is_network:
            failure = proxy.failure(error, URL(request.url, encoded=True))
            raise errors.FlexportUnavailableError(f"{describe(request)}: {failure}", sent=False) from error
        raise translate(error, request) from error


def translate(error: Exception, request: Request) -> errors.FlexportError:
    """The FlexportError for an error of aiohttp or the operating system, or a timeout."""
    is_malformed = classify_failure(error) is FailureKind.BROKEN
    kind = errors.MalformedResponseError if is_malformed else errors.FlexportUnavailableError
    text = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return kind(
        exception_message(error, request.url),
        sent=not isinstance(error, _NOT_SENT),
        detail=f"{describe(request)}: {escape_control(reason)}",
    )


def describe(request: Request) -> str:
    """Method, host and path, for messages: never the query, never credentials."""
    url = URL(request.url, encoded=True)
    return escape_control(f"{request.method} {url.host}{url.path}")


def _payload(body: bytes | None) -> bytes | io.BytesIO | None:
    """A body to send; a large one in pieces, so that the event loop goes on."""
    return io.BytesIO(body) if body is not None and len(body) > _LARGE_BODY else body
