"""What the handlers of documents' files are given; the composition root makes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from flexportd.core.documents.integrity_check import IntegrityCheck
from flexportd.core.documents.requests import ArchiveRules, CachedFiles, Destination, FileRequestResult
from flexportd.storage.file_store import Archive
from flexportd.storage.repositories.document_files import DocumentFile
from flexportd.storage.repositories.resources import Record


class FileRequester(Protocol):
    """Whoever asks for files. `fetches` is false where no key for Flexport is configured.

    `trouble` is what kept the last look from requesting what is lacking.
    """

    rules: ArchiveRules
    fetches: bool
    error: str | None

    async def request(self, ids: Sequence[str], keep: Destination = "archive") -> FileRequestResult:
        """Ask for the files of these documents because a person does."""

    async def request_missing(self, after: str) -> tuple[FileRequestResult, str | None]:
        """Ask for the next lacking files behind this id; what became of it, and where to go on (None: the end)."""

    async def request_for_reader(self, document: Record, row: DocumentFile | None) -> FileRequestResult:
        """Ask for a file that somebody waits for; `row` is what is known of it."""


@dataclass(frozen=True)
class FileServices:
    """Where files are, and who gets more."""

    archive: Archive
    cache: CachedFiles
    requester: FileRequester
    verification: IntegrityCheck


FILES: web.AppKey[FileServices] = web.AppKey("filing", FileServices)
