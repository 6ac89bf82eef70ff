"""Operations: writes to Flexport, with every request that was sent for them."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from flexportd.storage.queries.filters import any_of, before, equals, is_true, number, since, word
from flexportd.storage.queries.list_query import ListQuery
from flexportd.storage.repositories.repository import ListRepository
from flexportd.storage.statements import json_text

ITEM_KIND = "operation"
"""The kind of the queue's items that send operations; their lane is the target, their merge key the id."""

OperationState = Literal["awaiting_approval", "pending", "sending", "confirmed", "failed", "unknown", "cancelled"]
STATES: tuple[OperationState, ...] = (
    "awaiting_approval", "pending", "sending", "confirmed", "failed", "unknown", "cancelled",
)  # fmt: skip
EndState = Literal["confirmed", "failed", "cancelled"]

AttemptType = Literal["send", "lookup"]
AttemptOutcome = Literal["accepted", "refused", "unknown", "not_sent", "match", "none", "several", "failed"]


class Operation(msgspec.Struct, frozen=True):
    """One write to Flexport; see the columns of `operations`. `body` and `baseline` are JSON."""

    id: int
    key: str
    kind: str
    target: str
    resource: str | None
    resource_id: str | None
    shipment_id: int | None
    title: str
    body: str
    digest: str
    state: OperationState
    needs_decision: bool
    is_suspect: bool
    created_at: str
    created_by: str
    creator: str
    queued_at: str
    updated_at: str
    ended_at: str | None
    approved_at: str | None
    approved_by: str | None
    sent_at: str | None
    sends: int
    lookups: int
    baseline: str | None
    is_pending: bool | None
    error: str | None
    reason: str | None
    idempotency_key: str | None
    unknown_since: str | None


class NewOperation(msgspec.Struct, frozen=True, kw_only=True):
    """An operation to be stored; `creator` identifies who creates it, `created_by` names it."""

    key: str
    kind: str
    target: str
    resource: str | None
    resource_id: str | None
    shipment_id: int | None
    title: str
    body: str
    digest: str
    state: OperationState
    created_by: str
    creator: str
    idempotency_key: str | None = None


class OperationAttempt(msgspec.Struct, frozen=True):
    """One request for an operation, or one look-up; see the columns of `operation_attempts`."""

    id: int
    type: AttemptType
    started_at: str
    ended_at: str | None
    outcome: AttemptOutcome | None
    method: str | None
    path: str | None
    request: str | None
    status: int | None
    request_id: str | None
    response: str | None
    error: str | None


class AttemptResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an attempt."""

    outcome: AttemptOutcome
    status: int | None = None
    request_id: str | None = None
    response: str | None = None
    error: str | None = None


_UNLISTED = ("is_suspect", "body", "baseline", "digest", "creator", "queued_at", "idempotency_key")

LISTING = ListQuery(
    table="operations",
    columns=tuple(name for name in Operation.__struct_fields__ if name not in _UNLISTED),
    key="id",
    sorts={"id": "id"},
    filters={
        "id": any_of("id"),
        "state": word("state", *STATES),
        "kind": word("kind", description="Only of this kind, such as booking.create."),
        "resource": word("resource", description="Only on objects of this resource, such as products."),
        "resource_id": equals("resource_id"),
        "shipment": number("shipment_id", description="Only about this shipment."),
        "needs_decision": is_true("needs_decision", "Only those that a person must decide."),
        "created_by": equals("created_by"),
        "created_after": since("created_at"),
        "created_before": before("created_at"),
    },
)


class Operations(ListRepository):
    """Reads and writes `operations` and `operation_attempts`."""

    family, listing, columns = "operations", LISTING, Operation.__struct_fields__

    def add(self, new: NewOperation, at: str) -> int:
        """Store an operation; its id."""
        values = (
            new.key, new.kind, new.target, new.resource, new.resource_id, new.shipment_id, new.title, new.body,
            new.digest, new.state, at, new.created_by, new.creator, new.idempotency_key,
        )  # fmt: skip
        return self._run("add", *values).lastrowid or 0

    def by_id(self, operation_id: int) -> Operation | None:
        """One by its id."""
        return self._one(_operation, "one", operation_id)

    def by_idempotency_key(self, creator: str, key: str) -> Operation | None:
        """The operation that this creator created with this key; people without an API key count as one creator."""
        return self._one(_operation, "by_idempotency_key", creator, key)

    def unfinished_of_target(self, target: str, limit: int) -> list[Operation]:
        """The operations on a target that have not ended, in order."""
        return self._all(_operation, "unfinished_of_target", target, limit)

    def blocking(self, operation: Operation) -> int | None:
        """The id of an operation on the same target that comes first; None if there is none."""
        row = self._run("is_blocked", operation.target, operation.id).fetchone()
        return None if row is None else int(row[0])

    def is_unchanged(self, operation: Operation) -> bool:
        """Whether nobody has changed its state, or has put it into the queue again, since it was read."""
        return self._count("count_unchanged", operation.id, operation.state, operation.queued_at) > 0

    def begin_send(self, operation_id: int, at: str, flexport_at: str) -> bool:
        """It is about to be sent; False unless it is pending. `flexport_at`: Flexport's clock; the first is kept."""
        return self._run("begin_send", at, flexport_at, operation_id).rowcount == 1

    def set_baseline(self, operation_id: int, ids: Sequence[str]) -> None:
        """Store which equal objects exist before it is first sent."""
        self._run("set_baseline", json_text(list(ids)), operation_id)

    def set_state(
        self,
        operation_id: int,
        state: Literal["pending", "sending", "unknown"],
        at: str,
        error: str | None,
        *,
        needs_decision: bool = False,
    ) -> None:
        """Set a state that is not an end, unless it has ended."""
        self._run("set_state", state, at, error, int(needs_decision), operation_id)

    def count_lookup(self, operation_id: int, at: str) -> None:
        """A look-up has ended without a match."""
        self._run("count_lookup", at, operation_id)

    def end(
        self,
        operation_id: int,
        state: EndState,
        at: str,
        *,
        resource_id: str | None = None,
        error: str | None = None,
        reason: str | None = None,
        is_pending: bool | None = None,
    ) -> bool:
        """It ends; False if it had ended already."""
        pending = None if is_pending is None else int(is_pending)
        return self._run("end", state, at, resource_id, error, reason, pending, operation_id).rowcount == 1

    def approve(self, operation_id: int, at: str, by: str) -> bool:
        """Allow it to be sent; False unless it waits for that."""
        return self._run("approve", at, by, operation_id).rowcount == 1

    def requeue(self, operation_id: int, at: str, reason: str | None = None) -> None:
        """Let it be sent again, because a person decided so."""
        self._run("requeue", at, reason, operation_id)

    def withdraw(self, operation_id: int, at: str) -> None:
        """Let it be sent again, once it is approved again."""
        self._run("withdraw", at, operation_id)

    def suspect_all(self, at: str, error: str) -> int:
        """Doubt that operations which have not succeeded were not sent; how many outcomes are unknown by that."""
        self._run("suspect_all")
        return self._run("doubt_all", at, error).rowcount

    def suspect(self, operation_id: int) -> None:
        """It may have had an effect: it is looked up before it is sent."""
        self._run("suspect", operation_id)

    def trust(self, operation_id: int) -> None:
        """It certainly had no effect so far."""
        self._run("trust", operation_id)

    def set_body(self, operation_id: int, body: str) -> None:
        """Replace the body by a smaller one that says the same to people."""
        self._run("set_body", body, operation_id)

    def set_applied(self, operation_id: int, at: str) -> bool:
        """Flexport has applied a pending amendment; False if it was not pending."""
        return self._run("set_applied", at, operation_id).rowcount == 1

    def pending_amendments(self, after: int, limit: int) -> list[Operation]:
        """Amendments that Flexport still has to apply, in order, after an id."""
        return self._all(_operation, "pending_amendments", after, limit)

    def owner_of(self, resource: str, resource_id: str, other_than: int) -> int | None:
        """The other operation that made an object; None if there is none."""
        row = self._run("owner_of", resource, resource_id, other_than).fetchone()
        return None if row is None else int(row[0])

    def counts(self) -> dict[str, int]:
        """How many are in each state."""
        return {**dict.fromkeys(STATES, 0), **dict(self._run("counts").fetchall())}

    def count_needing_decision(self) -> int:
        """How many a person must decide."""
        return self._count("count_needing_decision")

    def needing_decision(self, limit: int) -> list[Operation]:
        """Those that a person must decide, oldest first."""
        return self._all(_operation, "needing_decision", limit)

    def by_ids(self, ids: Sequence[int]) -> list[Operation]:
        """Some of them, as far as they exist."""
        return self._all(_operation, "by_ids", json_text(list(ids))) if ids else []

    def begin_attempt(
        self,
        operation_id: int,
        attempt_type: AttemptType,
        at: str,
        *,
        method: str | None = None,
        path: str | None = None,
        request: str | None = None,
    ) -> int:
        """A request or look-up begins; the id of the attempt."""
        return self._run("begin_attempt", operation_id, attempt_type, at, method, path, request).lastrowid or 0

    def end_attempt(self, attempt_id: int, at: str, result: AttemptResult) -> None:
        """Store what became of an attempt."""
        values = result.outcome, result.status, result.request_id, result.response, result.error
        self._run("end_attempt", at, *values, attempt_id)

    def interrupted(self, operation_id: int) -> list[int]:
        """Ids of sends whose result was never stored."""
        return self._first_column("interrupted", operation_id)

    def attempts(self, operation_id: int, limit: int) -> list[OperationAttempt]:
        """The attempts of an operation, in order."""
        return self._all(OperationAttempt, "attempts", operation_id, limit)

    def was_possibly_accepted(self, operation_id: int) -> bool:
        """Whether one of its sends may have had an effect."""
        return self._count("count_unknown_sends", operation_id) > 0

    def make_due(self, target: str, at: str) -> int:
        """Make the items of operations on a target due that wait to be sent; how many."""
        return self._run("make_due", at, target).rowcount

    def delete_old(self, before_at: str, limit: int) -> int:
        """Delete operations that ended before a time and have no open exception, with their attempts; how many."""
        ids = self._first_column("old", before_at, limit)
        if ids:
            for name in ("delete_attempts", "delete"):
                self._run(name, json_text(ids))
        return len(ids)


def _operation(*values: Any) -> Operation:
    row = dict(zip(Operation.__struct_fields__, values, strict=True))
    pending = row["is_pending"]
    return Operation(
        **{
            **row,
            "needs_decision": bool(row["needs_decision"]),
            "is_suspect": bool(row["is_suspect"]),
            "is_pending": None if pending is None else bool(pending),
        }
    )
