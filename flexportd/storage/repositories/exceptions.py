"""Exceptions: what is wrong with an object, what people did about it, when to evaluate it again, sent notices."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypedDict, get_args

import msgspec

from flexportd.clock import stamp
from flexportd.storage.change_log import ConsumerState
from flexportd.storage.queries.filters import any_of, before, equals, expression, is_null, is_present, since
from flexportd.storage.queries.freight_filters import EXCEPTIONS_OF_SHIPMENT, for_audience
from flexportd.storage.queries.list_query import ListQuery, PageRequest
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.audiences import membership_start_column
from flexportd.storage.repositories.repository import ListRepository
from flexportd.storage.statements import json_text

Action = Literal["acknowledge", "unacknowledge", "assign", "note", "snooze", "unsnooze"]
ACTIONS: tuple[Action, ...] = get_args(Action)


class ExceptionRow(msgspec.Struct, frozen=True):
    """One exception, open while `closed_at` is None. `since` is from the evidence, the other times from our clock.

    `degree` is the measure of its kind: greater is worse. `peak_severity` is the most severe since it opened. The other
    fields are what people decided. It is snoozed if `snoozed_at` is set: until a time, until it gets worse than
    `snoozed_degree`, or until whichever is first.
    """

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
    degree: int = 0
    peak_severity: str = "notice"
    acknowledged_at: str | None = None
    acknowledged_by: str | None = None
    assigned_to: str | None = None
    snoozed_at: str | None = None
    snoozed_by: str | None = None
    snoozed_until: str | None = None
    snoozed_until_worse: bool = False
    snoozed_degree: int | None = None


class ExceptionAction(TypedDict):
    """What a person did: the key's or the local user's name, and the note, the assignee or the end of the snooze."""

    action: Action
    by: str
    at: str
    text: str | None


def is_snoozed(row: ExceptionRow, now: datetime) -> bool:
    """Whether an exception is snoozed at this time."""
    if row.snoozed_at is None or row.closed_at is not None:
        return False
    return row.snoozed_until is None or row.snoozed_until > stamp(now)


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
        "acknowledged": is_present("acknowledged_at", "Whether someone has acknowledged it."),
        "assigned_to": replace(equals("assigned_to"), description="Assigned to this person; case does not matter."),
        "snoozed": is_present("snoozed_at", "Whether it is snoozed."),
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
    degree: int = 0


class EvaluationState(ConsumerState, frozen=True, kw_only=True):
    """The progress of evaluation. `version` is that of the rules and their thresholds.

    `is_loud`: exceptions that open and close from now on send notices.
    """

    is_loud: bool


class Exceptions(ListRepository):
    """Reads and writes `exceptions`, `exception_actions`, `exception_checks` and `exception_notices`."""

    family, listing, columns = "exceptions", LISTING, ExceptionRow.__struct_fields__

    def rows(self, page: PageRequest) -> list[ExceptionRow]:
        """One page of exceptions with the evidence decoded; in `page` it is JSON text."""
        return [_row(*(row[name] for name in self.columns)) for row in self.page(page)]

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
        """The open ones of one severity that are not snoozed, the oldest first."""
        return self._all(_row, "of_severity", severity, limit)

    def counts(self) -> list[tuple[str, str, int]]:
        """(kind, severity, how many are open)."""
        return self._run("counts").fetchall()

    def open(self, fresh: ExceptionFields, at: str) -> int:
        """Write a new one; its id."""
        evidence = _encode(fresh.evidence).decode()
        return self._run("open", *fresh[:5], at, evidence, fresh.since, fresh.degree).lastrowid or 0

    def update(self, number: int, fresh: ExceptionFields, at: str, peak_severity: str) -> None:
        """Update one that stays open."""
        evidence = _encode(fresh.evidence).decode()
        values = (fresh.severity, fresh.shipment_id, evidence, fresh.since, at, fresh.degree, peak_severity)
        self._run("update", *values, number)

    def close(self, number: int, at: str) -> None:
        """Close one; that ends its snooze."""
        self._run("close", at, number)

    def acknowledge(self, number: int, at: str | None, by: str | None) -> None:
        """Store who has acknowledged one, and when; None for nobody."""
        self._run("acknowledge", at, by, number)

    def assign(self, number: int, assignee: str | None) -> None:
        """Store who works on one; None for nobody."""
        self._run("assign", assignee, number)

    def snooze(self, number: int, at: str, by: str, until: str | None, *, until_worse: bool) -> None:
        """Snooze one until a time, until it gets worse than it is now, or whichever is first."""
        self._run("snooze", at, by, until, until_worse, number)

    def unsnooze(self, number: int) -> None:
        """End the snooze of one."""
        self._run("unsnooze", number)

    def ended_snoozes(self, now: str, limit: int) -> list[int]:
        """The open ones whose snooze ends at this time or before, in the order of these ends."""
        return self._first_column("ended_snoozes", now, limit)

    def next_snooze_end(self) -> str | None:
        """When the next snooze ends."""
        return self._text("next_snooze_end")

    def add_action(self, number: int, done: ExceptionAction) -> None:
        """Record what a person did."""
        self._run("add_action", number, *done.values())

    def actions(self, number: int) -> list[ExceptionAction]:
        """What people did about one, in order."""
        return self._all(_action, "actions", number)

    def count_actions(self, number: int) -> int:
        """How many actions are recorded of one."""
        return self._count("count_actions", number)

    def delete_closed(self, before: str, limit: int, earliest: str = "") -> int:
        """Delete those that were closed between two times on our clock, the first closed first; how many."""
        self._run("delete_actions", earliest, before, limit)
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

    def due_operations(self, opens_before: str, critical_before: str, limit: int) -> list[int]:
        """Ids of the operations whose exception opens, changes or closes now.

        It opens for one that has been unknown since `opens_before`, and is critical since `critical_before`.
        """
        return self._first_column("due_operations", opens_before, critical_before, limit)

    def unknown_operations(self) -> tuple[str | None, str | None]:
        """Since when the first unknown operation without an exception is unknown; the same without a critical one."""
        return tuple(self._run("unknown_operations").fetchone())

    def schedule(self, resource: str, due: Mapping[Key, str | None]) -> None:
        """Evaluate each of these objects again at its time; never for None."""
        times = [(key, at) for key, at in due.items() if at is not None]
        if times:
            self._run("schedule", resource, json_text(times))
        if len(times) < len(due):
            self._run("unschedule", resource, json_text([key for key, at in due.items() if at is None]))

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

    def value_since(self, resource: str, keys: Sequence[str], field: str, value: str) -> dict[str, str]:
        """Since when a field of these objects has this value, by id, on Flexport's clock; as far as it is known."""
        return dict(self._run("value_since", resource, json_text(keys), field, json_text(value)).fetchall())

    def changed_at(self, keys: Mapping[str, Sequence[str]]) -> str | None:
        """When a date of these objects (ids by resource) last changed, on Flexport's clock."""
        times = [self._text("changed_at", name, json_text(ids)) for name, ids in keys.items() if ids]
        return max(filter(None, times), default=None)


def _action(action: Action, by: str, at: str, text: str | None) -> ExceptionAction:
    return {"action": action, "by": by, "at": at, "text": text}


_EVIDENCE, _UNTIL_WORSE = map(ExceptionRow.__struct_fields__.index, ("evidence", "snoozed_until_worse"))


def _row(*values: Any) -> ExceptionRow:
    converted = list(values)
    converted[_EVIDENCE] = _decode(values[_EVIDENCE])
    converted[_UNTIL_WORSE] = bool(values[_UNTIL_WORSE])
    return ExceptionRow(*converted)
