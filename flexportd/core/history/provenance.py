"""Provenance: what set each field of an object, what became of an event, and both as sentences."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec

from flexportd.core.events.applier import NEWER_STORED, event_title
from flexportd.core.labels import field_label, format_minute, value_label
from flexportd.core.resources.registry import Registry
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import not_found
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.audiences import FROM_BEGINNING, MembershipStart
from flexportd.storage.repositories.changes import ChangeWithEvent
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

MAX_STEPS = 100
_MAX_FIELDS_PER_CAUSE = 75  # about the most fields that one cause changes
_MAX_CHANGES = 2000  # changes of one event that are read

Json = msgspec.Raw | None


class FieldProvenance(msgspec.Struct, frozen=True):
    """What set a field, and the previous value."""

    since: str  # on our clock
    as_of: str | None
    source: str
    event_id: str | None
    event_type: str | None
    title: str | None
    run_id: str | None
    before: Json


class FieldChange(msgspec.Struct, frozen=True):
    """A changed field."""

    field: str
    text: str
    old: Json
    new: Json


class TraceStep(msgspec.Struct, frozen=True):
    """One step in a chain of causes: what happened and when (daemon clock), and the changed fields.

    `kind` is `received`, `failed`, `waits`, `applied`, `coalesced`, `ignored`, `dead`, `changed` or `followed`.
    """

    at: str
    kind: str
    text: str
    resource: str | None = None
    resource_id: str | None = None
    source: str | None = None
    as_of: str | None = None
    event_id: str | None = None
    event_type: str | None = None
    title: str | None = None
    run_id: str | None = None
    changes: list[FieldChange] = []


def field_provenance(
    tx: Transaction, domain: ResourceType, record: Record, start: MembershipStart = FROM_BEGINNING
) -> dict[str, FieldProvenance | None]:
    """The provenance of every field with a value or a history; None where it is no longer stored.

    Changes that `start` hides are left out: the object belongs to the audience only since then.
    """
    newest = {
        change.field: change for change in tx.changes.newest(domain.name, str(record.id)) if not start.hides(change)
    }
    creation = newest.get("id")
    found: dict[str, FieldProvenance | None] = {}
    for name in (*domain.table.names, "removed_at"):
        if name in newest:
            found[name] = _provenance(newest[name])
        elif record.fields.get(name) is not None:
            found[name] = None if creation is None else _provenance(creation)
    return found


def _provenance(change: ChangeWithEvent) -> FieldProvenance:
    return FieldProvenance(
        change.changed_at, change.as_of or None, change.source, change.event_id, change.event_type,
        _title(change), _run(change),
        _json(change.old),
    )  # fmt: skip


def trace_object(
    tx: Transaction, domain: ResourceType, key: Key, limit: int, before: int | None = None
) -> tuple[list[TraceStep], int | None]:
    """The changes of an object, newest first, one step per cause; and the change before which there are more.

    Raises NotFoundError for an unknown object.
    """
    if not tx.resources.content_hashes(domain.table, (key,)):
        raise not_found(domain.label, key)
    most = limit * _MAX_FIELDS_PER_CAUSE
    rows = tx.changes.of_object((domain.name, str(key)), most, before)
    groups = _group_by_cause(rows)
    shown = groups[:limit]
    if len(groups) == len(shown) > 1 and len(rows) == most:
        shown = shown[:-1]  # it may be incomplete
    more = len(groups) > len(shown) or len(rows) == most
    return [_change_step(domain, group) for group in shown], (shown[-1][-1].id if more and shown else None)


def trace_event(tx: Transaction, registry: Registry, event_id: str) -> tuple[Mapping[str, Any], list[TraceStep]]:
    """An event's row, and what happened to it, oldest first. Raises NotFoundError."""
    row = tx.events.by_id(event_id)
    if row is None:
        raise not_found("event", event_id)
    steps = [_received_step(row)]
    item = tx.items.of_event(row["seq"])
    if item is not None:
        steps += [
            TraceStep(attempt["at"], "failed", f"attempt {attempt['attempt']} failed: {attempt['error']}")
            for attempt in tx.items.attempts(item[0])
        ]
    changes = tx.changes.of_event(event_id, _MAX_CHANGES)
    steps.append(_outcome_step(tx, registry, row, changes, dead=item[0] if item and item[1] == "dead" else None))
    domains = {domain.name: domain for domain in registry}
    for group in _group_by_cause(changes):
        domain = domains.get(group[0].resource)
        if domain is not None:
            steps.append(_change_step(domain, group, of_event=True))
    steps += _later_fetch(tx, registry, row)
    return row, steps


def _received_step(row: Mapping[str, Any]) -> TraceStep:
    what = f"event {row['id']} ({event_title(row['type'])})"
    if row["source"] == "webhook":
        how = f"{what} arrived by webhook with a valid signature and was stored"
    else:
        how = f"{what} was recovered by polling; no webhook had delivered it"
    recorded = f"; Flexport recorded it at {format_minute(row['created_at'])}" if row["created_at"] else ""
    return TraceStep(row["received_at"], "received", how + recorded)


