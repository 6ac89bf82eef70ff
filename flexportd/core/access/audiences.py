"""The marks that a shipment bears: by them a key for a customer shows that customer's shipments.

What was known of a shipment before it bore the mark is another customer's, and is not shown: see `starts`.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from flexportd.core.resources import documents
from flexportd.flexport.milestones import milestone
from flexportd.storage.repositories.audiences import CONSIGNEE, FROM_BEGINNING, METADATA, Audience, MembershipStart
from flexportd.storage.transaction import Transaction

TAG_FIELDS = frozenset({"consignees", "metadata"})
"""The fields of a shipment that its marks come from."""

_GROUPS = frozenset({"progress", "dates", "customs", "problems"})

AudienceObject = tuple[str, str, int]
"""An object: its resource, its id as text, and the shipment that it is or belongs to."""

_BLANKS = " \t\n\r"  # the migration that marked what was there before cuts the same


def audience_tags(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every (mark, value) of a shipment, from its normalised fields; blanks around a value do not count."""
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
    """Whether a customer may know of an event of this type: not of papers and money, nor of types nobody knows."""
    known = milestone(event_type)
    return known is not None and known.group in _GROUPS


def visible_from(
    tx: Transaction, audience: Audience, objects: Collection[AudienceObject]
) -> dict[AudienceObject, MembershipStart]:
    """With which change each of these objects came to belong to the audience that it belongs to now.

    That is the later of two changes: the one that made the shipment the audience's, and the one that made the object
    that shipment's. A document also begins again when it becomes another kind of paper.
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
    """Those of these documents that are not a customer's to read."""
    found = tx.resources.load(documents.TABLE, list(ids))
    return {key for key in ids if key not in found or not documents.is_for_customers(found[key].fields)}
