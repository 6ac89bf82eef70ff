"""The page of the audit log: who did what, and when."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from aiohttp import web
from multidict import MultiDict

from flexportd.errors import ForbiddenError
from flexportd.expose.api.list_endpoint import bind_cursor
from flexportd.expose.context import DISPLAY, PRINCIPAL
from flexportd.expose.dashboard.page import ListPageQuery, PageTable
from flexportd.expose.dashboard.pages.operations import ACTIONS, audit_row
from flexportd.expose.dashboard.view.alerts import PageContext
from flexportd.expose.dashboard.view.labels import page_url
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.query_params import ListRules
from flexportd.storage.repositories.audit import LISTING
from flexportd.storage.transaction import Transaction

RULES = ListRules(
    sorts={"at": "id"}, filters={name: LISTING.filters[name] for name in ("actor", "action", "subject")}, fields=()
)

PAGES = PageTable("operations")


class AuditData(NamedTuple):
    """One page of the audit log; `next` is the cursor of the next page."""

    query: ListPageQuery
    rows: Sequence[Mapping[str, Any]]
    next: str | None


async def _query(request: web.Request) -> ListPageQuery:
    if "admin" not in request[PRINCIPAL].scopes:
        raise ForbiddenError("The audit log requires a key with the scope admin.")
    sent = query_params.parse_unique(request.query, ("limit", "cursor", "actor", "action", "subject"))
    filters = MultiDict({name: value for name, value in sent.items() if value.strip()})
    params = query_params.parse_list_params(filters, RULES, request.app[DISPLAY])
    return ListPageQuery(sent, await bind_cursor(request, params))


def read(tx: Transaction, _request: web.Request, query: ListPageQuery) -> AuditData:
    """One page of the entries."""
    rows = tx.audit.page(query.params.page)
    return AuditData(query, rows, query.params.encode_next_cursor(tx, rows, LISTING.key))


@PAGES.page("/audit", "audit.html", query=_query, read=read)
def audit_page(data: AuditData, context: PageContext) -> SimpleNamespace:
    """Who did what, newest first."""
    sent, page = data.query.sent, data.query.params.page
    return SimpleNamespace(
        rows=tuple(audit_row(row, context.view) for row in data.rows[: page.limit]),
        is_filtered=bool(page.filters),
        sent={name: sent.get(name, "") for name in ("actor", "action", "subject")},
        actions=tuple(ACTIONS),
        first_url=page_url("/audit", sent, cursor="") if "cursor" in sent else None,
        next_url=None if data.next is None else page_url("/audit", sent, cursor=data.next),
    )
