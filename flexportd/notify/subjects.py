"""Subjects: the objects that messages are about, and their values for the conditions of rules."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from flexportd.core.changes.topics import FIELD_TOPICS, OPERATION
from flexportd.core.resources import shipments
from flexportd.core.resources.registry import Registry
from flexportd.notify.fields import Facts
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

_decode = msgspec.json.Decoder().decode

Message = Mapping[str, Any]
"""A stream message, decoded."""

DATE_TOPICS: Mapping[str, str] = {
    one.topic.name: one.fields[0] for one in FIELD_TOPICS if one.topic.name == "shipment.eta_changed"
}
"""Topics about a date of which a channel remembers the last one told, with the field of the resource."""


class MessageSubject(NamedTuple):
    """The object that a message is about, and the shipment that it is or belongs to, as far as they are stored."""

    record: Record | None = None
    shipment: Record | None = None


def load_subjects(tx: Transaction, registry: Registry, messages: Sequence[Message]) -> list[MessageSubject]:
    """The subjects of these messages, in their order."""
    domains = {domain.name: domain for domain in registry}
    keys: list[tuple[str, Key | None]] = []
    wanted: dict[str, dict[Key, None]] = {shipments.TABLE.name: {}}
    for message in messages:
        domain = domains.get(message.get("resource") or "")
        key = domain.parse_id(message["resource_id"]) if domain and message.get("resource_id") is not None else None
        keys.append((domain.name if domain else "", key))
        if domain is not None and key is not None:
            wanted.setdefault(domain.name, {})[key] = None
        if message.get("shipment_id") is not None:
            wanted[shipments.TABLE.name][message["shipment_id"]] = None
    found = {name: tx.resources.load(domains[name].table, list(ids)) for name, ids in wanted.items() if ids}
    of_shipments = found.get(shipments.TABLE.name, {})
    return [
        MessageSubject(
            None if key is None else found.get(name, {}).get(key), of_shipments.get(message.get("shipment_id") or 0)
        )
        for (name, key), message in zip(keys, messages, strict=True)
    ]


def facts_of(message: Message, subject: MessageSubject) -> Facts:
    """The values for conditions."""
    record, shipment = subject
    return Facts(message, record.fields if record else None, shipment.fields if shipment else None)


def subject_key(message: Message) -> str:
    """What a message is about, for limits on repetition: the same for messages that replace each other."""
    topic, resource, number = message["topic"], message.get("resource"), message.get("resource_id")
    if topic.startswith("exception."):
        return f"exception:{message.get('kind')}:{resource}:{number}"
    if topic.startswith(OPERATION):
        return f"operation:{message.get('operation_id')}"
    if topic in DATE_TOPICS:
        return f"date:{resource}:{number}:{DATE_TOPICS[topic]}"
    if topic in ("invoice.due", "invoice.overdue"):
        return f"due:{resource}:{number}"
    if topic.startswith("system."):
        return f"{topic}:{message.get('kind') or ''}:{message.get('channel') or message.get('dead_letter_id') or ''}"
    return f"{topic}:{resource}:{number}"


def plain_fields(record: Record) -> dict[str, Any]:
    """The fields of an object as plain data: lists and tables are decoded."""
    return {"id": record.id, **{name: _plain(value) for name, value in record.fields.items()}}


def _plain(value: Any) -> Any:
    return _decode(value) if isinstance(value, str) and value[:1] in ("[", "{") else value
