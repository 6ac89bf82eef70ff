"""Hearing of events by asking: Flexport's own list of them holds what no webhook brought.

page ─ sifting.sift ─▶ rows ─ known ids fall out ─▶ one transaction: events, items, gaps; at the end, how far it read
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Protocol

import structlog

from flexportd.clock import parse, stamp
from flexportd.core.trusted_time import EARLIEST
from flexportd.escape import escape_control
from flexportd.flexport.errors import FlexportError, ForbiddenAtFlexportError, NotFoundAtFlexportError
from flexportd.flexport.pagination import Pagination
from flexportd.flexport.usage import Purpose
from flexportd.ingest.event_poller.rows import EventFacts, EventRow, parse_rows, read_facts
from flexportd.ingest.event_poller.window import LOOKBACK, PollResult, PollRun, Window
from flexportd.ingest.event_store import EVENT, store_polled
from flexportd.queue.queue import Queue
from flexportd.storage.repositories.gaps import NOT_OFFERED, Gap
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

EVENTS = "/events"

_MAX_COMPARED = 200  # events that webhooks brought and that are looked for in the list
_LISTING_DELAY = timedelta(minutes=2)  # after a webhook came, its event may still be missing in the list
_ROUNDING = timedelta(seconds=1)  # of the time from which the list is asked for
_MAX_BATCH, _SMALL_BATCH = 200, 50  # events in one transaction: alone, and between acknowledgements
_QUIET_TIMEOUT = 2.0  # seconds of standing back


class EventsPage(Protocol):
    """One page of the list, as the client gives it."""

    @property
    def rows(self) -> Sequence[bytes]:
        """The exact bytes of each row."""

    @property
    def has_next(self) -> bool:
        """Whether another page follows."""

    @property
    def total_count(self) -> int | None:
        """How many rows the list says it holds; None where it does not say."""

    @property
    def started_at(self) -> str:
        """When it was asked for: a stamp on Flexport's clock."""

    @property
    def date(self) -> str:
        """When it was answered: a stamp on Flexport's clock."""


class EventsSource(Protocol):
    """The client, as far as polling needs it."""

    def page(self, path: str, query: Mapping[str, str], number: int, purpose: Purpose) -> Awaitable[EventsPage]:
        """One page of a list, of the largest size. Raises FlexportError."""


