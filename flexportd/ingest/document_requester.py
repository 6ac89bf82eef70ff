"""Requests the files of documents: all that are missing, or those that a person selects.

What is missing follows from the tables, so there is no state to keep: it is checked at start, after each commit that
writes documents, and once an hour for retries. Only a few hundred requests are queued at a time.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from flexportd.clock import Clock
from flexportd.core.documents.requests import (
    DOCUMENT_FILE,
    ArchiveRules,
    Destination,
    FileRequestResult,
    RequestOptions,
    request_files,
)
from flexportd.errors import UnavailableError
from flexportd.queue.queue import Queue
from flexportd.storage.database import Database
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.document_files import DocumentFile
from flexportd.storage.repositories.items import INTERACTIVE, SYNC
from flexportd.storage.repositories.resources import Record

log = structlog.get_logger(__name__)

BATCH_SIZE = 100  # documents requested in one transaction
_MAX_QUEUED = 300  # queued items above which no more are requested automatically
_MAX_REMEMBERED = 2000  # documents remembered individually; beyond, all are checked
_DEBOUNCE = 2.0  # seconds to wait for more commits
_POLL_INTERVAL = 5.0  # seconds between checks of a full queue
_HOUR = 3600.0
_REPEAT_AFTER = timedelta(seconds=30)  # after which a file that a reader waits for is requested again
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RETRY_DELAY = 30.0  # seconds until the next attempt after a database error


class DocumentRequester:
    """Queues requests for files. `rules` may be replaced while running, followed by `check_all`."""

    def __init__(self, db: Database, queue: Queue, rules: ArchiveRules, clock: Clock, *, fetches: bool) -> None:
        """`fetches`: whether Flexport can be reached."""
        self.rules = rules
        self.fetches = fetches
        self._db = db
        self._queue = queue
        self._clock = clock
        self._wake = asyncio.Event()
        self._changed: set[str] = set()
        self._all = True
        self.error: str | None = None
        """Why the last check could not request the missing files."""
        self._requested_at: dict[str, datetime] = {}  # when a reader last waited for a file

    def on_documents(self, keys: Iterable[Key]) -> None:
        """Check these documents, which were written. Returns at once."""
        if not self.rules.archive or not self.fetches:
            return
        self._changed.update(map(str, keys))
        if len(self._changed) > _MAX_REMEMBERED:
            self._all = True
        self._wake.set()

    def check_all(self) -> None:
        """Check all documents, soon."""
        self._all = True
        self._wake.set()

    async def run(self) -> None:
        """Request missing files, until cancelled."""
        self._wake.set()
        while True:
            try:
                async with asyncio.timeout(_HOUR):
                    await self._wake.wait()
            except TimeoutError:
                self._all = True
            await self._clock.sleep(_DEBOUNCE)
            self._wake.clear()
            if not self.rules.archive or not self.fetches:
                continue
            try:
                await self._request_round()
            except Exception as error:  # noqa: BLE001 (shown in the status, and tried again)
                await self._on_error(error)
            else:
                self.error = None

    async def _on_error(self, error: Exception) -> None:
        if not isinstance(error, UnavailableError):  # the writer has logged it
            if self.error is None:
                log.error("file_requests_failed", exc_info=error)
            self.error = f"{type(error).__name__}: {error}"
        self._all = True
        await self._clock.sleep(_RETRY_DELAY)
        self._wake.set()

    async def _request_round(self) -> None:
        changed, self._changed = sorted(self._changed), set()
        if not self._all:
            for start in range(0, len(changed), BATCH_SIZE):
                await self._request(changed[start : start + BATCH_SIZE], RequestOptions("archive", SYNC))
            return
        self._all = False
        after: str | None = ""
        while after is not None:
            while self._queue.waiting(DOCUMENT_FILE) >= _MAX_QUEUED:
                await self._clock.sleep(_POLL_INTERVAL)
            _, after = await self.request_missing(after)

    async def request_missing(self, after: str) -> tuple[FileRequestResult, str | None]:
        """Request the next missing files after this id; the result, and where to continue (None: the end)."""
        at = self._clock.stamp()
        ids = await self._db.read(lambda tx: tx.files.missing(after, at, BATCH_SIZE))
        result = await self._request(ids, RequestOptions("archive", SYNC))
        return result, ids[-1] if len(ids) == BATCH_SIZE else None

    async def request(self, ids: Sequence[str], keep: Destination = "archive") -> FileRequestResult:
        """Request the files of these documents for a person."""
        return await self._request(ids, RequestOptions(keep, INTERACTIVE, is_explicit=True))

    async def refetch_lost(self, ids: Sequence[str]) -> None:
        """Request again files that the archive has lost."""
        if self.fetches:
            await self._request(ids, RequestOptions("archive", SYNC, is_explicit=True))

    async def request_for_reader(self, document: Record, row: DocumentFile | None) -> FileRequestResult:
        """Request a file that a reader waits for, and asks for repeatedly until it is there."""
        key, now = str(document.id), self._clock.now()
        if row is not None and row.state == "pending" and now - self._requested_at.get(key, _EPOCH) < _REPEAT_AFTER:
            return FileRequestResult(queued=[key])
        self._requested_at[key] = now
        while len(self._requested_at) > _MAX_REMEMBERED:
            self._requested_at.pop(next(iter(self._requested_at)))
        return await self.request([key], self._destination(document, row))

    def _destination(self, document: Record, row: DocumentFile | None) -> Destination:
        is_archived = self.rules.archive and self.rules.excluded(document.fields["document_type"]) is None
        return "archive" if is_archived or (row is not None and row.sha256 is not None) else "cache"

    async def _request(self, ids: Sequence[str], options: RequestOptions) -> FileRequestResult:
        if not ids:
            return FileRequestResult()
        at, rules = self._clock.stamp(), self.rules
        result = await self._db.write(lambda tx: request_files(tx, rules, ids, options, at))
        if result.queued:
            self._queue.added(DOCUMENT_FILE, len(result.queued))
        return result
