"""Sending operations exactly once: stored before they are sent, looked up before they are sent again.

pending ─ begin (stored as `sending`) ─ Flexport ─ confirmed, with the object in the tables
                   │                        ├──── failed: refused
                   │ crash, no answer       └──── pending: certainly not sent
                   ▼
               look-ups: at once, after 30 s, 2 min, 10 min ─ confirmed: one match
                                                            ├ pending: none, and a repetition is safe
                                                            └ unknown, for a person
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Protocol

import msgspec
import structlog

from flexportd.clock import Clock, age
from flexportd.core.importer.importer import Importer, RequestStart
from flexportd.core.outbox.actions import lacks_approval, resolvable
from flexportd.core.outbox.comparison import metadata_differences
from flexportd.core.outbox.kinds import OPERATION_KINDS, OperationKind
from flexportd.core.outbox.lookup import (
    Candidate,
    FlexportReader,
    InconclusiveLookupError,
    LookupResult,
    SentWrite,
    applied_fields,
    baseline_of,
)
from flexportd.core.outbox.records import OperationRequest, logged_body, notice, stored_body
from flexportd.core.outbox.request_builder import OutgoingWrite, WriteRules, id_value, merge_metadata, outgoing
from flexportd.core.resources.registry import Registry
from flexportd.core.unit_of_work import ChangeCause
from flexportd.errors import ConflictError, MalformedError
from flexportd.escape import escape_control
from flexportd.flexport.client import FetchedObject
from flexportd.flexport.errors import (
    FlexportError,
    FlexportUnavailableError,
    ForbiddenAtFlexportError,
    NotFoundAtFlexportError,
    RateLimitedError,
    TokensExhaustedError,
    UnauthorisedError,
    UnknownOutcomeError,
)
from flexportd.flexport.lists import LISTS
from flexportd.flexport.usage import Purpose
from flexportd.outcome import Applied, Dead, Ignored, Outcome, Snooze
from flexportd.storage.database import Database
from flexportd.storage.repositories.items import Item
from flexportd.storage.repositories.operations import AttemptResult, Operation
from flexportd.storage.transaction import Transaction
from flexportd.type_lock import decode_as

log = structlog.get_logger(__name__)

LOOKUP_DELAYS = (30.0, 120.0, 600.0)  # seconds after each look-up that found nothing until the next
REPEAT_AFTER = 2  # look-ups without a match, after which a write that is safe to repeat is sent again
MAX_SENDS = 3  # of such a write, without a person
MAX_WAIT = timedelta(hours=24)  # for Flexport to become available, after which an operation fails
MAX_LOOKUP_TIME = timedelta(days=3)  # of look-ups that fail, after which a person must decide
_MIN_RETRY, _MAX_RETRY = 30.0, 900.0  # seconds while Flexport is not available: a tenth of the time so far
_BLOCKED_RETRY = 60.0  # seconds; the end of the earlier operation wakes it before
_MAX_RESPONSE = 64 << 10  # bytes of a response that are stored with an attempt
_CONFLICT = 409
_OVERTAKEN = "a person decided meanwhile what becomes of it"
RESTORED = "the database was restored from a backup; the operation may have been sent since"


class FlexportWriter(FlexportReader, Protocol):
    """The client of Flexport, with its writes."""

    async def send(self, method: str, path: str, body: bytes, purpose: Purpose) -> FetchedObject:
        """Create or change an object. Raises a FlexportError."""

    def now(self) -> str:
        """The time on Flexport's clock, as a stamp."""

    def earliest_now(self) -> str:
        """The earliest time that it can be on Flexport's clock, as a stamp."""


