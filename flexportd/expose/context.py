"""What handlers use: the interfaces of the parts, each part under a typed key of the application (`request.app[DB]`).

`expose.app` sets the parts; what the middleware passes on with one request is at the end.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Literal, NamedTuple, Protocol, TypedDict

from aiohttp import web
from msgspec import Meta

from flexportd.cache import Cache
from flexportd.clock import Clock
from flexportd.core.access.keys import Principal
from flexportd.core.documents.integrity_check import IntegrityCheck
from flexportd.core.documents.requests import ArchiveRules, CachedFiles, Destination, FileRequestResult
from flexportd.core.exceptions.worker import ExceptionWorker
from flexportd.core.json_types import Stamp
from flexportd.core.notification_reports import ChannelTestResult, DigestResult, EventExplanation, RulePreview
from flexportd.core.outbox.actions import Actor, WriteCommand
from flexportd.core.outbox.product_upsert import ProductPlan
from flexportd.core.outbox.request_builder import OutgoingWrite, WriteRules
from flexportd.core.reads import Reads
from flexportd.core.resources.registry import Registry
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.search.indexer import Indexer
from flexportd.core.system_conditions import PathCheckResult
from flexportd.core.trusted_time import TrustedTime
from flexportd.errors import ConflictError
from flexportd.http.access_log import AccessLog
from flexportd.http.connections import ConnectionPools
from flexportd.http.request_bodies import BodyBudget
from flexportd.http.responses import PreparedResponse
from flexportd.queue.queue import Queue
from flexportd.settings import Settings
from flexportd.storage.database import Database
from flexportd.storage.file_store import Archive
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.conditions import Condition
from flexportd.storage.repositories.counters import WebhookRefusal
from flexportd.storage.repositories.deliveries import DeliverySelection
from flexportd.storage.repositories.document_files import DocumentFile
from flexportd.storage.repositories.operations import Operation
from flexportd.storage.repositories.resources import Record
from flexportd.storage.repositories.sync import ListState


class PendingWebhook(Protocol):
    """A webhook whose commit has not finished."""

    stored: asyncio.Future[bool]

    def answer(self) -> PreparedResponse:
        """The response, once `stored` is done. Raises UnavailableError."""


class WebhookEndpoint(Protocol):
    """The receiver of webhooks."""

    @property
    def results(self) -> Mapping[str, int]:
        """Deliveries since the start, by result."""

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """Store a delivery and acknowledge it. Raises RefusedError, UnavailableError."""

    def begin(self, headers: Mapping[str, str], body: bytes, client: Callable[[], str]) -> PendingWebhook | None:
        """Accept a delivery without a request object; None for one that `receive` must handle."""

    async def is_misdirected(self, request: web.Request) -> bool:
        """Whether a refused request is a webhook with a valid signature, sent to another path."""


class PathChecker(Protocol):
    """The path check of webhooks; `result` is that of the last check."""

    result: PathCheckResult


class SystemConditions(Protocol):
    """The conditions of the daemon itself that need a person, as of the last check."""

    open_conditions: tuple[Condition, ...]


class JobControl(Protocol):
    """The scheduler. An unknown name raises NotFoundError, which lists the known ones."""

    def list_jobs(self) -> list[dict[str, Any]]:
        """Every job."""

    async def detail(self, name: str) -> dict[str, Any]:
        """One job with its last runs, newest first."""

    def as_of(self) -> str | None:
        """When the newest run started or ended."""

    async def run_now(self, name: str) -> dict[str, Any]:
        """Start a run; the job's document. Raises ConflictError when it is already running."""

    async def set_paused(self, name: str, *, paused: bool) -> dict[str, Any]:
        """Pause or resume a job; its document."""

    def problems(self) -> list[str]:
        """A sentence for each job that keeps failing."""


class NotificationControl(Protocol):
    """Notifications: channels and rules as configured, and what people do about deliveries."""

    def list_channels(self) -> list[dict[str, Any]]:
        """Every channel: its name, type and destination."""

    def list_rules(self) -> list[dict[str, Any]]:
        """Every rule as configured."""

    def problems(self, *, with_causes: bool = True) -> list[str]:
        """A sentence for each channel that fails or is switched off, and for each fault of notifications.

        Causes name hosts and addresses: they are for people with a key.
        """

    def attempts(self) -> list[tuple[str, str, int]]:
        """Attempts to send since the start: channel, outcome (`sent` or `failed`), number."""

    def render_text(self, content: str) -> str:
        """The stored content of a message as plain text."""

    def texts_about(self, content: str, shipment_id: int) -> list[str]:
        """What the stored content of a message says about a shipment."""

    async def retry(self, number: int, *, again: bool = False) -> None:
        """Send a message again; `again`: although it was sent. Raises NotFoundError, ConflictError."""

    async def count_matching(self, selection: DeliverySelection) -> int:
        """How many messages of a channel would be sent again. Raises NotFoundError, InvalidError, ConflictError."""

    async def retry_matching(self, selection: DeliverySelection, limit: int) -> Sequence[int]:
        """Send messages of a channel again, oldest first. Raises NotFoundError, InvalidError, ConflictError."""

    async def discard(self, number: int, who: str, why: str) -> None:
        """Do not send a message. Raises NotFoundError, ConflictError."""

    async def resume_channel(self, name: str) -> None:
        """Attempt the next message of a channel that fails or is switched off. Raises NotFoundError."""


