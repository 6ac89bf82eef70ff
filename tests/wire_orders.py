"""Bookings, orders, documents and the network as Flexport sends them, for tests.

Shapes after its published schema and what was recorded; the contents are made up.
"""

from typing import Any


def link(to: str, number: int | str, path: str = "x") -> dict[str, Any]:
    url = f"https://api.example.com/{path}/{number}"
    return {"_object": "/api/refs/object", "ref_type": to, "link": url, "id": number}


def links(to: str) -> dict[str, Any]:
    return {"_object": "/api/refs/collection", "ref_type": to, "link": "https://api.example.com/x?f.y.id=1"}


def address(**fields: Any) -> dict[str, Any]:
    return {
        "_object": "/address",
        "street_address": "2 World Way",
        "street_address2": "",
        "city": "Los Angeles",
        "state": "CA",
        "country": "United States",
        "country_code": "US",
        "zip": "90045",
        "timezone": "America/Los_Angeles",
        "unlocode": "USLAX",
        "ref": "id-2",
        **fields,
    }


def quantity(value: Any, unit: str = "kg") -> dict[str, Any]:
    kind = {"kg": "weight", "lbs": "weight", "cbm": "volume", "cbft": "volume"}.get(unit, "length")
    return {"_object": f"/quantity/{kind}", "value": value, "unit": unit}


def port(name: str | None = "Yantian, China", code: str | None = "CNYTN", **fields: Any) -> dict[str, Any]:
    where = address(
        street_address=None, city="Yantian", state=None, country="China", country_code="CN", zip=None, unlocode=code
    )
    details = [{"_object": "/trucking/port", "port_code": "57078"}, {"_object": "/ocean/port", "port_code": "57078"}]
    return {"_object": "/place", "name": name, "address": where, "details": details, **fields}


def airport(**fields: Any) -> dict[str, Any]:
    codes = {"_object": "/air/port", "iata_code": "LAX", "icao_code": "KLAX", "port_code": "2720"}
    return {
        "_object": "/place",
        "name": "LAX - Los Angeles - CA",
        "address": address(),
        "details": [codes, {"_object": "/trucking/port", "port_code": "2720"}],
        **fields,
    }


def entity(number: int | str = 77, **fields: Any) -> dict[str, Any]:
    return {
        "_object": "/company_entity",
        "id": number,
        "name": "Example Imports",
        "ref": f"id-{number}",
        "mailing_address": address(),
        "vat_numbers": [{"_object": "/company_entity/vat_number", "country_code": "DE", "number": "123456789"}],
        **fields,
    }


def unit(**fields: Any) -> dict[str, Any]:
    return {
        "_object": "/shipping_unit",
        "name": None,
        "unit_type": "carton",
        "count": 10,
        "atomic_count": None,
        "weight": quantity(12.5),
        "volume": quantity(0.2, "cbm"),
        "length": quantity(0, "cm"),
        "width": quantity(0, "cm"),
        "height": quantity(0, "cm"),
        **fields,
    }


def cargo(**fields: Any) -> dict[str, Any]:
    return {
        "_object": "/cargo",
        "weight": quantity(10000),
        "volume": quantity(20, "cbm"),
        "marks_and_numbers": None,
        "shipping_units": [unit()],
        "contains_hazmat": False,
        "contains_magnets": False,
        "contains_other_dangerous_goods": False,
        "contains_li_ion": False,
        "contains_non_li_ion_battery": None,
        "lithium_batteries_packing_types": [],
        **fields,
    }


def ocean_booking(**fields: Any) -> dict[str, Any]:
    hs = {"_object": "/hs_code", "code": "0306.21", "country_code": "US", "description": "Lobster"}
    return {
        "_object": "/ocean/booking",
        "is_lcl": False,
        "container_counts": {
            "_object": "/container_counts",
            "twenty_ft": None,
            "forty_ft": 2,
            "forty_ft_hc": 0,
            "forty_five_ft_hc": None,
        },
        "incoterm": "FOB",
        "wants_pickup_service": False,
        "wants_delivery_service": None,
        "origin_port": port(),
        "destination_port": port("Los Angeles, CA", "USLAX", details=[]),
        "product_descriptions": [
            {
                "_object": "/bookings/product_description",
                "description": "Lobster",
                "description_for_export_customs": None,
                "description_for_export_customs_locale": None,
                "hs_code": hs,
            }
        ],
        **fields,
    }


def booking(number: int = 31_001, **fields: Any) -> dict[str, Any]:
    return {
        "_object": "/booking",
        "id": number,
        "name": f"Spring goods {number} ",
        "flex_id": "FLEX-910233",
        "status": "booked",
        "shipment": link("/shipment", 910_233),
        "transportation_mode": "ocean",
        "shipper_entity": entity(66, name="Example Works"),
        "consignee_entity": entity(77),
        "notify_party": "",
        "ocean_booking": ocean_booking(),
        "air_booking": None,
        "trucking_booking": None,
        "origin_address": address(city="Shenzhen", country="China", country_code="CN", state="44", zip=None),
        "destination_address": None,
        "cargo_ready_date": "2026-03-01",
        "delivery_date": None,
        "wants_export_customs_service": None,
        "cargo": cargo(),
        "special_instructions": None,
        "booking_line_items": links("/purchase_orders/booking_line_item"),
        "created_at": "2026-02-11T06:12:44.018Z",
        "metadata": {"PO #": ["4471"]},
        **fields,
    }


