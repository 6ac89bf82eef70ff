"""The declaration of `GET /api/v1/stream`."""

from aiohttp import web

from flexportd.core.changes.stream_messages import POSITION_PATTERN, StreamMessage
from flexportd.core.changes.topics import (
    EXCEPTION_TOPICS,
    FIELD_TOPICS,
    MAX_PATTERNS,
    PATTERN,
    SYSTEM_TOPICS,
    parse_patterns,
)
from flexportd.expose.openapi.declaration import route
from flexportd.expose.openapi.parameters import filter_param
from flexportd.expose.openapi.route import Parameter, Response, Schema
from flexportd.expose.openapi.schemas import Ref
from flexportd.expose.streaming.sse import StreamReset, parse_event_id, stream
from flexportd.storage.queries.filters import number

_EVENT_ID_PATTERN = f"{POSITION_PATTERN}|[A-Za-z0-9_-]{{64,400}}"  # the second: encrypted, for limited keys
_EVENT_ID = {"type": "string", "pattern": f"^({_EVENT_ID_PATTERN})$"}
_OPTIONAL_EVENT_ID = {"type": "string", "pattern": f"^({_EVENT_ID_PATTERN})?$"}  # browsers first send an empty one

_EVENT = Schema(
    name="StreamEvent",
    schema={
        "type": "object",
        "description": "One event of the stream, as a Server-Sent Events client parses it.",
        "required": ["event", "data"],
        "properties": {
            "id": {"type": "string", "description": "Position in the stream; the same message always has the same id."},
            "event": {"type": "string", "description": "The topic, or `reset`."},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": Ref(StreamMessage),
                "description": "One line of JSON: a StreamMessage; for `reset`, a StreamReset.",
            },
        },
    },
    refs=(StreamMessage, StreamReset),
)

_TOPIC_LIST = (*(one.topic for one in FIELD_TOPICS), *EXCEPTION_TOPICS, *SYSTEM_TOPICS)
_TOPICS = "\n".join(f"- `{topic.name}`: {topic.meaning}" for topic in _TOPIC_LIST)

_ABOUT = f"""\
Server-Sent Events, which browsers read with `EventSource`. Each event has a topic as its `event`, one line of JSON as
its `data`, and an `id`. To resume, send the last `id` as `Last-Event-ID`: the stream continues after it, also after a
restart of the daemon. No message is left out; a repeated message has the same `id`.

Without `Last-Event-ID` the stream starts now; `0` starts with the oldest stored message. Messages are kept for 30 days,
but no longer than the history and the events. If some messages after the `id` are deleted, the stream sends one
`event: reset` first: read the lists again. The stream also sends `reset` for an `id` from before a restore of the
database or from another database, and continues with new messages. For a key limited to some shipments, ids are
encrypted and valid only for that key. The stream sends a heartbeat every 15 s: a comment, or only an `id`. A client
that reads nothing for 30 s is disconnected.

Topics are `<thing>.created`, `<thing>.updated` and `<thing>.removed` for every resource (`container_leg.updated`),
`milestone.<name>` for every Flexport event (the part of its type after `#`), and these:

{_TOPICS}
"""


@route(
    "GET",
    "/stream",
    description=_ABOUT,
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
            parse=parse_event_id,  # what it means depends on the key
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
