"""What clients and people do with operations: create, approve, cancel, retry, resolve. Each action is audited."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from flexportd.core.outbox.kinds import OPERATION_KINDS, OperationKind
from flexportd.core.outbox.records import OperationRequest, notice, operation_title
from flexportd.core.outbox.request_builder import WriteRules
from flexportd.core.outbox.validation.account import Account
from flexportd.core.outbox.validation.problems import FieldProblem
from flexportd.errors import ConflictError, ForbiddenError, InvalidError, not_found
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.items import INTERACTIVE, NewItem
from flexportd.storage.repositories.operations import ITEM_KIND, NewOperation, Operation
from flexportd.storage.transaction import Transaction

MAX_REASON = 500  # characters


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a name for people, and an identity, such as a key's number, that tells two actors apart."""

    name: str
    identity: str


class InvalidBodyError(InvalidError):
    """A body with problems. `errors` has the JSON pointer (RFC 6901) and a sentence for each."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        self.errors = [{"pointer": one.pointer, "detail": one.detail} for one in problems]
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        place = f"{first.pointer}: " if first.pointer else ""
        super().__init__(f"{place}{first.detail}{more}", first.pointer or "body")


@dataclass(frozen=True, slots=True)
class WriteCommand:
    """A write as requested. `target_id` is the object to change; `idempotency_key` is the client's."""

    kind: OperationKind
    body: Mapping[str, Any]
    target_id: Key | None = None
    idempotency_key: str | None = None

    @property
    def digest(self) -> str:
        """Identifies the kind, the target and the body."""
        text = msgspec.json.encode([self.kind.name, self.target_id, self.body], order="sorted")
        return hashlib.sha256(text).hexdigest()


def check(tx: Transaction, command: WriteCommand, now: datetime) -> None:
    """Check a body against all rules and the mirrored account. Raises InvalidBodyError with all problems."""
    problems = command.kind.check(command.body, Account(tx, now), command.target_id)
    if problems:
        raise InvalidBodyError(problems)


def find_earlier(tx: Transaction, command: WriteCommand, actor: Actor) -> Operation | None:
    """The operation that was created with the idempotency key of a write. Raises ConflictError for another body."""
    key = command.idempotency_key
    earlier = None if key is None else tx.operations.by_idempotency_key(actor.identity, key)
    if key is not None and earlier is not None and earlier.digest != command.digest:
        raise ConflictError(
            f"Idempotency-Key {key[:60]!r} was used for operation {earlier.id} with another body; "
            "use a new key for a new write"
        )
    return earlier


def create(tx: Transaction, command: WriteCommand, actor: Actor, rules: WriteRules, at: str) -> tuple[Operation, bool]:
    """Store an operation and the item that sends it; with the key of an earlier one, return that. Whether it is new.

    Raises ForbiddenError, ConflictError.
    """
    kind = command.kind
    earlier = find_earlier(tx, command, actor)
    if earlier is not None:
        return earlier, False
    refusal = rules.refusal(kind)
    if refusal is not None:
        raise ForbiddenError(refusal)
    needs_approval = kind.group in rules.approval
    target_id = None if command.target_id is None else str(command.target_id)
    operation_key = secrets.token_hex(8)
    number = tx.operations.add(
        NewOperation(
            key=operation_key,
            kind=kind.name,
            target=kind.target(command.body, target_id) or f"operation:{operation_key}",
            resource=kind.resource,
            resource_id=target_id,
            shipment_id=_shipment_of(kind, command.body, target_id),
            title=kind.title(command.body),
            body=msgspec.json.encode(command.body).decode(),
            digest=command.digest,
            state="awaiting_approval" if needs_approval else "pending",
            created_by=actor.name,
            creator=actor.identity,
            idempotency_key=command.idempotency_key,
        ),
        at,
    )
    operation = load(tx, number)
    if not needs_approval:
        _queue(tx, operation, at)
    tx.audit.add(at, actor.name, "operation.create", _subject(number), _title(operation))
    return operation, True


def approve(tx: Transaction, number: int, actor: Actor, at: str) -> None:
    """Let an operation be sent. Raises NotFoundError, ConflictError, ForbiddenError for its own creator."""
    operation = load(tx, number)
    if operation.creator == actor.identity:
        raise ForbiddenError(f"operation {number} was created by {actor.name}; somebody else must approve it")
    if not tx.operations.approve(number, at, actor.name):
        raise ConflictError(f"operation {number} is {operation.state}; only one awaiting approval can be approved")
    _queue(tx, operation, at)
    tx.audit.add(at, actor.name, "operation.approve", _subject(number), _title(operation))


def cancel(tx: Transaction, number: int, actor: Actor, reason: str, at: str) -> None:
    """Do not send an operation. Raises NotFoundError, ConflictError if it may have been sent."""
    operation = load(tx, number)
    is_resolvable = _is_resolvable(tx, operation)
    if operation.state not in ("awaiting_approval", "pending") or is_resolvable:
        hint = "; resolve it instead" if is_resolvable else ""
        raise ConflictError(f"operation {number} is {operation.state} and can no longer be cancelled{hint}")
    _end_cancelled(tx, operation, reason, at)
    tx.audit.add(at, actor.name, "operation.cancel", _subject(number), reason)


