"""systemd: socket activation, and notifications of the daemon's state."""

import contextlib
import os
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import structlog

from flexportd.daemon.sockets import BACKLOG, Address, BoundSocket, format_address, is_loopback, numeric_address
from flexportd.errors import ConfigError
from flexportd.settings import ListenAddress

log = structlog.get_logger(__name__)

_LISTEN_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_NOTIFY_TIMEOUT = 0.5  # seconds for systemd to take a message


def activated_sockets() -> list[BoundSocket]:
    """The sockets that systemd passes to us (sd_listen_fds(3)). Raises ConfigError for one that cannot be served."""
    given = {name: os.environ.get(name, "") for name in _LISTEN_VARIABLES}
    if given["LISTEN_PID"] != str(os.getpid()):
        return []
    for name in _LISTEN_VARIABLES:
        os.environ.pop(name, None)  # for this process only, not for a program that it starts
    count = given["LISTEN_FDS"]
    return [_activated_socket(number) for number in range(3, 3 + (int(count) if count.isdecimal() else 0))]


def _activated_socket(number: int) -> BoundSocket:
    needed = "the systemd socket unit must use ListenStream= without Accept=yes"
    try:
        sock = socket.socket(fileno=number)
        os.set_inheritable(number, False)
        if sock.type != socket.SOCK_STREAM or sock.family not in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
            raise ConfigError(f"File descriptor {number} from systemd is not a stream socket: {needed}")
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.listen(BACKLOG)
        sock.setblocking(False)
        if sock.family == socket.AF_UNIX:
            name = sock.getsockname()
            shown = f"@{os.fsdecode(name[1:])}" if isinstance(name, bytes) else name  # bytes: the abstract namespace
            return sock, False, f"unix:{shown}"
        return sock, is_loopback(sock), format_address(sock)
    except OSError as error:
        raise ConfigError(f"File descriptor {number} from systemd: {error.strerror or error}; {needed}") from error


def is_already_bound(listen: ListenAddress, held: Sequence[BoundSocket]) -> bool:
    """Whether a socket from systemd has an address already, in whatever form either is written.

    It has the same address, one that includes it, or a part of it: then the kernel allows no second socket. `listen`
    has an address, not a name.
    """
    if listen.unix is not None:
        overlaps = any(is_bound_to(sock, listen.unix) for sock, _, _ in held)
    elif held and listen.port:  # port 0 takes a free one
        try:
            _, address = numeric_address(listen)
        except OSError:
            return False  # `bind` reports it
        overlaps = any(_overlap(sock, address) for sock, _, _ in held)
    else:
        overlaps = False
    if overlaps:
        # With a socket for one address, there can be none for all of them: only that address is served.
        is_less = listen.host in ("0.0.0.0", "::") and all(loopback for _, loopback, _ in held)  # noqa: S104
        write = log.warning if is_less else log.info
        write("listen_held_by_systemd", listen=str(listen), sockets=[address for _, _, address in held])
    return overlaps


def is_bound_to(sock: socket.socket, path: Path) -> bool:
    """Whether this is a Unix socket bound to the path, however that is written."""
    name = sock.getsockname()
    if sock.family != socket.AF_UNIX or not name or isinstance(name, bytes):  # bytes: in the abstract namespace
        return False
    with contextlib.suppress(OSError):
        return Path(name).samefile(path)
    return os.path.realpath(str(name)) == os.path.realpath(path)


def _overlap(sock: socket.socket, address: Address) -> bool:
    if sock.family == socket.AF_UNIX or address[1] != sock.getsockname()[1]:
        return False
    held, other = _ip(sock.getsockname()), _ip(address)
    if held.is_unspecified and held.version == 6 and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
        return True  # it accepts IPv4 too
    return held == other or (held.version == other.version and (held.is_unspecified or other.is_unspecified))


def _ip(address: Address) -> IPv4Address | IPv6Address:
    """The IP address with its scope; an IPv4-mapped IPv6 address is the IPv4 address."""
    host, scope = str(address[0]).partition("%")[0], address[3] if len(address) > 3 else 0
    ip = ip_address(f"{host}%{scope}" if scope else host)
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip


def sd_notify(state: str) -> None:
    """Notify systemd (sd_notify(3)); does nothing without it. Blocks for half a second at most."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(_NOTIFY_TIMEOUT)
        sock.connect("\0" + path[1:] if path.startswith("@") else path)
        sock.sendall(state.encode(errors="backslashreplace"))
