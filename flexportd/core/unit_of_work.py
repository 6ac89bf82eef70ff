"""The unit of work of a batch of events or objects: state is read once, changed in memory, and written once."""

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import compress
from operator import ne
from typing import Any

import msgspec

from flexportd.core.access import audiences
from flexportd.core.merge import is_link_only
from flexportd.core.resources import bookings, containers, legs, shipments
from flexportd.core.resources.itinerary import ShipmentRoute, container_numbers, route_fields
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import is_same_moment
from flexportd.core.search.fields import READ_FROM_RAW
from flexportd.storage.change_log import WrittenObject
from flexportd.storage.queries.table import Key, Table
from flexportd.storage.repositories.changes import Change
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

_OWNERS = {domain.name: domain for domain in (legs.RESOURCE_TYPE, containers.RESOURCE_TYPE)}
_BOOKED = ("purchase_orders", "booking_id")  # the fields of a shipment that say which orders its bookings add
_ON_ROUTE = (legs.RESOURCE_TYPE, containers.RESOURCE_TYPE, containers.LEGS_RESOURCE_TYPE)


class ChangeCause:
    """What caused a change: an event, or a sync run and when that began. Times are on our clock."""

    __slots__ = ("at", "began_at", "event_id", "run_id", "source")

    def __init__(self, at: str, source: str, event_id: str | None = None, run: tuple[int, str] | None = None) -> None:
        self.at = at
        self.source = source
        self.event_id = event_id
        self.run_id = run[0] if run else None
        self.began_at = run[1] if run else None


