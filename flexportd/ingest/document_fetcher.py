"""Fetches the files of documents: streamed, checked, hashed, and stored completely or not at all.

request ─ item ─▶ GET /documents/{id}/download ─ size, type, SHA-256 ─▶ archive or cache ─▶ row

A response that is not the file (cut, too long, a web page, another type) is refused, and the row says why; it is
requested again later, since the file at Flexport may change. A failure is not a dead letter: there could be thousands,
and people look at the document. Only an item that ends the process repeatedly becomes one (`queue/queue.py`).
"""

import asyncio
import contextlib
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote

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
from flexportd.flexport.client import Client
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
from flexportd.storage.database import Database
from flexportd.storage.file_store import Archive
from flexportd.storage.repositories.document_files import DocumentFile, FetchedFile, FetchFailure, State
from flexportd.storage.repositories.items import INTERACTIVE, Item
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction
from flexportd.type_lock import decode_as

_RETRY_DELAY = 30.0  # seconds until a retry for Flexport or the disk, doubled with each failure
_MAX_RETRY_DELAY = 3600.0
_MIN_FREE_BYTES = 64 << 20  # bytes of the disk that files leave free for the database
_UNEXPECTED_ATTEMPTS = 5  # failures that an unexpected one counts as: it is retried after days
_REQUEUE_AFTER = timedelta(hours=1)


class WrongFileError(FlexportdError):
    """The response is not the file of the document."""

    slug = "file-access-denied"


@dataclass(frozen=True, slots=True)
class _Task:
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


