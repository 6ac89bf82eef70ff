"""The page with the list of shipments."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple

from aiohttp import web
from multidict import MultiDict

from flexportd.core.resources.shipments import TABLE
from flexportd.core.search.query import use_index
from flexportd.errors import ExpiredError, InvalidError
from flexportd.expose.api.list_endpoint import authorized_params
from flexportd.expose.api.shipments import LIST, STATUSES
from flexportd.expose.api.shipments import MODES as KNOWN_MODES
from flexportd.expose.context import DisplaySettings
from flexportd.expose.dashboard.layout import is_customer
from flexportd.expose.dashboard.page import ListPageQuery, Page, PageTable
from flexportd.expose.dashboard.view.alerts import PageContext
from flexportd.expose.dashboard.view.dates import count
from flexportd.expose.dashboard.view.labels import MODES, STAGES, page_url, sentence, short_text, status
from flexportd.expose.dashboard.view.shipment_rows import shipment_row
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.query_params import ListRequest, ListRules
from flexportd.http.responses import HTML, PreparedResponse, PreparedStreamResponse
from flexportd.storage.transaction import Transaction

FILTERS = ("q", "status", "mode", "archived", "eta_after", "eta_before")

RULES = ListRules(
    sorts={"updated_at": "as_of", "id": "id", "eta": "eta_at"},
    filters={name: TABLE.filters[name] for name in FILTERS},
    fields=(),
    vocabularies={"status": STATUSES, "mode": KNOWN_MODES},
)

_LIST = replace(LIST, rules=RULES)
_LONGEST_PROBLEM = 2000  # characters

PAGES = PageTable("shipments")

_ARCHIVED = (("false", "Current"), ("true", "Archived"), ("all", "All"))
_SORT_TEXTS = {
    "updated_at": ("least recently updated first", "most recently updated first"),
    "id": ("lowest ID first", "highest ID first"),
    "eta": ("earliest arrival first", "latest arrival first"),
}
_SORTS = [
    (f"{sign}{name}", words[0].upper() + words[1:])
    for name, texts in _SORT_TEXTS.items()
    for sign, words in zip(("-", ""), reversed(texts), strict=True)
]


class ShipmentsData(NamedTuple):
    """The rows, one more than is shown if there is a next page, with its cursor.

    `as_of` is when the newest of all shipments was updated at Flexport.
    """

    query: ListPageQuery
    rows: Sequence[Mapping[str, Any]]
    next: str | None = None
    is_any: bool = True
    """Whether the caller has any shipment at all."""
    as_of: str | None = None
    is_customer: bool = False
    problem: str | None = None
    """What is wrong with the filters; nothing was looked up then."""


async def _query(request: web.Request) -> ListPageQuery | web.StreamResponse:
    """The filters; invalid ones are answered with the form as it was sent."""
    form = query_params.parse_unique(request.query, ("limit", "cursor", "sort", *FILTERS))
    try:
        return ListPageQuery(form, await authorized_params(request, MultiDict(normalise_form(form)), _LIST))
    except ExpiredError:
        raise
    except InvalidError as error:
        return PreparedStreamResponse(PreparedResponse(400, await _INVALID.render(request, (form, str(error))), HTML))


def normalise_form(form: Mapping[str, str]) -> dict[str, str]:
    """The parameters for the API's rules: without empty fields; archived shipments only if the form says so."""
    filled = {name: value for name, value in form.items() if value.strip()}
    archived = filled.pop("archived", "false")
    return filled if archived == "all" else filled | {"archived": archived}


def read(tx: Transaction, request: web.Request, query: ListPageQuery) -> ShipmentsData:
    """One page of the list."""
    rows, as_of = tx.resources.page(TABLE, use_index(tx, query.params.page)), tx.resources.newest_as_of(TABLE)
    following = query.params.encode_next_cursor(tx, rows)
    return ShipmentsData(query, rows, following, bool(rows) or as_of is not None, as_of, is_customer(request))


def read_invalid(_tx: Transaction, _request: web.Request, query: tuple[Mapping[str, str], str]) -> ShipmentsData:
    """The form that was sent, with what is wrong with it; nothing is looked up."""
    form, problem = query
    params = query_params.parse_list_params(MultiDict(), RULES, DisplaySettings())
    sent = {name: value for name, value in form.items() if name != "cursor"}
    return ShipmentsData(ListPageQuery(sent, params), (), problem=problem)


