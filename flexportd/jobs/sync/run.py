"""What every sync run has: its dependencies, its failures, and its result as a state and a sentence."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import structlog

from flexportd.clock import Clock
from flexportd.core.importer.importer import Importer
from flexportd.core.resources.registry import Registry
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.unit_of_work import ChangeCause
from flexportd.errors import ConflictError, FlexportdError
from flexportd.flexport.client import Client
from flexportd.jobs.job import StoppedError, unexpected_message
from flexportd.storage.database import Database
from flexportd.storage.repositories.sync import Receipt, ReceiptEnd, Run
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

_MAX_DETAILED = 3  # lists whose reasons are all given
_MAX_HELD = 1_000_000


T = TypeVar("T")


@dataclass
class SyncOptions:
    """The resources to sync (none: all), and how far each incremental run reaches back into the one before."""

    resources: Sequence[str]
    overlap: timedelta

    def includes(self, domain: ResourceType) -> bool:
        """Whether a resource is synced."""
        return not self.resources or domain.name in self.resources


@dataclass(frozen=True)
class SyncDeps:
    """What the sync jobs depend on; built by the daemon once."""

    db: Database
    client: Client
    registry: Registry
    importer: Importer
    clock: Clock
    options: SyncOptions
    after_run: Callable[[], None] = lambda: None
    """Called on the event loop after a run was closed."""

    async def write(self, work: Callable[[Transaction, str], T]) -> T:
        """Run a unit of work, which is given the present time."""
        at = self.clock.stamp()
        return await self.db.write(lambda tx: work(tx, at))

    def cause(self, run: Run | None = None) -> ChangeCause:
        """The cause of changes that are imported now."""
        return ChangeCause(self.clock.stamp(), "sync", run=None if run is None else (run.id, run.started_at))


class SyncFailedError(FlexportdError):
    """A run ended, and not every list is complete."""

    slug = "sync-failed"


async def end_of_list(read: Awaitable[ReceiptEnd], run: Run, resource: str) -> ReceiptEnd:
    """How the reading of a list ended. Raises only StoppedError."""
    try:
        return await read
    except StoppedError:
        raise
    except FlexportdError as error:
        return ReceiptEnd("failed", str(error))
    except Exception as error:
        log.exception("list_sync_failed", resource=resource, run_id=run.id)
        return ReceiptEnd("failed", unexpected_message(error))


async def finish(deps: SyncDeps, run: Run) -> str:
    """Close the run and return its summary. Raises SyncFailedError with the summary if the run is not complete."""

    def work(tx: Transaction, at: str) -> tuple[str, str]:
        state, sentence = summarise(tx.sync.receipts(run.id))
        tx.sync.end_run(run.id, state, at, sentence)
        return state, sentence

    state, sentence = await deps.write(work)
    deps.after_run()
    log.info("sync_finished", run_id=run.id, kind=run.kind, state=state)
    if state != "complete":
        raise SyncFailedError(sentence)
    return sentence


def summarise(receipts: Sequence[Receipt]) -> tuple[str, str]:
    """The state of a run and a sentence for people, from its receipts."""
    by_state: dict[str, list[Receipt]] = {}
    for receipt in receipts:
        by_state.setdefault(receipt.state, []).append(receipt)
    failed, held = by_state.get("failed", []), by_state.get("held", [])
    unavailable = by_state.get("unavailable", [])
    sums = {name: sum(getattr(one, name) for one in receipts) for name in ("objects", "new", "changed", "removed")}
    parts = [f"{sums['objects']} objects: {sums['new']} new, {sums['changed']} changed, {sums['removed']} removed"]
    parts += [*_describe("not available", unavailable), *_describe("held", held), *_describe("failed", failed)]
    is_failed = failed or (unavailable and len(unavailable) == len(receipts))
    return "failed" if is_failed else "held" if held else "complete", "; ".join(parts)


def _describe(state: str, receipts: Sequence[Receipt]) -> list[str]:
    """Each with its reason; of many, their names and the first reason: the receipts have the others."""
    if len(receipts) <= _MAX_DETAILED:
        return [f"{one.resource} {state}: {one.reason}" for one in receipts]
    names = ", ".join(one.resource for one in receipts)
    return [f"{len(receipts)} lists {state} ({names}), first reason: {receipts[0].reason}"]


async def confirm_removals(deps: SyncDeps, domain: ResourceType) -> int:
    """Remove the held objects of a list, as a person confirmed; returns how many. Raises ConflictError for none."""

    def read(tx: Transaction) -> tuple[list[int | str], str]:
        _, since = tx.sync.held_counts().get(domain.name, (0, ""))
        return tx.sync.held_keys(domain.name, _MAX_HELD), since

    held, as_of = await deps.db.read(read)
    if not held:
        raise ConflictError(f"nothing to review in {domain.route}")
    removed = await deps.importer.remove(domain, held, as_of, deps.cause())
    log.warning("removals_accepted", resource=domain.name, removed=removed)
    return removed
