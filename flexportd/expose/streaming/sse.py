"""`GET /api/v1/stream`: a live stream of changes as Server-Sent Events.

https://html.spec.whatwg.org/multipage/server-sent-events.html defines the format. The `id` of an event is its position
in the stream: a client that sends the last one as `Last-Event-ID` continues after it, also after a restart of the
daemon. Where no message was for a client, a block with only an `id` moves its position, and dispatches nothing.
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

from flexportd.core.access.audiences import for_audience
from flexportd.core.access.keys import UNRESTRICTED, Principal
from flexportd.core.changes.stream_messages import (
    POSITION_PATTERN,
    UNKNOWN_POSITION,
    EncodedMessage,
    StreamMessage,
    StreamPosition,
    parse_position,
)
from flexportd.core.changes.topics import (
    ALL_TOPICS,
    EXCEPTION_TOPICS,
    FIELD_TOPICS,
    MAX_PATTERNS,
    OPERATION_TOPICS,
    PATTERN,
    SYSTEM_TOPICS,
    Patterns,
    parse_patterns,
)
from flexportd.errors import InvalidError, UnavailableError
from flexportd.expose.context import DB, PRINCIPAL, REGISTRY
from flexportd.expose.openapi.parameters import filter_param
from flexportd.expose.openapi.route import DESCRIPTION, Parameter, Response, Schema
from flexportd.expose.openapi.router import param, route
from flexportd.expose.openapi.schemas import FIXED_SCHEMAS
from flexportd.expose.security.access_policy import ACCESS_POLICY
from flexportd.expose.security.authorization import codec_of, is_visible_to_audience
from flexportd.expose.streaming.broadcaster import BROADCASTER, Subscriber
from flexportd.http.connections import was_aborted
from flexportd.http.responses import add_security_headers
from flexportd.storage.queries.filters import number
from flexportd.storage.repositories.audiences import Audience

log = structlog.get_logger(__name__)

RESET = "reset"
_RETRY = 3000  # milliseconds until a disconnected client reconnects
_CHUNK_SIZE = 64 << 10  # bytes written at once
_SEND_BUFFER = 128 << 10  # bytes that the kernel holds for one reader
_LAST_EVENT_ID = "Last-Event-ID"
_EXPIRED = "Earlier messages are no longer stored. Read the lists again."
_RESTORED = "Last-Event-ID is of another database, or of this one before it was restored: read the lists again."
_OPAQUE_ID = re.compile(r"[A-Za-z0-9_-]{64,400}")  # of an audience key, as `OpaqueCodec.encode` makes it
_FROM_START = "0"  # available to every caller: it gets what it may see


class StreamReset(TypedDict):
    """`data` of the event `reset`: messages before `oldest` are no longer stored; read the lists again."""

    oldest: str
    detail: str


@dataclass(frozen=True)
class Subscription:
    """The messages that a client wants."""

    topics: Patterns
    shipment: int | None
    after: StreamPosition | None
    audience: Audience | None
    hidden: frozenset[str] = frozenset()  # resources that are not for an audience

    def may_match(self, topics: Collection[str], shipments: Collection[int | None]) -> bool:
        """Whether any message of these topics and shipments can match."""
        if self.shipment is not None and self.shipment not in shipments:
            return False
        return any(self.topics.match(topic) for topic in topics)

    def matches(self, message: EncodedMessage) -> bool:
        """Whether a message matches, as far as the message itself shows."""
        if self.shipment is not None and message.shipment_id != self.shipment:
            return False
        if self.audience is not None and (message.shipment_id is None or message.resource in self.hidden):
            return False
        return self.topics.match(message.topic)


async def end_streams(app: web.Application) -> None:
    """End all streams when the application shuts down; it would wait for them."""
    app[BROADCASTER].close()


async def stream(request: web.Request) -> web.StreamResponse:
    """Stream until the client disconnects, its key becomes invalid, it reads too slowly, or the daemon stops."""
    broadcaster, subscription = request.app[BROADCASTER], _subscription(request)
    if request.method == hdrs.METH_HEAD:
        await broadcaster.start_position(subscription.after)
        return await _open_response(request)
    subscriber = await broadcaster.subscribe(subscription.after, _principal(request).key_id)
    try:
        response = await _open_response(request)
        subscriber.abort = lambda: _abort(request)
        subscriber.filter = subscription.may_match
        try:
            await _SseConnection(request, response, subscription, subscriber).run()
            await response.write_eof()
        except ConnectionError:  # the client has disconnected, or did not read
            if was_aborted(request):
                broadcaster.dropped += 1
                log.info("stream_dropped", reason="the client does not read", position=subscriber.position.text)
        except UnavailableError as error:
            log.warning("stream_dropped", reason=str(error), position=subscriber.position.text)
            _abort(request)
        except Exception:
            log.exception("stream_dropped", position=subscriber.position.text)
            _abort(request)
    finally:
        broadcaster.unsubscribe(subscriber)
    return response


class _SseConnection:
    def __init__(
        self, request: web.Request, response: web.StreamResponse, subscription: Subscription, subscriber: Subscriber
    ) -> None:
        self._request = request
        self._write = response.write
        self._subscription = subscription
        self._subscriber = subscriber
        self._last_position = subscriber.position  # of the last id that the client got
        self._codec = codec_of(request)

    async def run(self) -> None:
        """Write messages until the subscriber is stopped. Raises ConnectionError."""
        subscriber = self._subscriber
        start_id = self._id_block(self._last_position)
        if subscriber.is_reset:
            # The new id comes with the reset, so a client that has one has the other.
            reset = _reset(self._event_id(self._last_position, vary=True), _RESTORED)
            await self._write(b"retry: %d\n\n%b%b" % (_RETRY, start_id, reset))
        else:
            await self._write(b"retry: %d\n%b\n" % (_RETRY, start_id))
        was_lost = False
        while not subscriber.stopped:
            batch = await subscriber.next_batch()
            if batch.lost and not was_lost:
                await self._write(_reset(self._event_id(batch.position, vary=True), _EXPIRED))
            was_lost = batch.lost
            for chunk in _chunks(await self._visible(batch.messages)):
                await self._write(b"".join(map(self._frame, chunk)))
                self._last_position = chunk[-1].position
            if subscriber.heartbeat_due:
                await self._heartbeat()
            if batch.more:
                await asyncio.sleep(0)  # lets others run, also when no message was for this client
            else:
                await subscriber.wait()

    async def _heartbeat(self) -> None:
        """Send a comment, or the position if it has moved without a message for this client."""
        self._subscriber.heartbeat_due = False
        policy = self._request.app.get(ACCESS_POLICY)
        authenticator = policy and policy.authenticator
        if policy and authenticator and not authenticator.still_valid(_principal(self._request), policy.clock.now()):
            self._subscriber.stop()
        elif self._codec is not None or self._subscriber.position != self._last_position:
            # An audience key gets a new id each time: it must not show whether there were messages for others.
            self._last_position = self._subscriber.position
            await self._write(self._id_block(self._last_position) + b"\n")
        else:
            await self._write(b":\n\n")

    async def _visible(self, messages: Sequence[EncodedMessage]) -> Sequence[EncodedMessage]:
        matching = [message for message in messages if self._subscription.matches(message)]
        audience = self._subscription.audience
        if audience is None or not matching:
            return matching
        visible = await self._request.app[DB].read(lambda tx: for_audience(tx, audience, matching))
        return [
            msgspec.structs.replace(message, data=self._redacted(message, document)) for message, document in visible
        ]

    def _redacted(self, message: EncodedMessage, document: dict[str, Any]) -> bytes:
        """The data of a message for an audience key, with encrypted ids."""
        document["id"] = self._event_id(message.position)
        if self._codec is not None and "exception_id" in document:
            document["exception_id"] = str(self._codec.encode_number(int(document["exception_id"])))
        return msgspec.json.encode(document)

    def _event_id(self, position: StreamPosition, *, vary: bool = False) -> str:
        """A position as this client gets it. `vary`: encrypted differently each time."""
        return position.text if self._codec is None else self._codec.encode(position.text, vary=vary)

    def _id_block(self, position: StreamPosition) -> bytes:
        return b"id: %b\n" % self._event_id(position, vary=True).encode()

    def _frame(self, message: EncodedMessage) -> bytes:
        event_id = self._event_id(message.position).encode()
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (event_id, message.topic.encode(), message.data)


def _chunks(messages: Sequence[EncodedMessage]) -> Iterator[Sequence[EncodedMessage]]:
    start = size = 0
    for count, message in enumerate(messages, 1):
        size += len(message.data)
        if size >= _CHUNK_SIZE or count == len(messages):
            yield messages[start:count]
            start, size = count, 0


def _reset(oldest: str, detail: str) -> bytes:
    data: StreamReset = {"oldest": oldest, "detail": detail}
    return b"event: %b\ndata: %b\n\n" % (RESET.encode(), msgspec.json.encode(data))


def _principal(request: web.Request) -> Principal:
    principal: Principal = request.get(PRINCIPAL, UNRESTRICTED)
    return principal


def _subscription(request: web.Request) -> Subscription:
    audience = _principal(request).audience
    registry = () if audience is None else request.app[REGISTRY]
    hidden = frozenset(domain.name for domain in registry if not is_visible_to_audience(domain.table))
    topics, shipment = param(request, "topics", ALL_TOPICS), param(request, "shipment")
    return Subscription(topics, shipment, _resume_position(request), audience, hidden)


def _resume_position(request: web.Request) -> StreamPosition | None:
    """The position to continue from. The header has priority: a browser reconnects to the same URL."""
    sent = request.headers.getall(_LAST_EVENT_ID, [])
    if len(sent) > 1:
        raise InvalidError(f"{_LAST_EVENT_ID} is given more than once", "last_event_id")
    text = parse_event_id("last_event_id", sent[0]) if sent and sent[0] else param(request, "last_event_id")
    if text is None:
        return None
    codec = codec_of(request)
    if codec is None or text == _FROM_START:
        return parse_position(text) or UNKNOWN_POSITION
    return parse_position(codec.decode(text) or "") or UNKNOWN_POSITION


def parse_event_id(name: str, text: str) -> str:
    """An event id from a client, of this or another database. Raises InvalidError for other text."""
    if _OPAQUE_ID.fullmatch(text) is None and parse_position(text) is None:
        raise InvalidError(
            f"{name} is {text[:50]!r}; the id of an event of this stream is allowed, such as "
            "1234-0.9f86d081884c, or 0 for all",
            name,
        )
    return text


async def _open_response(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_type, response.charset = "text/event-stream", "utf-8"
    response.headers["X-Accel-Buffering"] = "no"
    add_security_headers(response)
    response.force_close()
    sock = None if request.transport is None else request.transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    await response.prepare(request)
    return response


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


_EVENT_ID_PATTERN = f"{POSITION_PATTERN}|{_OPAQUE_ID.pattern}"
_EVENT_ID = {"type": "string", "pattern": f"^({_EVENT_ID_PATTERN})$"}
_OPTIONAL_EVENT_ID = {"type": "string", "pattern": f"^({_EVENT_ID_PATTERN})?$"}  # browsers first send an empty one

_EVENT = Schema(name="StreamEvent", schema=FIXED_SCHEMAS["stream_event"], refs=(StreamMessage, StreamReset))

_TOPIC_LIST = (*(field.topic for field in FIELD_TOPICS), *EXCEPTION_TOPICS, *OPERATION_TOPICS, *SYSTEM_TOPICS)
_TOPICS = "\n".join(f"- `{topic.name}`: {topic.meaning}" for topic in _TOPIC_LIST)


@route(
    "GET",
    "/stream",
    description=DESCRIPTION["stream"]["about"].format(topics=_TOPICS),
    returns=Response(description="An endless stream of events.", model=_EVENT, media=("text/event-stream",)),
    query=(
        Parameter(
            name="topics",
            description="Limit to these topics (comma-separated); `*` is a wildcard: `shipment.*`, `*.created`.",
            schema={
                "type": "array",
                "items": {"type": "string", "pattern": PATTERN},
                "minItems": 1,
                "maxItems": MAX_PATTERNS,
            },
            parse=parse_patterns,
            example=["shipment.*", "milestone.*"],
        ),
        filter_param("shipment", number("shipment_id", "Limit to this shipment.")),
        Parameter(
            name="last_event_id",
            description="Same as `Last-Event-ID`, for clients that cannot send headers; the header has priority.",
            schema=_EVENT_ID,
            parse=parse_event_id,  # decrypted by the handler, with the key
            example="0",
        ),
    ),
    headers=(
        Parameter(
            name="Last-Event-ID",
            description="The `id` of the last event received: the stream continues after it.",
            schema=_OPTIONAL_EVENT_ID,
            where="header",
            example="0",
        ),
    ),
    problems=("too-many-streams",),
    streams=True,
    audience_allowed=True,
)
async def stream_changes(request: web.Request) -> web.StreamResponse:
    """Stream changes as they happen (Server-Sent Events)."""
    return await stream(request)
