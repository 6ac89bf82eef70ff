"""What a rule can test: the fields of each topic, and their values in one message.

A message has fields of its own, those of the object that it is about, and those of the object's shipment. A name means
the first of these that has it; `evidence.days` and `shipment.status` name their place.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from flexportd.core.changes.topics import (
    CHANNEL_FAILED,
    MILESTONE,
    OPERATION,
    OPERATION_TOPICS,
    RECOVERED,
    TOPICS,
    Patterns,
    topic_prefix,
)
from flexportd.core.exceptions.model import KINDS, SEVERITIES
from flexportd.core.outbox.kinds import OPERATION_KINDS
from flexportd.core.resources.registry import REGISTRY
from flexportd.core.resources.resource_type import ResourceType
from flexportd.storage.queries.table import DATES

FieldKind = Literal["number", "money", "day", "text", "rank", "list", "id", "boolean", "json"]

EVIDENCE, SHIPMENT = "evidence.", "shipment."
_SHIPMENTS = "shipments"
_MIN_KNOWN = 3  # published values of a field; fewer are examples rather than an enumeration
_NUMERIC_TEXTS = frozenset({"exchange_rate", "total_units"})
_PARTIES = {"consignee": "consignees", "shipper": "shippers", "buyer": "buyers", "seller": "sellers"}
_LANES = (("port_of_loading_code", "port_of_unloading_code"), ("origin_code", "destination_code"))  # sea and air; road

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class RuleField:
    """A field that conditions can test. `values` are the only ones that it can have, if these are known.

    Those of a `rank` are in order, the highest first.
    """

    name: str
    kind: FieldKind
    values: tuple[str, ...] = ()
    currency: str | None = None
    """The field with the currency of an amount."""
    is_open: bool = True
    """Whether Flexport may add values."""


def _fields(kind: FieldKind, *names: str) -> tuple[RuleField, ...]:
    return tuple(RuleField(name, kind) for name in names)


_OF_EVERY_MESSAGE = (
    *_fields("text", "topic", "resource", "source"),
    *_fields("id", "resource_id", "shipment_id", "event_id"),
    RuleField("changed", "list"),
)
_OF_EVIDENCE = (
    *_fields("number", "days"),
    *_fields(
        "day", "first_estimate", "estimated_pickup", "estimated_departure", "estimated_arrival", "estimated_delivery",
        "last_free_day", "available_for_pickup", "delivered", "left_terminal", "last_news_at", "due_date",
        "created_at", "cargo_ready_date", "unknown_since",
    ),
    *_fields(
        "text", "place", "container_number", "entry_number", "release_status", "name", "status", "title",
        "operation_kind", "error",
    ),
    *_fields("id", "operation_id"),
    *_fields("boolean", "needs_decision"),
    *_fields("list", "missing"),
    *_fields("json", "milestones"),
)  # fmt: skip
_OF_TOPICS: Mapping[str, Sequence[RuleField]] = {
    "shipment.eta_changed": _fields("number", "days_later"),
    "milestone.": (*_fields("text", "type", "title"), *_fields("day", "occurred_at")),
    "exception.": (
        RuleField("kind", "text", KINDS, is_open=False),
        RuleField("severity", "rank", SEVERITIES, is_open=False),
        *_fields("id", "exception_id"),
    ),
    OPERATION: (
        RuleField("kind", "text", tuple(OPERATION_KINDS), is_open=False),
        *_fields("text", "title", "detail", "created_by"),
        RuleField("state", "text", tuple(one.name.removeprefix(OPERATION) for one in OPERATION_TOPICS), is_open=False),
        *_fields("boolean", "needs_decision", "applied"),
        *_fields("id", "operation_id"),
    ),
    "system.": (*_fields("text", "kind", "detail", "state"), *_fields("id", "dead_letter_id")),
    CHANNEL_FAILED: _fields("text", "channel"),
    RECOVERED: _fields("text", "channel"),
    "invoice.total_changed": (
        RuleField("old_total", "money", currency="old_currency"),
        RuleField("new_total", "money", currency="currency"),
        RuleField("difference", "money", currency="currency"),
        *_fields("text", "old_currency", "currency"),
    ),
}
"""The beginning of topics -> the fields of their messages."""
_WITH_EVIDENCE = ("exception.", "invoice.due", "invoice.overdue")


def rule_fields(patterns: Patterns) -> Mapping[str, RuleField]:
    """Every field that messages of these topics can have, by name."""
    return _rule_fields(patterns.patterns)


@functools.lru_cache(maxsize=256)
def _rule_fields(patterns: tuple[str, ...]) -> Mapping[str, RuleField]:
    fields: dict[str, RuleField] = {}
    selection = Patterns(patterns)
    for topic in TOPICS:
        if selection.match(topic.name):
            _merge(fields, _fields_of_topic(topic.name))
    # All milestones have the same fields, also those that Flexport has not documented yet.
    if any(pattern == "*" or pattern.startswith(MILESTONE) for pattern in patterns):
        _merge(fields, _fields_of_topic(MILESTONE))
    return fields


def _merge(fields: dict[str, RuleField], more: Mapping[str, RuleField]) -> None:
    for name, field in more.items():
        known = fields.setdefault(name, field)
        if known.values != field.values:
            both = (*known.values, *field.values) if known.values and field.values else ()
            fields[name] = replace(known, values=tuple(dict.fromkeys(both)))


@functools.cache
def _fields_of_topic(topic: str) -> Mapping[str, RuleField]:
    own = [field for begin, fields in _OF_TOPICS.items() if topic.startswith(begin) for field in fields]
    evidence = _OF_EVIDENCE if topic.startswith(_WITH_EVIDENCE) else ()
    domain = _domain(topic)
    of_object = () if domain is None else _of_resource(domain)
    has_shipment = domain.table.owner is not None if domain else topic.startswith((MILESTONE, "exception.", OPERATION))
    of_shipment = (*_of_resource(REGISTRY[_SHIPMENTS]), *_derived()) if has_shipment else ()
    fields: dict[str, RuleField] = {}
    for field in (*_OF_EVERY_MESSAGE, *own, *evidence, *of_object, *of_shipment):
        fields.setdefault(field.name, field)
    for prefix, some in ((EVIDENCE, evidence), (SHIPMENT, of_shipment)):
        for field in some:
            name = f"{prefix}{field.name}"
            fields[name] = replace(field, name=name, currency=field.currency and f"{prefix}{field.currency}")
    return fields


@functools.cache
def _domains() -> Mapping[str, ResourceType]:
    return {topic_prefix(domain.name): domain for domain in REGISTRY}


def _domain(topic: str) -> ResourceType | None:
    """The resource of a topic; None for those that any object may have."""
    return _domains().get(topic.partition(".")[0])


@functools.cache
def _of_resource(domain: ResourceType) -> Sequence[RuleField]:
    return tuple(_resource_fields(domain))


def _resource_fields(domain: ResourceType) -> Iterator[RuleField]:
    names = domain.table.names
    for field in domain.table.public:
        name, currency = field.name, f"{field.name.removesuffix('_amount')}_currency"
        if name.endswith("_amount") and currency in names:
            yield RuleField(name, "money", currency=currency)
        elif field.kind in DATES or name.endswith("_at"):
            yield RuleField(name, "day")
        elif field.kind == "integer":
            yield RuleField(name, "id" if name.endswith("_id") else "number")
        elif field.kind == "boolean":
            yield RuleField(name, "boolean")
        elif field.kind in ("list", "json"):
            yield RuleField(name, "list" if field.kind == "list" else "json")
        elif name in _NUMERIC_TEXTS:
            yield RuleField(name, "number")
        else:
            values = domain.known_values(name)
            yield RuleField(name, "text", values if len(values) >= _MIN_KNOWN else ())


def _derived() -> Iterator[RuleField]:
    yield RuleField("lane", "text")
    yield from _fields("list", *_PARTIES)


class Facts:
    """The values of one message for conditions, read only when a condition needs them.

    `fields` are those of the message's object as stored, `shipment` those of its shipment; either may be unknown.
    """

    def __init__(
        self,
        message: Mapping[str, Any],
        fields: Mapping[str, Any] | None = None,
        shipment: Mapping[str, Any] | None = None,
    ) -> None:
        self._message = message
        self._fields: Mapping[str, Any] = {}
        self._shipment = shipment or {}
        self._domain = _domain(str(message.get("topic", "")))
        if self._domain is not None:
            self._fields = fields or {}
            if self._domain.name == _SHIPMENTS:
                self._shipment = self._fields or self._shipment

    def get(self, name: str) -> Any:
        """The value of a field; None if it is not known."""
        if name.startswith(EVIDENCE):
            return self._evidence.get(name.removeprefix(EVIDENCE))
        if name.startswith(SHIPMENT):
            return self._of_shipment(name.removeprefix(SHIPMENT))
        if name == "changed":
            changes = self._message.get("changes")
            return [one["field"] for one in changes if isinstance(one, Mapping) and "field" in one] if changes else None
        for value in (self._message.get(name), self._evidence.get(name), self._of_object(name)):
            if value is not None:
                return value
        return self._of_shipment(name)

    @property
    def _evidence(self) -> Mapping[str, Any]:
        evidence = self._message.get("evidence")
        return evidence if isinstance(evidence, Mapping) else {}

    def _of_object(self, name: str) -> Any:
        return None if self._domain is None else _stored_value(self._domain, self._fields, name)

    def _of_shipment(self, name: str) -> Any:
        if name == "lane":
            return lane(self._shipment)
        return _stored_value(REGISTRY[_SHIPMENTS], self._shipment, _PARTIES.get(name, name))


def lane(shipment: Mapping[str, Any]) -> str | None:
    """The lane of a shipment by the codes of its ports, such as `CNSHA-USLAX`; None if it is not known.

    By road, its first and its last place count.
    """
    for start, end in _LANES:
        if shipment.get(start) and shipment.get(end):
            return f"{shipment[start]}-{shipment[end]}"
    return None


def _stored_value(domain: ResourceType, fields: Mapping[str, Any], name: str) -> Any:
    """A field as stored; lists are JSON texts."""
    value = fields.get(name)
    if isinstance(value, str) and name in domain.table.lists:
        try:
            return _decode(value.encode())
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return value
    return value
