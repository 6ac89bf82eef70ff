"""Verifying every archived file against its hash: missing, damaged and orphaned files."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import msgspec

from flexportd.clock import Clock
from flexportd.errors import FlexportdError, UnavailableError
from flexportd.storage.database import Database
from flexportd.storage.file_store import Archive, Condition
from flexportd.tasks import Tasks
from flexportd.type_lock import decode_as

MAX_LISTED = 1000  # of each kind of finding
_PAGE = 100
_META_KEY = "archive_verified"  # where the last result is stored

State = Literal["never", "running", "done", "failed"]


class FileFault(msgspec.Struct, frozen=True):
    """A missing or damaged file, and the documents whose current file it is."""

    sha256: str
    documents: list[str]


class VerificationReport(msgspec.Struct):
    """A verification so far. `total` and `checked` count files, `bytes` is the amount read.

    `orphans` are files without a document, `unexpected` files with a name that is not the archive's: neither is a
    fault.
    """

    state: State = "never"
    started_at: str | None = None
    ended_at: str | None = None
    total: int = 0
    checked: int = 0
    bytes: int = 0
    intact: int = 0
    missing: list[FileFault] = msgspec.field(default_factory=list)
    damaged: list[FileFault] = msgspec.field(default_factory=list)
    orphans: list[str] = msgspec.field(default_factory=list)
    quarantined: list[str] = msgspec.field(default_factory=list)
    unexpected: list[str] = msgspec.field(default_factory=list)
    omitted: int = 0  # findings beyond those that are listed
    error: str | None = None

    def add(self, where: list[Any], found: Any) -> None:
        """Add to a list of findings, unless it is full."""
        if len(where) < MAX_LISTED:
            where.append(found)
        else:
            self.omitted += 1


class IntegrityCheck:
    """Verifies the archive. At most one verification runs; the last result survives a restart."""

    def __init__(
        self,
        archive: Archive,
        db: Database,
        clock: Clock,
        tasks: Tasks,
        refetch: Callable[[Sequence[str]], Awaitable[None]],
    ) -> None:
        """`refetch` fetches the files of documents again."""
        self._archive = archive
        self._db = db
        self._clock = clock
        self._tasks = tasks
        self._refetch = refetch
        self._report: VerificationReport | None = None

    async def report(self) -> VerificationReport:
        """The current verification, or the last one."""
        if self._report is None:
            text = await self._db.read(lambda tx: tx.meta.get(_META_KEY))
            stored = decode_as(text, VerificationReport) if text else VerificationReport()
            self._report = self._report or stored
        return self._report

    def begin(self) -> VerificationReport:
        """Start a verification unless one runs. Raises UnavailableError while the daemon stops."""
        if self._report is not None and self._report.state == "running":
            return self._report
        report = VerificationReport("running", self._clock.stamp())
        try:
            self._tasks.start("archive_verification", lambda: self._run(report), vital=False)
        except RuntimeError:
            raise UnavailableError("the daemon stops") from None
        self._report = report
        return report

    async def _run(self, report: VerificationReport) -> None:
        stop = threading.Event()
        try:
            report.total = (await self._db.read(lambda tx: tx.files.total_size()))[0]
            await self._check_contents(report, stop)
            await self._check_unreferenced(report)
            report.state = "done"
        except (FlexportdError, OSError) as error:
            report.state, report.error = "failed", str(error)
        except asyncio.CancelledError:
            report.state, report.error = "failed", "the daemon was stopped during the verification"
            raise
        finally:
            stop.set()
            report.ended_at = self._clock.stamp()
        text = msgspec.json.encode(report).decode()
        await self._db.write(lambda tx: tx.meta.put(_META_KEY, text))

    async def _check_contents(self, report: VerificationReport, stop: threading.Event) -> None:
        after = ""
        while True:
            page = await self._db.read(lambda tx: tx.files.contents(after, _PAGE))  # noqa: B023 (run at once)
            sound: list[str] = []
            for sha256, size in page:
                condition = await asyncio.to_thread(self._archive.check, sha256, stop.is_set)
                report.checked += 1
                if condition == "sound":
                    sound.append(sha256)
                    report.intact += 1
                    report.bytes += size
                elif condition is not None:
                    await self._mark_bad(report, sha256, condition)
            at = self._clock.stamp()
            await self._db.write(lambda tx: tx.files.mark_intact(sound, at))  # noqa: B023 (run at once)
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    async def _mark_bad(self, report: VerificationReport, sha256: str, condition: Condition) -> None:
        if condition == "damaged":
            aside = await asyncio.to_thread(self._archive.quarantine, sha256)
            error = f"the archived file is damaged; it was set aside as {aside.name}"
        else:
            error = "the archived file is missing"
        at = self._clock.stamp()
        ids = await self._db.write(lambda tx: tx.files.mark_bad(sha256, condition, error, at))
        report.add(report.damaged if condition == "damaged" else report.missing, FileFault(sha256, ids))
        if ids:
            await self._refetch(ids)

    async def _check_unreferenced(self, report: VerificationReport) -> None:
        for folder in await asyncio.to_thread(self._archive.folders):
            found = await asyncio.to_thread(lambda: list(self._archive.entries(folder)))  # noqa: B023 (run at once)
            names = [path.rpartition("/")[2] for path, kind in found if kind == "file"]
            known = await self._db.read(lambda tx: tx.files.known_contents(names))  # noqa: B023 (run at once)
            for path, kind in found:
                if kind == "file" and path.rpartition("/")[2] not in known:
                    report.add(report.orphans, path)
                elif kind != "file":
                    report.add(report.quarantined if kind == "aside" else report.unexpected, path)
