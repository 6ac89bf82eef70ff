"""Parsing events: from the stored bytes to the objects in them, ready to be merged. Pure.

An object whose resource type maps its wire fields is only identified here; its changed fields are parsed once the
stored state is known. Most events change a status and a few dates, so most of an object is never parsed twice.
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

_MILLISECOND_LENGTH = len("2026-03-04T02:41:09.377Z")  # of a time without digits after its milliseconds

_NUMBER = msgspec.json.Decoder(int)
_TEXT = msgspec.json.Decoder(str)
_TEXT_OR_NULL = msgspec.json.Decoder(str | None)


class ParsedObject(msgspec.Struct, frozen=True):
    """One object of an event; `owner` is the shipment that it names."""

    domain: ResourceType
    part: EventObject
    snapshot: Snapshot
    owner: int | None = None
    fields: Mapping[str, Any] | None = None  # None: normalised later, see `merged_fields`
    faults: Sequence[FieldFault] = ()  # of these fields


class _EventTime(NamedTuple):
    """When Flexport recorded an event: a stamp (empty if unknown), and the digits after its milliseconds.

    `breaker` is the tie breaker of the objects in it whose own time has no such digits.
    """

    created_at: str
    fraction: str
    event: PendingEvent
    breaker: str


class ParsedEvent(msgspec.Struct, frozen=True):
    """A parsed event, the shipment first; `notes` are sentences on what was left out."""

    stored: PendingEvent
    created_at: str | None
    occurred_at: str | None
    resource: str | None
    objects: list[ParsedObject]
    notes: list[str]
    version: str | None = None  # where it is not 2
    shipment_id: int | None = None  # the shipment that it belongs to
    resource_id: str | None = None  # the id of what it is about


def _shipment_of(objects: Sequence[ParsedObject]) -> int | None:
    for found in objects:
        if found.domain.object_name == "/shipment" and isinstance(found.snapshot.id, int):
            return found.snapshot.id
    return next((found.owner for found in objects if found.owner is not None), None)


def parse_event(registry: Registry, kept: PendingEvent) -> ParsedEvent:
    """Parse an event. Raises MalformedError for bytes that are not an event, or a resource that cannot be parsed."""
    if kept.type is None:  # a dead letter that is retried: it fails for the same reason, unless this version parses it
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
                notes.append(f"{part.object_name[:100] or 'an object without a name'} is not a known resource")
            continue
        try:
            found = _identify(domain, part, moment)
        except MalformedError as error:
            if part.is_resource:
                raise MalformedError(f"data.resource ({part.object_name}){number_of(part.text)}: {error}") from error
            notes.append(f"an embedded {part.object_name} was left out: {error}")
            continue
        # An event may carry the shipment twice; its subject comes first and counts.
        objects.setdefault((domain.name, found.snapshot.id), found)
    # The shipment first, so that its objects can be assigned to it.
    ordered = sorted(objects.values(), key=lambda found: found.domain.object_name != "/shipment")
    resource = next((part.object_name[:100] for part in whole.objects if part.is_resource), None)
    resource_id = next((str(found.snapshot.id) for found in ordered if found.part.is_resource), None)
    return ParsedEvent(
        kept, created_at, occurred_at, resource, ordered, notes, other_version(whole.version), _shipment_of(ordered),
        resource_id,
    )  # fmt: skip


def _identify(domain: ResourceType, part: EventObject, moment: _EventTime) -> ParsedObject:
    """Identify the object and its age. Raises MalformedError."""
    seq, event_id = moment.event.seq, moment.event.id
    if domain.is_parsed_by_field:
        try:
            number, updated_at = _NUMBER.decode(part.fields["id"]), _TEXT.decode(part.fields["updated_at"])
            stamp = instant(updated_at)
        except (ValueError, KeyError):
            pass  # unusual: the complete model reports the problem, or accepts it
        else:
            if stamp and 0 <= number <= MAX_ID:
                breaker = (
                    moment.breaker
                    if len(updated_at) <= _MILLISECOND_LENGTH
                    else tie_breaker(submillisecond_digits(updated_at), event_id)
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
        # A link has no data and so no time: any data is newer.
        as_of, fraction = ("", "") if is_link(part.fields) else (moment.created_at, moment.fraction)
        breaker = moment.breaker
        if fraction or domain.has_timestamp:
            breaker = tie_breaker(fraction, event_id, is_stamped=not domain.has_timestamp)
        snapshot = Snapshot(model.key, part.text, part.fields, as_of, seq, is_stamped=False, tie_breaker=breaker)
    return ParsedObject(domain, part, snapshot, owner, domain.normalise(model), faults)


def merged_fields(
    found: ParsedObject, current: Record | None, merged: MergeResult
) -> tuple[dict[str, Any], Sequence[FieldFault]]:
    """Our fields of the state after the merge, and the faults of wire fields that could not be used.

    The stored value of such a field stays. Raises MalformedError for an object that cannot be parsed.
    """
    domain, changed = found.domain, merged.changed
    if current is None or changed is None or not domain.is_parsed_by_field:
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
                    rest.add(name)  # not a time: the stored value stays
        except ValueError:
            rest.add(name)  # not a text: the wire model decides
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
