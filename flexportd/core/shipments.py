"""Shipments: one client's cargo from seller to door, with what its legs and containers tell of it."""

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from flexportd.core.domain import Domain
from flexportd.core.routes import ROUTE_FIELDS
from flexportd.core.values import day, instant, joined, json_text, moment, quantity, text, texts
from flexportd.flexport import plain
from flexportd.flexport.places import CompanyEntity
from flexportd.flexport.shipments import Shipment
from flexportd.storage.exceptions import OF_SHIPMENTS
from flexportd.storage.resources import Field, Table
from flexportd.storage.search import FILTERS as FOUND

_REFERENCE = "id IN (SELECT shipment_id FROM shipment_references WHERE {})"

TABLE = Table(
    name="shipments",
    fields=(
        Field("name"),
        Field("mode"),
        Field("status"),
        Field("freight_type"),
        Field("incoterm"),
        Field("priority"),
        Field("pieces", "integer"),
        Field("weight", "json"),
        Field("volume", "json"),
        Field("estimated_departure", "moment"),
        Field("actual_departure", "moment"),
        Field("estimated_arrival", "moment"),
        Field("actual_arrival", "moment"),
        Field("estimated_picked_up_in_full", "moment"),
        Field("actual_picked_up_in_full", "moment"),
        Field("estimated_delivered_in_full", "moment"),
        Field("actual_delivered_in_full", "moment"),
        Field("cargo_ready_date", "day"),
        Field("created_at"),
        Field("archived_at"),
        Field("house_bills", "list"),
        Field("master_bill"),
        Field("carrier_booking_number"),
        Field("is_lcl", "boolean"),
        Field("it_number"),
        Field("purchase_orders", "list"),
        Field("skus", "list"),
        Field("shippers", "list"),
        Field("consignees", "list"),
        Field("buyers", "list"),
        Field("sellers", "list"),
        Field("importers_of_record", "list"),
        Field("booking_id", "integer"),
        Field("metadata", "json"),
        *(Field(name, "list" if name == "container_numbers" else "text") for name in ROUTE_FIELDS),
    ),
    sorts={"as_of": "as_of", "id": "id", "eta_at": "eta_at"},
    filters={
        **FOUND,
        "exception": OF_SHIPMENTS,
        "status": "status IN (SELECT value FROM json_each(?))",
        "mode": "mode IN (SELECT value FROM json_each(?))",
        "eta_before": "eta_at < ?",
        "eta_after": "eta_at >= ?",
        "updated_since": "as_of >= ?",
        "archived": "archived_at IS NOT NULL",
        "not_archived": "archived_at IS NULL",
        "container": _REFERENCE.format("kind = 'container' AND value = ?"),
        "po": _REFERENCE.format("kind = 'po' AND value = ?"),
        "sku": _REFERENCE.format("kind = 'sku' AND value = ?"),
        "bill": _REFERENCE.format("kind IN ('bill', 'booking') AND value = ?"),
        "q": "(name LIKE ? ESCAPE '\\' OR CAST(id AS TEXT) LIKE ? ESCAPE '\\' OR "
        + _REFERENCE.format("value LIKE ? ESCAPE '\\'")
        + ")",
    },
    computed={"eta_at": ("actual_arrival", "estimated_arrival")},
)


TEXTS: Mapping[str, tuple[str, Callable[[str | None], Any]]] = {
    "name": ("name", text),
    "transportation_mode": ("mode", text),
    "status": ("status", text),
    "freight_type": ("freight_type", text),
    "incoterm": ("incoterm", text),
    "priority": ("priority", text),
    "it_number": ("it_number", text),
    "created_date": ("created_at", instant),
    "archived_at": ("archived_at", instant),
    "cargo_ready_date": ("cargo_ready_date", day),
    **{f"{name}_date": (name, moment) for name in TABLE.moments},
}


def normalise(shipment: Shipment) -> dict[str, Any]:
    """Our fields of a shipment, those of its route left out."""
    return {
        **{ours: how(getattr(shipment, wire)) for wire, (ours, how) in TEXTS.items()},
        "pieces": shipment.pieces or None,  # 0 is Flexport's "unknown"
        "weight": quantity(shipment.calculated_weight),
        "volume": quantity(shipment.calculated_volume),
        "shippers": _names(shipment.shippers),
        "consignees": _names(shipment.consignees),
        "buyers": _names(shipment.buyers),
        "sellers": _names(shipment.sellers),
        "importers_of_record": _names(shipment.importers_of_record),
        "metadata": json_text(shipment.metadata),
        **_documents(shipment),
        **_goods(shipment),
    }


