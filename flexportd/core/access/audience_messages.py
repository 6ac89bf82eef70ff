"""The messages of the stream as a key for some shipments only gets them: without what is another customer's."""

from collections.abc import Sequence
from typing import Any

import msgspec

from flexportd.core.access.audiences import Named, hidden_documents, is_for_customers, starts
from flexportd.core.changes.stream_messages import Telling
from flexportd.core.changes.topics import word
from flexportd.core.exceptions.rules import HIDDEN
from flexportd.storage.repositories.audiences import Audience
from flexportd.storage.transaction import Session

_decode = msgspec.json.Decoder(dict[str, Any]).decode

Document = dict[str, Any]


def for_audience(tx: Session, audience: Audience, told: Sequence[Telling]) -> list[tuple[Telling, Document]]:
    """Those of these messages that are for an audience, each with its document.

    A message is for it when its shipment is the audience's now and was already when the message was made. Of the commit
    that made it the audience's only the messages that an object has changed are left, with no `changes`: the old values
    are another's, and the object is there to be read. Numbers of runs count those for all, and are left out.
    """
    visible = tx.audiences.visible(audience, {one.shipment_id for one in told if one.shipment_id is not None})
    found = [(one, _decode(one.data)) for one in told if one.shipment_id in visible]
    papers = hidden_documents(tx, {document["resource_id"] for _, document in found if _is_paper(document)})
    found = [pair for pair in found if _is_for_it(pair[1], papers)]
    begun = starts(tx, audience, [_named(document) for _, document in found])
    kept: list[tuple[Telling, Document]] = []
    for one, document in found:
        start, (before, through) = begun[_named(document)].id, one.history
        if before < start:
            if through < start or one.topic not in _of_object(document["resource"]):
                continue
            document["changes"] = []
        kept.append((one, {**document, "run_id": None}))
    return kept


def _is_paper(document: Document) -> bool:
    return document["resource"] == "documents" and document["resource_id"] is not None


def _is_for_it(document: Document, papers: set[str]) -> bool:
    if document["topic"].startswith("milestone.") and not is_for_customers(document.get("type")):
        return False
    hidden = document["topic"].startswith("system.") or document.get("kind") in HIDDEN
    return not hidden and not (_is_paper(document) and document["resource_id"] in papers)


def _named(document: Document) -> Named:
    return document["resource"] or "", document["resource_id"] or "", document["shipment_id"]


def _of_object(resource: str | None) -> set[str]:
    one = word(resource) if resource else ""
    return {f"{one}.{what}" for what in ("created", "updated", "removed")}
