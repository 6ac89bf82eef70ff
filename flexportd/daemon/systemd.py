"""Which addresses systemd's sockets have already (socket activation): these are not bound a second time."""

import contextlib
import os
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import structlog

from flexportd.daemon.sockets import BoundSocket
from flexportd.settings import ListenAddress

log = structlog.get_logger(__name__)

_Address = tuple[Any, ...]  # of `socket`: host and port, with IPv6 also flow and scope


def is_already_bound(listen: ListenAddress, held: Sequence[BoundSocket]) -> bool:
    """Whether a socket from systemd leaves no room for an address, in whatever form either is written.

    It has the address, contains it, or has a part of it: the kernel allows no second socket then. `listen` has an
    address, not a name.
    """
    if listen.unix is not None:
        found = any(is_bound_to(sock, listen.unix) for sock, _, _ in held)
    elif held and listen.port:  # port 0 takes a free one
        flags = socket.AI_PASSIVE | socket.AI_NUMERICHOST
        try:
            *_, address = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=flags)[0]
        except OSError:
            return False  # `bind` reports it
        found = any(_overlap(sock, address) for sock, _, _ in held)
    else:
        found = False
    if found:
        # Beside a socket for one address there is none for all of them: it then is all that is served.
        is_less = listen.host in ("0.0.0.0", "::") and all(loopback for _, loopback, _ in held)  # noqa: S104
        write = log.warning if is_less else log.info
        write("listen_held_by_systemd", listen=str(listen), sockets=[address for _, _, address in held])
    return found


def is_bound_to(sock: socket.socket, path: Path) -> bool:
    """Whether this is a Unix socket that is bound to the path, however that is written."""
    name = sock.getsockname()
    if sock.family != socket.AF_UNIX or not name or isinstance(name, bytes):  # bytes: in the abstract namespace
        return False
    with contextlib.suppress(OSError):
        return Path(name).samefile(path)
    return os.path.realpath(str(name)) == os.path.realpath(path)


def _overlap(sock: socket.socket, address: _Address) -> bool:
    if sock.family == socket.AF_UNIX or address[1] != sock.getsockname()[1]:
        return False
    held, wanted = _ip(sock.getsockname()), _ip(address)
    if held.is_unspecified and held.version == 6 and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
        return True  # it accepts IPv4 too
    return held == wanted or (held.version == wanted.version and (held.is_unspecified or wanted.is_unspecified))


def _ip(address: _Address) -> IPv4Address | IPv6Address:
    """The IP address with its scope; an IPv4 address in the form of IPv6 is the IPv4 address."""
    host, scope = str(address[0]).partition("%")[0], address[3] if len(address) > 3 else 0
    found = ip_address(f"{host}%{scope}" if scope else host)
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
