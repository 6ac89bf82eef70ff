"""The event log: the exact bytes that Flexport sent, and the outcome of each event."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from flexportd.storage.queries.filters import after_number, number, since, word
from flexportd.storage.queries.list_query import ListQuery
from flexportd.storage.repositories.repository import ListRepository
from flexportd.storage.statements import bulk_insert, bulk_update, json_text, update_from

MAX_VERSIONS = 20  # that are counted separately
OTHER_VERSIONS = "others"
COLUMNS = (
    "seq", "id", "type", "source", "received_at", "state", "ended_at", "reason", "created_at", "occurred_at",
    "resource", "resource_id", "shipment_id",
)  # fmt: skip

_UNUSUAL = "state IN ('coalesced', 'ignored', 'dead')"

# Most events are applied and are found in any order; the other states are rare and each has an index of its own.
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
    """One event as it arrived: its id and type as far as they could be read, and the bytes."""

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
    """The outcome of an event; the other fields are None if it could not be parsed."""

    state: str
    reason: str | None = None
    created_at: str | None = None
    occurred_at: str | None = None
    resource: str | None = None
    resource_id: str | None = None
    shipment_id: int | None = None


class EventVersion(msgspec.Struct, frozen=True):
    """How many events arrived in another version of Flexport's API than 2; the times are ours."""

    version: str
    count: int
    first_seen_at: str
    last_seen_at: str


_FINISH = update_from(
    "events",
    ("state", "ended_at", "reason", "created_at", "occurred_at", "resource", "resource_id", "shipment_id"),
    "seq",
)


class Events(ListRepository):
    """Reads and writes `events`, `event_payloads`, `event_counts` and `event_versions`."""

    family, listing, columns = "events", LISTING, COLUMNS

    def add(self, arrivals: Sequence[ReceivedEvent]) -> list[int | None]:
        """Store new events; returns the `seq` of each (its place in the order of arrival), None for a known id."""
        first = self.last_seq() + 1
        numbered = list(enumerate(arrivals, first))
        rows = [(seq, a.id, a.type, a.source, a.received_at) for seq, a in numbered]
        added = bulk_insert(self._raw, self._sql["add"], rows)
        if added == len(rows):
            bulk_insert(self._raw, self._sql["add_payload"], [(seq, a.headers, a.body) for seq, a in numbered])
            return [seq for seq, _ in numbered]
        taken = set(self._first_column("seqs_between", first, first + len(rows)))
        fresh = [(seq, a.headers, a.body) for seq, a in numbered if seq in taken]
        bulk_insert(self._raw, self._sql["add_payload"], fresh)
        return [seq if seq in taken else None for seq, _ in numbered]

    def last_seq(self) -> int:
        """The `seq` of the newest event; 0 without any."""
        return self._count("last_seq")

    def to_apply(self, seqs: Sequence[int]) -> dict[int, PendingEvent]:
        """The events with these `seq`."""
        return {row.seq: row for row in self._all(PendingEvent, "to_apply", json_text(seqs))}

    def deleted_ids(self, ids: Sequence[str]) -> set[str]:
        """Which of these events were stored before and have been deleted by retention."""
        return set(self._first_column("deleted", json_text(ids)))

    def finish_many(self, at: str, results: Iterable[tuple[int, EventResult]]) -> None:
        """Store the outcomes of events, with what was read from them."""
        rows = [
            (r.state, at, r.reason, r.created_at, r.occurred_at, r.resource, r.resource_id, r.shipment_id, seq)
            for seq, r in results
        ]
        bulk_update(self._raw, _FINISH, rows)

    def finish(self, at: str, seq: int, state: str, reason: str) -> None:
        """Store the outcome of an event; what was read from it stays."""
        self._run("finish", state, at, reason, seq)

    def reopen(self, seq: int) -> None:
        """Let an event be applied again."""
        self._run("reopen", seq)

    def count(self, ended: dict[tuple[str, str], int]) -> None:
        """Add to the counts by (type, state)."""
        self._raw.executemany(self._sql["count"], [(*key, n) for key, n in ended.items()])

    def counts(self) -> list[tuple[str, str, int]]:
        """The counts: (type, state, count)."""
        return self._run("counts").fetchall()

    def count_versions(self, at: str, seen: Mapping[str, int]) -> None:
        """Add to the counts of events in another version than 2; versions beyond MAX_VERSIONS count as one."""
        for version, count in seen.items():
            others = self._run("count_versions", version).fetchone()[0]
            named = version if others < MAX_VERSIONS else OTHER_VERSIONS
            self._run("count_version", named, count, at)

    def versions(self) -> list[EventVersion]:
        """The versions other than 2 that events arrived in."""
        return self._all(EventVersion, "versions")

    def by_id(self, event_id: str) -> dict[str, Any] | None:
        """One event by Flexport's id, or None."""
        return next(iter(self._dicts(COLUMNS, "by_id", event_id)), None)

    def type_of(self, seq: int) -> str | None:
        """The type of the event with this `seq`."""
        return self._text("type_of", seq)

    def payload(self, seq: int) -> tuple[str, bytes]:
        """The relevant headers (as JSON) and the exact bytes."""
        headers, body = self._run("payload", seq).fetchone()
        return headers, body

    def of_shipment(self, shipment_id: int, limit: int) -> list[dict[str, Any]]:
        """The milestones of one shipment in order of arrival."""
        names = ("id", "type", "created_at", "occurred_at", "resource", "resource_id", "state")
        return self._dicts(names, "of_shipment", shipment_id, limit)

    def bodies(self, ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The bytes of those of these events that are stored: (id, bytes) one by one."""
        yield from self._run("bodies", json_text(ids))

    def newest(self) -> tuple[str | None, str | None]:
        """When the last event arrived, and when Flexport had recorded it."""
        return self._run("newest").fetchone() or (None, None)

    def latest_through(self, seq: int = _MAX_SEQ) -> tuple[int, str]:
        """The newest event up to a `seq`: its `seq`, and what distinguishes it from another there; (0, "") for none."""
        return self._run("arrival", seq).fetchone() or (0, "")

    def total(self) -> int:
        """How many events are stored."""
        return self._count("total")

    def types(self, limit: int) -> list[str]:
        """The types that events have or had, up to a limit."""
        return self._first_column("types", limit)