class OperationControl(Protocol):
    """Writes to Flexport: creating operations, and what clients and people do with them.

    All methods raise ForbiddenError if `[writes]` does not allow it, and ConflictError without a key for Flexport.
    """

    rules: WriteRules

    async def preview(self, command: WriteCommand) -> OutgoingWrite:
        """What would be sent. Raises InvalidBodyError."""

    async def create(self, command: WriteCommand, actor: Actor) -> tuple[Operation, bool]:
        """Store an operation, or find that of the same idempotency key; whether it is new. Raises InvalidBodyError."""

    async def plan_products(self, rows: Sequence[object]) -> list[ProductPlan]:
        """What rows of products need, in their order."""

    async def push_products(self, rows: Sequence[object], actor: Actor) -> list[ProductPlan]:
        """Create the operations that rows of products need; the plans, with the operations."""

    async def approve(self, number: int, actor: Actor) -> None:
        """Let an operation be sent. Raises NotFoundError."""

    async def cancel(self, number: int, actor: Actor, reason: str) -> None:
        """Do not send an operation. Raises NotFoundError."""

    async def retry(self, number: int, actor: Actor) -> None:
        """Send a failed operation again, or look up an unknown one now. Raises NotFoundError."""

    async def resend(self, number: int, actor: Actor, reason: str) -> None:
        """Send an unknown operation again. Raises NotFoundError."""

    async def resolve_cancelled(self, number: int, actor: Actor, reason: str) -> None:
        """Give up an unknown operation. Raises NotFoundError."""

    async def resolve_confirmed(self, number: int, actor: Actor, key: str, reason: str) -> None:
        """Confirm an unknown operation with an object of Flexport's. Raises NotFoundError, FlexportError."""

    async def wait(self, number: int, seconds: float) -> None:
        """Wait until an operation is no longer pending or being sent, at most this long."""


class NotificationTools(Protocol):
    """What people ask of notifications."""

    async def test(self, name: str) -> ChannelTestResult:
        """Send a test message to a channel now. Raises NotFoundError."""

    async def preview(self, name: str, days: int) -> RulePreview:
        """What a rule would have sent in the last days. Raises NotFoundError, UnavailableError."""

    async def explain(self, event_id: str) -> EventExplanation:
        """Which rules matched an event, and why. Raises NotFoundError."""

    async def digest(self, rule_name: str | None, *, dry_run: bool) -> list[DigestResult]:
        """The digests of a rule, or of all, as they would be now; sent unless it is a dry run."""


class FileRequester(Protocol):
    """Requests files from Flexport, if it `fetches` (has a key); `error`: why missing files could not be requested."""

    rules: ArchiveRules
    fetches: bool
    error: str | None

    async def request(self, ids: Sequence[str], keep: Destination = "archive") -> FileRequestResult:
        """Request the files of these documents for a person."""

    async def request_missing(self, after: str) -> tuple[FileRequestResult, str | None]:
        """Request the next missing files after this id; the result, and the id to continue after (None: the end)."""

    async def request_for_reader(self, document: Record, row: DocumentFile | None) -> FileRequestResult:
        """Request a file for a waiting reader; `row` is its stored state."""


class FileServices(NamedTuple):
    """The parts that store, request and verify document files."""

    archive: Archive
    cache: CachedFiles
    requester: FileRequester
    verification: IntegrityCheck


class FlexportBreaker(TypedDict):
    """Circuit breaker: requests are sent (closed), stopped after failures (open), or tried once (half_open)."""

    state: Literal["closed", "open", "half_open"]
    since: Stamp
    reason: str | None
    detail: Annotated[str | None, Meta(description="The failed request, and the error of the library or protocol.")]
    retry_at: Stamp | None
    failures: int


