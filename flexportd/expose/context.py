"""What handlers use, each under a typed key of the application: `request.app[DB]`. `expose.app` sets them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from aiohttp import web

from flexportd.cache import Cache
from flexportd.clock import Clock
from flexportd.core.exceptions.worker import ExceptionWorker
from flexportd.core.reads import Reads
from flexportd.core.resources.registry import Registry
from flexportd.core.search.indexer import Indexer
from flexportd.core.trusted_time import TrustedTime
from flexportd.expose.data_age import Freshness
from flexportd.expose.interfaces import FileServices, JobControl, Upstream, WebhookEndpoint
from flexportd.http.access_log import AccessLog
from flexportd.http.connections import ConnectionPools
from flexportd.http.request_bodies import BodyBudget
from flexportd.queue.queue import Queue
from flexportd.settings import Settings
from flexportd.storage.database import Database
from flexportd.storage.repositories.counters import WebhookRefusal


@dataclass
class DisplaySettings:
    """The settings that responses depend on; all may change while running."""

    page_size: int = 50
    max_page_size: int = 500
    title: str = "flexportd"
    timezone: str = "UTC"
    webhook_path: str = "/webhooks/flexport"
    has_secrets: bool = True
    max_pending: int = 100_000
    public_url: str | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> "DisplaySettings":
        """What the settings say."""
        return cls(
            page_size=settings.api.page_size,
            max_page_size=settings.api.max_page_size,
            title=settings.dashboard.title,
            timezone=settings.dashboard.timezone,
            webhook_path=settings.webhook.path,
            has_secrets=bool(settings.webhook.secrets),
            max_pending=settings.webhook.max_pending,
            public_url=str(settings.server.public_url).rstrip("/") if settings.server.public_url else None,
        )

    def reload(self, settings: Settings) -> None:
        """Apply the settings that can change while running; the path of the webhook is part of the routes."""
        changed = replace(self.from_settings(settings), webhook_path=self.webhook_path)
        for field_ in fields(self):
            setattr(self, field_.name, getattr(changed, field_.name))


@dataclass
class ServerInfo:
    """The running daemon: since when, where it listens, what failed."""

    started_at: str
    task_failures: Callable[[], dict[str, str]] = dict
    start_warnings: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    """Listening addresses as `host:port` or `unix:/path`; filled in when the sockets are bound."""
    has_tls: bool = False


PageRenderer = Callable[[str, Any], bytes]
"""(name of a template, its view) -> an HTML page."""

DB = web.AppKey("db", Database)
READS = web.AppKey("reads", Reads)
REGISTRY = web.AppKey("registry", Registry)
QUEUE = web.AppKey("queue", Queue)
CACHE = web.AppKey("cache", Cache)
CLOCK = web.AppKey("clock", Clock)
DISPLAY = web.AppKey("display", DisplaySettings)
SERVER_INFO = web.AppKey("server_info", ServerInfo)
WEBHOOKS: web.AppKey[WebhookEndpoint] = web.AppKey("webhooks")
WEBHOOK_REFUSALS: web.AppKey[Callable[[], Sequence[WebhookRefusal]]] = web.AppKey("webhook_refusals")
JOBS: web.AppKey[JobControl] = web.AppKey("jobs")
FILES = web.AppKey("files", FileServices)
UPSTREAM: web.AppKey[Upstream | None] = web.AppKey("upstream")  # None without a key for Flexport
EXCEPTION_WORKER = web.AppKey("exception_worker", ExceptionWorker)
INDEXER = web.AppKey("indexer", Indexer)
TRUSTED_TIME: web.AppKey[TrustedTime | None] = web.AppKey("trusted_time")
FRESHNESS = web.AppKey("freshness", Freshness)
CONNECTIONS = web.AppKey("connections", ConnectionPools)
BODIES = web.AppKey("bodies", BodyBudget)
ACCESS_LOG = web.AppKey("access_log", AccessLog)
RENDER_PAGE: web.AppKey[PageRenderer] = web.AppKey("render_page")