class EventPoller:
    """Polls Flexport's list of events; made when the process begins to listen for webhooks.

    `overlap` is how far each narrow reading reaches back into the one before; `kept_for` is how long events are kept,
    None for ever: older ones are left alone, since whether they were known is forgotten.
    """

    def __init__(
        self, source: EventsSource, queue: Queue, overlap: timedelta, kept_for: timedelta | None = None
    ) -> None:
        self.overlap = overlap
        self.kept_for = kept_for
        self._source = source
        self._queue = queue
        self._db = queue.db
        self._clock = queue.clock
        self._born_at = queue.clock.stamp()
        self._ahead = timedelta()  # of Flexport's clock, as last seen

    async def poll(self, span: Window) -> PollResult:
        """Read one span of the list; keep and queue what is new, page by page.

        Nothing is lost when it is broken off between pages: only a reading that came to its end is remembered, so the
        next one reads the span again. Raises FlexportError when the end could not be reached.
        """
        reading = await self._begin(span)
        try:
            early = await self._read(reading)
        except (NotFoundAtFlexportError, ForbiddenAtFlexportError) as error:
            await self._record_failure(span, f"{NOT_OFFERED}: {error}")
            return reading.result("not_offered")
        except FlexportError as error:
            await self._record_failure(span, str(error))
            raise
        result = reading.result("early" if early else "complete")
        if result.new or result.unreadable:
            log.info("events_polled", span=span, read=result.read, new=result.new, gaps=result.gaps)
        return result

    async def _begin(self, span: Window) -> PollRun:
        polls, hearing, webhook = await self._db.read(
            lambda tx: (tx.gaps.polls(), tx.gaps.delivery_state(), tx.gaps.newest_webhook())
        )
        good = [(poll.since, poll.read_until, poll.newest_id) for poll in polls if poll.since and poll.read_until]
        now = self._clock.now() + self._ahead
        if span in LOOKBACK:
            since = stamp(now - LOOKBACK[span])
        elif good:
            newest = parse(max(until for _, until, _ in good))
            # One that is yet to come was noted by a clock that has been set back since; unless it is now that is wrong.
            since = stamp((min(newest, now) if stamp(now) > EARLIEST else newest) - self.overlap)
        elif hearing is not None:  # the very first poll was broken off
            since = max(hearing.since, stamp(now - LOOKBACK["wide"]))
        else:
            heard_at = self._born_at if webhook is None else webhook.received_at
            since = stamp(parse(heard_at) + self._ahead - self.overlap)
        expected = await self._db.read(
            lambda tx: tx.gaps.expected(
                stamp(parse(since) + _ROUNDING), stamp(self._clock.now() - _LISTING_DELAY), _MAX_COMPARED
            )
        )
        seen = [int(newest_id) for reached, _, newest_id in good if newest_id and reached <= since]
        reading = PollRun(span, since, max(seen, default=-1))
        reading.expect(one for one in expected if one.event_id.isdigit())
        return reading

    async def _read(self, reading: PollRun) -> bool:
        """To the end of the list, or (True) to where all that follows is known."""
        pagination, number = Pagination(EVENTS), 0
        while True:
            number += 1
            found, more = await self._page(reading, number, pagination)
            names = [one.name for one in found]
            known = await self._db.read(lambda tx: tx.gaps.known(names))  # noqa: B023 (awaited here)
            early = reading.can_stop(found, known) and more
            if early:
                reading.stop_early()
            await self._store(reading, self._new_rows(found, known), last=early or not more)
            if early or not more:
                return early

    async def _page(self, reading: PollRun, number: int, pagination: Pagination) -> tuple[list[EventRow], bool]:
        page = await self._source.page(EVENTS, {"f.occurred_at.gte": reading.since}, number, "events")
        reading.ahead = self._ahead = parse(page.date) - self._clock.now()
        reading.read_until = reading.read_until or page.started_at
        # A Date is cut to whole seconds.
        found = await asyncio.to_thread(parse_rows, page.rows, stamp(parse(page.date) + timedelta(seconds=1)))
        reading.add_page(found)
        pagination.add([one.name for one in found])
        return found, page.has_next and pagination.has_more(page.total_count)

    def _new_rows(self, found: Sequence[EventRow], known: AbstractSet[str]) -> list[EventRow]:
        """What is new and young enough to be kept, each id once, in the order in which it was recorded."""
        oldest = "" if self.kept_for is None else stamp(self._clock.now() + self._ahead - self.kept_for)
        young = (one for one in found if one.created_at is None or one.created_at >= oldest)
        fresh = {one.name: one for one in young if one.name not in known}
        return sorted(fresh.values(), key=lambda one: (one.created_at or "", one.number or 0))

    async def _store(self, reading: PollRun, fresh: list[EventRow], *, last: bool) -> None:
        """Keep what is new; together with the last of it, how far was read."""
        while fresh or last:
            size = _MAX_BATCH if await self._db.writer.wait_for_quiet(_QUIET_TIMEOUT) else _SMALL_BATCH
            some, fresh = fresh[:size], fresh[size:]
            portion = await asyncio.to_thread(lambda: [(one, read_facts(one)) for one in some])  # noqa: B023 (awaited here)
            ends = last and not fresh
            work = _PageWrite(reading, portion, self._clock.stamp(), self._born_at, ends=ends)
            self._queue.added(EVENT, await self._db.write(work))
            last = last and not ends

    async def _record_failure(self, span: Window, why: str) -> None:
        at, sentence = self._clock.stamp(), escape_control(why, 500)
        await self._db.write(lambda tx: tx.gaps.fail_poll(span, at, sentence))


class _PageWrite:
    """A unit of work: what is new of a page, kept; how many items it queued."""

    def __init__(
        self, reading: PollRun, found: Sequence[tuple[EventRow, EventFacts]], at: str, born_at: str, *, ends: bool
    ) -> None:
        self._reading = reading
        self._found = found
        self._at = at
        self._born_at = born_at
        self._ends = ends

    def __call__(self, tx: Transaction) -> int:
        reading, queued = self._reading, 0
        since = self._listening_since(tx)
        if self._found:
            # A webhook may have brought one meanwhile: then it has no place here.
            places = store_polled(tx, [one.as_incoming(self._at) for one, _ in self._found])
            kept = [(seq, *pair) for seq, pair in zip(places, self._found, strict=True) if seq is not None]
            whole = [(seq, one, about) for seq, one, about in kept if one.error is None]
            # What Flexport recorded before this store listened at all is history, not a gap.
            gaps = [self._gap(*new) for new in whole if new[1].created_at is None or new[1].created_at >= since]
            tx.gaps.add(self._at, gaps)
            queued = len(whole)
            reading.new += queued
            reading.gaps += len(gaps)
            reading.unreadable += len(kept) - queued
        if self._ends:
            tx.gaps.observe(reading.newest, reading.occurred)
            tx.gaps.end_poll(reading.as_poll(self._at))
        return queued

    def _gap(self, seq: int, found: EventRow, about: EventFacts) -> Gap:
        created_at = found.created_at or self._flexport_time(self._at)
        return Gap(
            seq, found.name, found.type, created_at, found.occurred_at,
            about.resource, about.resource_id, about.shipment_id,
        )  # fmt: skip

    def _listening_since(self, tx: Transaction) -> str:
        hearing, now = tx.gaps.delivery_state(), self._flexport_time(self._at)
        if hearing is not None and hearing.since <= now:
            return hearing.since
        since = self._flexport_time(min(tx.gaps.first_webhook_at() or self._born_at, self._born_at))
        # What a clock gave that was wrong is no time since when this store listens.
        since = since if EARLIEST < since < now else now
        tx.gaps.set_listening_since(since)
        return since

    def _flexport_time(self, ours: str) -> str:
        return stamp(parse(ours) + self._reading.ahead)
