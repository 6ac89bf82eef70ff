"""The job `cache_warm`: what people look at first is built before they ask."""

from collections.abc import Awaitable, Callable, Sequence

from flexportd.jobs.job import JobRun
from flexportd.storage.database import Database
from flexportd.storage.queries.table import Key
from flexportd.storage.transaction import Transaction

MAX_SHIPMENTS = 200  # shipments whose documents are built
_PATHS = ("/api/v1/shipments", "/api/v1/status", "/")

Fetch = Callable[[str], Awaitable[int]]
"""Asks this daemon for a path; the status of its answer."""


class CacheWarmer:
    """Asks the daemon itself, as a reader would: what it answers is kept by the cache."""

    def __init__(self, db: Database, ask: Fetch, newest: Callable[[Transaction, int], Sequence[Key]]) -> None:
        self._db = db
        self._ask = ask
        self._newest = newest

    async def run(self, job: JobRun) -> str:
        """Ask for the first pages and the shipments that changed last. Raises StoppedError."""
        shipments = await self._db.read(lambda tx: self._newest(tx, MAX_SHIPMENTS))
        paths = [*_PATHS, *(f"/api/v1/shipments/{number}" for number in shipments)]
        built = 0
        for path in paths:
            job.check_stop()
            built += await self._ask(path) == 200
        return f"{built} of {len(paths)} responses cached"
