"""The files of documents as the database knows them; their bytes are in the archive."""

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any, Literal

import msgspec

from flexportd.storage.change_log import Journal
from flexportd.storage.file_store import StoredFile
from flexportd.storage.named_sql import queries
from flexportd.storage.queries.filters import any_of, is_true, subquery, word
from flexportd.storage.queries.list_query import ListQuery, PageRequest
from flexportd.storage.queries.stable_pagination import TableWithoutHistory

State = Literal["pending", "fetched", "refused", "failed", "gone"]
STATES: tuple[State, ...] = ("pending", "fetched", "refused", "failed", "gone")

COLUMNS = (
    "id", "document_id", "current", "state", "sha256", "size", "media_type", "file_name", "declared_size",
    "uploaded_at", "requested_at", "fetched_at", "verified_at", "damage", "error", "attempts",
    "last_attempt_at", "retry_at",
)  # fmt: skip

LISTING = ListQuery(
    table="document_files",
    columns=COLUMNS,
    key="id",
    sorts={"id": "id", "fetched_at": "fetched_at", "last_attempt_at": "last_attempt_at"},
    filters={
        "state": word("state", *STATES),
        "document": any_of("document_id"),
        "shipment": subquery(
            "document_id", "SELECT id FROM documents WHERE shipment_id = ?", "documents", value_type="number"
        ),
        "sha256": word("sha256", description="Only files with this SHA-256 (hexadecimal)."),
        "current": is_true("current", "that are the current file of a document"),
    },
)

TABLE = TableWithoutHistory("document_files", LISTING, ("fetched_at", "last_attempt_at"))

MAX_FILES = 1000  # files of one document that are looked at


class DocumentFile(msgspec.Struct, frozen=True):
    """One file of a document: the present one, or one from before the document was changed.

    `sha256` is its name in the archive, None where nothing was fetched yet; `declared_size` and `uploaded_at` are what
    the document said when this file was asked for; sizes in bytes.
    """

    id: int
    document_id: str
    current: int
    state: State
    sha256: str | None
    size: int | None
    media_type: str | None
    file_name: str | None
    declared_size: int | None
    uploaded_at: str | None
    requested_at: str
    fetched_at: str | None
    verified_at: str | None
    damage: str | None
    error: str | None
    attempts: int
    last_attempt_at: str | None
    retry_at: str | None

    @property
    def is_kept(self) -> bool:
        """Whether its bytes are in the archive, as far as is known."""
        return self.sha256 is not None and self.damage is None

    def matches(self, told: "DeclaredFile") -> bool:
        """Whether it is the file that the document speaks of now."""
        return (self.declared_size, self.uploaded_at) == (told.size, told.uploaded_at)


class DeclaredFile(msgspec.Struct, frozen=True):
    """What a document says of its file: its size in bytes, and when it was uploaded."""

    size: int | None
    uploaded_at: str | None


class FetchedFile(msgspec.Struct, frozen=True):
    """A content that came: where it is in the archive, and what it is."""

    stored: StoredFile
    media_type: str
    file_name: str
    declared: DeclaredFile

    @property
    def warning(self) -> str | None:
        """What is odd about it, though it is kept."""
        if not self.declared.size or self.declared.size == self.stored.size:
            return None
        return f"the file has {self.stored.size} bytes, its document declares {self.declared.size}"


