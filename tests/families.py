"""A shipment with all that belongs to it, as a store has it, of what Flexport says of each; without a store."""

from collections.abc import Iterable
from typing import Any

from flexportd.core.resources import containers, legs, shipments
from flexportd.core.resources.itinerary import ShipmentRoute, route_fields
from flexportd.core.resources.resource_type import Domain
from flexportd.core.resources.values import on_own_clocks
from flexportd.core.timeline import Family
from flexportd.storage.repositories.resources import Record

AT = "2026-01-01T00:00:00.000Z"


def record_of(domain: Domain, value: dict[str, Any]) -> Record:
    """One object as it is kept: what it says itself."""
    fields = {**dict.fromkeys(domain.table.names), **domain.normalise(domain.wire.model_validate(value))}
    fields |= on_own_clocks(domain.table, fields)
    return Record(value["id"], fields, "{}", AT, 1, "webhook", AT, AT)


def family_of(
    shipment: dict[str, Any],
    own_legs: Iterable[dict[str, Any]] = (),
    boxes: Iterable[dict[str, Any]] = (),
    box_legs: Iterable[dict[str, Any]] = (),
    **more: Any,
) -> Family:
    """The family of these objects, with what the route gives; `more` are the other parts of a `Family`."""
    of_legs = [record_of(legs.DOMAIN, one) for one in own_legs]
    route, by_id = ShipmentRoute(of_legs), {leg.id: leg for leg in of_legs}
    on_legs = [record_of(containers.LEGS_DOMAIN, one) for one in box_legs]
    on_legs = [one.with_fields({**one.fields, **containers.leg_on_route(one, by_id)}) for one in on_legs]
    of_boxes = [record_of(containers.DOMAIN, one) for one in boxes]
    of_boxes = [
        one.with_fields({**one.fields, **containers.on_route(one, route, containers.Loads(on_legs))})
        for one in of_boxes
    ]
    kept = record_of(shipments.DOMAIN, shipment)
    fields = {**kept.fields, **route_fields(route, of_boxes)}
    fields |= shipments.best_known(fields)
    return Family(kept.with_fields(fields), of_legs, of_boxes, on_legs, **more)
