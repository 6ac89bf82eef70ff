"""Fetching the files of documents: streamed, checked, hashed, and kept whole or not at all.

wish (core.archive) ─ item ─▶ GET /documents/{id}/download ─ size, type, SHA-256 ─▶ archive, or the cache ─▶ row

An answer that is not the file (cut, too long, a web page, another type) is refused and its row says why; it is asked
for again later, since what Flexport has may change. What fails here becomes no dead letter: it would come by the
thousand, and the row of the document is the place where people look. Only an item that ends the process again and again
becomes one (`queue/queue.py`).
"""

import asyncio
import contextlib
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from urllib.parse import quote

import msgspec

from flexportd.clock import Clock, parse, stamp
from flexportd.core.documents.file_types import HEAD_SIZE, media_type, reject_reason
from flexportd.core.documents.requests import (
    MAX_CACHED_SIZE,
    ArchiveRules,
    CachedFile,
    CachedFiles,
    FetchFile,
    declared_file,
    document_file_name,
    next_attempt_at,
    too_large_to_cache,
)
from flexportd.core.resources import documents
from flexportd.errors import FlexportdError
from flexportd.flexport.download import Downloaded, Sink
from flexportd.flexport.errors import (
    FlexportError,
    FlexportUnavailableError,
    MalformedResponseError,
    NotFoundAtFlexportError,
    RateLimitedError,
    TokensExhaustedError,
)
from flexportd.flexport.usage import Purpose
from flexportd.outcome import Applied, Dead, Ignored, Outcome, Snooze
from flexportd.queue.handlers import INTERACTIVE
from flexportd.storage.database import Database
from flexportd.storage.file_store import Archive, Upload
from flexportd.storage.repositories.document_files import DocumentFile, FetchedFile, FetchFailure, State
from flexportd.storage.repositories.items import Item
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

_RETRY_DELAY = 30.0  # seconds until Flexport or the disk is tried again, twice as long with each failure
_MAX_RETRY_DELAY = 3600.0
_MIN_FREE_BYTES = 64 << 20  # bytes of the disk that files leave free: the database needs them more
_UNEXPECTED_ATTEMPTS = 5  # failures that such a one counts for: it is tried again after days
_REQUEUE_AFTER = timedelta(hours=1)


class FileSource(Protocol):
    """The client, as far as files go."""

    async def download(self, path: str, purpose: Purpose, sink: Sink, max_size: int) -> Downloaded:
        """Pass a file's bytes on. Raises FlexportError, and what the sink raises."""


class WrongFileError(FlexportdError):
    """What came is not the file that the document speaks of."""

    slug = "file-access-denied"


@dataclass(frozen=True, slots=True)
class _Task:
    """One file to be fetched."""

    order: FetchFile
    document: Record
    row: DocumentFile | None
    priority: int

    @property
    def purpose(self) -> Purpose:
        return "interactive" if self.priority == INTERACTIVE else "sync"

    @property
    def path(self) -> str:
        return f"/documents/{quote(str(self.document.id), safe='').replace('.', '%2E')}/download"


@dataclass(frozen=True)
class FileTargets:
    """Where files are put."""

    archive: Archive
    cache: CachedFiles


