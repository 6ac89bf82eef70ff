"""Asking for the files of documents: all that are lacking, or those that a person names.

What is lacking is read off the tables, so nothing has to be remembered: at the start, after a commit that touched
documents, and once an hour for what may be tried again. Never more than a few hundred wait in the queue.
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
from flexportd.queue.handlers import INTERACTIVE, SYNC
from flexportd.queue.queue import Queue
from flexportd.storage.database import Database
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.document_files import DocumentFile
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

BATCH_SIZE = 100  # documents that one transaction asks for
_MAX_QUEUED = 300  # items in the queue, above which no more are asked for by themselves
_MAX_REMEMBERED = 2000  # documents remembered one by one; beyond, all are looked at
_DEBOUNCE = 2.0  # seconds in which more commits may follow
_POLL_INTERVAL = 5.0  # seconds between looks at a queue that is full
_HOUR = 3600.0
_REPEAT_AFTER = timedelta(seconds=30)  # after which a file that somebody waits for is asked for again
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RETRY_DELAY = 30.0  # seconds until a database that fails is tried again


class DocumentRequester:
    """Makes the wishes. `rules` may be replaced while running; `look_at_all` after that."""

    def __init__(self, db: Database, queue: Queue, rules: ArchiveRules, clock: Clock, *, fetches: bool) -> None:
        """`fetches`: whether there is a way to Flexport."""
        self.rules = rules
        self.fetches = fetches
        self._db = db
        self._queue = queue
        self._clock = clock
        self._wake = asyncio.Event()
        self._changed: set[str] = set()
        self._all = True
        self.error: str | None = None
        """What kept the last look from requesting the files that are lacking."""
        self._requested_at: dict[str, datetime] = {}  # when somebody was last heard to wait for a file

    def on_documents(self, keys: Iterable[Key]) -> None:
        """These documents were written. Returns at once."""
        if not self.rules.archive or not self.fetches:
            return
        self._changed.update(map(str, keys))
        if len(self._changed) > _MAX_REMEMBERED:
            self._all = True
        self._wake.set()

    def check_all(self) -> None:
        """Look for everything that is lacking, soon."""
        self._all = True
        self._wake.set()

    async def run(self) -> None:
        """Ask for what is lacking, for ever."""
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
            except Exception as error:  # noqa: BLE001 (shown in the status, and tried again: nothing depends on it)
                await self._on_error(error)
            else:
                self.error = None

    async def _on_error(self, error: Exception) -> None:
        if not isinstance(error, UnavailableError):  # of that the writer has told
            if self.error is None:
                log.error("file_requests_failed", exc_info=error)
            self.error = f"{type(error).__name__}: {error}"
        self._all = True
        await self._clock.sleep(_RETRY_DELAY)
        self._wake.set()

    async def _request_round(self) -> None:
        noticed, self._changed = sorted(self._changed), set()
        if not self._all:
            for start in range(0, len(noticed), BATCH_SIZE):
                await self._request(noticed[start : start + BATCH_SIZE], RequestOptions("archive", SYNC))
            return
        self._all = False
        after: str | None = ""
        while after is not None:
            while self._queue.waiting(DOCUMENT_FILE) >= _MAX_QUEUED:
                await self._clock.sleep(_POLL_INTERVAL)
            _, after = await self.request_missing(after)

    async def request_missing(self, after: str) -> tuple[FileRequestResult, str | None]:
        """Ask for the next lacking files behind this id; what became of it, and where to go on (None: the end)."""
        at = self._clock.stamp()
        ids = await self._db.read(lambda tx: tx.files.missing(after, at, BATCH_SIZE))
        wished = await self._request(ids, RequestOptions("archive", SYNC))
        return wished, ids[-1] if len(ids) == BATCH_SIZE else None

    async def request(self, ids: Sequence[str], keep: Destination = "archive") -> FileRequestResult:
        """Ask for the files of these documents because a person does."""
        return await self._request(ids, RequestOptions(keep, INTERACTIVE, is_explicit=True))

    async def refetch_lost(self, ids: Sequence[str]) -> None:
        """Ask again for files that the archive has lost."""
        if self.fetches:
            await self._request(ids, RequestOptions("archive", SYNC, is_explicit=True))

    async def request_for_reader(self, document: Record, row: DocumentFile | None) -> FileRequestResult:
        """Ask for a file that somebody waits for, and asks for again and again until it is there."""
        key, now = str(document.id), self._clock.now()
        if row is not None and row.state == "pending" and now - self._requested_at.get(key, _EPOCH) < _REPEAT_AFTER:
            return FileRequestResult(queued=[key])
        self._requested_at[key] = now
        while len(self._requested_at) > _MAX_REMEMBERED:
            self._requested_at.pop(next(iter(self._requested_at)))
        return await self.request([key], self._keep_of(document, row))

    def _keep_of(self, document: Record, row: DocumentFile | None) -> Destination:
        wanted = self.rules.archive and self.rules.excluded(document.fields["document_type"]) is None
        return "archive" if wanted or (row is not None and row.sha256 is not None) else "cache"

    async def _request(self, ids: Sequence[str], how: RequestOptions) -> FileRequestResult:
        if not ids:
            return FileRequestResult()
        at, rules = self._clock.stamp(), self.rules

        def work(tx: Transaction) -> FileRequestResult:
            return request_files(tx, rules, ids, how, at)

        wished = await self._db.write(work)
        if wished.queued:
            self._queue.added(DOCUMENT_FILE, len(wished.queued))
        return wished
