"""Exceptions: problems that need attention, of all shipments and of one."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, TypedDict

import msgspec
from aiohttp import web

from flexportd.core.exceptions.model import HIDDEN_KINDS, KINDS, SEVERITIES, Kind, Severity
from flexportd.core.exceptions.sentences import sentence, title
from flexportd.core.json_types import Stamp, doc
from flexportd.core.resources import shipments
from flexportd.core.resources.identifiers import int_id
from flexportd.errors import not_found
from flexportd.expose.api.list_endpoint import ListEndpoint, restrict_as_of
from flexportd.expose.api.shipments import current_record
from flexportd.expose.cached_response import respond_with
from flexportd.expose.context import DB
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.router import list_route, route
from flexportd.expose.security import authorization
from flexportd.expose.security.authorization import MAX_NUMBER, OpaqueCodec, codec_of
from flexportd.expose.serialize import serialize_fields
from flexportd.storage.queries.filters import choice_of_filters
from flexportd.storage.repositories.audiences import FROM_BEGINNING
from flexportd.storage.repositories.exceptions import LISTING, ExceptionRow
from flexportd.storage.transaction import Transaction

STATES = ("open", "closed", "all")


class ExceptionRecord(TypedDict):
    """A problem that needs attention. It opens once and closes automatically; its evidence is updated while it is open.

    Times are on the daemon's clock, except `since`, which comes from the evidence. A problem that returns after closing
    is a new exception.
    """

    id: str
    kind: Kind
    severity: Severity
    title: str
    summary: Annotated[str, doc("The evidence as a sentence.")]
    resource: Annotated[str, doc("The affected resource: shipments, containers, customs_entries, ...")]
    resource_id: str
    shipment_id: int | None
    since: Annotated[Stamp, doc("When the problem began according to its evidence, such as the end of the due day.")]
    opened_at: Stamp
    updated_at: Annotated[Stamp, doc("When its evidence last changed.")]
    closed_at: Annotated[Stamp | None, doc("When it closed; null while it is open.")]
    evidence: Annotated[dict[str, Any], doc("The facts behind it: dates, days, names, event ids.")]


_decode = msgspec.json.Decoder(dict[str, Any]).decode


def document(row: Mapping[str, Any]) -> dict[str, Any]:
    """An exception as a document."""
    evidence = _decode(row["evidence"]) if isinstance(row["evidence"], str) else row["evidence"]
    summary = sentence(row["kind"], evidence)
    return serialize_fields(ExceptionRecord, row, title=title(row["kind"]), summary=summary, evidence=evidence)


def _document(codec: OpaqueCodec | None, row: Mapping[str, Any]) -> dict[str, Any]:
    """An exception; a limited key gets an encrypted id, since the number counts the exceptions of all shipments."""
    return document(row if codec is None else {**row, "id": codec.encode_number(row["id"])})


def _with_public_ids(request: web.Request, view: ListEndpoint) -> ListEndpoint:
    codec = codec_of(request)
    return view if codec is None else replace(view, document=functools.partial(_document, codec))


async def authorize_list(request: web.Request, _: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    """The filters that limit a list of exceptions to those that the key may read."""
    audience = authorization.audience_of(request)
    if audience is None:
        return {}
    hidden = msgspec.json.encode(sorted(HIDDEN_KINDS)).decode()
    return {"audience": audience.parameters, "seen": (hidden,), "since_start": audience.start_parameters}


LIST = ListEndpoint.of(
    ExceptionRecord,
    {"opened_at": "opened_at", "since": "since"},
    {
        **LISTING.filters,
        "kind": replace(LISTING.filters["kind"], choices=KINDS),
        "state": choice_of_filters(*STATES, default="open", description="Open exceptions, closed ones, or both."),
        "severity": replace(LISTING.filters["severity"], choices=SEVERITIES),
    },
    read=lambda tx, page: tx.exceptions.page(page),
    document=document,
    as_of=lambda tx: tx.resources.newest_as_of(shipments.TABLE),
    authorize=authorize_list,
    written_at="opened_at",
)

SHIPMENT_LIST = replace(LIST, rules=LIST.rules.without("shipment"))


@list_route("/exceptions", LIST.rules, ExceptionRecord, "last opened first", audience_allowed=True)
async def list_exceptions(request: web.Request) -> web.StreamResponse:
    """List exceptions, last opened first.

    Only open exceptions unless `state` is set. docs/exceptions.md describes each kind.
    """
    return await _with_public_ids(request, restrict_as_of(request, LIST, shipments.TABLE)).respond(request)


@list_route(
    "/shipments/{id}/exceptions", SHIPMENT_LIST.rules, ExceptionRecord, "last opened first", audience_allowed=True
)
async def list_exceptions_of_shipment(request: web.Request) -> web.StreamResponse:
    """List exceptions of a shipment."""
    record = await current_record(request, shipments.RESOURCE_TYPE)
    view = _with_public_ids(request, replace(SHIPMENT_LIST, as_of=lambda _: record.as_of))
    return await view.respond(request, {"shipment": (record.id,)})


def public_id(request: web.Request, number: int) -> int:
    """The id of an exception as shown to this key."""
    codec = codec_of(request)
    return number if codec is None else codec.encode_number(number)


def is_visible(request: web.Request, tx: Transaction, row: ExceptionRow) -> bool:
    """Whether the key may read this exception."""
    audience = authorization.audience_of(request)
    if audience is None:
        return True
    shipment = row.shipment_id
    if shipment is None or row.kind in HIDDEN_KINDS or not tx.audiences.visible(audience, (shipment,)):
        return False
    began = tx.audiences.membership_starts(audience, (shipment,)).get(shipment, FROM_BEGINNING)
    return row.closed_at is None or row.closed_at > began.changed_at


def visible_rows(request: web.Request, tx: Transaction, rows: Iterable[ExceptionRow]) -> list[ExceptionRow]:
    """The exceptions that the key may read, with their public ids."""
    return [msgspec.structs.replace(row, id=public_id(request, row.id)) for row in rows if is_visible(request, tx, row)]


def load_visible(request: web.Request, tx: Transaction) -> ExceptionRow:
    """The exception in the path; limited keys have encrypted ids. Raises NotFoundError."""
    number, codec = int_id(request.match_info["id"]) or 0, codec_of(request)
    if codec is not None:
        number = codec.decode_number(number) if 0 < number <= MAX_NUMBER else 0
    row = tx.exceptions.by_id(number)
    if row is None or not is_visible(request, tx, row):
        raise not_found("exception", request.match_info["id"])
    return row


@route("GET", "/exceptions/{id}", returns=ExceptionRecord, audience_allowed=True)
async def get_exception(request: web.Request) -> web.StreamResponse:
    """Get an exception, open or closed."""
    query_params.parse_unique(request.query, ())
    row = await request.app[DB].read(lambda tx: load_visible(request, tx))
    return await respond_with(request, _document(codec_of(request), msgspec.structs.asdict(row)))
