"""The pages of writes to Flexport: the list, and one operation with its attempts; and its forms."""

import json
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

import msgspec
from aiohttp import web
from multidict import MultiDict

from flexportd.core.labels import format_duration
from flexportd.core.outbox.actions import MAX_REASON
from flexportd.core.outbox.kinds import OPERATION_KINDS
from flexportd.core.outbox.records import operation_title
from flexportd.core.outbox.sender import LOOKUP_DELAYS
from flexportd.core.outbox.validation.account import Account
from flexportd.errors import InvalidError
from flexportd.escape import escape_control
from flexportd.expose.api.list_endpoint import bind_cursor
from flexportd.expose.api.operations import (
    MAX_ATTEMPTS,
    MAX_AUDIT_ENTRIES,
    ResolveRequest,
    actor,
    load_operation,
    operation_id,
    resolve,
)
from flexportd.expose.context import CLOCK, DISPLAY, OPERATIONS, PRINCIPAL, REGISTRY
from flexportd.expose.dashboard.page import SUBMIT_GUARD, ListPageQuery, PageTable, done, form_field, line_field
from flexportd.expose.dashboard.view import related
from flexportd.expose.dashboard.view.alerts import PageContext
from flexportd.expose.dashboard.view.dates import ViewContext, count
from flexportd.expose.dashboard.view.labels import Text, json_or_none, page_url, short_text, text
from flexportd.expose.dashboard.view.operations import (
    STATES,
    WriteAccess,
    may_create,
    operation_row,
    state_badge,
    write_access,
)
from flexportd.expose.dashboard.view.values import named_values, time_text, value_group
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.query_params import ListRules
from flexportd.storage.repositories.audit import AuditEntry
from flexportd.storage.repositories.operations import LISTING, Operation, OperationAttempt
from flexportd.storage.transaction import Transaction

MAX_DECISIONS = 50  # operations that a person must decide, above the list
_LONGEST_JSON = 20_000  # characters of a request or response
_LONGEST_LINE = 500
_LONGEST_ID = 100

NOTICES = {
    "approved": "The operation is approved. It is sent now.",
    "cancelled": "The operation is cancelled. It is not sent.",
    "retried": "The operation is attempted now.",
    "resolved": "Your decision is stored.",
    "created": "The operation is stored. This page shows what becomes of it.",
}

FILTERS = ("state", "kind", "needs_decision")

RULES = ListRules(sorts={"created_at": "id"}, filters={name: LISTING.filters[name] for name in FILTERS}, fields=())

DECISION_NEEDS = (("true", "Needed"), ("false", "Not needed"))

PAGES = PageTable("operations")


class OperationsData(NamedTuple):
    """Operations that a person must decide, one page of all; `counts` is how many are in each state."""

    query: ListPageQuery
    decisions: Sequence[Operation]
    rows: Sequence[Mapping[str, Any]]
    next: str | None
    counts: Mapping[str, int]
    is_enabled: bool
    may_audit: bool
    may_book: bool
    may_add_products: bool


async def _query(request: web.Request) -> ListPageQuery:
    sent = query_params.parse_unique(request.query, ("limit", "cursor", *FILTERS))
    filters = MultiDict({name: value for name, value in sent.items() if value.strip()})
    params = query_params.parse_list_params(filters, RULES, request.app[DISPLAY])
    return ListPageQuery(sent, await bind_cursor(request, params))


def read(tx: Transaction, request: web.Request, query: ListPageQuery) -> OperationsData:
    """The operations in one snapshot."""
    rows = tx.operations.page(query.params.page)
    is_below_them = not (query.sent.get("cursor") or query.sent.get("needs_decision"))
    return OperationsData(
        query,
        tx.operations.needing_decision(MAX_DECISIONS) if is_below_them else (),
        rows,
        query.params.encode_next_cursor(tx, rows, LISTING.key),
        tx.operations.counts(),
        request.app[OPERATIONS].rules.enabled,
        "admin" in request[PRINCIPAL].scopes,
        may_create(request, "booking.create"),
        may_create(request, "product.create"),
    )


