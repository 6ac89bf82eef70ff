"""The stream: what happens, as it happens, as Server-Sent Events.

https://html.spec.whatwg.org/multipage/server-sent-events.html says how they are framed and read. An event's `id` is
its place in the order of all: a client that sends the last one it has seen as `Last-Event-ID` goes on behind it, also
after a restart of the daemon. Where nothing was for a client, a block with an `id` alone moves its place: by the
standard nothing is dispatched then.
"""

import asyncio
import re
import socket
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import structlog
from aiohttp import hdrs, web

from flexportd.core.access.audience_messages import for_audience
from flexportd.core.access.keys import EVERYTHING, Viewer
from flexportd.core.changes.stream_messages import FOREIGN, Place, Telling, read_place
from flexportd.core.changes.topics import ALL, Patterns
from flexportd.errors import InvalidError, UnavailableError
from flexportd.expose.context import PARTS
from flexportd.expose.request_keys import QUERY, VIEWER
from flexportd.expose.security.access_policy import DOOR
from flexportd.expose.security.authorization import is_seen
from flexportd.expose.security.opaque_values import codec_of
from flexportd.expose.streaming.broadcaster import Follower, Hub
from flexportd.http.connections import was_cut
from flexportd.http.responses import secure
from flexportd.storage.repositories.audiences import Audience

log = structlog.get_logger(__name__)

HUB: web.AppKey[Hub] = web.AppKey("hub", Hub)

RESET = "reset"
_RETRY = 3000  # milliseconds until a client that was cut off connects again
_PIECE = 64 << 10  # bytes written at once
_KERNEL = 128 << 10  # bytes that the kernel holds for one reader
_ID = "Last-Event-ID"
_NOT_KEPT = "Earlier messages are no longer stored. Read the lists again."
_RESTORED = "Last-Event-ID is of another database, or of this one before it was restored: read the lists again."
_OPAQUE = re.compile(r"[A-Za-z0-9_-]{64,400}")  # as `OpaqueCodec.encode` makes it
_ALL = "0"  # any caller may ask for everything that it may see


class StreamReset(TypedDict):
    """`data` of the event `reset`: messages before `oldest` are no longer stored; read the lists again."""

    oldest: str
    detail: str


@dataclass(frozen=True)
class Wish:
    """What a client wants to be told."""

    topics: Patterns
    shipment: int | None
    after: Place | None
    audience: Audience | None
    hidden: frozenset[str] = frozenset()  # resources that are not for an audience

    def may_take(self, topics: Collection[str], shipments: Collection[int | None]) -> bool:
        """Whether messages of these topics and shipments can be among it."""
        if self.shipment is not None and self.shipment not in shipments:
            return False
        return any(self.topics.match(topic) for topic in topics)

    def takes(self, one: Telling) -> bool:
        """Whether a message is among it, as far as the message itself tells."""
        if self.shipment is not None and one.shipment_id != self.shipment:
            return False
        if self.audience is not None and (one.shipment_id is None or one.resource in self.hidden):
            return False
        return self.topics.match(one.topic)


def add_to(app: web.Application, hub: Hub) -> None:
    """Let an application tell from this hub; its streams end as soon as it shuts down."""

    async def close(_: web.Application) -> None:
        hub.close()

    app[HUB] = hub
    app.on_shutdown.append(close)


async def stream(request: web.Request) -> web.StreamResponse:
    """Tell until the client has gone, its key does not open this any more, it is too slow, or the daemon stops."""
    hub, wish = request.app[HUB], _wish(request)
    if request.method == hdrs.METH_HEAD:
        await hub.place(wish.after)
        return await _begin(request)
    follower = await hub.join(wish.after, _viewer(request).key_id)
    try:
        response = await _begin(request)
        follower.cut = lambda: _cut(request)
        follower.interest = wish.may_take
        try:
            await _Teller(request, response, wish, follower).run()
            await response.write_eof()
        except ConnectionError:  # the reader has gone, or did not read
            if was_cut(request):
                hub.cuts += 1
                log.info("stream_dropped", reason="the client does not read", position=follower.place.text)
        except UnavailableError as error:
            log.warning("stream_dropped", reason=str(error), position=follower.place.text)
            _cut(request)
        except Exception:
            log.exception("stream_dropped", position=follower.place.text)
            _cut(request)
    finally:
        hub.leave(follower)
    return response


