"""Schema drift: undocumented fields and values that Flexport sends."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict

from aiohttp import web

from flexportd.core.json_types import Stamp, doc
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.openapi.declaration import list_route
from flexportd.expose.openapi.query_params import ListRules
from flexportd.expose.serialize import serialize_fields
from flexportd.storage.repositories.schema_drift import LISTING


class DriftFinding(TypedDict):
    """An undocumented field, value, shape, object, event type or response, and how often it was seen."""

    id: str
    kind: Literal["field", "value", "shape", "object", "event_type", "response"]
    object: Annotated[str, doc("Flexport's name of the object that contains it, such as /shipment; may be empty.")]
    name: Annotated[str, doc("Path inside the object and, for a value, the value.")]
    count: int
    first_seen_at: Stamp
    last_seen_at: Stamp
    source: Annotated[str, doc("First source: webhook, events or sync.")]
    example: Annotated[str, doc("Beginning of the first occurrence's JSON.")]


FIELDS = tuple(DriftFinding.__annotations__)


def finding(row: Mapping[str, Any]) -> dict[str, Any]:
    """A finding as a document."""
    return serialize_fields(FIELDS, row, id=str(row["id"]))


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


@list_route("/drift", LIST.rules, DriftFinding, "most recently seen first")
async def list_schema_drift(request: web.Request) -> web.StreamResponse:
    """List undocumented API fields and values sent by Flexport."""
    return await LIST.respond(request)
