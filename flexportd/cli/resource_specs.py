"""The commands of resources, with the sort orders and filters of each list.

Both follow from the registry, which takes longer to import than a command may. So `make docs` writes them to
`resource_specs.json` (see `flexportd.expose.api.resources`), from which they are read here.
"""

import json
from dataclasses import dataclass
from pathlib import Path

_DESCRIPTIONS = {
    "legs": "Legs of shipments, one vehicle each.",
    "containers": "Containers of shipments.",
    "container-legs": "Containers by leg, with loading and discharge dates.",
    "products": "Your SKUs and their customs classification.",
    "invoices": "Flexport's invoices and their outstanding amounts.",
    "commercial-invoices": "Sellers' invoices for the goods, for customs.",
    "bookings": "Bookings of freight and their status.",
    "booking-line-items": "Purchase order lines on bookings.",
    "purchase-orders": "Purchase orders and their must-arrive dates.",
    "purchase-order-line-items": "Purchase order lines: product, units, cost.",
    "documents": "Documents of shipments.",
    "customs-entries": "Customs entries and their release status.",
    "companies": "Companies that you trade with.",
    "company-entities": "Legal entities of companies.",
    "contacts": "Contacts at companies.",
    "locations": "Warehouses, factories and other addresses.",
    "ports": "Ports, airports and rail yards, with their codes.",
}


@dataclass(frozen=True)
class ResourceSpec:
    """One resource. `filters` are (parameter, value type, help) of its list's filters."""

    route: str
    label: str
    about: str
    sorts: list[str]
    filters: list[tuple[str, str, str]]


def _load() -> tuple[ResourceSpec, ...]:
    specs = json.loads(Path(__file__).with_suffix(".json").read_text())
    return tuple(ResourceSpec(route=route, about=about, **specs[route]) for route, about in _DESCRIPTIONS.items())


RESOURCES = _load()
