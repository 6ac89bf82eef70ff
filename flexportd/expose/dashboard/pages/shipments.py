"""The pages of shipments: the list, and one shipment."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, NamedTuple

from aiohttp import web
from multidict import MultiDict

from flexportd.core.resources.itinerary import sort_legs
from flexportd.core.resources.shipments import RESOURCE_TYPE, TABLE
from flexportd.core.search.query import use_index
from flexportd.core.timeline import ShipmentBundle, timeline
from flexportd.errors import ExpiredError, InvalidError, NotFoundError
from flexportd.expose.api.exceptions import visible_rows
from flexportd.expose.api.list_endpoint import authorized_params
from flexportd.expose.api.shipments import LIST, STATUSES, visible_shipment_id
from flexportd.expose.api.shipments import MODES as KNOWN_MODES
from flexportd.expose.context import READS, REGISTRY, DisplaySettings
from flexportd.expose.dashboard.layout import is_customer
from flexportd.expose.dashboard.page import ListPageQuery, Page, PageTable, no_query, redirect
from flexportd.expose.dashboard.view import related
from flexportd.expose.dashboard.view.alerts import PageContext, object_exceptions
from flexportd.expose.dashboard.view.dates import ViewContext, count
from flexportd.expose.dashboard.view.deliveries import DeliveriesAbout, deliveries_about, read_about
from flexportd.expose.dashboard.view.history import change_groups
from flexportd.expose.dashboard.view.labels import (
    MODES,
    SOURCES,
    STAGES,
    Text,
    freight_type_text,
    json_or_none,
    list_preview,
    mode,
    page_url,
    place,
    quantity,
    sentence,
    short_text,
    status,
    text,
    vessel_text,
)
from flexportd.expose.dashboard.view.operations import ObjectWrites, read_writes, writes_view
from flexportd.expose.dashboard.view.related import Links, RelatedData
from flexportd.expose.dashboard.view.shipment_rows import (
    container_rows,
    leg_rows,
    route_bar,
    shipment_row,
    stop_rows,
    timeline_rows,
)
from flexportd.expose.dashboard.view.values import NamedValues, value_group
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.query_params import ListRequest, ListRules
from flexportd.expose.openapi.router import resolve_reference
from flexportd.expose.security import authorization
from flexportd.http.responses import HTML, PreparedResponse, PreparedStreamResponse
from flexportd.storage.repositories.exceptions import ExceptionRow
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
    """The rows, one more than is shown, and the cursor of the next page; `as_of` of the newest shipment."""

    query: ListPageQuery
    rows: Sequence[Mapping[str, Any]]
    next: str | None = None
    is_any: bool = True  # whether the caller has any shipment at all
    as_of: str | None = None
    is_customer: bool = False
    problem: str | None = None  # what is wrong with the filters; nothing was looked up then


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


_CHANGES = 40  # of the shipment itself
_CHANGES_OF_CHILD = 8
_CHILDREN = 12
_CAUSES = 15
_SHOWN_ELSEWHERE = ("container_legs",)  # shown with the containers

_PRIORITIES = {"standard": "Standard", "high": "High"}

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ShipmentData:
    """A shipment with all that belongs to it. `changes` are rows of the history by (resource, id)."""

    bundle: ShipmentBundle
    changes: Mapping[tuple[str, int], Rows]
    types: Mapping[str, str | None]
    exceptions: Sequence[ExceptionRow] = ()
    deliveries: DeliveriesAbout = field(default_factory=DeliveriesAbout)
    related: Sequence[RelatedData] = ()
    links: Links = field(default_factory=dict)
    writes: ObjectWrites = field(default_factory=ObjectWrites)


async def _query_one(request: web.Request) -> int | web.StreamResponse:
    """The id of the shipment; another reference redirects to its page."""
    try:
        number = await visible_shipment_id(request)
    except NotFoundError:
        key = await resolve_reference(request, RESOURCE_TYPE, request.match_info["id"])
        if key is None:
            raise
        return redirect(f"/shipments/{key}")
    await no_query(request)  # after the look-up: others' shipments and unknown ones get the same answer
    return number


def read_one(tx: Transaction, request: web.Request, number: int) -> ShipmentData:
    """A shipment with what the caller may see of it. Raises NotFoundError."""
    app = request.app
    bundle = app[READS].shipment_bundle(tx, number)
    if bundle is None or not authorization.is_visible(request, tx, RESOURCE_TYPE, bundle.shipment):
        raise NotFoundError(f"there is no shipment {number}")  # it may have changed since the request was authorized
    bundle = replace(bundle, events=authorization.visible_events(request, bundle.events))
    children = [("legs", leg) for leg in bundle.legs] + [("containers", box) for box in bundle.containers]
    changes = {("shipments", number): related.changes_of(request, tx, RESOURCE_TYPE, bundle.shipment, _CHANGES)}
    for resource, child in children[:_CHILDREN]:
        rows = related.changes_of(request, tx, app[REGISTRY][resource], child, _CHANGES_OF_CHILD)
        changes[resource, int(child.id)] = rows
    types = {event["id"]: event["type"] for event in bundle.events}
    ids = {row["event_id"] for rows in changes.values() for row in rows} - types.keys()
    return ShipmentData(
        bundle,
        changes,
        types | related.event_types(request, tx, ids),
        visible_rows(request, tx, tx.exceptions.of_shipments([number])),
        DeliveriesAbout() if is_customer(request) else read_about(tx, request, "shipment", number, number),
        related.read(request, tx, app[REGISTRY], (RESOURCE_TYPE, number), _SHOWN_ELSEWHERE),
        related.links(request, tx, app[REGISTRY], bundle.shipment),
        read_writes(tx, request, RESOURCE_TYPE, bundle.shipment),
    )


@PAGES.page(
    "/shipments/{id}", "shipment.html", query=_query_one, read=read_one, is_cached=lambda _: True, for_audiences=True
)
def shipment_page(data: ShipmentData, context: PageContext) -> SimpleNamespace:
    """One shipment."""
    bundle, view = data.bundle, context.view
    shipment, fields = bundle.shipment, bundle.shipment.fields
    archived_at = view.instant(fields["archived_at"])
    archived = f"Archived on {archived_at.day}" if archived_at else None
    legs = [{"id": leg.id, **leg.fields} for leg in sort_legs(bundle.legs)]
    return SimpleNamespace(
        id=int(shipment.id),
        exceptions=object_exceptions(data.exceptions, view),
        notified=deliveries_about(data.deliveries, f"/api/v1/deliveries?shipment={shipment.id}", view),
        name=text(fields["name"], 120),
        mode=mode(fields["mode"]),
        status=status(fields["status"]),
        mark=related.removed_mark(shipment.removed_at, view) or archived,
        origin=place(fields, "origin"),
        destination=place(fields, "destination"),
        carrier=text(fields["carrier"], 60),
        vessel=vessel_text(fields),
        stops=stop_rows(fields, view),
        route=route_bar(legs, view),
        points=timeline_rows(timeline(bundle), view),
        groups=tuple(_groups(fields, data.links, view)),
        legs=leg_rows(legs, view),
        containers=container_rows(bundle, view),
        causes=change_groups(_all_changes(data), data.types, view)[:_CAUSES],
        writes=writes_view(data.writes, view),
        as_of=view.instant(shipment.as_of),
        synced=view.instant(shipment.synced_at),
        source=SOURCES.get(shipment.source, shipment.source),
        related=related.related_groups(data.related, shipment.id, view),
    )


def _all_changes(data: ShipmentData) -> list[tuple[dict[str, Any], Text | None]]:
    subjects: dict[tuple[str, int], Text | None] = {}
    for leg in data.bundle.legs:
        ends = [leg.fields["origin"] or "?", leg.fields["destination"] or "?"]
        subjects["legs", int(leg.id)] = text(" → ".join(end[:40] for end in ends), 90)
    for box in data.bundle.containers:
        subjects["containers", int(box.id)] = text(box.fields["container_number"] or f"Container {box.id}", 40)
    rows = [(row, subjects.get(key)) for key, changes in data.changes.items() for row in changes]
    return sorted(rows, key=lambda pair: -int(pair[0]["id"]))


def _groups(fields: Mapping[str, Any], links: Links, view: ViewContext) -> Iterator[SimpleNamespace]:
    """The values of a shipment under their headings; metadata are the client's own labels."""
    ready = view.calendar_day(fields["cargo_ready_date"])
    lcl = None if fields["is_lcl"] is None else "Less than a container (LCL)" if fields["is_lcl"] else "Full (FCL)"
    metadata = json_or_none(fields["metadata"])
    own = list(metadata.items())[:30] if isinstance(metadata, dict) else ()
    groups: dict[str, Sequence[tuple[str, Text | Sequence[Text | None] | None]]] = {
        "Cargo": (
            ("Service", text(freight_type_text(fields["freight_type"]))),
            ("Load", text(lcl)),
            ("Incoterm", text(short_text(fields["incoterm"], 12))),
            ("Pieces", text(f"{fields['pieces']:,}" if fields["pieces"] else None)),
            ("Weight", text(quantity(fields["weight"]))),
            ("Volume", text(quantity(fields["volume"]))),
            ("Chargeable weight", text(quantity(fields["chargeable_weight"]))),
            ("Priority", text(_PRIORITIES.get(fields["priority"]) or short_text(fields["priority"]))),
            ("Cargo ready", text(ready.text if ready else None)),
        ),
        "References": (
            ("Purchase orders", list_preview(fields["purchase_orders"])),
            ("SKUs", list_preview(fields["skus"])),
            ("House bills", list_preview(fields["house_bills"])),
            ("Master bill", text(fields["master_bill"], 60)),
            ("Carrier booking", text(fields["carrier_booking_number"], 60)),
            ("Flexport booking", links.get("booking_id") or text(fields["booking_id"])),
            ("IT number", text(fields["it_number"], 60)),
        ),
        "Parties": (
            ("Shipper", list_preview(fields["shippers"])),
            ("Consignee", list_preview(fields["consignees"])),
            ("Seller", list_preview(fields["sellers"])),
            ("Buyer", list_preview(fields["buyers"])),
            ("Importer of record", list_preview(fields["importers_of_record"])),
        ),
        "Metadata": [
            (
                short_text(name) or "(unnamed)",
                [text(part) for part in (value if isinstance(value, list) else [value])[:12]],
            )
            for name, value in own
        ],
    }
    for title, rows in groups.items():
        known = [
            (name, tuple(one for one in ((value,) if isinstance(value, Text) else value or ()) if one is not None))
            for name, value in rows
        ]
        yield from value_group(title, [NamedValues(name, values) for name, values in known if values])
