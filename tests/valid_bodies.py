"""A valid request body of each kind of write, and the objects of an account that they name."""

import copy
from typing import Any

from tests.stored import record

READY = "2036-04-01"
BOOKING_ID = 4321
INVOICE_ID = 555
PRODUCT_ID = "p-1"
SHIPMENT_ID = 79683

_CARGO = {
    "volume": {"value": 12.5, "unit": "cbm"},
    "weight": {"value": 2300.4, "unit": "kg"},
    "marks_and_numbers": "Fragile",
    "shipping_units": [
        {
            "name": "Watches",
            "count": 9,
            "unit_type": "pallet",
            "atomic_count": 20,
            "height": {"value": 100, "unit": "cm"},
        }
    ],
    "contains_hazmat": False,
    "contains_magnets": False,
    "contains_other_dangerous_goods": False,
    "contains_li_ion": True,
    "contains_non_li_ion_battery": False,
    "lithium_batteries_packing_types": ["packed_with_equipment"],
}

_WATCHES = {"description": "Watches", "hs_code": "9101.00"}

_BOOKING = {
    "name": "PO 123",
    "shipper_entity_ref": "factory",
    "consignee_entity_ref": "self",
    "notify_party": None,
    "origin_address_ref": "warehouse_de",
    "destination_address_ref": "warehouse_us",
    "cargo_ready_date": READY,
    "delivery_date": "2036-05-15",
    "wants_export_customs_service": True,
    "wants_import_customs_service": True,
    "cargo": _CARGO,
    "special_instructions": "Handle carefully",
    "metadata": {"purchase_order": ["12345"]},
}

_OCEAN = {
    "is_lcl": False,
    "container_counts": {"twenty_ft": 2, "forty_ft": 0, "forty_ft_hc": 0, "forty_five_ft_hc": 0},
    "incoterm": "FOB",
    "product_descriptions": [_WATCHES],
    "wants_pickup_service": False,
    "wants_delivery_service": True,
    "origin_port_loc_code": "DEHAM",
    "destination_port_us_cbp_port_code": "2704",
}

_ADDRESS = {"street_address": "1641 Settlers Lane", "city": "Albany", "country_code": "US", "zip": "56307"}

_MONEY = {"currency_code": "USD"}

BODIES: dict[str, dict[str, Any]] = {
    "product.create": {
        "name": "AC Adapter 12V",
        "sku": "NEW-1",
        "description": "",
        "product_category": "Electronics",
        "country_of_origin": "China",
        "client_verified": True,
        "product_properties": [{"type": "color", "value": "blue"}],
        "classifications": [
            {"region": "US", "codes": ["0301.10.00", "850440"]},
            {"region": "EU", "codes": ["8504 40"]},
        ],
        "suppliers": [
            {"ref": "warehouse_de", "country_of_origin": "DE"},
            {"id": "loc-us", "country_of_origin": "US"},
        ],
    },
    "product.update": {"sku": "WATCH-1", "description": "A watch", "country_of_origin": ""},
    "booking.create": {**_BOOKING, "ocean_booking": _OCEAN},
    "booking.create:lcl": {
        **_BOOKING,
        "ocean_booking": {
            **_OCEAN,
            "is_lcl": True,
            "container_counts": {"twenty_ft": 0, "forty_ft": 0, "forty_ft_hc": 0, "forty_five_ft_hc": 0},
            "wants_pickup_service": True,
            "wants_delivery_service": None,
            "origin_port_loc_code": None,
        },
        "destination_address_ref": None,
    },
    "booking.create:china": {
        **_BOOKING,
        "origin_address_ref": "warehouse_cn",
        "air_booking": {
            "incoterm": "EXW",
            "product_descriptions": [
                {
                    **_WATCHES,
                    "description_for_export_customs": "手表",
                    "description_for_export_customs_locale": "zh_CN",
                }
            ],
            "wants_pickup_service": True,
            "origin_port_iata_code": "HKG",
        },
    },
    "booking.create:trucking": {
        **_BOOKING,
        "trucking_booking": {"is_ltl": True, "payment_terms": "collect", "description_of_products": "watches"},
    },
    "booking.amend": {
        "new_name": "Valentine's Day",
        "new_container_counts": {"twenty_ft": 0, "forty_ft": 1},
        "new_wants_pickup_service": False,
        "new_destination_address_ref": "warehouse_us",
        "new_origin_port_loc_code": "DEHAM",
        "new_destination_port_us_cbp_port_code": "2704",
        "new_cargo_ready_date": READY,
        "new_product_descriptions": [_WATCHES],
        "new_cargo": _CARGO,
        "new_metadata": {"PO": ["12345"]},
        "amendment_note": "As agreed",
        "new_wants_import_customs_service": True,
    },
    "booking_line_item.create": {"purchase_order_line_item_id": 1234, "booking_id": BOOKING_ID, "units": 200},
    "commercial_invoice.create": {
        "shipment_id": SHIPMENT_ID,
        "invoice_number": "INVOICE-04-05",
        "currency_code": "USD",
        "is_related_parties": False,
        "proration_amount": {**_MONEY, "amount": "0"},
        "manufacturer_refs": ["maker"],
        "involved_parties": [{"type": "seller", "company_entity_ref": "factory"}],
        "metadata": {"PO": ["1"]},
        "line_items": [
            {
                "document_line_number": 1,
                "country_of_origin": "CN",
                "product_sku": "WATCH-1",
                "quantity": {"value": 3, "unit": "pcs"},
                "price_per_unit": {**_MONEY, "amount": "0.3333"},
                "value": {**_MONEY, "amount": "1.00"},
                "gross_weight": {"value": 1.5, "unit": "kg"},
                "volume": {"value": 0.1, "unit": "cbm"},
                "purchase_order_number": "9876-ABC",
                "container_number": "",
                "metadata": [{"name": "PO", "value": "1"}],
            }
        ],
    },
    "commercial_invoice.update": {
        "line_items": [
            {
                "product_sku": "WATCH-1",
                "quantity": {"value": 2, "unit": "doz"},
                "price_per_unit": {**_MONEY, "amount": "10.10"},
                "value": {**_MONEY, "amount": "20.20"},
            }
        ]
    },
    "shipment.set_metadata": {"metadata": {"PO #": ["4471", "4472"], "colour": "blue", "old": None}},
    "document.upload": {
        "file_name": "packing list.pdf",
        "mime_type": "application/pdf",
        "document_type": "packing_list",
        "document": "JVBERi0xLjQK",
        "shipment_id": SHIPMENT_ID,
        "memo": "",
        "user_email": "jane@example.com",
    },
    "company.create": {"name": "Zoomit", "ref": "zoomit"},
    "company_entity.create": {
        "name": "Zoomit",
        "company_ref": "acme",
        "mailing_address": _ADDRESS,
        "ref": "zoomit-legal",
        "vat_numbers": [{"country_code": "GB", "number": "GB 123456789"}],
    },
    "contact.create": {
        "name": "John Smith",
        "email": "john@example.com",
        "phone_number": "861-555-5555",
        "company_id": "c-acme",
    },
    "location.create": {
        "name": "Second warehouse",
        "company_id": "c-acme",
        "address": _ADDRESS,
        "contact_ids": ["ct-1"],
        "ref": "warehouse_2",
        "metadata": {"color": ["blue", "green"]},
    },
}
"""Kind, and behind a colon what is special, -> a valid body."""


