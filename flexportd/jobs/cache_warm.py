"""The job `cache_warm`: requests the pages that people open first, so that the cache has them."""

import asyncio
from pathlib import Path

import aiohttp

from flexportd.core.resources import shipments
from flexportd.jobs.job import JobRun
from flexportd.storage.database import Database

MAX_SHIPMENTS = 200  # shipments whose documents are cached
_PATHS = ("/api/v1/shipments", "/api/v1/status", "/")
_REQUEST_TIMEOUT = 20.0  # seconds


class CacheWarmer:
    """Sends the daemon the requests of a reader, over its control socket; its responses stay in the cache."""

    def __init__(self, db: Database, socket: Path) -> None:
        self._db = db
        self._socket = socket

    async def run(self, job: JobRun) -> str:
        """Request the first pages and the shipments that changed last. Raises StoppedError."""
        newest = await self._db.read(lambda tx: tx.resources.newest(shipments.TABLE, MAX_SHIPMENTS))
        paths = [*_PATHS, *(f"/api/v1/shipments/{number}" for number in newest)]
        cached = 0
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self._socket))) as session:
            for path in paths:
                job.check_stop()
                cached += await _status(session, path) == 200
        return f"{cached} of {len(paths)} responses cached"


async def _status(session: aiohttp.ClientSession, path: str) -> int:
    """The status of the response; 0 for no response."""
    url, headers = f"http://localhost{path}", {"Accept-Encoding": "identity"}
    try:
        async with asyncio.timeout(_REQUEST_TIMEOUT), session.get(url, headers=headers) as response:
            await response.read()
            return response.status
    except (aiohttp.ClientError, TimeoutError):
        return 0