@PAGES.page("/operations", "operations.html", query=_query, read=read)
def operations_page(data: OperationsData, context: PageContext) -> SimpleNamespace:
    """The operations, those that need a decision first; not cached, as they show the present moment."""
    sent, page, view = data.query.sent, data.query.params.page, context.view
    kinds = [(name, kind.label) for name, kind in OPERATION_KINDS.items()]
    states = [(name, f"{badge.text} ({data.counts.get(name, 0):,})") for name, badge in STATES.items()]
    return SimpleNamespace(
        is_enabled=data.is_enabled,
        may_book=data.may_book,
        may_add_products=data.may_add_products,
        may_audit=data.may_audit,
        total=count(sum(data.counts.values()), "operation"),
        decisions=tuple(operation_row(msgspec.structs.asdict(one), view) for one in data.decisions),
        rows=tuple(operation_row(row, view) for row in data.rows[: page.limit]),
        is_filtered=bool(page.filters),
        states=_options(states, sent.get("state", "")),
        kinds=_options(kinds, sent.get("kind", "")),
        decision_needs=_options(DECISION_NEEDS, sent.get("needs_decision", "")),
        first_url=page_url("/operations", sent, cursor="") if "cursor" in sent else None,
        next_url=None if data.next is None else page_url("/operations", sent, cursor=data.next),
    )


def _options(choices: Sequence[tuple[str, str]], chosen: str) -> list[SimpleNamespace]:
    return [SimpleNamespace(value=value, title=title, chosen=value == chosen) for value, title in choices]


class OperationData(NamedTuple):
    """One operation with all that is known of it; `links` are the pages of mirrored objects by their ids."""

    operation: Operation
    attempts: Sequence[OperationAttempt]
    audit: Sequence[AuditEntry]
    links: Mapping[str, str]
    access: WriteAccess
    is_own: bool
    is_enabled: bool
    blocked_by: int | None
    done: str | None


async def _query_one(request: web.Request) -> str | None:
    return query_params.parse_unique(request.query, ("done",)).get("done")


def read_one(tx: Transaction, request: web.Request, done: str | None) -> OperationData:
    """The operation that the path names. Raises NotFoundError."""
    operation = load_operation(tx, operation_id(request))
    attempts = tx.operations.attempts(operation.id, MAX_ATTEMPTS)
    return OperationData(
        operation,
        attempts,
        tx.audit.of_subject(f"operation {operation.id}", MAX_AUDIT_ENTRIES),
        _links(tx, request, operation, attempts),
        write_access(request),
        actor(request).identity == operation.creator,
        request.app[OPERATIONS].rules.enabled,
        tx.operations.blocking(operation) if operation.state == "pending" else None,
        done,
    )


def _links(
    tx: Transaction, request: web.Request, operation: Operation, attempts: Sequence[OperationAttempt]
) -> dict[str, str]:
    domain = next((one for one in request.app[REGISTRY] if one.name == operation.resource), None)
    if domain is None:
        return {}
    account = Account(tx, request.app[CLOCK].now())
    ids = {one["id"] for attempt in attempts if attempt.type == "lookup" for one in _evidence(attempt)}
    if operation.resource_id is not None:
        ids.add(operation.resource_id)
    found = {key: account.find(domain.name, key) for key in ids}
    paths = {key: related.path(domain, record.id) for key, record in found.items() if record is not None}
    return {key: path for key, path in paths.items() if path is not None}


def _evidence(attempt: OperationAttempt) -> list[Mapping[str, Any]]:
    """The objects that a look-up found."""
    listed = json_or_none(attempt.response)
    rows = listed if isinstance(listed, list) else []
    return [one for one in rows if isinstance(one, Mapping) and isinstance(one.get("id"), str)]


