"""Applying events: their objects become the newest state, with history, in one transaction per batch.

bytes ─ parser.parse_event ─▶ objects ─ merge.merge ─▶ states ─ UnitOfWork.flush ─▶ tables
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import msgspec
import structlog

from flexportd.clock import Clock
from flexportd.core.events.parser import ParsedEvent, ParsedObject, merged_fields, parse_event
from flexportd.core.merge import MergeResult, TieBreaker, contradicts, differs, merge, requested_at
from flexportd.core.resources import shipments
from flexportd.core.resources.itinerary import ROUTE_FIELDS
from flexportd.core.resources.registry import Registry
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import in_local_time
from flexportd.core.schema_drift import SchemaDrift
from flexportd.core.unit_of_work import ChangeCause, UnitOfWork
from flexportd.errors import MalformedError
from flexportd.flexport import json_text
from flexportd.flexport.milestones import milestone, title
from flexportd.outcome import Applied, Coalesced, Dead, Ignored, Outcome
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.events import EventResult, PendingEvent
from flexportd.storage.repositories.items import Item, NewItem
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)
_stdlib_log = logging.getLogger(__name__)

REDELIVERED = "it was received and applied before, and deleted since by [storage] event_retention"
"""Why an event is ignored that retention has deleted: it took effect before."""

OTHER_TYPES = "(other)"
_READ_BATCH = 64  # events whose bytes are in memory at once, however large the batch


class EventSubject(msgspec.Struct, frozen=True, gc=False):
    """The object that an event is about."""

    domain: str
    key: Key
    event_id: str


class _RedeliveredEvent(msgspec.Struct, frozen=True):
    event: PendingEvent
    result: EventResult


FollowUp = Callable[[Sequence[EventSubject], str], list[NewItem]]
"""(subjects of the events, our time) -> follow-up work, queued in the same transaction."""


class WriteSet(NamedTuple):
    """What a transaction wrote: ids by resource name, and the shipments whose events have ended."""

    objects: Mapping[str, AbstractSet[Key]] = {}
    shipments: AbstractSet[int] = frozenset()
    has_follow_ups: bool = False  # whether work was queued that follows from the events


class EventApplier:
    """The queue's handler of the kind `event`."""

    def __init__(self, registry: Registry, clock: Clock, follow_up: FollowUp | None = None) -> None:
        self._registry = registry
        self._clock = clock
        self._follow_up = follow_up

    def __call__(
        self, tx: Transaction, items: Sequence[Item], end_early: Callable[[], bool]
    ) -> tuple[list[tuple[Item, Outcome]], WriteSet]:
        """Apply these events in order until `end_early` returns true: the outcome of each item, and what was written.

        The effects are written to the transaction. An error of an event is raised: the queue rolls back and finds the
        event at fault.
        """
        workspace, drift, at = UnitOfWork(tx), SchemaDrift(), self._clock.stamp()
        done: list[tuple[Item, Outcome]] = []
        results: list[tuple[int, EventResult]] = []
        tally: Counter[tuple[str, str]] = Counter()
        versions: Counter[str] = Counter()
        subjects: list[EventSubject] = []
        for item, found in self._read(tx, items, workspace):
            if done and end_early():
                break
            if isinstance(found, ParsedEvent):
                outcome, result = self._apply_one(
                    workspace, found, ChangeCause(at, found.stored.source, found.stored.id), drift, subjects
                )
                results.append((found.stored.seq, result))
                tally[found.stored.type or "", result.state] += 1
                done.append((item, outcome))
                if found.version is not None:
                    versions[found.version] += 1
            elif isinstance(found, _RedeliveredEvent):
                results.append((found.event.seq, found.result))
                tally[found.event.type or "", found.result.state] += 1
                done.append((item, Ignored(REDELIVERED)))
            else:
                done.append((item, found))
        workspace.flush(at, [seq for seq, _ in results])
        for name, sentence, example in workspace.anomalies:
            drift.report(name, sentence, example)
        drift.write(tx, at)
        tx.events.finish_many(at, results)
        tx.events.count(tally)
        tx.events.count_versions(at, versions)
        follow_ups = self._follow_up(subjects, at) if self._follow_up is not None and subjects else ()
        if follow_ups:
            tx.items.add(at, follow_ups)
        owners = {result.shipment_id for _, result in results if result.shipment_id is not None}
        return done, WriteSet(workspace.written(), owners, bool(follow_ups))

    def on_dead(self, tx: Transaction, item: Item, error: str, at: str) -> None:
        """Record that the event of this item is a dead letter."""
        if item.ref is not None:
            tx.events.finish(at, item.ref, "dead", error)
            tx.events.count({(tx.events.type_of(item.ref) or "", "dead"): 1})

    def _read(
        self, tx: Transaction, items: Sequence[Item], workspace: UnitOfWork
    ) -> Iterator[tuple[Item, "ParsedEvent | _RedeliveredEvent | Outcome"]]:
        """Each item with its event, read in small batches; an event that cannot be parsed has its outcome already."""
        for start in range(0, len(items), _READ_BATCH):
            some = items[start : start + _READ_BATCH]
            kept = tx.events.to_apply([item.ref for item in some if item.ref is not None])
            old = tx.events.deleted_ids([event.id for event in kept.values()])
            found = [(item, self._parse(kept.get(item.ref or 0), old)) for item in some]
            self._prefetch(workspace, found)
            yield from found

    def _parse(self, event: PendingEvent | None, forgotten: set[str]) -> "ParsedEvent | _RedeliveredEvent | Outcome":
        if event is None:
            return Ignored("the event is no longer stored")
        if event.id in forgotten:
            return _redelivered(self._registry, event)
        try:
            return parse_event(self._registry, event)
        except MalformedError as error:
            return Dead(str(error))

    def _prefetch(
        self, workspace: UnitOfWork, parsed_items: "list[tuple[Item, ParsedEvent | _RedeliveredEvent | Outcome]]"
    ) -> None:
        wanted: dict[str, list[Key]] = {}
        for _, event in parsed_items:
            if isinstance(event, ParsedEvent):
                for found in event.objects:
                    wanted.setdefault(found.domain.name, []).append(found.snapshot.id)
        for name, ids in wanted.items():
            workspace.prefetch(self._registry[name], ids)
        new = [
            number
            for number in dict.fromkeys(wanted.get(shipments.RESOURCE_TYPE.name, ()))
            if isinstance(number, int) and workspace.get(shipments.RESOURCE_TYPE, number) is None
        ]
        workspace.prefetch_shipment_records(new)
        workspace.prefetch_bookings((number, None) for number in new)

    def _apply_one(
        self,
        workspace: UnitOfWork,
        event: ParsedEvent,
        cause: ChangeCause,
        drift: SchemaDrift,
        subjects: list[EventSubject],
    ) -> tuple[Outcome, EventResult]:
        """Apply one event; objects to fetch afterwards are added to `subjects`."""
        kept = event.stored
        drift.source = kept.source
        news, problems, known = self._merge(workspace, event, cause, drift, subjects)
        drift.inspect_event(kept.type, kept.body, event.resource)
        left = [
            f"{event.resource} {event.resource_id} was left as it is: {why}" for why in known if why != NEWER_STORED
        ]
        notes = "; ".join([*event.notes, *problems, *(left if news else ())])[:1000]
        outcome = _outcome(event, notes, None if news else next(iter(known), NEWER_STORED))
        if _stdlib_log.isEnabledFor(logging.DEBUG):  # a line that is not logged must cost nothing
            self._log(event, outcome)
        return outcome, EventResult(
            _STATES[type(outcome)], getattr(outcome, "reason", None) or notes or None, event.created_at,
            event.occurred_at, event.resource, event.resource_id, event.shipment_id,
        )  # fmt: skip

    @staticmethod
    def _log(event: ParsedEvent, outcome: Outcome) -> None:
        log.debug(
            "event_applied", event_id=event.stored.id, event_type=event.stored.type, resource=event.resource,
            resource_id=event.resource_id, shipment_id=event.shipment_id, outcome=_STATES[type(outcome)],
        )  # fmt: skip

    def _merge(
        self,
        workspace: UnitOfWork,
        event: ParsedEvent,
        cause: ChangeCause,
        drift: SchemaDrift,
        subjects: list[EventSubject],
    ) -> tuple[bool, list[str], list[str]]:
        """Whether the event brought anything new, notes on what was left out, and why its subject is unchanged."""
        news, notes, known, owner = False, list[str](), list[str](), event.shipment_id
        routes: set[int] = set()
        for found in event.objects:
            current = workspace.get(found.domain, found.snapshot.id)
            floor = "" if found.snapshot.is_stamped else workspace.confirmed_at(found.domain)
            merged = merge(current, found.snapshot, floor)
            if found.part.is_resource or _needs_fetch(found, current, is_news=merged is not None):
                subjects.append(EventSubject(found.domain.name, found.snapshot.id, event.stored.id))
            if merged is None:
                known += _stale_reasons(found, current)
                continue
            wrong = _json_problem(found, merged, drift)
            if wrong is not None:
                if found.part.is_resource:
                    raise MalformedError(wrong)
                notes.append(f"left out: {wrong}")
                continue
            news = True
            fields, faults = merged_fields(found, current, merged)
            if faults:
                drift.report_faults(found.domain.object_name, faults, found.part.fields)
                notes += faults
            drift.report_implausible(found.domain.object_name, found.domain.table, fields)
            add_derived_fields(workspace, (found.domain, found.snapshot.id), fields, current, owner)
            record = Record(
                found.snapshot.id, fields, merged.raw, merged.as_of, merged.seq, cause.source, cause.at,
                current.first_seen_at if current else cause.at,
                None if merged.is_newer or current is None else current.removed_at,
                merged.older, tie_breaker=merged.tie_breaker,
            )  # fmt: skip
            moved = workspace.put(found.domain, record, cause, wire=merged.changed)
            if moved and fields.get("shipment_id") is not None:
                routes.add(fields["shipment_id"])
        for shipment in routes:
            workspace.refresh_route(shipment, cause)
        return news, notes, known


