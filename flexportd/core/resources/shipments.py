"""Shipments: cargo from seller to door, with data of their legs and containers."""

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from operator import itemgetter
from typing import Any

import msgspec

from flexportd.core.labels import format_day
from flexportd.core.resources.itinerary import ROUTE_FIELDS, place_descriptions
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import (
    at_place,
    json_text,
    quantity,
    split_joined,
    text,
    texts,
)
from flexportd.flexport.models import fast_models
from flexportd.flexport.models.shipments import Shipment
from flexportd.flexport.models.wire import Quantity, is_decimal
from flexportd.storage.queries.filters import Filter, any_of, before, before_day, from_day, is_present, since
from flexportd.storage.queries.freight_filters import WITH_OPEN_EXCEPTION, contains_or_reference, has_reference
from flexportd.storage.queries.table import Field, Table, plain_fields, plausible_or_none
from flexportd.storage.search_index import FILTERS as FOUND

_KINDS = ("estimated", "actual")
OWN_DATES = tuple(
    f"{kind}_{name}" for name in ("picked_up_in_full", "departure", "arrival", "delivered_in_full") for kind in _KINDS
)
"""Flexport's dates of the shipment itself."""

OWN_DATE_FIELDS = tuple(f"own_{name}" for name in OWN_DATES)
"""Their fields, as written by Flexport."""

own_dates: Callable[[Mapping[str, Any]], tuple[Any, ...]] = itemgetter(*OWN_DATE_FIELDS)
"""The values of these fields."""

DATES: Mapping[str, str] = {
    f"{kind}_{name}": place
    for name, place in (
        ("picked_up_in_full", "origin"),
        ("departure", "port_of_loading"),
        ("arrival", "port_of_unloading"),
        ("ramp_arrival", "inland_ramp"),
        ("place_of_delivery_arrival", "place_of_delivery"),
        ("delivered_in_full", "destination"),
    )
    for kind in _KINDS
}
"""The dates of a shipment, each with its place."""

BEST_KNOWN = ("departure", "arrival")
"""Those with a field for the best known date: the actual one, else the estimated."""

_DATES_TO_FILTER_BY = (
    ("eta", "eta_date", "arrival at the port of unloading"),
    ("departure", "etd_date", "departure from the port of loading"),
    ("ramp_eta", "ramp_date", "arrival at the inland ramp"),
    ("delivery", "delivery_date", "delivery in full at the destination"),
)


def _date_filters() -> dict[str, Filter]:
    """Filters by the best-known dates: the actual date, else the estimated one. That of ETA takes a time as well."""
    filters: dict[str, Filter] = {}
    for name, column, event in _DATES_TO_FILTER_BY:
        or_time = ", or this time" if name == "eta" else ""
        filters[f"{name}_before"] = before_day(column, f"With the {event} before this day at the place{or_time}.")
        filters[f"{name}_after"] = from_day(column, f"With the {event} on or after this day at the place{or_time}.")
    for name, by_time in (("eta_before", before("eta_at")), ("eta_after", since("eta_at"))):
        filters[name] = replace(filters[name], value_type="day_or_time")
        filters[f"{name}_at"] = by_time.internal()
    return filters


_SHOWN_OF_ROUTE = tuple(name for name in ROUTE_FIELDS if name not in ("route_dates", "has_ramp"))

_ABOUT_PLACES = {
    "origin": "Where the first leg starts.",
    "port_of_loading": "Port or airport where the main carriage starts. Null by road: departure is from `origin`.",
    "port_of_unloading": "Port or airport where the main carriage ends. Null by road: arrival is at `destination`.",
    "inland_ramp": "Inland rail terminal to which the carrier takes containers from the port of unloading.",
    "place_of_delivery": "Where the carrier's transport ends.",
    "destination": "Where the last leg ends.",
}
_ABOUT = {
    **{
        name: words
        for place, words in _ABOUT_PLACES.items()
        for name, words in place_descriptions(place, words).items()
    },
    "scac": "SCAC of the ocean carrier.",
    "vessel_imo": "IMO number of the vessel.",
    "flight": "Flight designator, such as BR 652.",
}

