"""The webhook receiver: checks, stores, responds. Nothing is acknowledged before its bytes are on disk.

limits on network, type and size ─▶ the body, and the signature over its bytes ─▶ id and type ─▶ group commit ─▶ 200
"""

import asyncio
import contextlib
import functools
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec
import structlog
from aiohttp import hdrs, web

from flexportd.clock import Clock
from flexportd.errors import MalformedError, RefusedError, UnavailableError
from flexportd.escape import escape_control
from flexportd.flexport.models.events import Head, parse_heads
from flexportd.flexport.webhook_signature import SHA1_HEADER, SHA256_HEADER, SignatureCheck, Verifier
from flexportd.http.client_ip import Network, RemoteClient, client_of, is_allowed
from flexportd.http.request_bodies import MAX_SMALL, READ_BODY, THREAD_THRESHOLD, BodyBudget, Reservation, join_pieces
from flexportd.http.responses import PreparedResponse, PreparedStreamResponse
from flexportd.ingest.event_store import EVENT, IncomingEvent, read_heads
from flexportd.ingest.path_check import CHECK_HEADER, MARK, MAX_CHECK_BODY, PathCheck
from flexportd.queue.queue import Queue
from flexportd.settings import Settings
from flexportd.storage.database import Database
from flexportd.storage.readers import FOR_OPERATOR
from flexportd.storage.repositories.counters import WebhookRefusal
from flexportd.storage.repositories.events import ReceivedEvent

log = structlog.get_logger(__name__)

_EVERY = 5.0  # seconds between writes
_LOG_INTERVAL = 60.0  # seconds between lines of one reason
_LONGEST_PATH = 200  # characters


