"""The sync: the state of each list, the results of each run, the objects that need review, and schema drift."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, Literal, TypedDict

import msgspec
from aiohttp import web
from msgspec import Meta

from flexportd.clock import stamp
from flexportd.core.json_types import Stamp, doc
from flexportd.core.resources.identifiers import int_id
from flexportd.core.resources.registry import RESOURCE_TYPES
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import InvalidError, not_found
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.cached_response import respond, respond_with
from flexportd.expose.context import CLOCK, DB, REGISTRY, UPSTREAM, FlexportState, SyncForecast, require_flexport
from flexportd.expose.openapi.parameters import choice, not_allowed_message
from flexportd.expose.openapi.router import json_body, param, route
from flexportd.expose.openapi.schemas import json_response, list_schema
from flexportd.expose.serialize import json_document, serialize_fields
from flexportd.storage.repositories.schema_drift import LISTING as DRIFT_LISTING
from flexportd.storage.repositories.schema_drift import UNREADABLE as UNREADABLE_LISTING
from flexportd.storage.repositories.sync import RUNS as RUNS_QUERY
from flexportd.storage.repositories.sync import ListState, Receipt, Run
from flexportd.storage.transaction import Transaction

_DAY = timedelta(hours=24)


class SyncResult(TypedDict):
    """Counts of one list in one run: `objects` is the sum of unchanged, changed, new, skipped and failed."""

    resource: str
    state: Literal["waiting", "running", "complete", "held", "unavailable", "failed"]
    as_of: Annotated[Stamp | None, doc("Flexport's time when reading started.")]
    started_at: Stamp | None
    ended_at: Stamp | None
    total: Annotated[int | None, doc("Total reported by Flexport; null if it reports none.")]
    objects: Annotated[int, doc("Rows on its pages.")]
    unchanged: int
    changed: int
    new: int
    skipped: int
    failed: int
    skipped_by_reason: Annotated[dict[str, int], doc("Number of skipped objects, by reason.")]
    missing: Annotated[int, doc("Stored objects that are missing from the list.")]
    removed: int
    requests: int
    bytes: int
    reason: str | None
    balanced: Annotated[bool | None, doc("Whether the sum equals Flexport's total; null: Flexport reports no total.")]


class SyncRun(TypedDict):
    """A sync run. `held`: objects are missing from a list and need review."""

    id: str
    kind: Literal["full", "incremental"]
    cause: Literal["schedule", "manual"]
    state: Literal["running", "complete", "held", "failed"]
    started_at: Stamp
    ended_at: Stamp | None
    reason: str | None


class SyncRunDetail(SyncRun):
    """A sync run with the counts of each list."""

    results: list[SyncResult]


class SyncListState(TypedDict):
    """State of one list. `as_of`: the time on Flexport's clock at which the stored copy last matched the whole list."""

    resource: str
    as_of: Stamp | None
    complete_at: Annotated[Stamp | None, doc("When reading it ended, on the daemon's clock.")]
    total: int | None
    requests: int | None
    incremental_until: Annotated[Stamp | None, doc("Flexport's time up to which changes have been read.")]
    filter_ignored_at: Annotated[
        Stamp | None, doc("When Flexport was found to ignore the filter on the time of change.")
    ]
    unavailable_at: Annotated[Stamp | None, doc("Time since which the account cannot read it.")]
    unavailable_reason: str | None
    pending_removals: Annotated[int, doc("Missing objects that need review.")]
    unreadable: int


class ApiCallTotals(TypedDict):
    """API calls to Flexport for one purpose."""

    calls: int
    errors: int
    retries: int
    bytes: int
    seconds: float


class ApiCallUsage(TypedDict):
    """API calls to Flexport, by purpose."""

    last_24_hours: dict[str, ApiCallTotals]


class ShipmentDetailState(TypedDict):
    """Shipments that are fetched one by one, because their list entries may be incomplete."""

    pending: Annotated[int, doc("Shipments to be fetched.")]
    fetched: Annotated[int, doc("Shipments that were fetched individually.")]
    lists_complete: Annotated[bool, doc("Lists are complete, so shipments are no longer fetched individually.")]
    consecutive_matches: Annotated[
        int, doc("Number of consecutive comparisons, up to the latest, in which the list entry was complete.")
    ]
    mismatches: Annotated[int, doc("Number of comparisons in which the list entry was incomplete.")]
    decided_at: Annotated[Stamp | None, doc("Time since which `lists_complete` has its value.")]


