"""The columns of the lists of resources: what a person looks for first. Without a line here: the first fields."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from flexportd.cli.format import actual_or_estimate, format_time, humanize, join_values
from flexportd.cli.output import Column
from flexportd.cli.render import text

Document = Mapping[str, Any]

_FIRST = 5  # fields of a resource that has no columns of its own


def by_importance(columns: Sequence[Column], titles: str) -> tuple[Column, ...]:
    """The columns with their priorities: `titles` names them with commas between, the most important first."""
    order = titles.split(", ")
    unknown = set(order) - {column.title for column in columns}
    if unknown:
        raise ValueError(f"no columns: {', '.join(sorted(unknown))}")
    last = len(order)
    return tuple(
        replace(column, priority=order.index(column.title) if column.title in order else last) for column in columns
    )


def _as_is(name: str, title: str | None = None, *, narrows: bool = True) -> Column:
    return Column(title or humanize(name), lambda row: text(row[name]), narrows=narrows)


def _whole(name: str, title: str | None = None) -> Column:
    """What must not be cut, such as a number to copy."""
    return _as_is(name, title, narrows=False)


def _word(name: str, title: str | None = None, *, coloured: bool = False) -> Column:
    return Column(title or humanize(name), lambda row: humanize(row[name]), narrows=True, coloured=coloured)


def _count(name: str, title: str | None = None) -> Column:
    return Column(title or humanize(name), lambda row: row[name], right=True)


def _money(name: str, title: str | None = None) -> Column:
    amount, currency = f"{name}_amount", f"{name}_currency"

    def shown(row: Document) -> str:
        return "" if row[amount] is None else f"{row[amount]} {row[currency] or ''}".rstrip()

    return Column(title or humanize(name), shown, right=True)


def _when(name: str, title: str) -> Column:
    return Column(title, lambda row: format_time(row[name]))


def _day(name: str) -> Column:
    """The day of a fact, or of its forecast with a ~ before it."""
    return Column(humanize(name), lambda row: actual_or_estimate(row, name))


def _many(name: str, title: str | None = None) -> Column:
    return Column(title or humanize(name), lambda row: join_values(row[name]), narrows=True)


_VEHICLE = Column("vehicle", lambda row: row["vessel"] or row["flight"] or row["tracking_number"], narrows=True)
_SHIPMENT = Column("shipment", lambda row: f"FLEX-{row['shipment_id']}" if row["shipment_id"] is not None else "")

_LEGS = (
    Column("leg", lambda row: row["id"], right=True),
    _word("mode"),
    _as_is("carrier"),
    _VEHICLE,
    _as_is("origin", "from"),
    _day("departure"),
    _as_is("destination", "to"),
    _day("arrival"),
)


def _invalid_suffix(valid: bool | None) -> str:
    """What stands behind a number that is none of ISO 6346 or of the IMO."""
    return " (not valid)" if valid is False else ""


_CONTAINERS = (
    Column(
        "container",
        lambda row: f"{row['container_number'] or row['id']}{_invalid_suffix(row['container_number_valid'])}",
    ),
    _word("container_type", "type"),
    _word("container_size", "size"),
    _whole("container_iso_type", "ISO type"),
    _whole("seal_number", "seal"),
    Column("last free day", lambda row: row["last_free_day_date"]),
    _day("delivery"),
)
LEGS = by_importance(_LEGS, "leg, departure, arrival, from, to, mode, vehicle, carrier")
CONTAINERS = by_importance(_CONTAINERS, "container, last free day, delivery, size, type, seal, ISO type")
_ID = _whole("id")
_COMPANY_COLUMNS = (_ID, _as_is("name"), _as_is("ref"))

_LIST_COLUMNS: Mapping[str, Sequence[Column]] = {
    "legs": (*_LEGS, _SHIPMENT),
    "containers": (_ID, *_CONTAINERS, _SHIPMENT),
    "container-legs": (
        _ID,
        _count("container_id", "container"),
        _count("leg_id", "leg"),
        Column("loaded", lambda row: row["actual_loaded_on_board_date"]),
        Column("discharged", lambda row: row["actual_discharge_date"]),
        _SHIPMENT,
    ),
    "products": (_ID, _whole("sku"), _as_is("name"), _word("category"), _as_is("country_of_origin", "from"),
                 _many("hs_codes", "HS codes")),
    "invoices": (_ID, _whole("name"), _word("status", coloured=True), _whole("due_date", "due"), _money("total"),
                 _money("outstanding", "outstanding"),
                 Column("shipment", lambda row: join_values([f"FLEX-{one}" for one in row["shipment_ids"] or ()]))),
    "commercial-invoices": (_ID, _whole("invoice_number", "number"), _as_is("seller"), _money("total_value", "value"),
                            _as_is("adds_up"), _SHIPMENT),
    "bookings": (_ID, _as_is("name"), _word("status"), _word("mode"), _as_is("shipper"), _as_is("consignee"),
                 _whole("cargo_ready_date", "cargo ready"), _SHIPMENT),
    "booking-line-items": (_ID, _count("booking_id", "booking"),
                           _whole("purchase_order_line_item_id", "purchase order line"), _count("units")),
    "purchase-orders": (_ID, _as_is("name"), _word("status"), _as_is("buyer"), _as_is("seller"), _word("mode"),
                        _whole("must_arrive_date", "must arrive")),
    "purchase-order-line-items": (_ID, _whole("purchase_order_id", "order"), _whole("line_number", "line"),
                                  _as_is("sku"), _as_is("product"), _count("units"), _money("unit_cost", "unit cost")),
    "documents": (_ID, _word("document_type", "type"), _as_is("file_name", "file"), _count("size"),
                  _when("uploaded_at", "uploaded"), _SHIPMENT),
    "customs-entries": (_ID, _whole("entry_number", "number"), _word("release_state", "state"),
                        _word("release_status", "status"), _whole("release_date", "released"), _SHIPMENT),
    "companies": (*_COMPANY_COLUMNS, _many("entities"), _many("vat_numbers", "VAT numbers")),
    "company-entities": (*_COMPANY_COLUMNS, _as_is("city"), _whole("country_code", "country"),
                         _many("vat_numbers", "VAT numbers")),
    "contacts": (_ID, _as_is("name"), _as_is("email"), _as_is("phone"), _whole("company_id", "company")),
    "locations": (*_COMPANY_COLUMNS, _as_is("address"), _whole("unlocode", "UN/LOCODE")),
    "ports": (_ID, _as_is("name"), _many("kinds"), _whole("unlocode", "UN/LOCODE"), _whole("iata", "IATA"),
              _whole("country_code", "country")),
}  # fmt: skip

_IMPORTANCE = {
    "legs": "leg, shipment, departure, arrival, from, to, mode, vehicle, carrier",
    "containers": "id, container, shipment, last free day, delivery, size, type, seal, ISO type",
    "container-legs": "id, container, leg, shipment, loaded, discharged",
    "products": "id, sku, name, HS codes, from, category",
    "invoices": "id, name, outstanding, due, status, total, shipment",
    "commercial-invoices": "id, number, value, shipment, seller, adds up",
    "bookings": "id, name, status, shipment, cargo ready, mode, consignee, shipper",
    "booking-line-items": "id, booking, purchase order line, units",
    "purchase-orders": "id, name, status, must arrive, seller, buyer, mode",
    "purchase-order-line-items": "id, order, line, sku, units, unit cost, product",
    "documents": "id, file, type, shipment, uploaded, size",
    "customs-entries": "id, number, state, shipment, released, status",
    "companies": "id, name, ref, entities, VAT numbers",
    "company-entities": "id, name, ref, country, city, VAT numbers",
    "contacts": "id, name, email, phone, company",
    "locations": "id, name, ref, UN/LOCODE, address",
    "ports": "id, name, UN/LOCODE, country, kinds, IATA",
}
"""Which columns stay where the terminal is narrow, the most important first."""

COLUMNS: Mapping[str, Sequence[Column]] = {
    route: by_importance(columns, _IMPORTANCE[route]) for route, columns in _LIST_COLUMNS.items()
}

DELETED_COLUMN = Column("deleted at Flexport", lambda row: format_time(row["removed_at"]), priority=1)


def columns_of(route: str, rows: Sequence[Document]) -> Sequence[Column]:
    """The columns of a list; one more where any of its rows was deleted at Flexport."""
    found = COLUMNS.get(route) or _first(rows)
    return (*found, DELETED_COLUMN) if any(row.get("removed_at") for row in rows) else found


def _first(rows: Sequence[Document]) -> Sequence[Column]:
    names = list(rows[0])[: _FIRST + 1] if rows else ["id"]
    return tuple(_as_is(name) for name in names)