class WebhookRefusalLog:
    """Refused deliveries by reason."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._by_reason: dict[str, WebhookRefusal] = {}
        self._unwritten: set[str] = set()
        self._unlogged: Counter[str] = Counter()
        self._log_at: dict[str, float] = {}  # by reason, when it may be logged again, in the loop's time

    @classmethod
    @asynccontextmanager
    async def open(cls, db: Database, clock: Clock) -> AsyncIterator["WebhookRefusalLog"]:
        """Start with the stored counts; the end writes and logs everything."""
        refusals = cls(db, clock)
        rows = await db.read(lambda tx: tx.webhook_refusals.all())
        refusals._by_reason = {row.reason: row for row in rows}
        try:
            yield refusals
        finally:
            refusals.log_rest()
            await refusals.flush()

    def add(self, reason: str, address: str, path: str) -> None:
        """Count a refused delivery: address of the client, and path of the request as it was sent."""
        at, known = self._clock.stamp(), self._by_reason.get(reason)
        count, first_at = (0, at) if known is None else (known.count, known.first_at)
        self._by_reason[reason] = WebhookRefusal(reason, count + 1, first_at, at, address, path[:_LONGEST_PATH])
        self._unwritten.add(reason)
        self._unlogged[reason] += 1
        if asyncio.get_running_loop().time() >= self._log_at.get(reason, 0.0):
            self._log(reason)

    def all(self) -> Sequence[WebhookRefusal]:
        """All reasons that have occurred, the latest first."""
        return sorted(self._by_reason.values(), key=lambda refusal: refusal.last_at, reverse=True)

    async def run(self) -> None:
        """Write and log every few seconds, until cancelled."""
        while True:
            await self._clock.sleep(_EVERY)
            now = asyncio.get_running_loop().time()
            for reason in [name for name in self._unlogged if now >= self._log_at.get(name, 0.0)]:
                self._log(reason)
            await self.flush()

    async def flush(self) -> None:
        """Write the changed counts; those that the disk refuses are written the next time."""
        reasons, self._unwritten = self._unwritten, set()
        rows = [self._by_reason[reason] for reason in reasons]
        if rows:
            try:
                await self._db.write(lambda tx: tx.webhook_refusals.put(rows))
            except UnavailableError:
                self._unwritten |= reasons

    def log_rest(self) -> None:
        """Log the refusals that have no line yet."""
        for reason in list(self._unlogged):
            self._log(reason)

    def _log(self, reason: str) -> None:
        refusal = self._by_reason[reason]
        log.info(
            "webhook_rejected",
            reason=reason,
            count=self._unlogged.pop(reason),
            total=refusal.count,
            client=refusal.last_address,
            path=escape_control(refusal.last_path),
        )
        self._log_at[reason] = asyncio.get_running_loop().time() + _LOG_INTERVAL


_stdlib_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WebhookRules:
    """What is accepted; all of it can change while running."""

    verifier: Verifier
    has_secrets: bool
    max_body: int
    max_pending: int
    allowed_networks: tuple[Network, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()

    @classmethod
    def from_settings(cls, settings: Settings) -> "WebhookRules":
        """What `[webhook]` says, and `[server] trusted_proxies`."""
        webhook = settings.webhook
        secrets = [secret.get_secret_value() for secret in webhook.secrets]
        return cls(
            verifier=Verifier(secrets, allow_sha1=webhook.allow_sha1),
            has_secrets=bool(secrets),
            max_body=webhook.max_body,
            max_pending=webhook.max_pending,
            allowed_networks=tuple(webhook.allowed_networks),
            trusted_proxies=tuple(settings.server.trusted_proxies),
        )


class WebhookReceiver:
    """The handler of `POST /webhooks/flexport`."""

    def __init__(
        self,
        accept: Callable[[IncomingEvent], asyncio.Future[bool]],
        queue: Queue,
        clock: Clock,
        rules: WebhookRules,
        budget: BodyBudget,
        *,
        refusals: WebhookRefusalLog,
        path_check: PathCheck,
    ) -> None:
        self._store_event = accept
        self._queue = queue
        self._clock = clock
        self._budget = budget
        self._refusals = refusals
        self._path_check = path_check
        self.rules = rules
        self.results: Counter[str] = Counter()

    def reload(self, settings: Settings) -> None:
        """Apply the settings that can change while running."""
        self.rules = WebhookRules.from_settings(settings)

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """Store the delivery and respond 200. Raises RefusedError for one that is not accepted."""
        if CHECK_HEADER in request.headers and self._path_check.is_expected(request.headers):
            return await self._receive_check(request)
        try:
            with self._budget.reserve(lambda: self._client(request)) as reservation:
                body = await self._signed_body(request, reservation)
                if not body.startswith(MARK):
                    self._check_room()
                    return await self._store(request, body)
        except RefusedError as refused:
            self._refuse(request, refused.slug)
            raise
        except UnavailableError as error:
            self.count_unavailable(error)
            raise
        return self._answer_check(body)  # a proxy removed the header of the check, or it is an old one

    async def _receive_check(self, request: web.Request) -> web.StreamResponse:
        """Receive our own check, from any network. Nothing is stored or counted. Raises RefusedError."""
        with self._budget.reserve(lambda: self._client(request)) as reservation:
            check = self.rules.verifier.begin(request.headers)
            if check.problem == "missing":
                raise RefusedError(401, "signature-missing", f"The delivery has no {SHA256_HEADER} header.")
            self._check_signature(check)
            pieces = await reservation.read(request, MAX_CHECK_BODY, check.update)
            if not check.matches():
                raise RefusedError(401, "signature-invalid", "The signature does not match the body.")
            return self._answer_check(b"".join(pieces))

    def _answer_check(self, body: bytes) -> web.StreamResponse:
        """The response to a marked body with a valid signature. Raises RefusedError for one that is not expected."""
        if not self._path_check.accept(body):
            raise RefusedError(409, "conflict", "This path check is from another flexportd, or has expired.")
        return PreparedStreamResponse(PreparedResponse(200, b'{"status":"check"}'))

    def count_unavailable(self, error: UnavailableError) -> None:
        """Count a delivery that was refused because the disk cannot be written."""
        self.results["unavailable"] += 1
        log.debug("webhook_store_failed", reason=str(error))

    def begin(self, headers: Mapping[str, str], body: bytes, client: Callable[[], str]) -> "PendingDelivery | None":
        """Accept a usual delivery: one event in a small, signed body that has arrived.

        None for any other, which changes nothing: `receive` handles those. It costs half as much as a request object.
        """
        rules = self.rules
        if len(body) > min(MAX_SMALL, rules.max_body) or rules.allowed_networks or not rules.has_secrets:
            return None
        try:
            self._check_type(headers)
            check = rules.verifier.begin(headers)
            check.update(body)
            if check.problem is not None or not check.matches():
                return None
            self._check_room()
            head, *others = parse_heads(body)
            if others:
                return None
            reservation = self._budget.reserve(client)
            self._budget.acquire(reservation, len(body))
        except (RefusedError, MalformedError):
            return None
        stored_headers = _headers(headers.get(hdrs.CONTENT_TYPE), headers.get(hdrs.USER_AGENT))
        event = ReceivedEvent(head.id, head.type, "webhook", self._clock.stamp(), stored_headers, head.body)
        return PendingDelivery(self, reservation, head, self._store_event(IncomingEvent(event)))

    async def is_misdirected(self, request: web.Request) -> bool:
        """Whether a delivery with a valid signature arrived at a path that is not the webhook's; it is counted.

        Only for requests that are refused anyway. It reads the body, up to the webhook's limit, unless the handler that
        refused it has done so.
        """
        rules, headers = self.rules, request.headers
        if not rules.has_secrets or (SHA256_HEADER not in headers and SHA1_HEADER not in headers):
            return False
        if not is_allowed(client_of(request, rules.trusted_proxies).address, rules.allowed_networks):
            return False
        check = rules.verifier.begin(headers)
        if check.problem is not None:
            return False
        try:
            if READ_BODY in request:
                check.update(request[READ_BODY])
            else:
                with self._budget.reserve(lambda: self._client(request)) as reservation:
                    await reservation.read(request, rules.max_body, check.update)
        except Exception:  # noqa: BLE001 (whatever is wrong with the body, the request is refused anyway)
            return False
        if not check.matches():
            return False
        if not self._path_check.is_expected(headers):
            self._refuse(request, "wrong-path")
        return True

    def _refuse(self, request: web.Request, reason: str) -> None:
        self.results[reason] += 1
        self._refusals.add(reason, self._client(request), request.rel_url.raw_path)

    def _client(self, request: web.Request) -> str:
        return client_of(request, self.rules.trusted_proxies).name

    async def _signed_body(self, request: web.Request, reservation: Reservation) -> bytes:
        """The body, refused as early as possible; its signature is computed while it arrives."""
        rules, headers = self.rules, request.headers
        if rules.allowed_networks and not FOR_OPERATOR.get():
            client = client_of(request, rules.trusted_proxies)
            if not is_allowed(client.address, rules.allowed_networks):
                raise RefusedError(403, "network-not-allowed", _refused_network(client))
        self._check_type(request.headers)
        if SHA256_HEADER not in headers and SHA1_HEADER not in headers:
            raise RefusedError(401, "signature-missing", f"The delivery has no {SHA256_HEADER} header.")
        length = request.content_length
        if length is not None and length > rules.max_body:
            why = f"The body has {length} bytes; at most {rules.max_body} are allowed."
            raise RefusedError(413, "content-too-large", why)
        check = rules.verifier.begin(headers)
        self._check_signature(check)
        pieces = await reservation.read(request, rules.max_body, check.update)
        if not check.matches():
            raise RefusedError(401, "signature-invalid", "The signature does not match the body.")
        return await join_pieces(pieces)

    @staticmethod
    def _check_type(headers: Mapping[str, str]) -> None:
        kind = headers.get(hdrs.CONTENT_TYPE)
        if kind is not None and kind != "application/json":
            media = kind.partition(";")[0].strip().lower()
            if media != "application/json" and not media.endswith("+json"):
                raise RefusedError(415, "unsupported-media-type", "The body must be application/json.")
        coding = headers.get(hdrs.CONTENT_ENCODING)
        if coding is not None and coding.strip().lower() not in ("", "identity"):
            why = "The body must not be compressed: the signature is over its bytes."
            raise RefusedError(415, "unsupported-media-type", why)

    def _check_signature(self, check: SignatureCheck) -> None:
        """Refuse what does not depend on the body."""
        if not self.rules.has_secrets:
            raise RefusedError(401, "webhook-secret-missing", "No webhook secret is configured: [webhook] secrets.")
        if check.problem == "sha1_only":
            why = f"The delivery has only {SHA1_HEADER} (SHA-1): see [webhook] allow_sha1."
            raise RefusedError(401, "sha1-signature", why)
        if check.problem is not None:
            raise RefusedError(401, "signature-invalid", "The signature is not a valid hexadecimal digest.")

    def _check_room(self) -> None:
        waiting = self._queue.waiting(EVENT)
        if waiting >= self.rules.max_pending:
            why = f"{waiting} events are waiting; no more are accepted."
            raise RefusedError(503, "overloaded", why, retry_after=30)

    async def _store(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Store the events of a delivery; what is not an event becomes a dead letter."""
        headers = _headers(request.headers.get(hdrs.CONTENT_TYPE), request.headers.get(hdrs.USER_AGENT))
        at, heads = self._clock.stamp(), await _heads(body)
        received = [
            IncomingEvent(ReceivedEvent(head.id, head.type or None, "webhook", at, headers, head.body), head.error)
            for head in heads
        ]
        new = await asyncio.gather(*(self._store_event(event) for event in received))
        return PreparedStreamResponse(self.answer(heads, new))

    def answer(self, heads: Sequence[Head], new: Sequence[bool]) -> PreparedResponse:
        """The 200 for committed events; it counts them, and those to be applied."""
        fresh, first = any(new), heads[0]
        queued = sum(is_new for head, is_new in zip(heads, new, strict=True) if head.error is None)
        if queued:
            self._queue.added(EVENT, queued)
        only = first if len(heads) == 1 else None
        status = "accepted" if fresh else "duplicate"
        self.results["malformed" if fresh and only is not None and only.error else status] += 1
        if _stdlib_log.isEnabledFor(logging.DEBUG):  # a suppressed line must cost nothing
            log.debug(
                "webhook_accepted" if fresh else "webhook_duplicate",
                event_id=",".join(head.id for head in heads)[:200],
                event_type=(only and only.type) or None,
                malformed=only and only.error,
            )
        if only is not None:
            return PreparedResponse(200, b'{"status":"%b","id":"%b"}' % (status.encode(), first.id.encode()))
        ids = [head.id for head in heads]
        return PreparedResponse(200, msgspec.json.encode({"status": status, "id": first.id, "ids": ids}))


