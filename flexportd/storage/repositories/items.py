"""The durable queue's table: items that wait, run or gave up."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from flexportd.storage.bulk_insert import bulk_insert
from flexportd.storage.named_sql import queries
from flexportd.storage.queries.filters import expression, is_present, number, word
from flexportd.storage.queries.list_query import ListQuery, PageRequest

COLUMNS = (
    "id", "kind", "state", "priority", "ready_at", "enqueued_at", "ref", "lane", "merge_key", "payload", "attempts",
    "lease_until", "ended_at", "discarded_at", "discarded_by", "discard_reason", "crashes",
)  # fmt: skip

DEAD_LETTERS = ListQuery(
    table="items LEFT JOIN events ON events.seq = items.ref",
    columns=(
        "items.id", "kind", "attempts", "enqueued_at", "items.ended_at", "discarded_at", "discarded_by",
        "discard_reason", "events.id AS event_id", "events.type AS event_type",
        "events.shipment_id AS shipment_id", "payload",
        "(SELECT error FROM attempts a WHERE a.item_id = items.id ORDER BY at DESC LIMIT 1) AS error",
    ),
    key="items.id",
    sorts={"id": "items.id"},
    filters={
        "type": word("events.type", description="Only events of this type."),
        "error": expression(
            "EXISTS (SELECT 1 FROM attempts a WHERE a.item_id = items.id AND instr(lower(a.error), lower(?)) > 0)",
            "text",
            "Only dead letters whose error contains this text (case-insensitive).",
            tables=("attempts",),
        ),
        "discarded": is_present("discarded_at", "discarded", default=False),
        "dead": expression("items.state = 'dead'"),
        "one": number("items.id").internal(),
        "kind": word("kind").internal(),
    },
)  # fmt: skip


UNFINISHED = ListQuery(
    table="items LEFT JOIN events ON events.seq = items.ref",
    columns=(
        "items.id", "kind", "items.state", "priority", "attempts", "enqueued_at", "ready_at", "lease_until", "lane",
        "events.id AS event_id", "events.type AS event_type",
        "(SELECT error FROM attempts a WHERE a.item_id = items.id ORDER BY at DESC LIMIT 1) AS error",
    ),
    key="items.id",
    sorts={"id": "items.id"},
    filters={
        "state": word("items.state", "ready", "leased"),
        "kind": word("kind"),
        "unfinished": expression("items.state IN ('ready', 'leased')"),
    },
)  # fmt: skip


class Item(msgspec.Struct, frozen=True, gc=False):
    """One piece of queued work."""

    id: int
    kind: str
    state: str
    priority: int
    ready_at: str
    enqueued_at: str
    ref: int | None
    lane: str | None
    merge_key: str | None
    payload: str | None
    attempts: int
    lease_until: str | None
    ended_at: str | None
    discarded_at: str | None
    discarded_by: str | None
    discard_reason: str | None
    deaths: int  # how often the process ended while it was in work


class NewItem(msgspec.Struct, frozen=True, gc=False):
    """Work to be queued; see `items` for what the parts mean."""

    kind: str
    priority: int
    ref: int | None = None
    lane: str | None = None
    merge_key: str | None = None
    payload: str | None = None
    ready_at: str | None = None  # None: at once


class Items:
    """Reads and writes `items` and `attempts`."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = {name: sql.replace("{columns}", ", ".join(COLUMNS)) for name, sql in queries("items").items()}
        self._next_id: int | None = None

    def reset(self) -> None:
        """The numbers given out in an undone transaction may be given again."""
        self._next_id = None

    def _next_ids(self, count: int) -> range:
        # Counted here, because SQLite gives a number again once the highest row has left, and logs and failed
        # tries would then speak of two items under one number.
        if self._next_id is None:
            self._next_id = self._raw.execute(self._sql["last_id"]).fetchone()[0] + 1
        first = self._next_id
        self._next_id += count
        return range(first, first + count)

    def add(self, at: str, items: Sequence[NewItem]) -> None:
        """Queue these."""
        rows = [
            (number, i.kind, i.priority, i.ready_at or at, at, i.ref, i.lane, i.merge_key, i.payload)
            for number, i in zip(self._next_ids(len(items)), items, strict=True)
        ]
        self._raw.executemany(self._sql["add"], rows)

    def add_refs(self, at: str, kind: str, priority: int, refs: Sequence[int]) -> None:
        """Queue one item for each event; the short way for acknowledgements."""
        numbers = self._next_ids(len(refs))
        rows = [(number, kind, priority, at, at, ref) for number, ref in zip(numbers, refs, strict=True)]
        bulk_insert(self._raw, self._sql["add_plain"], rows)

    def add_dead(self, at: str, kind: str, ref: int, error: str) -> int:
        """An item that was dead on arrival; its id."""
        self.add_refs(at, kind, 1, (ref,))
        item_id = (self._next_id or 1) - 1
        self.record_attempt(item_id, 1, at, error)
        self.mark_dead(item_id, at, 1)
        return item_id

    def due(self, kind: str, now: str, limit: int) -> list[Item]:
        """What may run now without a lease, most urgent first."""
        return self._by_priority("due", (kind, now), limit)

    def claim(self, kind: str, now: str, until: str, limit: int) -> list[Item]:
        """Lease what may run now, most urgent first; the try is counted."""
        return self._by_priority("claim", (kind, now, until), limit)

    def _by_priority(self, name: str, given: tuple[str, ...], limit: int) -> list[Item]:
        found: list[Item] = []
        kind, now, *rest = given
        for priority in range(4):
            if len(found) < limit:
                values = (kind, priority, now, limit - len(found), *rest)
                found += [Item(*row) for row in self._raw.execute(self._sql[name], values).fetchall()]
        return found

    def next_ready_at(self, kind: str) -> str | None:
        """When the next waiting item of a kind is due; None when none waits."""
        value: str | None = self._raw.execute(self._sql["next_ready_at"], (kind,)).fetchone()[0]
        return value

    def finish(self, items: Sequence[Item]) -> None:
        """Their effect is in the store: they leave."""
        self._raw.execute(self._sql["finish"], (msgspec.json.encode([item.id for item in items]).decode(),))
        failed = [(item.id,) for item in items if item.attempts]
        if failed:
            self._raw.executemany(self._sql["forget_attempts"], failed)

    def postpone(self, item_id: int, ready_at: str, attempts: int) -> None:
        """Try again at `ready_at`."""
        self._raw.execute(self._sql["postpone"], (ready_at, attempts, item_id))

    def mark_dead(self, item_id: int, at: str, attempts: int) -> None:
        """To the dead letters."""
        self._raw.execute(self._sql["bury"], (at, attempts, item_id))

    def record_attempt(self, item_id: int, attempt: int, at: str, error: str) -> None:
        """Keep what went wrong."""
        self._raw.execute(self._sql["note_attempt"], (item_id, attempt, at, error))

    def attempts(self, item_id: int) -> list[dict[str, Any]]:
        """Every failed try, oldest first."""
        rows = self._raw.execute(self._sql["attempts"], (item_id,))
        return [{"attempt": attempt, "at": at, "error": error} for attempt, at, error in rows]

    def claim_one(self, item_id: int, now: str, until: str) -> Item | None:
        """Lease one item; None when it waits no longer, or not yet. The try is counted."""
        row = self._raw.execute(self._sql["claim_one"], (item_id, now, until)).fetchone()
        return None if row is None else Item(*row)

    def leased_ids(self) -> list[int]:
        """The items that are leased, by whatever process."""
        return [row[0] for row in self._raw.execute(self._sql["leased_ids"])]

    def count_death(self, item_id: int) -> Item:
        """Note that the process ended while this unfinished item was in work; the item."""
        return Item(*self._raw.execute(self._sql["count_death"], (item_id,)).fetchone())

    def reclaim_expired(self, now: str) -> int:
        """Return leases that ended before `now`; how many."""
        return len(self._raw.execute(self._sql["take_back"], (now,)).fetchall())

    def is_misdated(self, now: str, latest: str) -> bool:
        """Whether an item waits for a time that only a wrong clock gave: queued after `now`, or due after `latest`."""
        return self._raw.execute(self._sql["misdated"], (now, latest)).fetchone() is not None

    def make_due(self, now: str, latest: str) -> int:
        """Let those run now, with all that are due after `latest`; how many."""
        return self._raw.execute(self._sql["hasten"], (now, latest)).rowcount

    def stats(self) -> dict[str, tuple[int, str | None]]:
        """State -> how many, and when the oldest of them was queued."""
        found = {state: (count, oldest) for state, count, oldest in self._raw.execute(self._sql["stats"])}
        return {state: found.get(state, (0, None)) for state in ("ready", "leased", "dead")}

    def count_dead(self, limit: int) -> int:
        """How many open dead letters there are, counted up to `limit`."""
        count: int = self._raw.execute(self._sql["failed"], (limit,)).fetchone()[0]
        return count

    def pending(self) -> dict[str, int]:
        """Kind -> how many are unfinished."""
        return dict(self._raw.execute(self._sql["pending"]).fetchall())

    def by_id(self, item_id: int) -> Item | None:
        """One item, or None."""
        row = self._raw.execute(self._sql["by_id"], (item_id,)).fetchone()
        return None if row is None else Item(*row)

    def retry_dead(self, item_id: int, at: str) -> bool:
        """A dead letter is tried again from the start; False when it is none."""
        return self._raw.execute(self._sql["revive"], (at, item_id)).rowcount == 1

    def discard(self, item_id: int, at: str, who: str, why: str) -> bool:
        """Close a dead letter, keeping it; False when it is none."""
        return self._raw.execute(self._sql["discard"], (at, who, why, item_id)).rowcount == 1

    def of_event(self, seq: int) -> tuple[int, str, int] | None:
        """(id, state, attempts) of the dead or once-failed item that applies this event."""
        row = self._raw.execute(self._sql["of_event"], (seq,)).fetchone()
        return None if row is None else (row[0], row[1], row[2])

    def dead_letters(self, page: PageRequest) -> list[dict[str, Any]]:
        """One page of dead letters."""
        return _plain_names(DEAD_LETTERS.read(self._raw, page))

    def unfinished(self, page: PageRequest) -> list[dict[str, Any]]:
        """One page of items that wait or run."""
        return _plain_names(UNFINISHED.read(self._raw, page))


def _plain_names(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Columns of a join under their own names."""
    return [{name.rpartition(" AS ")[2].rpartition(".")[2]: value for name, value in row.items()} for row in rows]
