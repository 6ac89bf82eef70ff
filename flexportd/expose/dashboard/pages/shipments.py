"""The page with the list of shipments."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from multidict import MultiDict

from flexportd.core.resources.shipments import TABLE, arrival_summary
from flexportd.core.search.query import use_index
from flexportd.escape import escape_control
from flexportd.expose.api.shipments import MODES as KNOWN_MODES
from flexportd.expose.api.shipments import STATUSES
from flexportd.expose.context import DisplaySettings
from flexportd.expose.dashboard.view.dates import DateText, Delay, ViewContext, count
from flexportd.expose.dashboard.view.labels import (
    ARRIVED,
    MODES,
    STAGES,
    Badge,
    Mode,
    PlaceText,
    Text,
    mode,
    place,
    short_text,
    status,
    text,
)
from flexportd.expose.dashboard.view.setup_hint import SetupHint
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.query_params import ListRequest, ListRules
from flexportd.storage.transaction import Transaction

Rows = Sequence[Mapping[str, Any]]

FILTERS = ("q", "status", "mode", "archived", "eta_after", "eta_before")

RULES = ListRules(
    sorts={"updated_at": "as_of", "id": "id", "eta": "eta_at"},
    filters={name: TABLE.filters[name] for name in FILTERS},
    fields=(),
    vocabularies={"status": STATUSES, "mode": KNOWN_MODES},
)

_LONGEST_PROBLEM = 2000  # characters
_DEPARTED = ARRIVED.union(STAGES[2].statuses)

_SORT_TEXTS = {
    "updated_at": ("least recently updated first", "most recently updated first"),
    "id": ("lowest ID first", "highest ID first"),
    "eta": ("earliest arrival first", "latest arrival first"),
}


@dataclass(frozen=True, slots=True)
class DateCell:
    """A departure or arrival: the actual time where there is one, else the plan; `plan` where the two differ."""

    when: DateText
    is_actual: bool
    lateness: Delay | None
    plan: DateText | None = None


@dataclass(frozen=True, slots=True)
class StopRow:
    """A place of the route, and when the shipment is there; a date whose place is not known has none."""

    title: str
    place: PlaceText | None
    at: DateCell | None


@dataclass(frozen=True, slots=True)
class ShipmentRow:
    """One shipment in a list."""

    id: int
    name: Text | None
    mode: Mode | None
    status: Badge
    origin: PlaceText | None
    destination: PlaceText | None
    carrier: Text | None
    vessel: Text | None
    port: Text | None
    """The port of loading, where the departure is from."""

    departure: DateCell | None
    arrival: DateCell | None
    journey: Text | None
    """When it arrives at the port of unloading, at the inland ramp and at its destination, in words."""

    updated: DateText | None
    mark: str | None


@dataclass(frozen=True, slots=True)
class Option:
    """One choice of a filter."""

    value: str
    title: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class OptionGroup:
    """Options under a heading."""

    title: str
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class SortableColumn:
    """A column that can be sorted by; `direction` is that of `aria-sort`."""

    title: str
    url: str
    direction: str


@dataclass(frozen=True, slots=True)
class FilterForm:
    """The filter form as it was sent."""

    q: str
    eta_after: str
    eta_before: str
    stages: tuple[Option, ...]
    statuses: tuple[OptionGroup, ...]
    modes: tuple[Option, ...]
    archived: tuple[Option, ...]
    sorts: tuple[Option, ...]
    is_filtered: bool
    is_folded_out: bool
    """Whether one of the filters applies that a phone shows on request only."""


@dataclass(frozen=True, slots=True)
class ShipmentsPage:
    """Everything the list shows."""

    result: str
    rows: tuple[ShipmentRow, ...]
    form: FilterForm
    headings: dict[str, SortableColumn]
    next_url: str | None
    first_url: str | None
    as_of: DateText | None
    connecting: SetupHint | None
    problem: str | None = None  # what is wrong with the filters; nothing was looked up then


def normalise_form(query: Mapping[str, str]) -> dict[str, str]:
    """The parameters as the API's rules know them: forms send empty fields; archived ones are shown when asked for."""
    found = {name: value for name, value in query.items() if value.strip()}
    archived = found.pop("archived", "false")
    return found if archived == "all" else found | {"archived": archived}


