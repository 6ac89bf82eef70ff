"""The names of what Flexport has, as far as a configuration may speak of it."""

from typing import Annotated

from pydantic import AfterValidator

from flexportd.settings.did_you_mean import suggest
from flexportd.settings.value_types import ValueType, show_list

# Many and one: `[sync] resources` names them in the plural, `[cache] ttl` in the singular. `core.registry` has the
# same names; a test holds the two together, because settings know nothing of core.
RESOURCES = {
    "shipments": "shipment",
    "legs": "leg",
    "containers": "container",
    "container_legs": "container_leg",
    "products": "product",
    "invoices": "invoice",
    "commercial_invoices": "commercial_invoice",
    "bookings": "booking",
    "booking_line_items": "booking_line_item",
    "purchase_orders": "purchase_order",
    "purchase_order_line_items": "purchase_order_line_item",
    "documents": "document",
    "customs_entries": "customs_entry",
    "companies": "company",
    "company_entities": "company_entity",
    "contacts": "contact",
    "locations": "location",
    "ports": "port",
}


def _check_resource(name: str) -> str:
    if name not in RESOURCES:
        raise ValueError(f"unknown resource; {suggest(name, RESOURCES)}")
    return name


Resources = Annotated[
    tuple[Annotated[str, AfterValidator(_check_resource)], ...],
    ValueType("list of resources", kind="list", show=show_list, missing="all"),
]
