"""Bodies of requests: read within a time, a size, and a budget of bytes that are in memory for all requests together.

Nothing that is sent without proof of who sends it may use up memory. A body takes from the budget as it arrives, or at
its beginning where it is large and its length is known, and gives back when its request has been answered. Large bodies
leave a part of the budget to small ones, and those of one address leave half to others. When there is nothing left, the
body that has been arriving longest is given up, unless it has only begun; else the new one is refused (503).
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web

from flexportd.errors import RefusedError

BODY_TIMEOUT = 20.0  # seconds for a body to arrive
MAX_SMALL = 64 << 10  # bytes; what is larger is a large body
TOTAL_BYTES = 48 << 20  # bytes of all bodies
RESERVED_FOR_SMALL = 16 << 20  # of these, bytes that large bodies leave to small ones
GRACE_SECONDS = 1.0  # seconds in which a body may arrive however little room there is
RETRY_AFTER = 5  # seconds

_MIN_PIECE = 4096  # bytes
_RECENT = 3600.0  # seconds in which operators are told of refused bodies
THREAD_THRESHOLD = 512 << 10  # bytes that are worked on in a thread, not on the event loop


READ_BODY: web.RequestKey[bytes] = web.RequestKey("read_body", bytes)
"""The body of a request whose handler has read it already: it cannot be read from the connection again."""


class BodyBudget:
    """Bytes of bodies that are in memory; `max_body` is the largest that any route takes."""

    def __init__(self, max_body: int, total: int = TOTAL_BYTES, reserve: int = RESERVED_FOR_SMALL) -> None:
        self.for_large = max(total - reserve, 2 * max_body)
        self.total = self.for_large + reserve
        self.used = self.used_by_large = 0
        self.refused = self.evicted = 0
        self._refused_at: float | None = None  # the loop's time
        self._by_address: dict[str, int] = {}  # bytes of large bodies
        self._arriving: dict[Reservation, None] = {}  # the oldest first

    def reserve(self, address: Callable[[], str]) -> "Reservation":
        """A reservation for one body, of nothing yet; `address` of the client is asked for only where it counts."""
        return Reservation(self, address)

    @property
    def recently_refused(self) -> bool:
        """Whether a body was refused within the last hour."""
        return self._refused_at is not None and asyncio.get_running_loop().time() - self._refused_at < _RECENT

    # --- for reservations ---

    def acquire(self, body: "Reservation", count: int) -> None:
        """Take bytes for a body. Raises RefusedError."""
        is_large = body.size + count > MAX_SMALL
        more = count if body.address is not None or not is_large else body.size + count  # that count as a large body's
        while full := self._find_evictable(body, count, more, is_large=is_large):
            if not self._evict(body, full):
                self.refused += 1
                self._refused_at = asyncio.get_running_loop().time()
                raise RefusedError(503, "overloaded", "Too many bodies are being received.", retry_after=RETRY_AFTER)
        self.used += count
        body.size += count
        if is_large:
            body.address = address = body.client()
            self.used_by_large += more
            self._by_address[address] = self._by_address.get(address, 0) + more

    def _find_evictable(
        self, body: "Reservation", count: int, more: int, *, is_large: bool
    ) -> "Callable[[Reservation], bool] | None":
        """Where there is no room for so many bytes: which bodies would make some. None where there is."""
        if is_large:
            address = body.client()
            if self._by_address.get(address, 0) + more > self.for_large // 2:
                return lambda other: other.address == address
            if self.used_by_large + more > self.for_large:
                return lambda other: other.address is not None
        if self.used + count > self.total:
            return lambda other: other.size > 0
        return None

    def _evict(self, newcomer: "Reservation", would_help: "Callable[[Reservation], bool]") -> bool:
        """End the reading of the body that has been arriving longest; whether there is one that had its time."""
        now = asyncio.get_running_loop().time()
        for body in self._arriving:
            if body.began + GRACE_SECONDS > now:
                return False
            if body is not newcomer and would_help(body):
                self.evicted += 1
                body.abort(now)
                return True
        return False

    def release(self, body: "Reservation") -> None:
        """Take back what a body has."""
        self.used -= body.size
        if body.address is not None:
            self.used_by_large -= body.size
            left = self._by_address[body.address] - body.size
            if left:
                self._by_address[body.address] = left
            else:
                del self._by_address[body.address]
        body.size, body.address = 0, None

    def add_arriving(self, body: "Reservation") -> None:
        """A body arrives piece by piece."""
        self._arriving[body] = None

    def remove_arriving(self, body: "Reservation") -> None:
        """It has arrived, or does not any more."""
        self._arriving.pop(body, None)


class Reservation:
    """What one body takes from the budget, until its context is left."""

    __slots__ = ("_budget", "_client", "_limit", "address", "began", "size")

    def __init__(self, budget: BodyBudget, client: Callable[[], str]) -> None:
        self._budget = budget
        self._client = client
        self._limit: asyncio.Timeout | None = None
        self.address: str | None = None  # of the client, once the body is a large one
        self.began = 0.0
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.size:
            self._budget.release(self)

    def client(self) -> str:
        """The address for which it counts."""
        return self.address or self._client()

    def abort(self, now: float) -> None:
        """Stop reading: its bytes are for another."""
        self._budget.remove_arriving(self)
        self._budget.release(self)
        if self._limit is not None:
            self._limit.reschedule(now)

    async def read(
        self, request: web.BaseRequest, most: int, update: Callable[[bytes], None] | None = None
    ) -> list[bytes]:
        """The body in pieces, each handed to `update` as well, in a thread where they are large.

        Raises RefusedError: 413 for more than `most` bytes, 408 for a body that does not arrive in time, 503.
        """
        length, content = request.content_length, request.content
        if length is not None and length > most:
            raise RefusedError(413, "content-too-large", f"The body has {length} bytes; at most {most} are taken.")
        if content.is_eof():  # it came with the head, as small ones do
            whole = content.read_nowait()
            if len(whole) > most:
                raise _too_large(most)
            self._budget.acquire(self, len(whole))
            if update is not None:
                update(whole)
            return [whole]
        self.began = asyncio.get_running_loop().time()
        self._budget.add_arriving(self)
        try:
            async with asyncio.timeout(BODY_TIMEOUT) as self._limit:
                return await self._pieces(request, most, update)
        except TimeoutError:
            if self._limit is None or not self._limit.expired():
                raise
            raise RefusedError(408, "request-timeout", f"The body did not arrive within {BODY_TIMEOUT:g} s.") from None
        finally:
            self._limit = None
            self._budget.remove_arriving(self)

    async def _pieces(self, request: web.BaseRequest, most: int, update: Callable[[bytes], None] | None) -> list[bytes]:
        content, length = request.content, request.content_length or 0
        ahead = length if length > MAX_SMALL else 0  # bytes that are reserved and have not arrived
        if ahead:
            self._budget.acquire(self, ahead)
        pieces, batch, size, waiting = list[bytes](), list[bytes](), 0, 0
        while piece := await content.readany():
            size += len(piece)
            if size > most:
                raise _too_large(most)
            if ahead >= len(piece):
                ahead -= len(piece)
            else:
                self._budget.acquire(self, len(piece) - ahead)
                ahead = 0
            if pieces and len(pieces[-1]) < _MIN_PIECE:
                pieces[-1] += piece  # many small objects would take more memory than their bytes
            else:
                pieces.append(piece)
            if update is None:
                continue
            batch.append(piece)
            waiting += len(piece)
            if waiting >= THREAD_THRESHOLD:
                await asyncio.to_thread(_feed, update, batch)
                batch, waiting = [], 0
        if update is not None:
            _feed(update, batch)
        return pieces


def _too_large(most: int) -> RefusedError:
    return RefusedError(413, "content-too-large", f"At most {most} bytes are taken.")


def _feed(update: Callable[[bytes], None], pieces: list[bytes]) -> None:
    for piece in pieces:
        update(piece)


async def join_pieces(pieces: list[bytes]) -> bytes:
    """The whole body; put together in a thread where it is large."""
    if len(pieces) == 1:
        return pieces[0]
    return await asyncio.to_thread(b"".join, pieces) if sum(map(len, pieces)) > THREAD_THRESHOLD else b"".join(pieces)
