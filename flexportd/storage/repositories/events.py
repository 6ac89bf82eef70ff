"""The event log: the exact bytes Flexport sent, and what became of each."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from flexportd.storage.bulk_insert import bulk_insert, update, update_from
from flexportd.storage.named_sql import queries
from flexportd.storage.queries.filters import after_number, number, since, word
from flexportd.storage.queries.list_query import ListQuery, PageRequest

MAX_VERSIONS = 20  # that are counted apart
OTHER_VERSIONS = "others"
COLUMNS = (
    "seq", "id", "type", "source", "received_at", "state", "ended_at", "reason", "created_at", "occurred_at",
    "resource", "resource_id", "shipment_id",
)  # fmt: skip

_UNUSUAL = "state IN ('coalesced', 'ignored', 'dead')"

# What most events are, applied, is found in any order; of the rest there are few, each with an index of its own.
_STATES = {
    **{name: f"{_UNUSUAL} AND state = '{name}'" for name in ("coalesced", "ignored", "dead")},
    "ready": (
        "seq IN (SELECT ref FROM items WHERE state = 'ready' UNION ALL SELECT ref FROM items WHERE state = 'leased') "
        "AND state = 'ready'"
    ),
    "leased": "seq IN (SELECT ref FROM items WHERE state = 'leased') AND state = 'ready'",
}

_MAX_SEQ = 2**63 - 1

LISTING = ListQuery(
    table="events",
    columns=COLUMNS,
    key="seq",
    sorts={"seq": "seq"},
    filters={
        "type": word("type", description="Only events of this type."),
        "state": word("state", "ready", "leased", "applied", "coalesced", "ignored", "dead"),
        "shipment": number("shipment_id"),
        "received_since": since("received_at"),
        "source": word("source").internal(),
        "after_seq": after_number("seq"),
    },
    literal_variants={"state": _STATES},
)


class ReceivedEvent(msgspec.Struct, frozen=True, gc=False):
    """One event as it came: its id and type as far as they could be read, and the bytes."""

    id: str
    type: str | None
    source: str
    received_at: str
    headers: str
    body: bytes


class PendingEvent(msgspec.Struct, frozen=True, gc=False):
    """An event to be applied."""

    seq: int
    id: str
    type: str | None
    source: str
    body: bytes


class EventResult(msgspec.Struct, frozen=True, gc=False):
    """What became of an event; the facts are None where it was not understood."""

    state: str
    reason: str | None = None
    created_at: str | None = None
    occurred_at: str | None = None
    resource: str | None = None
    resource_id: str | None = None
    shipment_id: int | None = None


class EventVersion(msgspec.Struct, frozen=True):
    """How many events came in another version of Flexport's API than 2; the times are ours."""

    version: str
    count: int
    first_seen_at: str
    last_seen_at: str


_SETTLE = update_from(
    "events",
    ("state", "ended_at", "reason", "created_at", "occurred_at", "resource", "resource_id", "shipment_id"),
    "seq",
)


