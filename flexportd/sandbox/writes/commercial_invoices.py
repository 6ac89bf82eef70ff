"""Commercial invoices. A number is unique among the invoices of one seller: a second one is refused."""

from decimal import Decimal

from flexportd.errors import InvalidError
from flexportd.sandbox.catalog.kinds import COMMERCIAL_INVOICE, ENTITY, LOCATION, PRODUCT, SHIPMENT, Wire
from flexportd.sandbox.catalog.wire_objects import money, utc, wire_object
from flexportd.sandbox.writes.account import AccountObjects
from flexportd.sandbox.writes.body import RequestBody, money_wire

_QUANTITY_UNITS = ("pcs", "dpc", "doz", "hun", "ths", "prs", "dpr")
# The document says `shipment_ref`, the tutorial `shipment_ref_name`.
_SHIPMENT_FIELDS = ("shipment_id", "shipment_ref", "shipment_ref_name")


def create_commercial_invoice(account: AccountObjects, body: RequestBody) -> Wire:
    """An invoice of one shipment, with its lines."""
    shipment = _shipment(account, body)
    currency = body.text("currency_code")
    body.money("proration_amount", currency)
    parties = _parties(account, body)
    lines = _lines(account, body, currency)
    made = wire_object(
        COMMERCIAL_INVOICE,
        id=account.text_id(COMMERCIAL_INVOICE),
        invoice_number=_new_number(account, body, parties),
        involved_parties=parties,
        is_related_parties=body.optional("is_related_parties", RequestBody.flag) or False,
        manufacturer_addresses=_manufacturers(account, body),
        metadata=_metadata(body),
        shipment=account.world.links.to_object(SHIPMENT, shipment["id"]),
        updated_at=utc(account.world.now),
        **lines,
    )
    account.world.put(made)
    return made


def update_commercial_invoice(account: AccountObjects, body: RequestBody, key: str) -> Wire:
    """Change the fields that are given; lines are replaced whole. Raises NotFoundError."""
    invoice = account.world.find(COMMERCIAL_INVOICE, key)
    fields: Wire = {"updated_at": utc(account.world.now)}
    currency = body.optional("currency_code", RequestBody.text) or invoice["total_value"]["currency_code"]
    if "proration_amount" in body:
        body.money("proration_amount", currency)
    if "line_items" in body:
        fields |= _lines(account, body, currency)
    elif currency != invoice["total_value"]["currency_code"]:
        raise body.error("line_items", "is required where the currency changes")
    if "invoice_number" in body and body.text("invoice_number") != invoice["invoice_number"]:
        fields["invoice_number"] = _new_number(account, body, invoice["involved_parties"])
    if "is_related_parties" in body:
        fields["is_related_parties"] = body.flag("is_related_parties")
    if "manufacturer_refs" in body:
        fields["manufacturer_addresses"] = _manufacturers(account, body)
    if "metadata" in body:
        fields["metadata"] = _metadata(body)
    return account.world.override(COMMERCIAL_INVOICE, key, fields)


def _shipment(account: AccountObjects, body: RequestBody) -> Wire:
    """By its id, or by a reference: here its name, or its number with `FLEX-` before it."""
    name = str(body.only_one(_SHIPMENT_FIELDS))
    if name == "shipment_id":
        return account.find(SHIPMENT, body, name)
    ref = body.text(name)
    for row in account.world.collections[SHIPMENT].rows():
        if ref in {row["name"], f"FLEX-{row['id']}"}:
            return row
    raise body.error(name, f"is {ref[:50]!r}: there is no such shipment")


def _new_number(account: AccountObjects, body: RequestBody, parties: list[Wire]) -> str:
    number = body.text("invoice_number")
    for row in account.world.collections[COMMERCIAL_INVOICE].rows():
        if row["invoice_number"] == number and _sellers(row["involved_parties"]) == _sellers(parties):
            raise body.error("invoice_number", f"is {number[:50]!r}, which this seller has already used")
    return number


def _sellers(parties: list[Wire]) -> set[int]:
    return {party["company_entity"]["id"] for party in parties if party["type"] == "seller"}


def _parties(account: AccountObjects, body: RequestBody) -> list[Wire]:
    found = []
    for one in body.optional("involved_parties", RequestBody.parts) or []:
        entity = account.by_ref(ENTITY, one, "company_entity_ref")
        party = {
            "address": entity["mailing_address"],
            "company_entity": account.world.links.to_object(ENTITY, entity["id"]),
            "name": entity["name"],
            "type": one.text("type"),
        }
        found.append(wire_object("/customs/involved_party", **party))
    return found


def _manufacturers(account: AccountObjects, body: RequestBody) -> list[Wire]:
    """The addresses of locations by their references."""
    by_ref = {row["ref"]: row["address"] for row in account.world.collections[LOCATION].rows()}
    refs = body.optional("manufacturer_refs", RequestBody.texts) or []
    for ref in refs:
        if ref not in by_ref:
            raise body.error("manufacturer_refs", f"holds {ref[:50]!r}: no {LOCATION} has this ref")
    return [by_ref[ref] for ref in refs]


def _metadata(body: RequestBody) -> Wire:
    """An object in the document, a list of `{name, value}` in the tutorial."""
    try:
        return body.optional("metadata", RequestBody.metadata) or {}
    except InvalidError:
        return {one.text("name"): [one.any_text("value")] for one in body.parts("metadata")}


def _lines(account: AccountObjects, body: RequestBody, currency: str) -> Wire:
    """The lines and their totals."""
    products = account.active_products()
    lines = [
        _line(account, one, currency, place + 1, products)
        for place, one in enumerate(body.parts("line_items", least=1))
    ]
    return {
        "line_items": lines,
        "total_unit_count": str(sum(line["total_units"] for line in lines)),
        "total_value": money(sum((Decimal(line["value"]["amount"]) for line in lines), Decimal(0)), currency),
        "total_weight": _total(lines, "weight"),
        "total_volume": _total(lines, "volume"),
    }


def _line(account: AccountObjects, body: RequestBody, currency: str, position: int, products: dict[str, Wire]) -> Wire:
    sku, quantity = body.text("product_sku"), body.part("quantity")
    if sku not in products:
        raise body.error("product_sku", f"is {sku[:50]!r}: there is no such product")
    quantity.choice("unit", _QUANTITY_UNITS)
    value = body.money("value", currency)
    weights = {"weight": "gross_weight", "net_weight": "net_weight", "net_net_weight": "net_net_weight"}
    return wire_object(
        "/commercial_invoice_line_item",
        document_line_number=body.integer("document_line_number", 1) if "document_line_number" in body else position,
        price_per_unit=money_wire(body.money("price_per_unit", currency)),
        value=money_wire(value),
        net_value=money_wire(body.money("net_value", currency) if "net_value" in body else value),
        first_sale_value=money_wire(body.money("first_sale_value", currency)) if "first_sale_value" in body else None,
        total_units=quantity.number("value"),
        purchase_order_number=body.optional("purchase_order_number", RequestBody.any_text),
        **{name: body.quantity(field, "weight") for name, field in weights.items() if field in body},
        volume=body.quantity("volume", "volume") if "volume" in body else None,
        product=account.world.links.to_object(PRODUCT, products[sku]["id"]),
        metadata=body.optional("metadata", RequestBody.metadata) or {},
    )


def _total(lines: list[Wire], name: str) -> Wire | None:
    """The sum of the lines; none unless all have one, in one unit."""
    values = [line[name] for line in lines]
    if any(value is None for value in values) or len({value["unit"] for value in values}) != 1:
        return None
    return {**values[0], "value": round(sum(value["value"] for value in values), 4)}
