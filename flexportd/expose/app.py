"""The web application: the declared routes and the pages, and the parts that their handlers use."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aiohttp import hdrs, web

from flexportd.cache import Cache
from flexportd.clock import Clock
from flexportd.core.exceptions.worker import ExceptionWorker
from flexportd.core.reads import Reads
from flexportd.core.resources.registry import Registry
from flexportd.core.search.indexer import Indexer
from flexportd.core.trusted_time import TrustedTime
from flexportd.expose import context
from flexportd.expose.context import DisplaySettings, FileServices, JobControl, ServerInfo, Upstream, WebhookEndpoint
from flexportd.expose.dashboard import assets, render
from flexportd.expose.dashboard.error_pages import public_error_page
from flexportd.expose.dashboard.routes import add_routes
from flexportd.expose.data_age import Freshness
from flexportd.expose.middleware import auth_middleware
from flexportd.expose.openapi.route import SERVED_ROUTES, Route
from flexportd.expose.openapi.router import register
from flexportd.expose.routes import literal_first
from flexportd.expose.security.access_policy import ACCESS_POLICY, REQUEST_ID_HEADER, AccessPolicy, response_headers
from flexportd.expose.security.authentication import AUTHENTICATOR, KeyAuthenticator
from flexportd.expose.streamed_response import SPOOL_FILES, SpoolFiles
from flexportd.expose.streaming.broadcaster import BROADCASTER, Broadcaster
from flexportd.expose.streaming.sse import end_streams
from flexportd.http.access_log import AccessLog
from flexportd.http.connections import ConnectionPools
from flexportd.http.problems import FAILURE_PAGE, REQUEST_ID
from flexportd.http.request_bodies import BodyBudget
from flexportd.queue.queue import Queue
from flexportd.storage.database import Database
from flexportd.storage.repositories.webhook_refusals import WebhookRefusal


@dataclass
class AppContext:
    """The parts that handlers use, made by the composition root for both web servers."""

    db: Database
    queue: Queue
    cache: Cache
    registry: Registry
    clock: Clock
    server: ServerInfo
    webhooks: WebhookEndpoint
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
    webhook_refusals: Callable[[], Sequence[WebhookRefusal]] = tuple
    spool_files: SpoolFiles = field(default_factory=SpoolFiles)
    access_log: AccessLog = field(default_factory=lambda: AccessLog(Clock()))

    def add_to(self, app: web.Application) -> None:
        """Set each part under its key."""
        app[context.DB] = self.db
        app[context.READS] = Reads(self.registry)
        app[context.REGISTRY] = self.registry
        app[context.QUEUE] = self.queue
        app[context.CACHE] = self.cache
        app[context.CLOCK] = self.clock
        app[context.DISPLAY] = self.display
        app[context.SERVER_INFO] = self.server
        app[context.WEBHOOKS] = self.webhooks
        app[context.WEBHOOK_REFUSALS] = self.webhook_refusals
        app[context.JOBS] = self.jobs
        app[context.FILES] = self.files
        app[context.UPSTREAM] = self.upstream
        app[context.EXCEPTION_WORKER] = self.exception_worker
        app[context.INDEXER] = self.indexer
        app[context.TRUSTED_TIME] = self.trusted_time
        app[context.FRESHNESS] = self.freshness
        app[context.CONNECTIONS] = self.connections
        app[context.BODIES] = self.bodies
        app[context.ACCESS_LOG] = self.access_log
        app[AUTHENTICATOR] = self.authenticator
        app[BROADCASTER] = self.broadcaster
        app[SERVED_ROUTES] = self.routes
        app[SPOOL_FILES] = self.spool_files


def create_app(parts: AppContext, policy: AccessPolicy, *, dashboard: bool) -> web.Application:
    """The application of one web server."""
    app = web.Application(middlewares=[auth_middleware])
    parts.add_to(app)
    app[ACCESS_POLICY] = policy
    app[FAILURE_PAGE] = public_error_page
    app[context.RENDER_PAGE] = render.render
    render.environment()  # read and compile now, not in a request
    app.on_shutdown.append(end_streams)
    register(app, literal_first(parts.routes))
    app.on_response_prepare.append(_add_response_headers)
    app.router.add_get("/static/{name}", assets.serve)
    if dashboard:
        add_routes(app)
    return app


async def _add_response_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers of this request to a streamed response; PreparedStreamResponse sends its own."""
    response.headers.popall(hdrs.SERVER, None)  # aiohttp's, with the versions of itself and of Python
    if REQUEST_ID in request:
        response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]
    for name, value in response_headers(request, request.app[ACCESS_POLICY]).items():
        response.headers.add(name, value)
