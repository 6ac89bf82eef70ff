"""One list of the API each: where its rows come from, and how tests put, change and delete some of them.

Derived collections make their rows from the plans of shipments, when they are read: fifty thousand shipments have too
many to keep. Objects that a test put, changed or deleted override them.
"""

import functools
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, overload

from flexportd.errors import NotFoundError
from flexportd.sandbox.catalog.kinds import CONTAINER_LEG, EVENT, LEG, PORT, SHIPMENT, Wire
from flexportd.sandbox.ids import PER_SHIPMENT, object_number
from flexportd.sandbox.objects.shipment_state import DerivedObjects, ShipmentState


class LazyRows(Sequence[Wire]):
    """Rows by their keys, in order; `make` turns a key into its row."""

    def __init__(self, keys: Sequence[Any], make: Callable[[Any], Wire]) -> None:
        self._keys = keys
        self._make = make

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, place: int) -> Wire: ...

    @overload
    def __getitem__(self, place: slice) -> list[Wire]: ...

    def __getitem__(self, place: int | slice) -> Wire | list[Wire]:
        if isinstance(place, slice):
            return [self._make(key) for key in self._keys[place]]
        return self._make(self._keys[place])

    def __iter__(self) -> Iterator[Wire]:
        return (self._make(key) for key in self._keys)

    def where(self, holds: Callable[[Wire], bool]) -> "LazyRows":
        """The rows that match."""
        return LazyRows([key for key in self._keys if holds(self._make(key))], self._make)

    def ordered(self, by: Callable[[Wire], Any], *, reverse: bool = False) -> "LazyRows":
        """The rows sorted by a value; the sort is stable."""
        return LazyRows(sorted(self._keys, key=lambda key: by(self._make(key)), reverse=reverse), self._make)

    def concat(self, others: Sequence[Wire]) -> "LazyRows":
        """These rows, then others."""
        if not len(others):
            return self
        makers = [functools.partial(self._make, key) for key in self._keys]
        return LazyRows([*makers, *(functools.partial(dict, row) for row in others)], lambda make: make())


def key_of(wire: Wire) -> str:
    """The key of an object: its id as text; ports have no id and go by UN/LOCODE and name."""
    if wire["_object"] == PORT and "id" not in wire:
        return f"{wire['address']['unlocode']}/{wire['name']}"
    return str(wire["id"])


class Collection(ABC):
    """The rows of one list at the present of the world, by `key_of`."""

    @abstractmethod
    def rows(self) -> LazyRows:
        """All rows, in the order of the list."""

    def for_shipment(self, shipment_id: int) -> LazyRows:  # noqa: ARG002 (only some collections can narrow)
        """Some of the rows: at least all that belong to that shipment."""
        return self.rows()

    @abstractmethod
    def find(self, key: str) -> Wire | None:
        """One row."""

    @abstractmethod
    def put(self, wire: Wire) -> None:
        """Add a row, or replace it."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove a row for good."""

    def override(self, key: str, fields: Wire) -> None:
        """Replace fields of a row. Raises NotFoundError."""
        row = self.find(key)
        if row is None:
            raise NotFoundError(f"There is no object {key} in the sandbox.")
        self.put({**row, **fields})


