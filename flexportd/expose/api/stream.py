"""`GET /api/v1/stream`, as it is declared."""

from flexportd.core.telling import PLACE_PATTERN, StreamMessage
from flexportd.core.topics import DERIVED, EXCEPTIONS, MOST_PATTERNS, PATTERN, SYSTEM, read_patterns
from flexportd.expose import parameters
from flexportd.expose.contract.route import Parameter, Returns, Route, Schema
from flexportd.expose.contract.schemas import Ref
from flexportd.expose.contract.typed import valued
from flexportd.expose.stream import StreamReset, place_asked, stream

_ANY_PLACE = f"{PLACE_PATTERN}|[A-Za-z0-9_-]{{64,400}}"  # the second: for a key that sees some shipments only
_PLACE = {"type": "string", "pattern": f"^({_ANY_PLACE})$"}
_PLACE_OR_NONE = {"type": "string", "pattern": f"^({_ANY_PLACE})?$"}  # browsers send an empty one at first

_EVENT = Schema(
    name="StreamEvent",
    schema={
        "type": "object",
        "description": "One event of the stream, as a reader of Server-Sent Events gives it.",
        "required": ["event", "data"],
        "properties": {
            "id": {"type": "string", "description": "Its place; the same message always has the same."},
            "event": {"type": "string", "description": "The topic, or `reset`."},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": Ref(StreamMessage),
                "description": "One line of JSON: a StreamMessage, or of `reset` a StreamReset.",
            },
        },
    },
    refs=(StreamMessage, StreamReset),
)

_TOLD = (*(one.topic for one in DERIVED), *EXCEPTIONS, *SYSTEM)
_TOPICS = "\n".join(f"- `{topic.name}`: {topic.meaning}" for topic in _TOLD)

_ABOUT = f"""\
Server-Sent Events, which browsers read with `EventSource`. Each has a topic as its `event`, one line of JSON as its
`data`, and an `id`: after a break send the last one as `Last-Event-ID`, and the stream goes on behind it, also after a
restart of the daemon. Nothing is left out; what comes twice has the same `id` twice.

Without `Last-Event-ID` it begins now; `0` begins with the oldest that is kept. What was told is kept for 30 days, and
no longer than the history and the events. Where some of it is gone there is one `event: reset` first: read the lists
again. An `id` from before the database was restored from a backup, or from another database, is answered with a `reset`
as well, and the stream goes on with what is new. For a key that sees some shipments only, ids are encrypted, and taken
back from that key alone. A sign of life comes every 15 s: a comment, or an `id` alone. A client that takes nothing for
30 s is cut off.

There are `<thing>.created`, `<thing>.updated` and `<thing>.removed` for every resource (`container_leg.updated`),
`milestone.<name>` for every event of Flexport's, by what follows the `#` in its type, and these:

{_TOPICS}
"""

ROUTES = (
    Route(
        method="GET",
        path="/api/v1/stream",
        handler=stream,
        name="stream",
        tag="stream",
        summary="What happens, as it happens",
        about=_ABOUT,
        query=(
            Parameter(
                name="topics",
                about="Only these, with commas between them; a star is any: `shipment.*`, `*.created`.",
                schema={
                    "type": "array",
                    "items": {"type": "string", "pattern": PATTERN},
                    "minItems": 1,
                    "maxItems": MOST_PATTERNS,
                },
                read=read_patterns,
                example=["shipment.*", "milestone.*"],
            ),
            valued("shipment", parameters.number("shipment", "Only what belongs to this shipment.")),
            Parameter(
                name="last_event_id",
                about="As `Last-Event-ID`, for clients that cannot send headers; the header counts more.",
                schema=_PLACE,
                read=place_asked,  # what it means depends on the key
                example="0",
            ),
        ),
        headers=(
            Parameter(
                name="Last-Event-ID",
                about="The `id` of the last event that was seen: the stream goes on behind it.",
                schema=_PLACE_OR_NONE,
                where="header",
                example="0",
            ),
        ),
        returns=(Returns(about="Events, without an end.", model=_EVENT, media=("text/event-stream",)),),
        problems=("too-many-streams",),
        streams=True,
        for_audiences=True,
    ),
)
