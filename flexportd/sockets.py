"""Listening sockets: bound by us, or handed over by systemd; and telling systemd how we are."""

import contextlib
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from flexportd.errors import ConfigError
from flexportd.settings import Listen
from flexportd.settings.reading import read_bytes

Bound = tuple[socket.socket, bool, str]
"""The socket, whether it is bound to a loopback address, and its address for people.

A Unix socket is not loopback: it exists for a proxy, whose callers may come from anywhere.
"""

_BACKLOG = 4096  # the kernel takes net.core.somaxconn, where that is less
_NOTIFY = 0.5  # seconds for systemd to take a message
_LARGEST_PEM = 1 << 20  # bytes of a certificate chain or a key


def tls_context(cert: Path, key: Path) -> ssl.SSLContext:
    """What serves TLS with this certificate chain and its key. Raises ConfigError for files that cannot serve."""
    problems = [
        f"[server] {name}: {why}" for name, path in (("tls_cert", cert), ("tls_key", key)) if (why := _unfit(path))
    ]
    if problems:
        raise ConfigError(problems)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without a password a locked key would be asked for on the terminal.
        context.load_cert_chain(cert, key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise ConfigError(f"[server] tls_cert, tls_key: {cert}, {key} cannot be used together: {error}") from error
    return context


def _unfit(path: Path) -> str | None:
    """Why a file can be no certificate and no key."""
    try:
        content, _ = read_bytes(path, _LARGEST_PEM)
    except ConfigError as error:
        return str(error)
    return f"{path} is larger than 1 MiB, which no certificate or key is" if len(content) > _LARGEST_PEM else None


def bind(listen: Listen) -> Bound:
    """A listening socket. Raises ConfigError when the address cannot be used."""
    try:
        if listen.unix is not None:
            return _bind_unix(listen.unix), False, str(listen)
        family, _, _, _, address = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        with _closed_on_error(sock):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            return _listening(sock), _is_loopback(sock), _address(sock)
    except OSError as error:
        raise ConfigError(f"[server] listen {listen}: {error.strerror or error}") from error


@contextlib.contextmanager
def _closed_on_error(sock: socket.socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        sock.close()
        raise


def _listening(sock: socket.socket) -> socket.socket:
    sock.listen(_BACKLOG)
    sock.setblocking(False)
    return sock


def _bind_unix(path: Path) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigError(f"[server] listen unix:{path}: exists and is no socket; it is left alone")
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _closed_on_error(sock):
        mask = os.umask(0o117)  # a proxy in our group may connect
        try:
            sock.bind(str(path))
        finally:
            os.umask(mask)
        return _listening(sock)


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_loopback(sock: socket.socket) -> bool:
    """Whether the address is one: the name that it was given as may resolve to any."""
    return ip_address(sock.getsockname()[0].partition("%")[0]).is_loopback


def _unix_name(sock: socket.socket) -> str:
    name = sock.getsockname()
    return f"@{os.fsdecode(name[1:])}" if isinstance(name, bytes) else str(name)  # bytes: the abstract namespace


def inherited() -> list[Bound]:
    """The sockets that systemd holds for us (sd_listen_fds)."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = os.environ.pop("LISTEN_FDS", "0")
    os.environ.pop("LISTEN_PID", None)
    found: list[Bound] = []
    for number in range(3, 3 + (int(count) if count.isdigit() else 0)):
        sock = socket.socket(fileno=number)
        sock.setblocking(False)
        if sock.family == socket.AF_UNIX:
            found.append((sock, False, f"unix:{_unix_name(sock)}"))
        else:
            found.append((sock, _is_loopback(sock), _address(sock)))
    return found


def notify(state: str) -> None:
    """Tell systemd, where it listens (sd_notify(3)); says nothing elsewhere. Blocks, for half a second at most."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(_NOTIFY)
        sock.connect("\0" + path[1:] if path.startswith("@") else path)
        sock.sendall(state.encode(errors="backslashreplace"))
