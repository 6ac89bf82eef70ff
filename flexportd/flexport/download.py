"""A file from Flexport, streamed: never held in memory, never larger than allowed.

Source: https://apidocs.flexport.com/v2/tag/Document. The response may redirect to a file store. Redirects are followed
one by one, and only the configured host is sent the bearer.

A redirect is untrusted: followed blindly, it would let its author read what only this machine can reach (cloud
metadata, services on loopback or in the private network). So only https and public addresses are allowed. The address
is checked when its socket is created, so DNS rebinding gains nothing. Exempt are addresses of the kind that the
configured host itself has, as with `flexportd sandbox`.

A proxy resolves the name and connects itself, so the daemon cannot check the socket. It then refuses addresses that
are not public in any notation, names of local networks, and names that resolve here to an address that is not public;
a name that does not resolve here is left to the proxy. The server must have a certificate for that name: TLS is between
it and us, through the proxy.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address

import aiohttp
from yarl import URL

from flexportd.clock import Clock
from flexportd.flexport import errors, transport
from flexportd.flexport.parse_response import WEB_PAGES, error_for, parse_response, read_object
from flexportd.flexport.retry import AttemptStats
from flexportd.http.network_addresses import AddressFilter, address_kind, is_local_name, numeric_ipv4, resolve

_MAX_REDIRECTS = 3
_TIMEOUT_FACTOR = 10  # times the timeout of one request: a file is larger than a page
_ANONYMOUS = {"Accept": "*/*", "Accept-Encoding": "identity"}
_LOOKUP_TIMEOUT = 10.0  # seconds
_PROXY_LOOKUP_TIMEOUT = 3.0  # seconds to resolve a name that the proxy resolves as well, perhaps as the only one

Sink = Callable[[bytes], Awaitable[None]]


class RefusedRedirectError(errors.MalformedResponseError):
    """A redirect that is not followed. A retry cannot help."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A file that was passed on: `media_type` as declared by the sender (empty if not), `size` in bytes."""

    media_type: str
    size: int
    status: int
    request_id: str | None


@dataclass(frozen=True, slots=True)
class StreamedDownload:
    """One download from `url`, with `headers` for the configured host; `timeout` of one request, in seconds.

    `clean` removes secrets, none of which is longer than `longest_secret` bytes.
    """

    session: transport.HttpSession
    clock: Clock
    url: str
    headers: Mapping[str, str]
    timeout: float
    sink: Sink
    max_size: int
    clean: Callable[[bytes], bytes]
    longest_secret: int

    async def run(self, name: str, stats: AttemptStats) -> Downloaded:
        """Stream once. Raises FlexportError, and what the sink raises; sets `stats.final` once the sink has bytes."""
        home = url = URL(self.url, encoded=True)
        redirects, is_home = Redirects(home, self.session.proxy), True
        for _ in range(_MAX_REDIRECTS + 1):
            if is_home:
                result = await self._request(self.session, url, name, stats, is_home=True)
            else:
                async with redirects.session(name, self.session.http.headers.get("User-Agent")) as session:
                    result = await self._request(session, url, name, stats, is_home=False)
            if isinstance(result, Downloaded):
                return result
            url = await redirects.follow(url, result, name)
            is_home = is_home and url.origin() == home.origin()  # no other host can send us back with the bearer
        raise RefusedRedirectError(f"The download leads through more than {_MAX_REDIRECTS} redirects", detail=name)

    async def _request(
        self, session: transport.HttpSession, url: URL, name: str, stats: AttemptStats, *, is_home: bool
    ) -> Downloaded | str:
        request = transport.Request("GET", str(url), self.headers if is_home else _ANONYMOUS)
        limits = aiohttp.ClientTimeout(
            total=self.timeout * _TIMEOUT_FACTOR,
            connect=min(transport.CONNECT_TIMEOUT, self.timeout),
            sock_read=self.timeout,
        )
        started = self.clock.now()
        response = await transport.open_response(session, request, limits)
        try:
            head = transport.Reply(response.status, response.headers, b"", started, self.clock.now())
            if response.status in (301, 302, 303, 307, 308):
                return response.headers.get("Location", "")
            if not 200 <= response.status < 300:
                # The body may repeat our credentials.
                reply = replace(head, body=self.clean(await _read_head(transport.chunks(response, request))))
                raise error_for(reply, name) if is_home else _store_error(reply, name)
            return await self._stream(transport.chunks(response, request), head, name, stats)
        finally:
            response.close()

    async def _stream(
        self, body: AsyncIterator[bytes], head: transport.Reply, name: str, stats: AttemptStats
    ) -> Downloaded:
        details = head.error_details()
        if head.media_type in WEB_PAGES:
            raise errors.MalformedResponseError("Flexport sent a web page instead of a file", details, detail=name)
        begin = b""
        if head.media_type == "application/json":
            # It may be an error of Flexport: it is checked before it is passed on.
            begin = await _read_head(body)
            if len(begin) < transport.MAX_ERROR_BODY:
                await _raise_json_error(replace(head, body=begin), name)
        declared = head.headers.get("Content-Length", "")
        size = int(declared) if declared.isascii() and declared.isdigit() else 0
        if size <= self.max_size:
            size, tail = 0, b""
            async for chunk in _chain(begin, body):
                size += len(chunk)
                if size > self.max_size:
                    break
                # A file is stored unchanged or not at all; a secret may extend over two chunks.
                tail += chunk
                if self.clean(tail) != tail:
                    message = "The file contains credentials of flexportd"
                    raise errors.EchoedSecretError(message, details, detail=name)
                tail = tail[-self.longest_secret :] if self.longest_secret else b""
                stats.bytes, stats.final = size, True
                await self.sink(chunk)
        if size > self.max_size:
            raise errors.ResponseTooLargeError(f"The file is larger than {self.max_size} bytes", details, detail=name)
        return Downloaded(head.media_type, size, head.status, details.request_id)