class FileFetcher:
    """The queue's handler of the kind `document_file`. `rules` may be replaced while running."""

    def __init__(
        self, client: FileSource, db: Database, shelves: FileTargets, rules: ArchiveRules, clock: Clock
    ) -> None:
        self.rules = rules
        self._client = client
        self._db = db
        self._archive = shelves.archive
        self._held = shelves.cache
        self._clock = clock

    async def handle(self, item: Item) -> Outcome:
        """Fetch one file, and write down what became of it."""
        try:
            order = msgspec.json.decode(item.payload or "", type=FetchFile)
        except ValueError as error:
            return Dead(f"the item does not say which file to fetch: {error}")
        document, row = await self._db.read(lambda tx: _load_document(tx, order.document))
        if document is None:
            return Ignored(f"unknown document {order.document}")
        task = _Task(order, document, row, item.priority)
        if await self._is_present(task):
            return Applied()
        size = document.fields["size"]
        reason = self.rules.too_large(size) or (too_large_to_cache(size) if order.keep == "cache" else None)
        if reason is not None:
            return await self._record_failure(task, "refused", reason, by_rule=True)
        try:
            await self._fetch(task)
        except (FlexportError, WrongFileError, OSError) as error:
            return await self._failure_outcome(task, error)
        return Applied()

    def on_dead(self, tx: Transaction, item: Item, error: str, at: str) -> None:
        """An item gave up, for a reason that nobody foresaw: the document's file says so too."""
        with contextlib.suppress(ValueError):
            order = msgspec.json.decode(item.payload or "", type=FetchFile)
            tx.files.record_failure(
                order.document, FetchFailure("failed", error, next_attempt_at(at, _UNEXPECTED_ATTEMPTS)), at
            )

    async def _is_present(self, task: _Task) -> bool:
        """Whether there is nothing to do any more: two that asked at once need one fetch."""
        row = task.row
        if row is not None and row.state == "fetched" and row.is_kept and row.matches(declared_file(task.document)):
            return True
        if task.order.keep == "archive" or await self._held.get(task.document) is None:
            return False
        await self._db.write(lambda tx: tx.files.cancel_request(task.order.document))
        return True

    # --- what became of it ---

    async def _failure_outcome(self, task: _Task, error: Exception) -> Outcome:
        if isinstance(error, OSError):
            return await self._retry_later(task, f"the file cannot be stored: {error.strerror or error}", None)
        if isinstance(error, FlexportUnavailableError | RateLimitedError | TokensExhaustedError):
            return await self._retry_later(task, str(error), error.retry_after)
        if isinstance(error, NotFoundAtFlexportError):
            return await self._record_failure(task, "gone", f"Flexport has no file for it: {error}")
        refused = isinstance(error, WrongFileError | MalformedResponseError)
        return await self._record_failure(task, "refused" if refused else "failed", str(error))

    async def _record_failure(self, task: _Task, state: State, error: str, *, by_rule: bool = False) -> Outcome:
        """For the time being there is nothing more to do; without `by_rule` it is tried again some time."""
        at = self._clock.stamp()
        attempts = (task.row.attempts if task.row else 0) + 1
        why = FetchFailure(state, error, None if by_rule else next_attempt_at(at, attempts))
        await self._db.write(lambda tx: tx.files.record_failure(task.order.document, why, at))
        return Ignored(error)

    async def _retry_later(self, task: _Task, error: str, after: float | None) -> Outcome:
        """It waits in the queue for Flexport, or for the disk; what is for the cache alone is asked for anew."""
        at = self._clock.stamp()
        attempts = task.row.attempts if task.row else 0
        seconds = max(after or 0.0, min(_RETRY_DELAY * 2.0 ** min(attempts, 16), _MAX_RETRY_DELAY))
        # Past the snooze: an item that is lost is made anew, one that waits is not disturbed.
        retry_at = stamp(parse(at) + timedelta(seconds=seconds) + _REQUEUE_AFTER)
        await self._db.write(
            lambda tx: tx.files.record_failure(task.order.document, FetchFailure("failed", error, retry_at), at)
        )
        return Ignored(error) if task.order.keep == "cache" else Snooze(seconds, error)

    # --- fetching ---

    async def _fetch(self, task: _Task) -> None:
        if task.order.keep == "cache":
            await self._to_cache(task)
        else:
            await self._to_archive(task)

    async def _to_archive(self, task: _Task) -> None:
        expected = task.document.fields["size"] or 0
        if await asyncio.to_thread(self._archive.free_bytes) < expected + _MIN_FREE_BYTES:
            raise OSError(28, "the disk of data_dir is full")
        incoming = self._archive.begin()
        try:
            pour = _CheckedDownload(_ToDisk(incoming))
            kind = await self._download(task, pour, self.rules.max_size)
            kept = await asyncio.to_thread(incoming.commit)
        except BaseException:
            # Also where it is cancelled: nothing half stays behind.
            await asyncio.shield(asyncio.to_thread(incoming.discard))
            raise
        found = FetchedFile(kept, kind, document_file_name(task.document, kind), declared_file(task.document))
        at = self._clock.stamp()
        await self._db.write(lambda tx: tx.files.record_fetched(task.order.document, found, at))

    async def _to_cache(self, task: _Task) -> None:
        epoch, content = self._held.epoch, bytearray()
        pour = _CheckedDownload(_ToMemory(content))
        kind = await self._download(task, pour, min(self.rules.max_size, MAX_CACHED_SIZE))
        whole = bytes(content)
        digest = await asyncio.to_thread(lambda: hashlib.sha256(whole).hexdigest())
        held = CachedFile(digest, kind, document_file_name(task.document, kind), self._clock.stamp(), whole)
        self._held.put(task.document, held, epoch)
        await self._db.write(lambda tx: tx.files.cancel_request(task.order.document))

    async def _download(self, task: _Task, pour: "_CheckedDownload", most: int) -> str:
        """Download and check; the media type. Raises FlexportError, NotTheFileError, OSError."""
        try:
            got = await self._client.download(task.path, task.purpose, pour.write, most)
        except MalformedResponseError as error:
            if pour.size and not error.permanent:  # it began well, and broke off
                raise FlexportUnavailableError(str(error), error.response_details, detail=error.detail) from error
            raise
        return await asyncio.to_thread(pour.checked_type, got)


class _ByteSink(Protocol):
    async def __call__(self, chunk: bytes) -> None:
        """Take these bytes."""


class _ToDisk:
    def __init__(self, incoming: Upload) -> None:
        self._incoming = incoming

    async def __call__(self, chunk: bytes) -> None:
        await asyncio.to_thread(self._incoming.write, chunk)


class _ToMemory:
    def __init__(self, content: bytearray) -> None:
        self._content = content

    async def __call__(self, chunk: bytes) -> None:
        self._content += chunk


class _CheckedDownload:
    """Bytes on their way, watched.

    A size that differs from what the document declares is no reason to have no file: it is kept, and the row says so. A
    file that breaks off is known by the answer's own length.
    """

    def __init__(self, taking: _ByteSink) -> None:
        self._taking = taking
        self.size = 0
        self.head = b""

    async def write(self, chunk: bytes) -> None:
        """Take these bytes; the first of them tell what it is."""
        self.size += len(chunk)
        if len(self.head) < HEAD_SIZE:
            self.head += chunk[: HEAD_SIZE - len(self.head)]
        await self._taking(chunk)

    def checked_type(self, got: Downloaded) -> str:
        """The media type. Raises NotTheFileError for what came whole, and is not what it should be."""
        found = reject_reason(got.media_type, self.head)
        if found is not None:
            raise WrongFileError(found)
        return media_type(got.media_type, self.head)


def _load_document(tx: Transaction, key: str) -> tuple[Record | None, DocumentFile | None]:
    """A document, and its present file."""
    return tx.resources.load(documents.TABLE, (key,)).get(key), tx.files.current((key,)).get(key)
