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
from flexportd.core.documents.file_types import HEAD, media_type, objection
from flexportd.core.documents.requests import (
    MOST_CACHED,
    ArchiveRules,
    HeldFile,
    HeldFiles,
    Order,
    name_of,
    told,
    too_large_to_cache,
    try_again_at,
)
from flexportd.core.resources import documents
from flexportd.errors import FlexportdError
from flexportd.flexport.download import Downloaded, Sink
from flexportd.flexport.errors import (
    FlexportError,
    FlexportUnavailableError,
    MalformedAnswerError,
    NotFoundAtFlexportError,
    RateLimitedError,
    TokensExhaustedError,
)
from flexportd.flexport.usage import Purpose
from flexportd.outcome import Applied, Dead, Ignored, Outcome, Snooze
from flexportd.queue.handlers import INTERACTIVE
from flexportd.storage.database import Database
from flexportd.storage.file_store import Archive, Incoming
from flexportd.storage.repositories.document_files import DocumentFile, Fetched, NotHad, State
from flexportd.storage.repositories.items import Item
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Session

_MEANWHILE = 30.0  # seconds until Flexport or the disk is tried again, twice as long with each failure
_LONGEST_WAIT = 3600.0
_SPARE = 64 << 20  # bytes of the disk that files leave free: the database needs them more
_UNFORESEEN = 5  # failures that such a one counts for: it is tried again after days
_ONCE_MORE = timedelta(hours=1)


class Downloading(Protocol):
    """The client, as far as files go."""

    async def download(self, path: str, purpose: Purpose, sink: Sink, max_size: int) -> Downloaded:
        """Pass a file's bytes on. Raises FlexportError, and what the sink raises."""


class NotTheFileError(FlexportdError):
    """What came is not the file that the document speaks of."""

    slug = "file-access-denied"


@dataclass(frozen=True, slots=True)
class _Task:
    """One file to be fetched."""

    order: Order
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
class Shelves:
    """Where files are put."""

    archive: Archive
    held: HeldFiles