class OperationHandler:
    """Sends the operation of an item of the queue, or looks up its outcome. `rules` may be exchanged."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        client: FlexportWriter,
        importer: Importer,
        *,
        registry: Registry,
        rules: WriteRules,
        on_amended: Callable[[Transaction, int | str, str], None],
    ) -> None:
        """`on_amended` is called in the transaction that confirms an amendment of a booking (its id, when)."""
        self._db = db
        self._clock = clock
        self._client = client
        self._importer = importer
        self._registry = registry
        self._on_amended = on_amended
        self.rules = rules

    async def handle(self, item: Item) -> Outcome:
        """Send or look up one operation. Raises UnavailableError."""
        number = decode_as(item.payload or "", OperationRequest).operation
        operation = await self._db.read(lambda tx: tx.operations.by_id(number))
        if operation is None or operation.ended_at is not None or operation.state == "awaiting_approval":
            return Ignored("the operation has ended, waits for an approval, or is deleted")
        kind = OPERATION_KINDS.get(operation.kind)
        if kind is None:
            return Dead(f"this version does not know operations of the kind {operation.kind}")
        if operation.state == "sending":  # the process ended before the answer was stored
            await self._db.write(lambda tx: self._end_interrupted(tx, operation))
            return await self._look_up(operation, kind)
        if operation.state == "unknown":
            return Ignored("a person must decide") if operation.needs_decision else await self._look_up(operation, kind)
        if operation.is_suspect:
            return await self._look_up(operation, kind, RESTORED)
        return await self._send(operation, kind)

    # --- sending ---

    async def _send(self, operation: Operation, kind: OperationKind) -> Outcome:
        rules = self.rules
        if lacks_approval(operation, kind, rules) and await self._db.write(lambda tx: self._withdraw(tx, operation)):
            return Ignored("it waits for an approval, which was not needed when it was created")
        blocking = await self._db.read(lambda tx: tx.operations.blocking(operation))
        wait = rules.refusal(kind)
        if wait is None and blocking is not None:
            wait = f"operation {blocking} on the same object comes first"
        if wait is not None:
            return await self._defer(operation, _BLOCKED_RETRY, wait)
        return await self._prepare_and_submit(operation, kind, rules)

    async def _prepare_and_submit(self, operation: Operation, kind: OperationKind, rules: WriteRules) -> Outcome:
        """Send it, unless it cannot be prepared, or `[writes]` is no longer these rules."""
        try:
            request = await self._prepare(operation, kind)
        except NotFoundAtFlexportError as error:
            return await self._fail(operation, f"Flexport does not have the object that is to be changed: {error}")
        except (FlexportError, InconclusiveLookupError) as error:
            if error.permanent:
                return await self._fail(operation, f"{_refusal_sentence(kind, error)} Nothing was sent.")
            return await self._postpone(operation, error)
        if request is None:  # the operation has ended without a request
            return Applied()
        if self.rules is not rules:
            return Snooze(0.0, "[writes] was changed before it was sent")
        return await self._submit(operation, kind, request)

    def _withdraw(self, tx: Transaction, operation: Operation) -> bool:
        """Let it wait for an approval; False if it was sent before, or a person decided meanwhile."""
        if tx.operations.was_possibly_accepted(operation.id) or not tx.operations.is_unchanged(operation):
            return False
        tx.operations.withdraw(operation.id, self._clock.stamp())
        return True

    async def _submit(self, operation: Operation, kind: OperationKind, request: OutgoingWrite) -> Outcome:
        """Send the request, after it is stored that it is sent."""
        body = msgspec.json.encode(request.body)
        attempt = await self._db.write(lambda tx: self._begin(tx, operation, request, body))
        if attempt is None:
            return Ignored("the operation was cancelled")
        start = await self._importer.request_start()
        try:
            answer = await self._client.send(request.method, request.path, body, "write")
        except FlexportError as error:
            return await self._after_error(operation, kind, attempt, error)
        return await self._accept(operation, kind, attempt, answer, start)

    async def _prepare(self, operation: Operation, kind: OperationKind) -> OutgoingWrite | None:
        """The request to send; None if the operation has ended without one. Raises FlexportError."""
        body = msgspec.json.decode(operation.body)
        if kind.name == "shipment.set_metadata":
            merged = await self._merge_metadata(operation, body)
            if merged is None:
                return None
            body = {"metadata": merged}
        elif kind.looks_first and not await self._has_baseline(operation, kind, body):
            return None
        return outgoing(kind, body, operation.resource_id, self.rules, operation.key)

    async def _has_baseline(self, operation: Operation, kind: OperationKind, body: Mapping[str, Any]) -> bool:
        """Store what exists before, unless it may be the result already; False if the operation ends because of it."""
        if operation.baseline is not None and await self._db.read(
            lambda tx: tx.operations.was_possibly_accepted(operation.id)
        ):
            return True
        write = SentWrite(body, operation.key, operation.resource_id)
        result = await kind.lookup(self._client, write)
        existing = [*result.matches, *result.similar]
        if kind.refuses_existing and existing:
            await self._fail(operation, f"Flexport already has one: {existing[0].id}, which {existing[0].note}")
            return False
        if kind.name == "booking.amend":
            baseline = applied_fields(body, _decoded(existing[0].text))
        else:
            baseline = baseline_of(result)
        await self._db.write(lambda tx: tx.operations.set_baseline(operation.id, baseline))
        return True

    async def _merge_metadata(self, operation: Operation, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """The whole map to send, since Flexport replaces it; None if nothing would change, which confirms it."""
        start = await self._importer.request_start()
        response = await self._client.get("/shipments", operation.resource_id or "", "write")
        found = _decoded(response.text)
        have = found.get("metadata")
        if "metadata" not in found or not isinstance(have, dict | None):
            reason = "Flexport's answer does not show the present metadata of the shipment as an object"
            await self._fail(operation, f"{reason}. A write would replace all of it, so nothing was sent.")
            return None
        merged = merge_metadata(have, body.get("metadata") or {})
        if metadata_differences(merged, have):
            return merged
        candidate = Candidate(operation.resource_id or "", response.text, "has the metadata already")
        await self._confirm_with(operation, candidate, (response.started_at, response.date), start)
        return None

    def _begin(self, tx: Transaction, operation: Operation, request: OutgoingWrite, body: bytes) -> int | None:
        """Store that it is sent, before it is; None if it is no longer to be sent."""
        at = self._clock.stamp()
        if not tx.operations.begin_send(operation.id, at, self._client.earliest_now()):
            return None
        return tx.operations.begin_attempt(
            operation.id, "send", at, method=request.method, path=request.path, request=logged_body(operation, body)
        )

    # --- answers ---

    async def _accept(
        self, operation: Operation, kind: OperationKind, attempt: int, answer: FetchedObject, start: RequestStart
    ) -> Outcome:
        found = _decoded(answer.text)
        key, objection = await self._read_key(operation, kind, found.get("id"))
        if key is None:
            return await self._after_unknown(operation, kind, attempt, UnknownOutcomeError(objection))
        if kind.name == "shipment.set_metadata":
            wanted = msgspec.json.decode(operation.body).get("metadata") or {}
            have = found.get("metadata") or {}
            missing = metadata_differences(wanted, {name: have[name] for name in wanted if name in have})
            if missing:
                error = UnknownOutcomeError(f"Flexport's answer does not show the new metadata: {', '.join(missing)}")
                return await self._after_unknown(operation, kind, attempt, error)
        result = AttemptResult(
            outcome="accepted", status=answer.status, request_id=answer.request_id, response=_beginning(answer.text)
        )
        candidate = Candidate(key, answer.text, "")
        await asyncio.shield(
            self._confirm_with(operation, candidate, (answer.started_at, answer.date), start, (attempt, result))
        )
        return Applied()

    async def _read_key(self, operation: Operation, kind: OperationKind, value: Any) -> tuple[str | None, str]:
        """The id in an answer, or None and why it cannot be the result."""
        domain = self._registry[kind.resource] if kind.resource is not None and kind.name != "booking.amend" else None
        text = str(value) if type(value) in (int, str) else ""
        parsed = domain.parse_id(text) if domain is not None else text or None
        if parsed is None:
            return None, "Flexport's answer does not contain the id of what it made"
        key = str(parsed)
        if domain is not None and kind.changes:
            is_other = key != operation.resource_id
            return None if is_other else key, f"Flexport's answer is about {domain.label} {key}"
        owner = None
        if domain is not None:
            owner = await self._db.read(lambda tx: tx.operations.owner_of(domain.name, key, operation.id))
        return None if owner is not None else key, f"Flexport's answer names the object of operation {owner}"

    async def _after_error(
        self, operation: Operation, kind: OperationKind, attempt: int, error: FlexportError
    ) -> Outcome:
        if isinstance(error, UnknownOutcomeError) or error.response.status == _CONFLICT:
            return await self._after_unknown(operation, kind, attempt, error)
        if _is_temporary(error):
            await self._db.write(lambda tx: self._take_back(tx, operation, attempt, error))
            return await self._postpone(operation, error)
        return await self._refuse(operation, kind, attempt, error)

    async def _refuse(self, operation: Operation, kind: OperationKind, attempt: int, error: FlexportError) -> Outcome:
        """Flexport refused it; after an earlier unknown outcome, perhaps because that one took effect."""
        result = _failed_attempt("refused", error)
        await self._db.write(lambda tx: tx.operations.end_attempt(attempt, self._clock.stamp(), result))
        if await self._db.read(lambda tx: tx.operations.was_possibly_accepted(operation.id)):
            return await self._look_up(operation, kind)
        return await self._fail(operation, _refusal_sentence(kind, error))

    async def _after_unknown(
        self, operation: Operation, kind: OperationKind, attempt: int, error: FlexportError
    ) -> Outcome:
        result = _failed_attempt("unknown", error)
        await asyncio.shield(self._db.write(lambda tx: tx.operations.end_attempt(attempt, self._clock.stamp(), result)))
        log.warning("operation_outcome_unknown", operation_id=operation.id, kind=kind.name, reason=str(error))
        return await self._look_up(operation, kind, str(error))

    def _take_back(self, tx: Transaction, operation: Operation, attempt: int, error: FlexportError) -> None:
        at = self._clock.stamp()
        tx.operations.end_attempt(attempt, at, _failed_attempt("not_sent", error))
        tx.operations.set_state(operation.id, "pending", at, str(error))

    def _end_interrupted(self, tx: Transaction, operation: Operation) -> None:
        at = self._clock.stamp()
        error = "the process ended before Flexport's answer was stored"
        for attempt in tx.operations.interrupted(operation.id):
            tx.operations.end_attempt(attempt, at, AttemptResult(outcome="unknown", error=error))

    async def _postpone(self, operation: Operation, error: Exception) -> Outcome:
        """Flexport is not available, and nothing was sent: later, but not for ever."""
        waited = self._waited(operation)
        if waited > MAX_WAIT.total_seconds():
            return await self._fail(operation, f"It could not be sent within 24 hours, and was not sent. {error}")
        retry_after = error.response.retry_after if isinstance(error, FlexportError) else None
        return await self._defer(operation, max(_retry_delay(waited), retry_after or 0.0), str(error))

    async def _defer(self, operation: Operation, seconds: float, reason: str) -> Outcome:
        """Send a pending operation later, and show why it waits."""

        def defer(tx: Transaction) -> bool:
            if not tx.operations.is_unchanged(operation):
                return False
            if operation.error != reason:
                tx.operations.set_state(operation.id, "pending", self._clock.stamp(), reason)
            return True

        return await self._unless_overtaken(defer, Snooze(seconds, reason))

    async def _fail(self, operation: Operation, error: str) -> Outcome:
        outcome = await self._unless_overtaken(lambda tx: self._give_up(tx, operation, error), Applied())
        if isinstance(outcome, Applied):
            log.warning("operation_failed", operation_id=operation.id, kind=operation.kind, error=error)
        return outcome

    def _give_up(self, tx: Transaction, operation: Operation, error: str) -> bool:
        """It fails; where an earlier request may have had an effect, a person must decide.

        False if a person decided meanwhile, which is only possible before it is sent.
        """
        at = self._clock.stamp()
        current = tx.operations.by_id(operation.id)
        if current is None or (current.state != "sending" and not tx.operations.is_unchanged(operation)):
            return False
        if tx.operations.was_possibly_accepted(operation.id):
            error = f"An earlier request may have had an effect. The last attempt: {error}"
            tx.operations.set_state(operation.id, "unknown", at, error, needs_decision=True)
            tx.journal.add(at, notices=[notice(operation, "unknown", error, needs_decision=True)])
        elif tx.operations.end(operation.id, "failed", at, error=error):
            self._after_end(tx, operation, notice(operation, "failed", error), at)
        return True

    # --- look-ups ---

    async def _look_up(self, operation: Operation, kind: OperationKind, error: str | None = None) -> Outcome:
        """Look for the effect of what was sent; what follows depends on how many matches there are."""
        body = msgspec.json.decode(operation.body)
        current = await self._db.read(lambda tx: tx.operations.by_id(operation.id)) or operation
        baseline = None if current.baseline is None else frozenset(msgspec.json.decode(current.baseline))
        write = SentWrite(
            body, current.key, current.resource_id, current.sent_at or self._client.earliest_now(), baseline
        )
        attempt = await self._db.write(
            lambda tx: tx.operations.begin_attempt(operation.id, "lookup", self._clock.stamp())
        )
        start = await self._importer.request_start()
        started_at = self._client.now()
        try:
            found = await kind.lookup(self._client, write)
        except (FlexportError, InconclusiveLookupError) as failure:
            reason = f"The outcome cannot be looked up: {failure}"
            result, waited = AttemptResult(outcome="failed", error=str(failure)), self._waited(current)
            is_last = failure.permanent or waited > MAX_LOOKUP_TIME.total_seconds()
            return await self._unless_overtaken(
                lambda tx: self._wait(tx, current, attempt, result, reason, needs_decision=is_last),
                Applied() if is_last else Snooze(_retry_delay(waited), reason),
            )
        found = await self._db.read(lambda tx: _unclaimed(tx, current, kind, found))
        evidence = _evidence(found)
        if len(found.matches) == 1:
            result = AttemptResult(outcome="match", response=evidence)
            times = (started_at, self._client.now())
            await asyncio.shield(self._confirm_with(current, found.matches[0], times, start, (attempt, result)))
            return Applied()
        several = len(found.matches) > 1
        result = AttemptResult(outcome="several" if several else "none", response=evidence)
        is_last = several or current.lookups >= len(LOOKUP_DELAYS)
        may_repeat = kind.is_repeatable and not several and current.sends < MAX_SENDS
        if may_repeat and current.lookups + 1 >= REPEAT_AFTER:
            return await self._unless_overtaken(
                lambda tx: self._send_again(tx, current, attempt, result),
                Snooze(0.0, "look-ups found nothing; it is sent again, which is safe"),
            )
        message = error or current.error or "Flexport did not answer"
        delay = 0.0 if is_last else LOOKUP_DELAYS[current.lookups]
        return await self._unless_overtaken(
            lambda tx: self._wait(tx, current, attempt, result, message, needs_decision=is_last),
            Applied() if is_last else Snooze(delay, "its outcome is unknown; it is looked up again"),
        )

    async def _unless_overtaken(self, store: Callable[[Transaction], bool], outcome: Outcome) -> Outcome:
        """Store a result; `outcome`, unless a person decided meanwhile, which leaves an item of its own."""
        return outcome if await self._db.write(store) else Ignored(_OVERTAKEN)

    def _wait(
        self,
        tx: Transaction,
        operation: Operation,
        attempt: int,
        result: AttemptResult,
        error: str,
        *,
        needs_decision: bool = False,
    ) -> bool:
        """The outcome stays unknown: until the next look-up, or for a person. False if a person decided meanwhile."""
        at = self._clock.stamp()
        tx.operations.end_attempt(attempt, at, result)
        if not tx.operations.is_unchanged(operation):
            return False
        if result.outcome != "failed":
            tx.operations.count_lookup(operation.id, at)
        was_known = operation.state != "unknown"
        tx.operations.set_state(operation.id, "unknown", at, error, needs_decision=needs_decision)
        if was_known or needs_decision:
            tx.journal.add(at, notices=[notice(operation, "unknown", error, needs_decision=needs_decision)])
        return True

    def _send_again(self, tx: Transaction, operation: Operation, attempt: int, result: AttemptResult) -> bool:
        """It is pending again; False if a person decided meanwhile."""
        at = self._clock.stamp()
        tx.operations.end_attempt(attempt, at, result)
        if not tx.operations.is_unchanged(operation):
            return False
        tx.operations.trust(operation.id)
        tx.operations.set_state(operation.id, "pending", at, None)
        tx.operations.make_due(operation.target, at)
        return True

    def _waited(self, operation: Operation) -> float:
        """Seconds since it was put into the queue."""
        return age(operation.queued_at, self._clock.now()) or 0.0

    # --- ends ---

    async def confirm(self, operation: Operation, key: str, reason: str, by: str) -> None:
        """Confirm an operation as a person decided, with this object. Raises FlexportError, ConflictError."""
        kind = OPERATION_KINDS[operation.kind]
        domain = self._registry[kind.resource or ""]
        if kind.changes and key != operation.resource_id:
            raise ConflictError(
                f"operation {operation.id} changes {domain.label} {operation.resource_id}; "
                f"it cannot be confirmed as {escape_control(key)}"
            )
        start = await self._importer.request_start()
        response = await self._client.get(LISTS[domain.object_name].path, key, "interactive")
        found = _decoded(response.text).get("id")
        if str(found) != key:
            raise ConflictError(
                f"Flexport answers with {domain.label} {escape_control(str(found), 100)} for {escape_control(key)}"
            )
        candidate = Candidate(key, response.text, "")
        await self._confirm_with(
            operation, candidate, (response.started_at, response.date), start, reason=reason, by=by
        )

    async def _confirm_with(
        self,
        operation: Operation,
        candidate: Candidate,
        times: tuple[str, str],
        start: RequestStart,
        attempt: tuple[int, AttemptResult] | None = None,
        *,
        reason: str | None = None,
        by: str | None = None,
    ) -> None:
        """Confirm an operation, and store its object in the same transaction."""
        kind = OPERATION_KINDS[operation.kind]
        found = _decoded(candidate.text)
        # A look-up of an amendment finds the booking.
        is_amendment = kind.name == "booking.amend" and found.get("_object") != "/booking"
        domain = None if is_amendment or kind.resource is None else self._registry[kind.resource]
        pending = bool(found.get("is_pending")) if is_amendment else None
        key = operation.resource_id if kind.changes else candidate.id

        def confirm(tx: Transaction) -> None:
            at = self._clock.stamp()
            if by is not None:
                self._check_decision(tx, operation, kind, candidate.id)
            if attempt is not None:
                tx.operations.end_attempt(attempt[0], at, attempt[1])
            if not tx.operations.end(operation.id, "confirmed", at, resource_id=key, reason=reason, is_pending=pending):
                return
            body = stored_body(operation)
            if body is not None:
                tx.operations.set_body(operation.id, body)
            if is_amendment and operation.resource_id is not None:
                self._on_amended(tx, id_value(operation.resource_id), at)
            if by is not None:
                detail = f"Confirmed as {candidate.id}: {reason}"
                tx.audit.add(at, by, "operation.resolve", f"operation {operation.id}", detail)
            self._after_end(tx, operation, notice(operation, "confirmed", None, key=key), at)

        if domain is None:
            await self._db.write(confirm)
        else:
            comparison = await self._importer.compare(domain, [candidate.text], times, start)
            cause = ChangeCause(self._clock.stamp(), "write")
            await self._importer.apply([comparison], cause, lambda tx, *_: confirm(tx))
        log.info("operation_confirmed", operation_id=operation.id, kind=kind.name, resource_id=key)

    def _check_decision(self, tx: Transaction, operation: Operation, kind: OperationKind, key: str) -> None:
        """Raises ConflictError if a person cannot confirm an operation with this object, or not any more."""
        resolvable(tx, operation.id)
        if not tx.operations.is_unchanged(operation):
            raise ConflictError(f"somebody else has decided about operation {operation.id} meanwhile")
        owner = None if kind.changes else tx.operations.owner_of(kind.resource or "", key, operation.id)
        if owner is not None:
            label = self._registry[kind.resource or ""].label
            raise ConflictError(f"operation {owner} made {label} {key}; it cannot be the result of two")

    @staticmethod
    def _after_end(tx: Transaction, operation: Operation, told: Mapping[str, Any], at: str) -> None:
        """Tell subscribers, and let the next operation on the same object begin."""
        tx.journal.add(at, notices=[told])
        tx.operations.make_due(operation.target, at)

    def on_dead(self, tx: Transaction, item: Item, error: str, at: str) -> None:
        """An item became a dead letter: nobody works on its operation any more."""
        try:
            number = decode_as(item.payload or "", OperationRequest).operation
        except (msgspec.DecodeError, MalformedError):
            return
        operation = tx.operations.by_id(number)
        if operation is None or operation.ended_at is not None:
            return
        if operation.state in ("sending", "unknown") or tx.operations.was_possibly_accepted(number):
            tx.operations.set_state(number, "unknown", at, error, needs_decision=True)
            tx.journal.add(at, notices=[notice(operation, "unknown", error, needs_decision=True)])
        else:
            tx.operations.end(number, "failed", at, error=error)
            self._after_end(tx, operation, notice(operation, "failed", error), at)


def _retry_delay(waited: float) -> float:
    return min(max(_MIN_RETRY, waited / 10), _MAX_RETRY)


def _refusal_sentence(kind: OperationKind, error: Exception) -> str:
    """Why Flexport refused, and what to do where that is known."""
    if isinstance(error, UnauthorisedError | ForbiddenAtFlexportError):
        what = kind.group.replace("_", " ")
        return (
            f"Flexport does not let this token write {what}: {_sentence(error)} In Flexport's settings, open the API "
            f"credentials, allow them to write {what}, and retry the operation."
        )
    return _sentence(error)


def _sentence(error: Exception) -> str:
    return f"{str(error).rstrip('.')}."


def _is_temporary(error: FlexportError) -> bool:
    if not error.sent:
        return not error.permanent
    return isinstance(error, RateLimitedError | TokensExhaustedError | FlexportUnavailableError)


def _failed_attempt(outcome: Any, error: FlexportError) -> AttemptResult:
    response = error.response
    return AttemptResult(
        outcome=outcome,
        status=response.status or None,
        request_id=response.request_id,
        response=_beginning(response.body) or None,
        error=str(error),
    )


def _unclaimed(tx: Transaction, operation: Operation, kind: OperationKind, found: LookupResult) -> LookupResult:
    """Without the objects that other operations made."""
    if kind.changes or kind.resource is None:
        return found
    resource = kind.resource
    return LookupResult(
        [one for one in found.matches if tx.operations.owner_of(resource, one.id, operation.id) is None],
        [one for one in found.similar if tx.operations.owner_of(resource, one.id, operation.id) is None],
    )


def _evidence(found: LookupResult) -> str:
    """What a look-up found, as JSON."""
    listed = [
        {"id": one.id, "matches": is_match, "note": one.note}
        for is_match, some in ((True, found.matches), (False, found.similar))
        for one in some[:5]
    ]
    return msgspec.json.encode(listed).decode()


def _beginning(text: bytes) -> str:
    return text[:_MAX_RESPONSE].decode("utf-8", "replace")


def _decoded(text: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
