"""The page of one shipment."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from flexportd.core.resources.itinerary import sort_legs
from flexportd.core.timeline import ShipmentBundle, timeline
from flexportd.expose.api.exceptions import visible_rows
from flexportd.expose.context import READS, REGISTRY
from flexportd.expose.dashboard.pages.exceptions import ExceptionListRow, shipment_exceptions
from flexportd.expose.dashboard.pages.shipments import StopRow, date_cell, shipment_date_cell
from flexportd.expose.dashboard.view import related
from flexportd.expose.dashboard.view.cargo_rows import ContainerRow, LegRow, container_rows, leg_rows
from flexportd.expose.dashboard.view.changes import changes_of, event_types
from flexportd.expose.dashboard.view.dates import DateText, ViewContext
from flexportd.expose.dashboard.view.history import ChangeGroup, change_groups
from flexportd.expose.dashboard.view.labels import (
    SOURCES,
    Badge,
    Mode,
    PlaceText,
    Text,
    freight_type_text,
    json_or_none,
    list_preview,
    mode,
    place,
    quantity,
    short_text,
    status,
    text,
)
from flexportd.expose.dashboard.view.related import Links, RelatedData, RelatedGroup
from flexportd.expose.dashboard.view.route_bar import RouteBar, route_bar
from flexportd.expose.dashboard.view.timeline import TimelineRow, timeline_rows
from flexportd.expose.dashboard.view.values import NamedValues, ValueGroup
from flexportd.expose.security import authorization
from flexportd.storage.repositories.exceptions import ExceptionRow
from flexportd.storage.transaction import Transaction

_CHANGES = 40  # of the shipment itself
_CHANGES_OF_CHILD = 8
_CHILDREN = 12
_CAUSES = 15
_SHOWN_ELSEWHERE = ("container_legs",)  # shown with the containers

_PRIORITIES = {"standard": "Standard", "high": "High"}

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ShipmentData:
    """What the store says of one shipment. `changes` are rows of the history by (resource, id)."""

    family: ShipmentBundle
    changes: Mapping[tuple[str, int], Rows]
    types: Mapping[str, str | None]
    exceptions: Sequence[ExceptionRow] = ()
    related: Sequence[RelatedData] = ()
    links: Links = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShipmentPage:
    """Everything the page of one shipment shows."""

    id: int
    exceptions: tuple[ExceptionListRow, ...]
    name: Text | None
    mode: Mode | None
    status: Badge
    mark: str | None
    origin: PlaceText | None
    destination: PlaceText | None
    carrier: Text | None
    vessel: Text | None
    stops: tuple[StopRow, ...]
    route: RouteBar | None
    points: tuple[TimelineRow, ...]
    groups: tuple[ValueGroup, ...]
    legs: tuple[LegRow, ...]
    containers: tuple[ContainerRow, ...]
    causes: tuple[ChangeGroup, ...]
    as_of: DateText | None
    synced: DateText | None
    source: str
    related: tuple[RelatedGroup, ...] = ()


def read(request: web.Request, tx: Transaction, number: int) -> ShipmentData | None:
    """A shipment that the caller may see, with what the caller may see of it; None for one that is not known."""
    registry = request.app[REGISTRY]
    family = request.app[READS].shipment_bundle(tx, number)
    if family is None or not authorization.is_visible(request, tx, registry["shipments"], family.shipment):
        return None  # it may have become another's since the request was let in
    family = replace(family, events=authorization.visible_events(request, family.events))
    children = [("legs", leg) for leg in family.legs] + [("containers", box) for box in family.containers]
    changes = {("shipments", number): changes_of(request, tx, registry["shipments"], family.shipment, _CHANGES)}
    for resource, child in children[:_CHILDREN]:
        found = changes_of(request, tx, registry[resource], child, _CHANGES_OF_CHILD)
        changes[resource, int(child.id)] = found
    types = {event["id"]: event["type"] for event in family.events}
    types |= event_types(request, tx, {row["event_id"] for rows in changes.values() for row in rows} - types.keys())
    return ShipmentData(
        family,
        changes,
        types,
        visible_rows(request, tx, tx.exceptions.of_shipments([number])),
        related.read(request, tx, registry, (registry["shipments"], number), _SHOWN_ELSEWHERE),
        related.links(request, tx, registry, family.shipment),
    )


def shipment_page(dossier: ShipmentData, sight: ViewContext) -> ShipmentPage:
    """One shipment in words."""
    family = dossier.family
    shipment, fields = family.shipment, family.shipment.fields
    return ShipmentPage(
        id=int(shipment.id),
        exceptions=shipment_exceptions(dossier.exceptions, sight),
        name=text(fields["name"], 120),
        mode=mode(fields["mode"]),
        status=status(fields["status"]),
        mark=_mark(shipment.removed_at, fields["archived_at"], sight),
        origin=place(fields, "origin"),
        destination=place(fields, "destination"),
        carrier=text(fields["carrier"], 60),
        vessel=_vessel(fields),
        stops=_stops(fields, sight),
        route=route_bar(family.legs, sight),
        points=timeline_rows(timeline(family), sight),
        groups=tuple(
            group
            for group in (
                _cargo(fields, sight),
                _references(fields, dossier.links),
                _parties(fields),
                _metadata(fields),
            )
            if group
        ),
        legs=_legs(family, sight),
        containers=container_rows(family, sight),
        causes=change_groups(_all_changes(dossier), dossier.types, sight)[:_CAUSES],
        as_of=sight.instant(shipment.as_of),
        synced=sight.instant(shipment.synced_at),
        source=SOURCES.get(shipment.source, shipment.source),
        related=related.related_groups(dossier.related, shipment.id, sight),
    )


_STOPS = (
    ("picked_up_in_full", "Pickup", "origin"),
    ("departure", "Departure", "port_of_loading"),
    ("arrival", "Arrival", "port_of_unloading"),
    ("ramp_arrival", "Ramp arrival", "inland_ramp"),
    ("place_of_delivery_arrival", "Place of delivery", "place_of_delivery"),
    ("delivered_in_full", "Delivery", "destination"),
)
_ALWAYS = ("departure", "arrival")


def _stops(fields: Mapping[str, Any], sight: ViewContext) -> tuple[StopRow, ...]:
    """The dates of a shipment, each with its place; those without a date are left out, but for two.

    The place of delivery is left out where it is the inland ramp or the port of unloading.
    """
    is_over = bool(fields["actual_delivered_in_full"]) or fields["status"] == "final_destination"
    found = []
    for name, title, where in _STOPS:
        if where == "place_of_delivery" and fields[where] in (fields["inland_ramp"], fields["port_of_unloading"]):
            continue
        at = (
            shipment_date_cell(fields, name, sight)
            if name in _ALWAYS
            else date_cell(fields, name, sight, passed=is_over)
        )
        if at is not None or name in _ALWAYS:
            found.append(StopRow(title, place(fields, where), at))
    return tuple(found)


def _legs(family: ShipmentBundle, sight: ViewContext) -> tuple[LegRow, ...]:
    legs = sort_legs(family.legs)
    rows = leg_rows([leg.fields for leg in legs], sight)
    return tuple(replace(row, url=f"/legs/{leg.id}") for row, leg in zip(rows, legs, strict=False))


def _mark(removed_at: str | None, archived_at: str | None, sight: ViewContext) -> str | None:
    gone = sight.instant(removed_at or archived_at)
    if gone is None:
        return None
    return f"Deleted at Flexport on {gone.day}" if removed_at else f"Archived on {gone.day}"


def _vessel(fields: Mapping[str, Any]) -> Text | None:
    return text(" ".join(part for part in (fields["vessel"], fields["voyage"]) if part), 60)


def _all_changes(dossier: ShipmentData) -> list[tuple[dict[str, Any], Text | None]]:
    """All changes, newest first, each with the leg or container it happened to."""
    subjects: dict[tuple[str, int], Text | None] = {}
    for leg in dossier.family.legs:
        ends = [leg.fields["origin"] or "?", leg.fields["destination"] or "?"]
        subjects["legs", int(leg.id)] = text(" → ".join(end[:40] for end in ends), 90)
    for box in dossier.family.containers:
        subjects["containers", int(box.id)] = text(box.fields["container_number"] or f"Container {box.id}", 40)
    rows = [(row, subjects.get(key)) for key, found in dossier.changes.items() for row in found]
    return sorted(rows, key=lambda one: -int(one[0]["id"]))


def _group(title: str, facts: Iterable[tuple[str, Sequence[Text | None]]]) -> ValueGroup | None:
    found = []
    for name, values in facts:
        known = tuple(value for value in values if value is not None)
        if known:
            found.append(NamedValues(name, known))
    return ValueGroup(title, tuple(found)) if found else None


def _cargo(fields: Mapping[str, Any], sight: ViewContext) -> ValueGroup | None:
    ready = sight.calendar_day(fields["cargo_ready_date"])
    pieces = f"{fields['pieces']:,}" if fields["pieces"] else None
    lcl = None if fields["is_lcl"] is None else "Less than a container (LCL)" if fields["is_lcl"] else "Full (FCL)"
    return _group(
        "Cargo",
        (
            ("Service", (text(freight_type_text(fields["freight_type"])),)),
            ("Load", (text(lcl),)),
            ("Incoterm", (text(short_text(fields["incoterm"], 12)),)),
            ("Pieces", (text(pieces),)),
            ("Weight", (text(quantity(fields["weight"])),)),
            ("Volume", (text(quantity(fields["volume"])),)),
            ("Chargeable weight", (text(quantity(fields["chargeable_weight"])),)),
            ("Priority", (text(_PRIORITIES.get(fields["priority"]) or short_text(fields["priority"])),)),
            ("Cargo ready", (text(ready.text if ready else None),)),
        ),
    )


def _references(fields: Mapping[str, Any], links: Links) -> ValueGroup | None:
    booking = links.get("booking_id") or (text(fields["booking_id"]),)
    return _group(
        "References",
        (
            ("Purchase orders", list_preview(fields["purchase_orders"])),
            ("SKUs", list_preview(fields["skus"])),
            ("House bills", list_preview(fields["house_bills"])),
            ("Master bill", (text(fields["master_bill"], 60),)),
            ("Carrier booking", (text(fields["carrier_booking_number"], 60),)),
            ("Flexport booking", booking),
            ("IT number", (text(fields["it_number"], 60),)),
        ),
    )


def _parties(fields: Mapping[str, Any]) -> ValueGroup | None:
    return _group(
        "Parties",
        (
            ("Shipper", list_preview(fields["shippers"])),
            ("Consignee", list_preview(fields["consignees"])),
            ("Seller", list_preview(fields["sellers"])),
            ("Buyer", list_preview(fields["buyers"])),
            ("Importer of record", list_preview(fields["importers_of_record"])),
        ),
    )


def _metadata(fields: Mapping[str, Any]) -> ValueGroup | None:
    """What the client wrote on the shipment: names with a value or a list of them."""
    found = json_or_none(fields["metadata"])
    if not isinstance(found, dict):
        return None
    facts = []
    for name, value in list(found.items())[:30]:
        values = value if isinstance(value, list) else [value]
        facts.append((short_text(name) or "(unnamed)", tuple(text(one) for one in values[:12])))
    return _group("Metadata", facts)
