"""Events made to order: schema-true, about a shipment of the world, told as if it were in another state."""

from datetime import datetime

from flexportd.errors import InvalidError, NotFoundError
from flexportd.sandbox.catalog import wire_objects
from flexportd.sandbox.catalog.wire_objects import CONTAINER, CONTAINER_LEG, INVOICE, LEG, SHIPMENT, Wire
from flexportd.sandbox.objects.shipment_state import ShipmentState
from flexportd.sandbox.scripts.world_events import ObjectRef
from flexportd.sandbox.world.world import World

# What the prefix of an event type is about; the prefix is not always the resource's own name.
_RESOURCES = {
    "/shipment": SHIPMENT,
    "/shipments": SHIPMENT,
    "/shipment_leg": LEG,
    "/ocean/shipment_leg": LEG,
    "/ocean/shipment_container": CONTAINER,
    "/shipment_container_leg": CONTAINER_LEG,
    "/ocean/shipment_container_leg": CONTAINER_LEG,
}
_AT_DESTINATION = ("arrived", "updated_estimated_time_of_arrival", "deliver", "unloaded", "available")


def make_event(world: World, shipment_id: int, kind: str, how: tuple[datetime, Wire]) -> Wire:
    """An event of type `kind` recorded at the first of `how`, with the shipment's fields as in the second.

    An unknown prefix is about the shipment: new types may arrive at any time. The field `about` is the id of the leg,
    container or container leg; without it the first one is meant. Raises NotFoundError, InvalidError.
    """
    at, fields = how
    if kind.startswith(f"{INVOICE}#"):
        return _about_invoice(world, shipment_id, kind, how)
    journey = world.journey(shipment_id)
    fields = dict(fields)
    subject = _object_ref(journey, kind, fields.pop("about", None))
    unknown = sorted(set(fields) - set(journey.shipment))
    if unknown:
        raise InvalidError(f"A shipment has no field {unknown[0]!r}.", unknown[0])
    shipment = wire_objects.with_deprecated({**journey.shipment, "updated_at": wire_objects.utc(at), **fields})
    resource = shipment if subject.kind == SHIPMENT else journey.objects[subject]
    data = {
        "resource": resource,
        "shipment": shipment,
        "location": _location(journey, subject, kind),
        "containers": [] if subject.kind == SHIPMENT else journey.containers(),
    }
    return wire_objects.event(world.event_id(), kind, (at, at), data)


def _about_invoice(world: World, shipment_id: int, kind: str, how: tuple[datetime, Wire]) -> Wire:
    """The same of the first freight invoice of a shipment, or the one that `about` names; fields are the invoice's."""
    at, fields = how
    fields = dict(fields)
    about = fields.pop("about", None)
    rows = [row for row in world.shelves[INVOICE].for_shipment(shipment_id, world.now) if about in (None, row["id"])]
    if not rows:
        raise NotFoundError(f"Shipment {shipment_id} has no such {INVOICE}.")
    unknown = sorted(set(fields) - set(rows[0]))
    if unknown:
        raise InvalidError(f"An invoice has no field {unknown[0]!r}.", unknown[0])
    shipment = None if rows[0]["type"] == "Client" else world.journey(shipment_id).shipment
    data: Wire = {"resource": {**rows[0], **fields}, "shipment": shipment, "location": None, "containers": []}
    return wire_objects.event(world.event_id(), kind, (at, at), data)


def _object_ref(journey: ShipmentState, kind: str, about: int | None) -> ObjectRef:
    of = _RESOURCES.get(kind.partition("#")[0], SHIPMENT)
    for subject, wire in journey.objects.items():
        if subject.kind == of and about in (None, wire["id"]):
            return subject
    wanted = "" if about is None else f" {about}"
    raise NotFoundError(f"Shipment {journey.shipment['id']} has no {of}{wanted}.")


def _location(journey: ShipmentState, subject: ObjectRef, kind: str) -> Wire | None:
    """The end of the leg that the event is about; shipments and containers have none here."""
    if subject.kind not in {LEG, CONTAINER_LEG}:
        return None
    leg = journey.objects[subject]
    if subject.kind == CONTAINER_LEG:
        leg = next(
            wire for wire in journey.objects.values() if wire["_object"] == LEG and wire["id"] == leg["leg"]["id"]
        )
    name = kind.partition("#")[2]
    end: Wire = leg["destination" if name.startswith(_AT_DESTINATION) else "origin"]
    return end
