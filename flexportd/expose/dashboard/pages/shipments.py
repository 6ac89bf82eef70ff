"""The page with the list of shipments."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from multidict import MultiDict

from flexportd.core.labels import journey_words
from flexportd.core.resources.shipments import TABLE
from flexportd.core.search.query import by_index
from flexportd.escape import harmless
from flexportd.expose.api.shipments import DATES, STATUSES
from flexportd.expose.api.shipments import MODES as KNOWN_MODES
from flexportd.expose.context import Shown
from flexportd.expose.dashboard.view.dates import Lateness, Sight, When, count
from flexportd.expose.dashboard.view.labels import (
    ARRIVED,
    MODES,
    STAGES,
    Mode,
    Pill,
    Place,
    Text,
    mode,
    place,
    status,
    text,
    word,
)
from flexportd.expose.dashboard.view.setup_hint import Connecting
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.query_params import Asked, ListRules
from flexportd.storage.transaction import Session

Rows = Sequence[Mapping[str, Any]]

FILTERS = ("q", "status", "mode", "archived", "eta_after", "eta_before")

RULES = ListRules(
    sorts={"updated_at": "as_of", "id": "id", "eta": "eta_at"},
    filters={
        "q": query_params.part_of("q", 3),
        "status": query_params.any_of("status", vocabulary=STATUSES),
        "mode": query_params.any_of("mode", vocabulary=KNOWN_MODES),
        "archived": query_params.truth("archived", "not_archived"),
        **{name: DATES[name] for name in ("eta_after", "eta_before")},
    },
    fields=(),
)

_LONGEST_PROBLEM = 2000  # characters
_SAILED = ARRIVED.union(STAGES[2].statuses)

_SORTED = {
    "updated_at": ("least recently updated first", "most recently updated first"),
    "id": ("lowest ID first", "highest ID first"),
    "eta": ("earliest arrival first", "latest arrival first"),
}


@dataclass(frozen=True, slots=True)
class Dated:
    """A departure or arrival: the actual time where there is one, else the plan; `plan` where the two differ."""

    when: When
    is_actual: bool
    lateness: Lateness | None
    plan: When | None = None


@dataclass(frozen=True, slots=True)
class DatedStop:
    """A place of the route, and when the shipment is there; a date whose place is not known has none."""

    title: str
    place: Place | None
    at: Dated | None


@dataclass(frozen=True, slots=True)
class Row:
    """One shipment in a list."""

    id: int
    name: Text | None
    mode: Mode | None
    status: Pill
    origin: Place | None
    destination: Place | None
    carrier: Text | None
    vessel: Text | None
    port: Text | None
    """The port of loading, where the departure is from."""

    departure: Dated | None
    arrival: Dated | None
    journey: Text | None
    """When it arrives at the port of unloading, at the inland ramp and at its destination, in words."""

    updated: When | None
    mark: str | None


@dataclass(frozen=True, slots=True)
class Option:
    """One choice of a filter."""

    value: str
    title: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Choices:
    """Options under a heading."""

    title: str
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """A column that can be sorted by; `direction` is that of `aria-sort`."""

    title: str
    url: str
    direction: str


@dataclass(frozen=True, slots=True)
class Filled:
    """The filter form as it was sent."""

    q: str
    eta_after: str
    eta_before: str
    stages: tuple[Option, ...]
    statuses: tuple[Choices, ...]
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
    rows: tuple[Row, ...]
    form: Filled
    headings: dict[str, Heading]
    next_url: str | None
    first_url: str | None
    as_of: When | None
    connecting: Connecting | None
    problem: str | None = None  # what is wrong with the filters; nothing was looked up then


def given(query: Mapping[str, str]) -> dict[str, str]:
    """The parameters as the API's rules know them: forms send empty fields; archived ones are shown when asked for."""
    found = {name: value for name, value in query.items() if value.strip()}
    archived = found.pop("archived", "false")
    return found if archived == "all" else found | {"archived": archived}


@dataclass(frozen=True, slots=True)
class Found:
    """The rows, one more than asked for when another page follows; its cursor; whether there is any shipment at all."""

    rows: Rows
    next: str | None
    is_any: bool
    as_of: str | None = None
    """When the newest of all shipments was updated at Flexport."""


def read(tx: Session, asked: Asked) -> Found:
    """One page of the list."""
    rows = tx.resources.page(TABLE, by_index(tx, asked.page))
    as_of = tx.resources.newest_as_of(TABLE)
    return Found(rows, asked.next(tx, rows), bool(rows) or as_of is not None, as_of)


