"""The incremental sync: what changed lately, from the lists that can be asked for it.

A change of an ETA sends no webhook unless Flexport was asked to, so this is how one is heard of within minutes.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import structlog

from flexportd.clock import parse, stamp
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import instant
from flexportd.errors import FlexportdError
from flexportd.flexport.client import ListPage
from flexportd.flexport.lists import LISTS, ChangeFilter
from flexportd.jobs.job import JobRun, StoppedError, unexpected_message
from flexportd.jobs.sync.deps import SyncDeps
from flexportd.jobs.sync.page_reader import ListReader, Position
from flexportd.jobs.sync.result import finish
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.sync import ListState, ReceiptEnd, Run
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

_MAX_REFETCHED = 50  # shipments whose legs and containers are fetched after one run; the full sync reads them all
_FILTER_RETRY = timedelta(days=1)  # until a filter that was ignored is tried again

KEPT_SYNC_RUNS = 300  # runs whose receipts are kept


class FilterIgnoredError(FlexportdError):
    """Flexport answered with objects that were not asked for."""

    slug = "filter-ignored"


class ChangedSince(ListReader):
    """Reads what changed since a time, and sees to it that this is what comes."""

    def __init__(self, reach: SyncDeps, domain: ResourceType, run: Run, asked: tuple[ChangeFilter, str]) -> None:
        self._changes, self._after = asked
        super().__init__(reach, domain, run, {**self._changes.query, self._changes.since: self._after})

    def check(self, answer: ListPage) -> None:
        """Raises FilterIgnoredError for a page with something older than what was asked for."""
        for row in answer.rows:
            at = instant(_member(row, self._changes.member))
            if at is not None and at < self._after:
                raise FilterIgnoredError(f"{self._changes.since} was ignored by Flexport")


def _member(row: bytes, names: Sequence[str]) -> str | None:
    try:
        value: Any = msgspec.json.decode(row)
    except (ValueError, RecursionError):
        return None
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None


QueueRefetch = Callable[[Transaction, Sequence[int], str], None]
"""(transaction, shipments that changed, our time): what is to be fetched with them, such as their legs."""


class IncrementalSync:
    """The job `incremental_sync`."""

    def __init__(
        self, reach: SyncDeps, chosen: "SyncOptions", follow: QueueRefetch = lambda _tx, _shipments, _at: None
    ) -> None:
        self._reach = reach
        self._chosen = chosen
        self._queue_refetch = follow

    async def run(self, job: JobRun) -> str:
        """Read every list that can be asked for changes. Raises SyncFailedError, StoppedError."""
        due = await self._due()
        if not due:
            return "Nothing to do until the first full sync has completed"
        run = await self._begin([domain.name for domain, _ in due], job)
        for domain, state in due:
            job.check_stop()
            await self._sync_list(run, domain, state, job)
        return await finish(self._reach, run)

    async def _due(self) -> list[tuple[ResourceType, ListState]]:
        states = await self._reach.db.read(lambda tx: tx.sync.list_states())
        found = []
        for domain in self._reach.registry:
            state, chosen = states.get(domain.name), self._chosen.resources()
            if not LISTS[domain.object_name].changes or (chosen and domain.name not in chosen):
                continue
            refused = state and state.filter_refused_at
            # One that is yet to come was noted by a clock that has been set back since.
            if refused and timedelta() <= self._reach.clock.now() - parse(refused) < _FILTER_RETRY:
                continue
            if state and state.floor and not state.unavailable_at:
                found.append((domain, state))
        return found

    async def _begin(self, resources: Sequence[str], job: JobRun) -> Run:
        cause, at = "manual" if job.cause == "manual" else "schedule", self._reach.clock.stamp()

        def work(tx: Transaction) -> Run | None:
            broken = tx.sync.running("incremental")
            if broken is not None:
                reason = "Interrupted by a restart; the next run covers the same period"
                tx.sync.end_run(broken.id, "failed", at, reason)
            tx.sync.delete_old_runs("incremental", KEPT_SYNC_RUNS, 50)
            return tx.sync.run(tx.sync.begin("incremental", cause, at, resources))

        run = await self._reach.db.write(work)
        assert run is not None
        return run

    async def _sync_list(self, run: Run, domain: ResourceType, state: ListState, job: JobRun) -> None:
        clock = self._reach.clock
        at = clock.stamp()
        await self._reach.db.write(lambda tx: tx.sync.start(run.id, domain.name, at))
        # A time that is yet to come was reckoned by a clock that has been set back since.
        since = min(parse(state.incremental_since or state.floor or at), parse(self._reach.client.now()))
        since -= self._chosen.overlap()
        began, changed = list[str](), set[Key]()
        try:
            for changes in LISTS[domain.object_name].changes:
                reading = ChangedSince(self._reach, domain, run, (changes, stamp(since)))
                await reading.run(job, Position())
                began.append(reading.began_at or stamp(since))
                changed |= reading.changed
        except StoppedError:
            raise
        except FilterIgnoredError as error:
            ended = ReceiptEnd("unavailable", f"{error}; changes are found only by the full sync")
            at = clock.stamp()
            await self._reach.db.write(lambda tx: tx.sync.set_filter_refused(domain.name, at))
        except FlexportdError as error:
            ended = ReceiptEnd("failed", str(error))
        except Exception as error:
            log.exception("list_sync_failed", resource=domain.name, run_id=run.id)
            ended = ReceiptEnd("failed", unexpected_message(error))
        else:
            ended = ReceiptEnd("complete")
        done_at = clock.stamp()

        def close(tx: Transaction) -> None:
            if ended.state == "complete":
                tx.sync.set_incremental_since(domain.name, min(began))
                tx.sync.set_filter_refused(domain.name, None)
            if domain.name == "shipments":
                # Legs and containers do not say when they change: a shipment that moved is a hint.
                moved = sorted(key for key in changed if isinstance(key, int))
                self._queue_refetch(tx, moved[-_MAX_REFETCHED:], done_at)
            tx.sync.end_receipt(run.id, domain.name, done_at, ended)

        await self._reach.db.write(close)


class SyncOptions:
    """The settings of the sync that may change while running."""

    def __init__(self, names: Sequence[str], overlap: timedelta) -> None:
        self.names = tuple(names)
        self.back = overlap

    def resources(self) -> tuple[str, ...]:
        """The resources that are read; none: all."""
        return self.names

    def overlap(self) -> timedelta:
        """How far each reading reaches back into the one before."""
        return self.back
