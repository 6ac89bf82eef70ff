"""The jobs that need no Flexport: forgetting what is older than is kept, warming the cache."""

import asyncio
from pathlib import Path

import aiohttp

from flexportd.clock import Clock
from flexportd.core.resources import shipments
from flexportd.core.trusted_time import TrustedTime
from flexportd.jobs.cache_warm import CacheWarmer
from flexportd.jobs.job import Cron, Every, Job
from flexportd.jobs.retention import RetentionJob, RetentionPeriods
from flexportd.settings import Settings
from flexportd.storage.database import Database

_HOUR = 3600.0
_REQUEST_TIMEOUT = 20.0  # seconds that one answer may take


def retention_from(settings: Settings) -> RetentionPeriods:
    """For how long events and history are kept."""
    return RetentionPeriods(settings.storage.event_retention, settings.storage.history_retention)


def maintenance_jobs(
    db: Database, clock: Clock, keep: RetentionPeriods, control_socket: Path, time: TrustedTime
) -> list[Job]:
    """The jobs; the cache is warmed by asking the daemon on its own control socket."""
    warming = CacheWarmer(
        db, LoopbackClient(control_socket), lambda tx, limit: tx.resources.newest(shipments.TABLE, limit)
    )
    return [
        Job(
            name="cache_warm",
            title="Warm the cache",
            run=warming.run,
            schedule=Every(_HOUR),
            limit=300.0,
            jitter=60.0,
            at_start="always",
        ),
        Job(
            name="retention",
            title="Delete expired events and history",
            run=RetentionJob(db, clock, keep, time).run,
            schedule=Cron("40 3 * * *"),
            limit=_HOUR,
            jitter=300.0,
        ),
    ]


class LoopbackClient:
    """Asks this daemon over its control socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __call__(self, path: str) -> int:
        """The status of the answer; 0 for none."""
        try:
            async with (
                asyncio.timeout(_REQUEST_TIMEOUT),
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self._path))) as session,
                session.get(f"http://localhost{path}", headers={"Accept-Encoding": "identity"}) as answer,
            ):
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0
