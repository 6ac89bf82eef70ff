"""The lists of version 2 of Flexport's API: paths, filters, pages, and how often to read each in full.

Sources: https://apidocs.flexport.com/v2 (one tag per resource, and the tags Versioning and Pagination) and responses
for a real account. No list has a cursor or a snapshot: an object that moves while the list is read can be repeated or
skipped, so an object that one pass lacks is not necessarily deleted.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

from flexportd.flexport.errors import MalformedResponseError

PER_PAGE = 100  # the maximum; the real default is 10, not the documented 20
HOURLY, DAILY, MONTHLY = timedelta(0), timedelta(hours=23), timedelta(days=30)


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """A filter for changed objects: the query parameter `since`, and the path of the field that it compares."""

    since: str
    member: tuple[str, ...]
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListSpec:
    """One list. `path/<id>` is one of its objects if `has_detail`; `of_shipment` is the filter by shipment."""

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
    # `last_updated_at` is null until an invoice is first adjusted: only both filters together find everything.
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
# All lists, and the other paths that take a write.
_PATHS = (
    *(spec.path for spec in LISTS.values()),
    EVENTS,
    "/booking_amendments",
    "/carbon_calculation",
    "/network/me/companies",
)


def path_template(path: str) -> str:
    """The list that a path belongs to, one of a bounded set of names; `other` for a path that is not documented."""
    return next((known for known in _PATHS if path == known or path.startswith(known + "/")), "other")


def page_query(query: Mapping[str, str], number: int) -> dict[str, str]:
    """The query of a page (from 1): always with `page` and `per`, even if a list is not documented to take them."""
    return {**query, "page": str(number), "per": str(PER_PAGE)}


def page_number(link: str) -> int | None:
    """The page that a `next` link leads to; None if it names none."""
    try:
        number = parse_qs(urlsplit(link).query).get("page", [""])[0]
    except ValueError:
        return None
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else None


_MAX_REPEATED_PAGES = 3  # in a row without a new row: a list that moves while it is read repeats one page at most
_SLACK = 300  # rows that may be repeated, in addition to as many as there are
_MAX_ROWS = 2_000_000  # about 200 MB of ids


class Pagination:
    """Decides from the rows of each page, in order, whether a list goes on: pages may have any size, links may lie.

    Flexport may send fewer rows per page than requested, or a wrong total; the `next` of a documented sample leads back
    to page 1. `seen` are the ids of rows that were read before, `path` is for messages. `repeated` counts rows.
    """

    def __init__(self, path: str, seen: Iterable[Hashable] = ()) -> None:
        self._path = path
        self._seen = set(seen)
        self._repeated_pages = 0
        self._is_empty = True  # whether all pages without new rows were empty
        self.repeated = 0

    def add(self, ids: Sequence[Hashable]) -> frozenset[Hashable]:
        """Add the ids of one page; returns those that earlier pages had."""
        again = self._seen.intersection(ids)
        self.repeated += len(again)
        before = len(self._seen)
        self._seen.update(ids)
        if len(self._seen) > before:
            self._repeated_pages, self._is_empty = 0, True
        else:
            self._repeated_pages += 1
            self._is_empty = self._is_empty and not ids
        return frozenset(again)

    def is_complete(self, total: int | None) -> bool:
        """Whether all rows have been read, according to the list's own total."""
        return total is not None and total == len(self._seen)

    def has_more(self, total: int | None) -> bool:
        """Whether to request the page that the last one announces; `total` is the list's own total of its rows.

        Raises MalformedResponseError for an endless list.
        """
        endless = self._repeated_pages >= _MAX_REPEATED_PAGES
        if endless and (self._is_empty or self.is_complete(total)):
            return False
        if endless or self.repeated > len(self._seen) + _SLACK:
            of_total = "" if total is None else f" of {total}"
            raise MalformedResponseError(
                f"{self._path} goes on and repeats earlier pages: they held {len(self._seen)} different rows{of_total}"
            )
        if len(self._seen) > _MAX_ROWS:
            raise MalformedResponseError(f"{self._path} goes on after {len(self._seen)} rows")
        return True
