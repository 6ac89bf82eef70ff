"""Operations as they are stored in the queue, the change log and the table."""

import hashlib
from typing import Any

import msgspec

from flexportd.core.outbox.kinds import OPERATION_KINDS
from flexportd.storage.repositories.operations import Operation

TOPIC = "operation."


class OperationRequest(msgspec.Struct, frozen=True):
    """The payload of an item of the queue: the operation to send."""

    operation: int


def operation_title(kind_name: str, resource_id: str | None, title: str) -> str:
    """What an operation does, for people: `Create booking Spring lamps`, `Amend booking 12`."""
    kind = OPERATION_KINDS.get(kind_name)
    if kind is None:
        return f"{kind_name} {title}".strip()
    about = resource_id if kind.changes else title
    return f"{kind.label} {about or ''}".strip()


def notice(
    operation: Operation, state: str, error: str | None, *, key: str | None = None, needs_decision: bool = False
) -> dict[str, Any]:
    """The notice of a new state for the change log, as subscribers get it."""
    found = {
        "topic": f"{TOPIC}{state}",
        "operation_id": str(operation.id),
        "kind": operation.kind,
        "title": operation_title(operation.kind, operation.resource_id, operation.title),
        "detail": error,
        "resource": operation.resource,
        "resource_id": key or operation.resource_id,
        "shipment_id": operation.shipment_id,
        "created_by": operation.created_by,
        "needs_decision": needs_decision,
    }
    return {name: value for name, value in found.items() if value is not None}


def stored_body(operation: Operation) -> str | None:
    """A smaller body for an operation that has ended: the file of an upload is at Flexport; None: as it is."""
    return _without_file(operation.body) if operation.kind == "document.upload" else None


def logged_body(operation: Operation, body: bytes) -> str:
    """The body of a request as it is stored with an attempt: without the file of an upload."""
    text = body.decode()
    return _without_file(text) or text if operation.kind == "document.upload" else text


def _without_file(text: str) -> str | None:
    """The body of an upload with the digest of its Base64 in place of it; None if it is not there."""
    body = msgspec.json.decode(text)
    content = body.get("document")
    if not isinstance(content, str):
        return None
    kept = {name: value for name, value in body.items() if name != "document"}
    return msgspec.json.encode({**kept, "document_sha256": hashlib.sha256(content.encode()).hexdigest()}).decode()
