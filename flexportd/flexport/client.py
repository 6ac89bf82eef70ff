"""The client of Flexport's API: everything that is asked of Flexport goes through one of these.

Reads are tried again until patience is used up; a write is sent once, unless it is certain that nothing happened.
Every answer is checked before it is believed (`envelope`), every failure is a class of `failures`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlsplit

from flexportd.clock import Clock
from flexportd.errors import InvalidError
from flexportd.escape import escape_control
from flexportd.flexport.circuit_breaker import Breaker
from flexportd.flexport.download import Downloaded, Sink, StreamedDownload
from flexportd.flexport.envelope import ObjectBody, PageBody
from flexportd.flexport.errors import FlexportError
from flexportd.flexport.monotonic import MonotonicClock
from flexportd.flexport.oauth.auth import Auth
from flexportd.flexport.parse_response import parse_response
from flexportd.flexport.proxy import Proxy
from flexportd.flexport.rate_limiter import RateLimiter
from flexportd.flexport.redaction import Secrets
from flexportd.flexport.retry import AttemptStats, OutgoingRequest, RateControl, RetryingSender
from flexportd.flexport.server_clock import ServerClock
from flexportd.flexport.transport import HttpSession, Limits, Reply, Request, exchange, open_session
from flexportd.flexport.usage import Purpose, UsageRecorder
from flexportd.flexport.version2 import VERSION_2
from flexportd.flexport.versions import ApiVersion
from flexportd.tasks import Tasks

T = TypeVar("T")

_THREAD_THRESHOLD = 1 << 20  # bytes from which looking for secrets leaves the event loop


@dataclass(frozen=True, slots=True)
class ClientRules:
    """How to ask: `timeout` and `patience` in seconds, `max_answer` in bytes.

    `patience` is how long the client's own retries of one request go on; a person's request has 10 s at most.
    `secrets` are taken out of answers that repeat them, and so is the bearer.
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
    """One page of a list: each object's exact JSON.

    `started_at` (when the request began) and `date` (the answer's) are stamps on Flexport's clock; `notes` are
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
    version: int | None


@dataclass(frozen=True, slots=True)
class FetchedObject:
    """One object's exact JSON; the stamps are on Flexport's clock, as those of ListPage."""

    text: bytes
    started_at: str
    date: str
    status: int
    request_id: str | None
    version: int | None


class Client:
    """Open it with `async with`. Safe for use by any number of tasks at once. `secrets` may be replaced at any time."""

    def __init__(
        self,
        rules: ClientRules,
        auth: Auth,
        clock: Clock,
        *,
        book: UsageRecorder | None = None,
        version: ApiVersion = VERSION_2,
    ) -> None:
        self.calls = book or UsageRecorder(clock)
        self.server_clock = ServerClock()
        self.secrets = Secrets(rules.secrets)
        self._rules = rules
        self._auth = auth
        self._clock = clock
        self._version = version
        self._tasks = Tasks()
        steady = MonotonicClock(clock.machine)
        self._breaker = Breaker(steady)
        self._limiter = RateLimiter(rules.requests_per_second, rules.concurrency, clock.machine, steady)
        self._sender = RetryingSender(
            auth, clock.machine, self.calls, RateControl(steady, self._breaker, self._limiter, rules.patience)
        )
        self._session: HttpSession | None = None

    async def __aenter__(self) -> Self:
        self._session = open_session(self._rules.concurrency, self._rules.user_agent, self._rules.proxy)
        try:
            await self._auth.open(self._session, self._tasks, self._clock.machine)
        except BaseException:
            await self._session.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.stop()
        if self._session is not None:
            await self._session.close()

    async def page(self, path: str, query: Mapping[str, str], number: int, purpose: Purpose) -> ListPage:
        """Page `number` (from 1) of a list, as large as Flexport gives it. Its links are never followed.

        Raises a FlexportError.
        """
        url = self._url(path, self._version.page_query(query, number))
        order = OutgoingRequest(f"GET {path} (page {number})", self._version.resource(path), purpose)

        async def attempt(bearer: str, tally: AttemptStats) -> ListPage:
            reply, date = await self._reply(Request("GET", url, self._headers(bearer)), bearer, tally)
            body: PageBody = await parse_response(reply, self._version.read_page, order.name)
            return ListPage(
                number,
                body.rows,
                body.next is not None,
                body.total_count,
                reply.started_at or date,
                date,
                len(reply.body),
                [*body.notes, *self._link_notes(body.next, number)],
                body.version,
            )

        return await self._send(order, attempt)

    async def get(self, path: str, key: str, purpose: Purpose, query: Mapping[str, str] | None = None) -> FetchedObject:
        """The object with this id. Raises NotFoundAtFlexportError when there is none, or another FlexportError."""
        return await self._send_for_object(
            Request("GET", self._url(f"{path}/{_segment(key)}", query or {}), {}), path, purpose
        )

    async def send(self, method: str, path: str, body: bytes, purpose: Purpose) -> FetchedObject:
        """Create (POST) or change (PATCH) something; `body` is JSON, ids in `path` are percent-encoded.

        Sent again only after an answer or failure that proves that nothing happened (429, no connection, a 401 that a
        fresh token mends). Raises UnknownOutcomeError when it may have taken effect, or another FlexportError.
        """
        if method not in ("POST", "PATCH"):
            raise InvalidError(f"method: {escape_control(method)!r} writes nothing; POST and PATCH do", "method")
        return await self._send_for_object(Request(method, self._url(path, {}), {}, body), path, purpose)

    async def download(self, path: str, purpose: Purpose, sink: Sink, max_size: int) -> Downloaded:
        """Pass a file's bytes on to `sink`, piece by piece; `max_size` in bytes.

        Tried again only while `sink` has been given nothing. Raises AnswerTooLargeError or another FlexportError, and
        what `sink` raises.
        """
        url = self._url(path, {})
        order = OutgoingRequest(f"GET {path}", self._version.resource(path), purpose)

        async def attempt(bearer: str, tally: AttemptStats) -> Downloaded:
            headers = {**self._headers(bearer), "Accept": "*/*", "Accept-Encoding": "identity"}
            streaming = StreamedDownload(
                self._open_session, self._clock, url, headers, self._rules.timeout, sink, max_size,
                lambda content: self.secrets.clean(content, bearer), self.secrets.longest(bearer),
            )  # fmt: skip
            return await streaming.run(order.name, tally)

        return await self._send(order, attempt)

    async def _send(self, order: OutgoingRequest, attempt: Callable[[str, AttemptStats], Awaitable[T]]) -> T:
        """As `Asking.ask`; no error tells a secret."""

        async def discreet(bearer: str, tally: AttemptStats) -> T:
            try:
                return await attempt(bearer, tally)
            except FlexportError as error:
                self.secrets.clean_error(error, bearer)
                raise

        return await self._sender.send(order, discreet)

    def now(self) -> str:
        """The present on Flexport's clock, as a stamp."""
        return self.server_clock.at(self._clock.now())

    def state(self) -> dict[str, Any]:
        """For the status page: breaker, auth, pace, calls by purpose since the start, Flexport's clock, the proxy."""
        return {
            "breaker": self._breaker.view(),
            "auth": self._auth.state(),
            "rate_limit": self._limiter.view(),
            "calls": self.calls.totals(),
            "clock": self.server_clock.state(),
            "proxy": None if self._rules.proxy is None else self._rules.proxy.name,
        }

    async def _send_for_object(self, request: Request, path: str, purpose: Purpose) -> FetchedObject:
        write = request.body is not None
        order = OutgoingRequest(
            f"{request.method} {urlsplit(request.url).path}", self._version.resource(path), purpose, write
        )

        async def attempt(bearer: str, tally: AttemptStats) -> FetchedObject:
            reply, date = await self._reply(replace(request, headers=self._headers(bearer)), bearer, tally)
            body: ObjectBody = await parse_response(reply, self._version.read_object, order.name)
            return FetchedObject(
                body.text,
                reply.started_at or date,
                date,
                reply.status,
                reply.error_details().request_id,
                body.version,
            )

        return await self._send(order, attempt)

    async def _reply(self, request: Request, bearer: str, tally: AttemptStats) -> tuple[Reply, str]:
        """The answer, and its date as a stamp."""
        rules = self._rules
        reply = await exchange(self._open_session, request, self._clock, Limits(rules.timeout, rules.max_answer))
        tally.status, tally.bytes = reply.status, len(reply.body)
        date = self.server_clock.observe(reply.headers.get("Date"), reply.received)
        # What is said may repeat what was sent, and the bytes of an answer are kept.
        if len(reply.body) > _THREAD_THRESHOLD:
            body = await asyncio.to_thread(self.secrets.clean, reply.body, bearer)
        else:
            body = self.secrets.clean(reply.body, bearer)
        reply = replace(reply, body=body if reply.status < 300 else body.replace(bearer.encode(), b"***"))
        return replace(reply, started_at=self.server_clock.at(reply.started)), date

    def _headers(self, bearer: str) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {bearer}",
            "Accept": "application/json",
            "Content-Type": "application/json",
            **self._version.headers,
        }

    def _url(self, path: str, query: Mapping[str, str]) -> str:
        if not path.startswith("/") or path.startswith("//") or any(char in path for char in "?#\\") or ".." in path:
            raise InvalidError(f"path: {escape_control(path)!r} is no path of Flexport's API", "path")
        asked = "&".join(f"{quote(name, safe='.')}={quote(value, safe='')}" for name, value in query.items())
        return self._rules.base_url.rstrip("/") + quote(path, safe="/%-._~") + (f"?{asked}" if asked else "")

    def _link_notes(self, link: str | None, number: int) -> list[str]:
        """What is odd about a page's `next`, which is only looked at."""
        if not link:
            return []
        try:
            host = urlsplit(link).netloc
        except ValueError:
            return [f"next is no URL: {escape_control(link, 100)}"]
        notes = []
        if host and host != urlsplit(self._rules.base_url).netloc:
            notes.append(f"next leads to another host: {escape_control(host, 100)}")
        page = self._version.page_number(link)
        if page is None:
            notes.append(f"next of page {number} names no page")
        elif page <= number:
            notes.append(f"next of page {number} leads back to page {page}")
        elif page > number + 1:
            notes.append(f"next of page {number} skips to page {page}")
        return notes

    @property
    def _open_session(self) -> HttpSession:
        if self._session is None or self._session.closed:
            raise RuntimeError("the client is not open")
        return self._session


def _segment(key: str) -> str:
    """An id as one segment of a path; ids may begin with `-` or `_`, and are never believed to be harmless."""
    if not key:
        raise InvalidError("id: empty", "id")
    return quote(key, safe="").replace(".", "%2E")
