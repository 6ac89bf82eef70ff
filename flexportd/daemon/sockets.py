"""Listening sockets: addresses, TLS, binding."""

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

Address = tuple[Any, ...]  # an address of `socket`: host and port, with IPv6 also flow and scope
BACKLOG = 4096  # the kernel takes net.core.somaxconn, where that is less
_MAX_PEM = 1 << 20  # bytes of a certificate chain or a key
_LOOPBACK = ("127.0.0.1", "::1")
_ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ENODEV}


class UnavailableAddressError(ConfigError):
    """An address that this machine does not have, such as an IPv6 address without IPv6."""


def tls_context(cert: Path, key: Path) -> ssl.SSLContext:
    """A TLS context with this certificate chain and key. Raises ConfigError for files that cannot be used."""
    problems = [
        f"[server] {name}: {why}"
        for name, path in (("tls_cert", cert), ("tls_key", key))
        if (why := _unusable_reason(path))
    ]
    if problems:
        raise ConfigError(problems)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without a password, OpenSSL would prompt on the terminal for that of an encrypted key.
        context.load_cert_chain(cert, key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise ConfigError(f"[server] tls_cert, tls_key: {cert}, {key} do not work together: {error}") from error
    return context


def _unusable_reason(path: Path) -> str | None:
    try:
        content, _ = read_bytes(path, _MAX_PEM)
    except ConfigError as error:
        return str(error)
    return f"{path} is larger than 1 MiB, too large for a certificate or key" if len(content) > _MAX_PEM else None


def resolve_addresses(listen: ListenAddress) -> list[ListenAddress]:
    """The addresses of a `listen` setting: one for each address of a name.

    `localhost` always has both loopback addresses (RFC 6761, section 6.3), since browsers do not look it up. Blocks
    while it resolves a name. Raises ConfigError for an unknown name.
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
    """The host of a socket address; a link-local address needs its interface (RFC 4007)."""
    host = str(address[0])
    return f"{host}%{address[3]}" if len(address) > 3 and address[3] and "%" not in host else host


def bind(listen: ListenAddress, place: ListenAddress | None = None) -> BoundSocket:
    """A listening socket at an address; `place` is the setting, for errors.

    An IPv6 socket never serves IPv4, whatever the system's default: `[::]` is every IPv6 address, `0.0.0.0` every IPv4
    address. Raises UnavailableAddressError, or ConfigError when the address cannot be used for another reason.
    """
    try:
        if listen.unix is not None:
            return _bind_listen_path(listen.unix), False, str(listen)
        sock = _bind_socket(listen)
        with _closed_on_error(sock):
            return _start_listening(sock), is_loopback(sock), format_address(sock)
    except OSError as error:
        raise _bind_error(listen, place or listen, error) from error


def address_error(listen: ListenAddress, place: ListenAddress) -> UnavailableAddressError | None:
    """Why this machine does not have an address, without using its port; `place` as for `bind`."""
    try:
        if listen.unix is None:
            _bind_socket(replace(listen, port=0)).close()
    except OSError as error:
        problem = _bind_error(listen, place, error)
        return problem if isinstance(problem, UnavailableAddressError) else None
    return None


def _bind_socket(listen: ListenAddress) -> socket.socket:
    family, address = numeric_address(listen)
    sock = socket.socket(family, socket.SOCK_STREAM)
    with _closed_on_error(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    return sock


def numeric_address(listen: ListenAddress) -> tuple[socket.AddressFamily, Address]:
    """The family and socket address of a numeric host and a port. Raises OSError for anything else."""
    flags = socket.AI_PASSIVE | socket.AI_NUMERICHOST
    family, *_, address = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=flags)[0]
    return family, address


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
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def _bind_listen_path(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigError(f"[server] listen unix:{path}: exists and is not a socket; choose another path")
        if _has_listener(path):
            raise ConfigError(f"[server] listen unix:{path}: another process is listening on it")
        path.unlink()
    return _bind_unix(path, 0o660)  # a proxy in our group may connect


def bind_control_socket(path: Path) -> socket.socket:
    """The socket for the API that only this user may open (0600). Raises ConfigError when the path cannot be used.

    It never replaces anything that is not a socket. Only the daemon that holds the lock of the data directory gets this
    far, so an existing socket file is left from a daemon that has ended.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise ConfigError(f"{path} exists and is not a socket; choose another path")
            path.unlink()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    try:
        return _bind_unix(path, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}: cannot create the socket: {error.strerror or error}") from error


def remove_socket(path: Path) -> None:
    """Delete a socket file, if it still is one."""
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()


def _bind_unix(path: Path, mode: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _closed_on_error(sock):
        mask = os.umask(0o777 & ~mode)  # only around the bind: nothing else runs on this thread meanwhile
        try:
            sock.bind(str(path))
        finally:
            os.umask(mask)
        return _start_listening(sock)


def _has_listener(path: Path) -> bool:
    """Whether another process listens on a Unix socket: systemd, or another daemon."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except BlockingIOError:  # its queue is full
            return True
    return True


def format_address(sock: socket.socket) -> str:
    """`host:port` of an IP socket."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(sock: socket.socket) -> bool:
    """Whether it is bound to a loopback address, whatever name it was configured with."""
    return ip_address(sock.getsockname()[0].partition("%")[0]).is_loopback
