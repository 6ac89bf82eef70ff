"""The base URL of links: the configured one, else that of the request, else a listening address."""

import re
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from operator import itemgetter

from aiohttp import hdrs, web

from flexportd.expose.context import DISPLAY, SERVER_INFO, DisplaySettings, ServerInfo
from flexportd.expose.security.access_policy import ACCESS_POLICY
from flexportd.expose.security.cors import forwarded_hosts, forwarded_schemes
from flexportd.http.client_ip import is_trusted

NO_BASE_URL = (
    "flexportd listens only on Unix sockets, so links have no URL that others can open: set [server] public_url"
)

_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
# Documentation addresses. No packet is sent: connecting a UDP socket only selects the local address.
_PROBE_ADDRESSES = {4: ("192.0.2.1", 9), 6: ("2001:db8::1", 9)}


def base_url(request: web.Request) -> str | None:
    """The base URL, without a trailing slash; None if the daemon listens only on Unix sockets.

    Requests on the control socket have no host that others could use, so they get a listening address.
    """
    display, policy = request.app[DISPLAY], request.app[ACCESS_POLICY]
    if display.public_url is not None:
        return display.public_url
    host, scheme = request.headers.get(hdrs.HOST, ""), request.scheme
    if is_trusted(request, policy.trusted_proxies):
        host = next(iter(forwarded_hosts(request)), host)
        scheme = next(iter(forwarded_schemes(request)), scheme)
    if policy.checks_hosts and _HOST.fullmatch(host):
        return f"{scheme}://{host}"
    return configured_url(display, request.app[SERVER_INFO])


def configured_url(display: DisplaySettings, server: ServerInfo) -> str | None:
    """The base URL regardless of the request, for content that all callers share."""
    return display.public_url or reachable_url(server.addresses, "https" if server.has_tls else "http")


def reachable_url(addresses: Iterable[str], scheme: str) -> str | None:
    """The first listening address that other machines can reach, else a loopback one; None without any."""
    urls: list[tuple[bool, str]] = []
    for address in addresses:
        host, colon, port = address.rpartition(":")
        if address.startswith("unix:") or not colon:
            continue
        ip = ip_address(host.strip("[]").partition("%")[0])
        reachable = _own_address(ip.version) if ip.is_unspecified else host
        urls.append((ip.is_loopback, f"{scheme}://{reachable}:{port}"))
    return min(urls, key=itemgetter(0))[1] if urls else None


def _own_address(version: int) -> str:
    """The address of this machine in the network; the loopback address without one."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(_PROBE_ADDRESSES[version])
            own = str(sock.getsockname()[0])
    except OSError:
        own = "127.0.0.1" if version == 4 else "::1"
    return f"[{own}]" if version == 6 else own
