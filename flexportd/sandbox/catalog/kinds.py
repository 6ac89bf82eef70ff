"""The kinds of wire objects, which are their `_object`, and the paths of their lists."""

from typing import Any

Wire = dict[str, Any]

SHIPMENT, LEG, EVENT = "/shipment", "/shipment_leg", "/event"
CONTAINER, CONTAINER_LEG = "/ocean/shipment_container", "/ocean/shipment_container_leg"
# Objects that follow from shipments.
BOOKING, BOOKING_LINE = "/booking", "/purchase_orders/booking_line_item"
ORDER, ORDER_LINE = "/purchase_order", "/purchase_orders/line_item"
INVOICE, COMMERCIAL_INVOICE = "/invoice", "/commercial_invoice"
CUSTOMS_ENTRY, DOCUMENT = "/customs_entry", "/document"
# Other objects of an account.
PRODUCT, PORT = "/product", "/place"
COMPANY, ENTITY, CONTACT, LOCATION = "/network/company", "/company_entity", "/network/contact", "/network/location"
# Amendments of bookings have no list.
AMENDMENT, AMENDMENTS_PATH = "/booking_amendment", "/booking_amendments"

ALL_PATHS = {
    SHIPMENT: "/shipments",
    LEG: "/shipment_legs",
    CONTAINER: "/ocean/shipment_containers",
    CONTAINER_LEG: "/ocean/shipment_container_legs",
    EVENT: "/events",
    BOOKING: "/bookings",
    BOOKING_LINE: "/booking_line_items",
    ORDER: "/purchase_orders",
    ORDER_LINE: "/purchase_order_line_items",
    INVOICE: "/invoices",
    COMMERCIAL_INVOICE: "/commercial_invoices",
    CUSTOMS_ENTRY: "/customs_entries",
    DOCUMENT: "/documents",
    PRODUCT: "/products",
    COMPANY: "/network/companies",
    ENTITY: "/network/company_entities",
    CONTACT: "/network/contacts",
    LOCATION: "/network/locations",
    PORT: "/ports",
}
