"""The webhook envelope: `/event` with its `/shipment_event_data`.

Sources: https://apidocs.flexport.com/v2/tag/Webhook-Endpoints and https://apidocs.flexport.com/v2/tag/Event.
The payload is one bare event; an enveloped one and a list of events are accepted too, since the pages leave it open.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from flexportd.errors import MalformedError
from flexportd.escape import escape_control
from flexportd.flexport import json_text
from flexportd.flexport.models.fast_models import load_fast
from flexportd.flexport.models.places import ShipmentNode
from flexportd.flexport.published_schema import canonical
from flexportd.json_depth import MAX_DEPTH, nests_too_deep

MAX_EVENTS = 1000  # in one delivery
MAX_CONTAINERS = 2000  # in one event: they are written in one transaction, for which acknowledgements wait
JSON_NULL = msgspec.Raw(b"null")
_MAX_VALUE = 2048  # bytes of an id, type or object name

_LINK = "/api/refs/object"  # in the place of an object: its `ref_type` is what the object is called

Fields = dict[str, msgspec.Raw]  # the top-level fields of a JSON object, each as its bytes


class _Head(msgspec.Struct):
    id: msgspec.Raw = JSON_NULL
    type: msgspec.Raw = JSON_NULL
    object_name: msgspec.Raw = msgspec.field(name="_object", default=JSON_NULL)
    data: msgspec.Raw = JSON_NULL


class _Body(msgspec.Struct):
    resource: msgspec.Raw = JSON_NULL
    shipment: msgspec.Raw = JSON_NULL
    containers: msgspec.Raw = JSON_NULL


class _Whole(msgspec.Struct):
    created_at: Any = None
    occurred_at: Any = None
    version: Any = None
    data: _Body | None = None


_head = msgspec.json.Decoder(_Head)
_raws = msgspec.json.Decoder(list[msgspec.Raw])
_whole = msgspec.json.Decoder(_Whole)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_name = msgspec.json.Decoder(str | None)
_any = msgspec.json.Decoder()


class Head(msgspec.Struct, frozen=True, gc=False):
    """The little of an event that is read before it is acknowledged.

    `broken` says why an element of a list is no event; its id and type are empty then.
    """

    id: str
    type: str
    body: bytes
    error: str | None = None


def parse_heads(body: bytes) -> list[Head]:
    """The events in a webhook's bytes: usually one.

    Raises MalformedError, with a reason that holds nothing of the content, when these bytes are no event.
    """
    if body[:1] == b"[" or body.lstrip()[:1] == b"[":
        try:
            parts = _raws.decode(body)
        except (ValueError, RecursionError) as error:
            raise _not_json(error) from error
        if not 0 < len(parts) <= MAX_EVENTS:
            raise MalformedError(f"a list of {len(parts)} events; at least 1 and at most {MAX_EVENTS} are allowed")
        return [_read_head(bytes(part)) for part in parts]
    return [_read_head(body)]


def _read_head(body: bytes) -> Head:
    try:
        head = _head.decode(body)
        if _short(head.object_name) == "/api/response":
            body = bytes(head.data)
            head = _head.decode(body)
        event_id, event_type = _short(head.id), _short(head.type)
    except msgspec.ValidationError as error:
        raise MalformedError(f"not an event: {error}") from error
    except (ValueError, RecursionError) as error:
        raise _not_json(error) from error
    return Head(_event_id(event_id), _event_type(event_type), body)


def _short(raw: msgspec.Raw) -> Any:
    """A value, where it is short: decoding megabytes of brackets would block the event loop."""
    return _any.decode(raw) if len(raw) <= _MAX_VALUE else ...


def recover_heads(body: bytes) -> list[Head]:
    """The events in bytes that `heads` refuses: the fault may lie in what they carry, or in some elements of a list.

    Slow for long bodies: not for the event loop. Raises MalformedError as `heads` when they hold no event at all.
    """
    text = json_text.strip_bom(body)
    if text.lstrip()[:1] != b"[":
        return [_readable_head(text)]
    try:
        parts = json_text.elements(text)
    except json_text.BrokenJsonError as error:
        raise _not_json(error) from error
    if not 0 < len(parts) <= MAX_EVENTS:
        raise MalformedError(f"a list of {len(parts)} events; at least 1 and at most {MAX_EVENTS} are allowed")
    found: list[Head] = []
    for part in parts:
        try:
            found.append(_readable_head(bytes(part)))
        except MalformedError as error:
            found.append(Head("", "", bytes(part), str(error)))
    if all(head.error is not None for head in found):
        raise MalformedError(found[0].error or "")
    return found


def _readable_head(body: bytes) -> Head:
    try:
        found = json_text.members(body)
        if json_text.value(found.get("_object")) == "/api/response":
            body = bytes(found.get("data", JSON_NULL))
            found = json_text.members(body)
    except json_text.BrokenJsonError as error:
        raise _not_json(error) from error
    return Head(_event_id(json_text.value(found.get("id"))), _event_type(json_text.value(found.get("type"))), body)


def _not_json(error: Exception) -> MalformedError:
    return MalformedError(f"not JSON: {str(error).removeprefix('JSON is malformed: ')}")


def _event_id(value: Any) -> str:
    """Flexport's event ids are integers; one quoted as text is the same id."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 32:
        return value.lstrip("0") or "0"
    raise MalformedError("not an event: it has no id" if value is None else "not an event: its id is no integer")


