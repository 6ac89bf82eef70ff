"""Asking for the files of documents: all that are lacking, or those that a person names.

What is lacking is read off the tables, so nothing has to be remembered: at the start, after a commit that touched
documents, and once an hour for what may be tried again. Never more than a few hundred wait in the queue.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from flexportd.clock import Clock
from flexportd.core.documents.requests import DOCUMENT_FILE, ArchiveRules, How, Keep, Wished, wish
from flexportd.errors import UnavailableError
from flexportd.queue.handlers import INTERACTIVE, SYNC
from flexportd.queue.queue import Queue
from flexportd.storage.database import Database
from flexportd.storage.repositories.document_files import DocumentFile
from flexportd.storage.repositories.resources import Key, Record
from flexportd.storage.transaction import Session

log = structlog.get_logger(__name__)

PAGE = 100  # documents that one transaction asks for
_MOST_WAITING = 300  # items in the queue, above which no more are asked for by themselves
_MOST_NOTICED = 2000  # documents remembered one by one; beyond, all are looked at
_GATHERING = 2.0  # seconds in which more commits may follow
_LOOK = 5.0  # seconds between looks at a queue that is full
_HOUR = 3600.0
_PATIENCE = timedelta(seconds=30)  # after which a file that somebody waits for is asked for again
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MEANWHILE = 30.0  # seconds until a database that fails is tried again


class Archivist:
    """Makes the wishes. `rules` may be replaced while running; `look_at_all` after that."""

    def __init__(self, db: Database, queue: Queue, rules: ArchiveRules, clock: Clock, *, fetches: bool) -> None:
        """`fetches`: whether there is a way to Flexport."""
        self.rules = rules
        self.fetches = fetches
        self._db = db
        self._queue = queue
        self._clock = clock
        self._wake = asyncio.Event()
        self._noticed: set[str] = set()
        self._all = True
        self.trouble: str | None = None
        """What kept the last look from requesting the files that are lacking."""
        self._asked: dict[str, datetime] = {}  # when somebody was last heard to wait for a file

    def noticed(self, keys: Iterable[Key]) -> None:
        """These documents were written. Returns at once."""
        if not self.rules.archive or not self.fetches:
            return
        self._noticed.update(map(str, keys))
        if len(self._noticed) > _MOST_NOTICED:
            self._all = True
        self._wake.set()

    def look_at_all(self) -> None:
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
            await self._clock.sleep(_GATHERING)
            self._wake.clear()
            if not self.rules.archive or not self.fetches:
                continue
            try:
                await self._round()
            except Exception as error:  # noqa: BLE001 (shown in the status, and tried again: nothing depends on it)
                await self._fail(error)
            else:
                self.trouble = None

    async def _fail(self, error: Exception) -> None:
        if not isinstance(error, UnavailableError):  # of that the writer has told
            if self.trouble is None:
                log.error("file_requests_failed", exc_info=error)
            self.trouble = f"{type(error).__name__}: {error}"
        self._all = True
        await self._clock.sleep(_MEANWHILE)
        self._wake.set()

    async def _round(self) -> None:
        noticed, self._noticed = sorted(self._noticed), set()
        if not self._all:
            for start in range(0, len(noticed), PAGE):
                await self._want(noticed[start : start + PAGE], How("archive", SYNC))
            return
        self._all = False
        after: str | None = ""
        while after is not None:
            while self._queue.waiting(DOCUMENT_FILE) >= _MOST_WAITING:
                await self._clock.sleep(_LOOK)
            _, after = await self.ask_for_all(after)

    async def ask_for_all(self, after: str) -> tuple[Wished, str | None]:
        """Ask for the next lacking files behind this id; what became of it, and where to go on (None: the end)."""
        at = self._clock.stamp()
        ids = await self._db.read(lambda tx: tx.files.lacking(after, at, PAGE))
        wished = await self._want(ids, How("archive", SYNC))
        return wished, ids[-1] if len(ids) == PAGE else None

    async def ask(self, ids: Sequence[str], keep: Keep = "archive") -> Wished:
        """Ask for the files of these documents because a person does."""
        return await self._want(ids, How(keep, INTERACTIVE, named=True))

    async def mend(self, ids: Sequence[str]) -> None:
        """Ask again for files that the archive has lost."""
        if self.fetches:
            await self._want(ids, How("archive", SYNC, named=True))

    async def ask_to_see(self, document: Record, row: DocumentFile | None) -> Wished:
        """Ask for a file that somebody waits for, and asks for again and again until it is there."""
        key, now = str(document.id), self._clock.now()
        if row is not None and row.state == "pending" and now - self._asked.get(key, _EPOCH) < _PATIENCE:
            return Wished(queued=[key])
        self._asked[key] = now
        while len(self._asked) > _MOST_NOTICED:
            self._asked.pop(next(iter(self._asked)))
        return await self.ask([key], self._keep_of(document, row))

    def _keep_of(self, document: Record, row: DocumentFile | None) -> Keep:
        wanted = self.rules.archive and self.rules.left_out(document.fields["document_type"]) is None
        return "archive" if wanted or (row is not None and row.sha256 is not None) else "cache"

    async def _want(self, ids: Sequence[str], how: How) -> Wished:
        if not ids:
            return Wished()
        at, rules = self._clock.stamp(), self.rules

        def work(tx: Session) -> Wished:
            return wish(tx, rules, ids, how, at)

        wished = await self._db.write(work)
        if wished.queued:
            self._queue.arrived(DOCUMENT_FILE, len(wished.queued))
        return wished
