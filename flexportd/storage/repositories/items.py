"""The table of the durable queue: items that are ready, leased or dead."""

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from flexportd.storage.queries.filters import expression, is_present, number, word
from flexportd.storage.queries.list_query import ListQuery, PageRequest
from flexportd.storage.repositories.repository import plain_names
from flexportd.storage.statements import Repository, bulk_insert, json_text

INTERACTIVE, WEBHOOK, EVENTS, SYNC = range(4)
"""Priorities of items, most urgent first."""

COLUMNS = (
    "id", "kind", "state", "priority", "ready_at", "enqueued_at", "ref", "lane", "merge_key", "payload", "attempts",
    "lease_until", "ended_at", "discarded_at", "discarded_by", "discard_reason", "crashes",
)  # fmt: skip

_DELIVERY_TITLE = """(SELECT title FROM deliveries WHERE items.kind = 'delivery'
    AND deliveries.id = CAST(items.merge_key AS INTEGER)) AS delivery_title"""

DEAD_LETTERS = ListQuery(
    table="items LEFT JOIN events ON events.seq = items.ref",
    columns=(
        "items.id", "kind", "attempts", "enqueued_at", "items.ended_at", "discarded_at", "discarded_by",
        "discard_reason", "events.id AS event_id", "events.type AS event_type",
        "events.shipment_id AS shipment_id", "payload", "merge_key",
        _DELIVERY_TITLE,
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
    deaths: int  # how often the process ended while this item was running


class NewItem(msgspec.Struct, frozen=True, gc=False):
    """Work to be queued; see the columns of `items`."""

    kind: str
    priority: int
    ref: int | None = None
    lane: str | None = None
    merge_key: str | None = None
    payload: str | None = None
    ready_at: str | None = None  # None: at once


class Items(Repository):
    """Reads and writes `items` and `attempts`."""

    family, columns = "items", COLUMNS
    _next_id: int | None = None

    def reset(self) -> None:
        """Ids of a transaction that was rolled back may be used again."""
        self._next_id = None

    def _next_ids(self, count: int) -> range:
        # Counted here, because SQLite reuses the highest id once its row is deleted, and logs and failed attempts would
        # then name two items by one id.
        if self._next_id is None:
            self._next_id = self._count("last_id") + 1
        first = self._next_id
        self._next_id += count
        return range(first, first + count)

    def add(self, at: str, items: Sequence[NewItem]) -> None:
        """Queue items."""
        rows = [
            (number, i.kind, i.priority, i.ready_at or at, at, i.ref, i.lane, i.merge_key, i.payload)
            for number, i in zip(self._next_ids(len(items)), items, strict=True)
        ]
        self._raw.executemany(self._sql["add"], rows)

    def add_refs(self, at: str, kind: str, priority: int, refs: Sequence[int]) -> None:
        """Queue one item for each event: the fast path of acknowledgements."""
        numbers = self._next_ids(len(refs))
        rows = [(number, kind, priority, at, at, ref) for number, ref in zip(numbers, refs, strict=True)]
        bulk_insert(self._raw, self._sql["add_plain"], rows)

    def drop(self, kind: str, merge_key: str) -> None:
        """Delete the waiting item with this key, and its failed attempts."""
        for name in ("drop_attempts", "drop"):
            self._run(name, kind, merge_key)

    def add_dead(self, at: str, kind: str, ref: int, error: str) -> int:
        """Add an item as a dead letter; its id."""
        self.add_refs(at, kind, 1, (ref,))
        item_id = (self._next_id or 1) - 1
        self.record_attempt(item_id, 1, at, error)
        self.mark_dead(item_id, at, 1)
        return item_id

    def due(self, kind: str, now: str, limit: int) -> list[Item]:
        """Items that may run now without a lease, most urgent first."""
        return self._by_priority("due", (kind, now), limit)

    def claim(self, kind: str, now: str, until: str, limit: int) -> list[Item]:
        """Lease items that may run now, most urgent first; the attempt is counted."""
        return self._by_priority("lease", (kind, now, until), limit)

    def _by_priority(self, name: str, given: tuple[str, ...], limit: int) -> list[Item]:
        items: list[Item] = []
        kind, now, *rest = given
        for priority in range(4):
            if len(items) < limit:
                items += self._all(Item, name, kind, priority, now, limit - len(items), *rest)
        return items

    def next_ready_at(self, kind: str) -> str | None:
        """When the next waiting item of a kind is due; None without one."""
        return self._text("next_ready_at", kind)

    def finish(self, items: Sequence[Item]) -> None:
        """Delete items whose effect is stored."""
        self._run("finish", json_text([item.id for item in items]))
        failed = [(item.id,) for item in items if item.attempts]
        if failed:
            self._raw.executemany(self._sql["delete_attempts"], failed)

    def postpone(self, item_id: int, ready_at: str, attempts: int) -> None:
        """Try again at `ready_at`."""
        self._run("postpone", ready_at, attempts, item_id)

    def mark_dead(self, item_id: int, at: str, attempts: int) -> None:
        """Make an item a dead letter."""
        self._run("mark_dead", at, attempts, item_id)

    def record_attempt(self, item_id: int, attempt: int, at: str, error: str) -> None:
        """Store the error of an attempt."""
        self._run("record_attempt", item_id, attempt, at, error)

    def attempts(self, item_id: int) -> list[dict[str, Any]]:
        """Every failed attempt, oldest first."""
        return self._dicts(("attempt", "at", "error"), "attempts", item_id)

    def claim_one(self, item_id: int, now: str, until: str) -> Item | None:
        """Lease one item; None unless it is ready and due. The attempt is counted."""
        return self._one(Item, "lease_one", item_id, now, until)

    def leased_ids(self) -> list[int]:
        """The items that are leased, by any process."""
        return self._first_column("leased_ids")

    def count_death(self, item_id: int) -> Item:
        """Count that the process ended while this unfinished item was running; returns the item."""
        return Item(*self._run("count_crash", item_id).fetchone())

    def reclaim_expired(self, now: str) -> int:
        """Return items whose lease ended before `now`; how many."""
        return len(self._run("release_expired", now).fetchall())

    def is_misdated(self, now: str, latest: str) -> bool:
        """Whether an item waits for a time set by a wrong clock: queued after `now`, or due after `latest`."""
        return self._run("misdated", now, latest).fetchone() is not None

    def make_due(self, now: str, latest: str) -> int:
        """Make those due now, with all that are due after `latest`; how many."""
        return self._run("make_due", now, latest).rowcount

    def stats(self) -> dict[str, tuple[int, str | None]]:
        """State -> how many, and when the oldest of them was queued."""
        counts = {state: (count, oldest) for state, count, oldest in self._run("stats")}
        return {state: counts.get(state, (0, None)) for state in ("ready", "leased", "dead")}

    def count_dead(self, limit: int) -> int:
        """How many open dead letters there are, counted up to `limit`."""
        return self._count("failed", limit)

    def pending(self) -> dict[str, int]:
        """Kind -> how many are unfinished."""
        return dict(self._run("pending").fetchall())

    def by_id(self, item_id: int) -> Item | None:
        """One item, or None."""
        return self._one(Item, "by_id", item_id)

    def retry_dead(self, item_id: int, at: str) -> bool:
        """Retry a dead letter from its first attempt; False if it is none."""
        return self._run("retry_dead", at, item_id).rowcount == 1

    def discard(self, item_id: int, at: str, who: str, why: str) -> bool:
        """Discard a dead letter, which stays stored; False if it is none."""
        return self._run("discard", at, who, why, item_id).rowcount == 1

    def of_event(self, seq: int) -> tuple[int, str, int] | None:
        """(id, state, attempts) of the dead or once-failed item that applies this event."""
        return cast(tuple[int, str, int] | None, self._run("of_event", seq).fetchone())

    def with_merge_keys(self, kind: str, keys: Sequence[str]) -> dict[str, Item]:
        """The unfinished item of a kind for each of these keys, or its dead letter."""
        found = self._all(Item, "with_merge_keys", kind, json_text(list(keys)))
        return {item.merge_key or "": item for item in found}

    def dead_letters(self, page: PageRequest) -> list[dict[str, Any]]:
        """One page of dead letters."""
        return plain_names(DEAD_LETTERS.read(self._raw, page))

    def unfinished(self, page: PageRequest) -> list[dict[str, Any]]:
        """One page of items that are ready or leased."""
        return plain_names(UNFINISHED.read(self._raw, page))
