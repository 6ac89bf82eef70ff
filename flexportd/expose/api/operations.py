"""Writes to Flexport: routes that create operations, the operations with their attempts, and the audit log."""

import re
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from typing import Annotated, Any, Literal, TypedDict

import msgspec
from aiohttp import web
from msgspec import Meta

from flexportd.core.json_types import Stamp, doc
from flexportd.core.outbox.actions import MAX_REASON, Actor, WriteCommand, find_earlier, resolvable
from flexportd.core.outbox.kinds import OPERATION_KINDS, OperationKind
from flexportd.core.outbox.product_upsert import MAX_ROWS, ProductPlan, UpsertAction
from flexportd.core.outbox.records import operation_title, stored_body
from flexportd.core.resources.identifiers import int_id
from flexportd.core.resources.registry import REGISTRY
from flexportd.errors import InvalidError, not_found
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.cached_response import respond, respond_with
from flexportd.expose.context import DB, OPERATIONS, PRINCIPAL
from flexportd.expose.openapi.parameters import NOT_BLANK, filter_param, parse_object_id, strip
from flexportd.expose.openapi.route import Method, Parameter, Schema
from flexportd.expose.openapi.router import json_body, list_route, param, route
from flexportd.expose.openapi.schemas import json_response
from flexportd.expose.serialize import json_document, serialize_fields
from flexportd.storage.queries.filters import is_true
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.audit import LISTING as AUDIT_LISTING
from flexportd.storage.repositories.operations import LISTING, AttemptOutcome, AttemptType, Operation, OperationState
from flexportd.storage.transaction import Transaction

MAX_ATTEMPTS = 200  # of one operation in a response
MAX_AUDIT_ENTRIES = 100  # of one operation in a response
MAX_WAIT = 20  # seconds
MAX_UPLOAD = 30 << 20  # bytes of the body of an upload: a file of 20 MiB in Base64
_TAG = "writes"
_IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,200}")
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])")
_ACTOR = "X-Flexportd-By"
_CONTROL = r"\x00-\x1f\x7f-\xa0\xad"  # what a header may contain, but a name may not

Body = dict[str, Any]


class OperationRecord(TypedDict):
    """One write to Flexport. `unknown`: Flexport may or may not have made it; see `needs_decision`."""

    id: str
    kind: Annotated[str, doc("What it writes, such as booking.create.")]
    title: Annotated[str, doc("What it does, for people.")]
    state: OperationState
    needs_decision: Annotated[bool, doc("Whether a person must resolve it: no further look-up follows.")]
    resource: Annotated[str | None, doc("The resource that it creates or changes, such as products.")]
    resource_id: Annotated[str | None, doc("Id of the object; null until Flexport has made it.")]
    shipment_id: int | None
    pending_at_flexport: Annotated[
        bool | None, doc("Amendments: whether Flexport still has to apply it; null for other kinds.")
    ]
    created_at: Stamp
    created_by: Annotated[str, doc("Name of the API key, or of the local user.")]
    updated_at: Stamp
    ended_at: Stamp | None
    approved_at: Stamp | None
    approved_by: str | None
    sends: Annotated[int, doc("How often it was sent.")]
    lookups: Annotated[int, doc("Look-ups since it was last sent.")]
    error: Annotated[str | None, doc("Flexport's message, or why the outcome is unknown.")]
    reason: Annotated[str | None, doc("Why a person resolved or cancelled it.")]
    unknown_since: Annotated[Stamp | None, doc("When its outcome became unknown since it was last queued.")]


class OperationAttemptRecord(TypedDict):
    """A request that was sent for an operation, or a look-up of its outcome."""

    type: AttemptType
    started_at: Stamp
    ended_at: Stamp | None
    outcome: Annotated[AttemptOutcome | None, doc("Null: it is running, or the process ended during it.")]
    method: str | None
    path: str | None
    request: Annotated[Any, doc("The body as it was sent.")]
    status: Annotated[int | None, doc("HTTP status of Flexport's response.")]
    request_id: Annotated[str | None, doc("Flexport's id of the request.")]
    response: Annotated[Any, doc("Flexport's response, or the objects that a look-up found.")]
    error: str | None


