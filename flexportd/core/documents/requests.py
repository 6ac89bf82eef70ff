"""Requests for document files: what the settings allow, what is requested, what is present.

A request is a row of `document_files` and a queue item, written in one transaction.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypedDict

import msgspec

from flexportd.cache import Cache
from flexportd.clock import parse, stamp
from flexportd.core.documents.file_types import file_name
from flexportd.core.json_types import Stamp, document_of
from flexportd.core.resources import documents
from flexportd.settings import Settings
from flexportd.storage.repositories.document_files import DeclaredFile, DocumentFile, FetchFailure, State
from flexportd.storage.repositories.items import NewItem
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

DOCUMENT_FILE = "document_file"  # the kind of item that fetches a file

MAX_CACHED_SIZE = 16 << 20  # bytes of one file without the archive: larger files are not cached
_MEMORY_LIMIT = 32 << 20  # bytes of the most recent files
_REQUEST_AGAIN_AFTER = timedelta(hours=1)  # after which a request whose item was lost is repeated
_FIRST_DELAY, _MAX_DELAY = timedelta(minutes=15), timedelta(days=7)

Destination = Literal["archive", "cache"]


class FetchFile(msgspec.Struct, frozen=True):
    """The payload of an item: fetch the file of a document, for the archive or only for the cache."""

    document: str
    keep: Destination


@dataclass(frozen=True, slots=True)
class ArchiveRules:
    """`[documents]`: whether everything is archived, the largest size in bytes, the types (none: all)."""

    archive: bool = False
    max_size: int = 50 << 20
    types: tuple[str, ...] = ()

    @classmethod
    def from_settings(cls, settings: Settings) -> "ArchiveRules":
        """What `[documents]` says."""
        section = settings.documents
        return cls(section.archive, section.max_size, tuple(section.types))

    def too_large(self, size: int | None) -> str | None:
        """Why a file of this size is not fetched."""
        if size is None or size <= self.max_size:
            return None
        return f"its {size} bytes are more than [documents] max_size allows, which is {self.max_size}"

    def excluded(self, document_type: str | None) -> str | None:
        """Why a file of this type is not archived."""
        if not self.types or (document_type or "unknown") in self.types:
            return None
        return f"[documents] types does not name {document_type or 'unknown'}"


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """How files are requested. `is_explicit`: individually by a person, which overrides the excluded types."""

    keep: Destination
    priority: int
    is_explicit: bool = False


@dataclass
class FileRequestResult:
    """The result of requests by document id: queued, present, refused (with the reason), or unknown."""

    queued: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def declared_file(document: Record) -> DeclaredFile:
    """The file that a document declares."""
    return DeclaredFile(document.fields["size"], document.fields["uploaded_at"])


def request_files(
    tx: Transaction, rules: ArchiveRules, ids: Sequence[str], options: RequestOptions, at: str
) -> FileRequestResult:
    """Request the files of these documents, unless they are present."""
    result = FileRequestResult()
    known = tx.resources.load(documents.TABLE, ids)
    present = tx.files.current(ids)
    items: list[NewItem] = []
    for key in dict.fromkeys(ids):
        document, row = known.get(key), present.get(key)
        if document is None:
            result.unknown.append(key)
            continue
        if row is not None and row.is_kept and row.state == "fetched" and row.matches(declared_file(document)):
            result.present.append(key)
            continue
        reason = _refuse_reason(rules, document, options)
        if reason is not None:
            result.refused[key] = reason
            _refuse(tx, document, row, reason, at)
            continue
        tx.files.request(key, declared_file(document), at, stamp(parse(at) + _REQUEST_AGAIN_AFTER))
        payload = msgspec.json.encode(FetchFile(key, options.keep)).decode()
        merge_key = f"{options.keep}:{key}"
        items.append(NewItem(DOCUMENT_FILE, options.priority, lane=key, merge_key=merge_key, payload=payload))
        result.queued.append(key)
    tx.items.add(at, items)
    return result


def _refuse_reason(rules: ArchiveRules, document: Record, options: RequestOptions) -> str | None:
    size = document.fields["size"]
    left_out = None if options.is_explicit else rules.excluded(document.fields["document_type"])
    return left_out or rules.too_large(size) or (too_large_to_cache(size) if options.keep == "cache" else None)


def too_large_to_cache(size: int | None) -> str | None:
    """Why a file is not fetched only for the cache."""
    if size is None or size <= MAX_CACHED_SIZE:
        return None
    return f"its {size} bytes exceed the limit without the archive; use `flexportd documents fetch` to archive it"


def _refuse(tx: Transaction, document: Record, row: DocumentFile | None, reason: str, at: str) -> None:
    same = row is not None and row.matches(declared_file(document))
    if row is not None and same and (row.state, row.error, row.retry_at) == ("refused", reason, None):
        return
    key = str(document.id)
    tx.files.request(key, declared_file(document), at, at)
    tx.files.record_failure(key, FetchFailure("refused", reason, None, counts=False), at)


def next_attempt_at(at: str, attempts: int) -> str:
    """When a failed fetch is retried, after so many attempts: 15 minutes, 1 hour … 7 days."""
    pause = min(_FIRST_DELAY * 4 ** min(max(attempts, 1) - 1, 8), _MAX_DELAY)
    return stamp(parse(at) + pause)


def document_file_name(document: Record, kind: str) -> str:
    """The file name of a document."""
    fields = document.fields
    return file_name(fields["document_type"], str(document.id), kind, fields["file_name"])


class CachedFile(msgspec.Struct, frozen=True):
    """A cached file."""

    sha256: str
    media_type: str
    file_name: str
    fetched_at: str
    content: bytes


class CachedFiles:
    """Files outside the archive: in the disk cache, the most recent also in memory."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._last: OrderedDict[str, CachedFile] = OrderedDict()

    @property
    def epoch(self) -> int:
        """To be taken before a file is fetched, for `put`."""
        return self._cache.epoch

    async def get(self, document: Record) -> CachedFile | None:
        """The current file of the document."""
        key = _key(document)
        cached = self._last.get(key)
        if cached is not None:
            return cached
        found = await self._cache.file(key)
        try:
            return None if found is None else msgspec.msgpack.decode(found, type=CachedFile)
        except ValueError:
            return None

    def put(self, document: Record, cached: CachedFile, epoch: int) -> None:
        """Cache a file."""
        key = _key(document)
        self._last[key] = cached
        while sum(len(one.content) for one in self._last.values()) > _MEMORY_LIMIT:
            self._last.popitem(last=False)
        tags = ((documents.RESOURCE_TYPE.name, document.id),)
        self._cache.put_file(key, msgspec.msgpack.encode(cached), tags, epoch)


