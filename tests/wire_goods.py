"""Products, freight invoices, commercial invoices and customs entries as Flexport sends them, for tests.

Shapes after its published schema and samples; the contents are made up.
"""

from typing import Any


def money(amount: Any, currency: Any = "USD") -> dict[str, Any]:
    return {"_object": "/money", "amount": amount, "currency_code": currency}


def link(ref_type: str, number: int) -> dict[str, Any]:
    path = ref_type.removeprefix("/") + "s"
    return {
        "_object": "/api/refs/object",
        "ref_type": ref_type,
        "link": f"https://x.example/{path}/{number}",
        "id": number,
    }


def company_entity(number: int, name: str) -> dict[str, Any]:
    return {
        "_object": "/company_entity",
        "id": number,
        "name": name,
        "ref": f"id-{number}",
        "mailing_address": None,
        "vat_numbers": [],
    }


def classification(region: Any, *codes: Any) -> dict[str, Any]:
    return {"_object": "/product/classification", "region": region, "codes": list(codes)}


def product(number: int = 84_291, **fields: Any) -> dict[str, Any]:
    return {
        "_object": "/product",
        "id": number,
        "name": "AC Adapter 12V",
        "sku": "RM-00472",
        "description": "Desk adapter",
        "archived_at": None,
        "product_category": "Electronics",
        "country_of_origin": "China",
        "client_verified": True,
        "product_properties": [{"_object": "/product/property", "type": "color", "value": "blue"}],
        "hs_codes": [{"_object": "/hs_code", "description": None, "code": "8504.40", "country_code": "US"}],
        "classifications": [classification("US", "8504.40.95", "0301:00"), classification("EU", "85044055")],
        "suppliers": [{"_object": "/product/supplier", "id": 7, "ref": "sup-7", "country_of_origin": "VN"}],
        **fields,
    }


def invoice_item(name: str = "Ocean Freight", amount: Any = "500", **fields: Any) -> dict[str, Any]:
    return {
        "_object": "/invoice_item",
        "name": name,
        "slug": name.lower().replace(" ", "_"),
        "category": "freight",
        "amount": money(amount),
        "rate": {"_object": "/invoice/rate", "amount": "250.00", "qualifier": "USD"},
        "quantity": {"_object": "/invoice/quantity", "value": "2", "qualifier": "container"},
        **fields,
    }


def credit_memo(amount: Any = "100", **fields: Any) -> dict[str, Any]:
    return {
        "_object": "/credit_memo",
        "amount": money(amount),
        "category": "freight",
        "reason": "Late delivery",
        "credited_at": "2026-03-05T10:00:00.000Z",
        **fields,
    }


def invoice(key: str = "gwdpaYrhTI-T1ljn1M7o7w", **fields: Any) -> dict[str, Any]:
    shipments = f"https://x.example/shipments?f.invoice_id={key}"
    return {
        "_object": "/invoice",
        "id": key,
        "name": "FLEX-910233-1",
        "type": "Shipment",
        "status": "outstanding",
        "issued_at": "2026-03-01T09:00:00.000Z",
        "due_date": "2026-03-31",
        "voided_at": None,
        "last_updated_at": None,
        "total": money("612.14"),
        "balance": money("512.14"),
        "recipient": company_entity(77, "Example Imports"),
        "issuer": company_entity(28, "Example Forwarding"),
        "items": [invoice_item(), invoice_item("Fuel Surcharge", "112.14", category="additional")],
        "credit_memos": [credit_memo()],
        "notes": ["**Notes**\n\nPay by transfer"],
        "shipments": {"_object": "/api/refs/collection", "ref_type": "/shipment", "link": shipments},
        "quote_currency_code": "USD",
        "exchange_rate": 1.0825,
        "invoice_type": "freight",
        "service_level": "Standard",
        **fields,
    }


def line(amount: Any = "60.70", **fields: Any) -> dict[str, Any]:
    return {
        "_object": "/commercial_invoice_line_item",
        "document_line_number": 1,
        "product": link("/product", 84_291),
        "purchase_order_number": "PO-4471",
        "container_number": {"id": 9, "container_number": "CSQU3054383", "deleted_at": None},
        "total_units": 10,
        "price_per_unit": money("6.07"),
        "value": money(amount),
        "net_value": money(amount),
        "first_sale_value": None,
        "weight": {"_object": "/quantity/weight", "value": "12.34", "unit": "kg"},
        "volume": {"_object": "/quantity/volume", "value": 0.5, "unit": "cbm"},
        "net_weight": None,
        "net_net_weight": None,
        "manufacturer_name": "Example Works",
        "manufacturer_address": {"_object": "/address", "city": "Shenzhen", "country_code": "CN", "ref": "id-4"},
        "metadata": {},
        **fields,
    }


def commercial_invoice(key: str = "abcxyz-23456-def", **fields: Any) -> dict[str, Any]:
    seller = {
        "_object": "/customs/involved_party",
        "type": "seller",
        "name": "Example Works",
        "company_entity": link("/company_entity", 81),
        "address": {"_object": "/address", "city": "Shenzhen", "country_code": "CN"},
    }
    return {
        "_object": "/commercial_invoice",
        "id": key,
        "shipment": link("/shipment", 910_233),
        "invoice_number": "CI-2026-17",
        "digitization_status": "complete",
        "is_related_parties": False,
        "total_value": money("100"),
        "total_unit_count": "20",
        "total_weight": {"_object": "/quantity/weight", "value": 24.68, "unit": "kg"},
        "total_volume": {"_object": "/quantity/volume", "value": 1, "unit": "cbm"},
        "line_items": [line(), line("39.3", document_line_number=2, container_number="XYZ123")],
        "involved_parties": [seller],
        "manufacturer_addresses": [{"_object": "/address", "city": "Shenzhen", "country_code": "CN", "ref": "id-4"}],
        "metadata": {"PO #": ["4471"]},
        "updated_at": "2026-03-04T02:41:09.377Z",
        **fields,
    }


def customs_entry(key: str = "abcdefg-1234567-hijk", **fields: Any) -> dict[str, Any]:
    return {
        "_object": "/customs_entry",
        "id": key,
        "entry_number": "ABC-123456-7",
        "release_status": "cleared",
        "release_date": "2026-03-22",
        "shipment": link("/shipment", 910_233),
        **fields,
    }
