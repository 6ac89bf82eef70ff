"""The client of Flexport's API: every request to Flexport goes through one of these.

Reads are retried until the timeout; a write is sent once, unless the failure proves that it had no effect. Every
response is checked before it is used (`parse_response`); every failure is a FlexportError (`errors`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlsplit

import aiohttp

from flexportd.clock import Clock
from flexportd.errors import InvalidError
from flexportd.escape import escape_control
from flexportd.flexport.download import Downloaded, Sink, StreamedDownload
from flexportd.flexport.errors import FlexportError
from flexportd.flexport.lists import page_number, page_query, path_template
from flexportd.flexport.oauth.auth import Auth
from flexportd.flexport.parse_response import parse_response, read_object, read_page
from flexportd.flexport.redaction import clean_error
from flexportd.flexport.retry import AttemptStats, OutgoingRequest, RetryingSender
from flexportd.flexport.server_clock import ServerClock
from flexportd.flexport.transport import HttpSession, Proxy, Reply, Request, exchange
from flexportd.flexport.usage import Purpose, UsageRecorder
from flexportd.http.redaction import Secrets
from flexportd.tasks import Tasks

T = TypeVar("T")

_THREAD_THRESHOLD = 1 << 20  # bytes from which the search for secrets leaves the event loop
_MIN_UPLOAD_RATE = 64 << 10  # bytes per second: a large body takes its time before the answer can come


@dataclass(frozen=True, slots=True)
class ClientRules:
    """How requests are sent: `timeout` and `patience` in seconds, `max_answer` in bytes.

    `patience` is the limit of a request with all its retries; that of a person has 10 s at most. `secrets` are removed
    from responses that repeat them, and so is the bearer.
    """

    base_url: str
    requests_per_second: float = 5.0
    concurrency: int = 4
    timeout: float = 30.0
    max_answer: int = 32 << 20
    patience: float = 60.0
    user_agent: str = "flexportd"
    secrets: tuple[str, ...] = field(default=(), repr=False)
    proxy: Proxy | None = None


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of a list, with each object's exact JSON.

    `started_at` (when the request began) and `date` (that of the response) are stamps on Flexport's clock; `notes` are
    oddities of the page, a sentence each.
    """

    number: int
    rows: list[bytes]
    has_next: bool
    total_count: int | None
    started_at: str
    date: str
    bytes: int
    notes: list[str]


@dataclass(frozen=True, slots=True)
class FetchedObject:
    """One object's exact JSON; the stamps are as in ListPage."""

    text: bytes
    started_at: str
    date: str
    status: int
    request_id: str | None