class _Teller:
    """One stream that has begun."""

    def __init__(self, request: web.Request, response: web.StreamResponse, wish: Wish, follower: Follower) -> None:
        self._request = request
        self._response = response
        self._wish = wish
        self._follower = follower
        self._shown = follower.place  # what the client has as its last id
        self._codec = codec_of(request)

    async def run(self) -> None:
        """Tell until the follower ends. Raises ConnectionError."""
        follower = self._follower
        here = self._id_alone(self._shown)
        if follower.is_reset:
            # The new id comes with the reset: a client that has the one has the other.
            reset = _reset(self._text(self._shown, vary=True), _RESTORED)
            await self._write(b"retry: %d\n\n%b%b" % (_RETRY, here, reset))
        else:
            await self._write(b"retry: %d\n%b\n" % (_RETRY, here))
        was_lost = False
        while not follower.ended:
            found = await follower.more()
            if found.lost and not was_lost:
                await self._write(_reset(self._text(found.place, vary=True), _NOT_KEPT))
            was_lost = found.lost
            for piece in _pieces(await self._wanted(found.told)):
                await self._write(b"".join(map(self._framed, piece)))
                self._shown = piece[-1].place
            if follower.is_due:
                await self._beat()
            if found.more:
                await asyncio.sleep(0)  # others have their turn, also when none of it was for this client
            else:
                await follower.news()

    async def _beat(self) -> None:
        """A sign of life, with the place where nothing up to it was for this client."""
        self._follower.is_due = False
        if not _still_admitted(self._request):
            self._follower.finish()
        elif self._codec is not None or self._follower.place != self._shown:
            # Some see a new id each time: whether there was something for others must not show.
            self._shown = self._follower.place
            await self._write(self._id_alone(self._shown) + b"\n")
        else:
            await self._write(b":\n\n")

    async def _wanted(self, told: Sequence[Telling]) -> Sequence[Telling]:
        found = [one for one in told if self._wish.takes(one)]
        audience = self._wish.audience
        if audience is None or not found:
            return found
        own = await self._request.app[PARTS].db.read(lambda tx: for_audience(tx, audience, found))
        return [msgspec.structs.replace(one, data=self._own(one, document)) for one, document in own]

    def _own(self, one: Telling, document: dict[str, Any]) -> bytes:
        """The data of a message for a key that sees some shipments only: numbers of ours do not show as they are."""
        document["id"] = self._text(one.place)
        if self._codec is not None and "exception_id" in document:
            document["exception_id"] = str(self._codec.number(int(document["exception_id"])))
        return msgspec.json.encode(document)

    def _text(self, place: Place, *, vary: bool = False) -> str:
        """A place as this client gets it. `vary`: it does not show whether it is the same as another."""
        return place.text if self._codec is None else self._codec.encode(place.text, vary=vary)

    def _id_alone(self, place: Place) -> bytes:
        return b"id: %b\n" % self._text(place, vary=True).encode()

    def _framed(self, one: Telling) -> bytes:
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (self._text(one.place).encode(), one.topic.encode(), one.data)

    async def _write(self, data: bytes) -> None:
        await self._response.write(data)


def _pieces(told: Sequence[Telling]) -> Iterator[Sequence[Telling]]:
    """Runs of messages of a size that is written at once."""
    start = size = 0
    for number, one in enumerate(told, 1):
        size += len(one.data)
        if size >= _PIECE or number == len(told):
            yield told[start:number]
            start, size = number, 0


def _reset(oldest: str, detail: str) -> bytes:
    told: StreamReset = {"oldest": oldest, "detail": detail}
    return b"event: %b\ndata: %b\n\n" % (RESET.encode(), msgspec.json.encode(told))


def _viewer(request: web.Request) -> Viewer:
    found: Viewer = request.get(VIEWER, EVERYTHING)
    return found


def _still_admitted(request: web.Request) -> bool:
    """Whether the key that opened this stream would open the same one now."""
    door = request.app.get(DOOR)
    if door is None or door.gate is None:
        return True
    return door.gate.still_admits(_viewer(request), door.clock.now())


def _wish(request: web.Request) -> Wish:
    audience, asked = _viewer(request).audience, request[QUERY]
    registry = () if audience is None else request.app[PARTS].registry
    hidden = frozenset(domain.name for domain in registry if not is_seen(domain.table))
    return Wish(asked.get("topics", ALL), asked.get("shipment"), _after(request), audience, hidden)


def _after(request: web.Request) -> Place | None:
    """The place to go on from. The header counts more: a browser connects again to the same URL."""
    found = request.headers.getall(_ID, [])
    if len(found) > 1:
        raise InvalidError(f"{_ID} is given more than once", "last_event_id")
    text = place_asked("last_event_id", found[0]) if found and found[0] else request[QUERY].get("last_event_id")
    if text is None:
        return None
    codec = codec_of(request)
    if codec is None or text == _ALL:
        return read_place(text) or FOREIGN
    plain = codec.decode(text)
    return FOREIGN if plain is None else read_place(plain) or FOREIGN


def place_asked(name: str, text: str) -> str:
    """The id of an event that a client names, as this or another database may have given it. Raises InvalidError."""
    if _OPAQUE.fullmatch(text) is None and read_place(text) is None:
        raise InvalidError(
            f"{name} is {text[:50]!r}; the id of an event of this stream is allowed, such as "
            "1234-0.9f86d081884c, or 0 for all",
            name,
        )
    return text


async def _begin(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_type, response.charset = "text/event-stream", "utf-8"
    response.headers["X-Accel-Buffering"] = "no"
    secure(response)
    response.force_close()
    sock = None if request.transport is None else request.transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL)
    await response.prepare(request)
    return response


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
