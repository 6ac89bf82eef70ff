"""Checks what a configuration refers to: directories, TLS files, sockets. Changes nothing."""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flexportd.daemon.sockets import address_error, resolve_addresses, tls_context
from flexportd.errors import ConfigError

if TYPE_CHECKING:
    from flexportd.settings import ListenAddress, Settings


def problems(settings: "Settings") -> Iterator[str]:
    """Every problem that would prevent a daemon with these settings from starting."""
    from flexportd.daemon import permissions

    storage, server = settings.storage, settings.server
    yield from permissions.problems(storage.data_dir, storage.cache_dir, storage.control_socket)
    yield from _folder("[storage] data_dir", storage.data_dir)
    yield from _folder("[storage] cache_dir", storage.cache_dir)
    yield from _socket("[storage] control_socket", storage.control_socket)
    for listen in server.listen:
        if listen.unix is not None:
            yield from _socket("[server] listen", listen.unix)
    missing = missing_addresses(server.listen)
    if missing and len(missing) == sum(len(resolve_addresses(listen)) for listen in server.listen):
        yield from missing
    if server.tls_cert is not None and server.tls_key is not None:
        yield from _tls(server.tls_cert, server.tls_key)


def missing_addresses(listens: "Sequence[ListenAddress]") -> list[str]:
    """Listen addresses that this machine does not have. Raises ConfigError for an unknown host name."""
    errors = (address_error(address, listen) for listen in listens for address in resolve_addresses(listen))
    return [problem for error in errors if error is not None for problem in error.problems]


def _folder(key: str, path: Path) -> Iterator[str]:
    """A directory must be writable, or it must be possible to create it."""
    nearest = path
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        yield f"{key}: {nearest} is not a directory"
    elif not os.access(nearest, os.W_OK | os.X_OK):
        action = "write to" if nearest == path else "create"
        yield f"{key}: cannot {action} {path}: no write permission for {nearest}"


def _socket(key: str, path: Path) -> Iterator[str]:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        yield from _folder(key, path.parent)
    except OSError as error:
        yield f"{key}: {path}: {error.strerror or error}"
    else:
        if not stat.S_ISSOCK(mode):
            yield f"{key}: {path} exists and is not a socket; choose another path"


def _tls(cert: Path, key: Path) -> Iterator[str]:
    try:
        tls_context(cert, key)
    except ConfigError as error:
        yield from error.problems
