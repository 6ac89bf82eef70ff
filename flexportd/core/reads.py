"""Reading records with their related objects."""

from flexportd.core.resources import legs
from flexportd.core.resources.itinerary import RoutePlace
from flexportd.core.resources.registry import Registry
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.timeline import ShipmentBundle, shows_event
from flexportd.flexport.models.events import location
from flexportd.flexport.models.places import ShipmentNode
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

MAX_EVENTS = 500  # events of one shipment that its timeline uses


class Reads:
    """Reads for API and pages, each within the caller's snapshot."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def get(self, tx: Transaction, domain: ResourceType, record_id: Key) -> Record | None:
        """The newest state of one object."""
        return tx.resources.load(domain.table, (record_id,)).get(record_id)

    def children(self, tx: Transaction, name: str, shipment_id: int) -> list[Record]:
        """All records of a resource type that belong to a shipment."""
        return tx.resources.of_shipment(self._registry[name].table, shipment_id)

    def shipment_bundle(self, tx: Transaction, shipment_id: int) -> ShipmentBundle | None:
        """A shipment with its legs, containers, container legs and milestones; None if unknown."""
        shipment = self.get(tx, self._registry["shipments"], shipment_id)
        if shipment is None:
            return None
        events = tx.events.of_shipment(shipment_id, MAX_EVENTS)
        shown = [event["id"] for event in events if shows_event(event["type"])]
        nodes = ((event_id, location(body)) for event_id, body in (tx.events.bodies(shown) if shown else ()))
        return ShipmentBundle(
            shipment,
            self.children(tx, "legs", shipment_id),
            self.children(tx, "containers", shipment_id),
            self.children(tx, "container_legs", shipment_id),
            events,
            {event_id: _place(node) for event_id, node in nodes if node is not None},
        )


def _place(node: ShipmentNode) -> RoutePlace:
    found = legs.end_fields(node, "location")
    return RoutePlace(*(found[f"location{part}"] for part in ("", "_code", "_timezone")))
