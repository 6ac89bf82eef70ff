"""The files of documents: archive, requests, fetcher and integrity check, as one part of the daemon."""

import asyncio

import structlog

from flexportd.cache import Cache
from flexportd.core.documents.integrity_check import IntegrityCheck
from flexportd.core.documents.requests import DOCUMENT_FILE, ArchiveRules, CachedFiles
from flexportd.core.events.applier import WriteSet
from flexportd.expose.context import FileServices
from flexportd.flexport.client import Client
from flexportd.ingest.document_fetcher import FileFetcher
from flexportd.ingest.document_requester import DocumentRequester
from flexportd.queue.handlers import ItemHandler
from flexportd.queue.queue import Queue
from flexportd.queue.workers import ItemWorker, LeaseLimits
from flexportd.settings import Settings
from flexportd.storage.file_store import Archive
from flexportd.tasks import Tasks

log = structlog.get_logger(__name__)

_CONCURRENCY = 2  # files at once: lists and refetches share the rate limit
_TIMEOUT_FACTOR = 10  # times the timeout of a request, as the client allows for a download
_LEASE_MARGIN = 120.0  # seconds for the rate limit and the disk


class DocumentsService:
    """Keeps the files of documents. Must be created before the queue is loaded. `client` is None without Flexport."""

    def __init__(self, settings: Settings, queue: Queue, cache: Cache, tasks: Tasks, client: Client | None) -> None:
        db, clock = queue.db, queue.clock
        self._queue = queue
        self._tasks = tasks
        self._archive = Archive(settings.storage.data_dir)
        self._lease = settings.flexport.timeout.total_seconds() * _TIMEOUT_FACTOR + _LEASE_MARGIN
        held, rules = CachedFiles(cache), ArchiveRules.from_settings(settings)
        self.requester = DocumentRequester(db, queue, rules, clock, fetches=client is not None)
        verification = IntegrityCheck(self._archive, db, clock, tasks, self.requester.refetch_lost)
        self.files = FileServices(self._archive, held, self.requester, verification)
        self._fetcher: FileFetcher | None = None
        self._handler: ItemHandler | None = None
        if client is not None:
            self._fetcher = FileFetcher(client, db, clock, rules, archive=self._archive, cache=held)
            self._handler = ItemHandler(name=DOCUMENT_FILE, handle=self._fetcher.handle, on_dead=self._fetcher.on_dead)
            queue.add(self._handler)

    async def start(self) -> None:
        """Remove incomplete files that a crash left, and start the loops."""
        removed = await asyncio.to_thread(self._archive.remove_incomplete)
        if removed:
            log.info("partial_files_removed", files=removed)
        if self._handler is not None:
            worker = ItemWorker(self._queue, self._handler, self._tasks, LeaseLimits(_CONCURRENCY, self._lease))
            self._tasks.start("document_files", worker.run)
            self._tasks.start("document_requests", self.requester.run)

    def after_commit(self, written: WriteSet) -> None:
        """Look whether files of the documents that were written are missing."""
        if keys := written.objects.get("documents"):
            self.requester.on_documents(keys)

    def reload(self, settings: Settings) -> None:
        """Apply `[documents]`."""
        self.requester.rules = ArchiveRules.from_settings(settings)
        if self._fetcher is not None:
            self._fetcher.rules = self.requester.rules
        self.requester.check_all()
