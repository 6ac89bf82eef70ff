"""What the exceptions are derived from, made of Flexport's objects without a store."""

import json

from flexportd.core.exceptions.model import ShipmentFacts
from flexportd.core.resources import containers, shipments
from flexportd.core.resources.itinerary import ShipmentRoute, route_fields
from flexportd.core.resources.registry import REGISTRY
from flexportd.storage.repositories.resources import Record

SEEN = "2020-01-01T00:00:00.000Z"


def mirrored(wire, as_of=SEEN):
    """A Flexport object as it is stored, before its route is known."""
    domain = REGISTRY.of_object(wire["_object"])
    model = domain.wire.model_validate_json(json.dumps(wire))
    fields = {**dict.fromkeys(domain.table.names), **domain.normalise(model)}
    return Record(wire["id"], fields, "{}", wire.get("updated_at") or as_of, 1, "sync", SEEN, SEEN)


def case_of(shipment, legs=(), boxes=(), box_legs=(), events=(), read=mirrored, **more):
    """A shipment with all that belongs to it, each field derived as the workspace does."""
    own_legs = [read(one) for one in legs]
    own_boxes = [read(one) for one in boxes]
    own_box_legs = [read(one) for one in box_legs]
    route, by_id = ShipmentRoute(own_legs), {leg.id: leg for leg in own_legs}
    placed_boxes = [
        box.with_fields(
            {**box.fields, **containers.container_route_fields(box, route, containers.ContainerLoads(own_box_legs))}
        )
        for box in own_boxes
    ]
    placed = [
        one.with_fields({**one.fields, **containers.container_leg_route_fields(one, by_id)}) for one in own_box_legs
    ]
    record = read(shipment)
    fields = {**record.fields, **route_fields(route, placed_boxes)}
    fields.update(shipments.best_known(fields))
    return ShipmentFacts(record.with_fields(fields), own_legs, placed_boxes, placed, events=list(events), **more)


def happened(event):
    """An event of Flexport's as the store gives it to the rules."""
    resource = event["data"]["resource"]
    return {
        "id": str(event["id"]),
        "type": event["type"],
        "created_at": event["created_at"],
        "occurred_at": event["occurred_at"],
        "resource": resource["_object"],
        "resource_id": str(resource["id"]),
    }
