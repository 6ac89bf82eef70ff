"""One list of the API each: where its rows come from, and how a test puts, changes and deletes some of them.

A shelf of papers makes its rows from the plans of shipments; what a test put there, changed or deleted is laid over
them. A fixed shelf simply holds its rows.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from flexportd.sandbox.catalog.wire_objects import PORT, Wire
from flexportd.sandbox.ids import PER_SHIPMENT, object_number
from flexportd.sandbox.objects.shipment_state import ShipmentState
from flexportd.sandbox.world.lazy_rows import LazyRows, stored_rows


class Collection(Protocol):
    """The rows of one list. Keys are ids as text; ports, which have none, go by `key_of`."""

    def rows(self, now: datetime) -> LazyRows:
        """All that are there at that instant, in the order of the list."""

    def for_shipment(self, shipment_id: int, now: datetime) -> LazyRows:
        """A part of them that holds all that belong to that shipment."""

    def find(self, key: str, now: datetime) -> Wire | None:
        """One of them."""

    def put(self, wire: Wire) -> None:
        """Add one, or replace it."""

    def delete(self, key: str) -> None:
        """Take one away for good."""

    def override(self, key: str, fields: Wire, now: datetime) -> None:
        """Lay fields over one that is there; what changes by itself later stays under them."""


class DerivedObjects(Protocol):
    """Makes the objects of one kind that follow from a shipment."""

    def creation_times(self, journey: ShipmentState) -> Iterable[tuple[int, datetime]]:
        """Each one's place among its like, and when it comes into being. These never change."""

    def make(self, journey: ShipmentState, place: int, now: datetime) -> Wire:
        """One of them as it is at that instant, which is after its birth and not in the past."""

    def parse_id(self, key: str) -> int | None:
        """The number of an id: see `identities`."""


def key_of(wire: Wire) -> str:
    """What an object goes by: its id as text, or for a port its UN/LOCODE and its name."""
    if wire["_object"] == PORT and "id" not in wire:
        return f"{wire['address']['unlocode']}/{wire['name']}"
    return str(wire["id"])


class DerivedCollection:
    """Papers of all shipments, in the order of their shipments."""

    def __init__(self, paper: DerivedObjects, journeys: Mapping[int, ShipmentState]) -> None:
        self._paper = paper
        self._journeys = journeys
        self._numbers: list[int] = []
        self._births: list[float] = []
        self._seen = 0
        self._put: dict[str, Wire] = {}
        self._fields: dict[str, Wire] = {}
        self._deleted: set[int] = set()

    def rows(self, now: datetime) -> LazyRows:
        self._index_new_shipments()
        at, gone = now.timestamp(), self._deleted
        born = [number for number, birth in zip(self._numbers, self._births, strict=True) if birth <= at]
        numbers = [number for number in born if number not in gone] if gone else born
        return self._lazy_rows(numbers, now, list(self._put.values()))

    def for_shipment(self, shipment_id: int, now: datetime) -> LazyRows:
        journey = self._journeys.get(shipment_id)
        births = [] if journey is None else self._paper.creation_times(journey)
        numbers = [object_number(shipment_id, place) for place, birth in births if birth <= now]
        put = [wire for wire in self._put.values() if (wire.get("shipment") or {}).get("id") == shipment_id]
        return self._lazy_rows([number for number in numbers if number not in self._deleted], now, put)

    def find(self, key: str, now: datetime) -> Wire | None:
        if key in self._put:
            return self._put[key]
        number = self._paper.parse_id(key)
        if number is None or number in self._deleted:
            return None
        shipment_id, place = divmod(number, PER_SHIPMENT)
        journey = self._journeys.get(shipment_id)
        births = {} if journey is None else dict(self._paper.creation_times(journey))
        if journey is None or place not in births or births[place] > now:
            return None
        return self._make(number, now)

    def put(self, wire: Wire) -> None:
        key = key_of(wire)
        self._hide(key)
        self._put[key] = wire

    def delete(self, key: str) -> None:
        self._hide(key)
        self._put.pop(key, None)

    def override(self, key: str, fields: Wire, now: datetime) -> None:  # noqa: ARG002 (the shelf's signature)
        if key in self._put:
            self._put[key] = {**self._put[key], **fields}
        else:
            self._fields[key] = {**self._fields.get(key, {}), **fields}

    def _lazy_rows(self, numbers: Sequence[int], now: datetime, put: Sequence[Wire]) -> LazyRows:
        return LazyRows(numbers, lambda number: self._make(number, now)).concat(put)

    def _make(self, number: int, now: datetime) -> Wire:
        shipment_id, place = divmod(number, PER_SHIPMENT)
        wire = self._paper.make(self._journeys[shipment_id], place, now)
        return {**wire, **self._fields.get(str(wire["id"]), {})} if self._fields else wire

    def _hide(self, key: str) -> None:
        number = self._paper.parse_id(key)
        if number is not None:
            self._deleted.add(number)

    def _index_new_shipments(self) -> None:
        """Read when the papers of new shipments come into being, once for each shipment."""
        for shipment_id, journey in itertools.islice(self._journeys.items(), self._seen, None):
            for place, birth in self._paper.creation_times(journey):
                self._numbers.append(object_number(shipment_id, place))
                self._births.append(birth.timestamp())
        self._seen = len(self._journeys)


class FixedCollection:
    """Rows that time does not change."""

    def __init__(self, rows: Iterable[Wire]) -> None:
        self._rows = {key_of(row): row for row in rows}

    def rows(self, now: datetime) -> LazyRows:  # noqa: ARG002 (the shelf's signature)
        return stored_rows(list(self._rows.values()))

    def for_shipment(self, shipment_id: int, now: datetime) -> LazyRows:  # noqa: ARG002 (the shelf's signature)
        return self.rows(now)

    def find(self, key: str, now: datetime) -> Wire | None:  # noqa: ARG002 (the shelf's signature)
        return self._rows.get(key)

    def put(self, wire: Wire) -> None:
        self._rows[key_of(wire)] = wire

    def delete(self, key: str) -> None:
        self._rows.pop(key, None)

    def override(self, key: str, fields: Wire, now: datetime) -> None:  # noqa: ARG002 (the shelf's signature)
        self._rows[key] = {**self._rows[key], **fields}
