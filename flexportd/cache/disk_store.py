"""One folder of stored responses, used by the thread that owns it. Every error is a miss.

The folder may be deleted, emptied or damaged at any moment. Deleted: the open file stays usable but is no longer the
one in the folder, so this is checked before each use, and the folder reopened. Damaged: everything in it is deleted.
Nothing in it survives a restart, so SQLite runs without fsync and with its journal in memory. No file is memory-mapped,
because reading a mapped file that is truncated kills the process.

Write access to the folder cannot execute code: entries are encoded with msgspec, and `BytesDisk` keeps pickle out.
"""

import contextlib
import fcntl
import os
import re
import shutil
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import diskcache
import msgspec
import structlog
from diskcache import UNKNOWN, Disk
from diskcache.core import MODE_BINARY, MODE_RAW

log = structlog.get_logger(__name__)

T = TypeVar("T")

_DATABASE = "cache.db"
_OWN_FILES = re.compile(r"cache\.db(-journal|-wal|-shm)?|[0-9a-f]{2}")
_VALUE_FILE = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{28}\.val")
_RETRY_DELAY = 30.0  # seconds until a folder that cannot be used is retried
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


class CacheEntry(msgspec.Struct, array_like=True, gc=False):
    """A stored value. `epoch` is the one in which building it began; `check` is its CRC-32, set by the store."""

    epoch: int
    tags: tuple[str, ...]
    value: bytes
    check: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(CacheEntry).decode


class Write(NamedTuple):
    """An entry that is queued to be stored."""

    key: str
    entry: CacheEntry
    seconds: float


class BytesDisk(Disk):  # type: ignore[misc]  # diskcache has no types
    """diskcache's storage restricted to values of bytes and keys of text; ValueError for anything else.

    diskcache 5.6 reads a pickle wherever a row declares one (CVE-2025-69872): as a value, and as a key when keys are
    listed. A row also names the file of its value, which must stay inside the folder. Each error deletes the cache.
    """

    def put(self, key: object) -> tuple[str, bool]:
        """Encode a key."""
        if type(key) is not str:
            raise ValueError("a key is text")
        return key, True

    def get(self, key: object, raw: object) -> str:
        """Decode a key."""
        if not raw or type(key) is not str:
            raise ValueError("a stored key is not text")
        return key

    def store(self, value: object, read: bool, key: object = UNKNOWN) -> Any:
        """Store a value: size, mode, name of its file, bytes in the row."""
        if type(value) is not bytes or read:
            raise ValueError("a value is bytes")
        return super().store(value, read, key)

    def fetch(self, mode: object, filename: object, value: object, read: bool) -> bytes:
        """Load a value. Raises OSError when its file is missing."""
        if read or (mode, type(value)) not in {(MODE_RAW, bytes), (MODE_BINARY, type(None))}:
            raise ValueError("a stored value is not bytes")
        if mode == MODE_BINARY:
            _check_name(filename)
        content: bytes = super().fetch(mode, filename, value, read)
        return content

    def remove(self, file_path: object) -> None:
        """Delete the file of a value."""
        _check_name(file_path)
        super().remove(file_path)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not _VALUE_FILE.fullmatch(name):
        raise ValueError("a stored value lies outside the folder")


class DiskStore:
    """Used by one thread; other threads may read only the counts. Raises nothing."""

    def __init__(self, folder: Path, size_limit: int, now: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._size_limit = size_limit
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

    def open(self) -> None:
        """Lock the folder and delete what an earlier process left."""
        self._safely(self._is_ready, False)

    def get(self, key: str) -> tuple[CacheEntry, float] | None:
        """An entry, and when it expires (seconds since 1970), or None."""

        def work() -> tuple[CacheEntry, float] | None:
            if not self._is_ready():
                return None
            content, expires = self._cache.get(key, expire_time=True)
            if content is None:
                return None
            entry = _decode(content)  # its ValidationError is a ValueError
            if zlib.crc32(entry.value) != entry.check:
                raise ValueError("the checksum of a stored entry is wrong")
            return entry, expires or 0.0

        return self._safely(work, None)

    def put(self, writes: Sequence[Write]) -> None:
        """Store entries in one transaction."""

        def work() -> None:
            if not self._is_ready():
                return
            with self._cache.transact():
                for key, entry, seconds in writes:
                    entry.check = zlib.crc32(entry.value)
                    self._cache.set(key, _encode(entry), expire=seconds)
            self._count()

        self._safely(work, None)

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
        """Whether the database is open. It is reopened empty: what happened to the folder meanwhile is unknown."""
        if self._cache is not None:
            if self._is_in_place():
                return True
            self.reopened += 1
            self.release()
        elif self._now() < self._retry_at:
            return False
        self._lock_folder()
        self._reset()
        return True

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
