"""Filters of freight objects whose conditions follow links from one table to another."""

from dataclasses import replace

from flexportd.storage.queries.filters import Filter, contains, subquery


def for_audience(column: str) -> Filter:
    """The shipment whose id is in this column is of an audience; takes `Audience.parameters`. NULL is of none."""
    select = (
        "SELECT shipment_id FROM shipment_audiences WHERE attribute = ? AND value IN (SELECT value FROM json_each(?))"
    )
    return subquery(column, select, "shipment_audiences")


def has_reference(*kinds: str, description: str) -> Filter:
    """Shipments with this reference, which is of one of these kinds, such as `bill`."""
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    select = f"SELECT shipment_id FROM shipment_references WHERE kind IN ({listed}) AND value = ?"  # noqa: S608 (declared kinds)
    return subquery("id", select, "shipment_references", value_type="text", description=description)


def contains_or_reference(*columns: str) -> Filter:
    """Shipments with this text anywhere in one of these columns or in a reference."""
    own = contains(*columns)
    reference = contains("value").condition
    select = f"id IN (SELECT shipment_id FROM shipment_references WHERE {reference})"  # noqa: S608
    tables = frozenset({"shipment_references"})
    return replace(own, condition=f"({own.condition} OR {select})", tables=tables)


WITH_OPEN_EXCEPTION = subquery(
    "id",
    "WITH asked(kind) AS (SELECT value FROM json_each(?)) "
    "SELECT shipment_id FROM exceptions WHERE closed_at IS NULL AND kind IN asked UNION ALL "
    "SELECT entry.value FROM exceptions AS one CROSS JOIN list_entries AS entry "
    "ON entry.key = one.resource_id AND entry.listed = 'invoices.shipment_ids' "
    "WHERE one.closed_at IS NULL AND one.resource = 'invoices' AND one.kind IN asked",
    "exceptions",
    "list_entries",
    value_type="words",
    description="With an open exception of any of these kinds.",
)
"""Shipments with an open exception of one of these kinds; that of an invoice counts for all its shipments."""

EXCEPTIONS_OF_SHIPMENT = subquery(
    "id",
    "WITH asked(number) AS (SELECT ?) "
    "SELECT one.id FROM asked CROSS JOIN exceptions AS one ON one.shipment_id = asked.number UNION ALL "
    "SELECT one.id FROM asked CROSS JOIN list_entries AS entry "
    "ON entry.listed = 'invoices.shipment_ids' AND entry.value = asked.number "
    "CROSS JOIN exceptions AS one ON one.resource = 'invoices' AND one.resource_id = entry.key",
    "list_entries",
    value_type="number",
    description="Only exceptions of this shipment, by id.",
)
"""Exceptions of a shipment; an invoice may be for several."""

ORDERS_OF_SHIPMENT = subquery(
    "id",
    "SELECT line.purchase_order_id FROM bookings booking "
    "JOIN booking_line_items item ON item.booking_id = booking.id AND item.removed_at IS NULL "
    "JOIN purchase_order_line_items line ON line.id = item.purchase_order_line_item_id "
    "WHERE booking.shipment_id = ?",
    "bookings",
    "booking_line_items",
    "purchase_order_line_items",
    value_type="id",
)
"""Purchase orders do not name their shipments: these are those of the bookings that their lines are on."""

ENTITIES_OF_COMPANY = subquery(
    "id",
    "SELECT entry.value FROM companies company, json_each(company.entity_ids) entry "
    "WHERE company.id = ? AND company.removed_at IS NULL",
    "companies",
    value_type="id",
)
"""A legal entity does not name its company; the company lists it."""

COMMERCIAL_INVOICES_WITH_SKU = subquery(
    "id",
    "WITH asked AS MATERIALIZED (SELECT ? AS sku) "
    "SELECT key FROM asked CROSS JOIN list_entries ON listed = 'commercial_invoices.skus' AND value = sku "
    "UNION ALL SELECT linked.key FROM asked CROSS JOIN products ON products.sku = asked.sku COLLATE NOCASE "
    "CROSS JOIN list_entries linked "
    "ON linked.listed = 'commercial_invoices.product_ids' AND linked.value = products.id",
    "list_entries",
    "products",
    value_type="text",
)
"""A line links its product and has the SKU only where that was expanded; the other SKUs are those of the products."""