def _outcome_step(
    tx: Transaction, registry: Registry, row: Mapping[str, Any], changes: Sequence[ChangeWithEvent], *, dead: int | None
) -> TraceStep:
    state, reason = row["state"], row["reason"]
    since = tx.changes.history_start()
    words = {
        "ready": "waiting to be applied",
        "applied": "applied",
        "coalesced": f"superseded: {reason or NEWER_STORED}",
        "ignored": f"ignored: {reason}",
        "dead": f"failed permanently (dead letter {dead}): {reason}",
    }[state]
    if state == "applied" and not changes:
        forgotten = since is not None and row["ended_at"] < since
        words += "; the changes are no longer stored" if forgotten else "; no stored field changed"
    if state == "applied" and reason:
        words += f" ({reason})"
    if state == "coalesced" and reason in (NEWER_STORED, None):
        words += _newer_state(tx, registry, row)
    return TraceStep(row["ended_at"] or row["received_at"], "waits" if state == "ready" else state, words)


def _newer_state(tx: Transaction, registry: Registry, row: Mapping[str, Any]) -> str:
    domain = registry.of_object(row["resource"] or "")
    if domain is None or row["resource_id"] is None:
        return ""
    last = tx.changes.last_before(domain.name, row["resource_id"], row["ended_at"])
    if last is None or last.as_of < (row["created_at"] or ""):
        return ""
    return f", as of {format_minute(last.as_of)}, from {_source_text(last)} at {format_minute(last.changed_at)}"


def _later_fetch(tx: Transaction, registry: Registry, row: Mapping[str, Any]) -> Iterable[TraceStep]:
    domain = registry.of_object(row["resource"] or "")
    key = domain.parse_id(row["resource_id"]) if domain is not None and row["resource_id"] else None
    if domain is None or key is None or row["state"] not in ("applied", "coalesced"):
        return
    record = tx.resources.load(domain.table, (key,)).get(key)
    if record is not None and record.digest is not None and record.synced_at > row["ended_at"]:
        yield TraceStep(
            record.synced_at, "followed",
            f"the complete {domain.label} {key} was fetched from Flexport; it is the state shown since then",
            resource=domain.name, resource_id=str(key), source=record.source, as_of=record.as_of or None,
        )  # fmt: skip


def _group_by_cause(rows: Iterable[ChangeWithEvent]) -> list[list[ChangeWithEvent]]:
    of_cause = attrgetter("resource", "resource_id", "changed_at", "source", "event_id", "run_id")
    return [list(group) for _, group in groupby(rows, key=of_cause)]


def _change_step(domain: ResourceType, group: Sequence[ChangeWithEvent], *, of_event: bool = False) -> TraceStep:
    change = group[0]
    ordered = sorted(group, key=lambda change: change.id)
    found = change.source == "sync"
    subject = f"{domain.label} {change.resource_id}"
    new = ordered[0].field == "id"
    moves = _change_text(domain, ordered[1:] if new else ordered, found=found)
    if found:
        what = ": ".join(filter(None, ("a new object" if new else "", moves)))
        text = f"{_source_text(change)} found {what}" + ("" if change.event_id else " (no event reported it)")
    else:
        first = "created" if new else ""
        text = " and ".join(filter(None, (first, f"set {moves}" if moves else "")))
        text = text if of_event else f"{_arrival_text(change)}: {text}"
    if of_event:
        text = f"{subject}: {text}"
    return TraceStep(
        change.changed_at, "followed" if of_event and found else "changed", text,
        domain.name, change.resource_id, change.source, change.as_of or None, change.event_id, change.event_type,
        _title(change), _run(change),
        [FieldChange(c.field, field_label(c.field), _json(c.old), _json(c.new)) for c in ordered],
    )  # fmt: skip


def _change_text(domain: ResourceType, changes: Iterable[ChangeWithEvent], *, found: bool) -> str:
    """`status to departed (was waiting), vessel to EXAMPLE STAR`."""
    parts = []
    for change in changes:
        if change.field == "removed_at":
            state = "deleted at Flexport" if change.new else "restored at Flexport"
            parts.append(f"it was {state}" if found else f"it as {state}")
        else:
            new = value_label(domain.table, change.field, change.new)
            was = f" (was {value_label(domain.table, change.field, change.old)})" if change.old is not None else ""
            parts.append(f"{field_label(change.field)} {'' if found else 'to '}{new}{was}")
    return ", ".join(parts)


def _source_text(change: ChangeWithEvent) -> str:
    if change.source == "write":
        return "a write by flexportd"
    if change.source != "sync":
        return _event_text(change)
    if change.run_id is not None:
        return f"sync run {change.run_id}"
    return f"the fetch after {_event_text(change)}" if change.event_id else "a fetch from Flexport"


def _arrival_text(change: ChangeWithEvent) -> str:
    if change.source == "write":
        return "flexportd wrote to Flexport"
    if change.received_at is None:
        return f"{_event_text(change)} (no longer stored) reported it"
    if change.event_source == "webhook":
        return f"{_event_text(change)} arrived by webhook with a valid signature at {format_minute(change.received_at)}"
    return f"{_event_text(change)} was recovered by polling; no webhook had delivered it"


def _event_text(change: ChangeWithEvent) -> str:
    title = _title(change)
    return f"event {change.event_id}" + (f" ({title})" if title else "")


def _title(change: ChangeWithEvent) -> str | None:
    return event_title(change.event_type) if change.event_type else None


def _run(change: ChangeWithEvent) -> str | None:
    return None if change.run_id is None else str(change.run_id)


def _json(text: str | None) -> Json:
    return None if text is None else msgspec.Raw(text.encode())
