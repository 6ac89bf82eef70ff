"""Writes to Flexport as one part of the daemon: operations, their sender, and what clients and people do with them."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

import msgspec
import structlog

from flexportd.core.outbox import actions
from flexportd.core.outbox.actions import Actor, WriteCommand
from flexportd.core.outbox.lookup import is_newly_shown
from flexportd.core.outbox.product_upsert import ProductPlan, plan_product
from flexportd.core.outbox.records import notice
from flexportd.core.outbox.request_builder import OutgoingWrite, WriteRules, merge_metadata, outgoing
from flexportd.core.outbox.sender import RESTORED, OperationHandler
from flexportd.core.outbox.validation.account import Account
from flexportd.core.resources.registry import Registry
from flexportd.daemon.flexport_service import FlexportService
from flexportd.errors import ConflictError, ForbiddenError, UnavailableError
from flexportd.ingest.refetch import REFRESH, RefetchRequest, refetch_item
from flexportd.queue.handlers import ItemHandler
from flexportd.queue.queue import Queue
from flexportd.queue.workers import ItemWorker, LeaseLimits
from flexportd.settings import Settings
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.items import INTERACTIVE, SYNC
from flexportd.storage.repositories.operations import ITEM_KIND, Operation
from flexportd.storage.transaction import Transaction
from flexportd.tasks import Tasks

log = structlog.get_logger(__name__)

T = TypeVar("T")

_LEASE_MARGIN = 1200.0  # seconds for a large upload and for the look-ups of one operation, besides the timeout
_FOLLOW_UP_INTERVAL = 60.0  # seconds between looks at pending amendments
_REFETCH_ROUNDS = 15  # of those after which the bookings of pending amendments are fetched
_MAX_FOLLOWED = 200  # pending amendments in one transaction


class OutboxService:
    """Writes to Flexport. Must be created before the queue is loaded; without a key for Flexport it only reads."""

    def __init__(
        self,
        settings: Settings,
        queue: Queue,
        tasks: Tasks,
        registry: Registry,
        *,
        flexport: FlexportService | None,
        after_write: Callable[[], None],
    ) -> None:
        """`after_write` is called after an operation has changed."""
        self._queue = queue
        self._tasks = tasks
        self._after_write = after_write
        self.rules = WriteRules.from_settings(settings)
        self._changed = asyncio.Event()
        self.handler: OperationHandler | None = None
        if flexport is not None:
            self.handler = OperationHandler(
                queue.db, queue.clock, flexport.client, flexport.intake,
                registry=registry, rules=self.rules, on_amended=_refetch_booking,
            )  # fmt: skip
            self._item_handler = ItemHandler(
                name=ITEM_KIND, handle=self.handler.handle, on_dead=self.handler.on_dead, on_commit=self._announce
            )
            lease = settings.flexport.timeout.total_seconds() + _LEASE_MARGIN
            self._limits = LeaseLimits(settings.flexport.concurrency, lease)
            queue.add(self._item_handler)

    async def after_restore(self) -> None:
        """Send nothing that another database may have sent: all outcomes are unknown. Before the queue is loaded."""
        at = self._queue.clock.stamp()
        count = await self._queue.db.write(lambda tx: tx.operations.suspect_all(at, RESTORED))
        if count:
            log.warning("operations_after_restore", operations=count, reason=RESTORED)

    def start(self) -> None:
        """Start the loops in the background."""
        if self.handler is not None:
            self._tasks.start("operations", ItemWorker(self._queue, self._item_handler, self._tasks, self._limits).run)
            self._tasks.start("pending_amendments", self._follow_up, vital=False)

    def reload(self, settings: Settings) -> None:
        """Apply `[writes]`."""
        self.rules = WriteRules.from_settings(settings)
        if self.handler is not None:
            self.handler.rules = self.rules
            self._queue.gates[ITEM_KIND].wake()

    async def check(self, command: WriteCommand) -> None:
        """Check a body. Raises InvalidBodyError."""
        now = self._queue.clock.now()
        await self._queue.db.read(lambda tx: actions.check(tx, command, now))

    async def preview(self, command: WriteCommand) -> OutgoingWrite:
        """What would be sent. Raises InvalidBodyError, ForbiddenError."""
        self._check_enabled(command)
        now = self._queue.clock.now()

        def read(tx: Transaction) -> OutgoingWrite:
            actions.check(tx, command, now)
            body = command.body
            if command.kind.name == "shipment.set_metadata":
                present = _stored(tx, now, "shipments", command.target_id).get("metadata")
                body = {"metadata": merge_metadata(present, body["metadata"])}
            target = None if command.target_id is None else str(command.target_id)
            return outgoing(command.kind, body, target, self.rules)

        return await self._queue.db.read(read)

    async def create(self, command: WriteCommand, actor: Actor) -> tuple[Operation, bool]:
        """Store an operation; with the key of an earlier one, return that. Whether it is new.

        Raises InvalidBodyError, ForbiddenError, ConflictError.
        """
        earlier = await self._queue.db.read(lambda tx: actions.find_earlier(tx, command, actor))
        if earlier is not None:
            return earlier, False
        self._check_enabled(command)
        at, now = self._queue.clock.stamp(), self._queue.clock.now()

        def write(tx: Transaction) -> tuple[Operation, bool]:
            if actions.find_earlier(tx, command, actor) is None:
                actions.check(tx, command, now)
            return actions.create(tx, command, actor, self.rules, at)

        return await self._act(write)

    async def plan_products(self, rows: Sequence[object]) -> list[ProductPlan]:
        """What rows of products need, in their order. Raises ForbiddenError, ConflictError."""
        now = self._queue.clock.now()
        return await self._queue.db.read(lambda tx: [plan_product(tx, row, now) for row in rows])

    async def push_products(self, rows: Sequence[object], actor: Actor) -> list[ProductPlan]:
        """Create the operations that rows of products need; the plans, with the operations.

        Raises ForbiddenError, ConflictError.
        """
        at, now = self._queue.clock.stamp(), self._queue.clock.now()
        self._require_flexport()

        def write(tx: Transaction) -> list[ProductPlan]:
            plans = []
            for row in rows:
                plan = plan_product(tx, row, now)
                if plan.command is not None:
                    operation, _ = actions.create(tx, plan.command, actor, self.rules, at)
                    plan = replace(plan, operation_id=operation.id)
                plans.append(plan)
            return plans

        return await self._act(write)

    async def approve(self, number: int, actor: Actor) -> None:
        """Let an operation be sent. Raises NotFoundError, ConflictError, ForbiddenError."""
        at = self._queue.clock.stamp()
        await self._act(lambda tx: actions.approve(tx, number, actor, at))

    async def cancel(self, number: int, actor: Actor, reason: str) -> None:
        """Do not send an operation. Raises NotFoundError, ConflictError."""
        at = self._queue.clock.stamp()
        await self._act(lambda tx: actions.cancel(tx, number, actor, reason, at))

    async def retry(self, number: int, actor: Actor) -> None:
        """Send a failed operation again, or look up an unknown one now.

        Raises NotFoundError, ConflictError, ForbiddenError.
        """
        self._require_flexport()
        at = self._queue.clock.stamp()
        await self._act(lambda tx: actions.retry(tx, number, actor, self.rules, at))

    async def resend(self, number: int, actor: Actor, reason: str) -> None:
        """Send an unknown operation again. Raises NotFoundError, ConflictError, ForbiddenError."""
        self._require_flexport()
        at = self._queue.clock.stamp()
        await self._act(lambda tx: actions.resend(tx, number, actor, self.rules, reason=reason, at=at))

    async def resolve_cancelled(self, number: int, actor: Actor, reason: str) -> None:
        """Give up an unknown operation. Raises NotFoundError, ConflictError."""
        at = self._queue.clock.stamp()
        await self._act(lambda tx: actions.resolve_cancelled(tx, number, actor, reason, at))

    async def resolve_confirmed(self, number: int, actor: Actor, key: str, reason: str) -> None:
        """Confirm an unknown operation with an object, which is fetched from Flexport first.

        Raises NotFoundError, ConflictError, FlexportError.
        """
        handler = self._require_flexport()
        operation = await self._queue.db.read(lambda tx: actions.resolvable(tx, number))
        await handler.confirm(operation, key, reason, actor.name)
        self._announce()

    async def wait(self, number: int, seconds: float) -> None:
        """Wait until an operation has ended or needs a person, at most this long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    changed = self._changed
                    operation = await self._queue.db.read(lambda tx: tx.operations.by_id(number))
                    if operation is None or operation.state not in ("pending", "sending"):
                        return
                    await changed.wait()

    def _check_enabled(self, command: WriteCommand) -> None:
        refusal = self.rules.refusal(command.kind)
        if refusal is not None:
            raise ForbiddenError(refusal)
        self._require_flexport()

    def _require_flexport(self) -> OperationHandler:
        if self.handler is None:
            raise ConflictError(
                "no key for Flexport is configured; set [flexport] api_key, or client_id and client_secret"
            )
        return self.handler

    async def _act(self, work: Callable[[Transaction], T]) -> T:
        result = await self._queue.change(work)
        self._announce()
        return result

    def _announce(self) -> None:
        """An operation may have changed."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._after_write()

    async def _follow_up(self) -> None:
        """Find out whether Flexport has applied pending amendments, until cancelled."""
        round_number = 0
        while True:
            await self._queue.clock.sleep(_FOLLOW_UP_INTERVAL)
            round_number += 1
            with contextlib.suppress(UnavailableError):  # the writer logs it
                await self.follow_up_amendments(refetch=round_number % _REFETCH_ROUNDS == 0)

    async def follow_up_amendments(self, *, refetch: bool = False) -> None:
        """Mark the amendments that their bookings show as applied; `refetch`: fetch the bookings of the others."""
        after, any_applied = 0, False
        while pending := await self._pending_amendments(after):
            any_applied |= await self._follow(pending, refetch=refetch)
            after = pending[-1].id
        if any_applied:
            self._announce()
        if refetch and after:
            self._queue.gates[REFRESH].wake()

    async def _pending_amendments(self, after: int) -> Sequence[Operation]:
        return await self._queue.db.read(lambda tx: tx.operations.pending_amendments(after, _MAX_FOLLOWED))

    async def _follow(self, pending: Sequence[Operation], *, refetch: bool) -> bool:
        """Look at some pending amendments; whether one is applied."""
        at, now = self._queue.clock.stamp(), self._queue.clock.now()

        def write(tx: Transaction) -> bool:
            applied = [one for one in pending if _is_applied(tx, now, one) and tx.operations.set_applied(one.id, at)]
            tx.journal.add(at, notices=[{**notice(one, "confirmed", None), "applied": True} for one in applied])
            if refetch:
                for one in pending:
                    if one not in applied and one.resource_id is not None:
                        _refetch_booking(tx, one.resource_id, at, SYNC)
            return bool(applied)

        return await self._queue.db.write(write)


def _is_applied(tx: Transaction, now: datetime, operation: Operation) -> bool:
    booking = _stored(tx, now, "bookings", operation.resource_id)
    before = frozenset(msgspec.json.decode(operation.baseline or "[]"))
    return bool(booking) and is_newly_shown(msgspec.json.decode(operation.body), booking, before)


def _stored(tx: Transaction, now: datetime, resource: str, key: Key | None) -> Mapping[str, Any]:
    """Flexport's own JSON of a mirrored object; empty if there is none."""
    record = None if key is None else Account(tx, now).find(resource, key)
    found = {} if record is None or not record.raw else msgspec.json.decode(record.raw)
    return found if isinstance(found, dict) else {}


def _refetch_booking(tx: Transaction, booking: Key, at: str, priority: int = INTERACTIVE) -> None:
    """Fetch a booking soon, to show what an amendment changed."""
    key = int(booking) if isinstance(booking, str) and booking.isdigit() else booking
    tx.items.add(at, [refetch_item(RefetchRequest("bookings", key, since=at), at, priority)])


def _with_operation(plan: ProductPlan, operation_id: int) -> ProductPlan:
    return ProductPlan(plan.action, plan.sku, plan.product_id, plan.changes, plan.problems, operation_id, plan.command)
