"""The job `retention`: deletes expired events, operations and history, in small transactions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flexportd.clock import Clock, stamp
from flexportd.core.trusted_time import EARLIEST, TrustedTime
from flexportd.jobs.job import JobRun
from flexportd.settings import Settings
from flexportd.storage.database import Database
from flexportd.storage.repositories.changes import HISTORY_FROM
from flexportd.storage.repositories.retention import RetentionWindow
from flexportd.storage.transaction import Transaction

BATCH_SIZE = 200  # rows in one transaction
_PAUSE = 0.02  # seconds between transactions
_CALLS_KEPT = timedelta(days=400)
_MIN_TIME = datetime(1, 1, 2, tzinfo=UTC)
_SLACK = timedelta(days=1)  # how far ahead a time may be to count
JOURNAL_KEPT = timedelta(days=30)  # a stream client must reconnect within this time


@dataclass(frozen=True, slots=True)
class RetentionPeriods:
    """How long events and history are kept; None: forever."""

    events: timedelta | None
    history: timedelta | None

    @classmethod
    def from_settings(cls, settings: Settings) -> "RetentionPeriods":
        """What `[storage]` says."""
        return cls(settings.storage.event_retention, settings.storage.history_retention)


class RetentionJob:
    """Deletes the oldest events and history."""

    def __init__(self, db: Database, clock: Clock, periods: RetentionPeriods, time: TrustedTime) -> None:
        self._db = db
        self._clock = clock
        self._keep = periods
        self._time = time

    def reload(self, settings: Settings) -> None:
        """Apply other periods from the next run on."""
        self._keep = RetentionPeriods.from_settings(settings)

    async def run(self, job: JobRun) -> str:
        """Delete until nothing is too old. Raises StoppedError."""
        await self._time.check()
        journal = self._window(JOURNAL_KEPT)
        events = await self._delete_events(job)
        await self._delete_finished(job)
        rows = await self._delete_history(job)
        await self._delete(
            job,
            lambda tx, _: tx.retention.old_entries(journal, BATCH_SIZE),
            lambda tx, old: tx.retention.delete_journal(journal.before, BATCH_SIZE, old),
        )
        hour = self._window(_CALLS_KEPT).before[:13]
        await self._db.write(lambda tx: tx.api_usage.delete_before(hour))
        problem = self._time.problem
        return f"{events} events and {rows} history rows deleted" + (f"; {problem}" if problem else "")

    def _window(self, kept: timedelta) -> RetentionWindow:
        now = self._time.now()
        return RetentionWindow(stamp(max(now, _MIN_TIME + kept) - kept), EARLIEST, stamp(now + _SLACK))

    async def _delete(
        self,
        job: JobRun,
        read: Callable[[Transaction, int], Sequence[int]],
        delete: Callable[[Transaction, Sequence[int]], int],
    ) -> int:
        """Delete what `read` returns, which is given the last row of the batch before; how many."""
        count, after = 0, 0
        while old := await self._db.read(lambda tx: read(tx, after)):  # noqa: B023 (awaited here)
            job.check_stop()
            count += await self._db.write(lambda tx: delete(tx, old))
            after = old[-1]
            await self._clock.sleep(_PAUSE)
        return count

    async def _delete_events(self, job: JobRun) -> int:
        if self._keep.events is None:
            return 0
        times = self._window(self._keep.events)
        return await self._delete(
            job,
            lambda tx, after: tx.retention.old_events(times, after, BATCH_SIZE),
            lambda tx, old: tx.retention.delete_events(old),
        )

    async def _delete_finished(self, job: JobRun) -> None:
        """Delete old messages to channels, operations that have ended, and what people did."""
        if self._keep.events is None:
            return
        before = self._window(self._keep.events).before
        deletions: tuple[Callable[[Transaction], int], ...] = (
            lambda tx: tx.notifications.delete_old(before, BATCH_SIZE),  # first: those of a large digest
            lambda tx: tx.deliveries.delete_old(before, BATCH_SIZE),
            lambda tx: tx.operations.delete_old(before, BATCH_SIZE),
            lambda tx: tx.audit.delete_old(before, BATCH_SIZE),
        )
        for delete in deletions:
            deleted = BATCH_SIZE
            while deleted == BATCH_SIZE:
                job.check_stop()
                deleted = await self._db.write(delete)
                await self._clock.sleep(_PAUSE)

    async def _delete_history(self, job: JobRun) -> int:
        if self._keep.history is None:
            return 0
        times = self._window(self._keep.history)

        def delete(tx: Transaction, old: Sequence[int]) -> int:
            deleted = tx.retention.delete_changes(times.before, BATCH_SIZE, old)
            if deleted:
                tx.meta.put(HISTORY_FROM, times.before)  # earlier states can no longer be reconstructed
            return deleted

        count = await self._delete(job, lambda tx, _: tx.retention.old_changes(times, BATCH_SIZE), delete)
        deleted = BATCH_SIZE
        while deleted == BATCH_SIZE:
            job.check_stop()
            deleted = await self._db.write(
                lambda tx: tx.exceptions.delete_closed(times.before, BATCH_SIZE, times.earliest)
            )
            await self._clock.sleep(_PAUSE)
        return count
