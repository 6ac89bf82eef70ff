"""The resources as commands: what each is, and what its list may be asked.

The registry knows all this too, but reading it takes longer than a command may; tests/unit/test_cli_resources.py holds
the two together and prints the line that a new resource needs.
"""

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Resource:
    """One resource. `asks` are the filters of its list and what each takes; every list has ALWAYS beside them."""

    route: str
    one: str
    about: str
    sorts: str
    asks: str

    @cached_property
    def filters(self) -> dict[str, str]:
        """Filter -> what it takes: words, text, part, id, moment, day or truth."""
        return dict(pair.split("=") for pair in f"{self.asks} {ALWAYS}".split())


ALWAYS = "updated_since=moment removed=truth"

RESOURCES = (
    Resource(
        "legs",
        "leg",
        "Stretches of a shipment's way, each by one vehicle.",
        "updated_at id",
        "mode=words carrier=text vessel=text q=part shipment=id",
    ),
    Resource(
        "containers",
        "container",
        "The boxes of shipments.",
        "updated_at id",
        "container_number=text container_type=words q=part shipment=id",
    ),
    Resource(
        "container-legs",
        "container leg",
        "Each box on each leg: loaded and discharged.",
        "updated_at id",
        "shipment=id container=id leg=id",
    ),
    Resource(
        "products",
        "product",
        "Your SKUs, with how customs classifies each.",
        "updated_at id sku name",
        "sku=text hs_code=text country=text archived=truth q=part",
    ),
    Resource(
        "invoices",
        "freight invoice",
        "What Flexport charges, and what of it is open.",
        "updated_at id due_date issued_at name",
        "status=words type=words currency=text shipment=id open=truth due_after=day due_before=day issued_after=moment "
        "issued_before=moment name=text q=part",
    ),
    Resource(
        "commercial-invoices",
        "commercial invoice",
        "What sellers charge for the goods, for customs.",
        "updated_at id invoice_number",
        "invoice_number=text shipment=id status=words currency=text adds_up=truth sku=text po=text container=text "
        "q=part",
    ),
    Resource(
        "bookings",
        "booking",
        "Requests for freight, and how far each is.",
        "updated_at created_at id",
        "status=words mode=words shipment=id q=part cargo_ready_after=day cargo_ready_before=day created_since=moment "
        "dangerous=truth",
    ),
    Resource(
        "booking-line-items",
        "booking line item",
        "Which lines of purchase orders are on which booking.",
        "updated_at id",
        "booking=id purchase_order_line_item=id",
    ),
    Resource(
        "purchase-orders",
        "purchase order",
        "What was bought, of whom, to arrive by when.",
        "updated_at id must_arrive_date",
        "status=words name=text q=part buyer=part seller=part archived=truth must_arrive_after=day "
        "must_arrive_before=day shipment=id",
    ),
    Resource(
        "purchase-order-line-items",
        "purchase order line item",
        "The lines of purchase orders: product, units, cost.",
        "updated_at id",
        "purchase_order=id product=id sku=text item_key=text q=part",
    ),
    Resource(
        "documents",
        "document",
        "The papers of shipments.",
        "updated_at uploaded_at id",
        "shipment=id type=words archived=truth uploaded_since=moment uploaded_before=moment q=part",
    ),
    Resource(
        "customs-entries",
        "customs entry",
        "Whether goods may enter a country.",
        "updated_at id release_date entry_number",
        "state=words status=words entry_number=text shipment=id released_after=day released_before=day q=part",
    ),
    Resource(
        "companies",
        "company",
        "The companies that you trade with.",
        "updated_at name id",
        "q=part ref=text",
    ),
    Resource(
        "company-entities",
        "company entity",
        "The legal entities of companies.",
        "updated_at name id",
        "q=part ref=text company=id country=text",
    ),
    Resource(
        "contacts",
        "contact",
        "People to call or write to.",
        "updated_at name id",
        "q=part email=text company=id",
    ),
    Resource(
        "locations",
        "location",
        "Warehouses, factories and other addresses.",
        "updated_at name id",
        "q=part ref=text company=id country=text",
    ),
    Resource(
        "ports",
        "port",
        "Ports, airports and rail yards, with their codes.",
        "updated_at name id",
        "q=part unlocode=text iata=text country=text kind=text",
    ),
)
