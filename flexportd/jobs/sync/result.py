"""How a run of a sync ends: the receipts come to a state and a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.unit_of_work import ChangeCause
from flexportd.errors import ConflictError, FlexportdError
from flexportd.jobs.sync.deps import SyncDeps
from flexportd.storage.repositories.sync import Receipt, Run
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

_MAX_DETAILED = 3  # lists whose reasons are all told
_MAX_HELD = 1_000_000
SYNC_FAILED = "system.sync_failed"  # the topic of a notice in the journal


class SyncFailedError(FlexportdError):
    """A run ended, and not every resource is as it should be."""

    slug = "sync-failed"


@dataclass(frozen=True)
class RunSummary:
    """How a run ended; the sentence is for people."""

    state: str
    sentence: str


async def finish(reach: SyncDeps, run: Run) -> str:
    """Close the run; its sentence. Raises SyncFailedError with it when not all is well."""
    at = reach.clock.stamp()

    def work(tx: Transaction) -> RunSummary:
        ended = summarise(tx.sync.receipts(run.id))
        tx.sync.end_run(run.id, ended.state, at, ended.sentence)
        if ended.state != "complete":
            told = {"topic": SYNC_FAILED, "run_id": str(run.id), "kind": run.kind, "state": ended.state}
            tx.journal.add(at, notices=[{**told, "detail": ended.sentence}])
        return ended

    ended = await reach.db.write(work)
    log.info("sync_finished", run_id=run.id, kind=run.kind, state=ended.state)
    if ended.state != "complete":
        raise SyncFailedError(ended.sentence)
    return ended.sentence


def summarise(receipts: Sequence[Receipt]) -> RunSummary:
    """What the receipts of a run come to."""
    by_state: dict[str, list[Receipt]] = {}
    for receipt in receipts:
        by_state.setdefault(receipt.state, []).append(receipt)
    failed, held = by_state.get("failed", []), by_state.get("held", [])
    closed = by_state.get("unavailable", [])
    sums = {name: sum(getattr(one, name) for one in receipts) for name in ("objects", "new", "changed", "removed")}
    parts = [f"{sums['objects']} objects: {sums['new']} new, {sums['changed']} changed, {sums['removed']} removed"]
    parts += [*_describe("not available", closed), *_describe("held", held), *_describe("failed", failed)]
    if failed or (closed and len(closed) == len(receipts)):
        return RunSummary("failed", "; ".join(parts))
    return RunSummary("held" if held else "complete", "; ".join(parts))


def _describe(what: str, some: Sequence[Receipt]) -> list[str]:
    """Each with its reason; of many, their names and the first reason: the receipts have the others."""
    if len(some) <= _MAX_DETAILED:
        return [f"{one.resource} {what}: {one.reason}" for one in some]
    names = ", ".join(one.resource for one in some)
    return [f"{len(some)} lists {what} ({names}), first reason: {some[0].reason}"]


async def confirm_removals(reach: SyncDeps, domain: ResourceType) -> int:
    """A person says that what a list lacks is gone: it is removed; how many. Raises ConflictError when none waits."""

    def read(tx: Transaction) -> tuple[list[int | str], str]:
        _, since = tx.sync.held_counts().get(domain.name, (0, ""))
        return tx.sync.held_keys(domain.name, _MAX_HELD), since

    held, as_of = await reach.db.read(read)
    if not held:
        raise ConflictError(f"nothing to review in {domain.route}")
    removed = await reach.intake.remove(domain, held, as_of, ChangeCause(reach.clock.stamp(), "sync"))
    log.warning("removals_accepted", resource=domain.name, removed=removed)
    return removed