@PAGES.page("/operations/{id}", "operation.html", query=_query_one, read=read_one)
def operation_page(data: OperationData, context: PageContext) -> SimpleNamespace:
    """One operation: its state, what follows, its attempts, and the forms for what people decide."""
    operation, view, access = data.operation, context.view, data.access
    state, key = operation.state, operation.resource_id
    is_waiting = state in ("awaiting_approval", "pending")
    has_unknown_send = any(one.type == "send" and one.outcome == "unknown" for one in data.attempts)
    details = [
        ("Kind", text(operation.kind)),
        ("Object", Text(short_text(key, 60) or "?", url=data.links.get(key)) if key else None),
        ("Shipment", _shipment(operation)),
        ("Created", time_text(operation.created_at, view)),
        ("By", text(operation.created_by)),
        ("Approved", time_text(operation.approved_at, view)),
        ("Approved by", text(operation.approved_by)),
        ("Updated", time_text(operation.updated_at, view)),
        ("Ended", time_text(operation.ended_at, view)),
        ("Sent", Text(count(operation.sends, "time"))),
        ("Reason", text(operation.reason, MAX_REASON)),
    ]
    retry_words = {
        "failed": "Send again", "cancelled": "Send after all", "pending": "Try now", "unknown": "Look up now",
    }  # fmt: skip
    return SimpleNamespace(
        id=operation.id,
        title=text(operation_title(operation.kind, key, operation.title), 160) or Text("?"),
        state=state_badge(state, needs_decision=operation.needs_decision),
        notice=NOTICES.get(data.done or ""),
        next_step=_next_step(data),
        is_warning=operation.needs_decision or state == "failed",
        blocked_by=data.blocked_by,
        error=text(operation.error, 500) if state != "pending" else None,
        waits_for=text(operation.error, 500) if state == "pending" else None,
        groups=value_group("Details", named_values(details)),
        body=_pretty(operation.body),
        attempts=tuple(_attempt(number, one, data.links, view) for number, one in enumerate(data.attempts, 1)),
        audit=tuple(audit_row(one._asdict(), view) for one in data.audit),
        can_approve=state == "awaiting_approval" and access.may_decide and data.is_enabled and not data.is_own,
        can_cancel=access.may_cancel and is_waiting and not has_unknown_send,
        retry=retry_words.get(state) if access.may_write else None,
        can_resolve=access.may_decide and (state == "unknown" or (is_waiting and has_unknown_send)),
        can_resend=data.is_enabled and state == "unknown",
        longest_reason=MAX_REASON,
        longest_id=_LONGEST_ID,
        json_url=f"/api/v1/operations/{operation.id}",
    )


def _shipment(operation: Operation) -> Text | None:
    number = operation.shipment_id
    return None if number is None else Text(f"FLEX-{number}", url=f"/shipments/{number}")


def _next_step(data: OperationData) -> str:
    """What the state means, and what happens next."""
    operation = data.operation
    if operation.needs_decision:
        return (
            "It is not known whether the write took effect, and the look-ups did not settle it. flexportd does "
            "nothing more by itself. Check at Flexport, compare the evidence below, and resolve it."
        )
    if operation.state == "confirmed" and operation.is_pending:
        return "Flexport has accepted the amendment, but has not applied it yet. flexportd checks until it is applied."
    if operation.state == "awaiting_approval" and data.is_own:
        return "Nothing is sent until another person with an admin key approves it. You created it."
    steps = {
        "awaiting_approval": f"Nothing is sent until a person other than {short_text(operation.created_by)} approves "
        "it with an admin key.",
        "pending": "It is sent as soon as possible. Nothing has to be done.",
        "sending": "It is being sent to Flexport. If no answer arrives, flexportd looks up whether it took effect "
        "before it sends anything again.",
        "confirmed": "Flexport has it. Nothing more happens.",
        "failed": "It took no effect at Flexport, and is not sent again unless somebody presses Send again.",
        "unknown": "It is not known whether the write took effect. flexportd looks it up at Flexport, "
        f"{len(LOOKUP_DELAYS) + 1} times within {format_duration(sum(LOOKUP_DELAYS))}. Nothing is sent meanwhile.",
        "cancelled": "It is not sent.",
    }
    return steps.get(operation.state, "")


_OUTCOMES = {
    "accepted": "Accepted by Flexport",
    "refused": "Refused by Flexport",
    "unknown": "No answer: the outcome is unknown",
    "not_sent": "Not sent",
    "match": "Found",
    "none": "Nothing found",
    "several": "Several objects found",
    "failed": "The look-up failed",
}


def _attempt(number: int, one: OperationAttempt, links: Mapping[str, str], view: ViewContext) -> SimpleNamespace:
    is_lookup = one.type == "lookup"
    status = f"HTTP {one.status}" if one.status else None
    return SimpleNamespace(
        number=number,
        name="Look-up" if is_lookup else "Request",
        at=view.ago(one.started_at),
        outcome=_OUTCOMES.get(one.outcome or "", "Running, or ended with the process"),
        request_line=text(" ".join(filter(None, (one.method, one.path))), 200),
        answer=text(", ".join(filter(None, (status, one.request_id and f"request {one.request_id}"))), 200),
        error=text(one.error, 500),
        request=_pretty(one.request),
        response=None if is_lookup else _pretty(one.response),
        evidence=tuple(
            SimpleNamespace(
                object=Text(short_text(found["id"], 60) or "?", url=links.get(found["id"])),
                matches=bool(found.get("matches")),
                note=text(found.get("note"), 300),
            )
            for found in (_evidence(one) if is_lookup else ())
        ),
    )