class Events:
    """Reads and writes `events`, `event_payloads`, `event_counts` and `event_versions`."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries("events")

    def add(self, arrivals: Sequence[ReceivedEvent]) -> list[int | None]:
        """Keep what is new; the place of each in the order of arrival, None for an id that is known already."""
        first = self._raw.execute(self._sql["last_seq"]).fetchone()[0] + 1
        numbered = list(enumerate(arrivals, first))
        rows = [(seq, a.id, a.type, a.source, a.received_at) for seq, a in numbered]
        added = bulk_insert(self._raw, self._sql["add"], rows)
        if added == len(rows):
            bulk_insert(self._raw, self._sql["add_payload"], [(seq, a.headers, a.body) for seq, a in numbered])
            return [seq for seq, _ in numbered]
        taken = {row[0] for row in self._raw.execute(self._sql["seqs_between"], (first, first + len(rows)))}
        fresh = [(seq, a.headers, a.body) for seq, a in numbered if seq in taken]
        bulk_insert(self._raw, self._sql["add_payload"], fresh)
        return [seq if seq in taken else None for seq, _ in numbered]

    def last_seq(self) -> int:
        """The place of the newest event; 0 before the first."""
        return int(self._raw.execute(self._sql["last_seq"]).fetchone()[0])

    def to_apply(self, seqs: Sequence[int]) -> dict[int, PendingEvent]:
        """The events at these places."""
        cursor = self._raw.execute(self._sql["to_apply"], (msgspec.json.encode(seqs).decode(),))
        return {row[0]: PendingEvent(*row) for row in cursor}

    def deleted_ids(self, ids: Sequence[str]) -> set[str]:
        """Which of these events were here before and have been deleted by retention."""
        rows = self._raw.execute(self._sql["forgotten"], (msgspec.json.encode(ids).decode(),))
        return {row[0] for row in rows}

    def finish_many(self, at: str, verdicts: Iterable[tuple[int, EventResult]]) -> None:
        """Note what became of events, with the facts read from them."""
        rows = [
            (v.state, at, v.reason, v.created_at, v.occurred_at, v.resource, v.resource_id, v.shipment_id, seq)
            for seq, v in verdicts
        ]
        update(self._raw, _SETTLE, rows)

    def finish(self, at: str, seq: int, state: str, reason: str) -> None:
        """Note what became of an event without touching the facts read from it."""
        self._raw.execute(self._sql["end"], (state, at, reason, seq))

    def reopen(self, seq: int) -> None:
        """The event waits to be applied again."""
        self._raw.execute(self._sql["reopen"], (seq,))

    def count(self, ended: dict[tuple[str, str], int]) -> None:
        """Add to the tallies by (type, state)."""
        self._raw.executemany(self._sql["count"], [(*key, n) for key, n in ended.items()])

    def counts(self) -> list[tuple[str, str, int]]:
        """The tallies: (type, state, count)."""
        return self._raw.execute(self._sql["counts"]).fetchall()

    def count_versions(self, at: str, seen: Mapping[str, int]) -> None:
        """Add to the tallies of events in another version than 2; versions beyond MOST_VERSIONS count as one."""
        for version, count in seen.items():
            others = self._raw.execute(self._sql["version_room"], (version,)).fetchone()[0]
            named = version if others < MAX_VERSIONS else OTHER_VERSIONS
            self._raw.execute(self._sql["count_version"], (named, count, at))

    def versions(self) -> list[EventVersion]:
        """The versions other than 2 that events came in."""
        return [EventVersion(*row) for row in self._raw.execute(self._sql["versions"])]

    def by_id(self, event_id: str) -> dict[str, Any] | None:
        """One event by Flexport's id, or None."""
        sql = self._sql["by_id"].format(columns=", ".join(COLUMNS))
        row = self._raw.execute(sql, (event_id,)).fetchone()
        return None if row is None else dict(zip(COLUMNS, row, strict=True))

    def type_of(self, seq: int) -> str | None:
        """The type of the event at a place."""
        row = self._raw.execute(self._sql["type_of"], (seq,)).fetchone()
        return None if row is None else row[0]

    def payload(self, seq: int) -> tuple[str, bytes]:
        """The headers that matter (as JSON) and the exact bytes."""
        headers, body = self._raw.execute(self._sql["payload"], (seq,)).fetchone()
        return headers, body

    def of_shipment(self, shipment_id: int, limit: int) -> list[dict[str, Any]]:
        """The milestones of one shipment in order of arrival."""
        names = ("id", "type", "created_at", "occurred_at", "resource", "resource_id", "state")
        rows = self._raw.execute(self._sql["of_shipment"], (shipment_id, limit))
        return [dict(zip(names, row, strict=True)) for row in rows]

    def bodies(self, ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The bytes of these events by id, one after the other, as far as they are kept."""
        yield from self._raw.execute(self._sql["bodies"], (msgspec.json.encode(ids).decode(),))

    def newest(self) -> tuple[str | None, str | None]:
        """When the last event came, and when Flexport had recorded it."""
        row = self._raw.execute(self._sql["newest"]).fetchone()
        return (None, None) if row is None else (row[0], row[1])

    def latest_through(self, seq: int = _MAX_SEQ) -> tuple[int, str]:
        """The newest event up to a place: its place, and what tells it from any other there; (0, "") for none."""
        row: tuple[int, str] | None = self._raw.execute(self._sql["arrival"], (seq,)).fetchone()
        return row or (0, "")

    def total(self) -> int:
        """How many events are kept."""
        return int(self._raw.execute(self._sql["total"]).fetchone()[0])

    def types(self, limit: int) -> list[str]:
        """The types that events of ours have or had, at most so many."""
        return [row[0] for row in self._raw.execute(self._sql["types"], (limit,))]

    def page(self, page: PageRequest) -> list[dict[str, Any]]:
        """One page of events."""
        return LISTING.read(self._raw, page)
