"""Stream messages for a key that is limited to some shipments: without data of other customers."""

from collections.abc import Sequence
from typing import Any

import msgspec

from flexportd.core.access.audiences import AudienceObject, hidden_documents, is_for_customers, visible_from
from flexportd.core.changes.stream_messages import EncodedMessage
from flexportd.core.changes.topics import topic_prefix
from flexportd.core.exceptions.model import HIDDEN_KINDS
from flexportd.storage.repositories.audiences import Audience
from flexportd.storage.transaction import Transaction

_decode = msgspec.json.Decoder(dict[str, Any]).decode

MessageFields = dict[str, Any]


def for_audience(
    tx: Transaction, audience: Audience, told: Sequence[EncodedMessage]
) -> list[tuple[EncodedMessage, MessageFields]]:
    """The messages that an audience may see, each with its document.

    Its shipment must belong to the audience now and when the message was made. Of the commit with which it joined the
    audience, only messages that an object changed remain, without `changes`: the old values are another customer's, and
    the object can be read. Run ids are left out, since they count the runs for all customers.
    """
    visible = tx.audiences.visible(audience, {one.shipment_id for one in told if one.shipment_id is not None})
    found = [(one, _decode(one.data)) for one in told if one.shipment_id in visible]
    papers = hidden_documents(tx, {document["resource_id"] for _, document in found if _is_document(document)})
    found = [pair for pair in found if _is_visible(pair[1], papers)]
    begun = visible_from(tx, audience, [_object_key(document) for _, document in found])
    kept: list[tuple[EncodedMessage, MessageFields]] = []
    for one, document in found:
        start, (before, through) = begun[_object_key(document)].id, one.history
        if before < start:
            if through < start or one.topic not in _object_topics(document["resource"]):
                continue
            document["changes"] = []
        kept.append((one, {**document, "run_id": None}))
    return kept


def _is_document(document: MessageFields) -> bool:
    return document["resource"] == "documents" and document["resource_id"] is not None


def _is_visible(document: MessageFields, papers: set[str]) -> bool:
    if document["topic"].startswith("milestone.") and not is_for_customers(document.get("type")):
        return False
    hidden = document["topic"].startswith("system.") or document.get("kind") in HIDDEN_KINDS
    return not hidden and not (_is_document(document) and document["resource_id"] in papers)


def _object_key(document: MessageFields) -> AudienceObject:
    return document["resource"] or "", document["resource_id"] or "", document["shipment_id"]


def _object_topics(resource: str | None) -> set[str]:
    one = topic_prefix(resource) if resource else ""
    return {f"{one}.{what}" for what in ("created", "updated", "removed")}