class FileFetcher:
    """The queue's handler of the kind `document_file`. `rules` may be replaced while running."""

    def __init__(self, client: Downloading, db: Database, shelves: Shelves, rules: ArchiveRules, clock: Clock) -> None:
        self.rules = rules
        self._client = client
        self._db = db
        self._archive = shelves.archive
        self._held = shelves.held
        self._clock = clock

    async def handle(self, item: Item) -> Outcome:
        """Fetch one file, and write down what became of it."""
        try:
            order = msgspec.json.decode(item.payload or "", type=Order)
        except ValueError as error:
            return Dead(f"the item does not say which file to fetch: {error}")
        document, row = await self._db.read(lambda tx: _look(tx, order.document))
        if document is None:
            return Ignored(f"unknown document {order.document}")
        task = _Task(order, document, row, item.priority)
        if await self._is_here(task):
            return Applied()
        size = document.fields["size"]
        reason = self.rules.too_large(size) or (too_large_to_cache(size) if order.keep == "cache" else None)
        if reason is not None:
            return await self._not_had(task, "refused", reason, by_rule=True)
        try:
            await self._fetch(task)
        except (FlexportError, NotTheFileError, OSError) as error:
            return await self._failed(task, error)
        return Applied()

    def buried(self, tx: Session, item: Item, error: str, at: str) -> None:
        """An item gave up, for a reason that nobody foresaw: the document's file says so too."""
        with contextlib.suppress(ValueError):
            order = msgspec.json.decode(item.payload or "", type=Order)
            tx.files.not_had(order.document, NotHad("failed", error, try_again_at(at, _UNFORESEEN)), at)

    async def _is_here(self, task: _Task) -> bool:
        """Whether there is nothing to do any more: two that asked at once need one fetch."""
        row = task.row
        if row is not None and row.state == "fetched" and row.is_kept and row.suits(told(task.document)):
            return True
        if task.order.keep == "archive" or await self._held.get(task.document) is None:
            return False
        await self._db.write(lambda tx: tx.files.forget(task.order.document))
        return True

    # --- what became of it ---

    async def _failed(self, task: _Task, error: Exception) -> Outcome:
        if isinstance(error, OSError):
            return await self._later(task, f"the file cannot be stored: {error.strerror or error}", None)
        if isinstance(error, FlexportUnavailableError | RateLimitedError | TokensExhaustedError):
            return await self._later(task, str(error), error.retry_after)
        if isinstance(error, NotFoundAtFlexportError):
            return await self._not_had(task, "gone", f"Flexport has no file for it: {error}")
        refused = isinstance(error, NotTheFileError | MalformedAnswerError)
        return await self._not_had(task, "refused" if refused else "failed", str(error))

    async def _not_had(self, task: _Task, state: State, error: str, *, by_rule: bool = False) -> Outcome:
        """For the time being there is nothing more to do; without `by_rule` it is tried again some time."""
        at = self._clock.stamp()
        attempts = (task.row.attempts if task.row else 0) + 1
        why = NotHad(state, error, None if by_rule else try_again_at(at, attempts))
        await self._db.write(lambda tx: tx.files.not_had(task.order.document, why, at))
        return Ignored(error)

    async def _later(self, task: _Task, error: str, after: float | None) -> Outcome:
        """It waits in the queue for Flexport, or for the disk; what is for the cache alone is asked for anew."""
        at = self._clock.stamp()
        attempts = task.row.attempts if task.row else 0
        seconds = max(after or 0.0, min(_MEANWHILE * 2.0 ** min(attempts, 16), _LONGEST_WAIT))
        # Past the snooze: an item that is lost is made anew, one that waits is not disturbed.
        retry_at = stamp(parse(at) + timedelta(seconds=seconds) + _ONCE_MORE)
        await self._db.write(lambda tx: tx.files.not_had(task.order.document, NotHad("failed", error, retry_at), at))
        return Ignored(error) if task.order.keep == "cache" else Snooze(seconds, error)

    # --- fetching ---

    async def _fetch(self, task: _Task) -> None:
        if task.order.keep == "cache":
            await self._to_cache(task)
        else:
            await self._to_archive(task)

    async def _to_archive(self, task: _Task) -> None:
        expected = task.document.fields["size"] or 0
        if await asyncio.to_thread(self._archive.free) < expected + _SPARE:
            raise OSError(28, "the disk of data_dir is full")
        incoming = self._archive.begin()
        try:
            pour = _Pour(_ToDisk(incoming))
            kind = await self._poured(task, pour, self.rules.max_size)
            kept = await asyncio.to_thread(incoming.keep)
        except BaseException:
            # Also where it is cancelled: nothing half stays behind.
            await asyncio.shield(asyncio.to_thread(incoming.discard))
            raise
        found = Fetched(kept, kind, name_of(task.document, kind), told(task.document))
        at = self._clock.stamp()
        await self._db.write(lambda tx: tx.files.fetched(task.order.document, found, at))

    async def _to_cache(self, task: _Task) -> None:
        epoch, content = self._held.epoch, bytearray()
        pour = _Pour(_ToMemory(content))
        kind = await self._poured(task, pour, min(self.rules.max_size, MOST_CACHED))
        whole = bytes(content)
        digest = await asyncio.to_thread(lambda: hashlib.sha256(whole).hexdigest())
        held = HeldFile(digest, kind, name_of(task.document, kind), self._clock.stamp(), whole)
        self._held.put(task.document, held, epoch)
        await self._db.write(lambda tx: tx.files.forget(task.order.document))

    async def _poured(self, task: _Task, pour: "_Pour", most: int) -> str:
        """Download and check; the media type. Raises FlexportError, NotTheFileError, OSError."""
        try:
            got = await self._client.download(task.path, task.purpose, pour.take, most)
        except MalformedAnswerError as error:
            if pour.size and not error.permanent:  # it began well, and broke off
                raise FlexportUnavailableError(str(error), error.said, detail=error.detail) from error
            raise
        return await asyncio.to_thread(pour.checked_type, got)


class _Taking(Protocol):
    async def __call__(self, chunk: bytes) -> None:
        """Take these bytes."""


class _ToDisk:
    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming

    async def __call__(self, chunk: bytes) -> None:
        await asyncio.to_thread(self._incoming.write, chunk)


class _ToMemory:
    def __init__(self, content: bytearray) -> None:
        self._content = content

    async def __call__(self, chunk: bytes) -> None:
        self._content += chunk


class _Pour:
    """Bytes on their way, watched.

    A size that differs from what the document declares is no reason to have no file: it is kept, and the row says so. A
    file that breaks off is known by the answer's own length.
    """

    def __init__(self, taking: _Taking) -> None:
        self._taking = taking
        self.size = 0
        self.head = b""

    async def take(self, chunk: bytes) -> None:
        """Take these bytes; the first of them tell what it is."""
        self.size += len(chunk)
        if len(self.head) < HEAD:
            self.head += chunk[: HEAD - len(self.head)]
        await self._taking(chunk)

    def checked_type(self, got: Downloaded) -> str:
        """The media type. Raises NotTheFileError for what came whole, and is not what it should be."""
        found = objection(got.media_type, self.head)
        if found is not None:
            raise NotTheFileError(found)
        return media_type(got.media_type, self.head)


def _look(tx: Session, key: str) -> tuple[Record | None, DocumentFile | None]:
    """A document, and its present file."""
    return tx.resources.load(documents.TABLE, (key,)).get(key), tx.files.current((key,)).get(key)