TABLE = Table(
    name="shipments",
    fields=(
        *plain_fields("name", "mode", "status", "freight_type", "incoterm", "priority"),
        Field("pieces", "integer"),
        Field("weight", "json", description='Gross weight; null for 0, which is Flexport\'s "unknown", and below.'),
        Field("volume", "json", description='Null for 0, which is Flexport\'s "unknown", and below.'),
        Field(
            "chargeable_weight",
            "json",
            description="Of freight by air, in kg, calculated by flexportd: the gross weight, or the volume at 6000 "
            "cm3 per kg, whichever is more. Null unless both are known.",
        ),
        *(Field(name, "moment", zone=f"{place}_timezone") for name, place in DATES.items()),
        *(
            Field(
                name,
                "moment",
                zone=f"{DATES[f'actual_{name}']}_timezone",
                first_of=(f"actual_{name}", f"estimated_{name}"),
                description="Best known: the actual date, else the estimated one.",
            )
            for name in BEST_KNOWN
        ),
        Field("cargo_ready_date", "day"),
        *plain_fields("created_at", "archived_at"),
        Field("house_bills", "list"),
        *plain_fields("master_bill", "carrier_booking_number"),
        Field("is_lcl", "boolean"),
        Field("it_number"),
        *plain_fields("purchase_orders", "skus", "shippers", "consignees", "buyers", "sellers", kind="list"),
        Field("importers_of_record", "list"),
        Field("booking_id", "integer"),
        Field("metadata", "json"),
        *(
            Field(name, "list" if name == "container_numbers" else "text", description=_ABOUT.get(name, ""))
            for name in _SHOWN_OF_ROUTE
        ),
        Field(
            "date_sources",
            "json",
            derived=True,
            description="Where each date comes from: `shipment` or `legs/<id>`. Null with as_of.",
        ),
        *(Field(name, internal=True) for name in OWN_DATE_FIELDS),
        Field("route_dates", "json", internal=True),
        Field("has_ramp", "boolean", internal=True),
    ),
    sorts={"as_of": "as_of", "id": "id", "eta_at": "eta_at"},
    filters={
        "status": any_of("status"),
        "mode": any_of("mode"),
        "q": contains_or_reference("name", "CAST(id AS TEXT)"),
        **_date_filters(),
        "updated_since": since("as_of"),
        "container": has_reference("container", description="With this container number."),
        "po": has_reference("po", description="With this purchase order number."),
        "sku": has_reference("sku", description="With this SKU."),
        "bill": has_reference(
            "bill", "booking", description="With this house bill, master bill or carrier booking number."
        ),
        "exception": WITH_OPEN_EXCEPTION,
        "archived": is_present("archived_at", "archived at Flexport"),
        **FOUND,
    },
    computed={"eta_at": ("actual_arrival", "estimated_arrival")},
)


_PARTIES = ("shippers", "consignees", "buyers", "sellers", "importers_of_record")


def computed_fields(shipment: Shipment) -> dict[str, Any]:
    """The fields of a shipment from its pieces, parties, bills and goods."""
    return {
        "pieces": shipment.pieces if shipment.pieces and shipment.pieces > 0 else None,  # 0 is Flexport's "unknown"
        "chargeable_weight": _chargeable_weight(shipment),
        **{name: texts(party.name for party in getattr(shipment, name) or ()) for name in _PARTIES},
        **_bill_fields(shipment),
        **_goods_fields(shipment),
    }


# What a unit of Flexport's is in kilograms or cubic metres (exact, by the international yard and pound).
_KILOGRAMS = {"kg": Decimal(1), "lbs": Decimal("0.45359237")}
_CUBIC_METRES = {"cbm": Decimal(1), "cbft": Decimal("0.028316846592")}
_MAX_QUANTITY = 10**9
_VOLUMETRIC = Decimal(6000)  # cubic centimetres of freight by air that count as a kilogram (IATA TACT rules 3.9)


def _chargeable_weight(shipment: Shipment) -> str | None:
    """The chargeable weight of air freight, in kg: the gross weight, or the volume at 6000 cm3 per kg if that is more.

    Calculated here, to 0.01 kg; carriers round up to the next half kilogram. None for other modes, and unless both
    weight and volume are known.
    """
    if text(shipment.transportation_mode) != "air":
        return None
    weight = _in_base_unit(shipment.calculated_weight, _KILOGRAMS)
    volume = _in_base_unit(shipment.calculated_volume, _CUBIC_METRES)
    if weight is None or volume is None:
        return None
    found = float(round(max(weight, volume * 1_000_000 / _VOLUMETRIC), 2))
    return json_text({"value": int(found) if found.is_integer() else found, "unit": "kg"})


