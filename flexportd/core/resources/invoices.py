"""Freight invoices: Flexport's charges, the outstanding amount, and the due date."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import msgspec

from flexportd.core.resources import shipments
from flexportd.core.resources.money import (
    amount,
    as_json,
    currency,
    decimal_text,
    format_number,
    money,
    subtract,
    sums,
)
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import decode_list, instant, json_text, text, texts
from flexportd.flexport.models.invoices import CreditMemo, Invoice, InvoiceItem
from flexportd.flexport.models.money import ChargeNumber
from flexportd.storage.queries.filters import (
    any_of,
    before,
    before_day,
    contains,
    equals,
    from_day,
    has_amount,
    has_entry,
    since,
)
from flexportd.storage.queries.table import Field, Table, plain_fields, plausible_or_none
from flexportd.storage.transaction import Transaction

DUE_SOON = timedelta(days=7)

DueState = Literal["paid", "void", "payment_pending", "not_due", "due_soon", "overdue", "unknown"]

TABLE = Table(
    name="invoices",
    fields=(
        Field(
            "shipment_id", "integer", description="The shipment; of several, the one in the invoice's name, else null."
        ),
        Field("shipment_ids", "list", description="All shipments that the invoice is for."),
        *plain_fields("name", "type", "invoice_type", "service_level", "status", "issued_at"),
        Field("due_date", "day"),
        *plain_fields("voided_at", "last_updated_at", "total_amount", "total_currency", "balance_amount"),
        *plain_fields("balance_currency", "outstanding_amount", "outstanding_currency", "quote_currency"),
        *plain_fields("exchange_rate", "recipient", "issuer"),
        *plain_fields("items", "credit_memos", "notes", kind="list"),
    ),
    sorts={"updated_at": "as_of", "id": "id", "due_date": "due_date", "issued_at": "issued_at", "name": "name"},
    filters={
        "status": any_of("status"),
        "type": any_of("type"),
        "currency": equals("total_currency"),
        "shipment": has_entry("invoices.shipment_ids", "id"),
        "open": has_amount("outstanding_amount", "with an outstanding amount"),
        "due_after": from_day("due_date"),
        "due_before": before_day("due_date"),
        "issued_after": since("issued_at"),
        "issued_before": before("issued_at"),
        "updated_since": since("as_of"),
        "name": equals("name"),
        "q": contains("name", "recipient"),
    },
)

_NAME = re.compile(r"FLEX-([0-9]{1,18})-[0-9]+", re.IGNORECASE)


def computed_fields(invoice: Invoice) -> Mapping[str, Any]:
    """The shipments, amounts and lists of a freight invoice. `outstanding` is the balance, or 0 once void or paid."""
    shipment, total, balance = shipment_of(invoice), money("total", invoice.total), money("balance", invoice.balance)
    is_settled = instant(invoice.voided_at) is not None or text(invoice.status) in ("void", "paid")
    return {
        "shipment_id": shipment,
        "shipment_ids": json_text(invoice.shipment_ids or ([] if shipment is None else [shipment])),
        **total,
        **balance,
        "outstanding_amount": "0" if is_settled else balance["balance_amount"],
        "outstanding_currency": balance["balance_currency"] or total["total_currency"],
        "items": json_text([_item(one) for one in invoice.items or ()]),
        "credit_memos": json_text([_credit_memo(one) for one in invoice.credit_memos or ()]),
        "notes": texts(_as_list(invoice.notes)),
    }


def shipment_of(invoice: Invoice) -> int | None:
    """The shipment of an invoice: the one that it links, else the one in its name `FLEX-<shipment>-<n>`.

    None for an invoice of the type `Client`, and where several shipments are named and none of them in its name: all
    are in `shipment_ids`.
    """
    named = _NAME.fullmatch((invoice.name or "").strip())
    by_name = int(named[1]) if named and (invoice.type or "").strip().casefold() == "shipment" else None
    linked = invoice.shipment_ids
    return linked[0] if len(linked) == 1 else by_name if not linked or by_name in linked else None


def is_credit_note(fields: Mapping[str, Any]) -> bool:
    """Whether an invoice is a credit to the client, by its type or a total below zero."""
    total = amount(fields.get("total_amount"))
    return "credit" in f"{fields.get('type')} {fields.get('invoice_type')}".casefold() or (
        total is not None and total < 0
    )


def _item(item: InvoiceItem) -> dict[str, Any]:
    return {
        "name": text(item.name),
        "slug": text(item.slug),
        "category": text(item.category),
        "amount": decimal_text(item.amount.amount) if item.amount else None,
        "currency": currency(item.amount.currency_code) if item.amount else None,
        **_quantity_fields("rate", item.rate),
        **_quantity_fields("quantity", item.quantity),
    }


def _quantity_fields(name: str, value: ChargeNumber | None) -> dict[str, Any]:
    return {
        name: decimal_text(value.number) if value else None,
        f"{name}_qualifier": text(value.qualifier) if value else None,
    }


def _credit_memo(memo: CreditMemo) -> dict[str, Any]:
    return {
        "amount": decimal_text(memo.amount.amount) if memo.amount else None,
        "currency": currency(memo.amount.currency_code) if memo.amount else None,
        "categories": _merge_words(memo.category, memo.categories),
        "reasons": _merge_words(memo.reason, memo.reasons),
        "credited_at": instant(memo.credited_at),
    }


def _as_list(value: list[str | None] | str | None) -> list[str | None]:
    return value if isinstance(value, list) else [value]


def _merge_words(one: str | None, many: list[str | None] | str | None) -> list[str]:
    return list(dict.fromkeys(found for value in (one, *_as_list(many)) if (found := text(value))))


_COST = "freight_cost"
_decode_exact = msgspec.json.Decoder(float_hook=Decimal).decode


def related_values(tx: Transaction, invoices: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The freight cost of each invoice's shipment, as Flexport's JSON; none for an invoice of several shipments.

    Newer documentation has it: as decimal text, in a sample a number. Source: https://apidocs.flexport.com/v3/tag/Event.
    """
    named = [_only_shipment(fields) for fields in invoices]
    wanted = sorted({number for number in named if number is not None})
    costs = tx.resources.raw_members(shipments.TABLE, wanted, _COST)
    return [{_COST: None if number is None else costs.get(number)} for number in named]