@dataclass(frozen=True, slots=True)
class ShipmentsData:
    """The rows, one more than asked for when another page follows; its cursor; whether there is any shipment at all."""

    rows: Rows
    next: str | None
    is_any: bool
    as_of: str | None = None
    """When the newest of all shipments was updated at Flexport."""


def read(tx: Transaction, asked: ListRequest) -> ShipmentsData:
    """One page of the list."""
    rows = tx.resources.page(TABLE, use_index(tx, asked.page))
    as_of = tx.resources.newest_as_of(TABLE)
    return ShipmentsData(rows, asked.encode_next_cursor(tx, rows), bool(rows) or as_of is not None, as_of)


def shipments_page(
    found: ShipmentsData, asked: ListRequest, query: Mapping[str, str], about: tuple[ViewContext, SetupHint | None]
) -> ShipmentsPage:
    """The list in words. `query` is what the browser sent, `about` the view and how to connect when all is empty."""
    sight, connecting = about
    limit, rows = asked.page.limit, found.rows
    next_url = None if found.next is None else _url(query, cursor=found.next)
    return ShipmentsPage(
        result=_result(min(len(rows), limit), asked, query, more=next_url is not None),
        rows=tuple(shipment_row(fields, sight) for fields in rows[:limit]),
        form=_form(query),
        headings={
            "updated_at": _heading("Updated", "updated_at", asked, query),
            "id": _heading("Shipment", "id", asked, query),
            "eta": _heading("Arrival", "eta", asked, query),
        },
        next_url=next_url,
        first_url=_url(query, cursor="") if "cursor" in query else None,
        as_of=sight.instant(found.as_of),
        connecting=connecting,
    )


def invalid_filters_page(query: Mapping[str, str], problem: str, sight: ViewContext) -> ShipmentsPage:
    """The list for filters that cannot be used: what is wrong, and the form as it was sent."""
    asked = query_params.parse_list_params(MultiDict(), RULES, DisplaySettings())
    sendable = {name: value for name, value in query.items() if name != "cursor"}
    page = shipments_page(ShipmentsData((), None, is_any=True), asked, sendable, (sight, None))
    return replace(page, result="", problem=f"{escape_control(problem, _LONGEST_PROBLEM)}.")


def shipment_row(fields: Mapping[str, Any], sight: ViewContext) -> ShipmentRow:
    """One row of the table of shipments in words."""
    mark = "Deleted at Flexport" if fields["removed_at"] else "Archived" if fields["archived_at"] else None
    return ShipmentRow(
        id=fields["id"],
        name=text(fields["name"], 60),
        mode=mode(fields["mode"]),
        status=status(fields["status"]),
        origin=place(fields, "origin"),
        destination=place(fields, "destination"),
        carrier=text(fields["carrier"], 40),
        vessel=text(fields["vessel"], 40),
        port=text(fields["port_of_loading"], 24),
        departure=shipment_date_cell(fields, "departure", sight),
        arrival=shipment_date_cell(fields, "arrival", sight),
        journey=text(arrival_summary(fields, sight.today), 200),
        updated=sight.instant(fields["as_of"]),
        mark=mark,
    )


def shipment_date_cell(fields: Mapping[str, Any], name: str, sight: ViewContext) -> DateCell | None:
    """What is known of a shipment's departure or arrival; only what may still happen is called overdue."""
    over = ARRIVED if name == "arrival" else _DEPARTED
    return date_cell(fields, name, sight, passed=fields["status"] in over or bool(fields["actual_arrival"]))