def booking_line(number: int | str = 501, line: int | str = 900, units: Any = 200, **fields: Any) -> dict[str, Any]:
    return {
        "_object": "/purchase_orders/booking_line_item",
        "id": number,
        "booking": link("/booking", 31_001),
        "purchase_order_line_item": link("/purchase_orders/line_item", line),
        "units": units,
        **fields,
    }


def purchase_order(number: int | str = 26_088, **fields: Any) -> dict[str, Any]:
    return {
        "_object": "/purchase_order",
        "id": number,
        "name": "PO1234",
        "status": "open",
        "seller": {"_object": "/company", "id": 1234, "name": "Seller Co.", "ref": "sellerco"},
        "buyer": {"_object": "/company", "id": 2345, "name": "Studio Apparel", "ref": "studio"},
        "incoterm": "FOB",
        "transportation_mode": "ocean",
        "cargo_ready_date": "2026-02-04",
        "must_arrive_date": "2026-03-11",
        "origin_port": None,
        "origin_address": address(),
        "destination_port": port(),
        "destination_address": address(),
        "line_items": links("/purchase_orders/line_item"),
        "memo": "FTZ",
        "archived_at": None,
        "created_at": "2026-01-15T23:43:23.333Z",
        "updated_at": "2026-02-05T15:32:08.723Z",
        "metadata": {},
        **fields,
    }


def purchase_order_line(number: int | str = 900, **fields: Any) -> dict[str, Any]:
    return {
        "_object": "/purchase_orders/line_item",
        "id": number,
        "purchase_order": link("/purchase_order", 26_088),
        "line_item_number": 1,
        "item_key": "item1",
        "product": {"_object": "/product", "id": 54321, "sku": "CHAIRS-BL-1", "name": "Black chairs"},
        "units": 500,
        "unit_of_measure": "PCS",
        "unit_cost": {"_object": "/money", "amount": "121.00", "currency_code": "USD"},
        "incoterm": "FOB",
        "transportation_mode": "air",
        "must_arrive_date": "2026-03-11T00:00:00.000Z",
        "origin_port": None,
        "origin_address": address(),
        "destination_port": None,
        "destination_address": address(),
        "hs_codes": [{"_object": "/hs_code", "code": "8309.90.10.00", "country_code": "US"}],
        "booking_line_items": links("/purchase_orders/booking_line_item"),
        **fields,
    }


def document(key: str = "-Zz58WVXSuGn6xmLLhYTKQ", **fields: Any) -> dict[str, Any]:
    uploaded = {"_object": "/file/metadata", "size": 1066, "uploaded_at": "2026-02-23T02:56:26.560Z"}
    return {
        "_object": "/document",
        "id": key,
        "document_type": "packing_list",
        "file_link": f"https://api.example.com/documents/{key}/download",
        "archived_at": None,
        "file_metadata": uploaded,
        "shipment": link("/shipment", 910_233),
        **fields,
    }


def company(key: str = "K67EZV1K8cQ5afQErZwk1Q", **fields: Any) -> dict[str, Any]:
    return {
        "_object": "/network/company",
        "id": key,
        "name": "Zoomit",
        "ref": "zoomit_ref",
        "editable": True,
        "metadata": {},
        "entities": [entity(77)],
        "locations": links("/network/location"),
        "contacts": links("/network/contact"),
        **fields,
    }


def contact(key: str = "FHLKEFHHoW8nwh9UVOMpw", **fields: Any) -> dict[str, Any]:
    return {
        "_object": "/network/contact",
        "id": key,
        "name": "John Smith",
        "email": "john@example.com",
        "phone": "861-555-5555",
        "locations": links("/network/location"),
        "company": link("/network/company", "K67EZV1K8cQ5afQErZwk1Q"),
        **fields,
    }


def location(key: str = "_8Rq_ua5RRZQ_Rp41dPC9w", **fields: Any) -> dict[str, Any]:
    return {
        "_object": "/network/location",
        "id": key,
        "metadata": {},
        "name": "Zoomit V2",
        "ref": "zoomit-west",
        "address": address(),
        "editable": True,
        "contacts": links("/network/contact"),
        "company": link("/network/company", "K67EZV1K8cQ5afQErZwk1Q"),
        **fields,
    }


ONE_OF_EACH = {
    "bookings": booking(),
    "booking_line_items": booking_line(),
    "purchase_orders": purchase_order(),
    "purchase_order_line_items": purchase_order_line(),
    "documents": document(),
    "companies": company(),
    "company_entities": entity(),
    "contacts": contact(),
    "locations": location(),
    "ports": port(),
}
