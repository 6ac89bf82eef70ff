"""Flexport's lists: where each is, what it lets itself be asked, how often it is worth reading whole.

Sources: https://apidocs.flexport.com/v2 (one tag a resource) and the answers of a real account. No list has a cursor or
a snapshot: what moves while it is read can be repeated or skipped, so absence from one pass is not deletion.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

HOURLY, DAILY, MONTHLY = timedelta(0), timedelta(hours=23), timedelta(days=30)


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """One way to ask for what changed: `{since}` is put into the query; `member` is where an object tells its time."""

    since: str
    member: tuple[str, ...]
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListSpec:
    """One list. `path` with an id behind it shows one object, unless `shows` is false."""

    path: str
    changes: tuple[ChangeFilter, ...] = ()
    of_shipment: str | None = None
    interval: timedelta = HOURLY
    has_detail: bool = True


LISTS: Mapping[str, ListSpec] = {
    "/shipment": ListSpec(
        "/shipments",
        (ChangeFilter("f.updated_at.gt", ("updated_at",), {"sort": "updated_at", "direction": "asc"}),),
    ),
    "/shipment_leg": ListSpec("/shipment_legs", of_shipment="f.shipment.id"),
    "/ocean/shipment_container": ListSpec("/ocean/shipment_containers", of_shipment="f.shipment.id"),
    "/ocean/shipment_container_leg": ListSpec("/ocean/shipment_container_legs"),
    "/booking": ListSpec("/bookings", (ChangeFilter("f.created_at.gt", ("created_at",)),), of_shipment="f.shipment.id"),
    "/purchase_orders/booking_line_item": ListSpec("/booking_line_items"),
    "/purchase_order": ListSpec(
        "/purchase_orders", (ChangeFilter("f.updated_at.gt", ("updated_at",)),), of_shipment="f.shipment.id"
    ),
    "/purchase_orders/line_item": ListSpec("/purchase_order_line_items"),
    "/product": ListSpec("/products"),
    # `last_updated_at` is null until an invoice is first adjusted: only both questions together find everything.
    "/invoice": ListSpec(
        "/invoices",
        (
            ChangeFilter("f.last_updated_at.gt", ("last_updated_at",)),
            ChangeFilter("f.issued_at.gt", ("issued_at",)),
        ),
        of_shipment="f.shipment.id",
    ),
    "/commercial_invoice": ListSpec("/commercial_invoices", of_shipment="f.shipment.id"),
    "/customs_entry": ListSpec("/customs_entries", of_shipment="f.shipment.id"),
    "/document": ListSpec(
        "/documents",
        (ChangeFilter("f.uploaded_at.gt", ("file_metadata", "uploaded_at")),),
        of_shipment="f.shipment.id",
    ),
    "/network/company": ListSpec("/network/companies", interval=DAILY),
    "/company_entity": ListSpec("/network/company_entities", interval=DAILY),
    "/network/contact": ListSpec("/network/contacts", interval=DAILY),
    "/network/location": ListSpec("/network/locations", interval=DAILY),
    "/place": ListSpec("/ports", interval=MONTHLY, has_detail=False),
}
EVENTS = "/events"
