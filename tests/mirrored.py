"""A mirror of a sandbox, without the rest of the daemon: real HTTP, real SQLite, a clock that never waits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from flexportd.core.importer.importer import Importer
from flexportd.core.resources.registry import Registry
from flexportd.errors import FlexportdError
from flexportd.flexport.client import Client, ClientRules
from flexportd.flexport.oauth.auth import ApiKeyAuth
from flexportd.ingest.refetch import Refetcher
from flexportd.jobs.job import JobRun
from flexportd.jobs.sync.full import FullSync
from flexportd.jobs.sync.incremental import IncrementalSync
from flexportd.jobs.sync.run import SyncDeps, SyncOptions
from flexportd.sandbox import Sandbox, SandboxOptions
from flexportd.storage.database import Database
from flexportd.storage.repositories.sync import Receipt
from tests.flexport_double import HurriedClock

KEY = "sandbox-key-for-tests"


class Mirror:
    def __init__(self, db: Database, client: Client, clock: HurriedClock, names: tuple[str, ...] = ()) -> None:
        self.db = db
        self.client = client
        self.clock = clock
        self.registry = Registry()
        self.intake = Importer(db, clock)
        options = SyncOptions(names, timedelta(minutes=10))
        self.reach = SyncDeps(db, client, self.registry, self.intake, clock, options)
        self.full = FullSync(self.reach)
        self.incremental = IncrementalSync(self.reach)
        now = lambda: client.server_clock.at(clock.now())  # noqa: E731
        self.refresher = Refetcher(client, self.intake, self.registry, clock, now)
        self.sentence = ""

    async def sync(self, job: JobRun | None = None) -> dict[str, Receipt]:
        """Run a full sync; its receipts by resource. `state` and `sentence` tell how the run ended."""
        return await self._run("full", self.full, job)

    async def catch_up(self) -> dict[str, Receipt]:
        return await self._run("incremental", self.incremental, None)

    async def _run(self, kind: str, sync: Any, job: JobRun | None) -> dict[str, Receipt]:
        try:
            self.sentence = await sync.run(job or JobRun(f"{kind}_sync", 1, "manual"))
        except FlexportdError as error:
            self.sentence = str(error)
        run = await self.db.read(lambda tx: tx.sync.last(kind))
        self.state = run.state if run else None
        receipts = await self.db.read(lambda tx: tx.sync.receipts(run.id) if run else [])
        return {receipt.resource: receipt for receipt in receipts}

    async def rows(self, name: str, columns: str = "raw") -> dict[str, Any]:
        """Id as text -> the columns of each live row."""
        sql = f"SELECT id, {columns} FROM {name} WHERE removed_at IS NULL"
        found = await self.db.read(lambda tx: tx.raw.execute(sql).fetchall())
        return {str(row[0]): row[1] if len(row) == 2 else row[1:] for row in found}

    async def one(self, sql: str) -> Any:
        return (await self.db.read(lambda tx: tx.raw.execute(sql).fetchone()))[0]

    async def export(self) -> dict[str, dict[str, Any]]:
        """All that is held, by Flexport's `_object` and id, as JSON values."""
        found = {}
        for domain in self.registry:
            rows = await self.rows(domain.name)
            found[domain.object_name] = {key: msgspec.json.decode(raw) for key, raw in rows.items()}
        return found


def world_of(sandbox: Sandbox, mirror: Mirror) -> dict[str, dict[str, Any]]:
    """What a mirror should hold of a sandbox's world."""
    world = sandbox.world.export()
    return {domain.object_name: world.get(domain.object_name, {}) for domain in mirror.registry}


@asynccontextmanager
async def mirrored(folder: Path, names: tuple[str, ...] = (), **options: Any) -> AsyncIterator[tuple[Sandbox, Mirror]]:
    clock = HurriedClock()
    async with (
        Sandbox(
            SandboxOptions(**{"speed": 0, "shipments": 6, "api_key": KEY, "complete_lists": True, **options}),
            HurriedClock(),
        ) as sandbox,
        Database.open(folder / "data") as db,
        Client(ClientRules(sandbox.url, 10_000, 8), ApiKeyAuth(KEY), clock) as client,
    ):
        yield sandbox, Mirror(db, client, clock, names)
