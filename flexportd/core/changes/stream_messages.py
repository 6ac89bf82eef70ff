"""Stream messages: what subscribers receive of an entry of the change log, the same for all of them and at any time.

Each row of the history belongs to one object and one cause (an event, a sync run). What one cause did to one object is
one message, followed by the messages derived from it (`topics.FIELD_TOPICS`). Then come the states that were written
without history, then the finished events, then the notices.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NotRequired, TypedDict

import msgspec
import structlog

from flexportd.core.changes.consumer import DATA_ERRORS
from flexportd.core.changes.topics import FIELD_TOPICS, Patterns, TopicNeeds, milestone_topic, topic_prefix
from flexportd.core.resources.registry import Registry
from flexportd.flexport.milestones import title
from flexportd.storage.change_log import FinishedEvent, HistoryRow, JournalEntry
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.resources import ObjectState
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

MAX_VALUE_LENGTH = 16 << 10  # characters of a value in a message
MAX_MESSAGE_LENGTH = 64 << 10  # characters of all values of a message together
END = 2**31 - 1
_ENTRY_BATCH = 32  # entries in one query
_MAX_MESSAGES = 500  # messages, and entries, of one batch
_MAX_BYTES = 4 << 20  # bytes of one batch
_PUBLISHED_STATES = frozenset({"applied", "coalesced"})  # a milestone counts even if a newer state was stored before

_CONTEXT: Mapping[tuple[str, str], frozenset[str]] = {
    (derived.resource, name): frozenset().union(
        *(
            {*other.fields, *other.context}
            for other in FIELD_TOPICS
            if other.resource == derived.resource and name in other.fields and len({*other.fields, *other.context}) > 1
        )
    )
    for derived in FIELD_TOPICS
    for name in derived.fields
}
"""(resource, changed field) -> the fields that its topics look at."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class StreamChange(TypedDict):
    """A changed field. `omitted`: its values are too long for a message; read the object instead."""

    field: str
    old: Any
    new: Any
    omitted: NotRequired[bool]


class StreamMessage(TypedDict):
    """The `data` of a stream event. `at` is on the daemon's clock, `as_of` on Flexport's.

    `days_later` is present with `shipment.eta_changed`; `type`, `title` and `occurred_at` with milestones; `kind` and
    `detail` with `system.*`, `dead_letter_id`, `link` (where the API shows it) and `state` with one of them, `since`
    with the conditions of the daemon (when the fault began; `kind` is the condition, also when it ended), `channel`
    with `system.channel_failed` and its `system.recovered`; the amounts
    (decimal text, `difference` is null between two currencies) with `invoice.total_changed`;
    `exception_id`, `kind`, `severity` and `evidence` with `exception.*`, `evidence` also with `invoice.due` and
    `invoice.overdue`; `only_for_snooze` with `exception.worsened` if the severity is the same, and only a snooze ended;
    `operation_id`, `state`, `kind`, `title`, `detail` (the error), `created_by` and `needs_decision` with
    `operation.*`, `applied` if a pending amendment was applied.
    """

    id: str
    topic: str
    at: str
    as_of: str | None
    resource: str | None
    resource_id: str | None
    shipment_id: int | None
    source: str | None
    event_id: str | None
    run_id: str | None
    changes: list[StreamChange]
    days_later: NotRequired[int | None]
    type: NotRequired[str | None]
    title: NotRequired[str]
    occurred_at: NotRequired[str | None]
    kind: NotRequired[str]
    detail: NotRequired[str]
    dead_letter_id: NotRequired[str]
    link: NotRequired[str]
    channel: NotRequired[str]
    state: NotRequired[str]
    since: NotRequired[str]
    old_total: NotRequired[str | None]
    new_total: NotRequired[str | None]
    old_currency: NotRequired[str | None]
    currency: NotRequired[str | None]
    difference: NotRequired[str | None]
    exception_id: NotRequired[str]
    severity: NotRequired[str]
    only_for_snooze: NotRequired[bool]
    evidence: NotRequired[dict[str, Any]]
    operation_id: NotRequired[str]
    created_by: NotRequired[str]
    needs_decision: NotRequired[bool]
    applied: NotRequired[bool]


