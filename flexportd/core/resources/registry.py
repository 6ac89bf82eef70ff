"""The registry: which domain an object belongs to. Routing looks up, it never branches."""

from collections.abc import Iterator

from flexportd.core.resources import (
    bookings,
    commercial_invoices,
    containers,
    customs,
    documents,
    invoices,
    legs,
    network,
    ports,
    products,
    purchase_orders,
    shipments,
)
from flexportd.core.resources.resource_type import Domain

DOMAINS: tuple[Domain, ...] = (
    shipments.DOMAIN,
    legs.DOMAIN,
    containers.DOMAIN,
    containers.LEGS_DOMAIN,
    products.DOMAIN,
    invoices.DOMAIN,
    commercial_invoices.DOMAIN,
    customs.DOMAIN,
    bookings.DOMAIN,
    purchase_orders.BOOKING_LINES_DOMAIN,
    purchase_orders.DOMAIN,
    purchase_orders.LINE_ITEMS_DOMAIN,
    documents.DOMAIN,
    network.COMPANIES_DOMAIN,
    network.ENTITIES_DOMAIN,
    network.CONTACTS_DOMAIN,
    network.LOCATIONS_DOMAIN,
    ports.DOMAIN,
)


class Registry:
    """The domains by name and by Flexport's `_object`."""

    def __init__(self, domains: tuple[Domain, ...] = DOMAINS) -> None:
        self._by_name = {domain.name: domain for domain in domains}
        self._by_object = {domain.object_name: domain for domain in domains}

    def __iter__(self) -> Iterator[Domain]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> Domain:
        return self._by_name[name]

    def of_object(self, object_name: str) -> Domain | None:
        """The domain of an `_object`; None for one that nobody here knows."""
        return self._by_object.get(object_name)


REGISTRY = Registry()
"""All domains. What is made of it once serves every daemon in this process."""
