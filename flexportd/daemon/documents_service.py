"""The files of documents: archive, fetcher and whoever asks for them, built for the composition root."""

import asyncio
from dataclasses import dataclass

import structlog

from flexportd.cache import Cache
from flexportd.clock import Clock
from flexportd.core.documents.integrity_check import IntegrityCheck
from flexportd.core.documents.requests import DOCUMENT_FILE, ArchiveRules, CachedFiles
from flexportd.core.events.applier import WriteSet
from flexportd.expose.document_interfaces import FileServices
from flexportd.ingest.document_fetcher import FileFetcher, FileSource, FileTargets
from flexportd.ingest.document_requester import DocumentRequester
from flexportd.queue.handlers import ItemHandler
from flexportd.queue.queue import Queue
from flexportd.queue.workers import ItemWorker, LeaseLimits
from flexportd.settings import Settings
from flexportd.storage.database import Database
from flexportd.storage.file_store import Archive
from flexportd.tasks import Tasks

log = structlog.get_logger(__name__)

_CONCURRENCY = 2  # files: lists and refreshes share the way to Flexport
_TIMEOUT_FACTOR = 10  # times the time-out of one request, as the client allows a download
_LEASE_MARGIN = 120.0  # seconds for waiting its turn, and for the disk


@dataclass(frozen=True)
class DocumentsDeps:
    """What it stands on."""

    db: Database
    queue: Queue
    cache: Cache
    clock: Clock
    tasks: Tasks


class DocumentsService:
    """Everything that has to do with files, as its owner sees it. To be made before the queue is loaded."""

    def __init__(self, settings: Settings, desk: DocumentsDeps, client: FileSource | None) -> None:
        self._deps = desk
        self._archive = Archive(settings.storage.data_dir)
        self._lease = settings.flexport.timeout.total_seconds() * _TIMEOUT_FACTOR + _LEASE_MARGIN
        held, rules = CachedFiles(desk.cache), archive_rules(settings)
        self.requester = DocumentRequester(desk.db, desk.queue, rules, desk.clock, fetches=client is not None)
        verification = IntegrityCheck(self._archive, desk.db, desk.clock, desk.tasks, self.requester.refetch_lost)
        self.files = FileServices(self._archive, held, self.requester, verification)
        self._fetcher: FileFetcher | None = None
        self._handler: ItemHandler | None = None
        if client is not None:
            self._fetcher = FileFetcher(client, desk.db, FileTargets(self._archive, held), rules, desk.clock)
            self._handler = ItemHandler(name=DOCUMENT_FILE, handle=self._fetcher.handle, on_dead=self._fetcher.on_dead)
            desk.queue.add(self._handler)

    async def start(self) -> None:
        """Take away what a crash left half, and begin."""
        left = await asyncio.to_thread(self._archive.remove_incomplete)
        if left:
            log.info("partial_files_removed", files=left)
        if self._handler is not None:
            loop = ItemWorker(self._deps.queue, self._handler, self._deps.tasks, LeaseLimits(_CONCURRENCY, self._lease))
            self._deps.tasks.start("document_files", loop.run)
            self._deps.tasks.start("document_requests", self.requester.run)

    def after_commit(self, written: WriteSet) -> None:
        """Look whether files of the documents that were written are missing."""
        if keys := written.objects.get("documents"):
            self.requester.on_documents(keys)

    def reload(self, settings: Settings) -> None:
        """Take over `[documents]`."""
        self.requester.rules = archive_rules(settings)
        if self._fetcher is not None:
            self._fetcher.rules = self.requester.rules
        self.requester.check_all()


def archive_rules(settings: Settings) -> ArchiveRules:
    """What `[documents]` says."""
    said = settings.documents
    return ArchiveRules(said.archive, said.max_size, tuple(said.types))
