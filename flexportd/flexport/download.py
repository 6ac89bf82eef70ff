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

Sources: the IANA special-purpose address registries, https://www.iana.org/assignments/iana-ipv4-special-registry and
https://www.iana.org/assignments/iana-ipv6-special-registry; RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo);
names: RFC 6761 (localhost), RFC 6762 (local), RFC 8375 (home.arpa), ICANN's resolution 2024.07.29.06 (internal).
"""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import aiohttp
from yarl import URL

from flexportd.clock import Clock
from flexportd.flexport import errors, transport
from flexportd.flexport.parse_response import WEB_PAGES, error_for, parse_response, read_object
from flexportd.flexport.retry import AttemptStats

_MAX_REDIRECTS = 3
_TIMEOUT_FACTOR = 10  # times the timeout of one request: a file is larger than a page
_ANONYMOUS = {"Accept": "*/*", "Accept-Encoding": "identity"}
_LOOKUP_TIMEOUT = 10.0  # seconds
_PROXY_LOOKUP_TIMEOUT = 3.0  # seconds to resolve a name that the proxy resolves as well, perhaps as the only one
_LOCAL_NAMES = ("localhost", "local", "internal", "home.arpa")

# Checked in this order; other addresses that Python's ipaddress module counts as not global are "reserved".
# 168.63.129.16 is public by its number, but is a service of each Azure host.
_KINDS = {
    kind: tuple(map(ip_network, networks.split()))
    for kind, networks in {
        "loopback": "127.0.0.0/8 ::1/128",
        "link-local": "169.254.0.0/16 fe80::/10",
        "private": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10",
        "shared": "100.64.0.0/10",
        "multicast": "224.0.0.0/4 ff00::/8",
        "reserved": "0.0.0.0/8 168.63.129.16/32 192.0.0.0/24 192.88.99.0/24 198.18.0.0/15 240.0.0.0/4 2001:db8::/32 "
        "3fff::/20",
    }.items()
}
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_ISATAP = (0x00005EFE, 0x02005EFE)

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


def address_kind(text: str) -> str | None:
    """The kind of an address that is not public (`loopback`, `link-local`, `private`, …); None for a public one.

    An IPv6 address that contains an IPv4 one is of the kind of that. Raises ValueError if it is not an address.
    """
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv4Address):
        return _own_kind(address) or (None if address.is_global else "reserved")
    embedded = _embedded_ipv4(address)
    if embedded:
        return next((kind for each in embedded if (kind := address_kind(str(each))) is not None), None)
    own = _own_kind(address)
    if own is None and int.from_bytes(address.packed[8:12]) in _ISATAP:
        own = _own_kind(IPv4Address(address.packed[12:]))
    return own or (None if address.is_global and address in _GLOBAL_UNICAST else "reserved")


def _own_kind(address: IPv4Address | IPv6Address) -> str | None:
    return next((kind for kind, networks in _KINDS.items() if any(address in network for network in networks)), None)


def _embedded_ipv4(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that packets for this IPv6 address are forwarded to; none for an ordinary address."""
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return (IPv4Address(address.packed[12:]),)
    return ()


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
            addresses = _numeric(host) or await _resolve(host, there.port, _PROXY_LOOKUP_TIMEOUT)
            if _is_local_name(host) and not exempt and not _numeric(host):
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
        exempt, refused, allowed = await self._exempt(), list[str](), list[str]()

        def checked(info: tuple[Any, ...]) -> socket.socket:
            family, socket_type, proto, _, address = info
            kind = address_kind(str(address[0]))
            if kind is not None and kind not in exempt:
                refused.append(f"{address[0]}, a {kind} address")
                raise OSError(f"{address[0]} is a {kind} address")
            allowed.append(str(address[0]))
            return socket.socket(family=family, type=socket_type, proto=proto)

        factory = checked if self._proxy is None else None
        connector = aiohttp.TCPConnector(limit=1, use_dns_cache=False, socket_factory=factory)
        session = transport.HttpSession.open(connector, user_agent, self._proxy)
        try:
            yield session
        except errors.FlexportUnavailableError as error:
            if refused and not allowed:
                message = f"The download redirects to {refused[0]}; not followed"
                raise RefusedRedirectError(message, detail=name) from error
            raise
        finally:
            await session.http.close()

    async def _exempt(self) -> frozenset[str]:
        if self._kinds is None:
            addresses = await _resolve(self._home.host or "", self._home.port, _LOOKUP_TIMEOUT)
            self._kinds = frozenset(filter(None, map(address_kind, addresses)))
        return self._kinds


def _is_local_name(host: str) -> bool:
    """Whether a name belongs to a local network, or is so unusual that a proxy may interpret it as another."""
    return (
        "." not in host
        or any(host.endswith(f".{ending}") for ending in _LOCAL_NAMES)
        or re.fullmatch(r"[a-z0-9._-]+", host) is None
    )


async def _resolve(host: str, port: int | None, seconds: float) -> list[str]:
    try:
        async with asyncio.timeout(seconds):
            infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return []
    return [str(address[0]) for *_, address in infos]


def _numeric(host: str) -> list[str]:
    """The IPv4 address of a host such as `127.1`, `0x7f000001` or `2130706433`, as some programs read it; else none."""
    try:
        return [socket.inet_ntoa(socket.inet_aton(host))]
    except (OSError, ValueError):
        return []
