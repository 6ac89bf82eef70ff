"""The files of documents; their bytes are in the archive."""

from collections.abc import Collection, Sequence
from typing import Literal

import msgspec

from flexportd.storage.change_log import Journal
from flexportd.storage.file_store import StoredFile
from flexportd.storage.queries.filters import any_of, is_true, subquery, word
from flexportd.storage.queries.list_query import ListQuery
from flexportd.storage.queries.stable_pagination import TableWithoutHistory
from flexportd.storage.repositories.repository import ListRepository
from flexportd.storage.statements import json_text

State = Literal["pending", "fetched", "refused", "failed", "gone"]
STATES: tuple[State, ...] = ("pending", "fetched", "refused", "failed", "gone")

MAX_FILES = 1000  # files of one document that are read


class DocumentFile(msgspec.Struct, frozen=True):
    """One file of a document: the current one, or one from before the document was changed.

    `sha256` is its name in the archive, None if nothing was fetched yet; `declared_size` and `uploaded_at` are those of
    the document when this file was requested; sizes in bytes.
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
        """Whether its bytes are in the archive, as far as known."""
        return self.sha256 is not None and self.damage is None

    def matches(self, declared: "DeclaredFile") -> bool:
        """Whether it is the file that the document declares now."""
        return (self.declared_size, self.uploaded_at) == (declared.size, declared.uploaded_at)


class DeclaredFile(msgspec.Struct, frozen=True):
    """The file that a document declares: its size in bytes, and when it was uploaded."""

    size: int | None
    uploaded_at: str | None


class FetchedFile(msgspec.Struct, frozen=True):
    """A fetched file: its place in the archive, and its metadata."""

    stored: StoredFile
    media_type: str
    file_name: str
    declared: DeclaredFile

    @property
    def warning(self) -> str | None:
        """A contradiction to what its document declares."""
        if not self.declared.size or self.declared.size == self.stored.size:
            return None
        return f"the file has {self.stored.size} bytes, its document declares {self.declared.size}"


LISTING = ListQuery(
    table="document_files",
    columns=DocumentFile.__struct_fields__,
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


class DocumentFiles(ListRepository):
    """Reads and writes `document_files`."""

    family, listing, movable, columns = "document_files", LISTING, TABLE, DocumentFile.__struct_fields__

    def current(self, document_ids: Sequence[str]) -> dict[str, DocumentFile]:
        """The current file of those of these documents that have one."""
        return {file.document_id: file for file in self._all(DocumentFile, "current", json_text(document_ids))}

    def of_document(self, document_id: str) -> list[DocumentFile]:
        """Every file of a document, the current one first."""
        return self._all(DocumentFile, "of_document", document_id, MAX_FILES)

    def of_shipment(
        self, shipment_id: int, most: int, types: Collection[str] | None = None
    ) -> list[tuple[str, DocumentFile | None]]:
        """The documents of a shipment in order of upload, each with its current file or the newest that was fetched.

        With `types` only documents of these types.
        """
        wanted = None if types is None else json_text(list(types))
        rows = self._run("of_shipment", shipment_id, wanted, most)
        return [(row[0], None if row[1] is None else DocumentFile(*row[1:])) for row in rows]

    def missing(self, after: str, now: str, limit: int) -> list[str]:
        """Documents after this id whose file is missing or damaged, and whose next attempt is due."""
        return self._first_column("missing", after, now, limit)

    def request(self, document_id: str, declared: DeclaredFile, at: str, retry_at: str) -> None:
        """Request a document's file; a file of an earlier state of the document becomes history."""
        values = (declared.size, declared.uploaded_at, at, retry_at)
        row = self.current((document_id,)).get(document_id)
        if row is not None and (row.sha256 is None or row.matches(declared)):
            self._run("request_again", *values, row.id)
            return
        if row is not None:
            self._run("replace_current", row.id)
        self._save_position(at, self._run("request", document_id, *values).lastrowid or 0, None)

    def record_failure(self, document_id: str, failure: "FetchFailure", at: str) -> None:
        """Note that the current file could not be fetched."""
        row = self.current((document_id,)).get(document_id)
        if row is not None:
            self._save_position(at, row.id, row)
            self._run("record_failure", failure.state, failure.error, at, failure.retry_at, int(failure.counts), row.id)

    def cancel_request(self, document_id: str) -> None:
        """Cancel the request of a file; fetched ones stay."""
        row = self.current((document_id,)).get(document_id)
        if row is not None:
            self._run("delete_unfetched", row.id)

    def record_fetched(self, document_id: str, file: FetchedFile, at: str) -> None:
        """Note that this file is in the archive, and is the document's current one."""
        now, stored = self.current((document_id,)).get(document_id), file.stored
        same = self._one(DocumentFile, "content", document_id, stored.sha256)
        target = same.id if same is not None else None
        if now is not None and now.id != target:
            if target is None and now.sha256 is None:
                target = now.id
            else:
                # A file that was only requested leaves no history.
                self._run("delete_unfetched" if now.sha256 is None else "replace_current", now.id)
        if target is None:
            target = self._run("insert", document_id, stored.sha256, at).lastrowid or 0
            self._save_position(at, target, None)
        else:
            self._save_position(at, target, same or now)
        self._run(
            "record_fetched", stored.sha256, stored.size, file.media_type, file.file_name, file.declared.size,
            file.declared.uploaded_at, at, at, file.warning, at, target,
        )  # fmt: skip
        self.mark_intact([stored.sha256], at)

    def contents(self, after: str, limit: int) -> list[tuple[str, int]]:
        """(SHA-256, size) of the contents after this one."""
        return self._run("contents", after, limit).fetchall()

    def known_contents(self, names: Sequence[str]) -> set[str]:
        """Those of these contents that belong to a document."""
        return set(self._first_column("known", json_text(names)))

    def mark_intact(self, names: Sequence[str], at: str) -> None:
        """Note that these contents were verified."""
        self._run("record_intact", at, json_text(names))

    def mark_bad(self, sha256: str, damage: str, error: str, at: str) -> list[str]:
        """Note that a content is missing or damaged; returns the documents whose current file it was."""
        rows = self._run("record_damaged", damage, at, error, sha256).fetchall()
        return [document_id for document_id, current in rows if current]

    def counts(self) -> dict[str, int]:
        """How many documents by the state of their file."""
        counts = dict(self._run("counts").fetchall())
        return {state: counts.get(state, 0) for state in STATES}

    def total_size(self) -> tuple[int, int]:
        """How many different contents were ever stored, and their bytes."""
        count, size = self._run("volume").fetchone()
        return count, size

    def _save_position(self, at: str, key: int, before: DocumentFile | None) -> None:
        """Note the former position of a row in its lists; None: it is new."""
        position = None if before is None else [getattr(before, name) for name in TABLE.columns]
        Journal(self._raw).save_positions(at, {TABLE.name: [(key, position)]})


class FetchFailure(msgspec.Struct, frozen=True):
    """Why a file could not be fetched. `retry_at` None: not before the settings change. `counts`: it was attempted."""

    state: State
    error: str
    retry_at: str | None
    counts: bool = True
