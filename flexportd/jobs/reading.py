"""Reading one list page by page: what is fetched is taken in while the next pages are on their way.

Each page's effects, its place in the receipt and its ids commit together, so a crash repeats a few pages at most.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from flexportd.core.domain import Domain
from flexportd.core.fetched import REPEATED, Answered
from flexportd.core.fetched import Reading as Comparison
from flexportd.core.intake import Note, Pending, Taken
from flexportd.core.workspace import Cause
from flexportd.flexport.client import ListPage
from flexportd.flexport.failures import MalformedAnswerError
from flexportd.flexport.lists import LISTS
from flexportd.jobs.job import JobRun
from flexportd.jobs.reach import Reach
from flexportd.storage.resources import Key
from flexportd.storage.session import Session
from flexportd.storage.sync import PageTally, Run

log = structlog.get_logger(__name__)

PER = 100  # rows of a page
_BACK = 3  # pages in which a row is looked for again: a list that moves while it is read repeats rows
_TRIES = 3  # how often a page that repeats the one before is asked for
_BETWEEN = 2.0  # seconds between these
_GATHERED = 0.25  # seconds in which pages are gathered to be taken in together: only quick ones are worth it
_MOST = 4 << 20  # bytes of such pages


@dataclass
class Place:
    """Where a reading is: the page to ask for next, and the ids of the pages before it."""

    page: int = 1
    recent: list[frozenset[Key]] = field(default_factory=list)

    def turn(self, keys: frozenset[Key]) -> None:
        """One page is behind us."""
        self.page += 1
        self.recent = [*self.recent, keys][-_BACK:]

    @property
    def seen(self) -> frozenset[Key]:
        """The ids of the last few pages."""
        return frozenset[Key]().union(*self.recent)


@dataclass(frozen=True)
class Fetched:
    """One page, and what it was found to be."""

    page: ListPage
    answered: Answered
    reading: Comparison


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
        self.began_at: str | None = None
        self.changed: set[Key] = set()  # the ids of this resource that were written

    async def go(self, job: JobRun, place: Place) -> None:
        """Read to the end. Raises FlexportError when that cannot be, and StoppedError."""
        stretch = await self._stretch(job, place.page, None)
        while stretch.follows:
            # Both to their end: what was fetched is taken in, also when what follows cannot be had.
            taken, following = await asyncio.gather(
                self._take(stretch.pages, place),
                self._stretch(job, place.page + len(stretch.pages), stretch.pages[-1]),
                return_exceptions=True,
            )
            if isinstance(taken, BaseException):
                raise taken
            if isinstance(following, BaseException):
                raise following
            stretch = following
        await self._take(stretch.pages, place)
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
                before = await self._other_than(before, number + len(pages))
                self.check(before.page)
                goes_on = self._goes_on(before.page)
            except Exception as error:  # noqa: BLE001 (told when the pages before it are taken in)
                return Stretch(pages, error=error)
            pages.append(before)
            room, size = room - len(before.page.rows), size + before.page.bytes
            if not goes_on:
                return Stretch(pages)
            if room < PER or size > _MOST or asyncio.get_running_loop().time() >= ends:
                return Stretch(pages, follows=True)

    async def _fetch(self, number: int) -> Fetched:
        seq = await self._reach.intake.last_seq()
        page, intake = await self._reach.client.page(self._path, self._query, number, "sync"), self._reach.intake
        self.began_at = self.began_at or page.started_at
        intake.odd(self._domain, page.notes)
        # Read while the pages before are written; what changes meanwhile is seen when this one is.
        answered = intake.answered(self._domain, page.rows, (page.started_at, page.date), seq)
        return Fetched(page, answered, await intake.read(answered))

    async def _other_than(self, before: Fetched | None, number: int) -> Fetched:
        """A page, once it is another than the one before; a cache on the way may need a moment."""
        found = await self._fetch(number)
        for _ in range(_TRIES):
            if before is None or not found.page.rows or found.page.rows != before.page.rows:
                return found
            await self._reach.clock.sleep(_BETWEEN)
            found = await self._fetch(number)
        if before is None or found.page.rows != before.page.rows:
            return found
        raise MalformedAnswerError(f"page {number} of {self._path} repeats the page before it")

    def _goes_on(self, answer: ListPage) -> bool:
        """Whether another page follows. A list that says how long it is cannot go on for ever."""
        if not answer.has_next or not answer.rows:
            return False
        if answer.total_count is not None and answer.number >= -(-answer.total_count // PER) + 2:
            raise MalformedAnswerError(
                f"{self._path} goes on after page {answer.number}, though it says that it holds {answer.total_count}"
            )
        return True

    async def _take(self, pages: Sequence[Fetched], place: Place) -> None:
        pending = []
        for fetched in pages:
            pending.append(Pending(fetched.answered, fetched.reading, self._turning(fetched.page, place.seen)))
            place.turn(frozenset(fetched.reading.keys))
        cause = Cause(self._reach.clock.stamp(), "sync", run=(self._run.id, self._run.started_at))
        await self._reach.intake.apply(pending, cause)
        for one in pending:
            self.changed |= one.applied.touched.get(self._domain.name, set())

    def _turning(self, page: ListPage, seen: frozenset[Key]) -> Note:
        """Turns a page; `seen` are the ids of the few before it."""

        def note(tx: Session, taken: Taken) -> None:
            tx.sync.turn_page(self._run.id, self._domain.name, _tally(page, taken, seen))

        return note


def _tally(answer: ListPage, taken: Taken, seen: frozenset[Key]) -> PageTally:
    """What a page adds to the receipt. What an earlier page held already is counted as repeated."""
    skips = dict(taken.skips)
    unchanged, changed = taken.unchanged, taken.applied.changed
    again = min(sum(key in seen for key in taken.reading.keys), unchanged + changed)
    if again:
        skips[REPEATED] = skips.get(REPEATED, 0) + again
        unchanged, changed = max(unchanged - again, 0), changed - max(again - unchanged, 0)
    return PageTally(
        answer.number, answer.started_at, answer.total_count, taken.reading.keys, unchanged, changed,
        taken.applied.new, skips, taken.failed, answer.bytes,
    )  # fmt: skip
