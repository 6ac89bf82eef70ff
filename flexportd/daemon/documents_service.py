"""The files of documents: archive, fetcher and whoever asks for them, built for the composition root."""

import asyncio
from dataclasses import dataclass

import structlog

from flexportd.cache import Cache
from flexportd.clock import Clock
from flexportd.core.documents.integrity_check import Verification
from flexportd.core.documents.requests import DOCUMENT_FILE, ArchiveRules, HeldFiles
from flexportd.expose.document_interfaces import Filing
from flexportd.ingest.document_fetcher import Downloading, FileFetcher, Shelves
from flexportd.ingest.document_requester import Archivist
from flexportd.queue.handlers import Leasing
from flexportd.queue.queue import Queue
from flexportd.queue.workers import LeaseLimits, LeasingLoop
from flexportd.settings import Settings
from flexportd.storage.database import Database
from flexportd.storage.file_store import Archive
from flexportd.tasks import Tasks

log = structlog.get_logger(__name__)

_AT_ONCE = 2  # files: lists and refreshes share the way to Flexport
_LONGEST = 10  # times the time-out of one request, as the client allows a download
_SPARE = 120.0  # seconds for waiting its turn, and for the disk


@dataclass(frozen=True)
class Desk:
    """What it stands on."""

    db: Database
    queue: Queue
    cache: Cache
    clock: Clock
    tasks: Tasks


class Paperwork:
    """Everything that has to do with files, as its owner sees it. To be made before the queue is loaded."""

    def __init__(self, settings: Settings, desk: Desk, client: Downloading | None) -> None:
        self._desk = desk
        self._archive = Archive(settings.storage.data_dir)
        self._lease = settings.flexport.timeout.total_seconds() * _LONGEST + _SPARE
        held, rules = HeldFiles(desk.cache), rules_of(settings)
        self.archivist = Archivist(desk.db, desk.queue, rules, desk.clock, fetches=client is not None)
        verification = Verification(self._archive, desk.db, desk.clock, desk.tasks, self.archivist.mend)
        self.filing = Filing(self._archive, held, self.archivist, verification)
        self._fetcher: FileFetcher | None = None
        self._kind: Leasing | None = None
        if client is not None:
            self._fetcher = FileFetcher(client, desk.db, Shelves(self._archive, held), rules, desk.clock)
            self._kind = Leasing(name=DOCUMENT_FILE, handle=self._fetcher.handle, buried=self._fetcher.buried)
            desk.queue.add(self._kind)

    async def start(self) -> None:
        """Take away what a crash left half, and begin."""
        left = await asyncio.to_thread(self._archive.clean)
        if left:
            log.info("partial_files_removed", files=left)
        if self._kind is not None:
            loop = LeasingLoop(self._desk.queue, self._kind, self._desk.tasks, LeaseLimits(_AT_ONCE, self._lease))
            self._desk.tasks.start("document_files", loop.run)
            self._desk.tasks.start("document_requests", self.archivist.run)

    def reload(self, settings: Settings) -> None:
        """Take over `[documents]`."""
        self.archivist.rules = rules_of(settings)
        if self._fetcher is not None:
            self._fetcher.rules = self.archivist.rules
        self.archivist.look_at_all()


def rules_of(settings: Settings) -> ArchiveRules:
    """What `[documents]` says."""
    said = settings.documents
    return ArchiveRules(said.archive, said.max_size, tuple(said.types))
