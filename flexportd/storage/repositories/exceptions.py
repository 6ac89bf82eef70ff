"""What is not as it should be: the exceptions, when to look again, and what was told once."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from flexportd.storage.change_log import ConsumerState
from flexportd.storage.named_sql import queries
from flexportd.storage.queries.filters import any_of, before, expression, is_null, is_present, since
from flexportd.storage.queries.freight_filters import EXCEPTIONS_OF_SHIPMENT, for_audience
from flexportd.storage.queries.list_query import ListQuery, PageRequest
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.audiences import membership_start_column

COLUMNS = (
    "id", "kind", "severity", "resource", "resource_id", "shipment_id", "since", "opened_at", "updated_at",
    "closed_at", "evidence",
)  # fmt: skip

LISTING = ListQuery(
    table="exceptions",
    columns=COLUMNS,
    key="id",
    sorts={"opened_at": "opened_at", "since": "since"},
    filters={
        "kind": any_of("kind"),
        "severity": any_of("severity"),
        "shipment": EXCEPTIONS_OF_SHIPMENT,
        "opened_after": since("opened_at"),
        "opened_before": before("opened_at"),
        "open": is_null("closed_at"),
        "closed": is_present("closed_at", "closed").internal(),
        "all": expression("1"),
        "seen": expression("kind NOT IN (SELECT value FROM json_each(?))"),
        "audience": for_audience("shipment_id"),
        "since_start": expression(
            "closed_at IS NULL "
            f"OR closed_at > coalesce({membership_start_column('exceptions.shipment_id', 'changed_at')}, '')",
            tables=("changes",),
        ),
    },
    order="opened_at",
)

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder(order="deterministic").encode


class ExceptionRow(msgspec.Struct, frozen=True):
    """One exception, open while `closed_at` is None. `since` is from the evidence, the other times from our clock."""

    id: int
    kind: str
    severity: str
    resource: str
    resource_id: str
    shipment_id: int | None
    since: str
    opened_at: str
    updated_at: str
    closed_at: str | None
    evidence: Mapping[str, Any]


class ExceptionFields(NamedTuple):
    """What is written of one that is open; `since` is None where the evidence does not tell."""

    kind: str
    severity: str
    resource: str
    resource_id: str
    shipment_id: int | None
    evidence: Mapping[str, Any]
    since: str | None


class EvaluationState(ConsumerState, frozen=True, kw_only=True):
    """How far exceptions are evaluated. `version` is that of the rules and their thresholds.

    `is_loud`: what opens and closes from now on is told.
    """

    is_loud: bool


class Exceptions:
    """Reads and writes `exceptions` and what belongs to them."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        found = queries("exceptions")
        self._sql = {name: sql.replace("{columns}", ", ".join(COLUMNS)) for name, sql in found.items()}

    # --- exceptions ---

    def page(self, page: PageRequest) -> list[dict[str, Any]]:
        """One page of exceptions; `evidence` as JSON text."""
        return LISTING.read(self._raw, page)

    def rows(self, page: PageRequest) -> list[ExceptionRow]:
        """The same as a page, with the facts read."""
        return [ExceptionRow(**{**row, "evidence": _decode(row["evidence"])}) for row in self.page(page)]

    def count(self, filters: Mapping[str, Sequence[Any]]) -> int:
        """How many these filters of the list let through."""
        return LISTING.count(self._raw, filters)

    def by_id(self, number: int) -> ExceptionRow | None:
        """One by its id."""
        return next(iter(self._rows("one", (number,))), None)

    def of_shipments(self, shipments: Sequence[int]) -> list[ExceptionRow]:
        """The open ones of these shipments."""
        return self._rows("of_shipments", (_json(shipments),))

    def open_of_kind(self, kind: str, resource: str, resource_id: str) -> list[ExceptionRow]:
        """The open one of a kind about an object; none or one."""
        return self._rows("about", (kind, resource, resource_id))

    def open_of_objects(self, resource: str, keys: Sequence[Key]) -> list[ExceptionRow]:
        """The open ones about these objects."""
        return self._rows("concerning", (resource, _json([str(key) for key in keys]))) if keys else []

    def open_of_severity(self, severity: str, limit: int) -> list[ExceptionRow]:
        """The open ones of one severity, the oldest first."""
        return self._rows("worst", (severity, limit))

    def counts(self) -> list[tuple[str, str, int]]:
        """(kind, severity, how many are open)."""
        return self._raw.execute(self._sql["counts"]).fetchall()

    def open(self, fresh: ExceptionFields, at: str) -> int:
        """Write a new one; its id."""
        row = (*fresh[:5], at, _encode(fresh.evidence).decode(), fresh.since)
        return self._raw.execute(self._sql["open"], row).lastrowid or 0

    def update(self, number: int, fresh: ExceptionFields, at: str) -> None:
        """Write other facts of one that stays open."""
        row = (fresh.severity, fresh.shipment_id, _encode(fresh.evidence).decode(), fresh.since, at, number)
        self._raw.execute(self._sql["move"], row)

    def close(self, number: int, at: str) -> None:
        """One no longer stands."""
        self._raw.execute(self._sql["close"], (at, number))

    def delete_closed(self, before: str, limit: int, earliest: str = "") -> int:
        """Delete those that were closed between two times of ours, the first closed first; how many."""
        return self._raw.execute(self._sql["forget"], (earliest, before, limit)).rowcount

    def _rows(self, name: str, values: Sequence[Any]) -> list[ExceptionRow]:
        rows = self._raw.execute(self._sql[name], values)
        return [ExceptionRow(*(*row[:-1], _decode(row[-1]))) for row in rows]

    # --- when to look again ---

    def scheduled(self, resource: str, keys: Sequence[Key]) -> dict[Key, str]:
        """When these objects have to be looked at again, those that have to."""
        return dict(self._raw.execute(self._sql["looks"], (resource, _json(keys))).fetchall())

    def due(self, now: str, limit: int) -> list[tuple[str, Key]]:
        """(resource, id) of what has to be looked at now, the longest due first."""
        return [row[:2] for row in self._raw.execute(self._sql["due"], (now, limit))]

    def next_due(self) -> str | None:
        """When the next object has to be looked at."""
        at: str | None = self._raw.execute(self._sql["next_due"]).fetchone()[0]
        return at

    def schedule(self, resource: str, key: Key, due_at: str | None) -> None:
        """Look at an object again at a time; never for None."""
        if due_at is None:
            self._raw.execute(self._sql["look_no_more"], (resource, key))
        else:
            self._raw.execute(self._sql["look"], (resource, key, due_at))

    # --- what was told once ---

    def was_notified(self, topic: str, key: Key) -> bool:
        """Whether a topic was told of an object."""
        return self._raw.execute(self._sql["told"], (topic, str(key))).fetchone() is not None

    def record_notified(self, topic: str, key: Key, at: str) -> None:
        """A topic is told of an object."""
        self._raw.execute(self._sql["tell"], (topic, str(key), at))

    # --- what judging reads ---

    def milestones(self, shipment: int, limit: int) -> list[dict[str, Any]]:
        """The newest milestones of a shipment that had their effect."""
        names = ("id", "type", "created_at", "occurred_at", "resource", "resource_id")
        rows = self._raw.execute(self._sql["milestones"], (shipment, limit))
        return [dict(zip(names, row, strict=True)) for row in rows]

    def date_changes(
        self, shipment: int, until: str | None = None
    ) -> list[tuple[str, str, str, str | None, str | None]]:
        """(as_of, cause, field, old, new) of the departure, the estimated arrivals and their places, oldest first.

        With `until` only what was known here at that time of ours.
        """
        return self._raw.execute(self._sql["moves"], (str(shipment), until or "9999")).fetchall()

    def changed_at(self, keys: Mapping[str, Sequence[str]]) -> str | None:
        """When a date of these objects (ids by resource) last changed, on Flexport's clock."""
        found = [
            self._raw.execute(self._sql["changed_at"], (name, _json(some))).fetchone()[0]
            for name, some in keys.items()
            if some
        ]
        return max((at for at in found if at), default=None)


def _json(values: Sequence[Any]) -> str:
    return msgspec.json.encode(values).decode()
