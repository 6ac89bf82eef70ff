"""Polls Flexport's list of events for those that no webhook delivered.

page ─ parse_rows ─▶ rows ─ without known ids ─▶ one transaction: events, items, gaps; at the end, how far it read

Three windows: narrow, from the last complete poll, for speed; wide and deep, since an event may be recorded days after
it happened and the list can be filtered only by `occurred_at`.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import msgspec
import structlog

from flexportd.clock import parse, stamp
from flexportd.core.resources.values import instant
from flexportd.core.trusted_time import EARLIEST
from flexportd.errors import MalformedError
from flexportd.escape import escape_control
from flexportd.flexport import json_text
from flexportd.flexport.client import Client
from flexportd.flexport.errors import FlexportError, ForbiddenAtFlexportError, NotFoundAtFlexportError
from flexportd.flexport.lists import Pagination
from flexportd.flexport.models.events import JSON_NULL, EventObject, Head, parse_content
from flexportd.ingest.event_store import EVENT, IncomingEvent, read_heads, store_polled
from flexportd.queue.queue import Queue
from flexportd.storage.repositories.events import ReceivedEvent
from flexportd.storage.repositories.gaps import NOT_OFFERED, ExpectedEvent, Gap, Poll
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

EVENTS = "/events"
SOURCE = "events"

Window = Literal["narrow", "wide", "deep"]
Outcome = Literal["complete", "early", "not_offered"]

_LOOKBACK: Mapping[Window, timedelta] = {"wide": timedelta(days=14), "deep": timedelta(days=45)}
_MAX_COMPARED = 200  # events of webhooks that are looked for in the list
_LISTING_DELAY = timedelta(minutes=2)  # after a webhook, during which its event may be missing in the list
_ROUNDING = timedelta(seconds=1)  # of the start time in the query
_MAX_BATCH, _SMALL_BATCH = 200, 50  # events in one transaction: when quiet, and between acknowledgements
_QUIET_TIMEOUT = 2.0  # seconds to wait for quiet
_MAX_TYPES = 10  # event types that are named of those missing in the list
_KNOWN_ENOUGH = 200  # consecutive rows that an earlier poll has seen: what follows, it has seen too

Facts = tuple[str | None, str | None, int | None]
"""What an event is about: resource, its id, and the shipment."""


class EventRow(msgspec.Struct, frozen=True, gc=False):
    """One row. `number` is its id, None if it is not an event; `error` then says why."""

    name: str
    number: int | None
    type: str | None
    created_at: str | None
    occurred_at: str | None
    body: bytes
    error: str | None = None

    def as_incoming(self, at: str) -> IncomingEvent:
        """The event as it is stored."""
        return IncomingEvent(ReceivedEvent(self.name, self.type, SOURCE, at, "{}", self.body), self.error)


@dataclass(slots=True)
class PollRun:
    """A poll, while it runs and as its result.

    `frontier` is the highest id seen by an earlier poll that reached at least as far back. `oldest` and `newest` are
    times at which Flexport recorded the listed events. `read` counts rows, `new` unknown events, `gaps` those of them
    that a webhook should have delivered, `unreadable` unknown rows that are not events. `outcome` is `early` when only
    known events would have followed, `not_offered` when this account has no list of events.
    """

    span: Window
    since: str
    frontier: int = -1
    unlisted: dict[str, ExpectedEvent] = field(default_factory=dict)  # delivered by webhooks, and not yet in the list
    outcome: Outcome = "complete"
    read_until: str = ""  # when its first page was requested, on Flexport's clock
    ahead: timedelta = timedelta()  # how far Flexport's clock is before ours
    pages: int = 0
    read: int = 0
    new: int = 0
    gaps: int = 0
    unreadable: int = 0
    oldest: str | None = None
    newest: str | None = None
    occurred: str | None = None
    highest: int = -1
    compared: int = 0
    _descending: bool = True
    _lowest: int | None = None
    _known_in_a_row: int = 0

    def __str__(self) -> str:
        if self.outcome == "not_offered":
            return NOT_OFFERED
        counted = "1 row was not an event" if self.unreadable == 1 else f"{self.unreadable} rows were not events"
        strange = f"; {counted}" if self.unreadable else ""
        return f"{self.read} events read, {self.new} new, {self.gaps} missed by webhooks{strange}"

    def add_page(self, rows: Sequence[EventRow]) -> None:
        """Count a page."""
        self.pages += 1
        self.read += len(rows)
        for row in rows:
            self.unlisted.pop(row.name, None)
            if row.number is not None:
                self._descending = self._descending and (self._lowest is None or row.number < self._lowest)
                self._lowest, self.highest = row.number, max(self.highest, row.number)
            if row.created_at is not None:
                self.oldest = min(self.oldest or row.created_at, row.created_at)
                self.newest = max(self.newest or row.created_at, row.created_at)
            if row.occurred_at is not None:
                self.occurred = max(self.occurred or row.occurred_at, row.occurred_at)

    def can_stop(self, rows: Sequence[EventRow], known: AbstractSet[str]) -> bool:
        """Whether the pages after this one hold only known events.

        An earlier, complete poll must have seen them. Neither the newest events of webhooks nor an interrupted poll say
        anything about older ones.
        """
        is_seen = all(row.name in known and (row.number or 0) <= self.frontier for row in rows)
        self._known_in_a_row = self._known_in_a_row + len(rows) if is_seen else 0
        return self.span != "deep" and self._descending and self._known_in_a_row >= _KNOWN_ENOUGH

    def stop_early(self) -> None:
        """End before the remaining pages: their events were not compared."""
        self.outcome = "early"
        beyond = [name for name in self.unlisted if name.isdigit() and int(name) < (self._lowest or 0)]
        for name in beyond:
            del self.unlisted[name]
        self.compared -= len(beyond)

    def as_poll(self, at: str) -> Poll:
        """The record of a complete poll."""
        newest = None if self.highest < 0 else str(self.highest)
        missing = list(self.unlisted.values())
        types = Counter(event.type for event in missing).most_common(_MAX_TYPES)
        return Poll(
            self.span, self.since, self.read_until, newest, at, self.read, self.new, self.pages,
            compared=self.compared,
            lacking=len(missing),
            lacking_types=msgspec.json.encode(dict(types)).decode(),
            lacking_at=max((event.received_at for event in missing), default=None),
            compared_at=at if self.compared else None,
        )  # fmt: skip


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

    async def poll(self, span: Window) -> PollRun:
        """Read one window of the list; store and queue what is new, page by page.

        Nothing is lost when a poll is interrupted between pages: only a complete one is recorded, so the next one reads
        the window again. Raises FlexportError when it cannot be completed.
        """
        run = await self._begin(span)
        try:
            await self._read(run)
        except FlexportError as error:
            is_offered = not isinstance(error, NotFoundAtFlexportError | ForbiddenAtFlexportError)
            why = str(error) if is_offered else f"{NOT_OFFERED}: {error}"
            at, sentence = self._clock.stamp(), escape_control(why, 500)
            await self._db.write(lambda tx: tx.gaps.fail_poll(span, at, sentence))
            if is_offered:
                raise
            run.outcome = "not_offered"
            return run
        if run.new or run.unreadable:
            log.info("events_polled", span=span, read=run.read, new=run.new, gaps=run.gaps)
        return run

    async def _begin(self, span: Window) -> PollRun:
        polls, delivery, webhook = await self._db.read(
            lambda tx: (tx.gaps.polls(), tx.gaps.delivery_state(), tx.gaps.newest_webhook())
        )
        complete = [(poll.since, poll.read_until, poll.newest_id) for poll in polls if poll.since and poll.read_until]
        now = self._clock.now() + self._ahead
        if span in _LOOKBACK:
            since = stamp(now - _LOOKBACK[span])
        elif complete:
            newest = parse(max(until for _, until, _ in complete))
            # A future time was recorded by a clock that has been set back since, unless the clock is wrong now.
            since = stamp((min(newest, now) if stamp(now) > EARLIEST else newest) - self.overlap)
        elif delivery is not None:  # the very first poll was interrupted
            since = max(delivery.since, stamp(now - _LOOKBACK["wide"]))
        else:
            delivered_at = self._born_at if webhook is None else webhook.received_at
            since = stamp(parse(delivered_at) + self._ahead - self.overlap)
        expected = await self._db.read(
            lambda tx: tx.gaps.expected(
                stamp(parse(since) + _ROUNDING), stamp(self._clock.now() - _LISTING_DELAY), _MAX_COMPARED
            )
        )
        seen = [int(newest_id) for reached, _, newest_id in complete if newest_id and reached <= since]
        unlisted = {event.event_id: event for event in expected if event.event_id.isdigit()}
        return PollRun(span, since, max(seen, default=-1), unlisted, compared=len(unlisted))

    async def _read(self, run: PollRun) -> None:
        pagination, more = Pagination(EVENTS), True
        while more:
            rows, more = await self._page(run, pagination)
            names = [row.name for row in rows]
            known = await self._db.read(lambda tx: tx.gaps.known(names))  # noqa: B023 (awaited here)
            if run.can_stop(rows, known) and more:
                run.stop_early()
                more = False
            await self._store(run, self._new_rows(rows, known), last=not more)

    async def _page(self, run: PollRun, pagination: Pagination) -> tuple[list[EventRow], bool]:
        page = await self._client.page(EVENTS, {"f.occurred_at.gte": run.since}, run.pages + 1, "events")
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
        while fresh or last:
            size = _MAX_BATCH if await self._db.writer.wait_for_quiet(_QUIET_TIMEOUT) else _SMALL_BATCH
            batch, fresh = fresh[:size], fresh[size:]
            rows = await asyncio.to_thread(lambda: [(row, read_facts(row)) for row in batch])  # noqa: B023 (awaited here)
            ends, at = last and not fresh, self._clock.stamp()
            queued = await self._db.write(lambda tx: self._write(tx, run, rows, at, ends=ends))  # noqa: B023 (awaited)
            self._queue.added(EVENT, queued)
            last = last and not ends

    def _write(
        self, tx: Transaction, run: PollRun, rows: Sequence[tuple[EventRow, Facts]], at: str, *, ends: bool
    ) -> int:
        queued, now = 0, stamp(parse(at) + run.ahead)
        since = self._listening_since(tx, run, now)
        if rows:
            # A webhook may have delivered one meanwhile: then it is not new.
            seqs = store_polled(tx, [row.as_incoming(at) for row, _ in rows])
            new = [(seq, *pair) for seq, pair in zip(seqs, rows, strict=True) if seq is not None]
            valid = [(seq, row, facts) for seq, row, facts in new if row.error is None]
            # What Flexport recorded before this daemon first listened is history, not a gap.
            gaps = [
                Gap(seq, row.name, row.type, row.created_at or now, row.occurred_at, *facts)
                for seq, row, facts in valid
                if row.created_at is None or row.created_at >= since
            ]
            tx.gaps.add(at, gaps)
            queued = len(valid)
            run.new += queued
            run.gaps += len(gaps)
            run.unreadable += len(new) - queued
        if ends:
            tx.gaps.observe(run.newest, run.occurred)
            tx.gaps.end_poll(run.as_poll(at))
        return queued

    def _listening_since(self, tx: Transaction, run: PollRun, now: str) -> str:
        state = tx.gaps.delivery_state()
        if state is not None and state.since <= now:
            return state.since
        since = stamp(parse(min(tx.gaps.first_webhook_at() or self._born_at, self._born_at)) + run.ahead)
        # A time from a wrong clock does not count.
        since = since if EARLIEST < since < now else now
        tx.gaps.set_listening_since(since)
        return since


class _Times(msgspec.Struct):
    created_at: Any = None
    occurred_at: Any = None


class _Link(msgspec.Struct):
    id: Any = None


_times = msgspec.json.Decoder(_Times)
_id = msgspec.json.Decoder(int | str)
_link = msgspec.json.Decoder(_Link)


def parse_rows(rows: Sequence[bytes], latest: str) -> list[EventRow]:
    """Each row as an event. Times after `latest`, the time of the response, are wrong and count as that."""
    return [_event_row(head, latest) for row in rows for head in read_heads(row)]


def _event_row(head: Head, latest: str) -> EventRow:
    body = head.body
    if head.error is not None:
        return EventRow(head.id, None, None, None, None, body, head.error)
    try:
        times = _times.decode(body)
    except (ValueError, RecursionError):
        members = json_text.members(body)
        times = _Times(*(json_text.value(members.get(field)) for field in _Times.__struct_fields__))
    created_at, occurred_at = (
        None if moment is None else min(moment, latest)
        for moment in (instant(times.created_at), instant(times.occurred_at))
    )
    return EventRow(head.id, int(head.id), head.type, created_at, occurred_at, body)


def read_facts(row: EventRow) -> Facts:
    """What an event is about, as far as it can be read: applying it reports the rest."""
    try:
        parts = parse_content(row.body).objects
    except MalformedError:
        return None, None, None
    resource = next((part for part in parts if part.is_resource), None)
    shipments = (_key(part) for part in parts if part.object_name == "/shipment")
    shipment = next((key for key in shipments if isinstance(key, int)), None)
    if resource is None:
        return None, None, shipment
    key = _key(resource)
    owner = _owner(resource) if shipment is None else shipment
    return resource.object_name[:100] or None, None if key is None else str(key), owner


def _key(part: EventObject) -> int | str | None:
    try:
        key: int | str = _id.decode(part.fields.get("id", JSON_NULL))
    except ValueError:
        return None
    return key


def _owner(part: EventObject) -> int | None:
    try:
        number = _link.decode(part.fields.get("shipment", JSON_NULL)).id
    except ValueError:
        return None
    return number if isinstance(number, int) and not isinstance(number, bool) and 0 < number < 2**63 else None
