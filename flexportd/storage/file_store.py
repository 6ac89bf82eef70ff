"""The archive: files by the SHA-256 of their bytes, in `data_dir/archive/ab/<sha256>`. Nothing in it is ever deleted.

    incoming/<number>   a file that is being written; what a crash leaves is deleted at the next start
    ab/<sha256>         0600 in a folder of 0700: written elsewhere, synced, then renamed into its place
    ab/<sha256>.damaged-<number>   found to hold other bytes, and set aside

All but `begin` and `place` wait for the disk: call them beside the event loop. Only one process has the folder.
"""

import contextlib
import hashlib
import itertools
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

CHUNK_SIZE = 256 << 10  # bytes that are read at once

Condition = Literal["sound", "missing", "damaged"]

_NAME = re.compile(r"[0-9a-f]{64}")
_QUARANTINED = re.compile(r"[0-9a-f]{64}\.damaged-[0-9]+")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in its place: the SHA-256 in hexadecimal digits, and the size in bytes."""

    sha256: str
    size: int


class Upload:
    """A file under way. `keep` puts it into its place, `discard` takes it away; all are safe from any thread."""

    def __init__(self, archive: "Archive", path: Path) -> None:
        self._archive = archive
        self._path = path
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self._lock = threading.Lock()  # a caller that is cancelled discards while its last write still runs
        self._done = False
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Take these bytes. Raises OSError."""
        with self._lock:
            if self._done:
                return
            self._open().write(chunk)
            self._hash.update(chunk)
            self.size += len(chunk)

    def commit(self) -> StoredFile:
        """Make it durable under its name; one that is there already stays. Raises OSError."""
        with self._lock:
            file = self._open()
            file.flush()
            os.fsync(file.fileno())
            file.close()
            kept = StoredFile(self._hash.hexdigest(), self.size)
            self._archive._store(self._path, kept)  # noqa: SLF001 (one thing in two classes)
            self._done = True
            return kept

    def discard(self) -> None:
        """Leave nothing of it, unless it is in its place; safe twice."""
        with self._lock:
            if self._done:
                return
            self._done = True
            if self._file is not None:
                with contextlib.suppress(OSError):  # what it could not write before, it cannot write now
                    self._file.close()
                self._path.unlink(missing_ok=True)

    def _open(self) -> BinaryIO:
        if self._file is None:
            self._path.parent.parent.mkdir(mode=0o700, exist_ok=True)
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            self._file = os.fdopen(handle, "wb")
        return self._file


class Archive:
    """The folder. It is made when the first file comes."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / "archive"
        self._incoming = self.path / "incoming"
        self._numbers = itertools.count(1)

    def remove_incomplete(self) -> int:
        """Take away what a crash left half; how many. Only before the first `begin`."""
        try:
            left = list(self._incoming.iterdir())
        except FileNotFoundError:
            return 0
        for path in left:
            path.unlink()
        return len(left)

    def begin(self) -> Upload:
        """A file that is to come; nothing is on disk before its first byte."""
        return Upload(self, self._incoming / str(next(self._numbers)))

    def free_bytes(self) -> int:
        """Bytes that still fit on the disk."""
        found = os.statvfs(self.path if self.path.exists() else self.path.parent)
        return found.f_bavail * found.f_frsize

    def path_of(self, sha256: str) -> Path:
        """Where the file of this name is, or would be. Raises ValueError for what is no name."""
        if not _NAME.fullmatch(sha256):
            raise ValueError("a SHA-256 has 64 hexadecimal digits")
        return self.path / sha256[:2] / sha256

    def open(self, sha256: str, size: int) -> BinaryIO | None:
        """The file for reading; None when it is not there, or not of this size."""
        try:
            handle = os.open(self.path_of(sha256), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        file = os.fdopen(handle, "rb")
        found = os.fstat(handle)
        if stat.S_ISREG(found.st_mode) and found.st_size == size:
            return file
        file.close()
        return None

    def check(self, sha256: str, stop: Callable[[], bool] = lambda: False) -> Condition | None:
        """Read the whole file and compare it with its name; None when `stop` said so on the way."""
        digest = hashlib.sha256()
        try:
            handle = os.open(self.path_of(sha256), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(handle, "rb") as file:
                while piece := file.read(CHUNK_SIZE):
                    if stop():
                        return None
                    digest.update(piece)
        except FileNotFoundError:
            return "missing"
        except OSError:
            return "damaged"
        return "sound" if digest.hexdigest() == sha256 else "damaged"

    def quarantine(self, sha256: str) -> Path:
        """Move a damaged file out of the way of a sound one; where to. Raises OSError."""
        place = self.path_of(sha256)
        for number in itertools.count(1):
            aside = place.with_name(f"{sha256}.damaged-{number}")
            if not os.path.lexists(aside):
                break
        place.rename(aside)
        _fsync_folder(place.parent)
        return aside

    def folders(self) -> list[str]:
        """The names of what lies in the archive beside the files under way."""
        try:
            return sorted(entry.name for entry in os.scandir(self.path) if entry.name != self._incoming.name)
        except FileNotFoundError:
            return []

    def entries(self, folder: str) -> Iterator[tuple[str, Literal["file", "aside", "strange"]]]:
        """What lies in one of these: paths below the archive, and what each is by its name."""
        path = self.path / folder
        if not path.is_dir() or path.is_symlink():
            yield folder, "strange"
            return
        for entry in os.scandir(path):
            shown = f"{folder}/{entry.name}"
            belongs = entry.name.startswith(folder) and len(folder) == 2
            if belongs and _NAME.fullmatch(entry.name):
                yield shown, "file"
            else:
                yield shown, "aside" if belongs and _QUARANTINED.fullmatch(entry.name) else "strange"

    def _store(self, path: Path, kept: StoredFile) -> None:
        target = self.path_of(kept.sha256)
        if not target.parent.exists():
            target.parent.mkdir(mode=0o700, exist_ok=True)
            _fsync_folder(self.path)
        if os.path.lexists(target):
            found = target.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_size == kept.size:
                path.unlink()
                _fsync_folder(target.parent)  # it may lie there since a moment ago
                return
            self.quarantine(kept.sha256)
        path.rename(target)
        _fsync_folder(target.parent)


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
