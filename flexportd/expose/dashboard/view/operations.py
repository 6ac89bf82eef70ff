"""Writes to Flexport as rows of pages, their states in words, and who may do what with them."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
from aiohttp import web

from flexportd.core.outbox.kinds import OPERATION_KINDS
from flexportd.core.outbox.records import operation_title
from flexportd.core.resources.resource_type import ResourceType
from flexportd.expose.context import OPERATIONS, PRINCIPAL
from flexportd.expose.dashboard.view.dates import ViewContext, count
from flexportd.expose.dashboard.view.labels import Badge, Text, short_text, text
from flexportd.storage.repositories.operations import Operation
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

MOST_UNFINISHED = 5  # operations on the page of their object

STATES: Mapping[str, Badge] = {
    "awaiting_approval": Badge("Awaiting approval", "arriving"),
    "pending": Badge("Waiting to be sent", "seller"),
    "sending": Badge("Being sent", "transit"),
    "confirmed": Badge("Confirmed", "delivered"),
    "failed": Badge("Failed", "bad"),
    "unknown": Badge("Outcome unknown", "arriving"),
    "cancelled": Badge("Cancelled", "plain"),
}
"""All states with their labels."""

NEEDS_DECISION = Badge("Needs a decision", "bad")


def state_badge(state: str, *, needs_decision: bool) -> Badge:
    """The label of a state."""
    return NEEDS_DECISION if needs_decision else STATES.get(state) or Badge(short_text(state) or "?", "other")


class FormLink(NamedTuple):
    """A link to a form."""

    title: str
    url: str


class WriteAccess(NamedTuple):
    """What the caller may do: `may_write` creates and sends operations, which needs `[writes] enabled`.

    `may_cancel` and `may_decide` follow from scopes alone: what waits can be ended while writes are disabled.
    """

    may_write: bool = False
    may_cancel: bool = False
    may_decide: bool = False


def write_access(request: web.Request) -> WriteAccess:
    """What the caller may do with operations."""
    scopes, is_enabled = request[PRINCIPAL].scopes, request.app[OPERATIONS].rules.enabled
    return WriteAccess(is_enabled and "write" in scopes, "write" in scopes, "admin" in scopes)


def may_create(request: web.Request, *kind_names: str) -> bool:
    """Whether the caller may create operations of these kinds."""
    rules = request.app[OPERATIONS].rules
    return write_access(request).may_write and not any(rules.refusal(OPERATION_KINDS[name]) for name in kind_names)


def operation_row(row: Mapping[str, Any], view: ViewContext) -> SimpleNamespace:
    """One operation as a row."""
    return SimpleNamespace(
        id=row["id"],
        url=f"/operations/{row['id']}",
        title=text(operation_title(row["kind"], row["resource_id"], row["title"]), 160) or Text("?"),
        kind=short_text(row["kind"], 60),
        state=state_badge(row["state"], needs_decision=bool(row["needs_decision"])),
        is_applied_later=bool(row["is_pending"]),
        by=short_text(row["created_by"], 80),
        at=view.ago(row["created_at"]),
        sends=f"sent {count(row['sends'], 'time')}" if row["sends"] else "never sent",
        lookups=count(row["lookups"], "look-up") if row["lookups"] else None,
        error=text(row["error"], 300) if row["state"] != "pending" else None,
        waits_for=text(row["error"], 300) if row["state"] == "pending" else None,
        reason=text(row["reason"], 300),
    )


class ObjectWrites(NamedTuple):
    """The operations on an object that have not ended, and links to the forms that the caller may use."""

    operations: Sequence[Operation] = ()
    links: Sequence[FormLink] = ()


_FORMS: Mapping[str, Sequence[tuple[str, FormLink]]] = {
    "bookings": (
        ("booking.amend", FormLink("Amend", "/bookings/{key}/amend")),
        ("booking.create", FormLink("Copy", "/bookings/new?copy={key}")),
    ),
    "products": (("product.update", FormLink("Edit", "/products/{key}/edit")),),
    "shipments": (("shipment.set_metadata", FormLink("Change metadata", "/shipments/{key}/metadata")),),
}
"""Resource -> the kinds of writes on its objects, and the links to their forms."""


def read_writes(tx: Transaction, request: web.Request, domain: ResourceType, record: Record) -> ObjectWrites:
    """What the page of an object says about writes; nothing for resources without forms, and for audiences."""
    if domain.name not in _FORMS or request[PRINCIPAL].audience is not None or record.removed_at is not None:
        return ObjectWrites()
    key = quote(str(record.id), safe="")
    links = [link for kind, link in _FORMS[domain.name] if may_create(request, kind)]
    return ObjectWrites(
        tx.operations.unfinished_of_target(f"{domain.name}:{record.id}", MOST_UNFINISHED),
        [FormLink(link.title, link.url.replace("{key}", key)) for link in links],
    )


def writes_view(writes: ObjectWrites, view: ViewContext) -> SimpleNamespace:
    """The note and the links on the page of an object."""
    rows = [operation_row(msgspec.structs.asdict(one), view) for one in writes.operations]
    return SimpleNamespace(operations=tuple(rows), links=tuple(writes.links))
