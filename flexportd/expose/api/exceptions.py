"""Exceptions: what is not as it should be, of all shipments and of one."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, TypedDict

import msgspec
from aiohttp import web
from msgspec import Meta

from flexportd.core.exceptions.model import KINDS, SEVERITIES, Kind, Severity
from flexportd.core.exceptions.rules import HIDDEN
from flexportd.core.exceptions.sentences import sentence, title
from flexportd.core.json_types import Stamp
from flexportd.core.resources import shipments
from flexportd.errors import NotFoundError
from flexportd.expose.api.list_endpoint import ListView
from flexportd.expose.api.shipments import record_of, seen_id
from flexportd.expose.cached_response import respond
from flexportd.expose.context import PARTS
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.parameters import id_of, identifier, of_list
from flexportd.expose.openapi.query_params import ListRules
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.schemas import json_of, page_of
from flexportd.expose.security import authorization
from flexportd.expose.security.opaque_values import LARGEST, OpaqueCodec, codec_of
from flexportd.storage.repositories.audiences import FIRST
from flexportd.storage.repositories.exceptions import Row
from flexportd.storage.transaction import Session

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
    summary: Annotated[str, Meta(description="The evidence as a sentence.")]
    resource: Annotated[str, Meta(description="Resource concerned: shipments, containers, customs_entries, ...")]
    resource_id: str
    shipment_id: int | None
    since: Annotated[
        Stamp, Meta(description="When the problem began, by its evidence: such as the end of the due day.")
    ]
    opened_at: Stamp
    updated_at: Annotated[Stamp, Meta(description="When its evidence last changed.")]
    closed_at: Annotated[Stamp | None, Meta(description="When it closed; null while it is open.")]
    evidence: Annotated[dict[str, Any], Meta(description="The facts behind it: dates, days, names, event ids.")]


FIELDS = tuple(ExceptionRecord.__annotations__)

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def document(row: Mapping[str, Any]) -> dict[str, Any]:
    """An exception as a document; its id is text."""
    evidence = _decode(row["evidence"]) if isinstance(row["evidence"], str) else row["evidence"]
    words = {"title": title(row["kind"]), "summary": sentence(row["kind"], evidence), "evidence": evidence}
    return {name: words[name] if name in words else row[name] for name in FIELDS} | {"id": str(row["id"])}


def _document(codec: OpaqueCodec | None, row: Mapping[str, Any]) -> dict[str, Any]:
    """An exception for somebody; its number counts the exceptions of all, so that some get another in its place."""
    return document(row if codec is None else {**row, "id": codec.number(row["id"])})


def _shown(request: web.Request, view: ListView) -> ListView:
    codec = codec_of(request)
    return view if codec is None else replace(view, document=functools.partial(_document, codec))


async def admitted(request: web.Request, _: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    """The filters that limit a list of exceptions to those that the caller may see."""
    seen = authorization.of(request)
    if seen is None:
        return {}
    hidden = msgspec.json.encode(sorted(HIDDEN)).decode()
    return {"audience": seen.parameters, "seen": (hidden,), "since_start": seen.start_parameters}


def _state(name: str, text: str) -> tuple[str, Sequence[Any]]:
    return query_params.choice(name, text, STATES), ()


_BY_STATE = query_params.Parse(
    _state,
    {"type": "string", "enum": list(STATES), "default": "open"},
    "Open exceptions, closed ones, or both.",
    "all",
)

LIST = ListView(
    rules=ListRules(
        sorts={"opened_at": "opened_at", "since": "since"},
        filters={
            "kind": query_params.some_of("kind", KINDS),
            "severity": query_params.some_of("severity", SEVERITIES),
            "shipment": query_params.number("shipment", "Only exceptions of this shipment, by id."),
            "state": _BY_STATE,
            "opened_after": query_params.moment("opened_after", "Opened on or after this day or time."),
            "opened_before": query_params.moment("opened_before", "Opened before this day or time."),
        },
        fields=FIELDS,
    ),
    read=lambda tx, page: tx.exceptions.page(page),
    document=document,
    as_of=lambda tx: tx.resources.newest_as_of(shipments.TABLE),
    admit=admitted,
    written_at="opened_at",
)

_rules = LIST.rules
OF_SHIPMENT = replace(
    LIST, rules=replace(_rules, filters={name: one for name, one in _rules.filters.items() if name != "shipment"})
)


def _standing(request: web.Request) -> dict[str, Sequence[Any]]:
    """Those that stand, unless asked otherwise."""
    return {} if "state" in request.query else {"open": ()}


async def index(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/exceptions`, the last opened first."""
    return await _shown(request, authorization.own_view(request, LIST, shipments.TABLE)).respond(
        request, _standing(request)
    )


