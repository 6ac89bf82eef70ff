"""`/ocean/shipment_container` and `/ocean/shipment_container_leg`: a box, and the box on one leg.

Sources: https://apidocs.flexport.com/v2/tag/Container and https://apidocs.flexport.com/v2/tag/Container-Legs.
A container leg's `dates` is published as an array and recorded as an object; its `id` is recorded, not published.
"""

from typing import Any

from flexportd.flexport.models.wire import Day, Id, Moment, Reference, Text, WireModel, Word


class Container(WireModel):
    """A box on one shipment. Its number repeats between shipments and is no key."""

    id: Id
    shipment: Reference | None = None
    container_number: Text = None
    container_type: Word = None
    container_size: Word = None
    seal_number: Text = None
    estimated_departure_date: Moment = None
    actual_departure_date: Moment = None
    estimated_arrival_date: Moment = None
    actual_arrival_date: Moment = None
    estimated_pickup_date: Moment = None
    actual_pickup_date: Moment = None
    estimated_delivery_date: Moment = None
    actual_delivery_date: Moment = None
    estimated_available_for_pickup_date: Moment = None
    available_for_pickup_date: Moment = None
    last_free_day_date: Moment = None
    empty_returned_date: Day = None
    cargo_ready_date: Day = None
    metadata: dict[str, Any] | None = None


class ContainerLegDates(WireModel):
    """When the box went on board and came off."""

    actual_loaded_on_board_date: Moment = None
    actual_discharge_date: Moment = None


class ContainerLeg(WireModel):
    """One box on one leg, also by truck and rail."""

    id: Id
    shipment_container: Reference | None = None
    leg: Reference | None = None
    dates: ContainerLegDates | list[Any] | None = None
