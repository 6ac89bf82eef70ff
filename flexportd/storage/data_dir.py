"""The data folder: made private, locked against a second daemon."""

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from flexportd.errors import InUseError, StorageError

DATABASE = "flexportd.db"
_CREATE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class DataDir:
    """Holds the lock on a data folder until `release`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / DATABASE
        self.marker = path / "applying"
        self._lock: int | None = None

    def lock(self) -> None:
        """Make the folder (0700) and its database file (0600) and lock it.

        Raises InUseError when another daemon has it, StorageError when it cannot be made or written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path / "flexportd.lock", _CREATE_FLAGS, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(lock, 32).decode("ascii", "replace").strip() or "unknown"
                os.close(lock)
                raise InUseError(f"{self.path} is in use by another flexportd (process {holder})") from None
            os.ftruncate(lock, 0)
            os.write(lock, f"{os.getpid()}\n".encode())
            self._lock = lock
            os.close(os.open(self.database, _CREATE_FLAGS, 0o600))
        except OSError as error:
            self.release()
            reason = (
                "a file in it is a symbolic link, which is not followed"
                if error.errno == errno.ELOOP
                else error.strerror
            )
            reason = reason or str(error)
            raise StorageError(f"[storage] data_dir {self.path} cannot be used: {reason}") from error

    def release(self) -> None:
        """Let go of the lock; safe twice."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                os.close(self._lock)
            self._lock = None