def retry(tx: Transaction, number: int, actor: Actor, rules: WriteRules, at: str) -> None:
    """Send an operation again that failed or was cancelled, or look up an unknown one now.

    Where its kind needs an approval, one that was never approved, or that somebody cancelled since, waits for it.
    Raises NotFoundError, ConflictError, ForbiddenError.
    """
    operation = load(tx, number)
    kind = _check_allowed(operation, rules)
    if operation.state in ("failed", "cancelled"):
        if tx.operations.was_possibly_accepted(number):  # given up by a person: it is looked up before it is sent
            tx.operations.suspect(number)
        if lacks_approval(operation, kind, rules) or (kind.group in rules.approval and operation.state == "cancelled"):
            tx.operations.withdraw(number, at)
        else:
            tx.operations.requeue(number, at)
            _queue(tx, operation, at)
    elif operation.state == "unknown":
        tx.operations.set_state(number, "unknown", at, operation.error)
        _queue(tx, operation, at)
    elif operation.state == "pending":
        tx.operations.make_due(operation.target, at)
    else:
        raise ConflictError(f"operation {number} is {operation.state}; it cannot be retried")
    tx.audit.add(at, actor.name, "operation.retry", _subject(number), _title(operation))


def resolvable(tx: Transaction, number: int) -> Operation:
    """An operation whose outcome a person may decide. Raises NotFoundError, ConflictError."""
    operation = load(tx, number)
    if not _is_resolvable(tx, operation):
        raise ConflictError(f"operation {number} is {operation.state}; only one that is unknown can be resolved")
    return operation


def _is_resolvable(tx: Transaction, operation: Operation) -> bool:
    """Its outcome is unknown, or was before it was retried."""
    if operation.state in ("awaiting_approval", "pending"):
        return tx.operations.was_possibly_accepted(operation.id)
    return operation.state == "unknown"


def resend(tx: Transaction, number: int, actor: Actor, rules: WriteRules, *, reason: str, at: str) -> None:
    """Send an unknown operation again, since a person knows that it had no effect.

    Raises NotFoundError, ConflictError, ForbiddenError.
    """
    operation = load(tx, number)
    if operation.state != "unknown":
        raise ConflictError(f"operation {number} is {operation.state}; only one that is unknown can be sent again")
    kind = _check_allowed(operation, rules)
    if lacks_approval(operation, kind, rules) and operation.creator == actor.identity:
        raise ForbiddenError(f"operation {number} was created by {actor.name}; somebody else must let it be sent again")
    tx.operations.trust(number)
    tx.operations.requeue(number, at, reason)
    _queue(tx, operation, at)
    tx.audit.add(at, actor.name, "operation.resolve", _subject(number), f"Sent again: {reason}")


def resolve_cancelled(tx: Transaction, number: int, actor: Actor, reason: str, at: str) -> None:
    """Give up an unknown operation. Raises NotFoundError, ConflictError."""
    operation = resolvable(tx, number)
    _end_cancelled(tx, operation, reason, at)
    tx.audit.add(at, actor.name, "operation.resolve", _subject(number), f"Cancelled: {reason}")


def lacks_approval(operation: Operation, kind: OperationKind, rules: WriteRules) -> bool:
    """Whether an operation needs an approval now, and has none."""
    return kind.group in rules.approval and operation.approved_at is None


def load(tx: Transaction, number: int) -> Operation:
    """An operation. Raises NotFoundError."""
    operation = tx.operations.by_id(number)
    if operation is None:
        raise not_found("operation", number)
    return operation


def kind_of(operation: Operation) -> OperationKind:
    """The kind of an operation. Raises ConflictError for one of another version."""
    kind = OPERATION_KINDS.get(operation.kind)
    if kind is None:
        raise ConflictError(f"this version does not know operations of the kind {operation.kind}")
    return kind


def _check_allowed(operation: Operation, rules: WriteRules) -> OperationKind:
    """The kind of an operation that may be sent. Raises ForbiddenError, ConflictError."""
    kind = kind_of(operation)
    refusal = rules.refusal(kind)
    if refusal is not None:
        raise ForbiddenError(refusal)
    return kind


def _end_cancelled(tx: Transaction, operation: Operation, reason: str, at: str) -> None:
    tx.operations.end(operation.id, "cancelled", at, reason=reason)
    tx.items.drop(ITEM_KIND, str(operation.id))
    tx.operations.make_due(operation.target, at)
    tx.journal.add(at, notices=[notice(operation, "cancelled", None)])


def _queue(tx: Transaction, operation: Operation, at: str) -> None:
    tx.items.drop(ITEM_KIND, str(operation.id))  # one that waits for a later look-up
    payload = msgspec.json.encode(OperationRequest(operation.id)).decode()
    tx.items.add(
        at,
        [NewItem(ITEM_KIND, INTERACTIVE, lane=operation.target, merge_key=str(operation.id), payload=payload)],
    )
    tx.operations.make_due(operation.target, at)  # those that waited for it while it was unknown, and come first now


def _shipment_of(kind: OperationKind, body: Mapping[str, Any], target_id: str | None) -> int | None:
    if kind.resource == "shipments":
        return int(target_id) if target_id is not None and target_id.isdigit() else None
    shipment = body.get("shipment_id")
    return shipment if isinstance(shipment, int) and not isinstance(shipment, bool) else None


def _title(operation: Operation) -> str:
    return operation_title(operation.kind, operation.resource_id, operation.title)


def _subject(number: int) -> str:
    return f"operation {number}"