class AuditRecord(TypedDict):
    """Who did what, and when."""

    id: str
    at: Stamp
    actor: Annotated[str, doc("Name of the API key, or of the local user.")]
    action: Annotated[str, doc("What was done, such as operation.approve.")]
    subject: Annotated[str, doc("What it was done to, such as operation 12.")]
    detail: str | None


class OperationDetail(OperationRecord):
    """An operation with its body, its attempts, and what people did."""

    body: Annotated[Any, doc("The body as it was requested.")]
    attempts: Annotated[list[OperationAttemptRecord], doc(f"In order; at most {MAX_ATTEMPTS}.")]
    audit: Annotated[list[AuditRecord], doc("What people did, in order.")]


class WritePreview(TypedDict):
    """What would be sent to Flexport; nothing is stored or sent."""

    kind: str
    method: str
    path: str
    body: Annotated[Any, doc("With a placeholder for the marker of the operation.")]
    needs_approval: bool


class ReasonRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Why."""

    reason: Annotated[str, Meta(min_length=1, max_length=MAX_REASON, pattern=NOT_BLANK)]


class ResolveRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The decision of a person about an operation with an unknown outcome."""

    action: Annotated[
        Literal["confirm", "resend", "cancel"],
        doc("confirm: Flexport made it, as `confirmed_as`. resend: Flexport did not make it; send it again. "
            "cancel: give it up."),
    ]  # fmt: skip
    reason: Annotated[str, Meta(min_length=1, max_length=MAX_REASON, pattern=NOT_BLANK)]
    confirmed_as: Annotated[
        Annotated[str, Meta(min_length=1, max_length=100, pattern=NOT_BLANK)] | None,
        doc("Id of the object at Flexport."),
    ] = None


class PushRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Products to create or change, each a body of `POST /products`; a SKU that exists is changed."""

    rows: Annotated[list[Any], Meta(min_length=1, max_length=MAX_ROWS)]
    dry_run: Annotated[bool, doc("Only say what would be done.")] = False


class PushChange(TypedDict):
    """A field that a row sets."""

    field: str
    old: Any
    new: Any


class PushProblem(TypedDict):
    """A problem of a row."""

    pointer: str
    detail: str


class PushRow(TypedDict):
    """What a row needs. `pending`: an operation that has not ended does the same already."""

    action: UpsertAction
    sku: str | None
    product_id: str | None
    operation_id: str | None
    changes: list[PushChange]
    errors: list[PushProblem]


class PushResult(TypedDict):
    """The rows in their order."""

    rows: list[PushRow]


def operation_document(row: Mapping[str, Any]) -> dict[str, Any]:
    """An operation as a document."""
    pending = row["is_pending"]
    return serialize_fields(
        OperationRecord,
        row,
        title=operation_title(row["kind"], row["resource_id"], row["title"]),
        needs_decision=bool(row["needs_decision"]),
        pending_at_flexport=None if pending is None else bool(pending),
    )


def audit_document(row: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the audit log as a document."""
    return serialize_fields(AuditRecord, row)


def load_operation(tx: Transaction, number: int) -> Operation:
    """An operation. Raises NotFoundError."""
    found = tx.operations.by_id(number)
    if found is None:
        raise not_found("operation", number)
    return found


def operation_detail(tx: Transaction, number: int) -> dict[str, Any]:
    """An operation with its body, its attempts, and what people did. Raises NotFoundError."""
    operation = load_operation(tx, number)
    return {
        **operation_document(msgspec.structs.asdict(operation)),
        "body": msgspec.json.decode(stored_body(operation) or operation.body),
        "attempts": [
            serialize_fields(
                OperationAttemptRecord,
                msgspec.structs.asdict(one),
                request=_json_or_text(one.request),
                response=_json_or_text(one.response),
            )
            for one in tx.operations.attempts(number, MAX_ATTEMPTS)
        ],
        "audit": [
            audit_document(one._asdict()) for one in tx.audit.of_subject(f"operation {number}", MAX_AUDIT_ENTRIES)
        ],
    }


LIST = ListEndpoint.of(
    OperationRecord,
    {"created_at": "id"},
    {**LISTING.filters, "kind": replace(LISTING.filters["kind"], choices=tuple(OPERATION_KINDS))},
    read=lambda tx, page: tx.operations.page(page),
    document=operation_document,
)

