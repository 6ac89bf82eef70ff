"""Reading events: from the kept bytes to the objects in them, each ready to be merged. Pure.

An object whose domain says what each wire field feeds is only identified here; what of it changed is read when the
state from before is known. Most events move a status and a date or two, so most of an object is never read twice.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from flexportd.core.merge import MergeResult, Snapshot, encode_fields, is_link, tie_breaker
from flexportd.core.resources.registry import Registry
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import instant, submillisecond_digits
from flexportd.errors import MalformedError
from flexportd.flexport.models import fast_models
from flexportd.flexport.models.events import (
    EventObject,
    number_of,
    other_version,
    parse_content,
    parse_heads,
    recover_heads,
)
from flexportd.flexport.models.wire import MAX_ID, FieldFault
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.events import PendingEvent
from flexportd.storage.repositories.resources import Record

_MILLISECOND_LENGTH = len("2026-03-04T02:41:09.377Z")  # of a time without digits behind its milliseconds

_NUMBER = msgspec.json.Decoder(int)
_TEXT = msgspec.json.Decoder(str)
_TEXT_OR_NULL = msgspec.json.Decoder(str | None)


class ParsedObject(msgspec.Struct, frozen=True):
    """One object of an event; `owner` is the shipment that it names as its own."""

    domain: ResourceType
    part: EventObject
    snapshot: Snapshot
    owner: int | None = None
    fields: Mapping[str, Any] | None = None  # None: normalised later, see `fields_after`
    faults: Sequence[FieldFault] = ()  # of these fields


class _EventTime(NamedTuple):
    """When Flexport recorded an event: a stamp, empty where it does not say, and the digits behind its milliseconds.

    `breaker` is that of the objects in it whose own time has no such digits.
    """

    created_at: str
    fraction: str
    event: PendingEvent
    breaker: str


class ParsedEvent(msgspec.Struct, frozen=True):
    """An event that was read, the shipment first; `notes` are sentences on what in it was not understood."""

    stored: PendingEvent
    created_at: str | None
    occurred_at: str | None
    resource: str | None
    objects: list[ParsedObject]
    notes: list[str]
    version: str | None = None  # where it is not 2

    @property
    def shipment_id(self) -> int | None:
        """The shipment that the event belongs to."""
        for found in self.objects:
            if found.domain.object_name == "/shipment" and isinstance(found.snapshot.id, int):
                return found.snapshot.id
        return next((found.owner for found in self.objects if found.owner is not None), None)

    @property
    def resource_id(self) -> str | None:
        """The id of what the event is about."""
        return next((str(found.snapshot.id) for found in self.objects if found.part.is_resource), None)


def parse_event(registry: Registry, kept: PendingEvent) -> ParsedEvent:
    """What an event tells. Raises MalformedError for bytes that are no event, or a resource that cannot be read."""
    if kept.type is None:  # dead on arrival, and tried again: for the same reason, unless we know better now
        try:
            parse_heads(kept.body)
        except MalformedError:
            recover_heads(kept.body)
    whole = parse_content(kept.body)
    created_at, occurred_at = instant(whole.created_at), instant(whole.occurred_at)
    fraction = submillisecond_digits(whole.created_at) if created_at else ""
    moment = _EventTime(created_at or "", fraction, kept, tie_breaker("", kept.id))
    objects: dict[tuple[str, Key], ParsedObject] = {}
    notes = list(whole.notes)
    for part in whole.objects:
        domain = registry.of_object(part.object_name)
        if domain is None:
            if part.is_resource:
                notes.append(f"nothing here keeps {part.object_name[:100] or 'an object without a name'}")
            continue
        try:
            found = _identify(domain, part, moment)
        except MalformedError as error:
            if part.is_resource:
                raise MalformedError(f"data.resource ({part.object_name}){number_of(part.text)}: {error}") from error
            notes.append(f"an embedded {part.object_name} was left out: {error}")
            continue
        # An event may carry the shipment twice; what it is about comes first and counts.
        objects.setdefault((domain.name, found.snapshot.id), found)
    # The shipment first: what belongs to it is then known to belong.
    ordered = sorted(objects.values(), key=lambda found: found.domain.object_name != "/shipment")
    resource = next((part.object_name[:100] for part in whole.objects if part.is_resource), None)
    return ParsedEvent(kept, created_at, occurred_at, resource, ordered, notes, other_version(whole.version))


def _identify(domain: ResourceType, part: EventObject, moment: _EventTime) -> ParsedObject:
    """Which object this is and how new. Raises MalformedError."""
    seq, event_id = moment.event.seq, moment.event.id
    if domain.wire_fields:
        try:
            number, told = _NUMBER.decode(part.fields["id"]), _TEXT.decode(part.fields["updated_at"])
            stamp = instant(told)
        except (ValueError, KeyError):
            pass  # unusual: the whole model says what is wrong, or makes sense of it
        else:
            if stamp and 0 <= number <= MAX_ID:
                breaker = (
                    moment.breaker
                    if len(told) <= _MILLISECOND_LENGTH
                    else tie_breaker(submillisecond_digits(told), event_id)
                )
                return ParsedObject(
                    domain, part, Snapshot(number, part.text, part.fields, stamp, seq, tie_breaker=breaker)
                )
    model, faults = fast_models.load_fast(domain.wire, part.text)
    if "\0" in str(model.key):
        raise MalformedError(f"id is {str(model.key)[:50]!r}, which no {domain.label} has")
    owner = getattr(getattr(model, "shipment", None), "target_id", None)
    sent = domain.timestamp(model)
    stamp = instant(sent)
    if stamp is not None:
        breaker = tie_breaker(submillisecond_digits(sent), event_id)
        snapshot = Snapshot(model.key, part.text, part.fields, stamp, seq, tie_breaker=breaker)
    else:
        # A link tells nothing of the object, and so has no time: whatever does is newer.
        as_of, fraction = ("", "") if is_link(part.fields) else (moment.created_at, moment.fraction)
        breaker = moment.breaker
        if fraction or domain.has_timestamp:
            breaker = tie_breaker(fraction, event_id, is_stamped=not domain.has_timestamp)
        snapshot = Snapshot(model.key, part.text, part.fields, as_of, seq, is_stamped=False, tie_breaker=breaker)
    return ParsedObject(domain, part, snapshot, owner, domain.normalise(model), faults)


def merged_fields(
    found: ParsedObject, current: Record | None, merged: MergeResult
) -> tuple[dict[str, Any], Sequence[FieldFault]]:
    """Our fields of the state after the merge, and a sentence for each wire field that had to be set aside.

    What was known of such a field stays. Raises MalformedError for an object that cannot be read.
    """
    domain, changed = found.domain, merged.changed
    if current is None or changed is None or not domain.wire_fields:
        if found.fields is not None and (changed is not None or current is None):
            fields, faults = dict(found.fields), found.faults
        else:
            model, faults = fast_models.load_fast(domain.wire, merged.raw.encode())
            fields = dict(domain.normalise(model))
        if faults and current is not None:
            fields.update(domain.retained_fields(current.fields, faults))
        return fields, faults
    fields, rest = dict(current.fields), set[str]()
    for name in changed.keys() & domain.wire_fields.keys():
        direct = domain.text_fields.get(name)
        try:
            if direct is None:
                rest.add(name)
            else:
                said = _TEXT_OR_NULL.decode(changed[name])
                fields[direct[0]] = direct[1](said)
                if said and fields[direct[0]] is None and said.strip():
                    rest.add(name)  # no time: what was known stays
        except ValueError:
            rest.add(name)  # no text: the wire model says what to make of it
    if not rest:
        return fields, ()
    joint = rest.union(*(group for group in domain.field_groups if group & rest))
    given = found.part.fields
    some = {name: given[name] for name in joint if name in given} | {"id": given["id"]}
    model, faults = fast_models.load_fast(domain.wire, encode_fields(some))
    fresh = domain.normalise(model)
    fields.update((ours, fresh[ours]) for name in joint for ours in domain.wire_fields[name])
    if faults:
        fields.update(domain.retained_fields(current.fields, faults))
    return fields, faults
