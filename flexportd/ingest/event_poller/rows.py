"""Parses rows of Flexport's list of events, as far as polling needs. Pure."""

from collections.abc import Sequence
from typing import Any

import msgspec

from flexportd.core.resources.values import instant
from flexportd.errors import MalformedError
from flexportd.flexport import json_text
from flexportd.flexport.models.events import JSON_NULL, EventObject, parse_content, parse_heads, recover_heads
from flexportd.ingest.event_store import IncomingEvent, body_id
from flexportd.storage.repositories.events import ReceivedEvent

SOURCE = "events"


class _Times(msgspec.Struct):
    created_at: Any = None
    occurred_at: Any = None


class _Link(msgspec.Struct):
    id: Any = None


_times = msgspec.json.Decoder(_Times)
_id = msgspec.json.Decoder(int | str)
_link = msgspec.json.Decoder(_Link)


class EventRow(msgspec.Struct, frozen=True, gc=False):
    """One row. `number` is its id, None if it is not an event; `error` then says why."""

    name: str
    number: int | None
    type: str | None
    created_at: str | None
    occurred_at: str | None
    body: bytes
    error: str | None = None

    def as_incoming(self, at: str) -> IncomingEvent:
        """The event as it is stored."""
        return IncomingEvent(ReceivedEvent(self.name, self.type, SOURCE, at, "{}", self.body), self.error)


class EventFacts(msgspec.Struct, frozen=True, gc=False):
    """What an event is about."""

    resource: str | None = None
    resource_id: str | None = None
    shipment_id: int | None = None


def parse_rows(rows: Sequence[bytes], latest: str) -> list[EventRow]:
    """Each row as an event. Times after `latest`, the time of the response, are wrong and count as that."""
    return [event for row in rows for event in _parse_row(row, latest)]


def _parse_row(row: bytes, latest: str) -> list[EventRow]:
    try:
        return [_event_row(head.id, head.type, head.body, latest) for head in parse_heads(row)]
    except MalformedError as error:
        try:
            return [
                _event_row(head.id, head.type, head.body, latest)
                if head.error is None
                else _invalid_row(head.body, head.error)
                for head in recover_heads(row)
            ]
        except MalformedError:
            return [_invalid_row(row, str(error))]


def _invalid_row(body: bytes, error: str) -> EventRow:
    return EventRow(body_id(body), None, None, None, None, body, error)


def _event_row(name: str, event_type: str, body: bytes, latest: str) -> EventRow:
    try:
        times = _times.decode(body)
    except (ValueError, RecursionError):
        members = json_text.members(body)
        times = _Times(*(json_text.value(members.get(field)) for field in _Times.__struct_fields__))
    created_at, occurred_at = _clamp(times.created_at, latest), _clamp(times.occurred_at, latest)
    return EventRow(name, int(name), event_type, created_at, occurred_at, body)


def _clamp(value: Any, latest: str) -> str | None:
    moment = instant(value)
    return None if moment is None else min(moment, latest)


def read_facts(row: EventRow) -> EventFacts:
    """What an event is about, as far as it can be read: applying it reports the rest."""
    try:
        parts = parse_content(row.body).objects
    except MalformedError:
        return EventFacts()
    resource = next((part for part in parts if part.is_resource), None)
    shipments = (_key(part) for part in parts if part.object_name == "/shipment")
    shipment = next((key for key in shipments if isinstance(key, int)), None)
    if resource is None:
        return EventFacts(shipment_id=shipment)
    key = _key(resource)
    owner = _owner(resource) if shipment is None else shipment
    return EventFacts(resource.object_name[:100] or None, None if key is None else str(key), owner)


def _key(part: EventObject) -> int | str | None:
    try:
        key: int | str = _id.decode(part.fields.get("id", JSON_NULL))
    except ValueError:
        return None
    return key


def _owner(part: EventObject) -> int | None:
    """The shipment that an object belongs to, by its own field."""
    try:
        number = _link.decode(part.fields.get("shipment", JSON_NULL)).id
    except ValueError:
        return None
    return number if isinstance(number, int) and not isinstance(number, bool) and 0 < number < 2**63 else None
