"""Bookings: requests for freight and their progress."""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from flexportd.core.resources.money import amount
from flexportd.core.resources.network import address_line, party
from flexportd.core.resources.ports import port_of
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import json_text, quantity, text, texts
from flexportd.flexport.models.bookings import (
    STATUSES,
    Booking,
    BookingHsCode,
    Cargo,
    OceanBooking,
    PortBooking,
    ProductDescription,
    ShippingUnit,
    TruckingBooking,
)
from flexportd.flexport.models.wire import Quantity
from flexportd.storage.queries.filters import any_of, before_day, contains, from_day, is_true, key, since
from flexportd.storage.queries.table import Field, Table, plain_fields

TABLE = Table(
    name="bookings",
    fields=(
        *plain_fields("name", "flex_id", "status"),
        Field("shipment_id", "integer"),
        *plain_fields("mode", "incoterm"),
        *plain_fields("is_lcl", "is_ftl", kind="boolean"),
        Field("payment_terms"),
        Field("container_counts", "json"),
        *plain_fields("shipper", "shipper_ref", "consignee", "consignee_ref", "notify_party", "origin", "origin_ref"),
        *plain_fields("origin_port", "origin_port_code", "destination_port", "destination_port_code", "destination"),
        Field("destination_ref"),
        *plain_fields("cargo_ready_date", "delivery_date", kind="day"),
        *plain_fields("wants_pickup", "wants_delivery", "wants_export_customs", "wants_import_customs", kind="boolean"),
        *plain_fields("products", "shipping_units", kind="list"),
        Field("unit_count", "integer"),
        *plain_fields("weight", "volume", kind="json"),
        Field("is_dangerous", "boolean"),
        *plain_fields("dangerous_goods", "battery_packing", kind="list"),
        *plain_fields("marks_and_numbers", "special_instructions", "created_at", "updated_at"),
        Field("metadata", "json"),
    ),
    sorts={"updated_at": "as_of", "created_at": "created_at", "id": "id"},
    filters={
        "status": any_of("status"),
        "mode": any_of("mode"),
        "shipment": key("shipment_id"),
        "q": contains("name", "flex_id"),
        "cargo_ready_after": from_day("cargo_ready_date"),
        "cargo_ready_before": before_day("cargo_ready_date"),
        "created_since": since("created_at"),
        "updated_since": since("as_of"),
        "dangerous": is_true("is_dangerous", "with dangerous goods"),
    },
)


def computed_fields(booking: Booking) -> Mapping[str, Any]:
    """The fields of a booking from its parties, addresses, cargo and the mode's own part."""
    return {
        **party(booking.shipper_entity, "shipper"),
        **party(booking.consignee_entity, "consignee"),
        "origin": address_line(booking.origin_address),
        "origin_ref": text(booking.origin_address.ref) if booking.origin_address else None,
        "destination": address_line(booking.destination_address),
        "destination_ref": text(booking.destination_address.ref) if booking.destination_address else None,
        **_carriage(booking),
        **_cargo(booking.cargo or Cargo()),
    }


def _carriage(booking: Booking) -> dict[str, Any]:
    """The fields of the mode's own part; a booking has one of the three."""
    ocean, truck = booking.ocean_booking or OceanBooking(), booking.trucking_booking or TruckingBooking()
    ports = booking.ocean_booking or booking.air_booking or PortBooking()
    described = [_product(product) for product in ports.product_descriptions or ()]
    if said := text(truck.description_of_products):
        described.append({"description": said})
    return {
        "incoterm": text(ports.incoterm),
        "is_lcl": ocean.is_lcl,
        "is_ftl": not truck.is_ltl if truck.is_ftl is None and truck.is_ltl is not None else truck.is_ftl,
        "payment_terms": text(truck.payment_terms),
        "container_counts": json_text(_counts(ocean.container_counts or {})),
        **port_of(ports.origin_port, "origin_port"),
        **port_of(ports.destination_port, "destination_port"),
        "wants_pickup": ports.wants_pickup_service,
        "wants_delivery": ports.wants_delivery_service,
        "products": json_text([product for product in described if product]),
    }


def _counts(given: Mapping[str, Any]) -> dict[str, int]:
    """How many containers of each size, `forty_ft` for either spelling; sizes with none left out."""
    found: dict[str, int] = {}
    for size, value in given.items():
        count = _whole_number(value) if size != "_object" else None
        if count is not None and count > 0:
            found[size.replace("fourty", "forty")] = count
    return found


