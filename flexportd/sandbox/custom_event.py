"""Custom events: schema-true, about a shipment of the world, with other fields than it has."""

from datetime import datetime

from flexportd.errors import NotFoundError
from flexportd.sandbox.catalog import wire_objects
from flexportd.sandbox.catalog.kinds import CONTAINER, CONTAINER_LEG, INVOICE, LEG, SHIPMENT, Wire
from flexportd.sandbox.objects.shipment_state import ShipmentState
from flexportd.sandbox.scripts.world_events import ObjectRef
from flexportd.sandbox.world.world import World, check_fields

# The resource by the prefix of an event type, which is not always the resource's own name.
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


def make_event(world: World, shipment_id: int, kind: str, at: datetime, fields: Wire) -> Wire:
    """An event of type `kind` recorded at `at`, with other `fields` of the shipment, or of the invoice it is about.

    An unknown prefix is about the shipment: new types may arrive at any time. The field `about` is the id of the leg,
    container, container leg or invoice; without it the first one is used. Raises NotFoundError, InvalidError.
    """
    fields = dict(fields)
    about = fields.pop("about", None)
    if kind.startswith(f"{INVOICE}#"):
        invoices = world.collections[INVOICE].for_shipment(shipment_id)
        resource = next((row for row in invoices if about in (None, row["id"])), None)
        if resource is None:
            raise NotFoundError(f"Shipment {shipment_id} has no such {INVOICE}.")
        check_fields("An invoice", resource, fields)
        shipment = None if resource["type"] == "Client" else world.journey(shipment_id).shipment
        data: Wire = {"resource": {**resource, **fields}, "shipment": shipment, "location": None, "containers": []}
        return wire_objects.event(world.event_id(), kind, (at, at), data)
    journey = world.journey(shipment_id)
    ref = _object_ref(journey, kind, about)
    check_fields("A shipment", journey.shipment, fields)
    shipment = wire_objects.with_deprecated({**journey.shipment, "updated_at": wire_objects.utc(at), **fields})
    data = {
        "resource": shipment if ref.kind == SHIPMENT else journey.objects[ref],
        "shipment": shipment,
        "location": _location(journey, ref, kind),
        "containers": [] if ref.kind == SHIPMENT else journey.containers(),
    }
    return wire_objects.event(world.event_id(), kind, (at, at), data)


def _object_ref(journey: ShipmentState, kind: str, about: int | None) -> ObjectRef:
    of = _RESOURCES.get(kind.partition("#")[0], SHIPMENT)
    for ref, wire in journey.objects.items():
        if ref.kind == of and about in (None, wire["id"]):
            return ref
    suffix = "" if about is None else f" {about}"
    raise NotFoundError(f"Shipment {journey.id} has no {of}{suffix}.")


def _location(journey: ShipmentState, ref: ObjectRef, kind: str) -> Wire | None:
    """The end of the leg that the event is about; events about shipments and containers have none."""
    if ref.kind not in {LEG, CONTAINER_LEG}:
        return None
    leg = journey.objects[ref]
    if ref.kind == CONTAINER_LEG:
        leg_id = leg["leg"]["id"]
        leg = next(wire for wire in journey.objects.values() if wire["_object"] == LEG and wire["id"] == leg_id)
    name = kind.partition("#")[2]
    end: Wire = leg["destination" if name.startswith(_AT_DESTINATION) else "origin"]
    return end