def body(kind: str) -> dict[str, Any]:
    """A valid body of a kind, to be changed at will."""
    return copy.deepcopy(BODIES[kind])


def account_records() -> list[Any]:
    """The objects that the bodies name, for `tests.stored.put`; among them a location in mainland China."""
    return [
        record("companies", "c-acme", name="Acme", ref="acme"),
        record("company_entities", 7, name="Factory", ref="factory"),
        record("contacts", "ct-1", name="Ann"),
        record("locations", "loc-de", ref="warehouse_de", country_code="DE"),
        record("locations", "loc-us", ref="warehouse_us", country_code="US"),
        record("locations", "loc-cn", ref="warehouse_cn", country_code="CN"),
        record("locations", "4711", country_code="US"),
        record("locations", "loc-gone", ref="gone", removed_at="2026-03-05T02:41:10.000Z"),
        record("ports", "deham", unlocode="DEHAM", country_code="DE"),
        record("ports", "uslax", unlocode="USLAX", iata="LAX", cbp="2704", country_code="US"),
        record("ports", "hkhkg", unlocode="HKHKG", iata="HKG", icao="VHHH", country_code="HK"),
        record("ports", "cnpvg", unlocode="CNPVG", iata="PVG", icao="ZSPD", country_code="CN"),
        record("products", PRODUCT_ID, sku="WATCH-1"),
        record("products", 2, sku="OLD-1", archived_at="2026-01-01T00:00:00.000Z"),
        record("shipments", SHIPMENT_ID, name="Watches"),
        record("bookings", BOOKING_ID, mode="ocean", is_lcl=False, origin_ref="warehouse_de", origin_port_code="DEHAM"),
        record(
            "bookings",
            4323,
            raw={"origin_address": {"country_code": "CN"}},
            origin_ref="id-160816",
            shipper_ref="id-566428",
        ),
        record("bookings", 4322, mode="ocean", is_lcl=True, origin_ref="warehouse_cn"),
        record("purchase_order_line_items", 1234),
        record("commercial_invoices", INVOICE_ID, lines_value_currency="USD"),
    ]


READ_LISTS = (
    "companies",
    "company_entities",
    "contacts",
    "locations",
    "ports",
    "products",
    "shipments",
    "bookings",
    "purchase_order_line_items",
    "commercial_invoices",
)
"""The lists that must have been read for an unknown reference to be a problem."""
