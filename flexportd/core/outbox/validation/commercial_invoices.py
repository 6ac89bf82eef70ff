"""Bodies of commercial invoices: https://apidocs.flexport.com/v2/tag/Commercial-Invoices.

The lines are checked to the cent: a line's value is its quantity times its price.
"""

from collections.abc import Mapping
from decimal import Decimal

from flexportd.core.outbox.validation.account import Account
from flexportd.core.outbox.validation.problems import FieldProblem, ObjectReader, read_body, shown
from flexportd.core.outbox.validation.shapes import check_country, check_metadata_values, check_money, check_quantity
from flexportd.core.outbox.validation.vocabulary import CURRENCIES, QUANTITY_UNITS, VOLUME_UNITS, WEIGHT_UNITS
from flexportd.core.resources.money import format_number, minor_units, multiply, rounded, subtract
from flexportd.flexport.models.money import MINOR_UNITS
from flexportd.storage.queries.table import Key

SHIPMENT_FIELDS = ("shipment_id", "shipment_ref", "shipment_ref_name")
"""The names of an invoice's shipment, of which exactly one is given; the tutorial has the last one."""

_HALF = Decimal("0.5")


def check_new_invoice(body: object, account: Account) -> list[FieldProblem]:
    """The problems of the body of POST /commercial_invoices."""
    invoice = read_body(body)
    invoice.require("invoice_number", "currency_code", "proration_amount", "line_items")
    invoice.exactly_one(*SHIPMENT_FIELDS)
    invoice.check_id("shipment_id", lambda key: account.has("shipments", key), "shipment")
    for name in SHIPMENT_FIELDS[1:]:
        invoice.line(name)
    _check_fields(invoice, account, None)
    return invoice.problems.finish()


def check_invoice_update(body: object, account: Account, invoice_id: Key | None = None) -> list[FieldProblem]:
    """The problems of the body of PATCH /commercial_invoices/{id}: all fields are optional, and the lines are replaced.

    The currency that is not given is that of the stored invoice with this id.
    """
    invoice = read_body(body)
    record = None if invoice_id is None else account.find("commercial_invoices", invoice_id)
    _check_fields(invoice, account, record.fields["lines_value_currency"] if record else None)
    invoice.require_change()
    return invoice.problems.finish()


def _check_fields(invoice: ObjectReader, account: Account, stored_currency: str | None) -> None:
    invoice.line("invoice_number")
    currency = invoice.choice("currency_code", CURRENCIES) or stored_currency or _first_currency(invoice)
    invoice.boolean("is_related_parties")
    check_money(invoice, "proration_amount", currency)
    for _ in invoice.texts("manufacturer_refs"):
        pass
    for one in invoice.children("involved_parties"):
        one.require("type", "company_entity_ref")
        one.text("type")
        one.check_reference("company_entity_ref", account.has_entity, "company entity")
    _check_metadata(invoice)
    for line in invoice.children("line_items", empty=False):
        _check_line(line, account, currency)


def _check_metadata(parent: ObjectReader) -> None:
    """Metadata: an object in Flexport's document, a list of `{name, value}` in its tutorial; either is accepted."""
    if not isinstance(parent.value("metadata"), list):
        check_metadata_values(parent, "metadata")
        return
    for one in parent.children("metadata"):
        one.require("name", "value")
        one.text("name")
        one.text("value", blank=True)


def _check_line(line: ObjectReader, account: Account, currency: str | None) -> None:
    line.require("product_sku", "quantity", "value", "price_per_unit")
    line.check_reference("product_sku", account.has_product, "product with this SKU")
    quantity = check_quantity(line, "quantity", QUANTITY_UNITS)
    value = check_money(line, "value", currency)
    price = check_money(line, "price_per_unit", currency)
    _check_value(line, quantity, price, value, currency)
    for name in ("net_value", "first_sale_value"):
        check_money(line, name, currency)
    for name in ("gross_weight", "net_weight", "net_net_weight"):
        check_quantity(line, name, WEIGHT_UNITS)
    check_quantity(line, "volume", VOLUME_UNITS)
    line.integer("document_line_number", 1)
    for name in ("purchase_order_number", "container_number"):
        line.text(name, blank=True)
    check_country(line, "country_of_origin")
    _check_metadata(line)


def _check_value(
    line: ObjectReader, quantity: Decimal | None, price: Decimal | None, value: Decimal | None, currency: str | None
) -> None:
    """The value may be rounded to the currency's smallest unit, and half of one either way."""
    if quantity is None or price is None or value is None:
        return
    exact = multiply(price, quantity)
    is_rounded = value == rounded(value, currency)
    if value != exact and not (is_rounded and abs(subtract(value, exact)) <= _HALF.scaleb(-minor_units(currency))):
        line.problems.add(
            line.place("value", "amount"),
            f"value is {shown(format_number(value))}; quantity times price_per_unit, "
            f"{shown(format_number(rounded(exact, currency)))}, is allowed",
        )


def _first_currency(invoice: ObjectReader) -> str | None:
    """The first currency of a line's value, for an invoice whose own is unknown."""
    lines = invoice.fields.get("line_items")
    for line in lines if isinstance(lines, list) else ():
        value = line.get("value") if isinstance(line, Mapping) else None
        code = value.get("currency_code") if isinstance(value, Mapping) else None
        if isinstance(code, str) and code in MINOR_UNITS:
            return code
    return None
