"""The write-ahead log beside the database: how large the file is, and how much of it holds something."""

import sys
from pathlib import Path

_FRAME_HEAD = 24  # bytes before each page


class Wal:
    """Looks at the files; from the writer's thread, or where a stat does not matter."""

    def __init__(self, database: Path) -> None:
        self._file = Path(f"{database}-wal")
        self._index = Path(f"{database}-shm")

    def size(self) -> int:
        """The size of the file in bytes; it is not made smaller while there is work."""
        try:
            return self._file.stat().st_size
        except OSError:
            return 0

    def used(self) -> int:
        """The bytes that hold something.

        Read from the WAL-index: mxFrame, four bytes at 16, and the page size, two at 14, in the machine's byte order
        (https://www.sqlite.org/walformat.html#walidxfmt).
        """
        try:
            with self._index.open("rb") as index:
                head = index.read(20)
        except OSError:
            return self.size()
        if len(head) < 20:
            return self.size()
        page, frames = int.from_bytes(head[14:16], sys.byteorder), int.from_bytes(head[16:20], sys.byteorder)
        return frames * ((65536 if page == 1 else page) + _FRAME_HEAD)