class Client:
    """Open it with `async with`; any number of tasks can use it at once. `secrets` may be replaced at any time."""

    def __init__(self, rules: ClientRules, auth: Auth, clock: Clock) -> None:
        self.calls = UsageRecorder(clock)
        self.server_clock = ServerClock()
        self.secrets = Secrets(rules.secrets)
        self._rules = rules
        self._auth = auth
        self._clock = clock
        self._tasks = Tasks()
        self._sender = RetryingSender(
            auth, clock.machine, self.calls,
            rate=rules.requests_per_second, concurrency=rules.concurrency, timeout=rules.patience,
        )  # fmt: skip
        self._session: HttpSession | None = None

    async def __aenter__(self) -> Self:
        # As many connections as requests, and one more for the token.
        connector = aiohttp.TCPConnector(limit=self._rules.concurrency + 1, ttl_dns_cache=60)
        self._session = HttpSession.open(connector, self._rules.user_agent, self._rules.proxy)
        try:
            await self._auth.open(self._session, self._tasks, self._clock.machine)
        except BaseException:
            await self._session.http.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.stop()
        if self._session is not None:
            await self._session.http.close()

    async def page(self, path: str, query: Mapping[str, str], number: int, purpose: Purpose) -> ListPage:
        """Page `number` (from 1) of a list, of any size. Links in it are never followed. Raises a FlexportError."""
        request = Request("GET", self._url(path, page_query(query, number)), {})
        order = OutgoingRequest(f"GET {path} (page {number})", path_template(path), purpose)

        async def attempt(bearer: str, stats: AttemptStats) -> ListPage:
            reply, date = await self._reply(request, bearer, stats)
            body = await parse_response(reply, read_page, order.name)
            started_at, notes = reply.started_at or date, [*body.notes, *self._link_notes(body.next, number)]
            has_next = body.next is not None
            return ListPage(number, body.rows, has_next, body.total_count, started_at, date, len(reply.body), notes)

        return await self._send(order, attempt)

    async def get(self, path: str, key: str, purpose: Purpose, query: Mapping[str, str] | None = None) -> FetchedObject:
        """The object with this id. Raises NotFoundAtFlexportError if there is none, or another FlexportError."""
        if not key:
            raise InvalidError("id: empty", "id")
        segment = quote(key, safe="").replace(".", "%2E")  # ids are untrusted
        return await self._send_for_object(
            Request("GET", self._url(f"{path}/{segment}", query or {}), {}), path, purpose
        )

    async def send(self, method: str, path: str, body: bytes, purpose: Purpose) -> FetchedObject:
        """Create (POST) or change (PATCH) an object; `body` is JSON, ids in `path` are percent-encoded.

        Sent again only after a response or failure that proves that it had no effect (429, no connection, a 401 that a
        fresh token resolves). Raises UnknownOutcomeError if it may have taken effect, or another FlexportError.
        """
        if method not in ("POST", "PATCH"):
            raise InvalidError(f"method: {escape_control(method)!r} does not write; use POST or PATCH", "method")
        return await self._send_for_object(Request(method, self._url(path, {}), {}, body), path, purpose)

    async def download(self, path: str, purpose: Purpose, sink: Sink, max_size: int) -> Downloaded:
        """Pass a file to `sink`, chunk by chunk; `max_size` in bytes.

        Retried only until `sink` has received a chunk. Raises ResponseTooLargeError or another FlexportError, and what
        `sink` raises.
        """
        url = self._url(path, {})
        order = OutgoingRequest(f"GET {path}", path_template(path), purpose)

        async def attempt(bearer: str, stats: AttemptStats) -> Downloaded:
            headers = {**_headers(bearer), "Accept": "*/*", "Accept-Encoding": "identity"}
            download = StreamedDownload(
                self._open_session, self._clock, url, headers, self._rules.timeout, sink, max_size,
                lambda content: self.secrets.clean(content, bearer), self.secrets.longest(bearer),
            )  # fmt: skip
            return await download.run(order.name, stats)

        return await self._send(order, attempt)

    async def _send(self, order: OutgoingRequest, attempt: Callable[[str, AttemptStats], Awaitable[T]]) -> T:
        """As `RetryingSender.send`; no error contains a secret."""

        async def clean_attempt(bearer: str, stats: AttemptStats) -> T:
            try:
                return await attempt(bearer, stats)
            except FlexportError as error:
                clean_error(self.secrets, error, bearer)
                raise

        return await self._sender.send(order, clean_attempt)

    def now(self) -> str:
        """The present time on Flexport's clock, as a stamp."""
        return self.server_clock.at(self._clock.now())

    def earliest_now(self) -> str:
        """The earliest time that it can be on Flexport's clock, as a stamp: before the first response, a day ago."""
        return self.server_clock.earliest(self._clock.now())

    def state(self) -> dict[str, Any]:
        """For the status page: breaker, auth, rate limit, calls by purpose since the start, Flexport's clock, proxy."""
        return {
            "breaker": self._sender.breaker.view(),
            "auth": self._auth.state(),
            "rate_limit": self._sender.limiter.view(),
            "calls": self.calls.totals(),
            "clock": self.server_clock.state(),
            "proxy": None if self._rules.proxy is None else self._rules.proxy.name,
        }

    async def _send_for_object(self, request: Request, path: str, purpose: Purpose) -> FetchedObject:
        name = f"{request.method} {urlsplit(request.url).path}"
        order = OutgoingRequest(name, path_template(path), purpose, write=request.body is not None)

        async def attempt(bearer: str, stats: AttemptStats) -> FetchedObject:
            reply, date = await self._reply(request, bearer, stats)
            text = await parse_response(reply, read_object, name)
            request_id = reply.error_details().request_id
            return FetchedObject(text, reply.started_at or date, date, reply.status, request_id)

        return await self._send(order, attempt)

    async def _reply(self, request: Request, bearer: str, stats: AttemptStats) -> tuple[Reply, str]:
        request = replace(request, headers=_headers(bearer))
        rules = self._rules
        seconds = rules.timeout + len(request.body or b"") / _MIN_UPLOAD_RATE
        reply = await exchange(self._open_session, request, self._clock, seconds=seconds, max_size=rules.max_answer)
        stats.bytes = len(reply.body)
        date = self.server_clock.observe(reply.headers.get("Date"), reply.received)
        # A response may repeat the request, and its bytes are stored.
        if len(reply.body) > _THREAD_THRESHOLD:
            body = await asyncio.to_thread(self.secrets.clean, reply.body, bearer)
        else:
            body = self.secrets.clean(reply.body, bearer)
        if reply.status >= 300:
            body = body.replace(bearer.encode(), b"***")
        return replace(reply, body=body, started_at=self.server_clock.at(reply.started)), date

    def _url(self, path: str, query: Mapping[str, str]) -> str:
        if not path.startswith("/") or path.startswith("//") or any(char in path for char in "?#\\") or ".." in path:
            raise InvalidError(f"path: {escape_control(path)!r} is not a path of Flexport's API", "path")
        text = "&".join(f"{quote(name, safe='.')}={quote(value, safe='')}" for name, value in query.items())
        return self._rules.base_url.rstrip("/") + quote(path, safe="/%-._~") + (f"?{text}" if text else "")

    def _link_notes(self, link: str | None, number: int) -> list[str]:
        if not link:
            return []
        try:
            host = urlsplit(link).netloc
        except ValueError:
            return [f"next is not a URL: {escape_control(link, 100)}"]
        notes = []
        if host and host != urlsplit(self._rules.base_url).netloc:
            notes.append(f"next leads to another host: {escape_control(host, 100)}")
        page = page_number(link)
        if page is None:
            notes.append(f"next of page {number} names no page")
        elif page <= number:
            notes.append(f"next of page {number} leads back to page {page}")
        elif page > number + 1:
            notes.append(f"next of page {number} skips to page {page}")
        return notes

    @property
    def _open_session(self) -> HttpSession:
        if self._session is None or self._session.http.closed:
            raise RuntimeError("the client is not open")
        return self._session


def _headers(bearer: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {bearer}",
        "Accept": "application/json",
        "Content-Type": "application/json",
        "Flexport-Version": "2",
    }
