"""The page of one shipment."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from flexportd.core.resources.itinerary import in_order
from flexportd.core.timeline import Family, timeline
from flexportd.expose.api.exceptions import shown_rows
from flexportd.expose.context import PARTS
from flexportd.expose.dashboard.pages.exceptions import Standing, of_shipment
from flexportd.expose.dashboard.pages.shipments import DatedStop, dated, dates
from flexportd.expose.dashboard.view import related
from flexportd.expose.dashboard.view.cargo_rows import Container, Leg, container_rows, leg_rows
from flexportd.expose.dashboard.view.changes import changes_of, event_types
from flexportd.expose.dashboard.view.dates import Sight, When
from flexportd.expose.dashboard.view.history import Cause, causes
from flexportd.expose.dashboard.view.labels import (
    SOURCES,
    Mode,
    Pill,
    Place,
    Text,
    decoded,
    freight,
    many,
    mode,
    place,
    quantity,
    status,
    text,
    word,
)
from flexportd.expose.dashboard.view.related import Links, Related, RelatedRows
from flexportd.expose.dashboard.view.route_bar import Route, route
from flexportd.expose.dashboard.view.timeline import Point, points
from flexportd.expose.dashboard.view.values import NamedValues, ValueGroup
from flexportd.expose.security import authorization
from flexportd.storage.repositories.exceptions import Row
from flexportd.storage.transaction import Session

_CHANGES = 40  # of the shipment itself
_CHANGES_OF_CHILD = 8
_CHILDREN = 12
_CAUSES = 15
_OF_THEIR_OWN = ("container_legs",)  # shown with the containers

_PRIORITIES = {"standard": "Standard", "high": "High"}

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Dossier:
    """What the store says of one shipment. `changes` are rows of the history by (resource, id)."""

    family: Family
    changes: Mapping[tuple[str, int], Rows]
    types: Mapping[str, str | None]
    exceptions: Sequence[Row] = ()
    related: Sequence[RelatedRows] = ()
    links: Links = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShipmentPage:
    """Everything the page of one shipment shows."""

    id: int
    exceptions: tuple[Standing, ...]
    name: Text | None
    mode: Mode | None
    status: Pill
    mark: str | None
    origin: Place | None
    destination: Place | None
    carrier: Text | None
    vessel: Text | None
    stops: tuple[DatedStop, ...]
    route: Route | None
    points: tuple[Point, ...]
    groups: tuple[ValueGroup, ...]
    legs: tuple[Leg, ...]
    containers: tuple[Container, ...]
    causes: tuple[Cause, ...]
    as_of: When | None
    synced: When | None
    source: str
    related: tuple[Related, ...] = ()


def read(request: web.Request, tx: Session, number: int) -> Dossier | None:
    """A shipment that the caller may see, with what the caller may see of it; None for one that is not known."""
    parts = request.app[PARTS]
    family = parts.mirror.family(tx, number)
    if family is None or not authorization.visible(request, tx, parts.registry["shipments"], family.shipment):
        return None  # it may have become another's since the request was let in
    family = replace(family, events=authorization.events(request, family.events))
    children = [("legs", leg) for leg in family.legs] + [("containers", box) for box in family.containers]
    changes = {("shipments", number): changes_of(request, tx, parts.registry["shipments"], family.shipment, _CHANGES)}
    for resource, child in children[:_CHILDREN]:
        found = changes_of(request, tx, parts.registry[resource], child, _CHANGES_OF_CHILD)
        changes[resource, int(child.id)] = found
    types = {event["id"]: event["type"] for event in family.events}
    types |= event_types(request, tx, {row["event_id"] for rows in changes.values() for row in rows} - types.keys())
    return Dossier(
        family,
        changes,
        types,
        shown_rows(request, tx, tx.exceptions.of_shipments([number])),
        related.read(request, tx, parts.registry, (parts.registry["shipments"], number), _OF_THEIR_OWN),
        related.links(request, tx, parts.registry, family.shipment),
    )


def shipment_page(dossier: Dossier, sight: Sight) -> ShipmentPage:
    """One shipment in words."""
    family = dossier.family
    shipment, fields = family.shipment, family.shipment.fields
    return ShipmentPage(
        id=int(shipment.id),
        exceptions=of_shipment(dossier.exceptions, sight),
        name=text(fields["name"], 120),
        mode=mode(fields["mode"]),
        status=status(fields["status"]),
        mark=_mark(shipment.removed_at, fields["archived_at"], sight),
        origin=place(fields, "origin"),
        destination=place(fields, "destination"),
        carrier=text(fields["carrier"], 60),
        vessel=_vessel(fields),
        stops=_stops(fields, sight),
        route=route(family.legs, sight),
        points=points(timeline(family), sight),
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
        causes=causes(_told(dossier), dossier.types, sight)[:_CAUSES],
        as_of=sight.instant(shipment.as_of),
        synced=sight.instant(shipment.synced_at),
        source=SOURCES.get(shipment.source, shipment.source),
        related=related.shown(dossier.related, shipment.id, sight),
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


def _stops(fields: Mapping[str, Any], sight: Sight) -> tuple[DatedStop, ...]:
    """The dates of a shipment, each with its place; those without a date are left out, but for two.

    The place of delivery is left out where it is the inland ramp or the port of unloading.
    """
    is_over = bool(fields["actual_delivered_in_full"]) or fields["status"] == "final_destination"
    found = []
    for name, title, where in _STOPS:
        if where == "place_of_delivery" and fields[where] in (fields["inland_ramp"], fields["port_of_unloading"]):
            continue
        at = dated(fields, name, sight) if name in _ALWAYS else dates(fields, name, sight, passed=is_over)
        if at is not None or name in _ALWAYS:
            found.append(DatedStop(title, place(fields, where), at))
    return tuple(found)


def _legs(family: Family, sight: Sight) -> tuple[Leg, ...]:
    legs = in_order(family.legs)
    rows = leg_rows([leg.fields for leg in legs], sight)
    return tuple(replace(row, url=f"/legs/{leg.id}") for row, leg in zip(rows, legs, strict=False))


def _mark(removed_at: str | None, archived_at: str | None, sight: Sight) -> str | None:
    gone = sight.instant(removed_at or archived_at)
    if gone is None:
        return None
    return f"Deleted at Flexport on {gone.day}" if removed_at else f"Archived on {gone.day}"


def _vessel(fields: Mapping[str, Any]) -> Text | None:
    return text(" ".join(part for part in (fields["vessel"], fields["voyage"]) if part), 60)


def _told(dossier: Dossier) -> list[tuple[dict[str, Any], Text | None]]:
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


def _cargo(fields: Mapping[str, Any], sight: Sight) -> ValueGroup | None:
    ready = sight.calendar_day(fields["cargo_ready_date"])
    pieces = f"{fields['pieces']:,}" if fields["pieces"] else None
    lcl = None if fields["is_lcl"] is None else "Less than a container (LCL)" if fields["is_lcl"] else "Full (FCL)"
    return _group(
        "Cargo",
        (
            ("Service", (text(freight(fields["freight_type"])),)),
            ("Load", (text(lcl),)),
            ("Incoterm", (text(word(fields["incoterm"], 12)),)),
            ("Pieces", (text(pieces),)),
            ("Weight", (text(quantity(fields["weight"])),)),
            ("Volume", (text(quantity(fields["volume"])),)),
            ("Chargeable weight", (text(quantity(fields["chargeable_weight"])),)),
            ("Priority", (text(_PRIORITIES.get(fields["priority"]) or word(fields["priority"])),)),
            ("Cargo ready", (text(ready.text if ready else None),)),
        ),
    )


def _references(fields: Mapping[str, Any], links: Links) -> ValueGroup | None:
    booking = links.get("booking_id") or (text(fields["booking_id"]),)
    return _group(
        "References",
        (
            ("Purchase orders", many(fields["purchase_orders"])),
            ("SKUs", many(fields["skus"])),
            ("House bills", many(fields["house_bills"])),
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
            ("Shipper", many(fields["shippers"])),
            ("Consignee", many(fields["consignees"])),
            ("Seller", many(fields["sellers"])),
            ("Buyer", many(fields["buyers"])),
            ("Importer of record", many(fields["importers_of_record"])),
        ),
    )


def _metadata(fields: Mapping[str, Any]) -> ValueGroup | None:
    """What the client wrote on the shipment: names with a value or a list of them."""
    found = decoded(fields["metadata"])
    if not isinstance(found, dict):
        return None
    facts = []
    for name, value in list(found.items())[:30]:
        values = value if isinstance(value, list) else [value]
        facts.append((word(name) or "(unnamed)", tuple(text(one) for one in values[:12])))
    return _group("Metadata", facts)
