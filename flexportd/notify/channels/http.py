"""HTTP requests of channels: limited in time and size, without redirects, cookies, or proxies from the environment."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp
from yarl import URL

from flexportd.escape import escape_control
from flexportd.http.network_addresses import AddressFilter
from flexportd.http.redaction import Secrets
from flexportd.http.request_failures import RequestFailure, classify_failure, describe_failure
from flexportd.http.retry_after import http_date, retry_after
from flexportd.notify.channels.channel import ChannelContext, ChannelError

MAX_BODY = 64 << 10  # bytes of a response that are read
_MAX_EXCERPT = 200  # characters of a response in an error
_CONNECT_TIMEOUT = 10.0  # seconds
_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_BODY_TIMEOUT = 5.0  # seconds: the status is known by then, and often decides alone


@dataclass(frozen=True, slots=True)
class ChannelResponse:
    """The response to one request. `body` is what arrived of it in time and within the limit.

    `retry_after` is in seconds, 0 without the header.
    """

    host: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    retry_after: float

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def is_redirect(self) -> bool:
        """Whether it refers to another URL."""
        return 300 <= self.status < 400 and "Location" in self.headers

    @property
    def status_text(self) -> str:
        """Number and name of the status: `404 Not Found`."""
        try:
            return f"{self.status} {HTTPStatus(self.status).phrase}"
        except ValueError:
            return str(self.status)

    @property
    def redirect_host(self) -> str:
        """The host that a redirect leads to, for messages."""
        try:
            target = URL(self.headers.get("Location", ""))
            return escape_control(display_host(target)) if target.host else self.host
        except ValueError:
            return "an address that is not valid"


class ChannelClient:
    """Sends the requests of one channel. Each has a new connection, so that no stale connection can lose one.

    `secrets` never appear in errors. Without `allow_private`, connections are made only to public addresses; the check
    is made when a socket is created.
    """

    def __init__(self, context: ChannelContext, secrets: Iterable[str], *, allow_private: bool = True) -> None:
        self._context = context
        self._secrets = Secrets(secrets)
        self._allow_private = allow_private

    def excerpt(self, response: ChannelResponse) -> str:
        """The beginning of a response's body as one line, escaped and without secrets; empty if there is none."""
        if response.headers.get("Content-Encoding", "identity") != "identity":
            return ""  # compressed although we did not ask for it
        text = " ".join(self._secrets.clean_text(response.body.decode("utf-8", "replace")).split())
        return "a web page" if text.startswith("<") else escape_control(text, _MAX_EXCERPT)

    def clean(self, text: str) -> str:
        """A text of the other side as one line, escaped and without secrets."""
        return escape_control(self._secrets.clean_text(text), _MAX_EXCERPT)

    async def request(
        self,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        seconds: float,
        max_body: int = MAX_BODY,
    ) -> ChannelResponse:
        """Send a request and return the response, whatever its status. Raises ChannelError."""
        addresses = AddressFilter()
        connector = aiohttp.TCPConnector(
            limit=1,
            use_dns_cache=False,
            force_close=True,
            socket_factory=None if self._allow_private else addresses.create_socket,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._context.user_agent, "Accept-Encoding": "identity"},
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=seconds, connect=min(_CONNECT_TIMEOUT, seconds)),
        )
        async with session:
            try:
                response = await session.request(method, url, data=body, headers=headers, allow_redirects=False)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise self._failure(error, url, addresses.refused, seconds) from error
            try:
                received = await _read(response, max_body)
            finally:
                response.close()
        now = http_date(response.headers.get("Date", "")) or self._context.clock.machine.now()
        wait = retry_after(response.headers.get("Retry-After"), now) or 0.0
        return ChannelResponse(display_host(url), response.status, response.headers, received, wait)

    def _failure(self, error: Exception, url: URL, refused: str | None, seconds: float) -> ChannelError:
        if refused is not None:
            return ChannelError(
                f"{display_host(url)} has the address {refused}, and messages are sent to public addresses only; "
                "set allow_private = true to allow it"
            )
        if isinstance(error, aiohttp.InvalidURL):
            return ChannelError(f"{self.clean(display_host(url))} is not a valid host name or address; correct the URL")
        is_timeout = classify_failure(error) is RequestFailure.TIMEOUT
        sentence = f"{{host}} did not answer within {seconds:g} seconds" if is_timeout else None
        return ChannelError(
            self.clean(describe_failure(error, str(url), sentence)),
            may_have_arrived=not isinstance(error, _NOT_SENT),
        )


def display_host(url: URL) -> str:
    """Host and port for messages; the port only if it is unusual."""
    return url.host or "" if url.is_default_port() or url.port is None else f"{url.host}:{url.port}"


def display_url(url: str) -> str:
    """A URL for people, without user, password, query and fragment: they may hold secrets."""
    return str(URL(url).with_user(None).with_query(None).with_fragment(None))


async def _read(response: aiohttp.ClientResponse, max_size: int) -> bytes:
    """What arrives of the body in time, at most `max_size` bytes."""
    body = bytearray()
    with contextlib.suppress(aiohttp.ClientError, OSError, ValueError):  # a broken body does not change the status
        async with asyncio.timeout(_BODY_TIMEOUT):
            while len(body) < max_size and (chunk := await response.content.read(max_size - len(body))):
                body += chunk
    return bytes(body)
