"""Which items are being applied at the moment, written so that it outlives the process.

Applied items have no lease: a crash undoes their transaction. So this file is the only trace of what was in work when
the process ended. It is written without fsync, which costs microseconds a batch: the page cache survives the process,
and what ends with the machine is not the fault of an item.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

_EMPTY = b"\n"
_MAX_BYTES = 1 << 20  # bytes that are read; a batch of 512 items takes some 12 KiB

_entries = msgspec.json.Decoder(list[tuple[int, int]])


class BatchMarker:
    """The file `applying` of a data folder. Only the thread that writes the database may call `put`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def read_previous(self) -> list[tuple[int, int]]:
        """(id, attempts) of the items that were in work when the last process ended."""
        with contextlib.suppress(OSError, ValueError):
            with self._path.open("rb") as file:
                line = file.read(_MAX_BYTES).partition(b"\n")[0]
            return _entries.decode(line) if line else []
        return []

    def put(self, items: Sequence[tuple[int, int]]) -> None:
        """Note that these, as (id, attempts), are in work; they replace those from before."""
        self._write(msgspec.json.encode(items) + b"\n")

    def close(self) -> None:
        """Nothing is in work any more: the process ends in order."""
        self._write(_EMPTY)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, line: bytes) -> None:
        # A disk that is full or fails is reported where the database is written. Without the file, an item that ends
        # the process is not recognized; everything else works.
        with contextlib.suppress(OSError):
            if self._descriptor is None:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                self._descriptor = os.open(self._path, flags, 0o600)
            os.pwrite(self._descriptor, line, 0)