POSITION_PATTERN = "[0-9]{1,18}(-[0-9]{1,18})?([.][0-9a-f]{12})?"
"""A position as text. Only 0, the beginning, has no mark."""

_POSITION = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?(?:[.]([0-9a-f]{12}))?")


class StreamPosition(NamedTuple):
    """A position in the order of all messages: after message `number` of an entry; `END`: after all of them.

    `mark` is that of the entry (of the next one, if it is no longer stored). It distinguishes the position from the
    same number in another database, or in this one before a restore. The beginning has the mark of the store; `0`
    without a mark is the beginning of any store.
    """

    entry: int
    number: int = END
    mark: str = ""

    @property
    def text(self) -> str:
        """The text for clients, `1234-5.9f86d081884c`; `1234.9f86d081884c` for the end of an entry."""
        number = "" if self.number == END else f"-{self.number}"
        return f"{self.entry}{number}{self.mark and f'.{self.mark}'}"


UNKNOWN_POSITION = StreamPosition(END)
"""A position that no history has issued."""


def parse_position(text: str) -> StreamPosition | None:
    """Parse a position from a client; None for an invalid one."""
    found = _POSITION.fullmatch(text)
    if found is None:
        return None
    entry, number, mark = found.groups()
    return StreamPosition(int(entry), END if number is None else min(int(number), END), mark or "")


def _is_lost(first: int, after: StreamPosition) -> bool:
    return first > after.entry + (after.number == END)


def newest_position(tx: Transaction) -> StreamPosition:
    """The position after all messages so far."""
    last = tx.journal.last()
    return StreamPosition(last, END, tx.journal.origin(last))


def is_foreign(tx: Transaction, place: StreamPosition) -> bool:
    """Whether a position is from another database, or from this one before a restore.

    A position with lost messages is left to `read_messages`, which reports it.
    """
    if place.entry == 0:
        return place.mark not in ("", tx.journal.store_id())
    if _is_lost(tx.journal.first(), place):
        return False
    return place.entry > tx.journal.last() or tx.journal.origin(place.entry) != place.mark


class EncodedMessage(msgspec.Struct, frozen=True, gc=False):
    """One message: what routing needs, and its JSON in one line."""

    position: StreamPosition
    topic: str
    resource: str | None
    shipment_id: int | None
    data: bytes
    history: tuple[int, int] = (0, 0)
    """The last row of the history before the commit, and at its end."""


@dataclass(frozen=True)
class EntryContext:
    """The data that an entry refers to; `objects` by resource and id as text.

    `values` are fields that topics need and that did not change, as they were after the entry (JSON text).
    `history` are the last row of the history before the entry, and at its end.
    """

    changes: Sequence[HistoryRow] = ()
    events: Mapping[int, FinishedEvent] = field(default_factory=dict)
    objects: Mapping[tuple[str, str], ObjectState] = field(default_factory=dict)
    values: Mapping[tuple[str, str, str], str | None] = field(default_factory=dict)
    history: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class MessageBatch:
    """Messages in order, and the position after them.

    `more`: more can be read already. `lost`: what was before `position` is no longer stored.
    """

    messages: Sequence[EncodedMessage]
    position: StreamPosition
    more: bool = False
    lost: bool = False


MessageFields = dict[str, Any]

_NO_FIELDS: MessageFields = {
    "as_of": None, "resource": None, "resource_id": None, "shipment_id": None, "source": None, "event_id": None,
    "run_id": None, "changes": (),
}  # fmt: skip