class FileFetcher:
    """The queue's handler of the kind `document_file`. `rules` may be replaced while running."""

    def __init__(
        self, client: Client, db: Database, clock: Clock, rules: ArchiveRules, *, archive: Archive, cache: CachedFiles
    ) -> None:
        self.rules = rules
        self._client = client
        self._db = db
        self._archive = archive
        self._cache = cache
        self._clock = clock

    async def handle(self, item: Item) -> Outcome:
        """Fetch one file, and store the result."""
        try:
            order = decode_as(item.payload or "", FetchFile)
        except ValueError as error:
            return Dead(f"the item does not say which file to fetch: {error}")
        key = order.document
        document, row = await self._db.read(
            lambda tx: (tx.resources.load(documents.TABLE, (key,)).get(key), tx.files.current((key,)).get(key))
        )
        if document is None:
            return Ignored(f"unknown document {key}")
        task = _Task(order, document, row, item.priority)
        if await self._is_present(task):
            return Applied()
        size = document.fields["size"]
        reason = self.rules.too_large(size) or (too_large_to_cache(size) if order.keep == "cache" else None)
        if reason is not None:
            return await self._record_failure(task, "refused", reason, by_rule=True)
        try:
            await (self._to_cache(task) if order.keep == "cache" else self._to_archive(task))
        except (FlexportError, WrongFileError, OSError) as error:
            return await self._failure_outcome(task, error)
        return Applied()

    def on_dead(self, tx: Transaction, item: Item, error: str, at: str) -> None:
        """Record on the document's file that its item became a dead letter."""
        with contextlib.suppress(ValueError):
            order = decode_as(item.payload or "", FetchFile)
            tx.files.record_failure(
                order.document, FetchFailure("failed", error, next_attempt_at(at, _UNEXPECTED_ATTEMPTS)), at
            )

    async def _is_present(self, task: _Task) -> bool:
        """Whether the file is there already: two concurrent requests need one fetch."""
        row = task.row
        if row is not None and row.state == "fetched" and row.is_kept and row.matches(declared_file(task.document)):
            return True
        if task.order.keep == "archive" or await self._cache.get(task.document) is None:
            return False
        await self._db.write(lambda tx: tx.files.cancel_request(task.order.document))
        return True

    async def _failure_outcome(self, task: _Task, error: Exception) -> Outcome:
        if isinstance(error, OSError):
            return await self._retry_later(task, f"the file cannot be stored: {error.strerror or error}", None)
        if isinstance(error, FlexportUnavailableError | RateLimitedError | TokensExhaustedError):
            return await self._retry_later(task, str(error), error.response.retry_after)
        if isinstance(error, NotFoundAtFlexportError):
            return await self._record_failure(task, "gone", f"Flexport has no file for it: {error}")
        refused = isinstance(error, WrongFileError | MalformedResponseError)
        return await self._record_failure(task, "refused" if refused else "failed", str(error))

    async def _record_failure(self, task: _Task, state: State, error: str, *, by_rule: bool = False) -> Outcome:
        """Store a failure; unless `by_rule`, the file is requested again later."""
        at = self._clock.stamp()
        attempts = (task.row.attempts if task.row else 0) + 1
        why = FetchFailure(state, error, None if by_rule else next_attempt_at(at, attempts))
        await self._db.write(lambda tx: tx.files.record_failure(task.order.document, why, at))
        return Ignored(error)

    async def _retry_later(self, task: _Task, error: str, after: float | None) -> Outcome:
        """Wait in the queue for Flexport or the disk. A file for the cache alone is requested again by its reader."""
        at = self._clock.stamp()
        attempts = task.row.attempts if task.row else 0
        seconds = max(after or 0.0, min(_RETRY_DELAY * 2.0 ** min(attempts, 16), _MAX_RETRY_DELAY))
        # After the snooze: a lost item is queued again, a waiting one is left alone.
        retry_at = stamp(parse(at) + timedelta(seconds=seconds) + _REQUEUE_AFTER)
        await self._db.write(
            lambda tx: tx.files.record_failure(task.order.document, FetchFailure("failed", error, retry_at), at)
        )
        return Ignored(error) if task.order.keep == "cache" else Snooze(seconds, error)

    async def _to_archive(self, task: _Task) -> None:
        expected = task.document.fields["size"] or 0
        if await asyncio.to_thread(self._archive.free_bytes) < expected + _MIN_FREE_BYTES:
            raise OSError(28, "the disk of data_dir is full")
        upload = self._archive.begin()
        try:
            download = _CheckedDownload(lambda chunk: asyncio.to_thread(upload.write, chunk))
            kind = await self._download(task, download, self.rules.max_size)
            stored = await asyncio.to_thread(upload.commit)
        except BaseException:
            # Also when cancelled: no incomplete file remains.
            await asyncio.shield(asyncio.to_thread(upload.discard))
            raise
        fetched = FetchedFile(stored, kind, document_file_name(task.document, kind), declared_file(task.document))
        at = self._clock.stamp()
        await self._db.write(lambda tx: tx.files.record_fetched(task.order.document, fetched, at))

    async def _to_cache(self, task: _Task) -> None:
        epoch, content = self._cache.epoch, bytearray()

        async def append(chunk: bytes) -> None:
            content.extend(chunk)

        kind = await self._download(task, _CheckedDownload(append), min(self.rules.max_size, MAX_CACHED_SIZE))
        whole = bytes(content)
        digest = await asyncio.to_thread(lambda: hashlib.sha256(whole).hexdigest())
        file = CachedFile(digest, kind, document_file_name(task.document, kind), self._clock.stamp(), whole)
        self._cache.put(task.document, file, epoch)
        await self._db.write(lambda tx: tx.files.cancel_request(task.order.document))

    async def _download(self, task: _Task, download: "_CheckedDownload", max_size: int) -> str:
        """Download and check; the media type. Raises FlexportError, WrongFileError, OSError."""
        try:
            downloaded = await self._client.download(task.path, task.purpose, download.write, max_size)
        except MalformedResponseError as error:
            if download.size and not error.permanent:  # it broke off midway
                raise FlexportUnavailableError(str(error), error.response, detail=error.detail) from error
            raise
        return await asyncio.to_thread(download.checked_type, downloaded)


class _CheckedDownload:
    """Passes bytes on, and checks them.

    A size that differs from the declared one is no reason to reject a file: it is kept, and the row says so. The
    response's own length shows whether a file is complete.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.size = 0
        self.head = b""

    async def write(self, chunk: bytes) -> None:
        """Pass these bytes on; the first of them show the type."""
        self.size += len(chunk)
        if len(self.head) < HEAD_SIZE:
            self.head += chunk[: HEAD_SIZE - len(self.head)]
        await self._sink(chunk)

    def checked_type(self, downloaded: Downloaded) -> str:
        """The media type. Raises WrongFileError for a complete response that is not the file."""
        problem = reject_reason(downloaded.media_type, self.head)
        if problem is not None:
            raise WrongFileError(problem)
        return media_type(downloaded.media_type, self.head)