def _in_base_unit(value: Quantity | None, units: Mapping[str, Decimal]) -> Decimal | None:
    """A weight in kilograms or a volume in cubic metres; None if unknown, in another unit, or implausibly large."""
    factor = None if value is None else units.get((value.unit or "").strip().casefold())
    if value is None or factor is None or quantity(value) is None or not is_decimal(str(value.value).strip()):
        return None
    found = Decimal(str(value.value).strip())
    return found * factor if found < _MAX_QUANTITY else None


def _bill_fields(shipment: Shipment) -> dict[str, Any]:
    ocean, air = shipment.ocean_shipment, shipment.air_shipment
    house = (ocean.house_bill_number if ocean else None) or (air.house_airway_bill if air else None)
    master = (ocean.master_bill_number if ocean else None) or (air.master_airway_bill if air else None)
    return {
        "house_bills": texts(split_joined(house)),
        "master_bill": text(master),
        "carrier_booking_number": text(ocean.carrier_booking_number) if ocean else None,
        "is_lcl": ocean.is_lcl if ocean else None,
    }


_PO = re.compile(r"(p\.?\s*o\.?|purchase[ _-]?orders?)\s*(#|no\.?|num(ber)?s?)?", re.IGNORECASE)
_SKU = re.compile(r"skus?\s*(#|no\.?|num(ber)?s?)?", re.IGNORECASE)
_MAX_KEY_LENGTH = 40  # characters of a metadata key


def _goods_fields(shipment: Shipment) -> dict[str, Any]:
    """POs and SKUs: from the items, which Flexport fills late, and from metadata under a matching key."""
    items = shipment.items or []
    orders = [part for item in items for part in split_joined(item.purchase_order_number)]
    skus = [item.product.sku for item in items if item.product]
    return {
        "purchase_orders": texts([*orders, *_metadata(shipment.metadata, "po")]),
        "skus": texts([*skus, *_metadata(shipment.metadata, "sku")]),
    }


def with_booked_orders(orders: str | None, metadata: Iterable[str | None]) -> str | None:
    """Purchase orders, and those in the metadata of the shipment's bookings. All are JSON texts, as stored."""
    found: list[str] = msgspec.json.decode(orders) if orders else []
    booked = [order for one in metadata if one for order in _metadata(msgspec.json.decode(one), "po")]
    return texts([*found, *booked])


def own_orders(raw: str) -> str | None:
    """The purchase orders that a shipment itself names, from Flexport's JSON."""
    orders: str | None = _goods_fields(fast_models.load_fast(Shipment, raw.encode())[0])["purchase_orders"]
    return orders


def _key_means(key: str) -> str | None:
    """The meaning of a metadata key by its name: `po`, `sku` or None."""
    name = key.strip()
    return _name_means(name) if len(name) <= _MAX_KEY_LENGTH else None


@functools.lru_cache(maxsize=1024)
def _name_means(name: str) -> str | None:
    return "po" if _PO.fullmatch(name) else "sku" if _SKU.fullmatch(name) else None


def _metadata(metadata: Mapping[str, Any] | None, meaning: str) -> Iterator[str]:
    for name, values in (metadata or {}).items():
        if _key_means(name) == meaning:
            yield from (value for value in (values if isinstance(values, list) else [values]) if isinstance(value, str))


class _StoredLegDate(msgspec.Struct, array_like=True):
    moment: str
    leg_id: int


_OWN_DATES = tuple(
    (name, place, f"own_{name}", f"own_{name.replace('_ramp', '')}" if "_ramp_" in name else f"own_{name}")
    for name, place in DATES.items()
)
"""Each date with its place, the field with the shipment's own date, and that field where the route has a ramp."""

_route_dates = msgspec.json.Decoder(dict[str, _StoredLegDate]).decode


