"""How a run of a sync ends: the receipts come to a state and a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from flexportd.core.resources.resource_type import Domain
from flexportd.core.unit_of_work import Cause
from flexportd.errors import ConflictError, FlexportdError
from flexportd.jobs.sync.deps import Reach
from flexportd.storage.repositories.sync import Receipt, Run
from flexportd.storage.transaction import Session

log = structlog.get_logger(__name__)

_EACH = 3  # lists whose reasons are all told
_MOST_HELD = 1_000_000
FAILED = "system.sync_failed"  # the topic of a notice in the journal


class SyncFailedError(FlexportdError):
    """A run ended, and not every resource is as it should be."""

    slug = "sync-failed"


@dataclass(frozen=True)
class Ended:
    """How a run ended; the sentence is for people."""

    state: str
    sentence: str


async def end(reach: Reach, run: Run) -> str:
    """Close the run; its sentence. Raises SyncFailedError with it when not all is well."""
    at = reach.clock.stamp()

    def work(tx: Session) -> Ended:
        ended = verdict(tx.sync.receipts(run.id))
        tx.sync.end_run(run.id, ended.state, at, ended.sentence)
        if ended.state != "complete":
            told = {"topic": FAILED, "run_id": str(run.id), "kind": run.kind, "state": ended.state}
            tx.journal.add(at, notices=[{**told, "detail": ended.sentence}])
        return ended

    ended = await reach.db.write(work)
    log.info("sync_finished", run_id=run.id, kind=run.kind, state=ended.state)
    if ended.state != "complete":
        raise SyncFailedError(ended.sentence)
    return ended.sentence


def verdict(receipts: Sequence[Receipt]) -> Ended:
    """What the receipts of a run come to."""
    by_state: dict[str, list[Receipt]] = {}
    for receipt in receipts:
        by_state.setdefault(receipt.state, []).append(receipt)
    failed, held = by_state.get("failed", []), by_state.get("held", [])
    closed = by_state.get("unavailable", [])
    sums = {name: sum(getattr(one, name) for one in receipts) for name in ("objects", "new", "changed", "removed")}
    parts = [f"{sums['objects']} objects: {sums['new']} new, {sums['changed']} changed, {sums['removed']} removed"]
    parts += [*_told("not available", closed), *_told("held", held), *_told("failed", failed)]
    if failed or (closed and len(closed) == len(receipts)):
        return Ended("failed", "; ".join(parts))
    return Ended("held" if held else "complete", "; ".join(parts))


def _told(what: str, some: Sequence[Receipt]) -> list[str]:
    """Each with its reason; of many, their names and the first reason: the receipts have the others."""
    if len(some) <= _EACH:
        return [f"{one.resource} {what}: {one.reason}" for one in some]
    names = ", ".join(one.resource for one in some)
    return [f"{len(some)} lists {what} ({names}), first reason: {some[0].reason}"]


async def accept(reach: Reach, domain: Domain) -> int:
    """A person says that what a list lacks is gone: it is removed; how many. Raises ConflictError when none waits."""

    def read(tx: Session) -> tuple[list[int | str], str]:
        _, since = tx.sync.held_counts().get(domain.name, (0, ""))
        return tx.sync.held(domain.name, _MOST_HELD), since

    held, as_of = await reach.db.read(read)
    if not held:
        raise ConflictError(f"nothing to review in {domain.route}")
    removed = await reach.intake.remove(domain, held, as_of, Cause(reach.clock.stamp(), "sync"))
    log.warning("removals_accepted", resource=domain.name, removed=removed)
    return removed
