"""The registry of resource types, by name and by Flexport's `_object`."""

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
from flexportd.core.resources.resource_type import ResourceType

RESOURCE_TYPES: tuple[ResourceType, ...] = (
    shipments.RESOURCE_TYPE,
    legs.RESOURCE_TYPE,
    containers.RESOURCE_TYPE,
    containers.LEGS_RESOURCE_TYPE,
    products.RESOURCE_TYPE,
    invoices.RESOURCE_TYPE,
    commercial_invoices.RESOURCE_TYPE,
    customs.RESOURCE_TYPE,
    bookings.RESOURCE_TYPE,
    purchase_orders.BOOKING_LINES_RESOURCE_TYPE,
    purchase_orders.RESOURCE_TYPE,
    purchase_orders.LINE_ITEMS_RESOURCE_TYPE,
    documents.RESOURCE_TYPE,
    network.COMPANIES_RESOURCE_TYPE,
    network.ENTITIES_RESOURCE_TYPE,
    network.CONTACTS_RESOURCE_TYPE,
    network.LOCATIONS_RESOURCE_TYPE,
    ports.RESOURCE_TYPE,
)


class Registry:
    """The resource types by name and by Flexport's `_object`."""

    def __init__(self, domains: tuple[ResourceType, ...] = RESOURCE_TYPES) -> None:
        self._by_name = {domain.name: domain for domain in domains}
        self._by_object = {domain.object_name: domain for domain in domains}

    def __iter__(self) -> Iterator[ResourceType]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> ResourceType:
        return self._by_name[name]

    def of_object(self, object_name: str) -> ResourceType | None:
        """The resource type of an `_object`; None for an unknown one."""
        return self._by_object.get(object_name)


REGISTRY = Registry()
"""All resource types, shared by every daemon in this process."""