def messages_of(registry: Registry, entry: JournalEntry, known: EntryContext) -> Iterator[EncodedMessage | None]:
    """The messages of an entry; None in the place of an unpublished one, so that the numbers of others stay."""
    documents = _entry_messages(registry, entry, known)
    for number, (topic, document) in enumerate(documents):
        if topic is None:
            yield None
            continue
        place = StreamPosition(entry.id, number, entry.mark)
        whole = {"id": place.text, "topic": topic, "at": entry.at, **_NO_FIELDS, **document}
        data = _encode(whole).replace(b"\n", b" ")
        yield EncodedMessage(place, topic, whole["resource"], whole["shipment_id"], data, known.history)


def matching_messages(
    tx: Transaction, registry: Registry, entry: JournalEntry, patterns: Patterns, needs: TopicNeeds
) -> list[MessageFields]:
    """The messages of an entry whose topics match, decoded and without an id; only what these need is read.

    Messages of a resource have all of its changes only if its `updated` topic matches; otherwise those that matching
    topics follow from.
    """
    found: list[MessageFields] = []
    if any(patterns.match(notice["topic"]) for notice in entry.notices):
        found += [{"topic": notice["topic"], **_notice(notice)} for notice in entry.notices]
    relevant = {
        name: [one for one in entry.states.get(name, ()) if fields is None or one.concerns(fields)]
        for name, fields in needs.fields.items()
    }
    rows: list[HistoryRow] = []
    if entry.changes is not None and any(relevant.values()):
        names = None if None in needs.fields.values() else sorted(set().union(*filter(None, needs.fields.values())))
        rows = [
            row
            for row in tx.journal.history_rows(entry, names)
            if row.resource in needs.fields and ((fields := needs.fields[row.resource]) is None or row.field in fields)
        ]
    events = tx.journal.finished_events(entry.events) if needs.milestones and entry.events else {}
    if rows or events or None in needs.fields.values():
        states = {name: relevant[name] for name, fields in needs.fields.items() if fields is None and relevant[name]}
        reduced = msgspec.structs.replace(entry, states=states, events=list(events), notices=())
        values = _context_values(tx, registry, rows, entry.changes[1]) if entry.changes else {}
        known = EntryContext(rows, events, _object_states(tx, registry, reduced, rows), values)
        found += [
            {"topic": topic, **document} for topic, document in _entry_messages(registry, reduced, known) if topic
        ]
    return [
        _decode(_encode({**_NO_FIELDS, "at": entry.at, **document})) for document in found
        if patterns.match(document["topic"])
    ]  # fmt: skip


def _entry_messages(
    registry: Registry, entry: JournalEntry, known: EntryContext
) -> Iterator[tuple[str | None, MessageFields]]:
    groups: dict[tuple[Any, ...], list[HistoryRow]] = {}
    by_object: dict[tuple[str, str], list[HistoryRow]] = {}
    for row in known.changes:
        groups.setdefault((row.resource, row.resource_id, row.source, row.event_id, row.run_id), []).append(row)
        by_object.setdefault((row.resource, row.resource_id), []).append(row)
    for rows in groups.values():
        yield from _object_messages(rows, known, by_object[rows[0].resource, rows[0].resource_id])
    moved = {(row.resource, row.resource_id) for row in known.changes}
    for resource, states in entry.states.items():
        for one in states:
            # A new object without changes is known only by its id: there is nothing to report yet.
            if (resource, str(one.key)) not in moved and one.as_of is not None:
                yield f"{topic_prefix(resource)}.updated", _object_fields(resource, str(one.key), known)
    for seq in entry.events:
        yield _event_message(registry, known.events[seq])
    for notice in entry.notices:
        yield notice["topic"], _notice(notice)


def _notice(notice: Mapping[str, Any]) -> MessageFields:
    """A notice as recorded; one of a dead letter gets a link to it."""
    found = {name: value for name, value in notice.items() if name not in ("id", "topic", "at")}
    letter = found.get("dead_letter_id")
    return found if letter is None else {**found, "link": f"/api/v1/dead-letters/{letter}"}


def _object_fields(resource: str, key: str, known: EntryContext) -> MessageFields:
    where = known.objects.get((resource, key))
    found = {"shipment_id": where.shipment_id, "as_of": where.as_of or None, "source": where.source} if where else {}
    return {"resource": resource, "resource_id": key, **found}


