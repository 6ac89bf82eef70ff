"""Reading one list page by page: what is fetched is taken in while the next pages are on their way.

Each page's effects, its place in the receipt and its ids commit together, so a crash repeats a few pages at most.
"""

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from flexportd.core.importer.compare import REPEATED, Comparison, FetchedBatch
from flexportd.core.importer.importer import ImportSummary, OnImported, PendingImport
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.unit_of_work import ChangeCause
from flexportd.flexport.client import ListPage
from flexportd.flexport.errors import MalformedResponseError
from flexportd.flexport.lists import LISTS
from flexportd.flexport.pagination import Pagination
from flexportd.jobs.job import JobRun
from flexportd.jobs.sync.deps import SyncDeps
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.sync import PageTally, Run
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

PAGE_SIZE = 100  # rows of a page
_MAX_TRIES = 3  # how often a page that repeats the one before is asked for
_RETRY_DELAY = 2.0  # seconds between these
_GROUP_SECONDS = 0.25  # seconds in which pages are gathered to be taken in together: only quick ones are worth it
_MAX_GROUP_BYTES = 4 << 20  # bytes of such pages


@dataclass
class Position:
    """Where a reading begins: the page to ask for, and the ids of the pages before it."""

    page: int = 1
    seen: frozenset[Key] = frozenset()


@dataclass(frozen=True)
class FetchedPage:
    """One page, and what it was found to be; `again` are its rows that earlier pages had."""

    page: ListPage
    answered: FetchedBatch
    reading: Comparison
    repeated: frozenset[Hashable] = frozenset()


@dataclass(frozen=True)
class PageGroup:
    """Pages that are taken in together; `follows`: others do. `error` is why the next page cannot be had."""

    pages: list[FetchedPage]
    has_more: bool = False
    error: Exception | None = None


class ListReader:
    """One list (or a question to it) in one run, from a place to its end."""

    def __init__(self, reach: SyncDeps, domain: ResourceType, run: Run, query: Mapping[str, str]) -> None:
        self._deps = reach
        self._domain = domain
        self._run = run
        self._query = query
        self._path = LISTS[domain.object_name].path
        self._pagination = Pagination(self._path)
        self.began_at: str | None = None
        self.changed: set[Key] = set()  # the ids of this resource that were written

    async def run(self, job: JobRun, place: Position) -> None:
        """Read to the end. Raises FlexportError when that cannot be, and StoppedError."""
        number = place.page
        self._pagination = Pagination(self._path, place.seen)
        stretch = await self._read_group(job, number, None)
        while stretch.has_more:
            number += len(stretch.pages)
            # Both to their end: what was fetched is taken in, also when what follows cannot be had.
            taken, following = await asyncio.gather(
                self._import(stretch.pages),
                self._read_group(job, number, stretch.pages[-1]),
                return_exceptions=True,
            )
            if isinstance(taken, BaseException):
                raise taken
            if isinstance(following, BaseException):
                raise following
            stretch = following
        await self._import(stretch.pages)
        if stretch.error is not None:
            raise stretch.error

    def check(self, answer: ListPage) -> None:
        """Whether a page is an answer to what was asked; overridden where that can be told."""

    async def _read_group(self, job: JobRun, number: int, before: FetchedPage | None) -> PageGroup:
        """The pages from one on that are taken in together; `before` is the page before it."""
        pages: list[FetchedPage] = []
        ends = asyncio.get_running_loop().time() + _GROUP_SECONDS
        room, size = self._deps.intake.batch_size, 0
        while True:
            try:
                job.check_stop()
                fetched = await self._fetch_distinct(before, number + len(pages))
                self.check(fetched.page)
                before = replace(fetched, repeated=self._pagination.add(fetched.reading.identities))
                pages.append(before)
                goes_on = before.page.has_next and self._pagination.has_more(before.page.total_count)
            except Exception as error:  # noqa: BLE001 (told when the pages before it are taken in)
                return PageGroup(pages, error=error)
            room, size = room - len(before.page.rows), size + before.page.bytes
            if not goes_on:
                return PageGroup(pages)
            if room < PAGE_SIZE or size > _MAX_GROUP_BYTES or asyncio.get_running_loop().time() >= ends:
                return PageGroup(pages, has_more=True)

    async def _fetch(self, number: int) -> FetchedPage:
        start = await self._deps.intake.request_start()
        page, intake = await self._deps.client.page(self._path, self._query, number, "sync"), self._deps.intake
        self.began_at = self.began_at or page.started_at
        intake.report_anomaly(self._domain, page.notes)
        # Read while the pages before are written; what changes meanwhile is seen when this one is.
        times = (page.started_at, page.date)
        answered = intake.make_batch(self._domain, page.rows, times, start, is_list=True)
        return FetchedPage(page, answered, await intake.compare(answered))

    async def _fetch_distinct(self, before: FetchedPage | None, number: int) -> FetchedPage:
        """A page, once it is another than the one before; a cache on the way may need a moment."""
        found = await self._fetch(number)
        for _ in range(_MAX_TRIES):
            if before is None or self._is_new_page(before.page, found.page):
                return found
            await self._deps.clock.sleep(_RETRY_DELAY)
            found = await self._fetch(number)
        if before is None or self._is_new_page(before.page, found.page):
            return found
        raise MalformedResponseError(f"page {number} of {self._path} repeats the page before it")

    def _is_new_page(self, before: ListPage, page: ListPage) -> bool:
        """Whether a page is no repetition, or one after the end of the list."""
        return not page.rows or page.rows != before.rows or self._pagination.is_complete(page.total_count)

    async def _import(self, pages: Sequence[FetchedPage]) -> None:
        pending = [PendingImport(fetched.answered, fetched.reading, self._finish_page(fetched)) for fetched in pages]
        cause = ChangeCause(self._deps.clock.stamp(), "sync", run=(self._run.id, self._run.started_at))
        await self._deps.intake.apply(pending, cause)
        for one in pending:
            self.changed |= one.result.written.get(self._domain.name, set())

    def _finish_page(self, fetched: FetchedPage) -> OnImported:
        """Turns a page."""

        def note(tx: Transaction, taken: ImportSummary) -> None:
            tx.sync.finish_page(self._run.id, self._domain.name, _tally(fetched.page, taken, fetched.repeated))

        return note


def _tally(answer: ListPage, taken: ImportSummary, seen: frozenset[Hashable]) -> PageTally:
    """What a page adds to the receipt. What an earlier page held already (`seen`) is counted as repeated."""
    skips = dict(taken.skips)
    unchanged, changed = taken.unchanged, taken.result.changed
    broken = {one.identity for one in taken.comparison.failures}
    failed = sum(one.identity not in seen for one in taken.comparison.failures)
    again = min(sum(key in seen and key not in broken for key in taken.comparison.keys), unchanged + changed)
    if again or failed < taken.failed:
        skips[REPEATED] = skips.get(REPEATED, 0) + again + taken.failed - failed
        unchanged, changed = max(unchanged - again, 0), changed - max(again - unchanged, 0)
    return PageTally(
        answer.number, answer.started_at, answer.total_count, taken.comparison.keys, unchanged, changed,
        taken.result.new, skips, failed, answer.bytes,
    )  # fmt: skip
