"""The page of the open exceptions, most severe first; the page of one, and its forms for what people do about it."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import NamedTuple

import msgspec
from aiohttp import web

from flexportd.core.exceptions import actions
from flexportd.core.exceptions.model import SEVERITIES
from flexportd.core.exceptions.sentences import TITLES
from flexportd.core.resources.shipments import TABLE
from flexportd.errors import InvalidError
from flexportd.expose.api.exceptions import Work, act, authorize_list, load_visible, public_row, snooze_work
from flexportd.expose.api.list_endpoint import Filters
from flexportd.expose.context import EXCEPTION_WORKER
from flexportd.expose.dashboard.layout import is_customer
from flexportd.expose.dashboard.page import SUBMIT_GUARD, PageTable, done, form_field, line_field, no_query
from flexportd.expose.dashboard.view.alerts import (
    PageContext,
    by_severity,
    exception_list_row,
    shipment_names,
    snooze_end,
)
from flexportd.expose.dashboard.view.dates import ViewContext
from flexportd.expose.dashboard.view.deliveries import DeliveriesAbout, deliveries_about, read_about
from flexportd.expose.dashboard.view.labels import Badge, Text, short_text, text
from flexportd.expose.dashboard.view.values import evidence_values, named_values, time_text, value_group
from flexportd.expose.openapi import query_params
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.exceptions import ExceptionAction, ExceptionRow
from flexportd.storage.transaction import Transaction

MOST = 200  # of one group on the page

SNOOZED = "snoozed"
"""The group of the snoozed exceptions, of any severity."""

_HEADINGS = {"critical": "Critical", "warning": "Warnings", "notice": "Notices", SNOOZED: "Snoozed"}
_MEANINGS = {
    "critical": "Costing money or blocked now",
    "warning": "Off plan",
    "notice": "Worth a look",
    SNOOZED: "Nobody is notified until the snooze ends",
}

NOTICES = {
    "acknowledged": "The exception is acknowledged.",
    "unacknowledged": "The exception is no longer acknowledged.",
    "assigned": "The exception is assigned.",
    "unassigned": "The exception is assigned to nobody.",
    "noted": "The note was added.",
    "snoozed": "The exception is snoozed.",
    "unsnoozed": "The exception is no longer snoozed.",
}

PAGES = PageTable("exceptions")


class ExceptionsData(NamedTuple):
    """Open exceptions by group, one more than is shown; names of shipments; `as_of` of the newest shipment.

    The groups are the severities, and for the team the snoozed ones; `totals` are how many each has.
    """

    rows: Mapping[str, Sequence[ExceptionRow]]
    totals: Mapping[str, int]
    names: Mapping[int, str | None]
    as_of: str | None = None
    is_complete: bool = True


async def _filters(request: web.Request) -> Filters:
    await no_query(request)
    return await authorize_list(request, {})


def read(tx: Transaction, request: web.Request, filters: Filters) -> ExceptionsData:
    """The open exceptions that the caller may see."""
    rows, totals, as_of = dict[str, Sequence[ExceptionRow]](), dict[str, int](), None
    if is_customer(request):
        for severity in SEVERITIES:
            limits = {**_of_severity(severity), **filters}
            page = tx.exceptions.rows(PageRequest(MOST + 1, "since", descending=False, filters=limits))
            rows[severity] = [public_row(request, row) for row in page]
            totals[severity] = tx.exceptions.count(limits)
    else:
        snoozed = {"open": (), "snoozed": ()}
        rows |= {severity: tx.exceptions.open_of_severity(severity, MOST + 1) for severity in SEVERITIES}
        rows[SNOOZED] = tx.exceptions.rows(PageRequest(MOST + 1, "since", descending=False, filters=snoozed))
        for name, total in by_severity(tx.exceptions.counts()).items():
            totals[name] = total - tx.exceptions.count({**_of_severity(name), "snoozed": ()})
        totals[SNOOZED] = tx.exceptions.count(snoozed)
        as_of = tx.resources.newest_as_of(TABLE)
    shipments = {row.shipment_id for group in rows.values() for row in group if row.shipment_id is not None}
    is_complete = request.app[EXCEPTION_WORKER].is_complete
    return ExceptionsData(rows, totals, shipment_names(tx, shipments), as_of, is_complete)


def _of_severity(severity: str) -> Filters:
    return {"severity": (msgspec.json.encode([severity]).decode(),), "open": ()}


@PAGES.page("/exceptions", "exceptions.html", query=_filters, read=read, for_audiences=True)
def exceptions_page(data: ExceptionsData, context: PageContext) -> SimpleNamespace:
    """The open exceptions by severity, then the snoozed ones."""
    snoozed, total = data.totals.get(SNOOZED, 0), sum(data.totals.values())
    return SimpleNamespace(
        total=f"{total:,} open" + (f", {snoozed:,} of them snoozed" if snoozed else ""),
        groups=tuple(
            SimpleNamespace(
                severity=severity,
                title=_HEADINGS[severity],
                meaning=_MEANINGS[severity],
                total=f"{data.totals[severity]:,}",
                rows=tuple(exception_list_row(row, data.names, context.view) for row in rows[:MOST]),
                all_url=_all_url(severity) if len(rows) > MOST else None,
            )
            for severity, rows in data.rows.items()
            if rows
        ),
        kinds=tuple(TITLES.values()),
        is_complete=data.is_complete,
        as_of=context.view.instant(data.as_of),
    )


def _all_url(group: str) -> str:
    return f"/api/v1/exceptions?{'snoozed=true' if group == SNOOZED else f'severity={group}'}"


class ExceptionData(NamedTuple):
    """An exception as the caller may see it, the name of its shipment, what people did, and the message of a form."""

    row: ExceptionRow
    names: Mapping[int, str | None]
    actions: Sequence[ExceptionAction]
    deliveries: DeliveriesAbout
    is_customer: bool
    done: str | None


async def _query_one(request: web.Request) -> str | None:
    return query_params.parse_unique(request.query, ("done",)).get("done")


def read_one(tx: Transaction, request: web.Request, done: str | None) -> ExceptionData:
    """The exception that the path names. Raises NotFoundError."""
    row, customer = load_visible(request, tx), is_customer(request)
    names = shipment_names(tx, set() if row.shipment_id is None else {row.shipment_id})
    history = [] if customer else tx.exceptions.actions(row.id)
    notified = DeliveriesAbout() if customer else read_about(tx, request, "exception", row.id, row.shipment_id)
    return ExceptionData(public_row(request, row), names, history, notified, customer, done)


@PAGES.page("/exceptions/{id}", "exception_page.html", query=_query_one, read=read_one, for_audiences=True)
def exception_page(data: ExceptionData, context: PageContext) -> SimpleNamespace:
    """One exception with its evidence, what people did about it, and the forms for that."""
    row, view = data.row, context.view
    shown = exception_list_row(row, data.names, view)
    times = (
        ("Since", row.since),
        ("Opened", row.opened_at),
        ("Updated", row.updated_at),
        ("Closed", row.closed_at),
    )
    details = [
        ("Object", Text(shown.name.shown, shown.name.whole, shown.url)),
        ("Severity", Text(row.severity.capitalize())),
        *((name, time_text(at, view)) for name, at in times),
    ]
    return SimpleNamespace(
        id=row.id,
        row=shown,
        state=Badge("Open", "bad") if row.closed_at is None else Badge("Closed", "delivered"),
        notice=None if data.is_customer else NOTICES.get(data.done or ""),
        groups=(
            *value_group("Details", named_values(details)),
            *value_group("Evidence", evidence_values(row.evidence, view)),
        ),
        has_forms=not data.is_customer,
        is_open=row.closed_at is None,
        is_acknowledged=row.acknowledged_at is not None,
        assigned_to=short_text(row.assigned_to, actions.MAX_NAME_LENGTH) or "",
        is_snoozed=row.snoozed_at is not None,
        tomorrow=(view.today + timedelta(days=1)).isoformat(),
        last_day=(view.today + actions.MAX_SNOOZE).isoformat(),
        longest_name=actions.MAX_NAME_LENGTH,
        longest_note=actions.MAX_NOTE_LENGTH,
        notified=deliveries_about(data.deliveries, f"/api/v1/deliveries?exception={row.id}", view),
        actions=tuple(_action(one, view) for one in reversed(data.actions)),
        json_url=f"/api/v1/exceptions/{row.id}",
    )


_ACTION_WORDS = {
    "acknowledge": "Acknowledged",
    "unacknowledge": "Acknowledgement taken back",
    "unsnooze": "Snooze ended",
}


def _action(one: ExceptionAction, view: ViewContext) -> SimpleNamespace:
    given = one["text"] or ""
    if one["action"] == "assign":
        words = f"Assigned to {short_text(given, actions.MAX_NAME_LENGTH) or 'nobody'}"
    elif one["action"] == "snooze":
        until = given.removesuffix("worse").removesuffix(" or ")
        words = f"Snoozed {snooze_end(until, view, until_worse=given.endswith('worse'))}"
    else:
        words = _ACTION_WORDS.get(one["action"], "Note")
    return SimpleNamespace(
        at=view.instant(one["at"]),
        by=short_text(one["by"], actions.MAX_ACTOR_LENGTH),
        words=words,
        note=text(given, actions.MAX_NOTE_LENGTH) if one["action"] == "note" else None,
    )


async def _submit(request: web.Request, work: Work, notice: str, *about: str | bool | None) -> web.StreamResponse:
    """Do it once for a double click, then show the page of the exception again."""
    await request.app[SUBMIT_GUARD].once(request, lambda: act(request, work), *about)
    return done(f"/exceptions/{request.match_info['id']}", notice)


@PAGES.form("/exceptions/{id:[0-9]+}/acknowledge", scope="write", on="/exceptions/{id}")
async def acknowledge(request: web.Request) -> web.StreamResponse:
    """Acknowledge an exception."""
    return await _submit(request, actions.acknowledge, "acknowledged")


@PAGES.form("/exceptions/{id:[0-9]+}/unacknowledge", scope="write", on="/exceptions/{id}")
async def unacknowledge(request: web.Request) -> web.StreamResponse:
    """Take an acknowledgement back."""
    return await _submit(request, actions.unacknowledge, "unacknowledged")


@PAGES.form("/exceptions/{id:[0-9]+}/assign", scope="write", on="/exceptions/{id}")
async def assign(request: web.Request) -> web.StreamResponse:
    """Assign an exception to the person in the field `assigned_to`; to nobody if it is empty."""
    given = await form_field(request, "assigned_to", actions.MAX_NAME_LENGTH)
    name = (
        None
        if given is not None and not given.strip()
        else await line_field(request, "assigned_to", actions.MAX_NAME_LENGTH)
    )
    notice = "assigned" if name else "unassigned"
    return await _submit(request, lambda tx, row, by, at: actions.assign(tx, row, by, at, name), notice, name)


@PAGES.form("/exceptions/{id:[0-9]+}/note", scope="write", on="/exceptions/{id}")
async def note(request: web.Request) -> web.StreamResponse:
    """Add the note in the field `text`."""
    words = await line_field(request, "text", actions.MAX_NOTE_LENGTH)
    return await _submit(request, lambda tx, row, by, at: actions.note(tx, row, by, at, words), "noted", words)


@PAGES.form("/exceptions/{id:[0-9]+}/snooze", scope="write", on="/exceptions/{id}")
async def snooze(request: web.Request) -> web.StreamResponse:
    """Snooze an exception until the day in the field `until`, with `until_worse` also until it gets worse."""
    until = await form_field(request, "until", _LONGEST_UNTIL)
    if until is None:
        raise InvalidError(f"until is longer than {_LONGEST_UNTIL} characters; a day (2026-03-01) is allowed", "until")
    until_worse = bool(await form_field(request, "until_worse", 10))
    if not until.strip() and not until_worse:
        raise InvalidError("Nothing was snoozed: choose a day, “until it gets worse” or both", "until")
    work = snooze_work(request, until.strip() or None, until_worse=until_worse)
    return await _submit(request, work, "snoozed", until, until_worse)


_LONGEST_UNTIL = 40  # characters


@PAGES.form("/exceptions/{id:[0-9]+}/unsnooze", scope="write", on="/exceptions/{id}")
async def unsnooze(request: web.Request) -> web.StreamResponse:
    """End the snooze of an exception."""
    return await _submit(request, actions.unsnooze, "unsnoozed")