def _json_problem(found: ParsedObject, merged: MergeResult, drift: SchemaDrift) -> str | None:
    """Why the new data of an object cannot be stored: some JSON readers would reject it."""
    name = found.domain.object_name
    texts: Sequence[bytes | msgspec.Raw]
    if merged.changed is None:
        texts = [] if drift.inspect(name, found.part.text, found.part.fields) else [found.part.text]
    else:
        texts = drift.inspect_changed(name, merged.changed)
    wrong = next((problem for text in texts if (problem := json_text.problem(text)) is not None), None)
    name = f"{found.part.object_name} {found.snapshot.id}"
    return None if wrong is None else f"{name} is not JSON for every reader: {wrong}"


def add_derived_fields(
    workspace: UnitOfWork,
    named: tuple[ResourceType, Key],
    fields: dict[str, Any],
    current: Record | None,
    owner: int | None,
) -> None:
    """Add the derived fields: those of the route, and the shipment of an object that does not name one."""
    domain, key = named
    if domain is shipments.RESOURCE_TYPE:
        if len(fields) < len(domain.table.names):  # else they are those of before, with what changed
            route = current.fields if current else workspace.route_of(int(key), fields)
            fields.update({name: route[name] for name in (domain.derived if current else ROUTE_FIELDS)})
        if current is None or shipments.own_dates(fields) != shipments.own_dates(current.fields):
            fields.update(shipments.best_known(fields))
        return
    if domain.derived:
        fields.update({name: current.fields[name] if current else None for name in domain.derived})
    fields.update(in_local_time(domain.table, fields))
    if "shipment_id" in fields and fields["shipment_id"] is None and not fields.get("shipment_ids"):
        known = current.fields if current else {}
        found = known.get("shipment_id") or owner or workspace.owner_of(domain, fields)
        fields["shipment_id"] = found
        if "shipment_ids" in fields:
            fields["shipment_ids"] = known.get("shipment_ids") or (None if found is None else f"[{found}]")


