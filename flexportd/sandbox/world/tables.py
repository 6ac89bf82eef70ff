"""The lists of what moves: shipments, legs, containers, container legs and events."""

from collections.abc import Mapping
from datetime import datetime

from flexportd.errors import NotFoundError
from flexportd.sandbox.catalog.wire_objects import CONTAINER_LEG, EVENT, LEG, SHIPMENT, Wire
from flexportd.sandbox.objects.shipment_state import ShipmentState
from flexportd.sandbox.scripts.world_events import ObjectRef
from flexportd.sandbox.world.lazy_rows import LazyRows, stored_rows


class TableCollection:
    """Rows of one table. A change is also made in the shipment they belong to, so that later ones build on it."""

    def __init__(self, kind: str, tables: Mapping[str, dict[int, Wire]], journeys: Mapping[int, ShipmentState]) -> None:
        self._kind = kind
        self._tables = tables
        self._rows = tables[kind]
        self._journeys = journeys
        self.deleted: set[int] = set()

    def rows(self, now: datetime) -> LazyRows:  # noqa: ARG002 (the shelf's signature)
        """Newest first for shipments and events; legs and containers are recorded oldest first."""
        newest_first = self._kind in {SHIPMENT, EVENT}
        return stored_rows([self._rows[number] for number in sorted(self._rows, reverse=newest_first)])

    def for_shipment(self, shipment_id: int, now: datetime) -> LazyRows:  # noqa: ARG002 (the shelf's signature)
        return self.rows(now)

    def find(self, key: str, now: datetime) -> Wire | None:  # noqa: ARG002 (the shelf's signature)
        return self._rows.get(int(key)) if key.isascii() and key.isdigit() and len(key) < 19 else None

    def put(self, wire: Wire) -> None:
        number = int(wire["id"])
        self.deleted.discard(number)
        self._rows[number] = wire
        journey, subject = self._owner_of(wire)
        if journey is not None and subject is not None:
            journey.objects[subject] = wire

    def delete(self, key: str) -> None:
        """Its story goes on, but it is never seen again."""
        self.deleted.add(int(key))
        self._rows.pop(int(key), None)

    def override(self, key: str, fields: Wire, now: datetime) -> None:
        found = self.find(key, now)
        if found is None:
            raise NotFoundError(f"There is no {self._kind} {key} in the sandbox.")
        self.put({**found, **fields})

    def _owner_of(self, wire: Wire) -> tuple[ShipmentState | None, ObjectRef | None]:
        """The shipment that an object belongs to, and what it is there."""
        if self._kind == EVENT:
            return None, None
        owner = wire
        if self._kind == CONTAINER_LEG:
            owner = self._tables[LEG].get((wire.get("leg") or {}).get("id", 0), {})
        shipment_id = wire["id"] if self._kind == SHIPMENT else (owner.get("shipment") or {}).get("id")
        journey = self._journeys.get(int(shipment_id or 0))
        if journey is None:
            return None, None
        subjects = (subject for subject in journey.objects if subject.kind == self._kind)
        return journey, next((one for one in subjects if journey.numbers.id_of(one) == wire["id"]), None)
