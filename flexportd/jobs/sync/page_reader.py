"""Reading one list page by page: pages are imported while the next ones are being fetched.

ListPage ─ compare ─▶ Comparison ─ import ─▶ ImportResult ─ count ─▶ PageCounts, which the receipt sums up

A page's effects, its counts in the receipt and its ids commit together, so a crash repeats a few pages at most.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from flexportd.core.importer.batch_import import ImportResult
from flexportd.core.importer.compare import REPEATED, Comparison
from flexportd.core.resources.resource_type import ResourceType
from flexportd.flexport.client import ListPage
from flexportd.flexport.errors import MalformedResponseError
from flexportd.flexport.lists import LISTS, Pagination
from flexportd.jobs.job import JobRun
from flexportd.jobs.sync.run import SyncDeps
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.sync import PageCounts, Run
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

PAGE_SIZE = 100  # rows of a page
_MAX_TRIES = 3  # retries of a page that repeats the one before
_RETRY_DELAY = 2.0  # seconds between these
_GROUP_SECONDS = 0.25  # seconds in which pages are collected to be imported together: only fast ones are worth it
_MAX_GROUP_BYTES = 4 << 20  # bytes of such pages

_Page = tuple[ListPage, Comparison]


@dataclass(frozen=True)
class _PageGroup:
    """Pages that are imported together; `error` is why the next page could not be fetched."""

    pages: Sequence[_Page]
    has_more: bool = False
    error: Exception | None = None


class ListReader:
    """Reads one list (or a query of it) in one run, from a page to its end."""

    def __init__(self, deps: SyncDeps, domain: ResourceType, run: Run, query: Mapping[str, str]) -> None:
        self._deps = deps
        self._domain = domain
        self._run = run
        self._query = query
        self._path = LISTS[domain.object_name].path
        self._pagination = Pagination(self._path)
        self.began_at: str | None = None
        self.changed: set[Key] = set()  # the ids of this resource that were written

    async def run(self, job: JobRun, number: int = 1, seen: Iterable[Key] = ()) -> None:
        """Read from a page to the end; `seen`: the ids of the pages before it. Raises FlexportError, StoppedError."""
        self._pagination = Pagination(self._path, seen)
        group = await self._read_group(job, number, None)
        while group.has_more:
            number += len(group.pages)
            # Both to their end: what was fetched is imported even if the next pages cannot be fetched.
            imported, following = await asyncio.gather(
                self._import(group.pages), self._read_group(job, number, group.pages[-1]), return_exceptions=True
            )
            if isinstance(imported, BaseException):
                raise imported
            if isinstance(following, BaseException):
                raise following
            group = following
        await self._import(group.pages)
        if group.error is not None:
            raise group.error

    def check(self, page: ListPage) -> None:
        """Raise if a page does not match the query; overridden where that can be checked."""

    async def _read_group(self, job: JobRun, number: int, before: _Page | None) -> _PageGroup:
        """The pages from `number` on that are imported together; `before` is the page before it."""
        pages: list[_Page] = []
        ends = asyncio.get_running_loop().time() + _GROUP_SECONDS
        room, size = self._deps.importer.batch_size, 0
        while True:
            try:
                job.check_stop()
                before = await self._fetch_distinct(before, number + len(pages))
                page, comparison = before
                self.check(page)
                comparison.repeated = self._pagination.add(comparison.identities)
                pages.append(before)
                has_more = page.has_next and self._pagination.has_more(page.total_count)
            except Exception as error:  # noqa: BLE001 (raised once the pages before it are imported)
                return _PageGroup(pages, error=error)
            room, size = room - len(page.rows), size + page.bytes
            if not has_more:
                return _PageGroup(pages)
            if room < PAGE_SIZE or size > _MAX_GROUP_BYTES or asyncio.get_running_loop().time() >= ends:
                return _PageGroup(pages, has_more=True)

    async def _fetch(self, number: int) -> _Page:
        importer = self._deps.importer
        start = await importer.request_start()
        page = await self._deps.client.page(self._path, self._query, number, "sync")
        self.began_at = self.began_at or page.started_at
        importer.report_anomaly(self._domain, page.notes)
        # Compared while the pages before are written; what changes meanwhile is noticed when this one is written.
        times = (page.started_at, page.date)
        return page, await importer.compare(self._domain, page.rows, times, start, is_list=True)

    async def _fetch_distinct(self, before: _Page | None, number: int) -> _Page:
        """A page that differs from the one before; a cache on the way may need a moment."""
        for tries in range(_MAX_TRIES + 1):
            if tries:
                await self._deps.clock.sleep(_RETRY_DELAY)
            fetched = await self._fetch(number)
            if before is None or self._is_new_page(before[0], fetched[0]):
                return fetched
        raise MalformedResponseError(f"page {number} of {self._path} repeats the page before it")

    def _is_new_page(self, before: ListPage, page: ListPage) -> bool:
        return not page.rows or page.rows != before.rows or self._pagination.is_complete(page.total_count)

    async def _import(self, pages: Sequence[_Page]) -> None:
        def finish_page(tx: Transaction, index: int, result: ImportResult) -> None:
            tx.sync.finish_page(self._run.id, self._domain.name, _counts(pages[index][0], result))

        comparisons = [comparison for _, comparison in pages]
        for result in await self._deps.importer.apply(comparisons, self._deps.cause(self._run), finish_page):
            self.changed |= result.written.get(self._domain.name, set())


def _counts(page: ListPage, result: ImportResult) -> PageCounts:
    """What a page adds to the receipt. Objects that an earlier page had already are counted as repeated."""
    comparison, skips = result.comparison, dict(result.skips)
    unchanged, changed, seen = result.unchanged, result.changed, comparison.repeated
    broken = {one.identity for one in comparison.failures}
    failed = sum(one.identity not in seen for one in comparison.failures)
    again = min(sum(key in seen and key not in broken for key in comparison.keys), unchanged + changed)
    if again or failed < result.failed:
        skips[REPEATED] = skips.get(REPEATED, 0) + again + result.failed - failed
        unchanged, changed = max(unchanged - again, 0), changed - max(again - unchanged, 0)
    return PageCounts(
        page.number, page.started_at, page.total_count, comparison.keys, unchanged, changed,
        result.new, skips, failed, page.bytes,
    )  # fmt: skip