def _redelivered(registry: Registry, event: PendingEvent) -> _RedeliveredEvent:
    """The result of a redelivered event, with its subject if it can be parsed."""
    try:
        read = parse_event(registry, event)
    except MalformedError:
        return _RedeliveredEvent(event, EventResult("ignored", REDELIVERED))
    about = (read.created_at, read.occurred_at, read.resource, read.resource_id, read.shipment_id)
    return _RedeliveredEvent(event, EventResult("ignored", REDELIVERED, *about))


def event_title(event_type: str | None) -> str:
    """The title of an event of this type, for API and pages; only core imports the catalogue of milestones."""
    return title(event_type) if event_type else "Not an event"


def is_known_type(event_type: str | None) -> bool:
    """Whether the catalogue of milestones has this type."""
    return milestone(event_type) is not None


def by_milestone(counts: Iterable[tuple[str, str, int]]) -> Mapping[tuple[str, str], int]:
    """Counts of (type, state) by the type of the milestone catalogue; all types outside it count as `(other)`.

    Senders choose the names of types, so there can be any number of them, and the prefix of a documented type varies.
    """
    sums: Counter[tuple[str, str]] = Counter()
    for event_type, state, count in counts:
        known = milestone(event_type)
        sums[OTHER_TYPES if known is None else known.type, state] += count
    return sums


