"""Reading one list page by page: what is fetched is taken in while the next pages are on their way.

Each page's effects, its place in the receipt and its ids commit together, so a crash repeats a few pages at most.
"""

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from flexportd.core.importer.compare import REPEATED, Answered
from flexportd.core.importer.compare import Reading as Comparison
from flexportd.core.importer.importer import Note, Pending, Taken
from flexportd.core.resources.resource_type import Domain
from flexportd.core.unit_of_work import Cause
from flexportd.flexport.client import ListPage
from flexportd.flexport.errors import MalformedAnswerError
from flexportd.flexport.lists import LISTS
from flexportd.flexport.pagination import Pagination
from flexportd.jobs.job import JobRun
from flexportd.jobs.sync.deps import Reach
from flexportd.storage.repositories.resources import Key
from flexportd.storage.repositories.sync import PageTally, Run
from flexportd.storage.transaction import Session

log = structlog.get_logger(__name__)

PER = 100  # rows of a page
_TRIES = 3  # how often a page that repeats the one before is asked for
_BETWEEN = 2.0  # seconds between these
_GATHERED = 0.25  # seconds in which pages are gathered to be taken in together: only quick ones are worth it
_MOST = 4 << 20  # bytes of such pages


@dataclass
class Place:
    """Where a reading begins: the page to ask for, and the ids of the pages before it."""

    page: int = 1
    seen: frozenset[Key] = frozenset()


@dataclass(frozen=True)
class Fetched:
    """One page, and what it was found to be; `again` are its rows that earlier pages had."""

    page: ListPage
    answered: Answered
    reading: Comparison
    again: frozenset[Hashable] = frozenset()


@dataclass(frozen=True)
class Stretch:
    """Pages that are taken in together; `follows`: others do. `error` is why the next page cannot be had."""

    pages: list[Fetched]
    follows: bool = False
    error: Exception | None = None


class Reading:
    """One list (or a question to it) in one run, from a place to its end."""

    def __init__(self, reach: Reach, domain: Domain, run: Run, query: Mapping[str, str]) -> None:
        self._reach = reach
        self._domain = domain
        self._run = run
        self._query = query
        self._path = LISTS[domain.object_name].path
        self._pagination = Pagination(self._path)
        self.began_at: str | None = None
        self.changed: set[Key] = set()  # the ids of this resource that were written

    async def go(self, job: JobRun, place: Place) -> None:
        """Read to the end. Raises FlexportError when that cannot be, and StoppedError."""
        number = place.page
        self._pagination = Pagination(self._path, place.seen)
        stretch = await self._stretch(job, number, None)
        while stretch.follows:
            number += len(stretch.pages)
            # Both to their end: what was fetched is taken in, also when what follows cannot be had.
            taken, following = await asyncio.gather(
                self._take(stretch.pages),
                self._stretch(job, number, stretch.pages[-1]),
                return_exceptions=True,
            )
            if isinstance(taken, BaseException):
                raise taken
            if isinstance(following, BaseException):
                raise following
            stretch = following
        await self._take(stretch.pages)
        if stretch.error is not None:
            raise stretch.error

    def check(self, answer: ListPage) -> None:
        """Whether a page is an answer to what was asked; overridden where that can be told."""

    async def _stretch(self, job: JobRun, number: int, before: Fetched | None) -> Stretch:
        """The pages from one on that are taken in together; `before` is the page before it."""
        pages: list[Fetched] = []
        ends = asyncio.get_running_loop().time() + _GATHERED
        room, size = self._reach.intake.room, 0
        while True:
            try:
                job.go_on()
                fetched = await self._other_than(before, number + len(pages))
                self.check(fetched.page)
                before = replace(fetched, again=self._pagination.add(fetched.reading.identities))
                pages.append(before)
                goes_on = before.page.has_next and self._pagination.goes_on(before.page.total_count)
            except Exception as error:  # noqa: BLE001 (told when the pages before it are taken in)
                return Stretch(pages, error=error)
            room, size = room - len(before.page.rows), size + before.page.bytes
            if not goes_on:
                return Stretch(pages)
            if room < PER or size > _MOST or asyncio.get_running_loop().time() >= ends:
                return Stretch(pages, follows=True)

    async def _fetch(self, number: int) -> Fetched:
        start = await self._reach.intake.request_start()
        page, intake = await self._reach.client.page(self._path, self._query, number, "sync"), self._reach.intake
        self.began_at = self.began_at or page.started_at
        intake.odd(self._domain, page.notes)
        # Read while the pages before are written; what changes meanwhile is seen when this one is.
        times = (page.started_at, page.date)
        answered = intake.answered(self._domain, page.rows, times, start, is_list=True)
        return Fetched(page, answered, await intake.read(answered))

    async def _other_than(self, before: Fetched | None, number: int) -> Fetched:
        """A page, once it is another than the one before; a cache on the way may need a moment."""
        found = await self._fetch(number)
        for _ in range(_TRIES):
            if before is None or self._may_follow(before.page, found.page):
                return found
            await self._reach.clock.sleep(_BETWEEN)
            found = await self._fetch(number)
        if before is None or self._may_follow(before.page, found.page):
            return found
        raise MalformedAnswerError(f"page {number} of {self._path} repeats the page before it")

    def _may_follow(self, before: ListPage, page: ListPage) -> bool:
        """Whether a page is no repetition, or one after the end of the list."""
        return not page.rows or page.rows != before.rows or self._pagination.holds(page.total_count)

    async def _take(self, pages: Sequence[Fetched]) -> None:
        pending = [Pending(fetched.answered, fetched.reading, self._turning(fetched)) for fetched in pages]
        cause = Cause(self._reach.clock.stamp(), "sync", run=(self._run.id, self._run.started_at))
        await self._reach.intake.apply(pending, cause)
        for one in pending:
            self.changed |= one.applied.touched.get(self._domain.name, set())

    def _turning(self, fetched: Fetched) -> Note:
        """Turns a page."""

        def note(tx: Session, taken: Taken) -> None:
            tx.sync.turn_page(self._run.id, self._domain.name, _tally(fetched.page, taken, fetched.again))

        return note


def _tally(answer: ListPage, taken: Taken, seen: frozenset[Hashable]) -> PageTally:
    """What a page adds to the receipt. What an earlier page held already (`seen`) is counted as repeated."""
    skips = dict(taken.skips)
    unchanged, changed = taken.unchanged, taken.applied.changed
    broken = {one.identity for one in taken.reading.failures}
    failed = sum(one.identity not in seen for one in taken.reading.failures)
    again = min(sum(key in seen and key not in broken for key in taken.reading.keys), unchanged + changed)
    if again or failed < taken.failed:
        skips[REPEATED] = skips.get(REPEATED, 0) + again + taken.failed - failed
        unchanged, changed = max(unchanged - again, 0), changed - max(again - unchanged, 0)
    return PageTally(
        answer.number, answer.started_at, answer.total_count, taken.reading.keys, unchanged, changed,
        taken.applied.new, skips, failed, answer.bytes,
    )  # fmt: skip