class PendingDelivery:
    """A delivery whose commit is in progress: `stored` is done when it is on disk, or the disk has refused."""

    __slots__ = ("_head", "_receiver", "_reservation", "stored")

    def __init__(
        self, receiver: WebhookReceiver, reservation: Reservation, head: Head, stored: asyncio.Future[bool]
    ) -> None:
        self._receiver = receiver
        self._reservation = reservation
        self._head = head
        self.stored = stored

    def answer(self) -> PreparedResponse:
        """The response; once, when `stored` is done. Raises UnavailableError when the disk has refused."""
        with self._reservation:
            try:
                new = self.stored.result()
            except UnavailableError as error:
                self._receiver.count_unavailable(error)
                raise
            return self._receiver.answer([self._head], [new])


async def _heads(body: bytes) -> list[Head]:
    if len(body) <= THREAD_THRESHOLD:
        with contextlib.suppress(MalformedError):
            return parse_heads(body)
    return await asyncio.to_thread(read_heads, body)


def _refused_network(client: RemoteClient) -> str:
    if client.address is None:
        return "Webhooks are accepted from some networks only, and the proxy reports no address in X-Forwarded-For."
    return f"Webhooks are not accepted from {client.name}."


@functools.lru_cache(maxsize=64)
def _headers(content_type: str | None, user_agent: str | None) -> str:
    """The headers that are stored with the event; never the signature."""
    headers = {"Content-Type": content_type, "User-Agent": user_agent}
    return msgspec.json.encode({name: value[:512] for name, value in headers.items() if value}).decode()
