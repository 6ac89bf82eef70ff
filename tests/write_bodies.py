"""Bodies of write requests that the sandbox accepts, for tests; each takes its world, whose objects it names."""

import base64
from typing import Any

from flexportd.sandbox import World
from flexportd.sandbox.catalog.kinds import (
    BOOKING,
    COMPANY,
    ENTITY,
    LOCATION,
    ORDER_LINE,
    PORT,
    PRODUCT,
    SHIPMENT,
    Wire,
)

MONEY = {"amount": "120.50", "currency_code": "USD"}
ADDRESS = {"street_address": "1 Quay Road", "city": "Albany", "country_code": "US", "zip": "12207"}


def rows(world: World, kind: str) -> list[Wire]:
    return list(world.collections[kind].rows())


def location_ref(world: World, country_code: str) -> str:
    return next(row["ref"] for row in rows(world, LOCATION) if row["address"]["country_code"] == country_code)


def port_code(world: World, country_code: str, detail: str = "/ocean/port") -> str:
    """The UN/LOCODE of a port of a country."""
    return next(
        row["address"]["unlocode"]
        for row in rows(world, PORT)
        if row["address"]["country_code"] == country_code and any(one["_object"] == detail for one in row["details"])
    )


def product(_world: World, **changes: Any) -> Wire:
    return {
        "name": "Desk lamp",
        "sku": "LAMP-01",
        "product_category": "Lighting",
        "country_of_origin": "Vietnam",
        "classifications": [{"region": "US", "codes": ["0940.52.00"]}],
        **changes,
    }


def cargo(**changes: Any) -> Wire:
    return {
        "weight": {"value": 250.5, "unit": "kg"},
        "volume": {"value": 3, "unit": "cbm"},
        "shipping_units": [{"count": 20, "unit_type": "carton"}],
        "contains_hazmat": False,
        "contains_magnets": False,
        "contains_other_dangerous_goods": False,
        "contains_li_ion": False,
        "contains_non_li_ion_battery": False,
        **changes,
    }


def booking(world: World, **changes: Any) -> Wire:
    """By ocean, FCL, from Taiwan to the United States; a mode in the changes replaces the ocean."""
    ocean = {
        "is_lcl": False,
        "container_counts": {"twenty_ft": 0, "forty_ft": 1, "forty_ft_hc": 0, "forty_five_ft_hc": 0},
        **_terms(),
        "origin_port_loc_code": port_code(world, "TW"),
    }
    modes = {} if changes.keys() & {"air_booking", "trucking_booking"} else {"ocean_booking": ocean}
    entities = rows(world, ENTITY)
    return {
        "name": "PO 4711 lamps",
        "shipper_entity_ref": entities[-1]["ref"],
        "consignee_entity_ref": entities[0]["ref"],
        "origin_address_ref": location_ref(world, "TW"),
        "destination_address_ref": location_ref(world, "US"),
        "cargo_ready_date": "2026-04-01",
        "wants_export_customs_service": False,
        "special_instructions": "flexportd:key-1",
        "cargo": cargo(),
        **modes,
        **changes,
    }


def air_booking(world: World, **changes: Any) -> Wire:
    air = {**_terms(), "origin_port_loc_code": port_code(world, "TW", "/air/port")}
    return booking(world, air_booking=air, **changes)


def trucking_booking(world: World, **changes: Any) -> Wire:
    return booking(world, trucking_booking={"is_ltl": True, "payment_terms": "prepaid"}, **changes)


def booking_line_item(world: World, **changes: Any) -> Wire:
    line, booked = rows(world, ORDER_LINE)[0], rows(world, BOOKING)[0]
    return {"purchase_order_line_item_id": line["id"], "booking_id": booked["id"], "units": 12, **changes}


def commercial_invoice(world: World, **changes: Any) -> Wire:
    sku = next(row["sku"] for row in rows(world, PRODUCT) if row["archived_at"] is None)
    line = {
        "product_sku": sku,
        "quantity": {"value": 10, "unit": "pcs"},
        "price_per_unit": {"amount": "12.05", "currency_code": "USD"},
        "value": MONEY,
        "gross_weight": {"value": 40, "unit": "kg"},
    }
    return {
        "invoice_number": "CI-2026-1",
        "currency_code": "USD",
        "proration_amount": {"amount": "0.00", "currency_code": "USD"},
        "shipment_id": rows(world, SHIPMENT)[0]["id"],
        "line_items": [line, line],
        "involved_parties": [{"type": "seller", "company_entity_ref": rows(world, ENTITY)[-1]["ref"]}],
        "metadata": {"PO #": ["4711"]},
        **changes,
    }


def document(world: World, file: bytes = b"%PDF-1.4 test", **changes: Any) -> Wire:
    return {
        "file_name": "origin.pdf",
        "mime_type": "application/pdf",
        "document_type": "certificate_of_origin",
        "document": base64.b64encode(file).decode(),
        "shipment_id": rows(world, SHIPMENT)[0]["id"],
        "memo": "flexportd:key-1",
        **changes,
    }


def company(_world: World, **changes: Any) -> Wire:
    return {"name": "Zoomit", "ref": "zoomit", **changes}


def company_entity(world: World, **changes: Any) -> Wire:
    vat = [{"country_code": "GB", "number": "GB 123456789"}]
    parent = rows(world, COMPANY)[1]["id"]
    return {
        "name": "Zoomit Ltd",
        "company_id": parent,
        "mailing_address": ADDRESS,
        "ref": "z",
        "vat_numbers": vat,
    } | changes


def contact(_world: World, **changes: Any) -> Wire:
    return {"name": "John Smith", "email": "john@example.com", "phone_number": "+1 555 0155", **changes}


def location(world: World, **changes: Any) -> Wire:
    return {
        "name": "Dock 4",
        "company_id": rows(world, COMPANY)[0]["id"],
        "address": ADDRESS,
        "ref": "dock-4",
        **changes,
    }


def _terms() -> Wire:
    return {
        "incoterm": "FOB",
        "wants_pickup_service": False,
        "wants_delivery_service": True,
        "product_descriptions": [{"description": "Desk lamps", "hs_code": "9405.20"}],
    }
