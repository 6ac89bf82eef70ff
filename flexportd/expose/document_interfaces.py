"""What the handlers of documents' files are given; the composition root makes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from flexportd.core.documents.integrity_check import Verification
from flexportd.core.documents.requests import ArchiveRules, HeldFiles, Keep, Wished
from flexportd.storage.file_store import Archive
from flexportd.storage.repositories.document_files import DocumentFile
from flexportd.storage.repositories.resources import Record


class Archivist(Protocol):
    """Whoever asks for files. `fetches` is false where no key for Flexport is configured.

    `trouble` is what kept the last look from requesting what is lacking.
    """

    rules: ArchiveRules
    fetches: bool
    trouble: str | None

    async def ask(self, ids: Sequence[str], keep: Keep = "archive") -> Wished:
        """Ask for the files of these documents because a person does."""

    async def ask_for_all(self, after: str) -> tuple[Wished, str | None]:
        """Ask for the next lacking files behind this id; what became of it, and where to go on (None: the end)."""

    async def ask_to_see(self, document: Record, row: DocumentFile | None) -> Wished:
        """Ask for a file that somebody waits for; `row` is what is known of it."""


@dataclass(frozen=True)
class Filing:
    """Where files are, and who gets more."""

    archive: Archive
    held: HeldFiles
    archivist: Archivist
    verification: Verification


FILING: web.AppKey[Filing] = web.AppKey("filing", Filing)
