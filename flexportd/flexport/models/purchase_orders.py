"""Purchase orders, their lines, and what of a line is on which booking.

Sources: https://apidocs.flexport.com/v2/tag/PurchaseOrder, `…/PurchaseOrderLineItem`, `…/BookingLineItem`. The ids of
lines belong to the newest version of their order and may change. Never recorded: access needs a permission.
"""

from typing import Any

from flexportd.flexport.models.bookings import BookingHsCode
from flexportd.flexport.models.money import ExactModel, Money
from flexportd.flexport.models.network import Link, PostalAddress
from flexportd.flexport.models.places import CompanyEntity, Place
from flexportd.flexport.models.wire import AnyId, Day, Moment, Text, Whole, WireModel, Word

STATUSES = {"open": "Open", "closed": "Closed", "cancelled": "Cancelled"}


class OrderedProduct(Link):
    """The product of a line, or a link to it."""

    name: Text = None
    sku: Text = None


class PurchaseOrder(WireModel):
    """What was ordered of whom, and by when it must be there."""

    id: AnyId
    name: Text = None
    status: Word = None
    seller: CompanyEntity | None = None
    buyer: CompanyEntity | None = None
    incoterm: Word = None
    transportation_mode: Word = None
    cargo_ready_date: Day = None
    must_arrive_date: Day = None
    origin_port: Place | None = None
    origin_address: PostalAddress | None = None
    destination_port: Place | None = None
    destination_address: PostalAddress | None = None
    memo: Text = None
    archived_at: Moment = None
    created_at: Moment = None
    updated_at: Moment = None
    metadata: dict[str, Any] | None = None


class PurchaseOrderLine(ExactModel):
    """One line of a purchase order."""

    id: AnyId
    purchase_order: Link | None = None
    line_item_number: int | str | None = None
    item_key: Text = None
    product: OrderedProduct | None = None
    units: Whole | None = None
    unit_of_measure: Word = None
    unit_cost: Money | None = None
    incoterm: Word = None
    transportation_mode: Word = None
    must_arrive_date: Day = None
    origin_port: Place | None = None
    origin_address: PostalAddress | None = None
    destination_port: Place | None = None
    destination_address: PostalAddress | None = None
    hs_codes: list[BookingHsCode] | None = None
    metadata: dict[str, Any] | None = None


class BookingLineItem(WireModel):
    """Units of a line, put on a booking."""

    id: AnyId
    booking: Link | None = None
    purchase_order_line_item: Link | None = None
    units: Whole | None = None
