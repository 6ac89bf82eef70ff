"""`/invoice`: what Flexport charges. Source: https://apidocs.flexport.com/v2/tag/Invoices.

`voided_at` and `last_updated_at` (null until the first adjustment):
https://developers.flexport.com/tutorials/freight-invoices-api-tutorial.
"""

import re
from collections.abc import Iterator
from typing import Any

from flexportd.flexport.models.money import ChargeNumber, Currency, ExactModel, Money
from flexportd.flexport.models.places import CompanyEntity
from flexportd.flexport.models.wire import Amount, Day, Moment, Text, TextId, WireModel, Word

# What each status means, in the order of an invoice's life; `void` may follow on any.
STATUSES = {
    "outstanding": "Open",
    "past_due": "Past due",
    "payment_pending": "Payment under way",
    "paid": "Paid",
    "void": "Cancelled",
}

_NAMED_IN_LINK = re.compile(r"/shipments/([0-9]{1,18})/?(?:[?#]|$)|[?&]f\.(?:shipment[._])?id=([0-9]{1,18})(?:[&#]|$)")


class InvoiceItem(WireModel):
    """One charge; `rate` may be a percentage, as its qualifier says."""

    name: Text = None
    slug: Text = None
    category: Word = None
    amount: Money | None = None
    rate: ChargeNumber | None = None
    quantity: ChargeNumber | None = None


class CreditMemo(WireModel):
    """A credit on an invoice. Some answers carry the lists `categories` and `reasons` instead of one of each."""

    amount: Money | None = None
    category: Word = None
    categories: list[Text] | Text = None
    reason: Text = None
    reasons: list[Text] | Text = None
    credited_at: Moment = None


class Invoice(ExactModel):
    """A freight invoice. `shipments` is documented as an object, and a link to a collection in the samples."""

    id: TextId
    name: Text = None
    type: Word = None
    invoice_type: Word = None
    service_level: Word = None
    status: Word = None
    issued_at: Moment = None
    due_date: Day = None
    voided_at: Moment = None
    last_updated_at: Moment = None
    total: Money | None = None
    balance: Money | None = None
    quote_currency_code: Currency = None
    exchange_rate: Amount = None
    recipient: CompanyEntity | None = None
    issuer: CompanyEntity | None = None
    items: list[InvoiceItem] | None = None
    credit_memos: list[CreditMemo] | None = None
    notes: list[Text] | Text = None
    shipments: Any = None

    @property
    def shipment_ids(self) -> list[int]:
        """The shipments that `shipments` names: a link, an object, a list of either, or a page of them."""
        return list(dict.fromkeys(_shipment_ids(self.shipments)))


def _shipment_ids(value: Any) -> Iterator[int]:
    inner = value.get("data") if isinstance(value, dict) else value
    for one in inner if isinstance(inner, list) else [value]:
        if not isinstance(one, dict):
            continue
        number, link = one.get("id"), one.get("link")
        if isinstance(number, str) and number.isascii() and number.isdigit() and len(number) <= 18:
            yield int(number)
        elif isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**63:
            yield number
        elif isinstance(link, str) and (named := _NAMED_IN_LINK.search(link)):
            yield int(named[1] or named[2])