def shipments_page(
    found: Found, asked: Asked, query: Mapping[str, str], about: tuple[Sight, Connecting | None]
) -> ShipmentsPage:
    """The list in words. `query` is what the browser sent, `about` the view and how to connect when all is empty."""
    sight, connecting = about
    limit, rows = asked.page.limit, found.rows
    next_url = None if found.next is None else _url(query, cursor=found.next)
    return ShipmentsPage(
        result=_result(min(len(rows), limit), asked, query, more=next_url is not None),
        rows=tuple(row(fields, sight) for fields in rows[:limit]),
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


def unanswered_page(query: Mapping[str, str], problem: str, sight: Sight) -> ShipmentsPage:
    """The list for filters that cannot be used: what is wrong, and the form as it was sent."""
    asked = query_params.asked(MultiDict(), RULES, Shown())
    sendable = {name: value for name, value in query.items() if name != "cursor"}
    page = shipments_page(Found((), None, is_any=True), asked, sendable, (sight, None))
    return replace(page, result="", problem=f"{harmless(problem, _LONGEST_PROBLEM)}.")


def row(fields: Mapping[str, Any], sight: Sight) -> Row:
    """One row of the table of shipments in words."""
    mark = "Deleted at Flexport" if fields["removed_at"] else "Archived" if fields["archived_at"] else None
    return Row(
        id=fields["id"],
        name=text(fields["name"], 60),
        mode=mode(fields["mode"]),
        status=status(fields["status"]),
        origin=place(fields, "origin"),
        destination=place(fields, "destination"),
        carrier=text(fields["carrier"], 40),
        vessel=text(fields["vessel"], 40),
        port=text(fields["port_of_loading"], 24),
        departure=dated(fields, "departure", sight),
        arrival=dated(fields, "arrival", sight),
        journey=text(journey_words(fields, sight.today), 200),
        updated=sight.instant(fields["as_of"]),
        mark=mark,
    )


def dated(fields: Mapping[str, Any], name: str, sight: Sight) -> Dated | None:
    """What is known of a shipment's departure or arrival; only what may still happen is called overdue."""
    over = ARRIVED if name == "arrival" else _SAILED
    return dates(fields, name, sight, passed=fields["status"] in over or bool(fields["actual_arrival"]))


def dates(
    fields: Mapping[str, Any], name: str, sight: Sight, *, zone: str | None = None, passed: bool = False
) -> Dated | None:
    """A planned and an actual date, in the zone of their place. `passed`: it must have happened, told or not."""
    planned, actual = fields[f"estimated_{name}"], fields[f"actual_{name}"]
    when = sight.moment(actual or planned, zone)
    if when is None:
        return None
    lateness = None if passed and not actual else sight.lateness(planned, actual)
    plan = sight.moment(planned, zone) if actual else None
    return Dated(when, bool(actual), lateness, plan if plan and plan.day != when.day else None)


def _result(number: int, asked: Asked, query: Mapping[str, str], *, more: bool) -> str:
    words = count(number, "shipment")
    if "cursor" in query:
        words = f"Last {words}" if not more else f"Next {words}"
    elif more:
        words = f"First {words}"
    found = " found" if any(query.get(name, "").strip() for name in FILTERS if name != "archived") else ""
    return f"{words}{found}, {_SORTED[asked.sort][asked.page.descending]}"


def _url(query: Mapping[str, str], **changed: str) -> str:
    kept = {name: value for name, value in {**query, **changed}.items() if value.strip()}
    return "/shipments" + (f"?{urlencode(kept)}" if kept else "")


def _heading(title: str, name: str, asked: Asked, query: Mapping[str, str]) -> Heading:
    """A click sorts by this column, a second one the other way round; arrivals begin with the next."""
    is_sorted = asked.sort == name
    descending = not asked.page.descending if is_sorted else name != "eta"
    url = _url(query, sort=f"-{name}" if descending else name, cursor="")
    return Heading(title, url, ("descending" if asked.page.descending else "ascending") if is_sorted else "none")


def _form(query: Mapping[str, str]) -> Filled:
    chosen = {name: query.get(name, "") for name in FILTERS}
    stages = tuple(_option(",".join(stage.statuses), stage.title, chosen["status"]) for stage in STAGES)
    choices = [
        Choices(stage.title, tuple(_option(name, status(name).text, chosen["status"]) for name in stage.statuses))
        for stage in STAGES
        if len(stage.statuses) > 1
    ]
    known = {option.value for option in stages} | {option.value for group in choices for option in group.options}
    if chosen["status"] and chosen["status"] not in known:
        own = Option(chosen["status"], word(chosen["status"], 60) or "", chosen=True)
        choices.insert(0, Choices("Selected", (own,)))
    modes = [_option(name, one.text, chosen["mode"]) for name, one in MODES.items()]
    if chosen["mode"] and chosen["mode"] not in MODES:
        modes.insert(0, Option(chosen["mode"], word(chosen["mode"], 60) or "", chosen=True))
    archived = chosen["archived"] or "false"
    return Filled(
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
    for name, (rising, falling) in _SORTED.items():
        yield _option(f"-{name}", falling[0].upper() + falling[1:], chosen or "-updated_at")
        yield _option(name, rising[0].upper() + rising[1:], chosen or "-updated_at")


def _option(value: str, title: str, chosen: str) -> Option:
    return Option(value, title, value == chosen)