def _key(document: Record) -> str:
    """A new upload is a new file."""
    said = declared_file(document)
    return f"{document.id}\n{said.uploaded_at}\n{said.size}"


class DocumentFileStatus(TypedDict):
    """The current file of a document or an earlier version (`current` false). Sizes are in bytes.

    `is_archived`: its content is in the archive, by `sha256`. `damage`: missing or damaged, null if intact.
    `declared_size` and `uploaded_at` are those of the document when the file was requested; `error` is why it is not
    archived, or a discrepancy; `retry_at` is the time of the next attempt.
    """

    id: str
    document_id: str
    current: bool
    state: State
    sha256: str | None
    size: int | None
    media_type: str | None
    file_name: str | None
    declared_size: int | None
    uploaded_at: Stamp | None
    requested_at: Stamp
    fetched_at: Stamp | None
    verified_at: Stamp | None
    damage: str | None
    error: str | None
    attempts: int
    last_attempt_at: Stamp | None
    retry_at: Stamp | None
    is_archived: bool


def file_version(row: Mapping[str, Any]) -> DocumentFileStatus:
    """A row of `document_files` as the API returns it."""
    is_archived = row["sha256"] is not None and row["damage"] is None
    return document_of(
        DocumentFileStatus, row, id=str(row["id"]), current=bool(row["current"]), is_archived=is_archived
    )
