"""`/ocean/shipment_container` and `/ocean/shipment_container_leg`: a box, and the box on one leg.

Sources: https://apidocs.flexport.com/v2/tag/Container and https://apidocs.flexport.com/v2/tag/Container-Legs.
A container leg's `dates` is published as an array and recorded as an object; its `id` is recorded, not published.
"""

from typing import Any

from flexportd.flexport.wire import Id, Reference, Text, WireModel


class Container(WireModel):
    """A box on one shipment. Its number repeats between shipments and is no key."""

    id: Id
    shipment: Reference | None = None
    container_number: Text = None
    container_type: Text = None
    container_size: Text = None
    seal_number: Text = None
    estimated_departure_date: Text = None
    actual_departure_date: Text = None
    estimated_arrival_date: Text = None
    actual_arrival_date: Text = None
    estimated_pickup_date: Text = None
    actual_pickup_date: Text = None
    estimated_delivery_date: Text = None
    actual_delivery_date: Text = None
    estimated_available_for_pickup_date: Text = None
    available_for_pickup_date: Text = None
    last_free_day_date: Text = None
    empty_returned_date: Text = None
    cargo_ready_date: Text = None
    metadata: dict[str, Any] | None = None


class ContainerLegDates(WireModel):
    """When the box went on board and came off."""

    actual_loaded_on_board_date: Text = None
    actual_discharge_date: Text = None


class ContainerLeg(WireModel):
    """One box on one leg, also by truck and rail."""

    id: Id
    shipment_container: Reference | None = None
    leg: Reference | None = None
    dates: ContainerLegDates | list[Any] | None = None