class DerivedCollection(Collection):
    """Objects derived from shipments, in the order of their shipments."""

    def __init__(
        self, objects: DerivedObjects, journeys: Mapping[int, ShipmentState], clock: Callable[[], datetime]
    ) -> None:
        self._objects = objects
        self._journeys = journeys
        self._clock = clock
        self._numbers: list[int] = []
        self._created: list[float] = []
        self._indexed = 0
        self._put: dict[str, Wire] = {}
        self._fields: dict[str, Wire] = {}
        self._deleted: set[int] = set()

    def rows(self) -> LazyRows:
        self._index_new_shipments()
        now = self._clock()
        at = now.timestamp()
        numbers = [number for number, created in zip(self._numbers, self._created, strict=True) if created <= at]
        return self._lazy_rows(numbers, now, list(self._put.values()))

    def for_shipment(self, shipment_id: int) -> LazyRows:
        journey, now = self._journeys.get(shipment_id), self._clock()
        created = [] if journey is None else self._objects.creation_times(journey)
        numbers = [object_number(shipment_id, place) for place, at in created if at <= now]
        put = [wire for wire in self._put.values() if (wire.get("shipment") or {}).get("id") == shipment_id]
        return self._lazy_rows(numbers, now, put)

    def find(self, key: str) -> Wire | None:
        if key in self._put:
            return self._put[key]
        number = self._objects.parse_id(key)
        if number is None or number in self._deleted:
            return None
        shipment_id, place = divmod(number, PER_SHIPMENT)
        journey, now = self._journeys.get(shipment_id), self._clock()
        created = {} if journey is None else dict(self._objects.creation_times(journey))
        return self._make(number, now) if place in created and created[place] <= now else None

    def put(self, wire: Wire) -> None:
        key = key_of(wire)
        self._hide(key)
        self._put[key] = wire

    def delete(self, key: str) -> None:
        self._hide(key)
        self._put.pop(key, None)

    def override(self, key: str, fields: Wire) -> None:
        """Replace fields of a row; the others keep changing with time."""
        if key in self._put:
            self._put[key] = {**self._put[key], **fields}
        else:
            self._fields[key] = {**self._fields.get(key, {}), **fields}

    def _lazy_rows(self, numbers: Sequence[int], now: datetime, put: Sequence[Wire]) -> LazyRows:
        if self._deleted:
            numbers = [number for number in numbers if number not in self._deleted]
        return LazyRows(numbers, lambda number: self._make(number, now)).concat(put)

    def _make(self, number: int, now: datetime) -> Wire:
        shipment_id, place = divmod(number, PER_SHIPMENT)
        wire = self._objects.make(self._journeys[shipment_id], place, now)
        return {**wire, **self._fields.get(str(wire["id"]), {})} if self._fields else wire

    def _hide(self, key: str) -> None:
        number = self._objects.parse_id(key)
        if number is not None:
            self._deleted.add(number)

    def _index_new_shipments(self) -> None:
        """Read the creation times of the objects of new shipments, once for each shipment."""
        for shipment_id, journey in itertools.islice(self._journeys.items(), self._indexed, None):
            for place, created in self._objects.creation_times(journey):
                self._numbers.append(object_number(shipment_id, place))
                self._created.append(created.timestamp())
        self._indexed = len(self._journeys)


class FixedCollection(Collection):
    """Rows that time does not change."""

    def __init__(self, rows: Iterable[Wire]) -> None:
        self._rows = {key_of(row): row for row in rows}

    def rows(self) -> LazyRows:
        return LazyRows(list(self._rows.values()), lambda row: row)

    def find(self, key: str) -> Wire | None:
        return self._rows.get(key)

    def put(self, wire: Wire) -> None:
        self._rows[key_of(wire)] = wire

    def delete(self, key: str) -> None:
        self._rows.pop(key, None)


class TableCollection(Collection):
    """Rows of one table: shipments, legs, containers, container legs or events.

    A change is also made in the shipment that owns the row, so that later changes build on it.
    """

    def __init__(self, kind: str, tables: Mapping[str, dict[int, Wire]], journeys: Mapping[int, ShipmentState]) -> None:
        self._kind = kind
        self._tables = tables
        self._rows = tables[kind]
        self._journeys = journeys
        self.deleted: set[int] = set()

    def rows(self) -> LazyRows:
        """Newest first for shipments and events; legs and containers are listed oldest first."""
        newest_first = self._kind in {SHIPMENT, EVENT}
        return LazyRows([self._rows[number] for number in sorted(self._rows, reverse=newest_first)], lambda row: row)

    def find(self, key: str) -> Wire | None:
        return self._rows.get(int(key)) if key.isascii() and key.isdigit() and len(key) < 19 else None

    def put(self, wire: Wire) -> None:
        number = int(wire["id"])
        self.deleted.discard(number)
        self._rows[number] = wire
        journey = self._owner_of(wire)
        if journey is not None:
            refs = [ref for ref in journey.objects if ref.kind == self._kind and journey.ids.id_of(ref) == number]
            journey.objects.update(dict.fromkeys(refs, wire))

    def delete(self, key: str) -> None:
        """Remove a row for good; the shipment still changes it, unseen."""
        self.deleted.add(int(key))
        self._rows.pop(int(key), None)

    def _owner_of(self, wire: Wire) -> ShipmentState | None:
        if self._kind == EVENT:
            return None
        owner = wire
        if self._kind == CONTAINER_LEG:
            owner = self._tables[LEG].get((wire.get("leg") or {}).get("id", 0), {})
        shipment_id = wire["id"] if self._kind == SHIPMENT else (owner.get("shipment") or {}).get("id")
        return self._journeys.get(int(shipment_id or 0))
