"""The columns of the lists of resources. A resource that is not listed here shows its first fields."""

from collections.abc import Mapping, Sequence
from typing import Any

from flexportd.cli.format import actual_or_estimate, format_time, humanize, join_values
from flexportd.cli.output import Column
from flexportd.cli.render import text

Document = Mapping[str, Any]

_FIRST = 5  # fields of a resource that has no columns of its own


def _as_is(priority: int, name: str, title: str | None = None, *, narrows: bool = True) -> Column:
    return Column(title or humanize(name), lambda row: text(row[name]), narrows=narrows, priority=priority)


def _whole(priority: int, name: str, title: str | None = None) -> Column:
    """What must not be cut, such as a number to copy."""
    return _as_is(priority, name, title, narrows=False)


def _word(priority: int, name: str, title: str | None = None, *, coloured: bool = False) -> Column:
    return Column(
        title or humanize(name), lambda row: humanize(row[name]), narrows=True, coloured=coloured, priority=priority
    )


def _count(priority: int, name: str, title: str | None = None) -> Column:
    return Column(title or humanize(name), lambda row: row[name], right=True, priority=priority)


def _money(priority: int, name: str, title: str | None = None) -> Column:
    amount, currency = f"{name}_amount", f"{name}_currency"

    def shown(row: Document) -> str:
        return "" if row[amount] is None else f"{row[amount]} {row[currency] or ''}".rstrip()

    return Column(title or humanize(name), shown, right=True, priority=priority)


def _day(priority: int, name: str) -> Column:
    """The day of an actual date, or of an estimate with a ~ before it."""
    return Column(humanize(name), lambda row: actual_or_estimate(row, name), priority=priority)


def _many(priority: int, name: str, title: str) -> Column:
    return Column(title, lambda row: join_values(row[name]), narrows=True, priority=priority)


def _shipment(priority: int) -> Column:
    return Column(
        "shipment",
        lambda row: f"FLEX-{row['shipment_id']}" if row["shipment_id"] is not None else "",
        priority=priority,
    )


def _container_number(row: Document) -> str:
    invalid = " (not valid)" if row["container_number_valid"] is False else ""  # by ISO 6346
    return f"{row['container_number'] or row['id']}{invalid}"


LEGS = (
    _count(1, "id", "leg"),
    _word(7, "mode"),
    _as_is(9, "carrier"),
    Column("vehicle", lambda row: row["vessel"] or row["flight"] or row["tracking_number"], narrows=True, priority=8),
    _as_is(5, "origin", "from"),
    _day(3, "departure"),
    _as_is(6, "destination", "to"),
    _day(4, "arrival"),
)
CONTAINERS = (
    Column("container", _container_number, priority=2),
    _word(7, "container_type", "type"),
    _word(6, "container_size", "size"),
    _whole(9, "container_iso_type", "ISO type"),
    _whole(8, "seal_number", "seal"),
    _whole(4, "last_free_day_date", "last free day"),
    _day(5, "delivery"),
)
_ID = _whole(1, "id")
_COMPANY_COLUMNS = (_ID, _as_is(2, "name"), _as_is(3, "ref"))

COLUMNS: Mapping[str, Sequence[Column]] = {
    "legs": (*LEGS, _shipment(2)),
    "containers": (_ID, *CONTAINERS, _shipment(3)),
    "container-legs": (
        _ID, _count(2, "container_id", "container"), _count(3, "leg_id", "leg"),
        _whole(5, "actual_loaded_on_board_date", "loaded"), _whole(6, "actual_discharge_date", "discharged"),
        _shipment(4),
    ),
    "products": (
        _ID, _whole(2, "sku"), _as_is(3, "name"), _word(6, "category"), _as_is(5, "country_of_origin", "from"),
        _many(4, "hs_codes", "HS codes"),
    ),
    "invoices": (
        _ID, _whole(2, "name"), _word(5, "status", coloured=True), _whole(4, "due_date", "due"), _money(6, "total"),
        _money(3, "outstanding"),
        Column("shipment", lambda row: join_values([f"FLEX-{key}" for key in row["shipment_ids"] or ()]), priority=7),
    ),
    "commercial-invoices": (
        _ID, _whole(2, "invoice_number", "number"), _as_is(5, "seller"), _money(3, "total_value", "value"),
        _as_is(6, "adds_up"), _shipment(4),
    ),
    "bookings": (
        _ID, _as_is(2, "name"), _word(3, "status"), _word(6, "mode"), _as_is(8, "shipper"), _as_is(7, "consignee"),
        _whole(5, "cargo_ready_date", "cargo ready"), _shipment(4),
    ),
    "booking-line-items": (
        _ID, _count(2, "booking_id", "booking"), _whole(3, "purchase_order_line_item_id", "purchase order line"),
        _count(4, "units"),
    ),
    "purchase-orders": (
        _ID, _as_is(2, "name"), _word(3, "status"), _as_is(6, "buyer"), _as_is(5, "seller"), _word(7, "mode"),
        _whole(4, "must_arrive_date", "must arrive"),
    ),
    "purchase-order-line-items": (
        _ID, _whole(2, "purchase_order_id", "order"), _whole(3, "line_number", "line"), _as_is(4, "sku"),
        _as_is(7, "product"), _count(5, "units"), _money(6, "unit_cost"),
    ),
    "documents": (
        _ID, _word(3, "document_type", "type"), _as_is(2, "file_name", "file"), _count(6, "size"),
        Column("uploaded", lambda row: format_time(row["uploaded_at"]), priority=5), _shipment(4),
    ),
    "customs-entries": (
        _ID, _whole(2, "entry_number", "number"), _word(3, "release_state", "state"),
        _word(6, "release_status", "status"), _whole(5, "release_date", "released"), _shipment(4),
    ),
    "companies": (*_COMPANY_COLUMNS, _many(4, "entities", "entities"), _many(5, "vat_numbers", "VAT numbers")),
    "company-entities": (
        *_COMPANY_COLUMNS, _as_is(5, "city"), _whole(4, "country_code", "country"),
        _many(6, "vat_numbers", "VAT numbers"),
    ),
    "contacts": (_ID, _as_is(2, "name"), _as_is(3, "email"), _as_is(4, "phone"), _whole(5, "company_id", "company")),
    "locations": (*_COMPANY_COLUMNS, _as_is(5, "address"), _whole(4, "unlocode", "UN/LOCODE")),
    "ports": (
        _ID, _as_is(2, "name"), _many(5, "kinds", "kinds"), _whole(3, "unlocode", "UN/LOCODE"),
        _whole(6, "iata", "IATA"), _whole(4, "country_code", "country"),
    ),
}  # fmt: skip
"""Route -> columns. The first argument of each is its priority: of columns that do not fit, the highest goes first."""

DELETED_COLUMN = Column("deleted at Flexport", lambda row: format_time(row["removed_at"]), priority=1)


def columns_of(route: str, rows: Sequence[Document]) -> Sequence[Column]:
    """The columns of a list; one more where any of its rows was deleted at Flexport."""
    columns = COLUMNS.get(route) or _first(rows)
    return (*columns, DELETED_COLUMN) if any(row.get("removed_at") for row in rows) else columns


def _first(rows: Sequence[Document]) -> Sequence[Column]:
    names = list(rows[0])[: _FIRST + 1] if rows else ["id"]
    return tuple(_as_is(place, name) for place, name in enumerate(names))
