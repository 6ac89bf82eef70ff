"""Rebuilding our fields from Flexport's JSON, once after an upgrade that derives them differently.

It reads every table in small transactions that give way to webhooks, and resumes after a restart.
Nothing changed at Flexport, so no history is written.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import structlog

from flexportd.clock import Clock
from flexportd.core.changes.consumer import DATA_ERRORS
from flexportd.core.events.applier import add_derived_fields
from flexportd.core.importer.importer import ImportObserver
from flexportd.core.resources import shipments
from flexportd.core.resources.registry import Registry
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.unit_of_work import ChangeCause, UnitOfWork
from flexportd.errors import MalformedError
from flexportd.flexport.models import fast_models
from flexportd.storage.database import Database
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

VERSION = "1"
"""The version of the field derivation; a new one rebuilds all fields."""

_META_KEY = "field_rebuild"  # name in `meta`
_REBUILD_FIRST = ("legs", "containers", "container_legs", "shipments")  # the parts of a route before the shipment
_BATCH_SIZE = 100  # objects in one transaction
_MAX_YIELD = 0.25  # seconds to wait for webhooks to pause


class _Progress(msgspec.Struct, frozen=True):
    """How far fields are rebuilt: all domains before `domain`, and of that the ids up to `after`."""

    version: str
    domain: str | None = None  # None: all
    after: Key | None = None


class FieldRebuild:
    """Rebuilds the fields of all objects for this version. Raises UnavailableError if the database is unavailable."""

    def __init__(self, db: Database, registry: Registry, clock: Clock, watcher: ImportObserver) -> None:
        self._db = db
        self._clock = clock
        self._observer = watcher
        rest = sorted({domain.name for domain in registry}.difference(_REBUILD_FIRST))
        self._domains = [registry[name] for name in (*_REBUILD_FIRST, *rest)]

    async def run(self) -> None:
        """Rebuild what is left; nothing if the store is up to date."""
        progress = await self._db.read(lambda tx: tx.meta.load(_META_KEY, _Progress))
        if progress is not None and (progress.version, progress.domain) == (VERSION, None):
            return
        if progress is None or progress.version != VERSION:
            progress = _Progress(VERSION, self._domains[0].name)
        if not await self._db.read(self._has_objects):
            await self._db.write(lambda tx: tx.meta.save(_META_KEY, _Progress(VERSION)))
            return
        step, count = progress, 0
        log.info("field_rebuild_started", version=VERSION, resource=step.domain)
        while step.domain is not None:
            await self._db.writer.wait_for_quiet(_MAX_YIELD)
            step, touched, done = await self._db.write(lambda tx: self._step(tx, step))  # noqa: B023 (awaited)
            count += done
            if touched:
                self._observer.after_commit(touched)
        log.info("field_rebuild_finished", version=VERSION, objects=count)

    def _has_objects(self, tx: Transaction) -> bool:
        return any(tx.resources.keys_after(domain.table, None, 1) for domain in self._domains)

    def _step(self, tx: Transaction, progress: _Progress) -> tuple[_Progress, dict[str, set[Key]], int]:
        """Rebuild the next objects; returns the progress, the written keys, and the number of objects."""
        names = [domain.name for domain in self._domains]
        at = names.index(progress.domain) if progress.domain in names else 0
        domain, workspace = self._domains[at], UnitOfWork(tx)
        keys = tx.resources.keys_after(domain.table, progress.after, _BATCH_SIZE)
        self._rebuild(workspace, domain, keys)
        workspace.flush(self._clock.stamp())
        if len(keys) == _BATCH_SIZE:
            after = _Progress(VERSION, domain.name, keys[-1])
        else:
            after = _Progress(VERSION, names[at + 1] if at + 1 < len(names) else None)
        tx.meta.save(_META_KEY, after)
        return after, workspace.written(), len(keys)

    def _rebuild(self, workspace: UnitOfWork, domain: ResourceType, keys: Sequence[Key]) -> None:
        workspace.prefetch(domain, keys)
        records = [record for key in keys if (record := workspace.get(domain, key)) is not None]
        for record in records:
            fields = self._fields(workspace, domain, record)
            if fields != record.fields:
                after = msgspec.structs.replace(record, fields=fields)
                cause = ChangeCause(record.synced_at, record.source)
                workspace.put(domain, after, cause, quietly=True, is_localised=True)
        if domain.name in _REBUILD_FIRST:
            self._refresh_routes(workspace, domain, records)

    def _refresh_routes(self, workspace: UnitOfWork, domain: ResourceType, records: Sequence[Record]) -> None:
        if domain is shipments.RESOURCE_TYPE:
            owners = {int(record.id) for record in records}
        else:
            named = {int(owner) for record in records if (owner := record.fields["shipment_id"]) is not None}
            workspace.prefetch(shipments.RESOURCE_TYPE, named)
            owners = {owner for owner in named if workspace.get(shipments.RESOURCE_TYPE, owner) is None}
        workspace.prefetch_shipment_records(owners)
        for owner in sorted(owners):
            workspace.refresh_route(owner, ChangeCause(self._clock.stamp(), "sync"), quietly=True)

    def _fields(self, workspace: UnitOfWork, domain: ResourceType, record: Record) -> dict[str, Any]:
        """The fields as derived now; the stored ones if Flexport's JSON cannot be parsed."""
        try:
            model, faults = fast_models.load_fast(domain.wire, record.raw.encode())
            fields = dict(domain.normalise(model))
        except (MalformedError, *DATA_ERRORS):
            log.exception("field_rebuild_skipped", resource=domain.name, resource_id=record.id)
            return dict(record.fields)
        fields.update(domain.retained_fields(record.fields, faults))
        add_derived_fields(workspace, (domain, record.id), fields, record, None)
        return fields
