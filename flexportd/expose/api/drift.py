"""The drift ledger: what Flexport sends that nobody published."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict

from aiohttp import web
from msgspec import Meta

from flexportd.core.json_types import Stamp
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.openapi.query_params import ListRules, list_params
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.schemas import page_response
from flexportd.storage.repositories.schema_drift import LISTING


class DriftFinding(TypedDict):
    """An undocumented field, value, shape, object, event type or response, and how often it was seen."""

    id: str
    kind: Literal["field", "value", "shape", "object", "event_type", "response"]
    object: Annotated[
        str, Meta(description="Flexport's name of the object that contains it, such as /shipment; may be empty.")
    ]
    name: Annotated[str, Meta(description="Path inside the object and, for a value, the value.")]
    count: int
    first_seen_at: Stamp
    last_seen_at: Stamp
    source: Annotated[str, Meta(description="First source: webhook, events or sync.")]
    example: Annotated[str, Meta(description="Beginning of the first occurrence's JSON.")]


FIELDS = tuple(DriftFinding.__annotations__)


def finding(row: Mapping[str, Any]) -> dict[str, Any]:
    """A finding as a document; its id is text."""
    return {name: row[name] for name in FIELDS} | {"id": str(row["id"])}


LIST = ListEndpoint(
    rules=ListRules(
        sorts={"last_seen": "last_seen_at", "first_seen": "first_seen_at", "count": "count", "id": "id"},
        filters=LISTING.filters,
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
        name="list_schema_drift",
        tag="operations",
        summary="List undocumented API fields and values sent by Flexport",
        query=list_params(LIST.rules),
        returns=(page_response(DriftFinding, "A page, most recently seen first."),),
        problems=("cursor-expired",),
    ),
)