async def _chain(begin: bytes, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if begin:
        yield begin
    async for chunk in body:
        yield chunk


async def _read_head(body: AsyncIterator[bytes]) -> bytes:
    begin = b""
    async for chunk in body:
        begin += chunk
        if len(begin) >= transport.MAX_ERROR_BODY:
            break
    return begin


async def _raise_json_error(reply: transport.Reply, name: str) -> None:
    """Raise the error that a JSON response reports; any other JSON is a file."""

    def read(body: bytes) -> None:
        with contextlib.suppress(errors.MalformedResponseError):
            read_object(body)

    await parse_response(reply, read, name)


def _store_error(reply: transport.Reply, name: str) -> errors.FlexportError:
    """The error of another host, which is not about our key nor about a missing document."""
    kind = errors.RejectedError if 400 <= reply.status < 500 else errors.FlexportUnavailableError
    return kind(f"The file store that Flexport redirects to answers {reply.status}", reply.error_details(), detail=name)


class Redirects:
    """Decides which redirects of one download are followed. `home` is the URL of the first request."""

    def __init__(self, home: URL, proxy: transport.Proxy | None = None) -> None:
        self._home = home
        self._proxy = proxy
        self._kinds: frozenset[str] | None = None

    async def follow(self, here: URL, location: str, name: str) -> URL:
        """The URL to request next. Raises RefusedRedirectError."""
        try:
            there = here.join(URL(location, encoded=True)).with_fragment(None)
            is_valid = bool(location) and bool(there.host) and there.user is None and there.password is None
            is_valid = is_valid and there.scheme in ("http", "https") and there.port != 0
        except ValueError:
            is_valid = False
        if not is_valid:
            raise RefusedRedirectError("The download redirects to an address that is not valid", detail=name)
        if there.origin() == self._home.origin():
            return there
        # Unencrypted only if the home is, as with a sandbox on this machine or in this network.
        if there.scheme != "https" and (self._home.scheme == "https" or not await self._exempt()):
            raise RefusedRedirectError("The download redirects to an address without https; not followed", detail=name)
        if self._proxy is not None:
            await self._check_for_proxy(there, name)
        return there

    async def _check_for_proxy(self, there: URL, name: str) -> None:
        """Refuse a host that is known here not to be public, before the proxy connects to it."""
        host, exempt = (there.host or "").rstrip(".").lower(), await self._exempt()
        try:
            addresses = [str(ip_address(host))]
        except ValueError:
            addresses = numeric_ipv4(host) or await resolve(host, there.port, _PROXY_LOOKUP_TIMEOUT)
            if is_local_name(host) and not exempt and not numeric_ipv4(host):
                message = "The download redirects to a name of the local network; not followed"
                raise RefusedRedirectError(message, detail=name) from None
        for address in addresses:
            kind = address_kind(address)
            if kind is not None and kind not in exempt:
                message = f"The download redirects to {address}, a {kind} address; not followed"
                raise RefusedRedirectError(message, detail=name)

    @asynccontextmanager
    async def session(self, name: str, user_agent: str | None) -> AsyncIterator[transport.HttpSession]:
        """A session for one request to another host; it connects only to allowed addresses, or to the proxy.

        Raises RefusedRedirectError in place of the connection error.
        """
        addresses = AddressFilter(await self._exempt())
        factory = addresses.create_socket if self._proxy is None else None
        connector = aiohttp.TCPConnector(limit=1, use_dns_cache=False, socket_factory=factory)
        session = transport.HttpSession.open(connector, user_agent, self._proxy)
        try:
            yield session
        except errors.FlexportUnavailableError as error:
            if addresses.refused is not None:
                message = f"The download redirects to {addresses.refused}; not followed"
                raise RefusedRedirectError(message, detail=name) from error
            raise
        finally:
            await session.http.close()

    async def _exempt(self) -> frozenset[str]:
        if self._kinds is None:
            addresses = await resolve(self._home.host or "", self._home.port, _LOOKUP_TIMEOUT)
            self._kinds = frozenset(filter(None, map(address_kind, addresses)))
        return self._kinds
