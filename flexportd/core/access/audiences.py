"""Audience tags of shipments: a key for a customer sees the shipments with the customer's tags.

What was known of a shipment before it had the tag is another customer's, and is hidden: see `visible_from`.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from flexportd.core.resources import documents
from flexportd.flexport.milestones import milestone
from flexportd.storage.repositories.audiences import CONSIGNEE, FROM_BEGINNING, METADATA, Audience, MembershipStart
from flexportd.storage.transaction import Transaction

TAG_FIELDS = frozenset({"consignees", "metadata"})
"""The fields of a shipment that its tags come from."""

_GROUPS = frozenset({"progress", "dates", "customs", "problems"})

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
