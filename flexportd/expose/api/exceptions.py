"""Exceptions: problems that need attention, of all shipments and of one, and what people do about them."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, TypedDict

import msgspec
from aiohttp import web
from msgspec import Meta

from flexportd.clock import zone_of
from flexportd.core.access.audiences import HIDDEN_KINDS
from flexportd.core.access.keys import Principal
from flexportd.core.exceptions import actions
from flexportd.core.exceptions.model import KINDS, SEVERITIES, Kind, Severity
from flexportd.core.exceptions.sentences import sentence, title
from flexportd.core.json_types import Stamp, doc
from flexportd.core.resources import shipments
from flexportd.core.resources.identifiers import int_id
from flexportd.errors import ForbiddenError, InvalidError, not_found
from flexportd.expose.api.list_endpoint import ListEndpoint, restrict_as_of
from flexportd.expose.api.shipments import current_record
from flexportd.expose.cached_response import respond_with
from flexportd.expose.context import CLOCK, DB, DISPLAY, EXCEPTION_WORKER, PRINCIPAL
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.parameters import LINE
from flexportd.expose.openapi.router import json_body, list_route, route
from flexportd.expose.security import authorization
from flexportd.expose.security.authorization import MAX_NUMBER, OpaqueCodec, codec_of
from flexportd.expose.serialize import serialize_fields
from flexportd.storage.queries.filters import choice_of_filters
from flexportd.storage.repositories.audiences import FROM_BEGINNING
from flexportd.storage.repositories.exceptions import LISTING, ExceptionAction, ExceptionRow
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
    resource: Annotated[str, doc("The affected resource: shipments, containers, operations, ...")]
    resource_id: str
    shipment_id: int | None
    since: Annotated[Stamp, doc("When the problem began according to its evidence, such as the end of the due day.")]
    opened_at: Stamp
    updated_at: Annotated[Stamp, doc("When its evidence or severity last changed.")]
    closed_at: Annotated[Stamp | None, doc("When it closed; null while it is open.")]
    evidence: Annotated[dict[str, Any], doc("The facts behind it: dates, days, names, event ids.")]
    degree: Annotated[int, doc("How bad it is, by the measure of its kind: greater is worse.")]
    acknowledged_at: Annotated[Stamp | None, doc("When someone acknowledged it.")]
    acknowledged_by: Annotated[str | None, doc("Who acknowledged it: the name of a key, or a local user.")]
    assigned_to: Annotated[str | None, doc("Who works on it.")]
    snoozed_at: Annotated[Stamp | None, doc("When it was snoozed; null if it is not snoozed.")]
    snoozed_by: str | None
    snoozed_until: Annotated[Stamp | None, doc("When the snooze ends; null: at no fixed time.")]
    snoozed_until_worse: Annotated[bool, doc("Whether the snooze ends when the exception gets worse.")]


class ExceptionNote(TypedDict):
    """A note about an exception."""

    text: str
    by: str
    at: Stamp


class ExceptionDetail(ExceptionRecord):
    """A problem with its notes, and with everything else that people did about it, oldest first."""

    notes: list[ExceptionNote]
    actions: list[ExceptionAction]


HIDDEN_FIELDS: Mapping[str, Any] = {
    **dict.fromkeys(("acknowledged_at", "acknowledged_by", "assigned_to", "snoozed_at", "snoozed_by", "snoozed_until")),
    "snoozed_until_worse": False,
}
"""What a key for some shipments gets in place of what people decided."""

_HIDDEN_FILTERS = ("acknowledged", "not_acknowledged", "assigned_to", "snoozed", "not_snoozed")

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def document(row: Mapping[str, Any]) -> dict[str, Any]:
    """An exception as a document."""
    evidence = _decode(row["evidence"]) if isinstance(row["evidence"], str) else row["evidence"]
    summary, until_worse = sentence(row["kind"], evidence), bool(row["snoozed_until_worse"])
    return serialize_fields(
        ExceptionRecord, row, title=title(row["kind"]), summary=summary, evidence=evidence,
        snoozed_until_worse=until_worse,
    )  # fmt: skip


def _document(codec: OpaqueCodec | None, row: Mapping[str, Any]) -> dict[str, Any]:
    """An exception; a limited key gets an encrypted id, since the number counts the exceptions of all shipments."""
    return document(row if codec is None else {**row, **HIDDEN_FIELDS, "id": codec.encode_number(row["id"])})


def _detail(request: web.Request, tx: Transaction, row: ExceptionRow) -> dict[str, Any]:
    """An exception with its notes and actions; without them for a limited key."""
    codec = codec_of(request)
    done = tx.exceptions.actions(row.id) if codec is None else []
    notes = [{name: one[name] for name in ("text", "by", "at")} for one in done if one["action"] == "note"]
    others = [one for one in done if one["action"] != "note"]
    return {**_document(codec, msgspec.structs.asdict(row)), "notes": notes, "actions": others}


def _with_public_ids(request: web.Request, view: ListEndpoint) -> ListEndpoint:
    codec = codec_of(request)
    return view if codec is None else replace(view, document=functools.partial(_document, codec))


async def authorize_list(request: web.Request, given: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    """The filters that limit a list of exceptions to those that the key may read. Raises ForbiddenError."""
    audience = authorization.audience_of(request)
    if audience is None:
        return {}
    for name in _HIDDEN_FILTERS:
        if name in given:
            hint = "is not available to a key that is limited to some shipments."
            raise ForbiddenError(f"{name.removeprefix('not_')} {hint}")
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


def public_row(request: web.Request, row: ExceptionRow) -> ExceptionRow:
    """An exception as shown to this key; a limited one gets an encrypted id, and not what people decided."""
    codec = codec_of(request)
    if codec is None:
        return row
    return msgspec.structs.replace(row, id=codec.encode_number(row.id), **HIDDEN_FIELDS)


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
    """The exceptions that the key may read, as they are shown to it."""
    return [public_row(request, row) for row in rows if is_visible(request, tx, row)]


def load_visible(request: web.Request, tx: Transaction) -> ExceptionRow:
    """The exception in the path; limited keys have encrypted ids. Raises NotFoundError."""
    number, codec = int_id(request.match_info["id"]) or 0, codec_of(request)
    if codec is not None:
        number = codec.decode_number(number) if 0 < number <= MAX_NUMBER else 0
    row = tx.exceptions.by_id(number)
    if row is None or not is_visible(request, tx, row):
        raise not_found("exception", request.match_info["id"])
    return row


@route("GET", "/exceptions/{id}", returns=ExceptionDetail, audience_allowed=True)
async def get_exception(request: web.Request) -> web.StreamResponse:
    """Get an exception, open or closed."""
    query_params.parse_unique(request.query, ())
    found = await request.app[DB].read(lambda tx: _detail(request, tx, load_visible(request, tx)))
    return await respond_with(request, found)


PersonName = Annotated[str, Meta(min_length=1, max_length=actions.MAX_NAME_LENGTH, pattern=LINE, examples=["Maya Lin"])]
ActorName = Annotated[str, Meta(min_length=1, max_length=actions.MAX_ACTOR_LENGTH, pattern=LINE)]
NoteText = Annotated[str, Meta(min_length=1, max_length=actions.MAX_NOTE_LENGTH, pattern=LINE)]
_BY = doc("Who does it; only without a key. With a key it is the name of the key.")


class ActionRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Who acts."""

    by: Annotated[ActorName | None, _BY] = None


class AssignRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Who is to work on an exception."""

    assigned_to: Annotated[PersonName | None, doc("A person; null: nobody.")]
    by: Annotated[ActorName | None, _BY] = None


class NoteRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A note: one line."""

    text: NoteText
    by: Annotated[ActorName | None, _BY] = None


class SnoozeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Until when an exception is snoozed: `until`, `until_worse`, or whichever is first."""

    until: Annotated[
        Annotated[str, Meta(min_length=1, max_length=40, examples=["3d"])] | None,
        doc("A duration from now (3d), a day (from its beginning it is no longer snoozed) or a time. A day, and a time "
            "without an offset, are in the time zone of the dashboard."),
    ] = None  # fmt: skip
    until_worse: Annotated[bool, doc("Whether the snooze ends when the exception gets worse than it is now.")] = False
    by: Annotated[ActorName | None, _BY] = None


Work = Callable[[Transaction, ExceptionRow, str, str], None]
"""(transaction, exception, who, when): what a person does about it. Raises ConflictError."""


async def act(request: web.Request, work: Work, by: str | None = None) -> dict[str, Any]:
    """Do something about the exception in the path; the document after it.

    `by` names the person where there is no key. Raises NotFoundError, ConflictError, InvalidError.
    """
    app, principal = request.app, request[PRINCIPAL]
    who, at = _actor(principal, by), app[CLOCK].stamp()

    def write(tx: Transaction) -> dict[str, Any]:
        work(tx, load_visible(request, tx), who, at)
        return _detail(request, tx, load_visible(request, tx))

    found = await app[DB].write(write)
    app[EXCEPTION_WORKER].after_write()
    return found


def snooze_work(request: web.Request, until: str | None, *, until_worse: bool) -> Work:
    """Snooze until then. Raises InvalidError."""
    if until is None and not until_worse:
        raise InvalidError("until is missing; set until (3d, 2026-03-01), until_worse or both", "until")
    now = request.app[CLOCK].now()
    zone = zone_of(request.app[DISPLAY].timezone) or now.tzinfo
    assert zone is not None  # the clock is aware
    end = None if until is None else actions.parse_until(until, now, zone)
    return lambda tx, row, by, at: actions.snooze(tx, row, by, at, end, until_worse=until_worse)


def _actor(principal: Principal, by: str | None) -> str:
    if principal.key_id is None:
        return by.strip() if by else principal.name
    if by is not None and by != principal.name:
        raise InvalidError(f"by is {by[:50]!r}; with a key, only its name {principal.name!r} is allowed", "by")
    return principal.name


_ACTION: Mapping[str, Any] = {"returns": ExceptionDetail, "scope": "write", "problems": ("conflict",)}


@route("POST", "/exceptions/{id}/acknowledge", body=ActionRequest, body_required=False, **_ACTION)
async def acknowledge_exception(request: web.Request) -> web.StreamResponse:
    """Acknowledge an exception.

    Says that someone has seen it. The first acknowledgement stays. A problem that returns is a new exception.
    """
    return await respond_with(request, await act(request, actions.acknowledge, json_body(request, ActionRequest).by))


@route("POST", "/exceptions/{id}/unacknowledge", body=ActionRequest, body_required=False, **_ACTION)
async def unacknowledge_exception(request: web.Request) -> web.StreamResponse:
    """Take an acknowledgement back."""
    return await respond_with(request, await act(request, actions.unacknowledge, json_body(request, ActionRequest).by))


@route("POST", "/exceptions/{id}/assign", body=AssignRequest, **_ACTION)
async def assign_exception(request: web.Request) -> web.StreamResponse:
    """Assign an exception to a person, or to nobody."""
    body = json_body(request, AssignRequest)
    assignee = body.assigned_to and body.assigned_to.strip()
    found = await act(request, lambda tx, row, by, at: actions.assign(tx, row, by, at, assignee), body.by)
    return await respond_with(request, found)


@route("POST", "/exceptions/{id}/note", body=NoteRequest, **_ACTION)
async def add_exception_note(request: web.Request) -> web.StreamResponse:
    """Add a note to an exception, open or closed."""
    body = json_body(request, NoteRequest)
    found = await act(request, lambda tx, row, by, at: actions.note(tx, row, by, at, body.text.strip()), body.by)
    return await respond_with(request, found)


@route("POST", "/exceptions/{id}/snooze", body=SnoozeRequest, **_ACTION)
async def snooze_exception(request: web.Request) -> web.StreamResponse:
    """Snooze an exception until a time, until it gets worse, or whichever is first.

    A snoozed exception is still listed, and closes as any other. It replaces an earlier snooze.
    """
    body = json_body(request, SnoozeRequest)
    work = snooze_work(request, body.until, until_worse=body.until_worse)
    return await respond_with(request, await act(request, work, body.by))


@route("POST", "/exceptions/{id}/unsnooze", body=ActionRequest, body_required=False, **_ACTION)
async def unsnooze_exception(request: web.Request) -> web.StreamResponse:
    """End the snooze of an exception."""
    return await respond_with(request, await act(request, actions.unsnooze, json_body(request, ActionRequest).by))
