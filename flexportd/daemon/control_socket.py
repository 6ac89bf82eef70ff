"""The control socket: the same API over HTTP on a Unix socket that only this user may open (0600).

It never takes the place of something that is not a socket, and only the daemon that holds the data folder's lock
gets this far, so a socket file that lies there is a dead one's.
"""

import contextlib
import os
import socket
import stat
from pathlib import Path

from flexportd.errors import ConfigError

_BACKLOG = 128


def bind(path: Path, mode: int = 0o600) -> socket.socket:
    """A listening Unix socket. Raises ConfigError when the path cannot be used."""
    _clear(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mask is set around the bind alone; nothing else runs on this thread meanwhile.
    mask = os.umask(0o777 & ~mode)
    try:
        sock.bind(str(path))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise ConfigError(f"{path}: cannot create the socket: {error.strerror or error}") from error
    finally:
        os.umask(mask)
    sock.setblocking(False)
    return sock


def _clear(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigError(f"{path} exists and is not a socket; choose another path")
    path.unlink()


def remove(path: Path) -> None:
    """Take the socket file away, if it still is one."""
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