def _object_messages(
    rows: Sequence[HistoryRow], known: EntryContext, of_object: Sequence[HistoryRow]
) -> Iterator[tuple[str, MessageFields]]:
    """The messages of one cause; `of_object` are the rows of all causes of the entry."""
    last = rows[-1]
    fields: dict[str, tuple[str | None, str | None]] = {}
    for row in rows:
        fields[row.field] = (fields[row.field][0] if row.field in fields else row.old, row.new)
    document = {
        **_object_fields(last.resource, last.resource_id, known),
        "as_of": last.as_of or None,
        "source": last.source,
        "event_id": last.event_id,
        "run_id": None if last.run_id is None else str(last.run_id),
    }
    one, is_new = topic_prefix(last.resource), "id" in fields
    is_gone = fields.get("removed_at", (None, None))[1] is not None
    if is_new or not is_gone:
        yield f"{one}.{'created' if is_new else 'updated'}", {**document, "changes": _changes(fields)}
    if is_gone:
        yield f"{one}.removed", {**document, "changes": _changes(fields)}
    for derived in FIELD_TOPICS:
        own = {name: fields[name] for name in derived.fields if name in fields}
        if derived.resource != last.resource or not own:
            continue
        values: dict[str, tuple[Any, Any]] = {}
        for name in (*derived.fields, *derived.context):
            pair = fields.get(name) or (_value_after(last, name, known, of_object),) * 2
            values[name] = _decoded(pair[0]), _decoded(pair[1])
        if derived.condition(values):
            yield derived.topic.name, {**document, "changes": _changes(own), **derived.details(values)}


def _decoded(value: str | None) -> Any:
    return None if value is None else _decode(value)


def _value_after(last: HistoryRow, name: str, known: EntryContext, of_object: Sequence[HistoryRow]) -> str | None:
    """A field after a row of the history, by what changed it later, in this entry or in another."""
    is_later = False
    for row in of_object:
        if is_later and row.field == name:
            return row.old
        is_later = is_later or row is last
    return known.values.get((last.resource, last.resource_id, name))


def _changes(fields: Mapping[str, tuple[str | None, str | None]]) -> list[MessageFields]:
    found, room = list[MessageFields](), MAX_MESSAGE_LENGTH
    for name, values in fields.items():
        sizes = [len(value) if value else 0 for value in values]
        if max(sizes) > MAX_VALUE_LENGTH or sum(sizes) > room:
            found.append({"field": name, "old": None, "new": None, "omitted": True})
            continue
        room -= sum(sizes)
        old, new = (None if value is None else msgspec.Raw(value.encode()) for value in values)
        found.append({"field": name, "old": old, "new": new})
    return found


def _event_message(registry: Registry, event: FinishedEvent) -> tuple[str | None, MessageFields]:
    if event.state not in _PUBLISHED_STATES or event.type is None:
        return None, {}
    domain = registry.of_object(event.resource or "")
    return milestone_topic(event.type), {
        "as_of": event.created_at,
        "resource": domain.name if domain else None,
        "resource_id": event.resource_id,
        "shipment_id": event.shipment_id,
        "source": event.source,
        "event_id": event.id,
        "type": event.type,
        "title": title(event.type),
        "occurred_at": event.occurred_at,
    }


def read_messages(tx: Transaction, registry: Registry, after: StreamPosition) -> MessageBatch:
    """Some of the messages after a position, in one snapshot.

    An entry whose history or events are no longer stored, or that cannot be encoded, counts as lost.
    """
    first = tx.journal.first()
    if _is_lost(first, after):
        return MessageBatch((), StreamPosition(first - 1, END, tx.journal.origin(first)), more=True, lost=True)
    batch: list[EncodedMessage] = []
    place, size = after, 0
    for _ in range(0, _MAX_MESSAGES, _ENTRY_BATCH):
        entries = tx.journal.after(place.entry - (place.number != END), _ENTRY_BATCH)
        for entry in entries:
            messages = _messages(tx, registry, entry)
            if messages is None:
                if batch:
                    return MessageBatch(batch, place, more=True)
                return MessageBatch((), StreamPosition(entry.id, END, entry.mark), more=True, lost=True)
            for message in messages:
                if message is None or message.position <= after:
                    continue
                batch.append(message)
                size += len(message.data)
                if len(batch) >= _MAX_MESSAGES or size >= _MAX_BYTES:
                    return MessageBatch(batch, message.position, more=True)
            place = StreamPosition(entry.id, END, entry.mark)
        if len(entries) < _ENTRY_BATCH:
            return MessageBatch(batch, place)
    return MessageBatch(batch, place, more=True)


