"""Usage of keys and share links: counted in memory, written to the database in the background."""

from datetime import datetime

from flexportd.clock import Clock, stamp
from flexportd.errors import UnavailableError
from flexportd.storage.database import Database
from flexportd.storage.transaction import Transaction

_INTERVAL = 60.0  # seconds between writes


class UsageCounter:
    """Unwritten uses by id: the time of the last one, and how many."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[datetime, int]] = {}

    def record(self, name: str, now: datetime) -> None:
        """Count one use."""
        self._counts[name] = now, self._counts.get(name, (now, 0))[1] + 1

    def pending(self, name: str) -> tuple[str, int] | None:
        """The time of the last use and the number of unwritten uses; None without any."""
        count = self._counts.get(name)
        return None if count is None else (stamp(count[0]), count[1])

    def drain(self) -> list[tuple[str, str, int]]:
        """Remove and return all counts."""
        counts, self._counts = self._counts, {}
        return [(name, stamp(at), count) for name, (at, count) in counts.items()]

    def restore(self, uses: list[tuple[str, str, int]]) -> None:
        """Add counts again that could not be written."""
        for name, at, count in uses:
            last, more = self._counts.get(name, (datetime.fromisoformat(at), 0))
            self._counts[name] = last, more + count


class UsageCounters:
    """The uses of keys and the views of share links."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self.keys = UsageCounter()
        self.shares = UsageCounter()

    async def run(self) -> None:
        """Write the counts every minute until cancelled; call `flush` afterwards."""
        while True:
            await self._clock.sleep(_INTERVAL)
            await self.flush()

    async def flush(self) -> None:
        """Write the counts; if the disk cannot be written, they wait for the next time."""
        keys, shares = self.keys.drain(), self.shares.drain()
        if not keys and not shares:
            return

        def work(tx: Transaction) -> None:
            tx.keys.record_uses(keys)
            tx.shares.record_views(shares)

        try:
            await self._db.write(work)
        except UnavailableError:
            self.keys.restore(keys)
            self.shares.restore(shares)
