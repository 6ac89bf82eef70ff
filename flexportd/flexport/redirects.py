"""Where a download may be redirected to: https, and public addresses only.

A redirect is foreign text: followed blindly, it would let its author read what only this machine can reach (cloud
metadata, services on loopback or in the private network). The address is checked when the socket for it is made, so a
name that resolves differently a moment later (DNS rebinding) gains nothing. Exempt are addresses of the kind that the
configured host itself has, as with `flexportd sandbox`.

With a proxy, the proxy resolves the name and connects, so no socket of ours can be checked. Refused are then addresses
that are not public in whatever form they are written, names of local networks, and names that resolve here to an
address that is not public; a name that does not resolve here is left to the proxy. Whatever answers must hold a
certificate for that name: TLS is between it and us, through the proxy.

Sources: the IANA special-purpose address registries, https://www.iana.org/assignments/iana-ipv4-special-registry and
https://www.iana.org/assignments/iana-ipv6-special-registry; RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo);
names: RFC 6761 (localhost), RFC 6762 (local), RFC 8375 (home.arpa), ICANN's resolution 2024.07.29.06 (internal).
"""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import aiohttp
from yarl import URL

from flexportd.flexport.errors import FlexportUnavailableError, MalformedResponseError
from flexportd.flexport.proxy import Proxy
from flexportd.flexport.transport import HttpSession

_LOOKUP_TIMEOUT = 10.0  # seconds
_PROXY_LOOKUP_TIMEOUT = 3.0  # seconds to resolve what a proxy resolves as well: it may be the only one that can
_LOCAL_NAMES = ("localhost", "local", "internal", "home.arpa")

# Checked in this order; whatever Python's ipaddress module also counts as not global is "reserved".
_KINDS: tuple[tuple[str, tuple[IPv4Network | IPv6Network, ...]], ...] = (
    ("loopback", (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))),
    ("link-local", (IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10"))),
    (
        "private",
        (
            IPv4Network("10.0.0.0/8"),
            IPv4Network("172.16.0.0/12"),
            IPv4Network("192.168.0.0/16"),
            IPv6Network("fc00::/7"),
            IPv6Network("fec0::/10"),
        ),
    ),
    ("shared", (IPv4Network("100.64.0.0/10"),)),
    ("multicast", (IPv4Network("224.0.0.0/4"), IPv6Network("ff00::/8"))),
    (
        "reserved",
        (
            IPv4Network("0.0.0.0/8"),
            IPv4Network("168.63.129.16/32"),  # public by its number, and each Azure host's own service
            IPv4Network("192.0.0.0/24"),
            IPv4Network("192.88.99.0/24"),
            IPv4Network("198.18.0.0/15"),
            IPv4Network("240.0.0.0/4"),
            IPv6Network("2001:db8::/32"),
            IPv6Network("3fff::/20"),
        ),
    ),
)
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_ISATAP = (0x00005EFE, 0x02005EFE)


class RefusedRedirectError(MalformedResponseError):
    """A redirect that is not followed. Asking again at once cannot help."""

    permanent = True


def address_kind(text: str) -> str | None:
    """The kind of an address that is not public (`loopback`, `link-local`, `private`, …); None for a public one.

    An IPv4 address inside an IPv6 one counts as itself. Raises ValueError for what is no address.
    """
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv4Address):
        return _own_kind(address) or (None if address.is_global else "reserved")
    carried = _embedded_ipv4(address)
    if carried:
        return next((kind for each in carried if (kind := address_kind(str(each))) is not None), None)
    own = _own_kind(address)
    if own is None and int.from_bytes(address.packed[8:12]) in _ISATAP:
        own = _own_kind(IPv4Address(address.packed[12:]))
    return own or (None if address.is_global and address in _GLOBAL_UNICAST else "reserved")


def _own_kind(address: IPv4Address | IPv6Address) -> str | None:
    for kind, networks in _KINDS:
        if any(address.version == network.version and address in network for network in networks):
            return kind
    return None


