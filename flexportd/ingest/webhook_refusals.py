"""Counts refused webhook deliveries by reason, across restarts, and logs them at a limited rate.

A flood of refused deliveries fills neither disk nor log: counts are in memory and written every few seconds, one row a
reason, and each reason has at most one log line a minute. The reasons are the slugs in the code.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from flexportd.clock import Clock
from flexportd.errors import UnavailableError
from flexportd.escape import escape_control
from flexportd.storage.database import Database
from flexportd.storage.repositories.counters import WebhookRefusal
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

_EVERY = 5.0  # seconds between writes
_LOG_INTERVAL = 60.0  # seconds between lines of one reason
_LONGEST_PATH = 200  # characters


class WebhookRefusalLog:
    """Refused deliveries by reason."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._by_reason: dict[str, WebhookRefusal] = {}
        self._unwritten: set[str] = set()
        self._unlogged: Counter[str] = Counter()
        self._log_at: dict[str, float] = {}  # by reason, when it may be logged again, in the loop's time

    @classmethod
    @asynccontextmanager
    async def open(cls, db: Database, clock: Clock) -> AsyncIterator["WebhookRefusalLog"]:
        """Start with the stored counts; the end writes and logs everything."""
        refusals = cls(db, clock)
        rows = await db.read(lambda tx: tx.webhook_refusals.all())
        refusals._by_reason = {row.reason: row for row in rows}
        try:
            yield refusals
        finally:
            refusals.log_rest()
            await refusals.flush()

    def add(self, reason: str, address: str, path: str) -> None:
        """Count a refused delivery: address of the client, and path of the request as it was sent."""
        at, known = self._clock.stamp(), self._by_reason.get(reason)
        count, first_at = (0, at) if known is None else (known.count, known.first_at)
        self._by_reason[reason] = WebhookRefusal(reason, count + 1, first_at, at, address, path[:_LONGEST_PATH])
        self._unwritten.add(reason)
        self._unlogged[reason] += 1
        if asyncio.get_running_loop().time() >= self._log_at.get(reason, 0.0):
            self._log(reason)

    def all(self) -> Sequence[WebhookRefusal]:
        """All reasons that have occurred, the latest first."""
        return sorted(self._by_reason.values(), key=lambda refusal: refusal.last_at, reverse=True)

    async def run(self) -> None:
        """Write and log every few seconds, until cancelled."""
        while True:
            await self._clock.sleep(_EVERY)
            now = asyncio.get_running_loop().time()
            for reason in [name for name in self._unlogged if now >= self._log_at.get(name, 0.0)]:
                self._log(reason)
            await self.flush()

    async def flush(self) -> None:
        """Write the changed counts; those that the disk refuses are written the next time."""
        reasons, self._unwritten = self._unwritten, set()
        rows = [self._by_reason[reason] for reason in reasons]

        def work(tx: Transaction) -> None:
            tx.webhook_refusals.put(rows)

        if rows:
            try:
                await self._db.write(work)
            except UnavailableError:
                self._unwritten |= reasons

    def log_rest(self) -> None:
        """Log the refusals that have no line yet."""
        for reason in list(self._unlogged):
            self._log(reason)

    def _log(self, reason: str) -> None:
        refusal = self._by_reason[reason]
        log.info(
            "webhook_rejected",
            reason=reason,
            count=self._unlogged.pop(reason),
            total=refusal.count,
            client=refusal.last_address,
            path=escape_control(refusal.last_path),
        )
        self._log_at[reason] = asyncio.get_running_loop().time() + _LOG_INTERVAL
