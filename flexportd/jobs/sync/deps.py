"""What the sync jobs depend on."""

from dataclasses import dataclass

from flexportd.clock import Clock
from flexportd.core.importer.importer import Importer
from flexportd.core.resources.registry import Registry
from flexportd.flexport.client import Client
from flexportd.storage.database import Database


@dataclass(frozen=True)
class SyncDeps:
    """Built by the daemon once."""

    db: Database
    client: Client
    registry: Registry
    importer: Importer
    clock: Clock
