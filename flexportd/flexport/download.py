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
    AnswerTooLargeError,
    FlexportError,
    FlexportUnavailableError,
    MalformedAnswerError,
    RejectedError,
    RepeatedSecretError,
)
from flexportd.flexport.parse_response import WEB_PAGES, parsed, refusal
from flexportd.flexport.redirects import Redirects, RefusedRedirectError
from flexportd.flexport.retry import Tally
from flexportd.flexport.transport import CONNECT, ERROR_BODY, HttpSession, Reply, Request, begin, chunks

_REDIRECTS = 3
_WHOLE = 10  # times the time-out of one request: a file is larger than a page
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
class Streaming:
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

    async def run(self, name: str, tally: Tally) -> Downloaded:
        """Stream once. Raises FlexportError, and whatever the sink raises; `tally.final` once it was given bytes."""
        home = url = URL(self.url, encoded=True)
        redirects, ours = Redirects(home, self.session.proxy), True
        for _ in range(_REDIRECTS + 1):
            if ours:
                found = await self._hop(self.session, url, name, tally, ours=True)
            else:
                async with redirects.session(name, self.session.user_agent) as session:
                    found = await self._hop(session, url, name, tally, ours=False)
            if isinstance(found, Downloaded):
                return found
            url = await redirects.follow(url, found, name)
            ours = ours and url.origin() == home.origin()  # nobody else leads us back with the bearer
        raise RefusedRedirectError(f"The download leads through more than {_REDIRECTS} redirects", detail=name)

    async def _hop(self, session: HttpSession, url: URL, name: str, tally: Tally, *, ours: bool) -> Downloaded | str:
        """The file, or where it is said to be."""
        request = Request("GET", str(url), self.headers if ours else _ANONYMOUS)
        limits = aiohttp.ClientTimeout(
            total=self.timeout * _WHOLE, connect=min(CONNECT, self.timeout), sock_read=self.timeout
        )
        started = self.clock.now()
        response = await begin(session, request, limits)
        try:
            tally.status = response.status
            head = Reply(response.status, response.headers, b"", started, self.clock.now())
            if response.status in (301, 302, 303, 307, 308):
                return response.headers.get("Location", "")
            if not 200 <= response.status < 300:
                # What is said may repeat what was sent.
                told = replace(head, body=self.clean(await _beginning(chunks(response, request))))
                raise refusal(told, name) if ours else _refused_elsewhere(told, name)
            return await self._pour(chunks(response, request), head, name, tally)
        finally:
            response.close()

    async def _pour(self, body: AsyncIterator[bytes], head: Reply, name: str, tally: Tally) -> Downloaded:
        if head.media_type in WEB_PAGES:
            raise MalformedAnswerError("Flexport sent a web page instead of a file", head.said(), detail=name)
        held = b""
        if head.media_type == "application/json":
            # It may be Flexport telling of an error: it is looked at before it is passed on.
            held = await _beginning(body)
            if len(held) < ERROR_BODY:
                await _check(replace(head, body=held), name)
        declared = head.headers.get("Content-Length", "")
        size = int(declared) if declared.isascii() and declared.isdigit() else 0
        if size <= self.max_size:
            size, seam = 0, b""
            async for chunk in _joined(held, body):
                size += len(chunk)
                if size > self.max_size:
                    break
                # A file is kept as it is or not at all; a secret may lie across two pieces.
                seam += chunk
                if self.clean(seam) != seam:
                    raise RepeatedSecretError("The file holds what flexportd signs in with", head.said(), detail=name)
                seam = seam[-self.longest_secret :] if self.longest_secret else b""
                tally.bytes, tally.final = size, True
                await self.sink(chunk)
        if size > self.max_size:
            raise AnswerTooLargeError(f"The file is larger than {self.max_size} bytes", head.said(), detail=name)
        return Downloaded(head.media_type, size, head.status, head.said().request_id)


async def _joined(held: bytes, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if held:
        yield held
    async for chunk in body:
        yield chunk


async def _beginning(body: AsyncIterator[bytes]) -> bytes:
    held = b""
    async for chunk in body:
        held += chunk
        if len(held) >= ERROR_BODY:
            break
    return held


async def _check(reply: Reply, name: str) -> None:
    """Raise the error that a JSON answer tells of; any other JSON is a file."""

    def read(body: bytes) -> None:
        with contextlib.suppress(MalformedAnswerError):
            read_object(body)

    await parsed(reply, read, name)


def _refused_elsewhere(reply: Reply, name: str) -> FlexportError:
    """Another host's refusal says nothing about our key, nor that Flexport knows no such document."""
    kind = RejectedError if 400 <= reply.status < 500 else FlexportUnavailableError
    return kind(f"The file store that Flexport leads to answers {reply.status}", reply.said(), detail=name)
