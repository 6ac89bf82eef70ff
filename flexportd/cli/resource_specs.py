"""The resources as commands: what each is, and what its list may be asked.

The registry knows all this too, but reading it takes longer than a command may; tests/unit/test_cli_resources.py holds
the two together and prints the line that a new resource needs.
"""

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class ResourceSpec:
    """One resource. `asks` are the filters of its list and what each takes; every list has ALWAYS beside them."""

    route: str
    label: str
    about: str
    sorts: str
    filter_spec: str

    @cached_property
    def filters(self) -> dict[str, str]:
        """Filter -> what it takes: words, text, substring, id, time, day or boolean."""
        return dict(pair.split("=") for pair in f"{self.filter_spec} {COMMON_FILTERS}".split())


COMMON_FILTERS = "updated_since=time removed=boolean"

RESOURCES = (
    ResourceSpec(
        "legs",
        "leg",
        "Legs of shipments, one vehicle each.",
        "updated_at id",
        "mode=words carrier=text vessel=text q=substring shipment=id",
    ),
    ResourceSpec(
        "containers",
        "container",
        "Containers of shipments.",
        "updated_at id",
        "container_number=text container_type=words q=substring shipment=id",
    ),
    ResourceSpec(
        "container-legs",
        "container leg",
        "Containers by leg, with loading and discharge dates.",
        "updated_at id",
        "shipment=id container=id leg=id",
    ),
    ResourceSpec(
        "products",
        "product",
        "Your SKUs and their customs classification.",
        "updated_at id sku name",
        "sku=text hs_code=text country=text archived=boolean q=substring",
    ),
    ResourceSpec(
        "invoices",
        "freight invoice",
        "Flexport's invoices and their outstanding amounts.",
        "updated_at id due_date issued_at name",
        "status=words type=words currency=text shipment=id open=boolean due_after=day due_before=day issued_after=time "
        "issued_before=time name=text q=substring",
    ),
    ResourceSpec(
        "commercial-invoices",
        "commercial invoice",
        "Sellers' invoices for the goods, for customs.",
        "updated_at id invoice_number",
        "invoice_number=text shipment=id status=words currency=text adds_up=boolean sku=text po=text container=text "
        "q=substring",
    ),
    ResourceSpec(
        "bookings",
        "booking",
        "Bookings of freight and their status.",
        "updated_at created_at id",
        "status=words mode=words shipment=id q=substring cargo_ready_after=day cargo_ready_before=day "
        "created_since=time dangerous=boolean",
    ),
    ResourceSpec(
        "booking-line-items",
        "booking line item",
        "Purchase order lines on bookings.",
        "updated_at id",
        "booking=id purchase_order_line_item=id",
    ),
    ResourceSpec(
        "purchase-orders",
        "purchase order",
        "Purchase orders and their must-arrive dates.",
        "updated_at id must_arrive_date",
        "status=words name=text q=substring buyer=substring seller=substring archived=boolean must_arrive_after=day "
        "must_arrive_before=day shipment=id",
    ),
    ResourceSpec(
        "purchase-order-line-items",
        "purchase order line item",
        "Purchase order lines: product, units, cost.",
        "updated_at id",
        "purchase_order=id product=id sku=text item_key=text q=substring",
    ),
    ResourceSpec(
        "documents",
        "document",
        "Documents of shipments.",
        "updated_at uploaded_at id",
        "shipment=id type=words archived=boolean uploaded_since=time uploaded_before=time q=substring",
    ),
    ResourceSpec(
        "customs-entries",
        "customs entry",
        "Customs entries and their release status.",
        "updated_at id release_date entry_number",
        "state=words status=words entry_number=text shipment=id released_after=day released_before=day q=substring",
    ),
    ResourceSpec(
        "companies",
        "company",
        "Companies that you trade with.",
        "updated_at name id",
        "q=substring ref=text",
    ),
    ResourceSpec(
        "company-entities",
        "company entity",
        "Legal entities of companies.",
        "updated_at name id",
        "q=substring ref=text company=id country=text",
    ),
    ResourceSpec(
        "contacts",
        "contact",
        "Contacts at companies.",
        "updated_at name id",
        "q=substring email=text company=id",
    ),
    ResourceSpec(
        "locations",
        "location",
        "Warehouses, factories and other addresses.",
        "updated_at name id",
        "q=substring ref=text company=id country=text",
    ),
    ResourceSpec(
        "ports",
        "port",
        "Ports, airports and rail yards, with their codes.",
        "updated_at name id",
        "q=substring unlocode=text iata=text country=text kind=text",
    ),
)