def _only_shipment(fields: Mapping[str, Any]) -> int | None:
    number = fields.get("shipment_id")
    return number if fields.get("shipment_ids") in (None, f"[{number}]") else None


class ExpectedCost(NamedTuple):
    """The expected amount of an invoice, and how much its total differs from it, as decimal text.

    `difference` is positive if the invoice is higher; None unless both have the same, known currency.
    """

    expected_amount: str | None = None
    expected_currency: str | None = None
    difference: str | None = None


def expected_cost(fields: Mapping[str, Any]) -> ExpectedCost:
    """What the invoice is expected to amount to, by the `freight_cost` of its shipment in `fields` (Flexport's JSON).

    A plain number is in the currency of the quote, if the invoice names that; an object names its own. A void invoice
    and a credit note have no expected amount, nor has a cost that is not above zero.
    """
    stored, total = fields.get(_COST), amount(fields.get("total_amount"))
    is_void = fields.get("status") == "void" or fields.get("voided_at")
    if stored is None or is_void or is_credit_note(fields):
        return ExpectedCost()
    cost = _decode_exact(stored)
    unit = fields.get("quote_currency")
    if isinstance(cost, dict):
        code = cost.get("currency_code")
        cost, unit = cost.get("amount"), currency(code) if isinstance(code, str) else None
    expected = None if isinstance(cost, bool) else amount(cost)
    if expected is None or expected <= 0:
        return ExpectedCost()
    difference = None
    if total is not None and unit is not None and unit == fields.get("total_currency"):
        difference = format_number(subtract(total, expected))
    return ExpectedCost(format_number(expected), unit, difference)


class DueStatus(NamedTuple):
    """The due state of an invoice on a day. `days`: until it is due, or since it was due."""

    state: DueState
    days: int | None = None


def due_status(fields: Mapping[str, Any], today: date) -> DueStatus:
    """The due state of an invoice on this day.

    An invoice with an unknown status counts as open, by its due date. `unknown`: neither the status nor a plausible due
    date says.
    """
    status, until = fields.get("status"), plausible_or_none(fields.get("due_date"))
    if status == "void" or fields.get("voided_at"):
        return DueStatus("void")
    owed = amount(fields.get("outstanding_amount"))
    if status == "paid" or (status != "payment_pending" and owed is not None and owed <= 0):
        return DueStatus("paid")  # a negative balance is Flexport's to pay
    if status == "payment_pending":
        return DueStatus("payment_pending")
    left = (date.fromisoformat(until) - today).days if until else None
    if status == "past_due" or (left is not None and left < 0):
        return DueStatus("overdue", max(-left, 0) if left is not None else None)
    if left is None:
        return DueStatus("unknown")
    return DueStatus("due_soon" if left <= DUE_SOON.days else "not_due", left)


def derived_values(fields: Mapping[str, Any], today: date) -> dict[str, Any]:
    """The derived values of an invoice on this day. Amounts are decimal text, each with its currency."""
    state = due_status(fields, today)
    return {
        "due_state": state.state,
        "days_until_due": None if state.state == "overdue" else state.days,
        "days_overdue": state.days if state.state == "overdue" else None,
        "credited": as_json(sums(decode_list(fields.get("credit_memos")))),
        "charged": as_json(sums(decode_list(fields.get("items")))),
        **expected_cost(fields)._asdict(),
    }


RESOURCE_TYPE = ResourceType(
    name="invoices",
    object_name="/invoice",
    wire=Invoice,
    table=TABLE,
    computed_fields=computed_fields,
    sources={
        "shipments": ("shipment_id", "shipment_ids"),
        "name": ("name", "shipment_id", "shipment_ids"),
        "type": ("type", "shipment_id", "shipment_ids"),
        "status": ("status", "outstanding_amount"),
        "voided_at": ("voided_at", "outstanding_amount"),
        "total": ("total_amount", "total_currency", "outstanding_currency"),
        "balance": ("balance_amount", "balance_currency", "outstanding_amount", "outstanding_currency"),
        "quote_currency_code": ("quote_currency",),
    },
    timestamp=lambda invoice: invoice.last_updated_at,
    ids="text",
    singular="freight invoice",
    derived_values=derived_values,
    related_values=related_values,
)