class FlexportAuth(TypedDict):
    """Whether Flexport accepts the configured key or credentials; null before its first answer."""

    kind: Literal["api_key", "oauth"]
    authorised: bool | None
    reason: str | None
    expires_at: Annotated[Stamp | None, Meta(description="When the token expires; null for a key.")]
    token_requests: Annotated[int, Meta(description="Tokens requested in the last 24 hours.")]
    token_requests_limit: int


class FlexportRateLimit(TypedDict):
    """Request rate limit towards Flexport, in requests per second, and waiting requests by purpose."""

    current: float
    configured: float
    in_flight: int
    waiting: dict[str, int]


class FlexportCalls(TypedDict):
    """Requests for one purpose since the start; `recent_average_seconds` is how long one took lately."""

    calls: int
    errors: int
    retries: int
    bytes: int
    seconds: float
    recent_average_seconds: float | None


class FlexportClock(TypedDict):
    """Offset of Flexport's clock from the daemon's in seconds; null before the first response."""

    offset_seconds: float | None
    responses: int
    ignored: int
    note: str | None


class FlexportState(TypedDict):
    """State of the client of Flexport's API."""

    breaker: FlexportBreaker
    auth: FlexportAuth
    rate_limit: FlexportRateLimit
    calls: Annotated[dict[str, FlexportCalls], Meta(description="By purpose.")]
    clock: FlexportClock
    proxy: Annotated[
        str | None,
        Meta(
            description="The proxy for every request ([flexport] proxy), as host and port; null without one. "
            "HTTP_PROXY and HTTPS_PROXY of the environment are not used."
        ),
    ]


class SyncForecast(TypedDict):
    """Forecast for the next full sync; `never_synced`: lists without a forecast."""

    requests: int
    seconds: float
    never_synced: list[str]


class Upstream(Protocol):
    """The connection to Flexport, for handlers: reads never wait for it, actions use it."""

    def state(self) -> dict[str, Any]:
        """The client's state: a `FlexportState`."""

    def forecast(self, states: Mapping[str, ListState]) -> dict[str, Any]:
        """The forecast for the next full sync: a `SyncForecast`."""

    async def refresh(self, domain: ResourceType, key: Key) -> str:
        """Fetch one object now: `new`, `changed`, `unchanged` or `removed`. Raises FlexportdError."""

    async def calculate_carbon(self, shipment_id: int) -> list[dict[str, Any]]:
        """Calculate the carbon of a shipment's legs; those without a result. Raises FlexportdError if none has one."""

    async def begin_sync(self) -> int:
        """Start a full sync, or join the running one; the number of its run."""

    async def confirm_removals(self, domain: ResourceType) -> int:
        """Mark the objects that are missing from a list as removed; how many. Raises ConflictError."""


def require_flexport(upstream: Upstream | None) -> Upstream:
    """The connection to Flexport. Raises ConflictError when no key is configured."""
    if upstream is None:
        raise ConflictError(
            "no key for Flexport's API is configured: set [flexport] api_key, or client_id and client_secret"
        )
    return upstream


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
PATH_CHECK: web.AppKey[PathChecker] = web.AppKey("path_check")
CONDITIONS: web.AppKey[SystemConditions] = web.AppKey("conditions")
JOBS: web.AppKey[JobControl] = web.AppKey("jobs")
NOTIFICATIONS: web.AppKey[NotificationControl] = web.AppKey("notifications")
OPERATIONS: web.AppKey[OperationControl] = web.AppKey("operations")
NOTIFICATION_TOOLS: web.AppKey[NotificationTools] = web.AppKey("notification_tools")
FILES = web.AppKey("files", FileServices)
UPSTREAM: web.AppKey[Upstream | None] = web.AppKey("upstream")  # None without a key for Flexport
EXCEPTION_WORKER = web.AppKey("exception_worker", ExceptionWorker)
INDEXER = web.AppKey("indexer", Indexer)
TRUSTED_TIME: web.AppKey[TrustedTime | None] = web.AppKey("trusted_time")
CONNECTIONS = web.AppKey("connections", ConnectionPools)
BODIES = web.AppKey("bodies", BodyBudget)
ACCESS_LOG = web.AppKey("access_log", AccessLog)

PRINCIPAL = web.RequestKey("principal", Principal)
"""The authenticated caller."""

TIMEOUT = web.RequestKey("timeout", asyncio.Timeout)
"""The time limit of the response; an export removes it once its body has begun."""

QUERY: web.RequestKey[Mapping[str, Any]] = web.RequestKey("query", Mapping)
"""The parsed values of the declared parameters."""

CANONICAL_PATH = web.RequestKey("canonical_path", str)
"""The path with the id in place of a reference; set only where the request named an object by a reference."""
