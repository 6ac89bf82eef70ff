"""The control socket: the same API over HTTP on a Unix socket that only this user may open (0600).

It never replaces anything that is not a socket. Only the daemon that holds the lock of the data directory gets this
far, so an existing socket file is left from a daemon that has ended.
"""

import contextlib
import socket
import stat
from pathlib import Path

from flexportd.daemon.sockets import bind_unix
from flexportd.errors import ConfigError


def bind(path: Path) -> socket.socket:
    """The listening socket. Raises ConfigError when the path cannot be used."""
    _clear(path)
    try:
        return bind_unix(path, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}: cannot create the socket: {error.strerror or error}") from error


def _clear(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"{path} exists and is not a socket; choose another path")
    path.unlink()


def remove(path: Path) -> None:
    """Delete the socket file, if it still is one."""
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
