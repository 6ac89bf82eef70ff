"""Audience tags of shipments: a key for a customer sees the shipments with the customer's tags.

What was known of a shipment before it had the tag is another customer's, and is hidden: see `visible_from`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from flexportd.core.changes.stream_messages import EncodedMessage
from flexportd.core.changes.topics import OPERATION, topic_prefix
from flexportd.core.resources import documents
from flexportd.flexport.milestones import milestone
from flexportd.storage.repositories.audiences import CONSIGNEE, FROM_BEGINNING, METADATA, Audience, MembershipStart
from flexportd.storage.transaction import Transaction

TAG_FIELDS = frozenset({"consignees", "metadata"})
"""The fields of a shipment that its tags come from."""

_GROUPS = frozenset({"progress", "dates", "customs", "problems"})

HIDDEN_KINDS = frozenset({"booking_unanswered", "invoice_overdue", "missing_documents", "operation_unknown"})
"""Kinds of exceptions hidden from customers: they concern bookings, freight costs, documents and our writes."""

AudienceObject = tuple[str, str, int]
"""An object: its resource, its id as text, and the shipment that it is or belongs to."""

_BLANKS = " \t\n\r"  # the migration that tagged older shipments strips the same


def audience_tags(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every (tag, value) of a shipment, from its normalised fields, without blanks around values."""
    found = ((mark, value.strip(_BLANKS)) for mark, value in _raw_tags(fields) if isinstance(value, str))
    return [(mark, value) for mark, value in found if value]


def _raw_tags(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in _decode_as(fields["consignees"], list) or ():
        yield CONSIGNEE, name
    for key, values in (_decode_as(fields["metadata"], dict) or {}).items():
        for value in values if isinstance(values, list) else [values]:
            yield f"{METADATA}{key}", value


def _decode_as(text: str | None, kind: type) -> Any:
    found = msgspec.json.decode(text) if text else None
    return found if isinstance(found, kind) else None


def is_for_customers(event_type: str | None) -> bool:
    """Whether customers may see events of this type: none about documents or money, and no unknown types."""
    known = milestone(event_type)
    return known is not None and known.group in _GROUPS


def visible_from(
    tx: Transaction, audience: Audience, objects: Collection[AudienceObject]
) -> dict[AudienceObject, MembershipStart]:
    """The change with which each of these objects became visible to the audience.

    That is the later of two changes: the shipment joined the audience, or the object moved to the shipment. A document
    also starts again when its type changes.
    """
    shipments = tx.audiences.membership_starts(audience, {shipment for _, _, shipment in objects})
    named: dict[str, set[str]] = {}
    for resource, key, _ in objects:
        if resource != "shipments":
            named.setdefault(resource, set()).add(key)
    moves = {resource: tx.audiences.reassignments(resource, keys) for resource, keys in named.items()}
    return {
        (resource, key, shipment): max(
            shipments.get(shipment, FROM_BEGINNING),
            moves.get(resource, {}).get(key, FROM_BEGINNING),
            key=lambda one: one.id,
        )
        for resource, key, shipment in objects
    }


def hidden_documents(tx: Transaction, ids: Collection[str]) -> set[str]:
    """Those of these documents that customers may not read."""
    found = tx.resources.load(documents.TABLE, list(ids))
    return {key for key in ids if key not in found or not documents.is_for_customers(found[key].fields)}


_decode = msgspec.json.Decoder(dict[str, Any]).decode

MessageFields = dict[str, Any]


def for_audience(
    tx: Transaction, audience: Audience, messages: Sequence[EncodedMessage]
) -> list[tuple[EncodedMessage, MessageFields]]:
    """The messages that an audience may see, each with its document.

    Its shipment must belong to the audience now and when the message was made. Of the commit with which it joined the
    audience, only messages that an object changed remain, without `changes`: the old values are another customer's, and
    the object can be read. Run ids are left out, since they count the runs for all customers.
    """
    visible = tx.audiences.visible(audience, {one.shipment_id for one in messages if one.shipment_id is not None})
    found = [(one, _decode(one.data)) for one in messages if one.shipment_id in visible]
    document_ids = hidden_documents(tx, {document["resource_id"] for _, document in found if _is_document(document)})
    found = [pair for pair in found if _is_visible(pair[1], document_ids)]
    begun = visible_from(tx, audience, [_object_key(document) for _, document in found])
    kept: list[tuple[EncodedMessage, MessageFields]] = []
    for one, document in found:
        start, (before, through) = begun[_object_key(document)].id, one.history
        if before < start:
            if through < start or not _is_of_object(one.topic, document["resource"]):
                continue
            document["changes"] = []
        kept.append((one, {**document, "run_id": None}))
    return kept


def _is_document(document: MessageFields) -> bool:
    return document["resource"] == "documents" and document["resource_id"] is not None


def _is_visible(document: MessageFields, document_ids: set[str]) -> bool:
    if document["topic"].startswith("milestone.") and not is_for_customers(document.get("type")):
        return False
    hidden = document["topic"].startswith(("system.", OPERATION)) or document.get("kind") in HIDDEN_KINDS
    # What people decide is not for customers.
    hidden = hidden or document["topic"] == "exception.snooze_ended" or "only_for_snooze" in document
    return not hidden and not (_is_document(document) and document["resource_id"] in document_ids)


def _object_key(document: MessageFields) -> AudienceObject:
    return document["resource"] or "", document["resource_id"] or "", document["shipment_id"]


def _is_of_object(topic: str, resource: str | None) -> bool:
    one = topic_prefix(resource) if resource else ""
    return topic in (f"{one}.created", f"{one}.updated", f"{one}.removed")