def _needs_fetch(found: ParsedObject, current: Record | None, *, is_news: bool) -> bool:
    """Whether an object must be fetched that is not the subject of the event: its state is in doubt."""
    if current is not None and current.as_of == found.snapshot.as_of and contradicts(current, found.snapshot):
        return True
    if current is not None and not is_news and _is_undated_response(found, current):
        return differs(current, found.snapshot)
    # Without its own timestamp a snapshot may be of any age; a link has no data at all.
    return not found.snapshot.is_stamped and is_news and (found.domain.has_timestamp or not found.snapshot.as_of)


def _is_undated_response(found: ParsedObject, current: Record) -> bool:
    """Whether the stored state is a response without a timestamp, and the event's snapshot has one."""
    stamped = TieBreaker.parse(current.tie_breaker).is_stamped
    return found.domain.has_timestamp and found.snapshot.is_stamped and current.digest is not None and not stamped


NEWER_STORED = "a newer state was already stored"


def _stale_reasons(found: ParsedObject, current: Record | None) -> list[str]:
    """Why a snapshot of the event's subject changed nothing; empty for other objects."""
    if not found.part.is_resource or current is None:
        return []
    if _is_undated_response(found, current):
        return [
            "the stored response does not say when the object changed, so it counts until the object is fetched again"
        ]
    is_before = current.digest is not None and found.snapshot.as_of <= requested_at(current)
    if is_before and not found.snapshot.is_stamped:
        return ["the stored response was requested after Flexport recorded this event"]
    return [NEWER_STORED]


_STATES: dict[type[Outcome], str] = {Applied: "applied", Coalesced: "coalesced", Ignored: "ignored"}


def _outcome(event: ParsedEvent, notes: str, known: str | None) -> Applied | Coalesced | Ignored:
    """`known` is why the event brought nothing new; None if it did."""
    if not event.objects:
        return Ignored(notes or "it has no data")
    return Applied() if known is None else Coalesced(known)
