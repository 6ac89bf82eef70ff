"""The job `retention`: what is older than is kept goes, in steps so small that nobody waits."""

from collections.abc import Callable
from datetime import timedelta

from flexportd.clock import Clock, stamp
from flexportd.jobs.job import JobRun
from flexportd.storage.database import Database
from flexportd.storage.session import Session

STEP = 200  # rows in one transaction
_BETWEEN = 0.02  # seconds between transactions
_CALLS_KEPT = timedelta(days=400)


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
        events = await self._forget(job, self._keep.events, lambda tx, before: tx.retention.forget_events(before, STEP))
        rows = await self._forget(job, self._keep.history, _forget_history)
        hour = stamp(self._clock.now() - _CALLS_KEPT)[:13]
        await self._db.write(lambda tx: tx.calls.forget(hour))
        return f"{events} events and {rows} rows of history forgotten"

    async def _forget(self, job: JobRun, keep: timedelta | None, step: Callable[[Session, str], int]) -> int:
        if keep is None:
            return 0
        before, count = stamp(self._clock.now() - keep), 0
        while True:
            job.go_on()
            gone = await self._db.write(lambda tx: step(tx, before))
            count += gone
            if gone < STEP:
                return count
            await self._clock.sleep(_BETWEEN)


def _forget_history(tx: Session, before: str) -> int:
    gone = tx.retention.forget_changes(before, STEP)
    if gone:
        tx.meta.put("history_from", before)  # what was known before that can no longer be told
    return gone
