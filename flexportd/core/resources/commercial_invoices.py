"""Commercial invoices: the seller's charges by line, and whether the lines add up to the total."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from flexportd.core.resources.identifiers import int_id
from flexportd.core.resources.money import (
    Sums,
    amount,
    as_json,
    decimal_text,
    format_number,
    money,
    multiply,
    rounded,
    subtract,
    sums,
)
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import decode_list, json_text, text, texts
from flexportd.flexport.models.commercial_invoices import (
    CommercialInvoice,
    CommercialInvoiceLine,
    InvolvedParty,
    LineContainer,
)
from flexportd.flexport.models.money import ExactQuantity
from flexportd.flexport.models.places import Address
from flexportd.storage.queries.filters import any_of, contains, equals, has_entry, is_true, key, since
from flexportd.storage.queries.freight_filters import COMMERCIAL_INVOICES_WITH_SKU
from flexportd.storage.queries.table import Field, Table, plain_fields

TABLE = Table(
    name="commercial_invoices",
    fields=(
        Field("shipment_id", "integer"),
        *plain_fields("invoice_number", "digitization_status"),
        Field("is_related_parties", "boolean"),
        *plain_fields("total_value_amount", "total_value_currency", "lines_value_amount", "lines_value_currency"),
        Field("adds_up", "boolean"),
        Field("total_units"),
        *plain_fields("total_weight", "total_volume", kind="json"),
        Field("seller"),
        *plain_fields("parties", "manufacturers", "skus", "product_ids", "purchase_orders", kind="list"),
        *plain_fields("container_numbers", "lines", kind="list"),
        Field("metadata", "json"),
    ),
    sorts={"updated_at": "as_of", "id": "id", "invoice_number": "invoice_number"},
    filters={
        "invoice_number": equals("invoice_number"),
        "shipment": key("shipment_id"),
        "status": any_of("digitization_status"),
        "currency": equals("total_value_currency"),
        "adds_up": is_true("adds_up", "whose lines add up to the total"),
        "sku": COMMERCIAL_INVOICES_WITH_SKU,
        "po": has_entry("commercial_invoices.purchase_orders"),
        "container": has_entry("commercial_invoices.container_numbers"),
        "updated_since": since("as_of"),
        "q": contains("invoice_number", "seller"),
    },
)


def computed_fields(invoice: CommercialInvoice) -> Mapping[str, Any]:
    """The total, the lines and the parties of a commercial invoice."""
    lines = [_line(one) for one in invoice.line_items or ()]
    parties = [_party(one) for one in invoice.involved_parties or ()]
    products = (one["product_id"] for one in lines if one["product_id"] is not None)
    total = money("total_value", invoice.total_value)
    return {
        **total,
        **_lines_value(lines, total),
        "seller": next((one["name"] for one in parties if (one["type"] or "").casefold() == "seller"), None),
        "parties": json_text(parties),
        "manufacturers": json_text([_place(one) for one in invoice.manufacturer_addresses or ()]),
        "skus": texts(one["sku"] for one in lines),
        "product_ids": json_text(list(dict.fromkeys(products))),
        "purchase_orders": texts(one["purchase_order"] for one in lines),
        "container_numbers": texts(one["container_number"] for one in lines),
        "lines": json_text(lines),
    }


def _line(line: CommercialInvoiceLine) -> dict[str, Any]:
    product, number = line.product, line.document_line_number
    return {
        "line": int_id(number) if number else None,
        "product_id": product.target if product else None,
        "product": text(product.name) if product else None,
        "sku": text(product.sku) if product else None,
        "purchase_order": text(line.purchase_order_number),
        "container_number": _container(line.container_number),
        "units": decimal_text(line.total_units),
        **money("price", line.price_per_unit),
        **money("value", line.value),
        **money("net_value", line.net_value),
        **money("first_sale_value", line.first_sale_value),
        **_measured("weight", line.weight),
        **_measured("volume", line.volume),
        **_measured("net_weight", line.net_weight),
        **_measured("net_net_weight", line.net_net_weight),
        "manufacturer": text(line.manufacturer_name),
        "manufacturer_country": text(line.manufacturer_address.country_code) if line.manufacturer_address else None,
    }


def _container(value: LineContainer | str | None) -> str | None:
    if isinstance(value, LineContainer):
        return None if text(value.deleted_at) else text(value.container_number)
    return text(value)


def _measured(name: str, value: ExactQuantity | None) -> dict[str, Any]:
    """A weight or volume of a line: 0 means "unknown", and nothing weighs less."""
    found = amount(value.value) if value else None
    if value is None or found is None or found <= 0:
        return {name: None, f"{name}_unit": None}
    return {name: format_number(found), f"{name}_unit": text(value.unit)}


def _party(party: InvolvedParty) -> dict[str, Any]:
    return {
        "type": text(party.type),
        "name": text(party.name),
        "entity_id": party.company_entity.target if party.company_entity else None,
        "country_code": text(party.address.country_code) if party.address else None,
    }


def _place(address: Address) -> dict[str, Any]:
    return {"ref": text(address.ref), "city": text(address.city), "country_code": text(address.country_code)}


def _lines_value(lines: list[dict[str, Any]], total: Mapping[str, str | None]) -> dict[str, Any]:
    """The sum of the lines where all have a value in one currency, and whether it equals the total."""
    values = [_value(one) for one in lines]
    found = sums(values)
    if len(found) != 1 or any(one["amount"] is None for one in values):
        return {"lines_value_amount": None, "lines_value_currency": None, "adds_up": None}
    ((unit, value),) = found.items()
    fields = {"lines_value_amount": format_number(value), "lines_value_currency": unit}
    gap = unaccounted_value({**fields, **total})
    return {**fields, "adds_up": None if gap is None else gap == 0}


def _value(line: Mapping[str, Any]) -> dict[str, str | None]:
    """The value of a line: as stated, else its price times its units."""
    if line["value_amount"] is not None:
        return {"amount": line["value_amount"], "currency": line["value_currency"]}
    price, units = amount(line["price_amount"]), amount(line["units"])
    worth = None if price is None or units is None else format_number(multiply(price, units))
    return {"amount": worth, "currency": line["price_currency"]}


def unaccounted_value(fields: Mapping[str, Any]) -> Decimal | None:
    """The total less the sum of the lines, in the total's currency; None when the two cannot be compared."""
    total, lines = amount(fields.get("total_value_amount")), amount(fields.get("lines_value_amount"))
    unit = fields.get("total_value_currency")
    if total is None or lines is None or unit != fields.get("lines_value_currency"):
        return None
    return subtract(rounded(total, unit), lines)


