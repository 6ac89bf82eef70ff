"""What the jobs that read Flexport are given."""

from dataclasses import dataclass

from flexportd.clock import Clock
from flexportd.core.importer.importer import Importer
from flexportd.core.resources.registry import Registry
from flexportd.flexport.client import Client
from flexportd.storage.database import Database


@dataclass(frozen=True)
class SyncDeps:
    """Made by the composition root."""

    db: Database
    client: Client
    registry: Registry
    intake: Importer
    clock: Clock