AUDIT_LIST = ListEndpoint.of(
    AuditRecord, {"at": "id"}, AUDIT_LISTING.filters, read=lambda tx, page: tx.audit.page(page), document=audit_document
)


@list_route("/operations", LIST.rules, OperationRecord, "newest first", tag=_TAG)
async def list_operations(request: web.Request) -> web.StreamResponse:
    """List writes to Flexport, newest first."""
    return await LIST.respond(request)


@list_route("/audit", AUDIT_LIST.rules, AuditRecord, "newest first", tag=_TAG, scope="admin")
async def list_audit(request: web.Request) -> web.StreamResponse:
    """List who did what, newest first."""
    return await AUDIT_LIST.respond(request)


def operation_id(request: web.Request) -> int:
    """The operation in the path. Raises NotFoundError."""
    number = int_id(request.match_info["id"])
    if number is None:
        raise not_found("operation", request.match_info["id"])
    return number


@route("GET", "/operations/{id}", returns=OperationDetail, tag=_TAG)
async def get_operation(request: web.Request) -> web.StreamResponse:
    """Get an operation with its body, its attempts, and what people did."""
    return await _respond_with_detail(request, operation_id(request))


async def _respond_with_detail(request: web.Request, number: int) -> web.StreamResponse:
    return await respond(request, lambda: request.app[DB].read(lambda tx: operation_detail(tx, number)))


_ACTOR_HEADER = Parameter(
    _ACTOR,
    "Name of the person, on the control socket and where no key is required. With a key, its name counts.",
    {"type": "string", "maxLength": 200, "pattern": f"^[^{_CONTROL}]*$"},
    where="header",
    example="ana@erp-host",
)
_ACTION: Mapping[str, Any] = {
    "returns": OperationDetail, "problems": ("conflict", "forbidden"), "tag": _TAG, "headers": (_ACTOR_HEADER,),
}  # fmt: skip


@route("POST", "/operations/{id}/approve", scope="admin", **_ACTION)
async def approve_operation(request: web.Request) -> web.StreamResponse:
    """Approve an operation, so that it is sent.

    Its creator cannot approve it.
    """
    number = operation_id(request)
    await request.app[OPERATIONS].approve(number, actor(request))
    return await _respond_with_detail(request, number)


@route("POST", "/operations/{id}/cancel", scope="write", body=ReasonRequest, **_ACTION)
async def cancel_operation(request: web.Request) -> web.StreamResponse:
    """Cancel an operation that was not sent."""
    number = operation_id(request)
    await request.app[OPERATIONS].cancel(number, actor(request), json_body(request, ReasonRequest).reason.strip())
    return await _respond_with_detail(request, number)


@route("POST", "/operations/{id}/retry", scope="write", **_ACTION)
async def retry_operation(request: web.Request) -> web.StreamResponse:
    """Send an operation again that failed or was cancelled; look up an unknown one now."""
    number = operation_id(request)
    await request.app[OPERATIONS].retry(number, actor(request))
    return await _respond_with_detail(request, number)


@route("POST", "/operations/{id}/resolve", scope="admin", body=ResolveRequest, **_ACTION)
async def resolve_operation(request: web.Request) -> web.StreamResponse:
    """Decide what became of an operation with an unknown outcome.

    An object that it is confirmed as is fetched from Flexport first.
    """
    number, body = operation_id(request), json_body(request, ResolveRequest)
    await resolve(request, number, body)
    return await _respond_with_detail(request, number)


async def resolve(request: web.Request, number: int, body: ResolveRequest) -> None:
    """Carry out the decision of a person. Raises InvalidError, NotFoundError, ConflictError, FlexportError."""
    control, who, reason = request.app[OPERATIONS], actor(request), strip(body.reason)
    await request.app[DB].read(lambda tx: resolvable(tx, number))
    if body.action != "confirm" and body.confirmed_as is not None:
        raise InvalidError("confirmed_as is only for the action confirm", "confirmed_as")
    if body.action == "resend":
        await control.resend(number, who, reason)
    elif body.action == "cancel":
        await control.resolve_cancelled(number, who, reason)
    elif body.confirmed_as is None:
        raise InvalidError("confirmed_as is missing; it is the id of the object at Flexport", "confirmed_as")
    else:
        await control.resolve_confirmed(number, who, strip(body.confirmed_as), reason)