def value_of_lines(fields: Mapping[str, Any]) -> Sums:
    """The sum of the values of an invoice's lines, by currency."""
    return sums(_value(line) for line in decode_list(fields.get("lines")))


def derived_values(fields: Mapping[str, Any], today: date) -> dict[str, Any]:  # noqa: ARG001 (one signature for all domains)
    """The derived values of an invoice: the sums of its lines, and the rest of the total."""
    gap = unaccounted_value(fields)
    return {
        "lines_value_by_currency": as_json(value_of_lines(fields)),
        "unaccounted": None if gap is None else format_number(gap),
    }


RESOURCE_TYPE = ResourceType(
    name="commercial_invoices",
    object_name="/commercial_invoice",
    wire=CommercialInvoice,
    table=TABLE,
    computed_fields=computed_fields,
    sources={
        "total_value": ("total_value_amount", "total_value_currency", "adds_up"),
        "total_unit_count": ("total_units",),
        "line_items": (
            "lines_value_amount",
            "lines_value_currency",
            "adds_up",
            "skus",
            "product_ids",
            "purchase_orders",
            "container_numbers",
            "lines",
        ),
        "involved_parties": ("seller", "parties"),
        "manufacturer_addresses": ("manufacturers",),
    },
    timestamp=lambda invoice: invoice.updated_at,
    ids="text",
    derived_values=derived_values,
)