def date_cell(
    fields: Mapping[str, Any], name: str, sight: ViewContext, *, zone: str | None = None, passed: bool = False
) -> DateCell | None:
    """A planned and an actual date, in the zone of their place. `passed`: it must have happened, told or not."""
    planned, actual = fields[f"estimated_{name}"], fields[f"actual_{name}"]
    when = sight.moment(actual or planned, zone)
    if when is None:
        return None
    lateness = None if passed and not actual else sight.delay(planned, actual)
    plan = sight.moment(planned, zone) if actual else None
    return DateCell(when, bool(actual), lateness, plan if plan and plan.day != when.day else None)


def _result(number: int, asked: ListRequest, query: Mapping[str, str], *, more: bool) -> str:
    words = count(number, "shipment")
    if "cursor" in query:
        words = f"Last {words}" if not more else f"Next {words}"
    elif more:
        words = f"First {words}"
    found = " found" if any(query.get(name, "").strip() for name in FILTERS if name != "archived") else ""
    return f"{words}{found}, {_SORT_TEXTS[asked.sort][asked.page.descending]}"


def _url(query: Mapping[str, str], **changed: str) -> str:
    kept = {name: value for name, value in {**query, **changed}.items() if value.strip()}
    return "/shipments" + (f"?{urlencode(kept)}" if kept else "")


def _heading(title: str, name: str, asked: ListRequest, query: Mapping[str, str]) -> SortableColumn:
    """A click sorts by this column, a second one the other way round; arrivals begin with the next."""
    is_sorted = asked.sort == name
    descending = not asked.page.descending if is_sorted else name != "eta"
    url = _url(query, sort=f"-{name}" if descending else name, cursor="")
    return SortableColumn(title, url, ("descending" if asked.page.descending else "ascending") if is_sorted else "none")


def _form(query: Mapping[str, str]) -> FilterForm:
    chosen = {name: query.get(name, "") for name in FILTERS}
    stages = tuple(_option(",".join(stage.statuses), stage.title, chosen["status"]) for stage in STAGES)
    choices = [
        OptionGroup(stage.title, tuple(_option(name, status(name).text, chosen["status"]) for name in stage.statuses))
        for stage in STAGES
        if len(stage.statuses) > 1
    ]
    known = {option.value for option in stages} | {option.value for group in choices for option in group.options}
    if chosen["status"] and chosen["status"] not in known:
        own = Option(chosen["status"], short_text(chosen["status"], 60) or "", chosen=True)
        choices.insert(0, OptionGroup("Selected", (own,)))
    modes = [_option(name, one.text, chosen["mode"]) for name, one in MODES.items()]
    if chosen["mode"] and chosen["mode"] not in MODES:
        modes.insert(0, Option(chosen["mode"], short_text(chosen["mode"], 60) or "", chosen=True))
    archived = chosen["archived"] or "false"
    return FilterForm(
        q=chosen["q"],
        eta_after=chosen["eta_after"],
        eta_before=chosen["eta_before"],
        stages=stages,
        statuses=tuple(choices),
        modes=tuple(modes),
        archived=tuple(
            _option(value, title, archived)
            for value, title in (("false", "Current"), ("true", "Archived"), ("all", "All"))
        ),
        sorts=tuple(_sorts(query.get("sort", ""))),
        is_filtered=any(chosen.values()),
        is_folded_out=any(value for name, value in chosen.items() if name != "q"),
    )


def _sorts(chosen: str) -> Iterator[Option]:
    """Each order that the list can have, the usual one first."""
    for name, (rising, falling) in _SORT_TEXTS.items():
        yield _option(f"-{name}", falling[0].upper() + falling[1:], chosen or "-updated_at")
        yield _option(name, rising[0].upper() + rising[1:], chosen or "-updated_at")


def _option(value: str, title: str, chosen: str) -> Option:
    return Option(value, title, value == chosen)