def best_known(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The dates of a shipment and the source of each, from its own dates and those of its route. Pure.

    The shipment's own date counts first, then that of a leg. With an inland ramp the shipment's own arrival is that at
    the ramp: Flexport gives the date of the last leg of the carrier (apidocs.flexport.com/v2/tag/Shipment; recorded).
    """
    legs = _route_dates(fields["route_dates"]) if fields["route_dates"] else {}
    found: dict[str, Any] = dict.fromkeys((*DATES, "date_sources"))
    sources: dict[str, str] = {}
    has_ramp = fields["has_ramp"]
    goes_on = has_ramp and any(
        fields[f"inland_ramp{part}"] != fields[f"port_of_unloading{part}"] for part in ("", "_code")
    )
    for name, place, own, own_with_ramp in _OWN_DATES:
        own_date = fields.get(own_with_ramp if has_ramp else own)
        if goes_on and place == "port_of_unloading":
            own_date = None
        if name in legs and not plausible_or_none(own_date):
            found[name], sources[name] = legs[name].moment, f"legs/{legs[name].leg_id}"
        elif own_date:
            zone = _zone(fields, place)
            found[name], sources[name] = at_place(own_date, zone) if zone else own_date, "shipment"
    for name in BEST_KNOWN:
        found[name] = plausible_or_none(found[f"actual_{name}"]) or plausible_or_none(found[f"estimated_{name}"])
    found["date_sources"] = json_text(sources)
    return found


def _zone(fields: Mapping[str, Any], place: str) -> str | None:
    """The time zone of a place; that of the first or the last place for a shipment without ports."""
    if fields[place] is None and place.startswith("port_of_"):
        place = "origin" if place == "port_of_loading" else "destination"
    zone: str | None = fields[f"{place}_timezone"]
    return zone


_STOPS = (
    ("arrival", "port_of_unloading", "Arrived", "Arrives"),
    ("ramp_arrival", "inland_ramp", "Arrived", "Arrives"),
    ("delivered_in_full", "destination", "Delivered", "Delivery"),
)


def arrival_summary(fields: Mapping[str, Any], today: date) -> str:
    """`Arrives Savannah, GA 17 Nov · delivery Memphis 27 Nov`: the arrivals of a shipment, each with its own place.

    An arrival whose place is not known has none. Before a delivery it is left out: by road the two are the same.
    """
    parts: list[str] = []
    for name, place, past, future in reversed(_STOPS):
        actual, planned = (plausible_or_none(fields[f"{kind}_{name}"]) for kind in ("actual", "estimated"))
        when = actual or planned
        if when is None or (parts and not fields[place]):
            continue
        words = [past if actual else future, fields[place] or "", format_day(date.fromisoformat(when[:10]), today)]
        parts.insert(0, " ".join(filter(None, words)))
    return " · ".join(part if number == 0 else part[0].lower() + part[1:] for number, part in enumerate(parts))


REFERENCE_FIELDS = (
    "house_bills", "master_bill", "carrier_booking_number", "purchase_orders", "skus", "container_numbers",
)  # fmt: skip


def references(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The references of a shipment, as (kind, value)."""

    def many(name: str) -> list[str]:
        found = fields.get(name)
        return msgspec.json.decode(found) if found else []

    by_kind = (
        ("bill", many("house_bills")),
        ("bill", split_joined(fields.get("master_bill"))),
        ("booking", split_joined(fields.get("carrier_booking_number"))),
        ("po", many("purchase_orders")),
        ("sku", many("skus")),
        ("container", many("container_numbers")),
    )
    return [(kind, value) for kind, values in by_kind for value in values]


RESOURCE_TYPE = ResourceType(
    name="shipments",
    object_name="/shipment",
    wire=Shipment,
    table=TABLE,
    computed_fields=computed_fields,
    timestamp=lambda shipment: shipment.updated_at,
    sources={
        **{f"{name}_date": (f"own_{name}",) for name in OWN_DATES},
        "created_date": ("created_at",),
        "transportation_mode": ("mode", "chargeable_weight"),
        "calculated_weight": ("weight", "chargeable_weight"),
        "calculated_volume": ("volume", "chargeable_weight"),
        "ocean_shipment": ("house_bills", "master_bill", "carrier_booking_number", "is_lcl"),
        "air_shipment": ("house_bills", "master_bill"),
        "items": ("purchase_orders", "skus"),
        "metadata": ("metadata", "purchase_orders", "skus"),
    },
    is_parsed_by_field=True,
    field_groups=(
        frozenset({"items", "metadata"}),
        frozenset({"ocean_shipment", "air_shipment"}),
        frozenset({"transportation_mode", "calculated_weight", "calculated_volume"}),
    ),
    derived=(*ROUTE_FIELDS, *DATES, *BEST_KNOWN, "date_sources"),
    has_details=True,
)
