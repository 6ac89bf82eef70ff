"""How often keys and links are used: counted in memory, written behind everybody's back."""

from datetime import datetime

from flexportd.clock import Clock, stamp
from flexportd.errors import UnavailableError
from flexportd.storage.database import Database
from flexportd.storage.transaction import Transaction

_INTERVAL = 60.0  # seconds between writes


class UsageCounter:
    """Uses by id that are not written yet: when the last was, and how many."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[datetime, int]] = {}

    def record(self, name: str, now: datetime) -> None:
        """One more."""
        _, count = self._counts.get(name, (now, 0))
        self._counts[name] = now, count + 1

    def pending(self, name: str) -> tuple[str, int] | None:
        """When the last was, and how many that are not written yet."""
        found = self._counts.get(name)
        return None if found is None else (stamp(found[0]), found[1])

    def drain(self) -> list[tuple[str, str, int]]:
        """All of them, which are the caller's now."""
        found, self._counts = self._counts, {}
        return [(name, stamp(at), count) for name, (at, count) in found.items()]

    def restore(self, uses: list[tuple[str, str, int]]) -> None:
        """What could not be written."""
        for name, at, count in uses:
            last, more = self._counts.get(name, (datetime.fromisoformat(at), 0))
            self._counts[name] = last, more + count


class UsageCounters:
    """The uses of keys and the views of links."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self.keys = UsageCounter()
        self.shares = UsageCounter()

    async def run(self) -> None:
        """Write them every minute, until cancelled; `flush` afterwards, so that none is lost."""
        while True:
            await self._clock.sleep(_INTERVAL)
            await self.flush()

    async def flush(self) -> None:
        """Write what was counted; what the disk does not take now waits for the next time."""
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
