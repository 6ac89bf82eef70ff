"""The job `retention`: what is older than is kept goes, in steps so small that nobody waits."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from flexportd.clock import Clock, stamp
from flexportd.core.trusted_time import EARLIEST, TrustedTime
from flexportd.jobs.job import JobRun
from flexportd.storage.database import Database
from flexportd.storage.repositories.changes import HISTORY_FROM
from flexportd.storage.repositories.retention import Times
from flexportd.storage.transaction import Session

STEP = 200  # rows in one transaction
_BETWEEN = 0.02  # seconds between transactions
_CALLS_KEPT = timedelta(days=400)
_FIRST = datetime(1, 1, 2, tzinfo=UTC)
_SLACK = timedelta(days=1)  # that a time may lie ahead and still be believed
JOURNAL_KEPT = timedelta(days=30)  # whoever follows it must ask at least so often


class Keep:
    """For how long things are kept; None: for ever. May change while running."""

    def __init__(self, events: timedelta | None, history: timedelta | None) -> None:
        self.events = events
        self.history = history


class Retention:
    """Forgets the oldest events and history."""

    def __init__(self, db: Database, clock: Clock, keep: Keep, time: TrustedTime | None = None) -> None:
        self._db = db
        self._clock = clock
        self._keep = keep
        self._time = time or TrustedTime(db, clock)

    async def run(self, job: JobRun) -> str:
        """Forget until nothing is too old. Raises StoppedError."""
        await self._time.look()
        events = await self._forget_events(job)
        rows = await self._forget_history(job)
        await self._forget_journal(job)
        hour = self._older_than(_CALLS_KEPT).before[:13]
        await self._db.write(lambda tx: tx.calls.forget(hour))
        problem = self._time.problem
        return f"{events} events and {rows} history rows deleted" + (f"; {problem}" if problem else "")

    def _older_than(self, kept: timedelta) -> Times:
        now = self._time.now()
        return Times(stamp(max(now, _FIRST + kept) - kept), EARLIEST, stamp(now + _SLACK))

    async def _forget_events(self, job: JobRun) -> int:
        if self._keep.events is None:
            return 0
        times, count, after = self._older_than(self._keep.events), 0, 0
        while old := await self._db.read(lambda tx: tx.retention.old_events(times, after, STEP)):  # noqa: B023
            job.go_on()
            count += await self._db.write(lambda tx: tx.retention.forget_events(old))
            after = old[-1]
            await self._clock.sleep(_BETWEEN)
        return count

    async def _forget_journal(self, job: JobRun) -> None:
        times = self._older_than(JOURNAL_KEPT)
        while old := await self._db.read(lambda tx: tx.retention.old_entries(times, STEP)):
            job.go_on()
            await self._db.write(lambda tx: tx.retention.forget_journal(times.before, STEP, old))
            await self._clock.sleep(_BETWEEN)

    async def _forget_history(self, job: JobRun) -> int:
        if self._keep.history is None:
            return 0
        times, count = self._older_than(self._keep.history), 0

        def work(tx: Session, old: Sequence[int]) -> int:
            gone = tx.retention.forget_changes(times.before, STEP, old)
            if gone:
                tx.meta.put(HISTORY_FROM, times.before)  # what was known before that can no longer be told
            return gone

        while old := await self._db.read(lambda tx: tx.retention.old_changes(times, STEP)):
            job.go_on()
            count += await self._db.write(lambda tx: work(tx, old))
            await self._clock.sleep(_BETWEEN)
        await self._forget_exceptions(job, times)
        return count

    async def _forget_exceptions(self, job: JobRun, times: Times) -> None:
        while True:
            job.go_on()
            gone = await self._db.write(lambda tx: tx.exceptions.forget(times.before, STEP, times.earliest))
            if gone < STEP:
                return
            await self._clock.sleep(_BETWEEN)
