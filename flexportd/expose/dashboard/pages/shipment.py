"""The page of one shipment."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from types import SimpleNamespace
from typing import Any

from aiohttp import web

from flexportd.core.resources.itinerary import sort_legs
from flexportd.core.resources.shipments import RESOURCE_TYPE
from flexportd.core.timeline import ShipmentBundle, timeline
from flexportd.errors import NotFoundError
from flexportd.expose.api.exceptions import visible_rows
from flexportd.expose.api.shipments import visible_shipment_id
from flexportd.expose.context import READS, REGISTRY
from flexportd.expose.dashboard.page import PageTable, no_query, redirect
from flexportd.expose.dashboard.view import related
from flexportd.expose.dashboard.view.alerts import PageContext, object_exceptions
from flexportd.expose.dashboard.view.dates import ViewContext
from flexportd.expose.dashboard.view.history import change_groups
from flexportd.expose.dashboard.view.labels import (
    SOURCES,
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
    vessel_text,
)
from flexportd.expose.dashboard.view.related import Links, RelatedData
from flexportd.expose.dashboard.view.shipment_rows import (
    container_rows,
    leg_rows,
    route_bar,
    stop_rows,
    timeline_rows,
)
from flexportd.expose.dashboard.view.values import NamedValues, value_group
from flexportd.expose.openapi.router import resolve_reference
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

PAGES = PageTable("shipments")


@dataclass(frozen=True, slots=True)
class ShipmentData:
    """A shipment with all that belongs to it. `changes` are rows of the history by (resource, id)."""

    bundle: ShipmentBundle
    changes: Mapping[tuple[str, int], Rows]
    types: Mapping[str, str | None]
    exceptions: Sequence[ExceptionRow] = ()
    related: Sequence[RelatedData] = ()
    links: Links = field(default_factory=dict)


async def _query(request: web.Request) -> int | web.StreamResponse:
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


def read(tx: Transaction, request: web.Request, number: int) -> ShipmentData:
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
        related.read(request, tx, app[REGISTRY], (RESOURCE_TYPE, number), _SHOWN_ELSEWHERE),
        related.links(request, tx, app[REGISTRY], bundle.shipment),
    )


@PAGES.page("/shipments/{id}", "shipment.html", query=_query, read=read, is_cached=lambda _: True, for_audiences=True)
def shipment_page(data: ShipmentData, context: PageContext) -> SimpleNamespace:
    """One shipment."""
    bundle, view = data.bundle, context.view
    shipment, fields = bundle.shipment, bundle.shipment.fields
    groups = (_cargo(fields, view), _references(fields, data.links), _parties(fields), _metadata(fields))
    legs = [{"id": leg.id, **leg.fields} for leg in sort_legs(bundle.legs)]
    return SimpleNamespace(
        id=int(shipment.id),
        exceptions=object_exceptions(data.exceptions, view),
        name=text(fields["name"], 120),
        mode=mode(fields["mode"]),
        status=status(fields["status"]),
        mark=related.removed_mark(shipment.removed_at, view) or _archived_mark(fields["archived_at"], view),
        origin=place(fields, "origin"),
        destination=place(fields, "destination"),
        carrier=text(fields["carrier"], 60),
        vessel=vessel_text(fields),
        stops=stop_rows(fields, view),
        route=route_bar(legs, view),
        points=timeline_rows(timeline(bundle), view),
        groups=tuple(chain.from_iterable(groups)),
        legs=leg_rows(legs, view),
        containers=container_rows(bundle, view),
        causes=change_groups(_all_changes(data), data.types, view)[:_CAUSES],
        as_of=view.instant(shipment.as_of),
        synced=view.instant(shipment.synced_at),
        source=SOURCES.get(shipment.source, shipment.source),
        related=related.related_groups(data.related, shipment.id, view),
    )


def _archived_mark(archived_at: str | None, view: ViewContext) -> str | None:
    at = view.instant(archived_at)
    return f"Archived on {at.day}" if at else None


def _all_changes(data: ShipmentData) -> list[tuple[dict[str, Any], Text | None]]:
    """All changes, newest first, each with its leg or container."""
    subjects: dict[tuple[str, int], Text | None] = {}
    for leg in data.bundle.legs:
        ends = [leg.fields["origin"] or "?", leg.fields["destination"] or "?"]
        subjects["legs", int(leg.id)] = text(" → ".join(end[:40] for end in ends), 90)
    for box in data.bundle.containers:
        subjects["containers", int(box.id)] = text(box.fields["container_number"] or f"Container {box.id}", 40)
    rows = [(row, subjects.get(key)) for key, changes in data.changes.items() for row in changes]
    return sorted(rows, key=lambda pair: -int(pair[0]["id"]))


def _group(title: str, values: Iterable[tuple[str, Sequence[Text | None]]]) -> tuple[SimpleNamespace, ...]:
    known = [(name, tuple(value for value in parts if value is not None)) for name, parts in values]
    return value_group(title, [NamedValues(name, parts) for name, parts in known if parts])


def _cargo(fields: Mapping[str, Any], view: ViewContext) -> tuple[SimpleNamespace, ...]:
    ready = view.calendar_day(fields["cargo_ready_date"])
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


def _references(fields: Mapping[str, Any], links: Links) -> tuple[SimpleNamespace, ...]:
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


def _parties(fields: Mapping[str, Any]) -> tuple[SimpleNamespace, ...]:
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


def _metadata(fields: Mapping[str, Any]) -> tuple[SimpleNamespace, ...]:
    """The client's own labels: names with a value or a list of values."""
    metadata = json_or_none(fields["metadata"])
    values = []
    for name, value in list(metadata.items())[:30] if isinstance(metadata, dict) else ():
        parts = value if isinstance(value, list) else [value]
        values.append((short_text(name) or "(unnamed)", tuple(text(part) for part in parts[:12])))
    return _group("Metadata", values)