def actor(request: web.Request) -> Actor:
    """Who acts. Raises InvalidError."""
    principal, by = request[PRINCIPAL], request.headers.get(_ACTOR, "").strip()
    if len(by) > 200 or not by.isprintable():
        raise InvalidError(f"{_ACTOR} is {by[:50]!r}; allowed is a name of at most 200 printable characters", _ACTOR)
    if principal.key_id is not None:
        return Actor(principal.name, principal.key_id)
    return Actor(by or principal.name, f"local:{by}")


# --- creating operations ---

_DRY_RUN = filter_param("dry_run", is_true("", "Only return what would be sent; nothing is stored or sent."))
_HEADERS = (
    Parameter(
        "Idempotency-Key",
        "Chosen by the client for each write: with the key of an earlier operation and the same body, that operation "
        "is returned; with another body, 409.",
        {"type": "string", "pattern": f"^{_IDEMPOTENCY_KEY.pattern}$"},
        where="header",
        example="po-4471-booking-1",
    ),
    Parameter(
        "Prefer",
        f"`wait=10` waits for the outcome, at most {MAX_WAIT} seconds.",
        {"type": "string"},
        where="header",
        example="wait=10",
    ),
    _ACTOR_HEADER,
)
_DESCRIPTION = "The body is that of Flexport's API v2 for the same path. All its problems are reported at once."
_RETURNS = (
    json_response(OperationRecord, "The operation is stored; it is sent next.", 202, location="Path of the operation."),
    json_response(WritePreview, "With `dry_run`: what would be sent."),
)


class _BodySchema(msgspec.Struct):
    """The documentation of a body: https://apidocs.flexport.com/v2, the section of the same name."""

    name: str
    description: str
    required: list[str]
    properties: dict[str, Any]
    example: dict[str, Any] | None = None

    def schema(self) -> Schema:
        """The named JSON schema."""
        schema: dict[str, Any] = {"type": "object", "description": self.description, "properties": self.properties}
        if self.required:
            schema["required"] = self.required
        return Schema(name=self.name, schema=schema, example=None if self.example is None else lambda: self.example)


_BODIES = msgspec.json.decode(
    resources.files("flexportd.expose.openapi").joinpath("write_bodies.json").read_bytes(), type=dict[str, _BodySchema]
)


def _declare(method: Method, path: str, kind_name: str, summary: str, **options: Any) -> None:
    """Declare the route that creates operations of a kind."""
    kind = OPERATION_KINDS[kind_name]

    async def handle(request: web.Request) -> web.StreamResponse:
        """Create an operation."""
        return await create(request, kind, json_body(request, dict), _target(request, kind))

    route(
        method,
        path,
        returns=_RETURNS,
        name=kind_name.replace(".", "_"),
        summary=summary,
        scope="write",
        body=_BODIES[kind_name].schema(),
        query=(_DRY_RUN,),
        headers=_HEADERS,
        problems=("conflict", "forbidden"),
        tag=_TAG,
        **{"description": _DESCRIPTION, **options},
    )(handle)


def _target(request: web.Request, kind: OperationKind) -> Key | None:
    """The id of the object in the path. Raises NotFoundError."""
    if not kind.changes or kind.resource is None:
        return None
    text = request.match_info["id"]
    key = parse_object_id(REGISTRY[kind.resource], text)
    if key is None:
        raise not_found(REGISTRY[kind.resource].label, text)
    return key