class UnitOfWork:
    """An identity map over one transaction. Nothing is written before `flush`."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._records: dict[tuple[str, Key], Record | None] = {}
        self._written: dict[tuple[str, Key], Record] = {}
        self._changed_fields: dict[tuple[str, Key], set[str]] = {}  # since what is stored; with "id" for a new object
        self._raw_moved: set[tuple[str, Key]] = set()  # of which what is read from `raw` alone may have moved
        self._dirty: dict[str, tuple[ResourceType, set[Key]]] = {}
        self._stored: dict[tuple[str, int], list[Record]] = {}  # by shipment, as they were before this batch
        self._assigned: dict[tuple[str, int], dict[Key, Record]] = {}  # by shipment, as this batch left them
        self._references: set[int] = set()
        self._retagged: set[int] = set()  # shipments whose audience may have changed
        self._new_owners: dict[
            str, dict[Key, tuple[int, ChangeCause]]
        ] = {}  # column -> owner -> its shipment, and the cause
        self._former_shipments: dict[int, ChangeCause] = {}  # shipments that lost an object, and the cause
        # shipments whose bookings may name other purchase orders now, and the cause
        self._changed_bookings: dict[int, ChangeCause] = {}
        self._confirmed_at: Mapping[str, str] | None = None
        self._previous_as_of: dict[str, dict[Key, str | None]] = {}  # the `as_of` of what is written, before this batch
        self.changes: list[Change] = []
        self.anomalies: list[tuple[str, str, str]] = []  # (object, sentence, example) for schema drift

    def prefetch(self, domain: ResourceType, ids: Iterable[Key]) -> None:
        """Read many records in one statement."""
        missing = [key for key in dict.fromkeys(ids) if (domain.name, key) not in self._records]
        if missing:
            loaded = self._tx.resources.load(domain.table, missing)
            for key in missing:
                self._records[domain.name, key] = loaded.get(key)

    def get(self, domain: ResourceType, record_id: Key) -> Record | None:
        """The newest state, with what this batch has changed so far."""
        if (domain.name, record_id) not in self._records:
            self.prefetch(domain, (record_id,))
        return self._records[domain.name, record_id]

    def put(
        self,
        domain: ResourceType,
        record: Record,
        cause: ChangeCause,
        *,
        quietly: bool = False,
        is_localised: bool = False,
        wire: Collection[str] | None = None,
    ) -> bool:
        """Stage a new state and record each changed field; returns whether any changed.

        A time that is written with another offset has not moved; `is_localised`: it is now on the clock of its place.
        `wire` are the wire fields that changed; None: any may have.
        """
        before = self.get(domain, record.id)
        record, moved = self._compared(domain, before, record, is_localised=is_localised)
        self._previous_as_of.setdefault(domain.name, {}).setdefault(record.id, before.as_of if before else None)
        # The history of an object begins with its first data, not with its id alone.
        if not quietly and (record.as_of or not is_link_only(record)):
            self._record_changes(domain, before, record, moved, cause)
        self._changed_fields.setdefault((domain.name, record.id), set()).update(moved)
        from_raw = READ_FROM_RAW.get(domain.name, frozenset())
        if from_raw and (wire is None or not from_raw.isdisjoint(wire)) and before and before.raw != record.raw:
            self._raw_moved.add((domain.name, record.id))
        self._stage(domain, record)
        if before is None or "shipment_id" in moved:
            self._assign_shipment(domain, before, record, cause)
        if domain is bookings.RESOURCE_TYPE and (before is None or moved.intersection(("metadata", "shipment_id"))):
            for state in (before, record):
                if state and state.fields["shipment_id"] is not None and (state.fields["metadata"] or before):
                    self._changed_bookings[int(state.fields["shipment_id"])] = cause
        if domain is shipments.RESOURCE_TYPE and (before is None or moved.intersection(shipments.REFERENCE_FIELDS)):
            self._references.add(int(record.id))
        if domain is shipments.RESOURCE_TYPE and (before is None or moved.intersection(audiences.TAG_FIELDS)):
            self._retagged.add(int(record.id))
        return bool(moved)

    def _compared(
        self, domain: ResourceType, before: Record | None, record: Record, *, is_localised: bool
    ) -> tuple[Record, set[str]]:
        """The state as it is to be stored, and the fields that moved. A rule is applied where one of its fields did."""
        if before is None:
            return self._with_booked_orders(domain, None, record), {"id"}
        given, table = record, domain.table
        moved = _moved(table, before, record)
        if not is_localised and not moved.isdisjoint(table.moments.keys()):
            record = _with_stored_spelling(domain, before, record, moved)
        if not moved.isdisjoint(_BOOKED):
            record = self._with_booked_orders(domain, before, record)
        if not moved.isdisjoint(table.lists):
            record = _with_stored_order(domain, before, record)
        return record, moved if record is given else _moved(table, before, record)

    def confirmed_at(self, domain: ResourceType) -> str:
        """Flexport's time at which all objects of a domain were last found to be as stored."""
        if self._confirmed_at is None:
            self._confirmed_at = self._tx.sync.confirmed_at()
        return self._confirmed_at.get(domain.name, "")

    def owner_of(self, domain: ResourceType, fields: Mapping[str, Any]) -> int | None:
        """The shipment of an object that does not name one: that of its owner."""
        for column, name in domain.owners:
            key = fields.get(column)
            owner = self.get(_OWNERS[name], key) if key is not None else None
            if owner is not None and owner.fields["shipment_id"] is not None:
                return int(owner.fields["shipment_id"])
        return None

    def prefetch_owners(self, domain: ResourceType, fields: Iterable[Mapping[str, Any]]) -> None:
        """Read the owners of these objects in one statement."""
        for column, name in domain.owners[:1]:
            self.prefetch(_OWNERS[name], [key for one in fields if (key := one.get(column)) is not None])

    def _assign_shipment(self, domain: ResourceType, before: Record | None, record: Record, cause: ChangeCause) -> None:
        """Note that an object moved to a shipment: its own objects get that shipment, the former one is refreshed."""
        former = before.fields.get("shipment_id") if before else None
        if former is not None and domain in _ON_ROUTE:
            self._assigned.setdefault((domain.name, former), {})
            self._former_shipments[int(former)] = cause
        shipment = record.fields.get("shipment_id")
        if shipment is not None and domain.name in _OWNERS:
            for column, name in containers.LEGS_RESOURCE_TYPE.owners:
                if name == domain.name:
                    self._new_owners.setdefault(column, {})[record.id] = (int(shipment), cause)

    def _stage(self, domain: ResourceType, record: Record) -> None:
        number = record.id
        self._records[domain.name, number] = self._written[domain.name, number] = record
        self._dirty.setdefault(domain.name, (domain, set()))[1].add(number)
        shipment = record.fields.get("shipment_id")
        if shipment is not None:
            self._assigned.setdefault((domain.name, shipment), {})[number] = record

    def _record_changes(
        self, domain: ResourceType, before: Record | None, after: Record, moved: Collection[str], cause: ChangeCause
    ) -> None:
        if before is None or (not before.as_of and is_link_only(before)):
            self._add_change(domain, after, "id", (None, after.id), cause)
        if before is None:
            return
        old, new, table = before.fields, after.fields, domain.table
        for name in sorted(table.recorded.keys() & moved, key=table.recorded.__getitem__):
            if name not in table.moments or not _is_respelled(old[name], new[name]):
                self._add_change(domain, after, name, (old[name], new[name]), cause)
        if "removed_at" in moved:
            self._add_change(domain, after, "removed_at", (before.removed_at, after.removed_at), cause)

    def _add_change(
        self, domain: ResourceType, record: Record, field: str, values: tuple[Any, Any], cause: ChangeCause
    ) -> None:
        old, new = values
        if field not in domain.table.json_names:
            old, new = _json(old), _json(new)
        self.changes.append(
            Change(
                domain.name, str(record.id), field, old, new, record.as_of,
                cause.at, cause.source, cause.event_id, cause.run_id,
            )
        )  # fmt: skip

    def prefetch_shipment_records(self, shipment_ids: Iterable[int]) -> None:
        """Read the legs, containers and container legs of many shipments in one statement each."""
        ids = list(dict.fromkeys(shipment_ids))
        for domain in _ON_ROUTE:
            new = [number for number in ids if (domain.name, number) not in self._stored]
            for shipment_id, records in self._tx.resources.of_shipments(domain.table, new).items():
                self._stored[domain.name, shipment_id] = records

    def shipment_records(self, domain: ResourceType, shipment_id: int) -> list[Record]:
        """All records of a domain that belong to one shipment, with what this batch has changed so far."""
        key = (domain.name, shipment_id)
        if key not in self._stored:
            self.prefetch_shipment_records((shipment_id,))
        known = {record.id: record for record in self._stored[key]} | self._assigned.get(key, {})
        now = [self._records.get((domain.name, number)) or record for number, record in known.items()]
        return [record for record in now if record.fields["shipment_id"] == shipment_id]

    def route_of(self, shipment_id: int, own: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a new shipment, with these of its `own`, that its legs and containers give now."""
        route = ShipmentRoute(self.shipment_records(legs.RESOURCE_TYPE, shipment_id))
        self._note_anomalies(route, own)
        return route_fields(route, self.shipment_records(containers.RESOURCE_TYPE, shipment_id))

    def refresh_route(self, shipment_id: int, cause: ChangeCause, *, quietly: bool = False) -> None:
        """Update the derived fields of a shipment, its containers and container legs after one of these changed.

        `quietly`: no history is written.
        """
        own_legs, boxes, box_legs = (self.shipment_records(domain, shipment_id) for domain in _ON_ROUTE)
        route, loads = ShipmentRoute(own_legs), containers.ContainerLoads(box_legs)
        for box in boxes:
            fields = containers.container_route_fields(box, route, loads)
            self._set_route_fields(containers.RESOURCE_TYPE, box, fields, cause)
        by_id = {leg.id: leg for leg in own_legs}
        for box_leg in box_legs:
            fields = containers.container_leg_route_fields(box_leg, by_id)
            self._set_route_fields(containers.LEGS_RESOURCE_TYPE, box_leg, fields, cause)
        shipment = self.get(shipments.RESOURCE_TYPE, shipment_id)
        if shipment is None:
            return
        if quietly or ("legs", shipment_id) in self._assigned:
            fields = {**shipment.fields, **route_fields(route, boxes)}
            fields.update(shipments.best_known(fields))
            self._note_anomalies(route, fields)
        else:  # no leg changed: the rest of the route is as it was
            fields = {**shipment.fields, "container_numbers": container_numbers(boxes)}
        if fields != shipment.fields:
            synced_at = shipment.synced_at if quietly else cause.at
            after = msgspec.structs.replace(shipment, fields=fields, synced_at=synced_at)
            quietly = quietly or _is_completing(shipment, cause)
            self.put(shipments.RESOURCE_TYPE, after, cause, quietly=quietly, is_localised=True)

    def _note_anomalies(self, route: ShipmentRoute, own: Mapping[str, Any]) -> None:
        departure = own["own_actual_departure"] or own["own_estimated_departure"]
        self.anomalies += [(legs.RESOURCE_TYPE.object_name, *odd) for odd in route.anomalies(departure)]

    def _set_route_fields(
        self, domain: ResourceType, record: Record, given: Mapping[str, Any], cause: ChangeCause
    ) -> None:
        if any(record.fields[name] != value for name, value in given.items()):
            after = msgspec.structs.replace(record, fields={**record.fields, **given})
            self.put(domain, after, cause, quietly=True, is_localised=True)

    def prefetch_bookings(self, named: Iterable[tuple[int, Key | None]]) -> None:
        """Read the bookings of many shipments, each given with the booking that it names itself."""
        by_shipment = dict(named)
        self.prefetch(bookings.RESOURCE_TYPE, [booking for booking in by_shipment.values() if booking is not None])
        new = [number for number in by_shipment if (bookings.TABLE.name, number) not in self._stored]
        for number, records in self._tx.resources.of_shipments(bookings.TABLE, new).items():
            self._stored[bookings.TABLE.name, number] = records

    def _with_booked_orders(self, domain: ResourceType, before: Record | None, record: Record) -> Record:
        """A shipment with the purchase orders in the metadata of its bookings; its list entry has no metadata."""
        if domain is not shipments.RESOURCE_TYPE:
            return record
        new = record.fields
        if before is not None and all(before.fields[name] == new[name] for name in _BOOKED):
            return record
        number, named = int(record.id), new["booking_id"]
        if (bookings.TABLE.name, number) not in self._stored:
            self.prefetch_bookings([(number, named)])
        own = {one.id: one for one in self.shipment_records(bookings.RESOURCE_TYPE, number)}
        booking = None if named is None else self.get(bookings.RESOURCE_TYPE, named)
        if booking is not None:
            own[booking.id] = booking
        if not own:
            return record
        metadata = [one.fields["metadata"] for _, one in sorted(own.items(), key=lambda item: str(item[0]))]
        orders = shipments.with_booked_orders(new["purchase_orders"], metadata)
        return record.with_fields({**new, "purchase_orders": orders})

    def _update_orders(self, number: int, cause: ChangeCause) -> None:
        """Update the purchase orders of a shipment after one of its bookings changed."""
        shipment = self.get(shipments.RESOURCE_TYPE, number)
        if shipment is None:
            return
        fields = {**shipment.fields, "purchase_orders": shipments.own_orders(shipment.raw)}
        after = self._with_booked_orders(shipments.RESOURCE_TYPE, None, shipment.with_fields(fields))
        if after.fields != shipment.fields:
            after = msgspec.structs.replace(after, synced_at=cause.at)
            self.put(shipments.RESOURCE_TYPE, after, cause, quietly=_is_completing(shipment, cause))

    def flush(self, at: str, ended: Sequence[int] = ()) -> None:
        """Write everything, one statement per table whatever the number of events; `ended` are their numbers."""
        for number, cause in self._changed_bookings.items():
            self._update_orders(number, cause)
        for number, cause in {**self._former_shipments, **self._backfill_shipments()}.items():
            self.refresh_route(number, cause)
        for domain, ids in self._dirty.values():
            keys = [(domain.name, number) for number in sorted(ids, key=str)]
            self._tx.resources.save(domain.table, [(self._written[key], self._changed_fields_of(key)) for key in keys])
        if self._references:
            self._tx.resources.put_references(
                {number: shipments.references(fields) for number, fields in self._written_shipments(self._references)}
            )
        if self._retagged:
            self._tx.audiences.put(
                {number: audiences.audience_tags(fields) for number, fields in self._written_shipments(self._retagged)}
            )
        numbers = self._tx.changes.add(self.changes)
        states = {
            name: [WrittenObject(key, as_of, self._moved_text((name, key))) for key, as_of in found.items()]
            for name, found in self._previous_as_of.items()
        }
        self._tx.journal.add(at, numbers, states, ended)

    def _written_shipments(self, numbers: Iterable[int]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        return ((number, self._written["shipments", number].fields) for number in sorted(numbers))

    def _backfill_shipments(self) -> dict[int, ChangeCause]:
        """Assign container legs without a shipment to their owner's; returns these shipments with the cause."""
        domain, backfilled = containers.LEGS_RESOURCE_TYPE, dict[int, ChangeCause]()
        for column, owners in self._new_owners.items():
            self.prefetch(domain, self._tx.resources.orphans(domain.table, column, list(owners)))
        waiting = [
            one
            for (name, _), one in self._records.items()
            if name == domain.name and one is not None and one.fields["shipment_id"] is None
        ]
        for record in waiting:
            owner = next(
                (own for column, of in self._new_owners.items() if (own := of.get(record.fields[column]))), None
            )
            if owner is not None:
                shipment, cause = owner
                self.put(domain, record.with_fields({**record.fields, "shipment_id": shipment}), cause)
                backfilled[shipment] = cause
        return backfilled

    def _changed_fields_of(self, key: tuple[str, Key]) -> frozenset[str] | None:
        moved = self._changed_fields[key]
        return None if "id" in moved else frozenset(moved)

    def _moved_text(self, key: tuple[str, Key]) -> str | None:
        """As `WrittenObject.changed_fields` has it."""
        moved = self._changed_fields_of(key)
        return None if moved is None else _assigned(moved, with_raw=key in self._raw_moved)

    def written(self) -> dict[str, set[Key]]:
        """Domain name -> the ids whose state was written."""
        return {name: ids for name, (_, ids) in self._dirty.items()}


def _is_completing(shipment: Record, cause: ChangeCause) -> bool:
    """Whether the run that first brought a shipment completes it, with its legs for example: that is not a change."""
    return cause.began_at is not None and shipment.first_seen_at >= cause.began_at


def _moved(table: Table, before: Record, after: Record) -> set[str]:
    moved = set(compress(table.names, map(ne, table.values_of(before.fields), table.values_of(after.fields))))
    return moved if before.removed_at == after.removed_at else {*moved, "removed_at"}


@functools.lru_cache(maxsize=512)
def _assigned(names: frozenset[str], *, with_raw: bool) -> str:
    return " ".join(sorted(names | {"raw"} if with_raw else names))


def _with_stored_order(domain: ResourceType, before: Record, after: Record) -> Record:
    """A state whose lists keep the order that is stored, where they hold the same as before."""
    old, new = before.fields, after.fields
    kept = {
        name: old[name]
        for name in domain.table.lists
        if (one := old.get(name)) != (other := new.get(name)) and one and other and len(one) == len(other)
        if sorted(map(bytes, _members.decode(one))) == sorted(map(bytes, _members.decode(other)))
    }
    return after.with_fields({**new, **kept}) if kept else after


_members = msgspec.json.Decoder(list[msgspec.Raw])


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _with_stored_spelling(domain: ResourceType, before: Record, after: Record, moved: Collection[str]) -> Record:
    """The new state, where a time that is still the same instant is written as before, unless it has its place's clock.

    An offset tells more about the place than UTC does, so a new offset is taken.
    """
    old, new = before.fields, after.fields
    on_route = (
        domain is containers.RESOURCE_TYPE or domain is containers.LEGS_RESOURCE_TYPE
    )  # `refresh_route` places their times
    kept = {
        name: old[name]
        for name, field in domain.table.moments.items()
        if name in moved
        and _is_respelled(old[name], new[name])
        and not old[name].endswith("+00:00")
        and (on_route or not (field.zone and new[field.zone]))
    }
    return after.with_fields({**new, **kept}) if kept else after


def _is_respelled(was: str | None, now: str | None) -> bool:
    return bool(was and now and was != now and is_same_moment(was, now))
