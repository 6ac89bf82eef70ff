"""Flexport's lists: where each is, what it lets itself be asked, how often it is worth reading whole.

Sources: https://apidocs.flexport.com/v2 (one tag a resource) and the answers of a real account. No list has a cursor or
a snapshot: what moves while it is read can be repeated or skipped, so absence from one pass is not deletion.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

HOURLY, DAILY, MONTHLY = timedelta(0), timedelta(hours=23), timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Changes:
    """One way to ask for what changed: `{since}` is put into the query; `member` is where an object tells its time."""

    since: str
    member: tuple[str, ...]
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class List:
    """One list. `path` with an id behind it shows one object, unless `shows` is false."""

    path: str
    changes: tuple[Changes, ...] = ()
    of_shipment: str | None = None
    every: timedelta = HOURLY
    shows: bool = True


LISTS: Mapping[str, List] = {
    "/shipment": List(
        "/shipments",
        (Changes("f.updated_at.gt", ("updated_at",), {"sort": "updated_at", "direction": "asc"}),),
    ),
    "/shipment_leg": List("/shipment_legs", of_shipment="f.shipment.id"),
    "/ocean/shipment_container": List("/ocean/shipment_containers", of_shipment="f.shipment.id"),
    "/ocean/shipment_container_leg": List("/ocean/shipment_container_legs"),
    "/booking": List("/bookings", (Changes("f.created_at.gt", ("created_at",)),), of_shipment="f.shipment.id"),
    "/purchase_orders/booking_line_item": List("/booking_line_items"),
    "/purchase_order": List(
        "/purchase_orders", (Changes("f.updated_at.gt", ("updated_at",)),), of_shipment="f.shipment.id"
    ),
    "/purchase_orders/line_item": List("/purchase_order_line_items"),
    "/product": List("/products"),
    # `last_updated_at` is null until an invoice is first adjusted: only both questions together find everything.
    "/invoice": List(
        "/invoices",
        (
            Changes("f.last_updated_at.gt", ("last_updated_at",)),
            Changes("f.issued_at.gt", ("issued_at",)),
        ),
        of_shipment="f.shipment.id",
    ),
    "/commercial_invoice": List("/commercial_invoices", of_shipment="f.shipment.id"),
    "/customs_entry": List("/customs_entries", of_shipment="f.shipment.id"),
    "/document": List(
        "/documents",
        (Changes("f.uploaded_at.gt", ("file_metadata", "uploaded_at")),),
        of_shipment="f.shipment.id",
    ),
    "/network/company": List("/network/companies", every=DAILY),
    "/company_entity": List("/network/company_entities", every=DAILY),
    "/network/contact": List("/network/contacts", every=DAILY),
    "/network/location": List("/network/locations", every=DAILY),
    "/place": List("/ports", every=MONTHLY, shows=False),
}
EVENTS = "/events"
