"""Purchase orders, their lines, and what of a line is on which booking.

Sources: https://apidocs.flexport.com/v2/tag/PurchaseOrder, `…/PurchaseOrderLineItem`, `…/BookingLineItem`. The ids of
lines belong to the newest version of their order and may change. Never recorded: access needs a permission.
"""

import contextlib
from decimal import Decimal
from typing import Any, Self

import msgspec
from pydantic import PrivateAttr

from flexportd.flexport.bookings import HsCode
from flexportd.flexport.network import Link, PostalAddress
from flexportd.flexport.places import CompanyEntity, Place
from flexportd.flexport.wire import AnyId, Text, Whole, WireModel

STATUSES = {"open": "Open", "closed": "Closed", "cancelled": "Cancelled"}


class Money(WireModel):
    """An amount, as a text or as a number, and its currency."""

    amount: int | float | str | None = None
    currency_code: Text = None


class OrderedProduct(Link):
    """The product of a line, or a link to it."""

    name: Text = None
    sku: Text = None


class PurchaseOrder(WireModel):
    """What was ordered of whom, and by when it must be there."""

    id: AnyId
    name: Text = None
    status: Text = None
    seller: CompanyEntity | None = None
    buyer: CompanyEntity | None = None
    incoterm: Text = None
    transportation_mode: Text = None
    cargo_ready_date: Text = None
    must_arrive_date: Text = None
    origin_port: Place | None = None
    origin_address: PostalAddress | None = None
    destination_port: Place | None = None
    destination_address: PostalAddress | None = None
    memo: Text = None
    archived_at: Text = None
    created_at: Text = None
    updated_at: Text = None
    metadata: dict[str, Any] | None = None


class _ExactMoney(msgspec.Struct):
    amount: Decimal


class _ExactLine(msgspec.Struct):
    unit_cost: _ExactMoney


_exact = msgspec.json.Decoder(_ExactLine)


class PurchaseOrderLine(WireModel):
    """One line of a purchase order."""

    id: AnyId
    purchase_order: Link | None = None
    line_item_number: int | str | None = None
    item_key: Text = None
    product: OrderedProduct | None = None
    units: Whole | None = None
    unit_of_measure: Text = None
    unit_cost: Money | None = None
    incoterm: Text = None
    transportation_mode: Text = None
    must_arrive_date: Text = None
    origin_port: Place | None = None
    origin_address: PostalAddress | None = None
    destination_port: Place | None = None
    destination_address: PostalAddress | None = None
    hs_codes: list[HsCode] | None = None
    metadata: dict[str, Any] | None = None

    _exact_cost: Decimal | None = PrivateAttr(default=None)

    @classmethod
    def load(cls, text: bytes) -> tuple[Self, list[str]]:
        """As of every model; a cost that is a number rather than a text is taken to the last digit."""
        model, problems = super().load(text)
        if model.unit_cost is not None and isinstance(model.unit_cost.amount, float):
            with contextlib.suppress(msgspec.DecodeError):  # not a number in JSON's sense, such as NaN
                model._exact_cost = _exact.decode(text).unit_cost.amount  # noqa: SLF001 (its own)
        return model, problems

    @property
    def cost(self) -> Decimal | int | float | str | None:
        """The amount of one unit's cost, as exact as it came."""
        if self._exact_cost is not None:
            return self._exact_cost
        return self.unit_cost.amount if self.unit_cost else None


class BookingLineItem(WireModel):
    """Units of a line, put on a booking."""

    id: AnyId
    booking: Link | None = None
    purchase_order_line_item: Link | None = None
    units: Whole | None = None
