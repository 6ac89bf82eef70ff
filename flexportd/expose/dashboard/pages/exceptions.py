"""The page of the open exceptions, most severe first, and the page of one exception with its evidence."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import NamedTuple

import msgspec
from aiohttp import web

from flexportd.core.exceptions.model import SEVERITIES
from flexportd.core.exceptions.sentences import TITLES
from flexportd.core.resources.shipments import TABLE
from flexportd.expose.api.exceptions import authorize_list, load_visible, public_id
from flexportd.expose.api.list_endpoint import Filters
from flexportd.expose.context import EXCEPTION_WORKER
from flexportd.expose.dashboard.layout import is_customer
from flexportd.expose.dashboard.page import PageTable, no_query
from flexportd.expose.dashboard.view.alerts import Counts, PageContext, by_severity, exception_list_row, shipment_names
from flexportd.expose.dashboard.view.labels import Badge, Text
from flexportd.expose.dashboard.view.values import evidence_values, named_values, time_text, value_group
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.exceptions import ExceptionRow
from flexportd.storage.transaction import Transaction

MOST = 200  # of one severity on the page

_HEADINGS = {"critical": "Critical", "warning": "Warnings", "notice": "Notices"}
_MEANINGS = {"critical": "Costing money or blocked now", "warning": "Off plan", "notice": "Worth a look"}

PAGES = PageTable("exceptions")


class ExceptionsData(NamedTuple):
    """Open exceptions by severity, one more than is shown; names of shipments; `as_of` of the newest shipment."""

    rows: Mapping[str, Sequence[ExceptionRow]]
    counts: Counts
    names: Mapping[int, str | None]
    as_of: str | None = None
    is_complete: bool = True


async def _filters(request: web.Request) -> Filters:
    await no_query(request)
    return await authorize_list(request, {})


def read(tx: Transaction, request: web.Request, filters: Filters) -> ExceptionsData:
    """The open exceptions that the caller may see."""
    rows, counts, as_of = dict[str, Sequence[ExceptionRow]](), list[tuple[str, str, int]](), None
    if is_customer(request):
        for severity in SEVERITIES:
            limits = {"severity": (msgspec.json.encode([severity]).decode(),), "open": (), **filters}
            page = tx.exceptions.rows(PageRequest(MOST + 1, "since", descending=False, filters=limits))
            rows[severity] = [msgspec.structs.replace(row, id=public_id(request, row.id)) for row in page]
            counts.append(("", severity, tx.exceptions.count(limits)))
    else:
        rows |= {severity: tx.exceptions.open_of_severity(severity, MOST + 1) for severity in SEVERITIES}
        counts, as_of = tx.exceptions.counts(), tx.resources.newest_as_of(TABLE)
    shipments = {row.shipment_id for group in rows.values() for row in group if row.shipment_id is not None}
    is_complete = request.app[EXCEPTION_WORKER].is_complete
    return ExceptionsData(rows, counts, shipment_names(tx, shipments), as_of, is_complete)


@PAGES.page("/exceptions", "exceptions.html", query=_filters, read=read, for_audiences=True)
def exceptions_page(data: ExceptionsData, context: PageContext) -> SimpleNamespace:
    """The open exceptions by severity."""
    totals = by_severity(data.counts)
    return SimpleNamespace(
        total=f"{sum(totals.values()):,} open",
        groups=tuple(
            SimpleNamespace(
                severity=severity,
                title=_HEADINGS[severity],
                meaning=_MEANINGS[severity],
                total=f"{totals[severity]:,}",
                rows=tuple(exception_list_row(row, data.names, context.view) for row in rows[:MOST]),
                all_url=f"/api/v1/exceptions?severity={severity}" if len(rows) > MOST else None,
            )
            for severity, rows in data.rows.items()
            if rows
        ),
        kinds=tuple(TITLES.values()),
        is_complete=data.is_complete,
        as_of=context.view.instant(data.as_of),
    )


def read_one(tx: Transaction, request: web.Request, _query: None) -> tuple[ExceptionRow, dict[int, str | None]]:
    """The exception with the number by which the caller knows it, and the name of its shipment."""
    row = load_visible(request, tx)
    names = shipment_names(tx, set() if row.shipment_id is None else {row.shipment_id})
    return msgspec.structs.replace(row, id=public_id(request, row.id)), names


@PAGES.page("/exceptions/{id}", "exception_page.html", read=read_one, for_audiences=True)
def exception_page(data: tuple[ExceptionRow, Mapping[int, str | None]], context: PageContext) -> SimpleNamespace:
    """One exception with its evidence."""
    row, names = data
    shown = exception_list_row(row, names, context.view)
    times = (
        ("Since", row.since),
        ("Opened", row.opened_at),
        ("Evidence updated", row.updated_at),
        ("Closed", row.closed_at),
    )
    details = [
        ("Object", Text(shown.name.shown, shown.name.whole, shown.url)),
        *((name, time_text(at, context.view)) for name, at in times),
    ]
    return SimpleNamespace(
        row=shown,
        state=Badge("Open", "bad") if row.closed_at is None else Badge("Closed", "delivered"),
        groups=(
            *value_group("Details", named_values(details)),
            *value_group("Evidence", evidence_values(row.evidence, context.view)),
        ),
        json_url=f"/api/v1/exceptions/{row.id}",
    )
