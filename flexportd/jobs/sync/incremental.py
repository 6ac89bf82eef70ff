"""The incremental sync: recent changes, from the lists that can be filtered by the time of the change.

A changed ETA sends no webhook unless Flexport was asked to, so this is how it is noticed within minutes.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from flexportd.clock import is_within, parse, stamp
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import instant
from flexportd.errors import FlexportdError
from flexportd.flexport.client import ListPage
from flexportd.flexport.lists import LISTS, ChangeFilter
from flexportd.jobs.job import JobRun
from flexportd.jobs.sync.page_reader import ListReader
from flexportd.jobs.sync.run import SyncDeps, end_of_list, finish
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.sync import ListState, ReceiptEnd, Run
from flexportd.storage.transaction import Transaction

_MAX_REFETCHED = 50  # shipments whose legs and containers are fetched after one run; the full sync reads them all
_FILTER_RETRY = timedelta(days=1)  # until a filter that Flexport ignored is tried again
_KEPT_RUNS = 300  # runs whose receipts are kept


class FilterIgnoredError(FlexportdError):
    """Flexport ignored a filter: the list has objects that do not match it."""

    slug = "filter-ignored"


class ChangedSince(ListReader):
    """Reads what changed since a time, and checks that Flexport applied the filter."""

    def __init__(self, deps: SyncDeps, domain: ResourceType, run: Run, changes: ChangeFilter, since: str) -> None:
        super().__init__(deps, domain, run, {**changes.query, changes.since: since})
        self._changes = changes
        self._since = since

    def check(self, page: ListPage) -> None:
        """Raises FilterIgnoredError for a page with an object that changed before that time."""
        for row in page.rows:
            at = instant(_member(row, self._changes.member))
            if at is not None and at < self._since:
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
"""(transaction, shipments that changed, our time): queues the fetches of what belongs to them, such as legs."""


class IncrementalSync:
    """The job `incremental_sync`."""

    def __init__(self, deps: SyncDeps, queue_refetch: QueueRefetch = lambda _tx, _shipments, _at: None) -> None:
        self._deps = deps
        self._queue_refetch = queue_refetch

    async def run(self, job: JobRun) -> str:
        """Read every list that can be filtered for changes. Raises SyncFailedError, StoppedError."""
        due = await self._due()
        if not due:
            return "Nothing to do until the first full sync has completed"
        run = await self._begin([domain.name for domain, _ in due], job)
        for domain, state in due:
            job.check_stop()
            await self._sync_list(run, domain, state, job)
        return await finish(self._deps, run)

    async def _due(self) -> list[tuple[ResourceType, ListState]]:
        states = await self._deps.db.read(lambda tx: tx.sync.list_states())
        due, now = [], self._deps.clock.now()
        for domain in self._deps.registry:
            state = states.get(domain.name)
            if not state or not LISTS[domain.object_name].changes or not self._deps.options.includes(domain):
                continue
            is_refused = is_within(state.filter_refused_at, now, _FILTER_RETRY)
            if state.floor and not state.unavailable_at and not is_refused:
                due.append((domain, state))
        return due

    async def _begin(self, resources: Sequence[str], job: JobRun) -> Run:
        cause = "manual" if job.cause == "manual" else "schedule"

        def work(tx: Transaction, at: str) -> Run | None:
            interrupted = tx.sync.running("incremental")
            if interrupted is not None:
                reason = "Interrupted by a restart; the next run covers the same period"
                tx.sync.end_run(interrupted.id, "failed", at, reason)
            tx.sync.delete_old_runs("incremental", _KEPT_RUNS, 50)
            return tx.sync.run(tx.sync.begin("incremental", cause, at, resources))

        run = await self._deps.write(work)
        assert run is not None
        return run

    async def _sync_list(self, run: Run, domain: ResourceType, state: ListState, job: JobRun) -> None:
        began, changed = list[str](), set[Key]()

        async def read() -> ReceiptEnd:
            since = await self._start(run, domain, state)
            try:
                for changes in LISTS[domain.object_name].changes:
                    reader = ChangedSince(self._deps, domain, run, changes, since)
                    await reader.run(job)
                    began.append(reader.began_at or since)
                    changed.update(reader.changed)
            except FilterIgnoredError as error:
                await self._deps.write(lambda tx, at: tx.sync.set_filter_refused(domain.name, at))
                return ReceiptEnd("unavailable", f"{error}; changes are found only by the full sync")
            return ReceiptEnd("complete")

        end = await end_of_list(read(), run, domain.name)

        def close(tx: Transaction, at: str) -> None:
            if end.state == "complete":
                tx.sync.set_incremental_since(domain.name, min(began))
                tx.sync.set_filter_refused(domain.name, None)
            if domain.name == "shipments":
                # Legs and containers have no timestamp: a changed shipment is a hint.
                moved = sorted(key for key in changed if isinstance(key, int))
                self._queue_refetch(tx, moved[-_MAX_REFETCHED:], at)
            tx.sync.end_receipt(run.id, domain.name, at, end)

        await self._deps.write(close)

    async def _start(self, run: Run, domain: ResourceType, state: ListState) -> str:
        """Start to read a list; since when changes are needed, on Flexport's clock."""
        at = self._deps.clock.stamp()
        await self._deps.db.write(lambda tx: tx.sync.start(run.id, domain.name, at))
        # A time in the future comes from a clock that has been set back since.
        since = min(parse(state.incremental_since or state.floor or at), parse(self._deps.client.now()))
        return stamp(since - self._deps.options.overlap)
