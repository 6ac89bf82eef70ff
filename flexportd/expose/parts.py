"""What the handlers are given: the parts they read, and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.typedefs import Handler

from flexportd.cache import Cache
from flexportd.clock import Clock
from flexportd.core.mirror import Mirror
from flexportd.core.registry import Registry
from flexportd.expose.board import JobBoard
from flexportd.expose.filing import Filing
from flexportd.expose.upstream import Upstream
from flexportd.queue.queue import Queue
from flexportd.storage.database import Database


@dataclass
class Shown:
    """The settings that answers depend on; all may change while running."""

    page_size: int = 50
    max_page_size: int = 500
    title: str = "flexportd"
    timezone: str = "UTC"
    webhook_path: str = "/webhooks/flexport"
    has_secrets: bool = True
    max_pending: int = 100_000


@dataclass
class Parts:
    """Made by the composition root."""

    db: Database
    queue: Queue
    cache: Cache
    registry: Registry
    clock: Clock
    webhook: Handler
    webhook_results: Callable[[], dict[str, int]]
    task_deaths: Callable[[], dict[str, str]]
    started_at: str
    jobs: JobBoard
    filing: Filing
    upstream: Upstream | None = None
    shown: Shown = field(default_factory=Shown)
    hosts: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.mirror = Mirror(self.registry)


PARTS: web.AppKey[Parts] = web.AppKey("parts", Parts)