class SyncState(TypedDict):
    """State of the sync: the current or last run of each kind, every list, and the API calls."""

    configured: Annotated[bool, doc("Whether a Flexport API key is configured.")]
    full: SyncRunDetail | None
    incremental: SyncRunDetail | None
    resources: list[SyncListState]
    shipment_details: ShipmentDetailState
    api_calls: ApiCallUsage
    forecast: SyncForecast | None
    flexport: FlexportState | None


def receipt_document(receipt: Receipt, domain: ResourceType | None) -> dict[str, Any]:
    """The counts of one list in one run; `balanced` is null if Flexport reports no total."""
    skips: dict[str, int] = msgspec.json.decode(receipt.skips)
    distinct = receipt.objects - skips.get("repeated", 0)
    return serialize_fields(
        SyncResult,
        msgspec.structs.asdict(receipt),
        resource=domain.route if domain else receipt.resource,
        skipped_by_reason=skips,
        balanced=None if receipt.total is None else receipt.total in (receipt.objects, distinct),
    )


RUNS = ListEndpoint.of(SyncRun, {"started_at": "id"}, RUNS_QUERY.filters, read=lambda tx, page: tx.sync.runs(page))
RUNS.declare("/sync/runs", SyncRun, "list_sync_runs", "List sync runs")


@route("GET", "/sync", returns=SyncState)
async def get_sync(request: web.Request) -> web.StreamResponse:
    """Get the status of the sync: runs, lists, API calls and forecast."""
    return await respond(request, lambda: document(request.app))


async def document(app: web.Application) -> dict[str, Any]:
    """The state of the sync."""
    now = app[CLOCK].now()

    def read(tx: Transaction) -> dict[str, Any]:
        runs = {kind: tx.sync.running(kind) or tx.sync.last(kind) for kind in ("full", "incremental")}
        richness = tx.shipment_details.richness()
        states, held, unreadable = tx.sync.list_states(), tx.sync.held_counts(), tx.unreadable.counts()
        return {
            "full": _run(app, tx, runs["full"]),
            "incremental": _run(app, tx, runs["incremental"]),
            "states": states,
            "resources": [_list(domain, states, held, unreadable) for domain in app[REGISTRY]],
            "shipment_details": {
                "pending": tx.shipment_details.count_pending(),
                "fetched": tx.shipment_details.count_fetched(),
                "lists_complete": richness.is_rich,
                "consecutive_matches": richness.consecutive_matches,
                "mismatches": richness.mismatches,
                "decided_at": richness.decided_at,
            },
            "api_calls": {"last_24_hours": tx.api_usage.since(stamp(now - _DAY)[:13])},
        }

    state = await app[DB].read(read)
    states, upstream = state.pop("states"), app[UPSTREAM]
    state["forecast"] = upstream.forecast(states) if upstream else None
    return {"configured": upstream is not None, **state, "flexport": upstream.state() if upstream else None}


def _run(app: web.Application, tx: Transaction, run: Run | None) -> dict[str, Any] | None:
    if run is None:
        return None
    domains = {domain.name: domain for domain in app[REGISTRY]}
    ranks = {name: rank for rank, name in enumerate(domains)}
    receipts = sorted(tx.sync.receipts(run.id), key=lambda receipt: ranks.get(receipt.resource, len(ranks)))
    results = [receipt_document(receipt, domains.get(receipt.resource)) for receipt in receipts]
    return serialize_fields(SyncRunDetail, msgspec.structs.asdict(run), results=results)


def _list(
    domain: ResourceType, states: Mapping[str, ListState], held: Mapping[str, Any], unreadable: Mapping[str, int]
) -> dict[str, Any]:
    state = states.get(domain.name) or ListState(domain.name)
    return serialize_fields(
        SyncListState,
        msgspec.structs.asdict(state),
        resource=domain.route,
        as_of=state.floor,
        incremental_until=state.incremental_since,
        filter_ignored_at=state.filter_refused_at,
        pending_removals=held.get(domain.name, (0, None))[0],
        unreadable=unreadable.get(domain.name, 0),
    )


@route("GET", "/sync/runs/{id}", returns=SyncRunDetail)
async def get_sync_run(request: web.Request) -> web.StreamResponse:
    """Get a sync run with the counts of each list."""
    text = request.match_info["id"]
    run = await request.app[DB].read(lambda tx: _run(request.app, tx, tx.sync.run(int_id(text) or 0)))
    if run is None:
        raise not_found("sync run", text)
    return await respond_with(request, run)


