"""Finds out at start whether the database was restored from a backup, or copied from elsewhere.

The file `position` in `data_dir` names the newest entry of the change log that was seen, and the inode of the database.
A database that does not contain that entry, or a file with another inode, is not the one that ran here last.
"""

import contextlib
from pathlib import Path

import msgspec
import structlog

from flexportd.core.changes.stream_messages import is_foreign, newest_position, parse_position
from flexportd.storage.database import Database
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

FILE = "position"


class SeenPosition(msgspec.Struct, frozen=True):
    """The content of the file."""

    position: str
    inode: int


class RestoreCheck:
    """Reads and writes the file of one database."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._file = db.data_dir.path / FILE
        self._saved: SeenPosition | None = None

    def was_restored(self, tx: Transaction) -> bool:
        """Whether this is not the database that ran here last; on a reader's thread. False for the first one here."""
        seen = self._read()
        position = parse_position(seen.position) if seen is not None else None
        if tx.journal.last() == 0:
            return position is not None and position.entry > 0
        if seen is None or position is None:
            return True
        return seen.inode != _inode(self._db.data_dir.database) or is_foreign(tx, position)

    def save(self, tx: Transaction) -> None:
        """Note the newest entry; on a reader's thread."""
        seen = SeenPosition(newest_position(tx).text, _inode(self._db.data_dir.database))
        if seen == self._saved:
            return
        new = self._file.with_suffix(".new")
        try:
            new.write_bytes(msgspec.json.encode(seen))
            new.replace(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink()
            log.warning("position_not_saved", path=str(self._file), error=error.strerror)
            return
        self._saved = seen

    def _read(self) -> SeenPosition | None:
        try:
            return msgspec.json.decode(self._file.read_bytes()[:4096], type=SeenPosition)
        except (OSError, msgspec.DecodeError):
            return None


def _inode(path: Path) -> int:
    return path.stat().st_ino
