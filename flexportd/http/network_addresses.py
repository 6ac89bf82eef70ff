"""Which network addresses are public, and sockets that connect only to those.

A URL from elsewhere, followed blindly, would let its author reach what only this machine can reach: cloud metadata,
services on loopback or in the private network. `AddressFilter` checks an address when its socket is created, so that
neither the notation of an address nor DNS rebinding gets around it.

Sources: the IANA special-purpose address registries, https://www.iana.org/assignments/iana-ipv4-special-registry and
https://www.iana.org/assignments/iana-ipv6-special-registry; RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo);
names: RFC 6761 (localhost), RFC 6762 (local), RFC 8375 (home.arpa), ICANN's resolution 2024.07.29.06 (internal).
"""

import asyncio
import re
import socket
from collections.abc import Set as AbstractSet
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

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


class AddressFilter:
    """Creates the sockets of one connector, only for public addresses and those of an exempt kind.

    `create_socket` is the `socket_factory` of an `aiohttp.TCPConnector`.
    """

    def __init__(self, exempt: AbstractSet[str] = frozenset()) -> None:
        self._exempt = exempt
        self._refused: str | None = None
        self._is_any_allowed = False

    @property
    def refused(self) -> str | None:
        """The first refused address and its kind, for messages; None if none was refused, or another was allowed."""
        return None if self._is_any_allowed else self._refused

    def create_socket(self, info: tuple[Any, ...]) -> socket.socket:
        """The socket for a result of `getaddrinfo`. Raises OSError if its address is refused."""
        family, socket_type, proto, _, address = info
        kind = address_kind(str(address[0]))
        if kind is not None and kind not in self._exempt:
            self._refused = self._refused or f"{address[0]}, a {kind} address"
            raise OSError(f"{address[0]} is a {kind} address")
        self._is_any_allowed = True
        return socket.socket(family=family, type=socket_type, proto=proto)


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


def is_local_name(host: str) -> bool:
    """Whether a name belongs to a local network, or is so unusual that a proxy may interpret it as another."""
    return (
        "." not in host
        or any(host.endswith(f".{ending}") for ending in _LOCAL_NAMES)
        or re.fullmatch(r"[a-z0-9._-]+", host) is None
    )


async def resolve(host: str, port: int | None, seconds: float) -> list[str]:
    """The addresses of a name; none if it does not resolve within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return []
    return [str(address[0]) for *_, address in infos]


def numeric_ipv4(host: str) -> list[str]:
    """The IPv4 address of a host such as `127.1`, `0x7f000001` or `2130706433`, as some programs read it; else none."""
    try:
        return [socket.inet_ntoa(socket.inet_aton(host))]
    except (OSError, ValueError):
        return []