@route(
    "POST",
    "/sync/run",
    returns=json_response(
        SyncRunDetail,
        "The new run, or the current one if a full sync is already running.",
        202,
        location="URL of the run.",
    ),
    scope="admin",
    problems=("conflict",),
)
async def run_sync(request: web.Request) -> web.StreamResponse:
    """Start a full sync."""
    number = await require_flexport(request.app[UPSTREAM]).begin_sync()
    run = await request.app[DB].read(lambda tx: _run(request.app, tx, tx.sync.run(number)))
    location = f"{request.path.removesuffix('/run')}/runs/{number}"
    return json_document(run, 202, location=location)


def resource_by_name(app: web.Application, name: str | None) -> ResourceType:
    """The resource with this name in URLs. Raises InvalidError."""
    for domain in app[REGISTRY]:
        if name == domain.route:
            return domain
    known = [domain.route for domain in app[REGISTRY]]
    if name is None:
        raise InvalidError(f"resource is missing; allowed are {', '.join(known)}", "resource")
    raise InvalidError(not_allowed_message("resource", name, known), "resource")


_MAX_PENDING = 1000  # pending removals in one response
_RESOURCES = tuple(domain.route for domain in RESOURCE_TYPES)


class PendingRemoval(TypedDict):
    """An object missing from Flexport's list. It needs review because many objects are missing at once."""

    resource: str
    id: str


class UnreadableObject(TypedDict):
    """An object from Flexport that could not be parsed. It is stored unchanged."""

    id: int
    resource: str
    resource_id: Annotated[str, doc("Its id, or a name derived from its content.")]
    error: str
    first_seen_at: Stamp
    last_seen_at: Stamp
    count: int


class AcceptRemovalsRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The resource whose missing objects are to be marked as removed."""

    resource: Annotated[
        str, Meta(description="Name of the resource, as in its path.", extra_json_schema={"enum": list(_RESOURCES)})
    ]


class AcceptedRemovals(TypedDict):
    """Number of objects marked as removed."""

    resource: str
    removed: int


UNREADABLE = ListEndpoint.of(
    UnreadableObject,
    {"first_seen_at": "id"},
    {
        "resource": replace(
            UNREADABLE_LISTING.filters["resource"], choices=tuple(domain.name for domain in RESOURCE_TYPES)
        )
    },
    read=lambda tx, page: tx.unreadable.page(page),
    document=dict,
)
UNREADABLE.declare(
    "/sync/unreadable",
    UnreadableObject,
    "list_unreadable_objects",
    "List objects from Flexport that could not be parsed",
)


@route(
    "GET",
    "/sync/pending-removals",
    description=f"Returns the first {_MAX_PENDING}; `GET /api/v1/sync` returns the total.",
    returns=json_response(list_schema(PendingRemoval), "The objects to review."),
    query=(choice("resource", _RESOURCES, "The resource to list.", required=True),),
)
async def list_pending_removals(request: web.Request) -> web.StreamResponse:
    """List objects missing from Flexport's list that need review."""
    domain = resource_by_name(request.app, param(request, "resource"))
    keys = await request.app[DB].read(lambda tx: tx.sync.held_keys(domain.name, _MAX_PENDING))
    data: list[PendingRemoval] = [{"resource": domain.route, "id": str(key)} for key in keys]
    return await respond_with(request, {"data": data, "next": None, "as_of": None})


@route(
    "POST",
    "/sync/pending-removals/accept",
    returns=AcceptedRemovals,
    scope="admin",
    body=AcceptRemovalsRequest,
    problems=("conflict",),
)
async def accept_removals(request: web.Request) -> web.StreamResponse:
    """Mark missing objects as removed.

    A sync asks for a review if too many objects would be removed at once.
    """
    domain = resource_by_name(request.app, json_body(request, AcceptRemovalsRequest).resource)
    removed = await require_flexport(request.app[UPSTREAM]).confirm_removals(domain)
    accepted: AcceptedRemovals = {"resource": domain.route, "removed": removed}
    return await respond_with(request, accepted)


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


DRIFT = ListEndpoint.of(
    DriftFinding,
    {"last_seen": "last_seen_at", "first_seen": "first_seen_at", "count": "count", "id": "id"},
    DRIFT_LISTING.filters,
    read=lambda tx, page: tx.drift.page(page),
)
DRIFT.declare(
    "/drift",
    DriftFinding,
    "list_schema_drift",
    "List undocumented API fields and values sent by Flexport",
    order="most recently seen first",
)
