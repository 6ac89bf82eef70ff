"""From an entry of the journal to the messages that tell of it: the same for everybody and at any time.

Each row of the history belongs to one object and one cause (an event, a run of a sync). What one cause did to one
object is one message, and what follows from it (`topics.DERIVED`) comes behind it. Then come the states that were
written without history, then the events that ended, then the notices.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NotRequired, TypedDict

import msgspec
import structlog

from flexportd.core.follow import UNFIT
from flexportd.core.registry import Registry
from flexportd.core.topics import DERIVED, milestone_topic, word
from flexportd.flexport.milestones import title
from flexportd.storage.journal import Entry, Happened, Moved, Whereabouts
from flexportd.storage.resources import Key
from flexportd.storage.session import Session

log = structlog.get_logger(__name__)

LONGEST_VALUE = 16 << 10  # characters of a value that is told
LONGEST_MESSAGE = 64 << 10  # characters of all values of a message together
END = 2**31 - 1
_AT_ONCE = 32  # entries in one query
_MOST = 500  # messages of one reading, and entries
_LARGEST = 4 << 20  # bytes of them
_TOLD = frozenset({"applied", "coalesced"})  # a milestone is one also when a newer state was there before it

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
    `detail` with `system.*`, `dead_letter_id`, `link` (where the API shows it) and `state` with one of them;
    `exception_id`, `kind`, `severity` and `evidence` with `exception.*`, `evidence` also with `invoice.due` and
    `invoice.overdue`.
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
    state: NotRequired[str]
    exception_id: NotRequired[str]
    severity: NotRequired[str]
    evidence: NotRequired[dict[str, Any]]


PLACE_PATTERN = "[0-9]{1,18}(-[0-9]{1,18})?([.][0-9a-f]{12})?"
"""The text of a place. Without the mark it is one that an older flexportd gave out, or 0."""

_PLACE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?(?:[.]([0-9a-f]{12}))?")


class Place(NamedTuple):
    """A place in the order of all messages: behind message `number` of an entry; `END`: behind all of them.

    `mark` is that of the entry (of the next one, where it is no longer kept): it tells the place from that of the same
    number in another database, or in this one before it was restored. The beginning has that of the store; `0` without
    one is the beginning of any.
    """

    entry: int
    number: int = END
    mark: str = ""

    @property
    def text(self) -> str:
        """As clients see it, `1234-5.9f86d081884c`; `1234.9f86d081884c` for the end of an entry."""
        number = "" if self.number == END else f"-{self.number}"
        return f"{self.entry}{number}{self.mark and f'.{self.mark}'}"


FOREIGN = Place(END)
"""A place that no history has given out."""


def read_place(text: str) -> Place | None:
    """The place that a client names; None for what is none."""
    found = _PLACE.fullmatch(text)
    if found is None:
        return None
    entry, number, mark = found.groups()
    return Place(int(entry), END if number is None else min(int(number), END), mark or "")


def _is_lost(first: int, after: Place) -> bool:
    """Whether messages behind a place are no longer kept."""
    return first > after.entry + (after.number == END)


def newest_place(tx: Session) -> Place:
    """The place behind all messages so far."""
    last = tx.journal.last()
    return Place(last, END, tx.journal.origin(last))


def is_foreign(tx: Session, place: Place) -> bool:
    """Whether a place was not given out in this history: by another database, or before this one was restored.

    One behind which messages are lost is left to `read`, which says so.
    """
    if place.entry == 0:
        return place.mark not in ("", tx.journal.store_id())
    if _is_lost(tx.journal.first(), place):
        return False
    return place.entry > tx.journal.last() or tx.journal.origin(place.entry) != place.mark


class Telling(msgspec.Struct, frozen=True, gc=False):
    """One message: what choosing needs of it, and its JSON in one line."""

    place: Place
    topic: str
    resource: str | None
    shipment_id: int | None
    data: bytes
    history: tuple[int, int] = (0, 0)
    """The last rows of the history that were written before the commit, and by its end."""


@dataclass(frozen=True)
class Known:
    """What is known of an entry beside itself. `objects` are those that it names, by resource and id as text.

    `history` are the last rows of the history that were written before the entry, and by its end.
    """

    moved: Sequence[Moved] = ()
    happened: Mapping[int, Happened] = field(default_factory=dict)
    objects: Mapping[tuple[str, str], Whereabouts] = field(default_factory=dict)
    history: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Reading:
    """Messages in order, and the place behind them.

    `more`: there is more to be read already. `lost`: what was before `place` is no longer kept.
    """

    told: Sequence[Telling]
    place: Place
    more: bool = False
    lost: bool = False


Document = dict[str, Any]

_BLANK: Document = {
    "as_of": None, "resource": None, "resource_id": None, "shipment_id": None, "source": None, "event_id": None,
    "run_id": None, "changes": (),
}  # fmt: skip


def tell(registry: Registry, entry: Entry, known: Known) -> Iterator[Telling | None]:
    """The messages of an entry; None in the place of one that is not told, so that the numbers of others stay."""
    documents = _documents(registry, entry, known)
    for number, (topic, document) in enumerate(documents):
        if topic is None:
            yield None
            continue
        place = Place(entry.id, number, entry.mark)
        whole = {"id": place.text, "topic": topic, "at": entry.at, **_BLANK, **document}
        data = _encode(whole).replace(b"\n", b" ")
        yield Telling(place, topic, whole["resource"], whole["shipment_id"], data, known.history)


def _documents(registry: Registry, entry: Entry, known: Known) -> Iterator[tuple[str | None, Document]]:
    groups: dict[tuple[Any, ...], list[Moved]] = {}
    for row in known.moved:
        groups.setdefault((row.resource, row.resource_id, row.source, row.event_id, row.run_id), []).append(row)
    for rows in groups.values():
        yield from _of_object(rows, known)
    moved = {(row.resource, row.resource_id) for row in known.moved}
    for resource, states in entry.states.items():
        for one in states:
            # What is new and moved nothing is known by its id alone: nothing was told of it yet.
            if (resource, str(one.key)) not in moved and one.as_of is not None:
                yield f"{word(resource)}.updated", _object(resource, str(one.key), known)
    for seq in entry.events:
        yield _of_event(registry, known.happened[seq])
    for notice in entry.notices:
        yield notice["topic"], _notice(notice)


def _notice(notice: Mapping[str, Any]) -> Document:
    """A notice as it was noted; of a dead letter its text is what whoever may read the stream is shown there."""
    found = {name: value for name, value in notice.items() if name not in ("id", "topic", "at")}
    letter = found.get("dead_letter_id")
    return found if letter is None else {**found, "link": f"/api/v1/dead-letters/{letter}"}


def _object(resource: str, key: str, known: Known) -> Document:
    where = known.objects.get((resource, key))
    found = {"shipment_id": where.shipment_id, "as_of": where.as_of or None, "source": where.source} if where else {}
    return {"resource": resource, "resource_id": key, **found}


def _of_object(rows: Sequence[Moved], known: Known) -> Iterator[tuple[str, Document]]:
    last = rows[-1]
    fields: dict[str, tuple[str | None, str | None]] = {}
    for row in rows:
        fields[row.field] = (fields[row.field][0] if row.field in fields else row.old, row.new)
    document = {
        **_object(last.resource, last.resource_id, known),
        "as_of": last.as_of or None,
        "source": last.source,
        "event_id": last.event_id,
        "run_id": None if last.run_id is None else str(last.run_id),
    }
    one, is_new, is_gone = word(last.resource), "id" in fields, fields.get("removed_at", (None, None))[1] is not None
    if is_new or not is_gone:
        yield f"{one}.{'created' if is_new else 'updated'}", {**document, "changes": _changes(fields)}
    if is_gone:
        yield f"{one}.removed", {**document, "changes": _changes(fields)}
    for derived in DERIVED:
        if derived.resource == last.resource and derived.field in fields:
            old, new = (None if value is None else _decode(value) for value in fields[derived.field])
            if derived.when(old, new):
                own = _changes({derived.field: fields[derived.field]})
                yield derived.topic.name, {**document, "changes": own, **derived.more(old, new)}


def _changes(fields: Mapping[str, tuple[str | None, str | None]]) -> list[Document]:
    found, room = list[Document](), LONGEST_MESSAGE
    for name, values in fields.items():
        sizes = [len(value) if value else 0 for value in values]
        if max(sizes) > LONGEST_VALUE or sum(sizes) > room:
            found.append({"field": name, "old": None, "new": None, "omitted": True})
            continue
        room -= sum(sizes)
        old, new = (None if value is None else msgspec.Raw(value.encode()) for value in values)
        found.append({"field": name, "old": old, "new": new})
    return found


def _of_event(registry: Registry, event: Happened) -> tuple[str | None, Document]:
    if event.state not in _TOLD or event.type is None:
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


# --- reading ---


def read(tx: Session, registry: Registry, after: Place) -> Reading:
    """Some of what was told behind a place, in one snapshot.

    Of an entry whose history or events are no longer kept, or that cannot be told, nothing is told: that is a loss, as
    if it were gone itself. All entries behind it are told.
    """
    first = tx.journal.first()
    if _is_lost(first, after):
        return Reading((), Place(first - 1, END, tx.journal.origin(first)), more=True, lost=True)
    told: list[Telling] = []
    place, size = after, 0
    for _ in range(0, _MOST, _AT_ONCE):
        entries = tx.journal.after(place.entry - (place.number != END), _AT_ONCE)
        for entry in entries:
            messages = _messages(tx, registry, entry)
            if messages is None:
                if told:
                    return Reading(told, place, more=True)
                return Reading((), Place(entry.id, END, entry.mark), more=True, lost=True)
            for message in messages:
                if message is None or message.place <= after:
                    continue
                told.append(message)
                size += len(message.data)
                if len(told) >= _MOST or size >= _LARGEST:
                    return Reading(told, message.place, more=True)
            place = Place(entry.id, END, entry.mark)
        if len(entries) < _AT_ONCE:
            return Reading(told, place)
    return Reading(told, place, more=True)


def _messages(tx: Session, registry: Registry, entry: Entry) -> Sequence[Telling | None] | None:
    """The messages of an entry; None when some of it is no longer kept, or cannot be told."""
    try:
        known = _known(tx, registry, entry)
        return None if known is None else list(tell(registry, entry, known))
    except UNFIT:
        log.exception("entry_not_told", entry=entry.id)
        return None


def _known(tx: Session, registry: Registry, entry: Entry) -> Known | None:
    """What an entry needs to be told; None when some of it is no longer kept."""
    moved, happened = tx.journal.moved(entry), tx.journal.happened(entry.events)
    written = 0 if entry.changes is None else entry.changes[1] - entry.changes[0] + 1
    if len(moved) < written or len(happened) < len(set(entry.events)):
        return None
    wanted: dict[str, dict[str, Key]] = {
        name: {str(one.key): one.key for one in written} for name, written in entry.states.items()
    }
    domains = {domain.name: domain for domain in registry}
    for row in moved:
        keys = wanted.setdefault(row.resource, {})
        if row.resource_id not in keys and row.resource in domains:
            key = domains[row.resource].key_of(row.resource_id)
            if key is not None:
                keys[row.resource_id] = key
    objects: dict[tuple[str, str], Whereabouts] = {}
    for name in wanted.keys() & domains.keys():
        found = tx.journal.whereabouts(domains[name].table, list(wanted[name].values()))
        objects.update(((name, str(key)), where) for key, where in found.items())
    if entry.changes is None:
        before = tx.journal.history_before(entry.id)
        return Known(moved, happened, objects, (before, before))
    return Known(moved, happened, objects, (entry.changes[0] - 1, entry.changes[1]))
