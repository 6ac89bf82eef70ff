"""Purchase orders: what was ordered, what of it is booked, what is still open, and what it costs."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import astuple, dataclass, field
from datetime import date
from decimal import Decimal
from operator import add
from typing import Any

import msgspec

from flexportd.core.resources.money import Sums, amount, as_json, format_number, money, multiply, sums
from flexportd.core.resources.network import address_line, party
from flexportd.core.resources.ports import port_of
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import day, instant, json_text, text, texts
from flexportd.flexport.models.purchase_orders import BookingLineItem, PurchaseOrder, PurchaseOrderLine
from flexportd.storage.queries.filters import any_of, before_day, contains, equals, from_day, is_present, key, since
from flexportd.storage.queries.freight_filters import ORDERS_OF_SHIPMENT
from flexportd.storage.queries.table import Field, Key, Table
from flexportd.storage.repositories.resources import Record

_ROUTE_FIELDS = (
    Field("origin"),
    Field("origin_port"),
    Field("origin_port_code"),
    Field("destination_port"),
    Field("destination_port_code"),
    Field("destination"),
)
# Numbers inside metadata remember their digits (flexport/models/money.py), which the usual encoder does not know.
_encoder = msgspec.json.Encoder(order="deterministic", enc_hook=float)
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
        "metadata": _encoder.encode(line.metadata).decode() if line.metadata else None,
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
    """How and where to, which orders and their lines say alike."""
    return {
        "incoterm": text(found.incoterm),
        "mode": text(found.transportation_mode),
        "must_arrive_date": day(found.must_arrive_date),
        "origin": address_line(found.origin_address),
        **port_of(found.origin_port, "origin_port"),
        **port_of(found.destination_port, "destination_port"),
        "destination": address_line(found.destination_address),
    }


@dataclass(frozen=True, slots=True)
class Units:
    """Units of one line, or of lines together. More than was ordered may be booked: `over_booked`."""

    ordered: int = 0
    booked: int = 0
    open: int = 0
    over_booked: int = 0

    def __add__(self, other: "Units") -> "Units":
        return Units(*map(add, astuple(self), astuple(other)))


@dataclass(frozen=True, slots=True)
class Totals:
    """A purchase order summed up.

    `by_measure` has the units apart by unit of measure (None: not said), since pieces and kilograms add up to nothing;
    `cost` is the sum of the lines by currency, and `lines_without_cost` how many lines it leaves out.
    """

    lines: int = 0
    units: Units = field(default_factory=Units)
    by_measure: Mapping[str | None, Units] = field(default_factory=dict)
    cost: Sums = field(default_factory=dict)
    lines_without_cost: int = 0
    must_arrive_date: str | None = None

    def document(self) -> dict[str, Any]:
        """As JSON: amounts as text."""
        return {
            "lines": self.lines,
            "ordered_units": self.units.ordered,
            "booked_units": self.units.booked,
            "open_units": self.units.open,
            "over_booked_units": self.units.over_booked,
            "cost": as_json(self.cost),
            "lines_without_cost": self.lines_without_cost,
            "must_arrive_date": self.must_arrive_date,
        }


def booked_units(booking_lines: Iterable[Record], withdrawn: Container[int] = ()) -> dict[Key, int]:
    """Units on bookings by line of a purchase order; what is gone, or on a withdrawn booking, books nothing."""
    found: dict[Key, int] = {}
    for line in booking_lines:
        item, units = line.fields["purchase_order_line_item_id"], line.fields["units"]
        if line.removed_at is None and item is not None and units and line.fields["booking_id"] not in withdrawn:
            found[item] = found.get(item, 0) + units
    return found


def balance(line: Mapping[str, Any], booked: int) -> Units:
    """The units of one line, from its stored fields. A line that does not say how many has none open."""
    ordered = line["units"]
    if ordered is None:
        return Units(booked=booked)
    return Units(ordered, booked, max(ordered - booked, 0), max(booked - ordered, 0))


def line_cost(line: Mapping[str, Any]) -> Decimal | None:
    """What a line costs, from its stored fields, to the digit; None when units or cost are not given."""
    one, units = amount(line["unit_cost_amount"]), line["units"]
    return None if one is None or units is None else multiply(one, Decimal(units))


def totals(order: Mapping[str, Any], lines: Iterable[Record], booked: Mapping[Key, int]) -> Totals:
    """A purchase order summed up from its stored fields, its lines, and the units booked by line.

    Where the order itself does not say by when it must arrive, the earliest of its lines does.
    """
    units, days = Units(), [order["must_arrive_date"]]
    by_measure: dict[str | None, Units] = {}
    costs: list[dict[str, str | None]] = []
    for line in (line for line in lines if line.removed_at is None):
        fields, found, cost = line.fields, balance(line.fields, booked.get(line.id, 0)), line_cost(line.fields)
        measure = fields["unit_of_measure"]
        units += found
        by_measure[measure] = by_measure.get(measure, Units()) + found
        costs.append(
            {"amount": None if cost is None else format_number(cost), "currency": fields["unit_cost_currency"]}
        )
        days.append(None if order["must_arrive_date"] else fields["must_arrive_date"])
    without_cost = sum(cost["amount"] is None for cost in costs)
    arrive = min((one for one in days if one), default=None)
    return Totals(len(costs), units, by_measure, sums(costs), without_cost, arrive)


def derived_values(fields: Mapping[str, Any], today: date) -> dict[str, Any]:
    """What follows from an order's fields on this day: days until it must arrive, below 0 when past."""
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
