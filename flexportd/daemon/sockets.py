"""Listening sockets: bound by us, or handed over by systemd; and telling systemd how we are."""

import contextlib
import errno
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from flexportd.errors import ConfigError
from flexportd.settings import ListenAddress
from flexportd.settings.config_file import read_bytes

BoundSocket = tuple[socket.socket, bool, str]
"""The socket, whether it is bound to a loopback address, and its address for people.

A Unix socket is not loopback: it exists for a proxy, whose callers may come from anywhere.
"""

Address = tuple[Any, ...]
"""An address of `socket`: host and port, with IPv6 also flow and scope."""

_BACKLOG = 4096  # the kernel takes net.core.somaxconn, where that is less
_LISTEN_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_NOTIFY_TIMEOUT = 0.5  # seconds for systemd to take a message
_MAX_PEM = 1 << 20  # bytes of a certificate chain or a key
_LOOPBACK = ("127.0.0.1", "::1")
_ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ENODEV}


class UnavailableAddressError(ConfigError):
    """An address that this machine does not have: of another machine, or of IPv6 where there is none."""


def tls_context(cert: Path, key: Path) -> ssl.SSLContext:
    """What serves TLS with this certificate chain and its key. Raises ConfigError for files that cannot serve."""
    problems = [
        f"[server] {name}: {why}"
        for name, path in (("tls_cert", cert), ("tls_key", key))
        if (why := _unusable_reason(path))
    ]
    if problems:
        raise ConfigError(problems)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without a password a locked key would be asked for on the terminal.
        context.load_cert_chain(cert, key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise ConfigError(f"[server] tls_cert, tls_key: {cert}, {key} do not work together: {error}") from error
    return context


def _unusable_reason(path: Path) -> str | None:
    """Why a file can be no certificate and no key."""
    try:
        content, _ = read_bytes(path, _MAX_PEM)
    except ConfigError as error:
        return str(error)
    return f"{path} is larger than 1 MiB, too large for a certificate or key" if len(content) > _MAX_PEM else None


def resolve_addresses(listen: ListenAddress) -> list[ListenAddress]:
    """The places to listen at that a place in the settings stands for: a name has one for each of its addresses.

    `localhost` always has both loopback addresses (RFC 6761, section 6.3), since browsers do not look it up. Blocks
    while a name is looked up. Raises ConfigError for an unknown name.
    """
    if listen.host is None or _is_address(listen.host):
        return [listen]
    try:
        infos = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(f"[server] listen {listen}: {error.strerror or error}") from error
    hosts = [_with_scope(address) for *_, address in infos]
    if listen.host == "localhost" and all(ip_address(host.partition("%")[0]).is_loopback for host in hosts):
        hosts += _LOOPBACK
    return [replace(listen, host=host) for host in dict.fromkeys(hosts)]


def _with_scope(address: tuple[Any, ...]) -> str:
    """The host of a socket address; a link-local one is of no use without its interface (RFC 4007)."""
    host = str(address[0])
    return f"{host}%{address[3]}" if len(address) > 3 and address[3] and "%" not in host else host


def bind(listen: ListenAddress, place: ListenAddress | None = None) -> BoundSocket:
    """A listening socket at an address; `place` is what the settings say, for errors.

    An IPv6 socket never serves IPv4, whatever the system's default: `[::]` is every IPv6 address, `0.0.0.0` every IPv4
    address. Raises UnavailableAddressError, or ConfigError when the address cannot be used for another reason.
    """
    try:
        if listen.unix is not None:
            return _bind_unix(listen.unix), False, str(listen)
        sock = _bind_socket(listen)
        with _closed_on_error(sock):
            return _start_listening(sock), _is_loopback(sock), _address(sock)
    except OSError as error:
        raise _bind_error(listen, place or listen, error) from error


def address_error(listen: ListenAddress, place: ListenAddress) -> UnavailableAddressError | None:
    """Why an address does not exist on this machine, found without taking its port; `place` as for `bind`."""
    try:
        if listen.unix is None:
            _bind_socket(replace(listen, port=0)).close()
    except OSError as error:
        found = _bind_error(listen, place, error)
        return found if isinstance(found, UnavailableAddressError) else None
    return None


def _bind_socket(listen: ListenAddress) -> socket.socket:
    family, _, _, _, address = _numeric(listen)
    sock = socket.socket(family, socket.SOCK_STREAM)
    with _closed_on_error(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    return sock


def _numeric(listen: ListenAddress) -> tuple[socket.AddressFamily, socket.SocketKind, int, str, Address]:
    flags = socket.AI_PASSIVE | socket.AI_NUMERICHOST
    return socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=flags)[0]


def _bind_error(listen: ListenAddress, place: ListenAddress, error: OSError) -> ConfigError:
    # The address of an interface that does not exist is reported as an unknown name.
    if error.errno in _ABSENT or isinstance(error, socket.gaierror):
        family = " or no IPv6" if ":" in str(listen.host) else ""
        return UnavailableAddressError(
            f"[server] listen {place}: this machine does not have the address {listen.host}{family}"
        )
    return ConfigError(f"[server] listen {place}: {error.strerror or error}")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@contextlib.contextmanager
def _closed_on_error(sock: socket.socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        sock.close()
        raise


def _start_listening(sock: socket.socket) -> socket.socket:
    sock.listen(_BACKLOG)
    sock.setblocking(False)
    return sock


def _bind_unix(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigError(f"[server] listen unix:{path}: exists and is not a socket; choose another path")
        if _has_listener(path):
            raise ConfigError(f"[server] listen unix:{path}: another process is listening on it")
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _closed_on_error(sock):
        mask = os.umask(0o117)  # a proxy in our group may connect
        try:
            sock.bind(str(path))
        finally:
            os.umask(mask)
        return _start_listening(sock)


def _has_listener(path: Path) -> bool:
    """Whether somebody listens at a Unix socket: systemd, or another daemon."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except BlockingIOError:  # its queue is full
            return True
    return True


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_loopback(sock: socket.socket) -> bool:
    """Whether the address is one: the name that it was given as may resolve to any."""
    return ip_address(sock.getsockname()[0].partition("%")[0]).is_loopback


def _unix_name(sock: socket.socket) -> str:
    name = sock.getsockname()
    return f"@{os.fsdecode(name[1:])}" if isinstance(name, bytes) else str(name)  # bytes: the abstract namespace


def activated_sockets() -> list[BoundSocket]:
    """The sockets that systemd holds for us (sd_listen_fds(3)). Raises ConfigError for what cannot be served."""
    given = {name: os.environ.get(name, "") for name in _LISTEN_VARIABLES}
    if given["LISTEN_PID"] != str(os.getpid()):
        return []
    for name in _LISTEN_VARIABLES:
        os.environ.pop(name, None)  # they are ours, not for a program that we start
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
            sock.listen(_BACKLOG)
        sock.setblocking(False)
        if sock.family == socket.AF_UNIX:
            return sock, False, f"unix:{_unix_name(sock)}"
        return sock, _is_loopback(sock), _address(sock)
    except OSError as error:
        raise ConfigError(f"File descriptor {number} from systemd: {error.strerror or error}; {needed}") from error


def sd_notify(state: str) -> None:
    """Tell systemd, where it listens (sd_notify(3)); says nothing elsewhere. Blocks, for half a second at most."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(_NOTIFY_TIMEOUT)
        sock.connect("\0" + path[1:] if path.startswith("@") else path)
        sock.sendall(state.encode(errors="backslashreplace"))
