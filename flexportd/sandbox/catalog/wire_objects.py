"""Builders of wire objects in the published shapes: every field of the schema, null where unknown.

`wire_objects.json` has the fields of each object, and the values that are the same for all.
Source: the v2 reference at https://apidocs.flexport.com/v2 and the shapes of recorded responses. Two objects have no
fixed fields: `additional_dates` and a container leg's `dates` contain only known dates.
Wire objects are never changed in place: a change makes a new outer object, so a snapshot is a reference.
"""

import functools
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from flexportd.sandbox.catalog.companies import RETIRED_PRODUCTS, SELLERS, SKUS_OF_SELLER, CatalogProduct, Party
from flexportd.sandbox.catalog.kinds import ALL_PATHS, ENTITY, EVENT, PORT, PRODUCT, Wire
from flexportd.sandbox.catalog.places import COUNTRIES, WorldPlace

_FIELDS: dict[str, Wire] = {
    fields["_object"]: fields for fields in msgspec.json.decode(Path(__file__).with_suffix(".json").read_bytes())
}
# Deprecated on a shipment: equal to the actual date, else the estimated one.
_DEPRECATED = ("departure", "arrival", "picked_up_in_full")
_DOOR_DATES = tuple(
    f"{kind}{name}_in_full_date" for kind in ("estimated_", "actual_", "") for name in ("picked_up", "delivered")
)
_ARCHIVED_AT = "2025-11-19T16:20:08.599Z"


def wire_object(kind: str, /, **fields: Any) -> Wire:
    """An object with all published fields; those that are not given are null, or the same for all objects."""
    return {**_FIELDS[kind], **fields}


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
    return wire_object(
        "/address",
        street_address=place.street,
        city=place.city,
        state=place.state,
        country=place.country,
        country_code=place.country_code,
        zip=place.zip,
        timezone=place.timezone,
        ref=f"id-{place.key.lower()}",
        unlocode=place.unlocode,
    )


def _port_details(place: WorldPlace) -> list[Wire]:
    """Codes of every sort of port a place is; none for an ordinary address."""
    code, kinds = place.port_code, place.kinds
    sorts = (("rail" in kinds, "/ocean/railport"), (bool(kinds), "/trucking/port"), ("sea" in kinds, "/ocean/port"))
    details: list[Wire] = [{"_object": sort, "port_code": code} for holds, sort in sorts if holds]
    if "air" in kinds:
        codes = {"iata_code": place.iata, "icao_code": place.icao}
        details.append(wire_object("/air/port", port_code=code, country_code=place.country_code, **codes))
    return details


@functools.cache
def port(place: WorldPlace) -> Wire:
    """A place, in `/ports` or as the end of a leg; it has no id."""
    return wire_object(PORT, name=place.name, address=address(place), details=_port_details(place))


@functools.cache
def node(place: WorldPlace, tags: tuple[str, ...]) -> Wire:
    """A stop on a route. The terminal is always null in recorded answers."""
    return wire_object("/shipment_node", tags=list(tags), place=port(place))


@functools.cache
def company_entity(party: Party) -> Wire:
    numbers = [
        {"_object": "/company_entity/vat_number", "country_code": code, "number": number}
        for code, number in ([party.vat] if party.vat else [])
    ]
    where = address(party.place)
    return wire_object(ENTITY, id=party.id, name=party.name, ref=party.ref, mailing_address=where, vat_numbers=numbers)


@functools.cache
def product(good: CatalogProduct) -> Wire:
    """One product. Codes are texts: they have dots and leading zeros. Regions share the first six digits."""
    category, is_retired = good.category.lower(), good in RETIRED_PRODUCTS
    return wire_object(
        PRODUCT,
        id=good.id,
        name=good.name,
        sku=good.sku,
        description=f"{good.name} ({category})",
        archived_at=_ARCHIVED_AT if is_retired else None,
        product_category=good.category,
        country_of_origin=COUNTRIES[good.country_code],
        client_verified=not is_retired,
        product_properties=[wire_object("/product/property", value=category)],
        hs_codes=[hs_code(good)],
        classifications=[
            {"_object": "/product/classification", "codes": [code], "region": region}
            for region, code in (("US", good.hs_code), ("EU", good.hs_code[:7]))
        ],
        suppliers=[
            {"_object": "/product/supplier", "id": party.id, "ref": party.ref, "country_of_origin": good.country_code}
            for party in _suppliers(good)
        ],
    )


def hs_code(good: CatalogProduct) -> Wire:
    """The US code of a good."""
    return wire_object("/hs_code", description=good.category, code=good.hs_code)


def _suppliers(good: CatalogProduct) -> list[Party]:
    near = [party for group in SELLERS.values() for party in group if party.place.country_code == good.country_code]
    # A product that is no longer bought is on no list.
    return ([party for party in near if good.sku in SKUS_OF_SELLER[party.name]] or near)[:2]


def shipment_item(number: int, good: CatalogProduct, units: int, purchase_order: str) -> Wire:
    """A line of a shipment or a container."""
    return wire_object(
        "/shipment_item",
        id=number,
        total_units=units,
        total_weight=weight(good.weight * units),
        total_volume=volume(good.volume * units),
        purchase_order_number=purchase_order,
        product=product(good),
    )


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
    recorded, occurred = (utc(stamp) for stamp in stamps)
    about = wire_object("/shipment_event_data", **data)
    return wire_object(EVENT, id=number, created_at=recorded, occurred_at=occurred, type=kind, data=about)
