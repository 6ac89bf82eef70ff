"""The write-ahead log beside the database: how large the file is, and how much of it holds something."""

import os
import sys
from pathlib import Path

_FRAME_HEADER = 24  # bytes before each page


class Wal:
    """Looks at the files; from the writer's thread, or where a stat does not matter."""

    def __init__(self, database: Path) -> None:
        self._file = Path(f"{database}-wal")
        self._index = Path(f"{database}-shm")
        self._handle: int | None = None

    def close(self) -> None:
        """To be called after the last connection of this process is closed."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def size(self) -> int:
        """The size of the file in bytes; it is not made smaller while there is work."""
        try:
            return self._file.stat().st_size
        except OSError:
            return 0

    def used_bytes(self) -> int:
        """The bytes that hold something.

        Read from the WAL-index: mxFrame, four bytes at 16, and the page size, two at 14, in the machine's byte order
        (https://www.sqlite.org/walformat.html#walidxfmt).
        """
        head = self._head()
        if len(head) < 20:
            return self.size()
        page, frames = int.from_bytes(head[14:16], sys.byteorder), int.from_bytes(head[16:20], sys.byteorder)
        return frames * ((65536 if page == 1 else page) + _FRAME_HEADER)

    def _head(self) -> bytes:
        # Opened once, and closed after SQLite: a process that closes any handle of a file loses all its locks on it,
        # those of SQLite's too, and another program that opens the database would begin the WAL-index anew under us
        # (https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
        try:
            if self._handle is None:
                self._handle = os.open(self._index, os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._handle, 20, 0)
        except OSError:
            return b""
