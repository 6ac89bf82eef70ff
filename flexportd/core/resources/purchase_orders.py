"""Purchase orders, their lines, and the lines of bookings."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from flexportd.core.resources.money import money
from flexportd.core.resources.network import address_line, party
from flexportd.core.resources.ports import port_of
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import text, texts
from flexportd.flexport.models.purchase_orders import BookingLineItem, PurchaseOrder, PurchaseOrderLine
from flexportd.storage.queries.filters import any_of, before_day, contains, equals, from_day, is_present, key, since
from flexportd.storage.queries.freight_filters import ORDERS_OF_SHIPMENT
from flexportd.storage.queries.table import Field, Table, plain_fields

_ROUTE_FIELDS = (
    *plain_fields("origin", "origin_port", "origin_port_code", "destination_port", "destination_port_code"),
    Field("destination"),
)
_SORTS = {"updated_at": "as_of", "id": "id"}

TABLE = Table(
    name="purchase_orders",
    fields=(
        *plain_fields("name", "status", "buyer", "buyer_ref", "seller", "seller_ref", "incoterm", "mode"),
        *plain_fields("cargo_ready_date", "must_arrive_date", kind="day"),
        *_ROUTE_FIELDS,
        *plain_fields("memo", "archived_at", "created_at", "updated_at"),
        Field("metadata", "json"),
    ),
    sorts=_SORTS | {"must_arrive_date": "must_arrive_date"},
    filters={
        "status": any_of("status"),
        "name": equals("name"),
        "q": contains("name", "memo"),
        "buyer": contains("buyer", "buyer_ref"),
        "seller": contains("seller", "seller_ref"),
        "archived": is_present("archived_at", "archived at Flexport"),
        "must_arrive_after": from_day("must_arrive_date"),
        "must_arrive_before": before_day("must_arrive_date"),
        "updated_since": since("as_of"),
        "shipment": ORDERS_OF_SHIPMENT,
    },
)

LINE_ITEMS_TABLE = Table(
    name="purchase_order_line_items",
    fields=(
        Field("purchase_order_id", "integer"),
        *plain_fields("line_number", "item_key"),
        Field("product_id", "integer"),
        *plain_fields("product", "sku"),
        Field("units", "integer"),
        *plain_fields("unit_of_measure", "unit_cost_amount", "unit_cost_currency", "incoterm", "mode"),
        Field("must_arrive_date", "day"),
        *_ROUTE_FIELDS,
        Field("hs_codes", "list"),
        Field("metadata", "json"),
    ),
    sorts=_SORTS,
    filters={
        "purchase_order": key("purchase_order_id"),
        "sku": equals("sku"),
        "item_key": equals("item_key"),
        "q": contains("product", "sku", "item_key"),
    },
)

BOOKING_LINES_TABLE = Table(
    name="booking_line_items",
    fields=(*plain_fields("booking_id", "purchase_order_line_item_id", "units", kind="integer"),),
    sorts=_SORTS,
    filters={"booking": key("booking_id"), "purchase_order_line_item": key("purchase_order_line_item_id")},
)


def computed_fields(order: PurchaseOrder) -> Mapping[str, Any]:
    """The parties and the route of a purchase order."""
    return {**party(order.buyer, "buyer"), **party(order.seller, "seller"), **_route_fields(order)}


def computed_line_fields(line: PurchaseOrderLine) -> Mapping[str, Any]:
    """The product, cost and route of a line; the cost is that of one unit."""
    product = line.product
    return {
        "purchase_order_id": line.purchase_order.target if line.purchase_order else None,
        "line_number": None if line.line_item_number is None else text(str(line.line_item_number)),
        "product_id": product.target if product else None,
        "product": text(product.name) if product else None,
        "sku": text(product.sku) if product else None,
        **money("unit_cost", line.unit_cost),
        **_route_fields(line),
        "hs_codes": texts([found.code for found in line.hs_codes or ()]),
    }


def computed_booking_line_fields(line: BookingLineItem) -> Mapping[str, Any]:
    """The order's line of a booking line item."""
    item = line.purchase_order_line_item
    return {"purchase_order_line_item_id": item.target if item else None}


def _route_fields(found: PurchaseOrder | PurchaseOrderLine) -> dict[str, Any]:
    return {
        "origin": address_line(found.origin_address),
        **port_of(found.origin_port, "origin_port"),
        **port_of(found.destination_port, "destination_port"),
        "destination": address_line(found.destination_address),
    }


def derived_values(fields: Mapping[str, Any], today: date) -> dict[str, Any]:
    """The derived values of an order on this day: days until it must arrive, negative when past."""
    arrive = fields["must_arrive_date"]
    return {"days_until_must_arrive": (date.fromisoformat(arrive) - today).days if arrive else None}


RESOURCE_TYPE = ResourceType(
    name="purchase_orders",
    object_name="/purchase_order",
    wire=PurchaseOrder,
    table=TABLE,
    computed_fields=computed_fields,
    sources={"transportation_mode": ("mode",)},
    timestamp=lambda order: order.updated_at,
    derived_values=derived_values,
    ids="any",
)

LINE_ITEMS_RESOURCE_TYPE = ResourceType(
    name="purchase_order_line_items",
    object_name="/purchase_orders/line_item",
    wire=PurchaseOrderLine,
    table=LINE_ITEMS_TABLE,
    computed_fields=computed_line_fields,
    sources={
        "line_item_number": ("line_number",),
        "product": ("product_id", "product", "sku"),
        "transportation_mode": ("mode",),
    },
    ids="any",
)

BOOKING_LINES_RESOURCE_TYPE = ResourceType(
    name="booking_line_items",
    object_name="/purchase_orders/booking_line_item",
    wire=BookingLineItem,
    table=BOOKING_LINES_TABLE,
    computed_fields=computed_booking_line_fields,
    ids="any",
)