class DocumentFiles:
    """Reads and writes `document_files`."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        names = {"columns": ", ".join(COLUMNS), "prefixed": ", ".join(f"f.{name}" for name in COLUMNS)}
        self._sql = dict(queries("document_files"))
        for name, text in names.items():
            self._sql = {key: sql.replace(f"{{{name}}}", text) for key, sql in self._sql.items()}

    def current(self, document_ids: Sequence[str]) -> dict[str, DocumentFile]:
        """The present file of those of these documents that have one."""
        rows = self._raw.execute(self._sql["current"], (_list(document_ids),))
        return {row[1]: DocumentFile(*row) for row in rows}

    def of_document(self, document_id: str) -> list[DocumentFile]:
        """Every file of a document, the present one first."""
        return [DocumentFile(*row) for row in self._raw.execute(self._sql["of_document"], (document_id, MAX_FILES))]

    def of_shipment(
        self, shipment_id: int, most: int, types: Collection[str] | None = None
    ) -> list[tuple[str, DocumentFile | None]]:
        """The documents of a shipment in order of upload, each with its present file or the newest that is here.

        With `types` those of these types alone.
        """
        wanted = None if types is None else msgspec.json.encode(list(types)).decode()
        rows = self._raw.execute(self._sql["of_shipment"], (shipment_id, wanted, most))
        return [(row[0], None if row[1] is None else DocumentFile(*row[1:])) for row in rows]

    def missing(self, after: str, now: str, limit: int) -> list[str]:
        """Documents behind this id whose file is not here as it should be, and may be tried by now."""
        return [row[0] for row in self._raw.execute(self._sql["lacking"], (after, now, limit))]

    def request(self, document_id: str, told: DeclaredFile, at: str, retry_at: str) -> None:
        """A document's file is asked for; what was fetched before for another state of the document is history."""
        row = self.current((document_id,)).get(document_id)
        if row is not None and (row.sha256 is None or row.matches(told)):
            self._raw.execute(self._sql["want_again"], (told.size, told.uploaded_at, at, retry_at, row.id))
            return
        if row is not None:
            self._raw.execute(self._sql["retire"], (row.id,))
        values = (document_id, told.size, told.uploaded_at, at, retry_at)
        self._save_position(at, self._raw.execute(self._sql["want"], values).lastrowid or 0, None)

    def record_failure(self, document_id: str, why: "FetchFailure", at: str) -> None:
        """The present file could not be had."""
        row = self.current((document_id,)).get(document_id)
        if row is not None:
            self._save_position(at, row.id, row)
            values = (why.state, why.error, at, why.retry_at, int(why.counts), row.id)
            self._raw.execute(self._sql["not_had"], values)

    def cancel_request(self, document_id: str) -> None:
        """The file is no longer asked for; what was fetched stays."""
        row = self.current((document_id,)).get(document_id)
        if row is not None:
            self._raw.execute(self._sql["forget"], (row.id,))

    def record_fetched(self, document_id: str, found: FetchedFile, at: str) -> None:
        """This content is in the archive, and is the document's present one."""
        now, kept = self.current((document_id,)).get(document_id), found.stored
        row = self._raw.execute(self._sql["content"], (document_id, kept.sha256)).fetchone()
        same = None if row is None else DocumentFile(*row)
        target = same.id if same is not None else None
        if now is not None and now.id != target:
            if target is None and now.sha256 is None:
                target = now.id
            else:
                # What was only asked for leaves no history.
                self._raw.execute(self._sql["forget" if now.sha256 is None else "retire"], (now.id,))
        if target is None:
            target = self._raw.execute(self._sql["insert"], (document_id, kept.sha256, at)).lastrowid or 0
            self._save_position(at, target, None)
        else:
            self._save_position(at, target, same or now)
        values = (
            kept.sha256,
            kept.size,
            found.media_type,
            found.file_name,
            found.declared.size,
            found.declared.uploaded_at,
        )
        self._raw.execute(self._sql["fetched"], (*values, at, at, found.warning, at, target))
        self.mark_intact([kept.sha256], at)

    def contents(self, after: str, limit: int) -> list[tuple[str, int]]:
        """(SHA-256, size) of the contents behind this one."""
        return self._raw.execute(self._sql["contents"], (after, limit)).fetchall()

    def known_contents(self, names: Sequence[str]) -> set[str]:
        """Those of these contents that belong to a document."""
        return {row[0] for row in self._raw.execute(self._sql["known"], (_list(names),))}

    def mark_intact(self, names: Sequence[str], at: str) -> None:
        """These contents were found to be what they should be."""
        self._raw.execute(self._sql["sound"], (at, _list(names)))

    def mark_bad(self, sha256: str, damage: str, error: str, at: str) -> list[str]:
        """A content is missing or damaged; the documents whose present file it was."""
        rows = self._raw.execute(self._sql["hurt"], (damage, at, error, sha256)).fetchall()
        return [document_id for document_id, current in rows if current]

    def counts(self) -> dict[str, int]:
        """How many documents by the state of their file."""
        found = dict(self._raw.execute(self._sql["counts"]).fetchall())
        return {state: found.get(state, 0) for state in STATES}

    def total_size(self) -> tuple[int, int]:
        """How many different contents were ever kept, and their bytes."""
        count, size = self._raw.execute(self._sql["volume"]).fetchone()
        return count, size

    def page(self, page: PageRequest) -> list[dict[str, Any]]:
        """One page of files."""
        return LISTING.read(self._raw, page) if page.snapshots is None else page.snapshots.read(self._raw, TABLE, page)

    def _save_position(self, at: str, key: int, before: DocumentFile | None) -> None:
        """Note where a row stood in its lists; None: it is new."""
        stood = None if before is None else [getattr(before, name) for name in TABLE.columns]
        Journal(self._raw).save_positions(at, {TABLE.name: [(key, stood)]})


class FetchFailure(msgspec.Struct, frozen=True):
    """Why a file could not be had. `retry_at` None: not before the settings change. `counts`: it was tried."""

    state: State
    error: str
    retry_at: str | None
    counts: bool = True


def _list(values: Sequence[str]) -> str:
    return msgspec.json.encode(values).decode()