async def create(request: web.Request, kind: OperationKind, body: Body, target: Key | None) -> web.StreamResponse:
    """Respond with the operation of a write, or with what would be sent.

    Raises InvalidBodyError, InvalidError, ForbiddenError, ConflictError, NotFoundError.
    """
    control, who = request.app[OPERATIONS], actor(request)
    command = WriteCommand(kind, body, target, _idempotency_key(request))
    is_dry_run = param(request, "dry_run", default=False)
    if target is not None:
        earlier = None if is_dry_run else await request.app[DB].read(lambda tx: find_earlier(tx, command, who))
        if earlier is None:
            await request.app[DB].read(lambda tx: _check_exists(tx, kind, target))
    if is_dry_run:
        sent = await control.preview(command)
        preview: WritePreview = {
            "kind": kind.name,
            "method": sent.method,
            "path": sent.path,
            "body": dict(sent.body),
            "needs_approval": kind.group in control.rules.approval,
        }
        return await respond_with(request, preview)
    seconds = _wait_seconds(request)
    operation, _ = await control.create(command, who)
    if seconds:
        await control.wait(operation.id, seconds)
    found = await request.app[DB].read(lambda tx: load_operation(tx, operation.id))
    applied = {"preference_applied": f"wait={seconds}"} if seconds else {}
    location = f"/api/v1/operations/{operation.id}"
    return json_document(operation_document(msgspec.structs.asdict(found)), 202, location=location, **applied)


def _check_exists(tx: Transaction, kind: OperationKind, key: Key) -> None:
    domain = REGISTRY[kind.resource or ""]
    record = tx.resources.load(domain.table, (key,)).get(key)
    if record is None or record.removed_at is not None:
        raise not_found(domain.label, key)


def _idempotency_key(request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    key = key.strip()
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidError(
            f"Idempotency-Key is {key[:50]!r}; allowed are 1 to 200 visible ASCII characters", "Idempotency-Key"
        )
    quoted = len(key) > 2 and key[0] == key[-1] == '"'
    return key[1:-1] if quoted else key


def _wait_seconds(request: web.Request) -> int:
    found = _WAIT.search(request.headers.get("Prefer", ""))
    return min(int(found[1]), MAX_WAIT) if found is not None else 0


_declare("POST", "/products", "product.create", "Create a product")
_declare("PATCH", "/products/{id}", "product.update", "Change a product")
_declare("POST", "/bookings", "booking.create", "Create a booking")
_declare(
    "POST", "/bookings/{id}/amendments", "booking.amend", "Amend a booking",
    description="The body is that of Flexport's `POST /booking_amendments` without `booking_id`.",
)  # fmt: skip
_declare("POST", "/booking-line-items", "booking_line_item.create", "Add units of an order line to a booking")
_declare("POST", "/commercial-invoices", "commercial_invoice.create", "Create a commercial invoice")
_declare("PATCH", "/commercial-invoices/{id}", "commercial_invoice.update", "Change a commercial invoice")
_declare(
    "PATCH", "/shipments/{id}", "shipment.set_metadata", "Set metadata of a shipment",
    description='The body is `{"metadata": {…}}` with the keys to set; null removes a key, and other keys stay.',
)  # fmt: skip
_declare("POST", "/documents", "document.upload", "Upload a document", max_body=MAX_UPLOAD)
_declare("POST", "/companies", "company.create", "Create a company")
_declare("POST", "/company-entities", "company_entity.create", "Create a company entity")
_declare("POST", "/contacts", "contact.create", "Create a contact")
_declare("POST", "/locations", "location.create", "Create a location")


@route(
    "POST", "/products/push", returns=PushResult, scope="write", body=PushRequest, tag=_TAG,
    headers=(_ACTOR_HEADER,), problems=("conflict", "forbidden"), max_body=8 << 20,
)  # fmt: skip
async def push_products(request: web.Request) -> web.StreamResponse:
    """Create or change products by their SKUs.

    Rows that Flexport has already need nothing, so the same rows can be sent again. Invalid rows are reported; the
    others are not affected.
    """
    body, control, who = json_body(request, PushRequest), request.app[OPERATIONS], actor(request)
    plans = await (control.plan_products(body.rows) if body.dry_run else control.push_products(body.rows, who))
    result: PushResult = {"rows": [_push_row(plan) for plan in plans]}
    return await respond_with(request, result)


def _push_row(plan: ProductPlan) -> PushRow:
    return {
        "action": plan.action,
        "sku": plan.sku,
        "product_id": None if plan.product_id is None else str(plan.product_id),
        "operation_id": None if plan.operation_id is None else str(plan.operation_id),
        "changes": [{"field": one.field, "old": one.old, "new": one.new} for one in plan.changes],
        "errors": [{"pointer": one.pointer, "detail": one.detail} for one in plan.problems],
    }


def _json_or_text(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return text
