"""Builders of wire objects in the published shapes: every field of the schema, null where unknown.

Source: the v2 reference at https://apidocs.flexport.com/v2 and the shapes of recorded responses. Two objects have no
fixed fields: `additional_dates` and a container leg's `dates` contain only known dates.
Wire objects are never changed in place: a change makes a new outer object, so a snapshot is a reference.
"""

import functools
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from flexportd.sandbox.catalog.companies import Party
from flexportd.sandbox.catalog.places import WorldPlace

Wire = dict[str, Any]

PATHS = {
    "/shipment": "/shipments",
    "/shipment_leg": "/shipment_legs",
    "/ocean/shipment_container": "/ocean/shipment_containers",
    "/ocean/shipment_container_leg": "/ocean/shipment_container_legs",
    "/event": "/events",
}
SHIPMENT, LEG, CONTAINER, CONTAINER_LEG, EVENT = PATHS
# Objects that follow from shipments, and other objects of an account.
DERIVED_PATHS = {
    "/booking": "/bookings",
    "/purchase_orders/booking_line_item": "/booking_line_items",
    "/purchase_order": "/purchase_orders",
    "/purchase_orders/line_item": "/purchase_order_line_items",
    "/invoice": "/invoices",
    "/commercial_invoice": "/commercial_invoices",
    "/customs_entry": "/customs_entries",
    "/document": "/documents",
    "/product": "/products",
    "/network/company": "/network/companies",
    "/company_entity": "/network/company_entities",
    "/network/contact": "/network/contacts",
    "/network/location": "/network/locations",
    "/place": "/ports",
}
BOOKING, BOOKING_LINE, ORDER, ORDER_LINE, INVOICE, COMMERCIAL_INVOICE, CUSTOMS_ENTRY, DOCUMENT = list(DERIVED_PATHS)[:8]
PRODUCT, COMPANY, ENTITY, CONTACT, LOCATION, PORT = list(DERIVED_PATHS)[8:]
ALL_PATHS = PATHS | DERIVED_PATHS

LEG_DATES = ("estimated_departure_date", "actual_departure_date", "estimated_arrival_date", "actual_arrival_date")
# Deprecated on a shipment: equal to the actual date, else the estimated one.
_DEPRECATED = ("departure", "arrival", "picked_up_in_full")
_DOOR_DATES = tuple(
    f"{kind}{name}_in_full_date" for kind in ("estimated_", "actual_", "") for name in ("picked_up", "delivered")
)


def utc(moment: datetime) -> str:
    """A `..._at`: UTC with milliseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def local(moment: datetime | None) -> str | None:
    """A transport time: with the offset of its place."""
    return None if moment is None else moment.isoformat(timespec="milliseconds")


def day(moment: date) -> str:
    """A plain date."""
    return moment.isoformat()[:10]


class Links:
    """Makes links to one host."""

    def __init__(self, base: str) -> None:
        self._base = base.rstrip("/")

    def url(self, path: str) -> str:
        """The address of a path on that host."""
        return self._base + path

    def to_object(self, kind: str, number: int | str) -> Wire:
        """A reference to one object."""
        return {
            "_object": "/api/refs/object",
            "ref_type": kind,
            "link": f"{self._base}{ALL_PATHS[kind]}/{number}",
            "id": number,
        }

    def to_list(self, kind: str, condition: str) -> Wire:
        """A reference to a filtered list."""
        return {
            "_object": "/api/refs/collection",
            "ref_type": kind,
            "link": f"{self._base}{ALL_PATHS[kind]}?{condition}",
        }


def weight(kilograms: float) -> Wire:
    return {"_object": "/quantity/weight", "value": round(kilograms, 2), "unit": "kg"}


def volume(cubic_metres: float) -> Wire:
    return {"_object": "/quantity/volume", "value": round(cubic_metres, 2), "unit": "cbm"}


def money(amount: Decimal, currency: str = "USD") -> Wire:
    return {"_object": "/money", "amount": str(amount), "currency_code": currency}


def address(place: WorldPlace) -> Wire:
    return {
        "_object": "/address",
        "street_address": place.street,
        "street_address2": None,
        "city": place.city,
        "state": place.state,
        "country": place.country,
        "country_code": place.country_code,
        "zip": place.zip,
        "timezone": place.timezone,
        "ref": f"id-{place.key.lower()}",
        "unlocode": place.unlocode,
    }


def _port_details(place: WorldPlace) -> list[Wire]:
    """Codes of every sort of port a place is; none for an ordinary address."""
    code = place.port_code
    details: list[Wire] = []
    if "rail" in place.kinds:
        details.append({"_object": "/ocean/railport", "port_code": code})
    if place.kinds:
        details.append({"_object": "/trucking/port", "port_code": code})
    if "sea" in place.kinds:
        details.append({"_object": "/ocean/port", "port_code": code})
    if "air" in place.kinds:
        details.append(
            {
                "_object": "/air/port",
                "port_code": code,
                "country_code": place.country_code,
                "iata_code": place.iata,
                "icao_code": place.icao,
            }
        )
    return details


@functools.cache
def port(place: WorldPlace) -> Wire:
    """A place, in `/ports` or as the end of a leg; it has no id."""
    return {"_object": PORT, "name": place.name, "address": address(place), "details": _port_details(place)}


@functools.cache
def node(place: WorldPlace, tags: tuple[str, ...]) -> Wire:
    """A stop on a route. The terminal is always null in recorded answers."""
    return {"_object": "/shipment_node", "tags": list(tags), "place": port(place), "terminal": None}


@functools.cache
def company_entity(party: Party) -> Wire:
    numbers = [party.vat] if party.vat else []
    return {
        "_object": "/company_entity",
        "id": party.id,
        "name": party.name,
        "ref": party.ref,
        "mailing_address": address(party.place),
        "vat_numbers": [
            {"_object": "/company_entity/vat_number", "country_code": code, "number": number}
            for code, number in numbers
        ],
    }


def ocean_shipment(number: int, links: Links, *, is_lcl: bool) -> Wire:
    """Without bills and the carrier's booking number until they are issued; the house bill is empty until then."""
    return {
        "_object": "/ocean/shipment",
        "is_lcl": is_lcl,
        "house_bill_number": "",
        "master_bill_number": None,
        "carrier_booking_number": None,
        "containers": links.to_list(CONTAINER, f"f.shipment.id={number}"),
    }


