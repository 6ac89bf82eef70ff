"""`/commercial_invoice`: what the seller charges, the basis of customs.

Source: https://apidocs.flexport.com/v2/tag/Commercial-Invoices; `digitization_status` and `updated_at`:
https://apidocs.flexport.com/v3/tag/Commercial-Invoices.
"""

from typing import Any

from flexportd.flexport.models.money import ExactModel, ExactQuantity, Money
from flexportd.flexport.models.places import Address
from flexportd.flexport.models.wire import Amount, Flag, Moment, Quantity, Reference, Text, TextId, WireModel, Word


class LineContainer(WireModel):
    """The container of a line as the schema has it; samples have its bare number."""

    container_number: Text = None
    deleted_at: Moment = None


class LineProduct(Reference):
    """The product of a line: a link, or the product itself where it was expanded."""

    name: Text = None
    sku: Text = None


class CommercialInvoiceLine(WireModel):
    """One line: so many units of a product at a price."""

    document_line_number: Text = None
    product: LineProduct | None = None
    purchase_order_number: Text = None
    container_number: LineContainer | Text = None
    total_units: Amount = None
    price_per_unit: Money | None = None
    value: Money | None = None
    net_value: Money | None = None
    first_sale_value: Money | None = None
    weight: ExactQuantity | None = None
    volume: ExactQuantity | None = None
    net_weight: ExactQuantity | None = None
    net_net_weight: ExactQuantity | None = None
    manufacturer_name: Text = None
    manufacturer_address: Address | None = None


class InvolvedParty(WireModel):
    """A party to the invoice, such as seller or consignee."""

    type: Word = None
    name: Text = None
    company_entity: Reference | None = None
    address: Address | None = None


class CommercialInvoice(ExactModel):
    """A commercial invoice; one that is not digitised is not there."""

    id: TextId
    shipment: Reference | None = None
    invoice_number: Text = None
    digitization_status: Word = None
    is_related_parties: Flag | None = None
    total_value: Money | None = None
    total_unit_count: Amount = None
    total_weight: Quantity | None = None
    total_volume: Quantity | None = None
    line_items: list[CommercialInvoiceLine] | None = None
    involved_parties: list[InvolvedParty] | None = None
    manufacturer_addresses: list[Address] | None = None
    metadata: dict[str, Any] | None = None
    updated_at: Moment = None