async def of_shipment(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments/{id}/exceptions`."""
    number = await seen_id(request)
    record = await record_of(request, number)
    view = _shown(request, replace(OF_SHIPMENT, as_of=lambda _: record.as_of))
    return await view.respond(request, {"shipment": (number,), **_standing(request)})


def number_of(request: web.Request) -> int:
    """The exception that the path names; 0 for none. A key for some shipments has numbers of its own."""
    text, codec = request.match_info["id"], codec_of(request)
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
    if codec is None:
        return number
    return codec.number_of(number) if 0 < number <= LARGEST else 0


def shown_number(request: web.Request, number: int) -> int:
    """The number of an exception as the caller knows it."""
    codec = codec_of(request)
    return number if codec is None else codec.number(number)


def is_shown(request: web.Request, tx: Session, row: Row) -> bool:
    """Whether the caller may see this exception."""
    seen = authorization.of(request)
    if seen is None:
        return True
    shipment = row.shipment_id
    if shipment is None or row.kind in HIDDEN or not tx.audiences.visible(seen, (shipment,)):
        return False
    began = tx.audiences.starts(seen, (shipment,)).get(shipment, FIRST)
    return row.closed_at is None or row.closed_at > began.changed_at


def shown_rows(request: web.Request, tx: Session, rows: Iterable[Row]) -> list[Row]:
    """Those of these exceptions that the caller may see, with the numbers by which the caller knows them."""
    return [
        msgspec.structs.replace(row, id=shown_number(request, row.id)) for row in rows if is_shown(request, tx, row)
    ]


def one(request: web.Request, tx: Session) -> Row:
    """The exception that the path names. Raises NotFoundError."""
    row = tx.exceptions.one(number_of(request))
    if row is None or not is_shown(request, tx, row):
        raise NotFoundError(f"there is no exception {request.match_info['id'][:50]!r}")
    return row


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/exceptions/{id}`; one that was closed still answers."""
    parts = request.app[PARTS]
    query_params.once(request.query, ())

    async def build() -> dict[str, Any]:
        row = await parts.db.read(lambda tx: one(request, tx))
        return _document(codec_of(request), msgspec.structs.asdict(row))

    return await respond(request, build)


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/exceptions",
        handler=index,
        name="list_exceptions",
        tag="exceptions",
        summary="List exceptions, last opened first",
        about="Only open exceptions unless `state` is set. docs/exceptions.md describes each kind.",
        query=of_list(LIST.rules),
        returns=(page_of(ExceptionRecord, "A page, last opened first."),),
        problems=("cursor-expired",),
        for_audiences=True,
    ),
    Route(
        method="GET",
        path="/api/v1/exceptions/{id}",
        handler=show,
        name="get_exception",
        tag="exceptions",
        summary="Get an exception, open or closed",
        path_parameters=(identifier("Id of the exception."),),
        returns=(json_of(ExceptionRecord, "The exception."),),
        for_audiences=True,
    ),
    Route(
        method="GET",
        path="/api/v1/shipments/{id}/exceptions",
        handler=of_shipment,
        name="list_exceptions_of_shipment",
        tag="shipments",
        summary="List exceptions of a shipment",
        path_parameters=(id_of(shipments.DOMAIN),),
        query=of_list(OF_SHIPMENT.rules),
        returns=(page_of(ExceptionRecord, "A page, last opened first."),),
        problems=("cursor-expired",),
        for_audiences=True,
    ),
)
