"""One folder of stored responses, used by the thread that owns it. Every error is a miss.

The folder may be deleted, emptied or damaged at any moment. Deleted: the open file stays usable but is no longer the
one in the folder, so this is checked before each use, and the folder reopened. Damaged: everything in it is deleted.
Nothing in it survives a crash either (see `open`), so SQLite runs without fsync and with its journal in memory. No file
is memory-mapped, because reading a mapped file that is truncated kills the process.
"""

import contextlib
import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import diskcache
import msgspec
import structlog

from flexportd.cache.entries import CacheEntry, decode_entry, encode_entry
from flexportd.cache.invalidation import TagVersionsState
from flexportd.cache.safe_diskcache import BytesDisk

log = structlog.get_logger(__name__)

T = TypeVar("T")

_DATABASE = "cache.db"
_SHUTDOWN_FILE = "seal"
_OWN_FILES = re.compile(r"cache\.db(-journal|-wal|-shm)?|seal(\.new)?|[0-9a-f]{2}")
_RETRY_DELAY = 30.0  # seconds until a folder that cannot be used is retried
_MAX_TOKEN_BYTES = 64 << 20  # bytes
_SETTINGS = {
    "eviction_policy": "least-recently-stored",  # the other policies write on each look-up
    "cull_limit": 10,
    "statistics": 0,
    "tag_index": 0,
    "disk_min_file_size": 32 << 10,
    "sqlite_auto_vacuum": 1,
    "sqlite_cache_size": 512,  # pages
    "sqlite_journal_mode": "memory",
    "sqlite_mmap_size": 0,
    "sqlite_synchronous": 0,
}


class Write(NamedTuple):
    """An entry that is queued to be stored."""

    key: str
    entry: CacheEntry
    seconds: float


class _CleanShutdown(msgspec.Struct, array_like=True):
    clean_shutdown_token: str
    edition: str
    epoch: int
    floor: int
    at: dict[str, int]


class DiskStore:
    """Used by one thread; other threads may read only the counts. Raises nothing."""

    def __init__(self, folder: Path, size_limit: int, edition: str, now: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._size_limit = size_limit
        self._edition = edition
        self._now = now
        self._cache: Any = None
        self._lock = -1
        self._file = (0, 0)
        self._retry_at = 0.0
        self._failed_at = -_RETRY_DELAY
        self._last_error = ""
        self.entries = 0
        self.bytes = 0
        self.errors = 0
        self.reopened = 0

    def open(self, token: str | None) -> TagVersionsState | None:
        """Keep the entries if they were closed with this token and made by this edition; otherwise delete them."""

        def work() -> TagVersionsState | None:
            self._lock_folder()
            last = self._read_clean_shutdown()
            expected = (token, self._edition)
            if token is not None and last is not None and (last.clean_shutdown_token, last.edition) == expected:
                self._open_database()
                return TagVersionsState(last.epoch, last.floor, last.at)
            self._reset()
            return None

        return self._safely(work, None)

    def get(self, key: str) -> tuple[CacheEntry, float] | None:
        """An entry, and when it expires (seconds since 1970), or None."""

        def work() -> tuple[CacheEntry, float] | None:
            if not self._is_ready():
                return None
            content, expires = self._cache.get(key, expire_time=True)
            return None if content is None else (decode_entry(content), expires or 0.0)

        return self._safely(work, None)

    def put(self, writes: Sequence[Write]) -> None:
        """Store entries in one transaction."""

        def work() -> None:
            if not self._is_ready():
                return
            with self._cache.transact():
                for write in writes:
                    self._cache.set(write.key, encode_entry(write.entry), expire=write.seconds)
            self._count()

        self._safely(work, None)

    def clear(self) -> None:
        """Delete everything."""

        def work() -> None:
            if self._is_ready():
                self._reset()

        self._safely(work, None)

    def close(self, token: str, versions: TagVersionsState) -> bool:
        """Keep everything for the next start; False when it could not be trusted then."""

        def work() -> bool:
            if not self._is_ready():
                return False
            self._close_database()
            fresh = self._folder / f"{_SHUTDOWN_FILE}.new"
            fresh.write_bytes(msgspec.msgpack.encode(_CleanShutdown(token, self._edition, *versions)))
            fresh.replace(self._folder / _SHUTDOWN_FILE)
            return True

        done = self._safely(work, False)
        self.release()
        return done

    def release(self) -> None:
        """Close the database and unlock the folder."""
        self._close_database()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _safely(self, work: Callable[[], T], otherwise: T) -> T:
        try:
            return work()
        except Exception as error:  # noqa: BLE001  (every error of a cache is a miss)
            self._on_error(error)
            return otherwise

    def _is_ready(self) -> bool:
        if self._cache is not None and self._is_in_place():
            return True
        if self._cache is not None:
            self.reopened += 1
            self.release()
            self._lock_folder()
            self._reset()  # value files may be left if only the database is missing
        elif self._now() >= self._retry_at:
            self._lock_folder()
            self._open_database()
        return self._cache is not None

    def _is_in_place(self) -> bool:
        try:
            status = (self._folder / _DATABASE).stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._file

    def _lock_folder(self) -> None:
        """Create and lock the folder: two daemons would use each other's responses."""
        if self._lock >= 0:
            return
        path = str(self._folder)
        if os.path.expandvars(os.path.expanduser(path)) != path:  # noqa: PTH111  (as diskcache does with it)
            raise OSError("the path of the cache must not contain $ or ~")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        status = os.fstat(self._lock)
        if status.st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to another user")
        if status.st_mode & 0o077:
            os.fchmod(self._lock, 0o700)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _open_database(self) -> None:
        path = str(self._folder)
        self._cache = diskcache.Cache(path, timeout=1, disk=BytesDisk, size_limit=self._size_limit, **_SETTINGS)
        status = (self._folder / _DATABASE).stat()
        self._file = (status.st_dev, status.st_ino)
        self._count()
        self._last_error = ""

    def _close_database(self) -> None:
        cache, self._cache = self._cache, None
        if cache is not None:
            with contextlib.suppress(Exception):
                cache.close()

    def _reset(self) -> None:
        """Delete the files of diskcache and ours, and nothing else. The folder is locked."""
        self._close_database()
        for path in list(self._folder.iterdir()):
            if not _OWN_FILES.fullmatch(path.name):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        self._open_database()

    def _read_clean_shutdown(self) -> _CleanShutdown | None:
        """The token of the last clean shutdown. It is valid once: it does not cover later changes."""
        path = self._folder / _SHUTDOWN_FILE
        try:
            with path.open("rb") as file:
                content = file.read(_MAX_TOKEN_BYTES)
            path.unlink()
            return msgspec.msgpack.decode(content, type=_CleanShutdown)
        except (OSError, ValueError):
            return None

    def _count(self) -> None:
        self.entries, self.bytes = len(self._cache), self._cache.volume()

    def _on_error(self, error: Exception) -> None:
        self.errors += 1
        self.entries = self.bytes = 0
        reason = f"{type(error).__name__}: {error}"
        if reason != self._last_error:
            log.warning("disk_cache_failed", folder=str(self._folder), reason=reason)
        self._last_error = reason
        now = self._now()
        often = now - self._failed_at < _RETRY_DELAY
        self._failed_at = now
        if not isinstance(error, OSError) and not often and self._lock >= 0:
            # Damaged: nothing shows which entries are intact.
            try:
                self._reset()
            except Exception:  # noqa: BLE001  (as above; it is retried later)
                self.errors += 1
            else:
                return
        self.release()
        self._retry_at = now + _RETRY_DELAY