# The search index is updated just after the shipments, so a search is not cached.
@PAGES.page(
    "/shipments",
    "shipments.html",
    query=_query,
    read=read,
    is_cached=lambda query: not query.sent.get("q"),
    for_audiences=True,
)
def shipments_page(data: ShipmentsData, context: PageContext) -> SimpleNamespace:
    """One page of the list."""
    form, params, view = data.query.sent, data.query.params, context.view
    limit = params.page.limit
    result = _result(min(len(data.rows), limit), params, form, more=data.next is not None)
    return SimpleNamespace(
        result="" if data.problem else result,
        rows=tuple(shipment_row(fields, view) for fields in data.rows[:limit]),
        form=_form(form),
        headings={
            "updated_at": _heading("Updated", "updated_at", params, form),
            "id": _heading("Shipment", "id", params, form),
            "eta": _heading("Arrival", "eta", params, form),
        },
        next_url=None if data.next is None else page_url("/shipments", form, cursor=data.next),
        first_url=page_url("/shipments", form, cursor="") if "cursor" in form else None,
        as_of=view.instant(data.as_of),
        setup_hint=None if data.is_any or data.is_customer else context.runtime.setup_hint(),
        problem=sentence(data.problem, _LONGEST_PROBLEM, capital=False) if data.problem else None,
    )


_INVALID = Page("shipments.html", "shipments", _query, read_invalid, shipments_page)


def _result(number: int, params: ListRequest, form: Mapping[str, str], *, more: bool) -> str:
    words = count(number, "shipment")
    if "cursor" in form:
        words = f"{'Next' if more else 'Last'} {words}"
    elif more:
        words = f"First {words}"
    matching = " found" if any(form.get(name, "").strip() for name in FILTERS if name != "archived") else ""
    return f"{words}{matching}, {_SORT_TEXTS[params.sort][params.page.descending]}"


def _heading(title: str, name: str, params: ListRequest, form: Mapping[str, str]) -> SimpleNamespace:
    """A first click sorts by this column (arrivals: the earliest first), a second one reverses the order."""
    is_sorted = params.sort == name
    descending = not params.page.descending if is_sorted else name != "eta"
    url = page_url("/shipments", form, sort=f"-{name}" if descending else name, cursor="")
    direction = ("descending" if params.page.descending else "ascending") if is_sorted else "none"
    return SimpleNamespace(title=title, url=url, direction=direction)


def _form(form: Mapping[str, str]) -> SimpleNamespace:
    """The filter form as it was sent; `is_expanded`: a filter is set that narrow screens hide."""
    chosen = {name: form.get(name, "") for name in FILTERS}
    stages = [(",".join(stage.statuses), stage.title) for stage in STAGES]
    groups = [
        (stage.title, [(name, status(name).text) for name in stage.statuses])
        for stage in STAGES
        if len(stage.statuses) > 1
    ]
    known = {value for options in (stages, *(options for _, options in groups)) for value, _ in options}
    if chosen["status"] and chosen["status"] not in known:
        groups.insert(0, ("Selected", [(chosen["status"], short_text(chosen["status"], 60) or "")]))
    modes = [(name, label.text) for name, label in MODES.items()]
    if chosen["mode"] and chosen["mode"] not in MODES:
        modes.insert(0, (chosen["mode"], short_text(chosen["mode"], 60) or ""))
    return SimpleNamespace(
        q=chosen["q"],
        eta_after=chosen["eta_after"],
        eta_before=chosen["eta_before"],
        stages=_options(stages, chosen["status"]),
        statuses=[SimpleNamespace(title=title, options=_options(group, chosen["status"])) for title, group in groups],
        modes=_options(modes, chosen["mode"]),
        archived=_options(_ARCHIVED, chosen["archived"] or "false"),
        sorts=_options(_SORTS, form.get("sort", "") or "-updated_at"),
        is_filtered=any(chosen.values()),
        is_expanded=any(value for name, value in chosen.items() if name != "q"),
    )


def _options(choices: Iterable[tuple[str, str]], chosen: str) -> list[SimpleNamespace]:
    return [SimpleNamespace(value=value, title=title, chosen=value == chosen) for value, title in choices]
