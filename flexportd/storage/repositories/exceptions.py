"""Exceptions: what is wrong with an object, when to evaluate it again, and which notices were sent."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from flexportd.storage.change_log import ConsumerState
from flexportd.storage.queries.filters import any_of, before, expression, is_null, is_present, since
from flexportd.storage.queries.freight_filters import EXCEPTIONS_OF_SHIPMENT, for_audience
from flexportd.storage.queries.list_query import ListQuery, PageRequest
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.audiences import membership_start_column
from flexportd.storage.repositories.repository import ListRepository
from flexportd.storage.statements import json_text


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


LISTING = ListQuery(
    table="exceptions",
    columns=ExceptionRow.__struct_fields__,
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


class ExceptionFields(NamedTuple):
    """The fields of an open exception; `since` is None if the evidence has no time."""

    kind: str
    severity: str
    resource: str
    resource_id: str
    shipment_id: int | None
    evidence: Mapping[str, Any]
    since: str | None


class EvaluationState(ConsumerState, frozen=True, kw_only=True):
    """The progress of evaluation. `version` is that of the rules and their thresholds.

    `is_loud`: exceptions that open and close from now on send notices.
    """

    is_loud: bool


class Exceptions(ListRepository):
    """Reads and writes `exceptions`, `exception_checks` and `exception_notices`."""

    family, listing, columns = "exceptions", LISTING, ExceptionRow.__struct_fields__

    def rows(self, page: PageRequest) -> list[ExceptionRow]:
        """One page of exceptions with the evidence decoded; in `page` it is JSON text."""
        return [ExceptionRow(**{**row, "evidence": _decode(row["evidence"])}) for row in self.page(page)]

    def count(self, filters: Mapping[str, Sequence[Any]]) -> int:
        """How many match these filters of the list."""
        return LISTING.count(self._raw, filters)

    def by_id(self, number: int) -> ExceptionRow | None:
        """One by its id."""
        return self._one(_row, "one", number)

    def of_shipments(self, shipments: Sequence[int]) -> list[ExceptionRow]:
        """The open ones of these shipments."""
        return self._all(_row, "of_shipments", json_text(shipments))

    def open_of_kind(self, kind: str, resource: str, resource_id: str) -> list[ExceptionRow]:
        """The open one of a kind about an object; none or one."""
        return self._all(_row, "of_kind", kind, resource, resource_id)

    def open_of_objects(self, resource: str, keys: Sequence[Key]) -> list[ExceptionRow]:
        """The open ones about these objects."""
        return self._all(_row, "of_objects", resource, json_text([str(key) for key in keys])) if keys else []

    def open_of_severity(self, severity: str, limit: int) -> list[ExceptionRow]:
        """The open ones of one severity, the oldest first."""
        return self._all(_row, "of_severity", severity, limit)

    def counts(self) -> list[tuple[str, str, int]]:
        """(kind, severity, how many are open)."""
        return self._run("counts").fetchall()

    def open(self, fresh: ExceptionFields, at: str) -> int:
        """Write a new one; its id."""
        evidence = _encode(fresh.evidence).decode()
        return self._run("open", *fresh[:5], at, evidence, fresh.since).lastrowid or 0

    def update(self, number: int, fresh: ExceptionFields, at: str) -> None:
        """Update one that stays open."""
        evidence = _encode(fresh.evidence).decode()
        self._run("update", fresh.severity, fresh.shipment_id, evidence, fresh.since, at, number)

    def close(self, number: int, at: str) -> None:
        """Close one."""
        self._run("close", at, number)

    def delete_closed(self, before: str, limit: int, earliest: str = "") -> int:
        """Delete those that were closed between two times on our clock, the first closed first; how many."""
        return self._run("delete_closed", earliest, before, limit).rowcount

    def scheduled(self, resource: str, keys: Sequence[Key]) -> dict[Key, str]:
        """When these objects are due, as far as they are scheduled."""
        return dict(self._run("scheduled", resource, json_text(keys)).fetchall())

    def due(self, now: str, limit: int) -> list[tuple[str, Key]]:
        """(resource, id) of the objects that are due now, the longest due first."""
        return [row[:2] for row in self._run("due", now, limit)]

    def next_due(self) -> str | None:
        """When the next object is due."""
        return self._text("next_due")

    def schedule(self, resource: str, key: Key, due_at: str | None) -> None:
        """Evaluate an object again at a time; never for None."""
        if due_at is None:
            self._run("unschedule", resource, key)
        else:
            self._run("schedule", resource, key, due_at)

    def was_notified(self, topic: str, key: Key, occasion: str | None = None) -> bool:
        """Whether a notice of a topic was sent for an object, on this occasion or (None) on any."""
        return self._run("was_notified", topic, str(key), occasion).fetchone() is not None

    def record_notified(self, topic: str, key: Key, occasion: str | None, at: str) -> None:
        """Note that a notice of a topic was sent for an object on an occasion."""
        self._run("record_notified", topic, str(key), occasion or "", at)

    def milestones(self, shipment: int, limit: int) -> list[dict[str, Any]]:
        """The newest applied milestones of a shipment."""
        names = ("id", "type", "created_at", "occurred_at", "resource", "resource_id")
        return self._dicts(names, "milestones", shipment, limit)

    def date_changes(
        self, shipment: int, until: str | None = None
    ) -> list[tuple[str, str, str, str | None, str | None]]:
        """(as_of, cause, field, old, new) of the departure, the estimated arrivals and their places, oldest first.

        With `until` only what was stored by that time on our clock.
        """
        return self._run("date_changes", str(shipment), until or "9999").fetchall()

    def changed_at(self, keys: Mapping[str, Sequence[str]]) -> str | None:
        """When a date of these objects (ids by resource) last changed, on Flexport's clock."""
        times = [self._text("changed_at", name, json_text(ids)) for name, ids in keys.items() if ids]
        return max(filter(None, times), default=None)


def _row(*values: Any) -> ExceptionRow:
    return ExceptionRow(*(*values[:-1], _decode(values[-1])))