def air_shipment(chargeable_kilograms: float, cubic_metres: float) -> Wire:
    return {
        "_object": "/air/shipment",
        "house_airway_bill": "",
        "master_airway_bill": None,
        "chargeable_weight": weight(chargeable_kilograms),
        "chargeable_volume": volume(cubic_metres),
    }


def mode_detail(mode: str, number: int, vehicle: Wire, links: Links) -> Wire:
    """The four mode sub-objects of a leg: exactly one is an object."""
    boxes = links.to_list(CONTAINER_LEG, f"f.leg.id={number}")
    air = {"iata_code": vehicle.get("iata_code"), "icao_code": vehicle.get("icao_code")}
    sea = {name: vehicle.get(name) for name in ("scac_code", "vessel_name", "vessel_imo", "voyage_number")}
    road = {
        "tracking_number": vehicle.get("tracking_number"),
        "service_type": vehicle.get("service_type"),
        "pieces": None,
    }
    # A truck without containers has no list of them, as recorded for air, LTL and FTL.
    road_boxes = boxes if vehicle.get("service_type") == "drayage" else None
    details: dict[str, Wire] = {
        "air": {
            "_object": "/air/shipment_leg",
            **air,
            "flight_number": vehicle.get("flight_number"),
            "pieces": None,
        },
        "ocean": {"_object": "/ocean/shipment_leg", **sea, "container_legs": boxes},
        "truck": {"_object": "/trucking/shipment_leg", **road, "container_legs": road_boxes},
        "rail": {"_object": "/rail/shipment_leg", "container_legs": boxes},
    }
    names = {"air_leg": "air", "ocean_leg": "ocean", "trucking_leg": "truck", "rail_leg": "rail"}
    return {name: details[of] if of == mode else None for name, of in names.items()}


def container_leg(number: int, ends: tuple[int, int], links: Links) -> Wire:
    """One container on one leg, by their ids."""
    return {
        "_object": CONTAINER_LEG,
        "id": number,
        "shipment_container": links.to_object(CONTAINER, ends[0]),
        "leg": links.to_object(LEG, ends[1]),
        "dates": {},
    }


def with_deprecated(shipment: Wire) -> Wire:
    """The shipment with its deprecated dates brought in line with the others; changes the object given."""
    for name in _DEPRECATED:
        shipment[f"{name}_date"] = shipment[f"actual_{name}_date"] or shipment[f"estimated_{name}_date"]
    shipment["delivered_in_full_date"] = shipment["actual_delivered_in_full_date"]
    return shipment


def list_entry(shipment: Wire) -> Wire:
    """A shipment as it appears in a list, with less data than the single shipment at the same `updated_at`.

    Recorded entries have no metadata, write the times of pickup and delivery in UTC, and house bills in another order.
    """
    entry = {**shipment, "metadata": {}}
    for name in _DOOR_DATES:
        if entry[name]:
            entry[name] = utc(datetime.fromisoformat(entry[name]))
    sea = entry["ocean_shipment"]
    if sea and sea["house_bill_number"]:
        bills = sea["house_bill_number"].split(", ")
        entry["ocean_shipment"] = {**sea, "house_bill_number": ", ".join(reversed(bills))}
    return entry


def event(number: int, kind: str, stamps: tuple[datetime, datetime], data: Wire) -> Wire:
    """An event as sent and listed; `stamps` are when it was recorded and when it happened."""
    return {
        "_object": EVENT,
        "id": number,
        "version": 2,
        "created_at": utc(stamps[0]),
        "occurred_at": utc(stamps[1]),
        "type": kind,
        "data": {"_object": "/shipment_event_data", **data},
    }
