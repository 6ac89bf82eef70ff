"""Polls Flexport's list of events for those that no webhook delivered.

page ─ rows.parse_rows ─▶ rows ─ without known ids ─▶ one transaction: events, items, gaps; at the end, how far it read
"""

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta

import structlog

from flexportd.clock import parse, stamp
from flexportd.core.trusted_time import EARLIEST
from flexportd.escape import escape_control
from flexportd.flexport.client import Client
from flexportd.flexport.errors import FlexportError, ForbiddenAtFlexportError, NotFoundAtFlexportError
from flexportd.flexport.lists import Pagination
from flexportd.ingest.event_poller.rows import EventFacts, EventRow, parse_rows, read_facts
from flexportd.ingest.event_poller.window import LOOKBACK, PollResult, PollRun, Window
from flexportd.ingest.event_store import EVENT, store_polled
from flexportd.queue.queue import Queue
from flexportd.storage.repositories.gaps import NOT_OFFERED, Gap
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

EVENTS = "/events"

_MAX_COMPARED = 200  # events of webhooks that are looked for in the list
_LISTING_DELAY = timedelta(minutes=2)  # after a webhook, during which its event may be missing in the list
_ROUNDING = timedelta(seconds=1)  # of the start time in the query
_MAX_BATCH, _SMALL_BATCH = 200, 50  # events in one transaction: when quiet, and between acknowledgements
_QUIET_TIMEOUT = 2.0  # seconds to wait for quiet


class EventPoller:
    """Polls Flexport's list of events; created when the process starts to accept webhooks.

    `overlap` is how far each narrow poll reaches back into the previous one. `kept_for` is how long events are kept,
    None: forever. Older ones are skipped, since nothing shows whether they were known.
    """

    def __init__(self, client: Client, queue: Queue, overlap: timedelta, kept_for: timedelta | None = None) -> None:
        self.overlap = overlap
        self.kept_for = kept_for
        self._client = client
        self._queue = queue
        self._db = queue.db
        self._clock = queue.clock
        self._born_at = queue.clock.stamp()
        self._ahead = timedelta()  # of Flexport's clock, as last seen

    async def poll(self, span: Window) -> PollResult:
        """Read one window of the list; store and queue what is new, page by page.

        Nothing is lost when a poll is interrupted between pages: only a complete one is recorded, so the next one reads
        the window again. Raises FlexportError when it cannot be completed.
        """
        run = await self._begin(span)
        try:
            early = await self._read(run)
        except (NotFoundAtFlexportError, ForbiddenAtFlexportError) as error:
            await self._record_failure(span, f"{NOT_OFFERED}: {error}")
            return run.result("not_offered")
        except FlexportError as error:
            await self._record_failure(span, str(error))
            raise
        result = run.result("early" if early else "complete")
        if result.new or result.unreadable:
            log.info("events_polled", span=span, read=result.read, new=result.new, gaps=result.gaps)
        return result

    async def _begin(self, span: Window) -> PollRun:
        polls, delivery, webhook = await self._db.read(
            lambda tx: (tx.gaps.polls(), tx.gaps.delivery_state(), tx.gaps.newest_webhook())
        )
        complete = [(poll.since, poll.read_until, poll.newest_id) for poll in polls if poll.since and poll.read_until]
        now = self._clock.now() + self._ahead
        if span in LOOKBACK:
            since = stamp(now - LOOKBACK[span])
        elif complete:
            newest = parse(max(until for _, until, _ in complete))
            # A future time was recorded by a clock that has been set back since, unless the clock is wrong now.
            since = stamp((min(newest, now) if stamp(now) > EARLIEST else newest) - self.overlap)
        elif delivery is not None:  # the very first poll was interrupted
            since = max(delivery.since, stamp(now - LOOKBACK["wide"]))
        else:
            delivered_at = self._born_at if webhook is None else webhook.received_at
            since = stamp(parse(delivered_at) + self._ahead - self.overlap)
        expected = await self._db.read(
            lambda tx: tx.gaps.expected(
                stamp(parse(since) + _ROUNDING), stamp(self._clock.now() - _LISTING_DELAY), _MAX_COMPARED
            )
        )
        seen = [int(newest_id) for reached, _, newest_id in complete if newest_id and reached <= since]
        run = PollRun(span, since, max(seen, default=-1))
        run.expect(event for event in expected if event.event_id.isdigit())
        return run

    async def _read(self, run: PollRun) -> bool:
        """Read to the end of the list; True if it ended early, where only known events follow."""
        pagination, number = Pagination(EVENTS), 0
        while True:
            number += 1
            rows, more = await self._page(run, number, pagination)
            names = [row.name for row in rows]
            known = await self._db.read(lambda tx: tx.gaps.known(names))  # noqa: B023 (awaited here)
            early = run.can_stop(rows, known) and more
            if early:
                run.stop_early()
            await self._store(run, self._new_rows(rows, known), last=early or not more)
            if early or not more:
                return early

    async def _page(self, run: PollRun, number: int, pagination: Pagination) -> tuple[list[EventRow], bool]:
        page = await self._client.page(EVENTS, {"f.occurred_at.gte": run.since}, number, "events")
        run.ahead = self._ahead = parse(page.date) - self._clock.now()
        run.read_until = run.read_until or page.started_at
        # A Date is cut to whole seconds.
        rows = await asyncio.to_thread(parse_rows, page.rows, stamp(parse(page.date) + timedelta(seconds=1)))
        run.add_page(rows)
        pagination.add([row.name for row in rows])
        return rows, page.has_next and pagination.has_more(page.total_count)

    def _new_rows(self, rows: Sequence[EventRow], known: AbstractSet[str]) -> list[EventRow]:
        """Rows that are new and within retention, each id once, in the order in which Flexport recorded them."""
        oldest = "" if self.kept_for is None else stamp(self._clock.now() + self._ahead - self.kept_for)
        recent = (row for row in rows if row.created_at is None or row.created_at >= oldest)
        fresh = {row.name: row for row in recent if row.name not in known}
        return sorted(fresh.values(), key=lambda row: (row.created_at or "", row.number or 0))

    async def _store(self, run: PollRun, fresh: list[EventRow], *, last: bool) -> None:
        """Store what is new, and with the last of it how far was read."""
        while fresh or last:
            size = _MAX_BATCH if await self._db.writer.wait_for_quiet(_QUIET_TIMEOUT) else _SMALL_BATCH
            batch, fresh = fresh[:size], fresh[size:]
            rows = await asyncio.to_thread(lambda: [(row, read_facts(row)) for row in batch])  # noqa: B023 (awaited here)
            ends = last and not fresh
            work = _PageWrite(run, rows, self._clock.stamp(), self._born_at, ends=ends)
            self._queue.added(EVENT, await self._db.write(work))
            last = last and not ends

    async def _record_failure(self, span: Window, why: str) -> None:
        at, sentence = self._clock.stamp(), escape_control(why, 500)
        await self._db.write(lambda tx: tx.gaps.fail_poll(span, at, sentence))