def _product(product: ProductDescription) -> dict[str, str]:
    hs = product.hs_code
    found = {
        "description": text(product.description),
        "export_description": text(product.description_for_export_customs),
        "hs_code": text(hs.code if isinstance(hs, BookingHsCode) else hs),
        "hs_country_code": text(hs.country_code) if isinstance(hs, BookingHsCode) else None,
    }
    return {name: value for name, value in found.items() if value}


_DANGERS = {
    "contains_hazmat": "hazmat",
    "contains_magnets": "magnets",
    "contains_other_dangerous_goods": "other_dangerous_goods",
    "contains_li_ion": "li_ion",
    "contains_non_li_ion_battery": "non_li_ion_battery",
}


def _cargo(cargo: Cargo) -> dict[str, Any]:
    units = cargo.shipping_units or []
    said = {name: flagged for wire, name in _DANGERS.items() if (flagged := getattr(cargo, wire)) is not None}
    dangers = [name for name, flagged in said.items() if flagged]
    counts = [count for unit in units if (count := _whole_number(unit.count)) is not None]
    return {
        "shipping_units": json_text([found for unit in units if (found := _unit(unit))]),
        "unit_count": sum(counts) if counts and abs(sum(counts)) < 2**63 else None,
        "weight": _total(cargo.weight, [(unit.count, unit.weight) for unit in units]),
        "volume": _total(cargo.volume, [(unit.count, unit.volume) for unit in units]),
        "is_dangerous": bool(dangers) if said else None,
        "dangerous_goods": texts(dangers),
        "battery_packing": texts(cargo.lithium_batteries_packing_types or ()),
        "marks_and_numbers": text(cargo.marks_and_numbers),
    }


def _unit(unit: ShippingUnit) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": text(unit.name),
        "type": text(unit.unit_type),
        "count": _whole_number(unit.count),
        "atomic_count": _whole_number(unit.atomic_count),
    }
    for name in ("weight", "volume", "length", "width", "height"):
        given: Quantity | None = getattr(unit, name)
        value = amount(given.value) if given else None
        if given and value and value > 0:  # 0 means "not given"
            found[name] = {"value": _json_number(value), "unit": given.unit}
    return {name: value for name, value in found.items() if value is not None}


def _total(given: Quantity | None, units: Iterable[tuple[Any, Quantity | None]]) -> str | None:
    """The cargo's own weight or volume, else the sum over its units; None if unknown, or the units differ."""
    if (own := quantity(given)) is not None:
        return own
    total, measures = Decimal(0), set[str | None]()
    for count, one in units:
        value, times = amount(one.value) if one else None, amount(count)
        if one and value and value > 0 and times:
            total += value * times
            measures.add(text(one.unit))
    if not total or len(measures) != 1:
        return None
    return json_text({"value": _json_number(total), "unit": measures.pop()})


def _json_number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _whole_number(value: object) -> int | None:
    found = amount(value)
    return int(found) if found is not None and found == found.to_integral_value() else None


def derived_values(fields: Mapping[str, Any], _: date) -> dict[str, Any]:
    """The stage of a booking in one sentence, independent of the day. An accepted booking may have departed already."""
    status, shipment = fields["status"], fields["shipment_id"]
    title = STATUSES.get(status) or (status.replace("_", " ").capitalize() if status else "Unknown")
    return {
        "stage": title if shipment is None else f"{title}; shipment FLEX-{shipment}",
        "stage_known": status in STATUSES,
        "open": status not in ("shipment", "archived"),
    }


_BY_MODE = (
    "incoterm", "is_lcl", "is_ftl", "payment_terms", "container_counts", "origin_port",
    "origin_port_code", "destination_port", "destination_port_code", "wants_pickup", "wants_delivery", "products",
)  # fmt: skip
"""Our fields from the mode's own part of a booking."""

RESOURCE_TYPE = ResourceType(
    name="bookings",
    object_name="/booking",
    wire=Booking,
    table=TABLE,
    computed_fields=computed_fields,
    sources={
        "transportation_mode": ("mode",),
        "wants_export_customs_service": ("wants_export_customs",),
        "wants_import_customs_service": ("wants_import_customs",),
        **dict.fromkeys(("ocean_booking", "air_booking", "trucking_booking"), _BY_MODE),
        "cargo": tuple(_cargo(Cargo())),
    },
    timestamp=lambda booking: booking.updated_at,
    derived_values=derived_values,
)
