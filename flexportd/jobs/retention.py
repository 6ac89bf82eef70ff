"""The job `retention`: what is older than is kept goes, in steps so small that nobody waits."""

from datetime import timedelta

from flexportd.clock import Clock, stamp
from flexportd.jobs.job import JobRun
from flexportd.storage.changes import HISTORY_FROM
from flexportd.storage.database import Database
from flexportd.storage.session import Session

STEP = 200  # rows in one transaction
_BETWEEN = 0.02  # seconds between transactions
_CALLS_KEPT = timedelta(days=400)
JOURNAL_KEPT = timedelta(days=30)  # whoever follows it must ask at least so often


class Keep:
    """For how long things are kept; None: for ever. May change while running."""

    def __init__(self, events: timedelta | None, history: timedelta | None) -> None:
        self.events = events
        self.history = history


class Retention:
    """Forgets the oldest events and history."""

    def __init__(self, db: Database, clock: Clock, keep: Keep) -> None:
        self._db = db
        self._clock = clock
        self._keep = keep

    async def run(self, job: JobRun) -> str:
        """Forget until nothing is too old. Raises StoppedError."""
        events = await self._forget_events(job)
        rows = await self._forget_history(job)
        await self._forget_journal(job)
        hour = stamp(self._clock.now() - _CALLS_KEPT)[:13]
        await self._db.write(lambda tx: tx.calls.forget(hour))
        return f"{events} events and {rows} rows of history forgotten"

    async def _forget_events(self, job: JobRun) -> int:
        if self._keep.events is None:
            return 0
        before, count, after = stamp(self._clock.now() - self._keep.events), 0, 0
        while True:
            job.go_on()
            step = await self._db.write(lambda tx: tx.retention.forget_events(before, after, STEP))  # noqa: B023
            count, after = count + step.gone, step.after
            if step.is_last:
                return count
            await self._clock.sleep(_BETWEEN)

    async def _forget_journal(self, job: JobRun) -> None:
        before = stamp(self._clock.now() - JOURNAL_KEPT)
        while True:
            job.go_on()
            gone = await self._db.write(lambda tx: tx.retention.forget_journal(before, STEP))
            if gone < STEP:
                return
            await self._clock.sleep(_BETWEEN)

    async def _forget_history(self, job: JobRun) -> int:
        if self._keep.history is None:
            return 0
        before, count = stamp(self._clock.now() - self._keep.history), 0

        def work(tx: Session) -> int:
            gone = tx.retention.forget_changes(before, STEP)
            if gone:
                tx.meta.put(HISTORY_FROM, before)  # what was known before that can no longer be told
            return gone

        while True:
            job.go_on()
            gone = await self._db.write(work)
            count += gone
            if gone < STEP:
                break
            await self._clock.sleep(_BETWEEN)
        await self._forget_exceptions(job, before)
        return count

    async def _forget_exceptions(self, job: JobRun, before: str) -> None:
        while True:
            job.go_on()
            gone = await self._db.write(lambda tx: tx.exceptions.forget(before, STEP))
            if gone < STEP:
                return
            await self._clock.sleep(_BETWEEN)
