"""Request bodies: read within a time limit, a size limit, and a memory budget for all requests together.

Unauthenticated clients must not exhaust memory. A body reserves bytes as it arrives, or at its start if it is large and
its length is known, and releases them when its request has been answered. Large bodies leave part of the budget to
small ones, and those of one address leave half to others. When the budget is used up, the body that has been arriving
longest is aborted, unless it has only just started; otherwise the new one is refused (503).
"""

import asyncio
from collections.abc import Callable
from typing import Self

from aiohttp import web

from flexportd.errors import RefusedError

BODY_TIMEOUT = 20.0  # seconds for a body to arrive
MAX_SMALL = 64 << 10  # bytes; a larger body is a large body
TOTAL_BYTES = 48 << 20  # bytes of all bodies
RESERVED_FOR_SMALL = 16 << 20  # bytes of these that large bodies leave to small ones
GRACE_SECONDS = 1.0  # seconds in which a body is not aborted for another
RETRY_AFTER = 5  # seconds

_MIN_PIECE = 4096  # bytes
_RECENT = 3600.0  # seconds for which a refused body is a warning
THREAD_THRESHOLD = 512 << 10  # bytes from which work is done in a thread, not on the event loop

READ_BODY: web.RequestKey[bytes] = web.RequestKey("read_body", bytes)
"""The body if the handler has read it already: it cannot be read from the connection again."""


class BodyBudget:
    """The memory budget of bodies; `max_body` is the largest body that any route accepts."""

    def __init__(self, max_body: int, total: int = TOTAL_BYTES, reserve: int = RESERVED_FOR_SMALL) -> None:
        self.for_large = max(total - reserve, 2 * max_body)
        self.total = self.for_large + reserve
        self.used = self.used_by_large = 0
        self.refused = self.evicted = 0
        self._refused_at: float | None = None  # the loop's time
        self._by_address: dict[str, int] = {}  # bytes of large bodies
        self._arriving: dict[Reservation, None] = {}  # the oldest first

    def allow(self, max_body: int) -> None:
        """Make room for bodies of this size, which a route accepts now."""
        more = max(0, 2 * max_body - self.for_large)
        self.for_large += more
        self.total += more

    def reserve(self, address: Callable[[], str]) -> "Reservation":
        """An empty reservation for one body; `address` is called only where the client's address matters."""
        return Reservation(self, address)

    @property
    def recently_refused(self) -> bool:
        """Whether a body was refused within the last hour."""
        return self._refused_at is not None and asyncio.get_running_loop().time() - self._refused_at < _RECENT

    def acquire(self, body: "Reservation", count: int) -> None:
        """Reserve bytes for a body. Raises RefusedError."""
        is_large = body.size + count > MAX_SMALL
        more = count if body.address is not None or not is_large else body.size + count  # of a large body
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
        """If the budget has no room for so many bytes: which bodies would free some. None if it has."""
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
        """Abort the body that has been arriving longest; False if none is past its grace period."""
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
        """Release the bytes of a body."""
        self.used -= body.size
        if body.address is not None:
            self.used_by_large -= body.size
            remaining = self._by_address[body.address] - body.size
            if remaining:
                self._by_address[body.address] = remaining
            else:
                del self._by_address[body.address]
        body.size, body.address = 0, None

    def add_arriving(self, body: "Reservation") -> None:
        """A body has started to arrive in pieces."""
        self._arriving[body] = None

    def remove_arriving(self, body: "Reservation") -> None:
        """It has arrived, or was aborted."""
        self._arriving.pop(body, None)


class Reservation:
    """The bytes of one body in the budget, until the context is left."""

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

    def __exit__(self, *_: object) -> None:
        if self.size:
            self._budget.release(self)

    def client(self) -> str:
        """The address that it counts for."""
        return self.address or self._client()

    def abort(self, now: float) -> None:
        """Stop reading, to free its bytes for another body."""
        self._budget.remove_arriving(self)
        self._budget.release(self)
        if self._limit is not None:
            self._limit.reschedule(now)

    async def read(
        self, request: web.BaseRequest, most: int, update: Callable[[bytes], None] | None = None
    ) -> list[bytes]:
        """Read the body in pieces, and pass each to `update`, in a thread if they are large.

        Raises RefusedError: 413 for more than `most` bytes, 408 for a body that does not arrive in time, 503.
        """
        length, content = request.content_length, request.content
        if length is not None and length > most:
            raise RefusedError(413, "content-too-large", f"The body has {length} bytes; at most {most} are allowed.")
        if content.is_eof():  # it came with the head, as small bodies do
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
        ahead = length if length > MAX_SMALL else 0  # bytes that are reserved but have not arrived
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
                pieces[-1] += piece  # many small objects take more memory than their bytes
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
    return RefusedError(413, "content-too-large", f"The body has more than {most} bytes.")


def _feed(update: Callable[[bytes], None], pieces: list[bytes]) -> None:
    for piece in pieces:
        update(piece)


async def join_pieces(pieces: list[bytes]) -> bytes:
    """The whole body, joined in a thread if it is large."""
    if len(pieces) == 1:
        return pieces[0]
    return await asyncio.to_thread(b"".join, pieces) if sum(map(len, pieces)) > THREAD_THRESHOLD else b"".join(pieces)
