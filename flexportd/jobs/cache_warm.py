"""The job `cache_warm`: requests the pages that people open first, so that the cache has them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from flexportd.core.resources import shipments
from flexportd.jobs.job import JobRun
from flexportd.storage.database import Database

MAX_SHIPMENTS = 200  # shipments whose documents are cached
_PATHS = ("/api/v1/shipments", "/api/v1/status", "/")
_REQUEST_TIMEOUT = 20.0  # seconds

Fetch = Callable[[str], Awaitable[int]]
"""Requests a path of this daemon; the status of the response."""


class CacheWarmer:
    """Sends the daemon the requests of a reader; its responses stay in the cache."""

    def __init__(self, db: Database, fetch: Fetch) -> None:
        self._db = db
        self._fetch = fetch

    async def run(self, job: JobRun) -> str:
        """Request the first pages and the shipments that changed last. Raises StoppedError."""
        newest = await self._db.read(lambda tx: tx.resources.newest(shipments.TABLE, MAX_SHIPMENTS))
        paths = [*_PATHS, *(f"/api/v1/shipments/{number}" for number in newest)]
        cached = 0
        for path in paths:
            job.check_stop()
            cached += await self._fetch(path) == 200
        return f"{cached} of {len(paths)} responses cached"


def loopback_client(socket: Path) -> Fetch:
    """Requests of this daemon over its control socket; the status is 0 for no response."""

    async def fetch(path: str) -> int:
        try:
            async with (
                asyncio.timeout(_REQUEST_TIMEOUT),
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as session,
                session.get(f"http://localhost{path}", headers={"Accept-Encoding": "identity"}) as response,
            ):
                await response.read()
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return 0

    return fetch