class _PageWrite:
    """A unit of work: stores what is new of a page; how many items it queued."""

    def __init__(
        self, run: PollRun, rows: Sequence[tuple[EventRow, EventFacts]], at: str, born_at: str, *, ends: bool
    ) -> None:
        self._run = run
        self._rows = rows
        self._at = at
        self._born_at = born_at
        self._ends = ends

    def __call__(self, tx: Transaction) -> int:
        run, queued = self._run, 0
        since = self._listening_since(tx)
        if self._rows:
            # A webhook may have delivered one meanwhile: then it is not new.
            seqs = store_polled(tx, [row.as_incoming(self._at) for row, _ in self._rows])
            new = [(seq, *pair) for seq, pair in zip(seqs, self._rows, strict=True) if seq is not None]
            valid = [(seq, row, facts) for seq, row, facts in new if row.error is None]
            # What Flexport recorded before this daemon first listened is history, not a gap.
            gaps = [self._gap(*event) for event in valid if event[1].created_at is None or event[1].created_at >= since]
            tx.gaps.add(self._at, gaps)
            queued = len(valid)
            run.new += queued
            run.gaps += len(gaps)
            run.unreadable += len(new) - queued
        if self._ends:
            tx.gaps.observe(run.newest, run.occurred)
            tx.gaps.end_poll(run.as_poll(self._at))
        return queued

    def _gap(self, seq: int, row: EventRow, facts: EventFacts) -> Gap:
        created_at = row.created_at or self._flexport_time(self._at)
        return Gap(
            seq, row.name, row.type, created_at, row.occurred_at,
            facts.resource, facts.resource_id, facts.shipment_id,
        )  # fmt: skip

    def _listening_since(self, tx: Transaction) -> str:
        state, now = tx.gaps.delivery_state(), self._flexport_time(self._at)
        if state is not None and state.since <= now:
            return state.since
        since = self._flexport_time(min(tx.gaps.first_webhook_at() or self._born_at, self._born_at))
        # A time from a wrong clock does not count.
        since = since if EARLIEST < since < now else now
        tx.gaps.set_listening_since(since)
        return since

    def _flexport_time(self, ours: str) -> str:
        return stamp(parse(ours) + self._run.ahead)