def _messages(tx: Transaction, registry: Registry, entry: JournalEntry) -> Sequence[EncodedMessage | None] | None:
    """The messages of an entry; None if some of it is no longer stored, or cannot be encoded."""
    try:
        known = _entry_context(tx, registry, entry)
        return None if known is None else list(messages_of(registry, entry, known))
    except DATA_ERRORS:
        log.exception("stream_entry_skipped", entry_id=entry.id)
        return None


def _entry_context(tx: Transaction, registry: Registry, entry: JournalEntry) -> EntryContext | None:
    """What the messages of an entry need; None if some of it is no longer stored."""
    moved, happened = tx.journal.history_rows(entry), tx.journal.finished_events(entry.events)
    written = 0 if entry.changes is None else entry.changes[1] - entry.changes[0] + 1
    if len(moved) < written or len(happened) < len(set(entry.events)):
        return None
    objects = _object_states(tx, registry, entry, moved)
    if entry.changes is None:
        before = tx.journal.history_before(entry.id)
        return EntryContext(moved, happened, objects, history=(before, before))
    values = _context_values(tx, registry, moved, entry.changes[1])
    return EntryContext(moved, happened, objects, values, (entry.changes[0] - 1, entry.changes[1]))


def _object_states(
    tx: Transaction, registry: Registry, entry: JournalEntry, moved: Sequence[HistoryRow]
) -> dict[tuple[str, str], ObjectState]:
    """The states of the objects of an entry and of these rows."""
    wanted: dict[str, dict[str, Key]] = {
        name: {str(one.key): one.key for one in written} for name, written in entry.states.items()
    }
    domains = {domain.name: domain for domain in registry}
    for row in moved:
        keys = wanted.setdefault(row.resource, {})
        if row.resource_id not in keys and row.resource in domains:
            key = domains[row.resource].parse_id(row.resource_id)
            if key is not None:
                keys[row.resource_id] = key
    objects: dict[tuple[str, str], ObjectState] = {}
    for name in wanted.keys() & domains.keys():
        found = tx.resources.object_states(domains[name].table, list(wanted[name].values()))
        objects.update(((name, str(key)), where) for key, where in found.items())
    return objects


def _context_values(
    tx: Transaction, registry: Registry, moved: Sequence[HistoryRow], last: int
) -> dict[tuple[str, str, str], str | None]:
    """The other fields that topics of changed ones need, as they were after the last row of an entry."""
    domains = {domain.name: domain for domain in registry}
    wanted: dict[str, dict[str, set[str]]] = {}
    for row in moved:
        if row.resource in domains and (names := _CONTEXT.get((row.resource, row.field))):
            wanted.setdefault(row.resource, {}).setdefault(row.resource_id, set()).update(names)
    values: dict[tuple[str, str, str], str | None] = {}
    for resource, objects in wanted.items():
        domain = domains[resource]
        keys = [key for one in objects if (key := domain.parse_id(one)) is not None]
        stored = {str(key): record.fields for key, record in tx.resources.load(domain.table, keys).items()}
        for one, needed in objects.items():
            for name in needed:
                later = tx.journal.next_change(resource, one, name, last)
                value = stored.get(one, {}).get(name) if later is None else None
                now = None if value is None else _encode(value).decode()
                values[resource, one, name] = now if later is None else later.old
    return values