def _embedded_ipv4(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses to which packets for this IPv6 address are carried on; none for an address of its own."""
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
    """Which redirects of one download are followed. `home` is the address that it began at."""

    def __init__(self, home: URL, proxy: Proxy | None = None) -> None:
        self._home = home
        self._proxy = proxy
        self._kinds: frozenset[str] | None = None

    async def follow(self, here: URL, location: str, name: str) -> URL:
        """The address to ask next. Raises RefusedRedirectError."""
        try:
            there = here.join(URL(location, encoded=True)).with_fragment(None)
            possible = bool(location) and bool(there.host) and there.user is None and there.password is None
            possible = possible and there.scheme in ("http", "https") and there.port != 0
        except ValueError:
            possible = False
        if not possible:
            raise RefusedRedirectError("The download redirects to an address that is not valid", detail=name)
        if there.origin() == self._home.origin():
            return there
        # Unencrypted only where everything is: a look-alike on this machine or in this network.
        if there.scheme != "https" and (self._home.scheme == "https" or not await self._exempt()):
            raise RefusedRedirectError("The download redirects to an address without https; not followed", detail=name)
        if self._proxy is not None:
            await self._check_for_proxy(there, name)
        return there

    async def _check_for_proxy(self, there: URL, name: str) -> None:
        """Refuse what is known here not to be public, before the proxy is asked to connect to it."""
        host, exempt = (there.host or "").rstrip(".").lower(), await self._exempt()
        try:
            found = [str(ip_address(host))]
        except ValueError:
            found = _numeric(host) or await _resolve(host, there.port, _PROXY_LOOKUP_TIMEOUT)
            if _is_local_name(host) and not exempt and not _numeric(host):
                message = "The download redirects to a name of the local network; not followed"
                raise RefusedRedirectError(message, detail=name) from None
        for address in found:
            kind = address_kind(address)
            if kind is not None and kind not in exempt:
                message = f"The download redirects to {address}, a {kind} address; not followed"
                raise RefusedRedirectError(message, detail=name)

    @asynccontextmanager
    async def session(self, name: str, user_agent: str | None) -> AsyncIterator[HttpSession]:
        """A session for one request elsewhere, which connects only to addresses that are allowed, or to the proxy.

        Raises RefusedRedirectError in place of the connection error.
        """
        exempt, refused, allowed = await self._exempt(), list[str](), list[str]()

        def checked(info: tuple[Any, ...]) -> socket.socket:
            family, kind, proto, _, address = info
            found = address_kind(str(address[0]))
            if found is not None and found not in exempt:
                refused.append(f"{address[0]}, a {found} address")
                raise OSError(f"{address[0]} is a {found} address")
            allowed.append(str(address[0]))
            return socket.socket(family=family, type=kind, proto=proto)

        factory = checked if self._proxy is None else None
        connector = aiohttp.TCPConnector(limit=1, use_dns_cache=False, socket_factory=factory)
        session = HttpSession.open(connector, user_agent, self._proxy)
        try:
            yield session
        except FlexportUnavailableError as error:
            if refused and not allowed:
                message = f"The download redirects to {refused[0]}; not followed"
                raise RefusedRedirectError(message, detail=name) from error
            raise
        finally:
            await session.close()

    async def _exempt(self) -> frozenset[str]:
        """The kinds of address that the configured host itself has."""
        if self._kinds is None:
            found = await _resolve(self._home.host or "", self._home.port, _LOOKUP_TIMEOUT)
            kinds = [address_kind(address) for address in found]
            self._kinds = frozenset(kind for kind in kinds if kind is not None)
        return self._kinds


def _is_local_name(host: str) -> bool:
    """Whether a name is of a local network, or is no plain name, so that a proxy may read another in it."""
    return (
        "." not in host
        or any(host.endswith(f".{ending}") for ending in _LOCAL_NAMES)
        or re.fullmatch(r"[a-z0-9._-]+", host) is None
    )


async def _resolve(host: str, port: int | None, seconds: float) -> list[str]:
    """The addresses of a name; none where it cannot be resolved in time."""
    try:
        async with asyncio.timeout(seconds):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return []
    return [str(address[0]) for *_, address in found]


def _numeric(host: str) -> list[str]:
    """The IPv4 address that other programs read in a host such as `127.1`, `0x7f000001` or `2130706433`; else none."""
    try:
        return [socket.inet_ntoa(socket.inet_aton(host))]
    except (OSError, ValueError):
        return []
