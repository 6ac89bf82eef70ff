"""Version 2 of Flexport's API (https://apidocs.flexport.com/v2/tag/Versioning)."""

from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import parse_qs, urlsplit

from flexportd.flexport.envelope import ObjectBody, PageBody, read_object, read_page

# Every list and every address that takes a write: https://apidocs.flexport.com/v2
PATHS = (
    "/booking_amendments",
    "/booking_line_items",
    "/bookings",
    "/carbon_calculation",
    "/commercial_invoices",
    "/customs_entries",
    "/documents",
    "/events",
    "/invoices",
    "/network/companies",
    "/network/company_entities",
    "/network/contacts",
    "/network/locations",
    "/network/me/companies",
    "/ocean/shipment_container_legs",
    "/ocean/shipment_containers",
    "/ports",
    "/products",
    "/purchase_order_line_items",
    "/purchase_orders",
    "/shipment_legs",
    "/shipments",
)
PER_PAGE = 100  # the most that is allowed; the real default is 10, not the documented 20
OTHER = "other"


class Version2:
    """The headers, paths, pages and envelope of version 2."""

    headers: Mapping[str, str] = MappingProxyType({"Flexport-Version": "2"})

    def page_query(self, query: Mapping[str, str], number: int) -> dict[str, str]:
        """`page` and `per`, always both, whatever the list is documented to take."""
        return {**query, "page": str(number), "per": str(PER_PAGE)}

    def page_number(self, link: str) -> int | None:
        """The `page` of a `next` link."""
        try:
            named = parse_qs(urlsplit(link).query).get("page", [""])[0]
        except ValueError:
            return None
        return int(named) if named.isascii() and named.isdigit() and len(named) < 10 else None

    def resource(self, path: str) -> str:
        """The list that a path is in, `other` for a path that version 2 does not know."""
        return next((known for known in PATHS if path == known or path.startswith(known + "/")), OTHER)

    def read_page(self, body: bytes) -> PageBody:
        """As `envelope.read_page`."""
        return read_page(body)

    def read_object(self, body: bytes) -> ObjectBody:
        """As `envelope.read_object`; the envelope's own `version` need not be 2 and is only reported."""
        return read_object(body)


VERSION_2 = Version2()
