"""Purchase orders, their lines, and the lines of bookings."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from flexportd.core.resources.money import money
from flexportd.core.resources.network import address_line, party
from flexportd.core.resources.ports import port_of
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import day, instant, json_text, text, texts
from flexportd.flexport.models.purchase_orders import BookingLineItem, PurchaseOrder, PurchaseOrderLine
from flexportd.storage.queries.filters import any_of, before_day, contains, equals, from_day, is_present, key, since
from flexportd.storage.queries.freight_filters import ORDERS_OF_SHIPMENT
from flexportd.storage.queries.table import Field, Table

_ROUTE_FIELDS = (
    Field("origin"),
    Field("origin_port"),
    Field("origin_port_code"),
    Field("destination_port"),
    Field("destination_port_code"),
    Field("destination"),
)
_SORTS = {"updated_at": "as_of", "id": "id"}

TABLE = Table(
    name="purchase_orders",
    fields=(
        Field("name"),
        Field("status"),
        Field("buyer"),
        Field("buyer_ref"),
        Field("seller"),
        Field("seller_ref"),
        Field("incoterm"),
        Field("mode"),
        Field("cargo_ready_date", "day"),
        Field("must_arrive_date", "day"),
        *_ROUTE_FIELDS,
        Field("memo"),
        Field("archived_at"),
        Field("created_at"),
        Field("updated_at"),
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
        Field("line_number"),
        Field("item_key"),
        Field("product_id", "integer"),
        Field("product"),
        Field("sku"),
        Field("units", "integer"),
        Field("unit_of_measure"),
        Field("unit_cost_amount"),
        Field("unit_cost_currency"),
        Field("incoterm"),
        Field("mode"),
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
    fields=(
        Field("booking_id", "integer"),
        Field("purchase_order_line_item_id", "integer"),
        Field("units", "integer"),
    ),
    sorts=_SORTS,
    filters={"booking": key("booking_id"), "purchase_order_line_item": key("purchase_order_line_item_id")},
)


def normalise(order: PurchaseOrder) -> Mapping[str, Any]:
    """Our fields of a purchase order."""
    return {
        "name": text(order.name),
        "status": text(order.status),
        **party(order.buyer, "buyer"),
        **party(order.seller, "seller"),
        "cargo_ready_date": day(order.cargo_ready_date),
        **_route_fields(order),
        "memo": text(order.memo),
        "archived_at": instant(order.archived_at),
        "created_at": instant(order.created_at),
        "updated_at": instant(order.updated_at),
        "metadata": json_text(order.metadata),
    }


def normalise_line(line: PurchaseOrderLine) -> Mapping[str, Any]:
    """Our fields of a line; the cost is that of one unit."""
    product = line.product
    return {
        "purchase_order_id": line.purchase_order.target if line.purchase_order else None,
        "line_number": None if line.line_item_number is None else text(str(line.line_item_number)),
        "item_key": text(line.item_key),
        "product_id": product.target if product else None,
        "product": text(product.name) if product else None,
        "sku": text(product.sku) if product else None,
        "units": line.units,
        "unit_of_measure": text(line.unit_of_measure),
        **money("unit_cost", line.unit_cost),
        **_route_fields(line),
        "hs_codes": texts([found.code for found in line.hs_codes or ()]),
        "metadata": json_text(line.metadata),
    }


def normalise_booking_line(line: BookingLineItem) -> Mapping[str, Any]:
    """Our fields of a booking line item."""
    item = line.purchase_order_line_item
    return {
        "booking_id": line.booking.target_id if line.booking else None,
        "purchase_order_line_item_id": item.target if item else None,
        "units": line.units,
    }


def _route_fields(found: PurchaseOrder | PurchaseOrderLine) -> dict[str, Any]:
    """The transport fields that orders and their lines share."""
    return {
        "incoterm": text(found.incoterm),
        "mode": text(found.transportation_mode),
        "must_arrive_date": day(found.must_arrive_date),
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
    normalise=normalise,
    sources={
        "buyer": ("buyer", "buyer_ref"),
        "seller": ("seller", "seller_ref"),
        "transportation_mode": ("mode",),
        "origin_address": ("origin",),
        "destination_address": ("destination",),
        "origin_port": ("origin_port", "origin_port_code"),
        "destination_port": ("destination_port", "destination_port_code"),
    },
    timestamp=lambda order: order.updated_at,
    derived_values=derived_values,
    ids="any",
)

LINE_ITEMS_RESOURCE_TYPE = ResourceType(
    name="purchase_order_line_items",
    object_name="/purchase_orders/line_item",
    wire=PurchaseOrderLine,
    table=LINE_ITEMS_TABLE,
    normalise=normalise_line,
    sources={
        "purchase_order": ("purchase_order_id",),
        "line_item_number": ("line_number",),
        "product": ("product_id", "product", "sku"),
        "unit_cost": ("unit_cost_amount", "unit_cost_currency"),
        "transportation_mode": ("mode",),
        "origin_address": ("origin",),
        "destination_address": ("destination",),
        "origin_port": ("origin_port", "origin_port_code"),
        "destination_port": ("destination_port", "destination_port_code"),
    },
    ids="any",
)

BOOKING_LINES_RESOURCE_TYPE = ResourceType(
    name="booking_line_items",
    object_name="/purchase_orders/booking_line_item",
    wire=BookingLineItem,
    table=BOOKING_LINES_TABLE,
    normalise=normalise_booking_line,
    sources={"booking": ("booking_id",), "purchase_order_line_item": ("purchase_order_line_item_id",)},
    ids="any",
)
