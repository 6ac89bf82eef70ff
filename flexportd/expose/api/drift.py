"""The drift ledger: what Flexport sends that nobody published."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict

from aiohttp import web
from msgspec import Meta

from flexportd.core.stamps import Stamp
from flexportd.expose import parameters
from flexportd.expose.contract.route import Route
from flexportd.expose.contract.schemas import page_of
from flexportd.expose.contract.typed import of_list
from flexportd.expose.lists import ListView
from flexportd.expose.parameters import ListRules
from flexportd.storage.drift import KINDS


class DriftFinding(TypedDict):
    """A field, value, shape, object, type of event or answer that nobody published, and how often it was seen."""

    id: str
    kind: Literal["field", "value", "shape", "object", "event_type", "answer"]
    object: Annotated[str, Meta(description="Flexport's name of what has it, such as /shipment; or empty.")]
    name: Annotated[str, Meta(description="Where in it, and for a value which.")]
    count: int
    first_seen_at: Stamp
    last_seen_at: Stamp
    source: Annotated[str, Meta(description="What brought it first: webhook, events or sync.")]
    example: Annotated[str, Meta(description="The beginning of the first one's JSON.")]


FIELDS = tuple(DriftFinding.__annotations__)


def finding(row: Mapping[str, Any]) -> dict[str, Any]:
    """A finding as a document; its id is text."""
    return {name: row[name] for name in FIELDS} | {"id": str(row["id"])}


LIST = ListView(
    rules=ListRules(
        sorts={"last_seen": "last_seen_at", "first_seen": "first_seen_at", "count": "count", "id": "id"},
        filters={
            "kind": parameters.one_of("kind", KINDS),
            "object": parameters.equals("object", "In objects that Flexport calls so: /shipment."),
        },
        fields=FIELDS,
    ),
    read=lambda tx, page: tx.drift.page(page),
    document=finding,
    as_of=lambda tx: tx.events.newest()[0],
)


async def index(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/drift`, what was seen last first."""
    return await LIST.respond(request)


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/drift",
        handler=index,
        name="list_drift",
        tag="operations",
        summary="What Flexport sends that nobody published",
        query=of_list(LIST.rules),
        returns=(page_of(DriftFinding, "A page, what was seen last first."),),
        problems=("cursor-expired",),
    ),
)