def _documents(shipment: Shipment) -> dict[str, Any]:
    ocean, air, booking = shipment.ocean_shipment, shipment.air_shipment, shipment.booking
    house = (ocean.house_bill_number if ocean else None) or (air.house_airway_bill if air else None)
    master = (ocean.master_bill_number if ocean else None) or (air.master_airway_bill if air else None)
    return {
        "house_bills": texts(joined(house)),
        "master_bill": text(master),
        "carrier_booking_number": text(ocean.carrier_booking_number) if ocean else None,
        "is_lcl": ocean.is_lcl if ocean else None,
        "booking_id": booking.target_id if booking else None,
    }


_PO = re.compile(r"(p\.?\s*o\.?|purchase[ _-]?orders?)\s*(#|no\.?|num(ber)?s?)?", re.IGNORECASE)
_SKU = re.compile(r"skus?\s*(#|no\.?|num(ber)?s?)?", re.IGNORECASE)
_LONGEST_TELLING = 40  # characters of a metadata key that says what it holds


def _goods(shipment: Shipment) -> dict[str, Any]:
    """POs and SKUs: from the items, which fill late, and from metadata under a key that says so."""
    items = shipment.items or []
    orders = [part for item in items for part in joined(item.purchase_order_number)]
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
    orders: str | None = _goods(plain.read(Shipment, raw.encode())[0])["purchase_orders"]
    return orders


def _key_means(key: str) -> str | None:
    """What a metadata key holds, as far as its name says so: `po`, `sku` or None."""
    name = key.strip()
    return _name_means(name) if len(name) <= _LONGEST_TELLING else None


@functools.lru_cache(maxsize=1024)
def _name_means(name: str) -> str | None:
    return "po" if _PO.fullmatch(name) else "sku" if _SKU.fullmatch(name) else None


def _metadata(metadata: Mapping[str, Any] | None, meaning: str) -> Iterator[str]:
    for name, values in (metadata or {}).items():
        if _key_means(name) == meaning:
            yield from (value for value in (values if isinstance(values, list) else [values]) if isinstance(value, str))


def _names(parties: Iterable[CompanyEntity] | None) -> str | None:
    return texts([party.name for party in parties]) if parties else None


REFERENCE_FIELDS = (
    "house_bills", "master_bill", "carrier_booking_number", "purchase_orders", "skus", "container_numbers",
)  # fmt: skip


def references(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Everything this shipment may be looked up by: (kind, value)."""

    def many(name: str) -> list[str]:
        found = fields.get(name)
        return msgspec.json.decode(found) if found else []

    found = [("bill", value) for value in many("house_bills")]
    found += [("bill", value) for value in joined(fields.get("master_bill"))]
    found += [("booking", value) for value in joined(fields.get("carrier_booking_number"))]
    found += [("po", value) for value in many("purchase_orders")]
    found += [("sku", value) for value in many("skus")]
    found += [("container", value) for value in many("container_numbers")]
    return found


# What each of Flexport's fields tells us; tests/unit/test_convergence.py holds it against `normalise`.
FEEDS: Mapping[str, tuple[str, ...]] = {
    **{wire: (ours,) for wire, (ours, _) in TEXTS.items()},
    "pieces": ("pieces",),
    "calculated_weight": ("weight",),
    "calculated_volume": ("volume",),
    "ocean_shipment": ("house_bills", "master_bill", "carrier_booking_number", "is_lcl"),
    "air_shipment": ("house_bills", "master_bill"),
    "shippers": ("shippers",),
    "consignees": ("consignees",),
    "buyers": ("buyers",),
    "sellers": ("sellers",),
    "importers_of_record": ("importers_of_record",),
    "items": ("purchase_orders", "skus"),
    "metadata": ("metadata", "purchase_orders", "skus"),
    "booking": ("booking_id",),
}

DOMAIN = Domain(
    name="shipments",
    object_name="/shipment",
    wire=Shipment,
    table=TABLE,
    normalise=normalise,
    stamp=lambda shipment: shipment.updated_at,
    feeds=FEEDS,
    texts=TEXTS,
    together=(frozenset({"items", "metadata"}), frozenset({"ocean_shipment", "air_shipment"})),
    derived=ROUTE_FIELDS,
    has_details=True,
)