def _pretty(stored: str | None) -> str | None:
    """JSON with one member on each line; another text as it is."""
    if not stored:
        return None
    value = json_or_none(stored)
    lines = (stored if value is None else json.dumps(value, ensure_ascii=False, indent=2)).splitlines()
    return "\n".join(escape_control(line, _LONGEST_LINE) for line in lines)[:_LONGEST_JSON]


ACTIONS = {
    "operation.create": "Created",
    "operation.approve": "Approved",
    "operation.cancel": "Cancelled",
    "operation.retry": "Retried",
    "operation.resolve": "Resolved",
    "key.create": "Created",
    "key.revoke": "Revoked",
    "share.create": "Created",
    "share.revoke": "Revoked",
}
"""Actions of the audit log, in words."""


def audit_row(entry: Mapping[str, Any], view: ViewContext) -> SimpleNamespace:
    """An entry of the audit log."""
    subject = entry["subject"]
    number = subject.removeprefix("operation ")
    url = f"/operations/{number}" if number.isdigit() and number != subject else None
    return SimpleNamespace(
        by=short_text(entry["actor"], 80),
        at=view.instant(entry["at"]),
        action=ACTIONS.get(entry["action"]) or short_text(entry["action"], 60),
        subject=Text(short_text(subject, 120) or "?", url=url),
        detail=text(entry["detail"], 500),
    )


# --- forms ---


@PAGES.form("/operations/{id:[0-9]+}/approve", on="/operations/{id}")
async def approve(request: web.Request) -> web.StreamResponse:
    """Approve an operation of somebody else."""
    number, control = operation_id(request), request.app[OPERATIONS]
    await request.app[SUBMIT_GUARD].once(request, lambda: control.approve(number, actor(request)))
    return done(f"/operations/{number}", "approved")


@PAGES.form("/operations/{id:[0-9]+}/cancel", scope="write", on="/operations/{id}")
async def cancel(request: web.Request) -> web.StreamResponse:
    """Cancel an operation that was not sent, with the reason in the field `reason`."""
    number, control = operation_id(request), request.app[OPERATIONS]
    reason = await line_field(request, "reason", MAX_REASON)
    await request.app[SUBMIT_GUARD].once(request, lambda: control.cancel(number, actor(request), reason), reason)
    return done(f"/operations/{number}", "cancelled")


@PAGES.form("/operations/{id:[0-9]+}/retry", scope="write", on="/operations/{id}")
async def retry(request: web.Request) -> web.StreamResponse:
    """Send an operation again that failed or was cancelled; look up an unknown one now."""
    number, control = operation_id(request), request.app[OPERATIONS]
    await request.app[SUBMIT_GUARD].once(request, lambda: control.retry(number, actor(request)))
    return done(f"/operations/{number}", "retried")


_DECISIONS: Mapping[str, Literal["confirm", "resend", "cancel"]] = {
    "confirm": "confirm", "resend": "resend", "cancel": "cancel",
}  # fmt: skip


@PAGES.form("/operations/{id:[0-9]+}/resolve", on="/operations/{id}")
async def resolve_unknown(request: web.Request) -> web.StreamResponse:
    """Decide what became of an operation: the field `action` is confirm (as `confirmed_as`), resend or cancel."""
    number = operation_id(request)
    action = _DECISIONS.get(await form_field(request, "action", 20) or "")
    if action is None:
        raise InvalidError("action is missing or unknown; confirm, resend and cancel are allowed", "action")
    key = await line_field(request, "confirmed_as", _LONGEST_ID) if action == "confirm" else None
    reason = await line_field(request, "reason", MAX_REASON)
    body = ResolveRequest(action=action, reason=reason, confirmed_as=key)
    await request.app[SUBMIT_GUARD].once(request, lambda: resolve(request, number, body), action, key, reason)
    return done(f"/operations/{number}", "resolved")
