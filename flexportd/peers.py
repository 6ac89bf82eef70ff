"""Who is calling: the peer's address, or the one a trusted proxy tells."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import web

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


def client_address(request: web.BaseRequest, trusted: Sequence[Network]) -> Address | None:
    """The caller's address; None for a Unix socket. Proxies are believed only from the right, while trusted."""
    peer = _address(request.remote or "")
    if peer is None or not _within(peer, trusted):
        return peer
    told = [part for line in request.headers.getall("X-Forwarded-For", ()) for part in line.split(",")]
    for part in reversed(told):
        hop = _address(part.strip())
        if hop is None:
            return peer
        peer = hop
        if not _within(hop, trusted):
            break
    return peer


def is_trusted(request: web.BaseRequest, trusted: Sequence[Network]) -> bool:
    """Whether a trusted proxy is connected; on a Unix socket whoever connects is one."""
    peer = _address(request.remote or "")
    return peer is None or _within(peer, trusted)


def allowed(address: Address | None, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of the networks; none configured means all are. A Unix socket always is."""
    return not networks or address is None or _within(address, networks)


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _address(text: str) -> Address | None:
    try:
        found = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
