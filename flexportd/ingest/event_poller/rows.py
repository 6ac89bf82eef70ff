"""Rows of Flexport's list of events read as far as polling needs them. Pure."""

from collections.abc import Sequence
from typing import Any

import msgspec

from flexportd.core.resources.values import instant
from flexportd.errors import MalformedError
from flexportd.flexport import json_text
from flexportd.flexport.models.events import NOTHING, Part, content, heads, heads_of_broken
from flexportd.ingest.event_store import Received, body_id
from flexportd.storage.repositories.events import Arrival

SOURCE = "events"


class _Times(msgspec.Struct):
    created_at: Any = None
    occurred_at: Any = None


class _Link(msgspec.Struct):
    id: Any = None


_times = msgspec.json.Decoder(_Times)
_id = msgspec.json.Decoder(int | str)
_link = msgspec.json.Decoder(_Link)


class Found(msgspec.Struct, frozen=True, gc=False):
    """One row. `number` is its id, None where it is no event; `broken` then says why."""

    name: str
    number: int | None
    type: str | None
    created_at: str | None
    occurred_at: str | None
    body: bytes
    broken: str | None = None

    def received(self, at: str) -> Received:
        """As it is kept."""
        return Received(Arrival(self.name, self.type, SOURCE, at, "{}", self.body), self.broken)


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What an event is about."""

    resource: str | None = None
    resource_id: str | None = None
    shipment_id: int | None = None


def sift(rows: Sequence[bytes], latest: str) -> list[Found]:
    """Each row as an event. Times after `latest`, the time of the answer, cannot be: they count as that."""
    return [found for row in rows for found in _sift(row, latest)]


def _sift(row: bytes, latest: str) -> list[Found]:
    try:
        return [_event(head.id, head.type, head.body, latest) for head in heads(row)]
    except MalformedError as error:
        try:
            return [
                _event(head.id, head.type, head.body, latest)
                if head.broken is None
                else _broken(head.body, head.broken)
                for head in heads_of_broken(row)
            ]
        except MalformedError:
            return [_broken(row, str(error))]


def _broken(body: bytes, error: str) -> Found:
    return Found(body_id(body), None, None, None, None, body, error)


def _event(name: str, event_type: str, body: bytes, latest: str) -> Found:
    try:
        times = _times.decode(body)
    except (ValueError, RecursionError):
        found = json_text.members(body)
        times = _Times(*(json_text.value(found.get(field)) for field in _Times.__struct_fields__))
    created_at, occurred_at = _clamped(times.created_at, latest), _clamped(times.occurred_at, latest)
    return Found(name, int(name), event_type, created_at, occurred_at, body)


def _clamped(value: Any, latest: str) -> str | None:
    moment = instant(value)
    return None if moment is None else min(moment, latest)


def facts(found: Found) -> Facts:
    """What an event is about, as far as that can be read: applying it finds out what is wrong with the rest."""
    try:
        parts = content(found.body).parts
    except MalformedError:
        return Facts()
    about = next((part for part in parts if part.is_resource), None)
    shipments = (_key(part) for part in parts if part.object_name == "/shipment")
    shipment = next((key for key in shipments if isinstance(key, int)), None)
    if about is None:
        return Facts(shipment_id=shipment)
    key = _key(about)
    owner = _owner(about) if shipment is None else shipment
    return Facts(about.object_name[:100] or None, None if key is None else str(key), owner)


def _key(part: Part) -> int | str | None:
    try:
        key: int | str = _id.decode(part.fields.get("id", NOTHING))
    except ValueError:
        return None
    return key


def _owner(part: Part) -> int | None:
    """The shipment that an object names as its own."""
    try:
        number = _link.decode(part.fields.get("shipment", NOTHING)).id
    except ValueError:
        return None
    return number if isinstance(number, int) and not isinstance(number, bool) and 0 < number < 2**63 else None
