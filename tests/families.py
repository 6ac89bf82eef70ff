"""A shipment with all that belongs to it, as a store has it, of what Flexport says of each; without a store."""

from collections.abc import Iterable
from typing import Any

from flexportd.core.resources import containers, legs, shipments
from flexportd.core.resources.itinerary import ShipmentRoute, route_fields
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import in_local_time
from flexportd.core.timeline import ShipmentBundle
from flexportd.storage.repositories.resources import Record

AT = "2026-01-01T00:00:00.000Z"


def record_of(domain: ResourceType, value: dict[str, Any]) -> Record:
    """One object as it is kept: what it says itself."""
    fields = {**dict.fromkeys(domain.table.names), **domain.normalise(domain.wire.model_validate(value))}
    fields |= in_local_time(domain.table, fields)
    return Record(value["id"], fields, "{}", AT, 1, "webhook", AT, AT)


def family_of(
    shipment: dict[str, Any],
    own_legs: Iterable[dict[str, Any]] = (),
    boxes: Iterable[dict[str, Any]] = (),
    box_legs: Iterable[dict[str, Any]] = (),
    **more: Any,
) -> ShipmentBundle:
    """The family of these objects, with what the route gives; `more` are the other parts of a `Family`."""
    of_legs = [record_of(legs.RESOURCE_TYPE, one) for one in own_legs]
    route, by_id = ShipmentRoute(of_legs), {leg.id: leg for leg in of_legs}
    on_legs = [record_of(containers.LEGS_RESOURCE_TYPE, one) for one in box_legs]
    on_legs = [one.with_fields({**one.fields, **containers.container_leg_route_fields(one, by_id)}) for one in on_legs]
    of_boxes = [record_of(containers.RESOURCE_TYPE, one) for one in boxes]
    of_boxes = [
        one.with_fields(
            {**one.fields, **containers.container_route_fields(one, route, containers.ContainerLoads(on_legs))}
        )
        for one in of_boxes
    ]
    kept = record_of(shipments.RESOURCE_TYPE, shipment)
    fields = {**kept.fields, **route_fields(route, of_boxes)}
    fields |= shipments.best_known(fields)
    return ShipmentBundle(kept.with_fields(fields), of_legs, of_boxes, on_legs, **more)
