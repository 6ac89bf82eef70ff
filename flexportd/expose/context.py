"""What the handlers are given: the parts they read, and nothing else."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Handler

from flexportd.cache import Cache
from flexportd.clock import Clock
from flexportd.core.exceptions.worker import ExceptionWorker
from flexportd.core.reads import Reads
from flexportd.core.resources.registry import Registry
from flexportd.core.search.indexer import Indexer
from flexportd.core.trusted_time import TrustedTime
from flexportd.expose.data_age import Freshness
from flexportd.expose.document_interfaces import FileServices
from flexportd.expose.flexport_interfaces import Upstream
from flexportd.expose.interfaces import JobControl
from flexportd.expose.openapi.route import Route
from flexportd.expose.security.authentication import KeyAuthenticator
from flexportd.expose.streaming.broadcaster import Broadcaster
from flexportd.http.access_log import AccessLog
from flexportd.http.connections import ConnectionPools
from flexportd.http.request_bodies import BodyBudget
from flexportd.http.responses import PreparedResponse
from flexportd.queue.queue import Queue
from flexportd.settings import Settings
from flexportd.storage.database import Database
from flexportd.storage.repositories.webhook_refusals import WebhookRefusal


class PendingWebhook(Protocol):
    """A webhook whose commit is under way."""

    stored: asyncio.Future[bool]

    def answer(self) -> PreparedResponse:
        """The response, once `stored` is done. Raises UnavailableError."""


BeginWebhook = Callable[[Mapping[str, str], bytes, Callable[[], str]], PendingWebhook | None]
"""(headers, body, the client's name) -> a webhook that is accepted without a request object; None for any other."""

MAX_SPOOLS = 4  # bodies that are in such files at once; others wait


@dataclass
class DisplaySettings:
    """The settings that answers depend on; all may change while running."""

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
class AppContext:
    """Made by the composition root."""

    db: Database
    queue: Queue
    cache: Cache
    registry: Registry
    clock: Clock
    webhook: Handler
    begin_webhook: BeginWebhook
    webhook_results: Callable[[], dict[str, int]]
    task_failures: Callable[[], dict[str, str]]
    started_at: str
    jobs: JobControl
    files: FileServices
    authenticator: KeyAuthenticator
    freshness: Freshness
    broadcaster: Broadcaster
    indexer: Indexer | None
    exception_worker: ExceptionWorker
    connections: ConnectionPools
    bodies: BodyBudget
    upstream: Upstream | None = None
    trusted_time: TrustedTime | None = None
    display: DisplaySettings = field(default_factory=DisplaySettings)
    routes: Sequence[Route] = ()
    addresses: list[str] = field(default_factory=list)
    """Where the daemon listens, as `host:port` or `unix:/path`; filled in when the sockets are bound."""
    has_tls: bool = False
    is_misdirected_webhook: Callable[[web.Request], Awaitable[bool]] | None = None  # a webhook that missed its path
    webhook_refusals: Callable[[], Sequence[WebhookRefusal]] = tuple
    spool_dir: Path | None = None  # for bodies that are written to a file before they are sent
    start_warnings: list[str] = field(default_factory=list)
    spools: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_SPOOLS))
    access_log: AccessLog = field(default_factory=lambda: AccessLog(Clock()))

    def __post_init__(self) -> None:
        self.reads = Reads(self.registry)


CONTEXT: web.AppKey[AppContext] = web.AppKey("parts", AppContext)
