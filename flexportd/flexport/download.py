"""A file from Flexport, streamed: never held in memory, never larger than allowed, the bearer never given away.

Source: https://apidocs.flexport.com/v2/tag/Document. The answer may be a redirect to a store: it is followed by hand,
as far as `redirects` allows, and only the configured host is sent the bearer.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

import aiohttp
from yarl import URL

from flexportd.clock import Clock
from flexportd.flexport.envelope import read_object
from flexportd.flexport.errors import (
    EchoedSecretError,
    FlexportError,
    FlexportUnavailableError,
    MalformedResponseError,
    RejectedError,
    ResponseTooLargeError,
)
from flexportd.flexport.parse_response import WEB_PAGES, error_for, parse_response
from flexportd.flexport.redirects import Redirects, RefusedRedirectError
from flexportd.flexport.retry import AttemptStats
from flexportd.flexport.transport import (
    CONNECT_TIMEOUT,
    MAX_ERROR_BODY,
    HttpSession,
    Reply,
    Request,
    chunks,
    open_response,
)

_MAX_REDIRECTS = 3
_TIMEOUT_FACTOR = 10  # times the time-out of one request: a file is larger than a page
_ANONYMOUS = {"Accept": "*/*", "Accept-Encoding": "identity"}

Sink = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What was passed on: `media_type` as said by who sent it (empty: unsaid), size in bytes."""

    media_type: str
    size: int
    status: int
    request_id: str | None


@dataclass(frozen=True, slots=True)
class StreamedDownload:
    """What one download needs: where to begin, what to say there, where to put it, how much at most.

    `clean` takes out secrets, none of which is longer than `longest_secret` bytes.
    """

    session: HttpSession
    clock: Clock
    url: str
    headers: Mapping[str, str]
    timeout: float
    sink: Sink
    max_size: int
    clean: Callable[[bytes], bytes] = lambda content: content
    longest_secret: int = 0

    async def run(self, name: str, tally: AttemptStats) -> Downloaded:
        """Stream once. Raises FlexportError, and whatever the sink raises; `tally.final` once it was given bytes."""
        home = url = URL(self.url, encoded=True)
        redirects, ours = Redirects(home, self.session.proxy), True
        for _ in range(_MAX_REDIRECTS + 1):
            if ours:
                found = await self._follow_redirect(self.session, url, name, tally, ours=True)
            else:
                async with redirects.session(name, self.session.user_agent) as session:
                    found = await self._follow_redirect(session, url, name, tally, ours=False)
            if isinstance(found, Downloaded):
                return found
            url = await redirects.follow(url, found, name)
            ours = ours and url.origin() == home.origin()  # nobody else leads us back with the bearer
        raise RefusedRedirectError(f"The download leads through more than {_MAX_REDIRECTS} redirects", detail=name)

    async def _follow_redirect(
        self, session: HttpSession, url: URL, name: str, tally: AttemptStats, *, ours: bool
    ) -> Downloaded | str:
        """The file, or where it is said to be."""
        request = Request("GET", str(url), self.headers if ours else _ANONYMOUS)
        limits = aiohttp.ClientTimeout(
            total=self.timeout * _TIMEOUT_FACTOR, connect=min(CONNECT_TIMEOUT, self.timeout), sock_read=self.timeout
        )
        started = self.clock.now()
        response = await open_response(session, request, limits)
        try:
            tally.status = response.status
            head = Reply(response.status, response.headers, b"", started, self.clock.now())
            if response.status in (301, 302, 303, 307, 308):
                return response.headers.get("Location", "")
            if not 200 <= response.status < 300:
                # What is said may repeat what was sent.
                told = replace(head, body=self.clean(await _read_head(chunks(response, request))))
                raise error_for(told, name) if ours else _store_error(told, name)
            return await self._stream_to(chunks(response, request), head, name, tally)
        finally:
            response.close()

    async def _stream_to(self, body: AsyncIterator[bytes], head: Reply, name: str, tally: AttemptStats) -> Downloaded:
        if head.media_type in WEB_PAGES:
            raise MalformedResponseError(
                "Flexport sent a web page instead of a file", head.error_details(), detail=name
            )
        held = b""
        if head.media_type == "application/json":
            # It may be Flexport telling of an error: it is looked at before it is passed on.
            held = await _read_head(body)
            if len(held) < MAX_ERROR_BODY:
                await _raise_json_error(replace(head, body=held), name)
        declared = head.headers.get("Content-Length", "")
        size = int(declared) if declared.isascii() and declared.isdigit() else 0
        if size <= self.max_size:
            size, seam = 0, b""
            async for chunk in _chain(held, body):
                size += len(chunk)
                if size > self.max_size:
                    break
                # A file is kept as it is or not at all; a secret may lie across two pieces.
                seam += chunk
                if self.clean(seam) != seam:
                    raise EchoedSecretError(
                        "The file holds what flexportd signs in with", head.error_details(), detail=name
                    )
                seam = seam[-self.longest_secret :] if self.longest_secret else b""
                tally.bytes, tally.final = size, True
                await self.sink(chunk)
        if size > self.max_size:
            raise ResponseTooLargeError(
                f"The file is larger than {self.max_size} bytes", head.error_details(), detail=name
            )
        return Downloaded(head.media_type, size, head.status, head.error_details().request_id)


async def _chain(held: bytes, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if held:
        yield held
    async for chunk in body:
        yield chunk


async def _read_head(body: AsyncIterator[bytes]) -> bytes:
    held = b""
    async for chunk in body:
        held += chunk
        if len(held) >= MAX_ERROR_BODY:
            break
    return held


async def _raise_json_error(reply: Reply, name: str) -> None:
    """Raise the error that a JSON answer tells of; any other JSON is a file."""

    def read(body: bytes) -> None:
        with contextlib.suppress(MalformedResponseError):
            read_object(body)

    await parse_response(reply, read, name)


def _store_error(reply: Reply, name: str) -> FlexportError:
    """Another host's refusal says nothing about our key, nor that Flexport knows no such document."""
    kind = RejectedError if 400 <= reply.status < 500 else FlexportUnavailableError
    return kind(f"The file store that Flexport leads to answers {reply.status}", reply.error_details(), detail=name)