def _event_type(value: Any) -> str:
    if isinstance(value, str) and 0 < len(value) <= 256:
        return value
    raise MalformedError("not an event: it has no type" if value is None else "not an event: its type is no short text")


class _Located(msgspec.Struct):
    location: msgspec.Raw = JSON_NULL


class _Envelope(msgspec.Struct):
    data: _Located | None = None


_envelope = msgspec.json.Decoder(_Envelope)


def location(body: bytes) -> ShipmentNode | None:
    """Where a kept event happened: its `data.location`. None where it does not say, or cannot be read."""
    try:
        found = _envelope.decode(body)
        if found.data is None or not bytes(found.data.location).startswith(b"{"):
            return None
        return load_fast(ShipmentNode, bytes(found.data.location))[0]
    except (ValueError, RecursionError, MalformedError):
        return None


class EventObject(msgspec.Struct, frozen=True, gc=False):
    """One object that an event carries: its canonical `_object`, its bytes, and its top-level fields, unread."""

    object_name: str
    text: bytes
    fields: Fields
    is_resource: bool  # whether it is what the event is about


class EventContent(msgspec.Struct, frozen=True):
    """A whole event: its times and version as sent (anything, while unchecked), and the objects that it carries.

    `notes` are sentences on those that it carries beside its resource and that cannot be read.
    """

    created_at: Any
    occurred_at: Any
    version: Any
    objects: tuple[EventObject, ...]
    notes: tuple[str, ...] = ()


def parse_content(body: bytes) -> EventContent:
    """Read a kept event whole. Raises MalformedError when it, or what it is about, cannot be read."""
    try:
        whole = _whole.decode(body)
    except (ValueError, RecursionError) as error:
        whole = _scan(body, error)
    notes: list[str] = []
    parts = tuple(_objects(whole.data or _Body(), notes))
    return EventContent(whole.created_at, whole.occurred_at, whole.version, parts, tuple(notes))


def _scan(body: bytes, error: Exception) -> _Whole:
    """An event of which some part is no JSON."""
    try:
        top = json_text.members(json_text.strip_bom(body))
        data = bytes(top.get("data", JSON_NULL))
        inner = {} if data == b"null" else json_text.members(data)
    except json_text.BrokenJsonError:
        if isinstance(error, msgspec.ValidationError):
            raise MalformedError(f"not an event: {error}") from error
        raise _not_json(error) from error
    parts = {name: inner[name] for name in _Body.__struct_fields__ if name in inner}
    created_at, occurred_at, version = (
        json_text.value(top.get(name)) for name in ("created_at", "occurred_at", "version")
    )
    return _Whole(created_at, occurred_at, version, _Body(**parts))


def _list(text: bytes, notes: list[str]) -> list[msgspec.Raw]:
    """The containers; a link to them, or anything else that is no list, holds none."""
    if not text.startswith(b"["):
        return []
    try:
        found = _raws.decode(text)
    except (ValueError, RecursionError) as error:
        try:
            found = json_text.elements(text)
        except json_text.BrokenJsonError:
            notes.append(f"the embedded containers were left out: {_not_json(error)}")
            return []
    if len(found) > MAX_CONTAINERS:
        raise MalformedError(f"it contains {len(found)} containers; at most {MAX_CONTAINERS} are allowed")
    return found


def _objects(data: _Body, notes: list[str]) -> Iterator[EventObject]:
    for text, is_resource, usual in (
        (data.resource, True, None),
        (data.shipment, False, "/shipment"),
        *((box, False, "/ocean/shipment_container") for box in _list(bytes(data.containers), notes)),
    ):
        raw = bytes(text)
        if raw == b"null":
            continue
        try:
            if nests_too_deep(raw):
                raise ValueError(f"nested more than {MAX_DEPTH} levels deep")  # noqa: TRY301 (as what the parser raises)
            fields = _fields.decode(raw)
            name = canonical(_name.decode(fields.get("_object", JSON_NULL)) or usual or "")
            if name == _LINK:
                name = canonical(_name.decode(fields.get("ref_type", JSON_NULL)) or usual or "")
            raw.decode()
        except (ValueError, RecursionError) as error:
            is_other = isinstance(error, msgspec.ValidationError)
            wrong = MalformedError(f"not an event: {error}") if is_other else _not_json(error)
            if is_resource:
                raise MalformedError(f"data.resource{number_of(raw)}: {wrong}") from error
            notes.append(f"an embedded {usual}{number_of(raw)} was left out: {wrong}")
            continue
        yield EventObject(name, raw, fields, is_resource)


def other_version(value: Any) -> str | None:
    """The version of an event where it is not 2, for people; None for 2 and where the event does not say.

    A webhook comes in the version of the account, whatever requests ask for: https://apidocs.flexport.com/v2/tag/Versioning.
    """
    if value is None or (type(value) in (int, float, str) and str(value).strip() in ("2", "2.0")):
        return None
    return escape_control(value if isinstance(value, str) else msgspec.json.encode(value).decode(), 40) or "(empty)"


def number_of(text: bytes) -> str:
    """The id of an object that cannot be read, for messages, after a blank; nothing where it cannot be seen."""
    try:
        found = json_text.value(json_text.members(text).get("id"))
    except json_text.BrokenJsonError:
        return ""
    return f" {escape_control(str(found), 50)}" if type(found) in (int, str) else ""
