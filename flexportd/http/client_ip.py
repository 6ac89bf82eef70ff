"""The client's own address: the address that connected, or the one that trusted proxies report in X-Forwarded-For.

Only this module reads client addresses. Allowed networks, limits by address, the count of invalid keys and the access
log use it.

X-Forwarded-For has no standard. An element is an address as proxies write it: `192.0.2.1`, `192.0.2.1:4711` (Azure,
AWS), `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`, each also in double quotes (as in RFC 7239, section 6), with
a zone id (RFC 4007) or as an IPv4-mapped address. Only the elements that a trusted proxy wrote count: they are read
from the right, and the first address that is not a trusted proxy is the client. An element that is not an address
(`unknown`, `_hidden`, empty) ends the search with an unknown client: the client may have invented what is left of it.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Protocol

from multidict import MultiMapping

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

MAX_PROXIES = 32  # elements of X-Forwarded-For that are read; the client behind a longer chain is unknown
_MAX_LENGTH = 80  # characters of an element: an IPv6 address with brackets, quotes, zone id and port has less
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]+(?:%[^\]]+)?)\](?::[0-9]{1,5})?")
_WITH_PORT = re.compile(r"([0-9.]+):[0-9]{1,5}")


class Sender(Protocol):
    """The part of a request that identifies its sender; aiohttp's request has it."""

    @property
    def remote(self) -> str | None:
        """The address of the peer."""

    @property
    def headers(self) -> MultiMapping[str]:
        """The request's headers."""


@dataclass(frozen=True, slots=True)
class RemoteClient:
    """The sender of a request. `name` is the address, for logs and counts.

    Without an address it is `local` (a local program, through a Unix socket) or `unknown` (a proxy reports no address).
    """

    name: str
    address: Address | None = None


LOCAL = RemoteClient("local")
UNKNOWN = RemoteClient("unknown")


def client_of(request: Sender, trusted: Sequence[Network]) -> RemoteClient:
    """The client of a request. On a Unix socket the peer is always a trusted proxy."""
    peer = _peer(request)
    if peer is UNKNOWN or not _is_proxy(peer, trusted):
        return peer
    lines = request.headers.getall("X-Forwarded-For", ())
    for count, element in enumerate(part for line in reversed(lines) for part in reversed(line.split(","))):
        peer = forwarded_client(element) if count < MAX_PROXIES else UNKNOWN
        if peer is UNKNOWN or not _is_proxy(peer, trusted):
            break
    return peer


def is_trusted(request: Sender, trusted: Sequence[Network]) -> bool:
    """Whether the peer is a trusted proxy; on a Unix socket it always is."""
    peer = _peer(request)
    return peer is not UNKNOWN and _is_proxy(peer, trusted)


def is_allowed(address: Address | None, networks: Sequence[Network]) -> bool:
    """Whether an address (None: no address) is in one of the networks; without networks everything is allowed."""
    return not networks or (address is not None and _within(address, networks))


@functools.lru_cache(maxsize=4096)
def client_at(text: str) -> RemoteClient:
    """The client at an address as sockets give it, without brackets or port; UNKNOWN for other text."""
    try:
        address = ip_address(text)
    except ValueError:
        return UNKNOWN
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or (IPv6Address(int(address)) if address.scope_id else address)
    return RemoteClient(str(address), address)


def site_of(address: Address) -> Network:
    """The network that limits count as one client: an IPv4 address, or the /64 of an IPv6 address."""
    if isinstance(address, IPv4Address):
        return IPv4Network(address)
    return IPv6Network((int(address) >> 64 << 64, 64))


def forwarded_client(element: str) -> RemoteClient:
    """The client that an element of X-Forwarded-For reports; UNKNOWN if it is not an address."""
    text = element.strip(" \t")
    return _parse(text) if len(text) <= _MAX_LENGTH else UNKNOWN


@functools.lru_cache(maxsize=4096)
def _parse(text: str) -> RemoteClient:
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if match := _BRACKETED.fullmatch(text):
        return client_at(match[1]) if ":" in match[1] else UNKNOWN
    if match := _WITH_PORT.fullmatch(text):
        return client_at(match[1])
    return client_at(text)


def _peer(request: Sender) -> RemoteClient:
    """The peer of the connection. A Unix socket's peer has no address, or the name of its own socket."""
    remote = request.remote
    if remote is None:  # the connection has ended already
        return UNKNOWN
    client = client_at(remote)
    return LOCAL if client is UNKNOWN else client


def _is_proxy(client: RemoteClient, trusted: Sequence[Network]) -> bool:
    return client.address is None or _within(client.address, trusted)


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
