"""Evidence of progress: the stages that a shipment and each container have reached, with proof. Pure.

Flexport fills its dates late and unevenly: a container may be discharged while nothing reports that its ship departed
(recorded). So any evidence counts, and a stage implies those before it. Implausible dates are no evidence.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from flexportd.core.resources.identifiers import int_id
from flexportd.core.resources.itinerary import NO_PLACE, RoutePlace, ShipmentRoute, place_at
from flexportd.core.resources.values import instant as utc
from flexportd.storage.queries.table import plausible_or_none
from flexportd.storage.repositories.resources import Record


class CargoStage(IntEnum):
    """How far the cargo is, in order of travel. Only a shipment with an inland ramp has `AT_RAMP`."""

    PICKED_UP = 1
    DEPARTED = 2  # from the port of loading; by road from the origin
    ARRIVED = 3  # at the port of unloading; by road at the destination
    AT_RAMP = 4
    DISCHARGED = 5  # at the terminal where free time runs, or available there
    LEFT = 6  # the terminal (gated out)
    DELIVERED = 7
    EMPTY_RETURNED = 8


class Proof(NamedTuple):
    """One piece of evidence. `moment` is None for a status; `source` is `shipment`, `status` or `<resource>/<id>`."""

    stage: CargoStage
    moment: str | None
    source: str


class CargoProgress:
    """The progress of a shipment or a container: the best proof of each stage is the earliest with a date."""

    def __init__(self, proofs: Iterable[Proof]) -> None:
        best: dict[CargoStage, Proof] = {}
        for proof in proofs:
            known = best.get(proof.stage)
            if known is None or _order(proof) < _order(known):
                best[proof.stage] = proof
        self.proofs: Sequence[Proof] = tuple(best.values())
        self.stage = max(best, default=0)

    def has_reached(self, stage: CargoStage) -> bool:
        """Whether a stage is reached."""
        return self.stage >= stage

    def proof(self, stage: CargoStage) -> Proof | None:
        """The best proof of a stage: with a date, and of the stage itself before later ones."""
        found = [proof for proof in self.proofs if proof.stage >= stage]
        return min(found, key=lambda one: (one.moment is None, one.stage), default=None)


def _order(proof: Proof) -> tuple[bool, str, str]:
    return proof.moment is None, proof.moment or "", proof.source


_BY_ROAD = frozenset({"truck", "truck_intl"})

# https://apidocs.flexport.com/v2/tag/Shipment
_STATUS: Mapping[str, CargoStage] = {
    **dict.fromkeys(("origin_stop_off", "in_transit_to_departure_port", "departure_port"), CargoStage.PICKED_UP),
    **dict.fromkeys(("in_transit_to_intermediary_port", "intermediary_port"), CargoStage.DEPARTED),
    "in_transit_to_arrival_port": CargoStage.DEPARTED,
    "arrival_port": CargoStage.ARRIVED,
    "deconsolidation": CargoStage.DISCHARGED,
    **dict.fromkeys(("in_transit_to_final_destination", "destination_stop_off", "gated_out"), CargoStage.LEFT),
    "final_destination": CargoStage.DELIVERED,
}
_INLAND_STATUSES = frozenset({"deconsolidation", "in_transit_to_final_destination", "destination_stop_off"})

_DEPARTURE_MILESTONES = frozenset({"departed", "out_for_delivery", "loaded_on_truck"})
_ARRIVAL_MILESTONES = frozenset({"arrived", "delivered", "delivery_completed"})
_CONTAINER_MILESTONES: Mapping[str, CargoStage] = {
    "available_for_pickup": CargoStage.DISCHARGED,
    "free_time_to_expire": CargoStage.DISCHARGED,  # free time runs only at the terminal
    "free_time_expired": CargoStage.DISCHARGED,
    "empty_returned": CargoStage.EMPTY_RETURNED,
}
_LEFT_WITHOUT_LEG = frozenset({"out_for_delivery", "delivered", "delivery_completed"})


class Evidence:
    """The progress of a shipment (`overall`) and its containers (`boxes`, by id).

    One container that is delivered proves that the shipment left the terminal; only all of them prove its delivery.
    `events` are its milestones, each with `id`, `type`, `occurred_at`, `created_at`, `resource` and `resource_id`.
    """

    def __init__(
        self,
        shipment: Record,
        route: ShipmentRoute,
        containers: Iterable[Record] = (),
        container_legs: Iterable[Record] = (),
        events: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self._shipment = shipment
        self._route = route
        self._containers = [box for box in containers if not box.removed_at]
        self._box_legs = {one.id: one for one in container_legs if not one.removed_at}
        self._at = {leg.id: at for at, leg in enumerate(route.ordered)}
        self._start = self._at[route.departure_leg.id] if route.departure_leg else 0
        self._end = self._at[route.last_carrier_leg.id] if route.last_carrier_leg else -1
        self._legs = {leg.id: leg for leg in route.ordered}
        self._by_container: dict[int, list[Proof]] = {int(box.id): [] for box in self._containers}
        self._unassigned: list[Proof] = []  # of no container in particular
        self._of_all_cargo: list[Proof] = []  # of all of the cargo
        self._reached: dict[Any, str] = {}  # leg -> when it arrived
        self._containers_on: dict[Any, set[int]] = {}  # leg -> the containers on it
        for one in self._box_legs.values():
            if one.fields["container_id"] in self._by_container:
                self._containers_on.setdefault(one.fields["leg_id"], set()).add(one.fields["container_id"])
        self._add_leg_proofs()
        self._add_milestone_proofs(events)
        self._add_container_proofs()
        self._known_to_have_left = {
            number for number, own in self._by_container.items() if any(proof.stage >= CargoStage.LEFT for proof in own)
        }
        self.overall = CargoProgress(self._overall_proofs())
        self.boxes: Mapping[int, CargoProgress] = {
            number: CargoProgress(self._container_proofs(number)) for number in self._by_container
        }

    def box(self, container: Record) -> CargoProgress:
        """The progress of a container."""
        return self.boxes.get(int(container.id), self.overall)

    def departure_stage(self, leg: Record) -> CargoStage:
        """The stage that the departure of a leg proves."""
        at = self._at[leg.id]
        if at < self._start:
            return CargoStage.PICKED_UP
        if at > self._end:
            return CargoStage.LEFT
        is_behind_port = self._route.has_ramp and self._is_at(leg, "origin", "port_of_unloading")
        return CargoStage.ARRIVED if is_behind_port and at > self._start else CargoStage.DEPARTED

    def arrival_stage(self, leg: Record) -> CargoStage:
        """The stage that the arrival of a leg proves for its cargo."""
        at, route = self._at[leg.id], self._route
        if at < self._start:
            return CargoStage.PICKED_UP
        if at > self._end:
            return CargoStage.DELIVERED if self._is_at(leg, "destination", "destination") else CargoStage.LEFT
        if route.has_ramp and (leg is route.last_carrier_leg or self._is_at(leg, "destination", "inland_ramp")):
            return CargoStage.AT_RAMP
        is_arrival = leg is route.arrival_leg or self._is_at(leg, "destination", "port_of_unloading")
        return CargoStage.ARRIVED if is_arrival else CargoStage.DEPARTED

    def discharge_stage(self, leg: Record) -> CargoStage:
        """The stage that a discharge from a leg proves: at the terminal after the last carrier leg."""
        stage, last = self.arrival_stage(leg), CargoStage.AT_RAMP if self._route.has_ramp else CargoStage.ARRIVED
        return CargoStage.DISCHARGED if stage == last else stage

    def _is_at(self, leg: Record, end: str, name: str) -> bool:
        place: RoutePlace = self._route.places[name]
        return place is not NO_PLACE and place_at(leg, end)[:2] == place[:2]

    def _add_leg_proofs(self) -> None:
        for leg in self._route.ordered:
            fields, source = leg.fields, f"legs/{leg.id}"
            if moment := plausible_or_none(fields["actual_departure"]):
                self._add_for_leg(leg, Proof(self.departure_stage(leg), moment, source))
            if moment := plausible_or_none(fields["actual_arrival"]) or plausible_or_none(fields["delivery_completed"]):
                self._reached[leg.id] = moment
                self._add_for_leg(leg, Proof(self.arrival_stage(leg), moment, source))
        for one in self._box_legs.values():
            of_leg = self._legs.get(one.fields["leg_id"])
            if of_leg is not None:
                for name, stage in (
                    ("actual_loaded_on_board", self.departure_stage),
                    ("actual_discharge", self.discharge_stage),
                ):
                    if moment := plausible_or_none(one.fields[name]):
                        self._add_for_container(
                            one.fields["container_id"], Proof(stage(of_leg), moment, f"container_legs/{one.id}")
                        )

    def _add_for_leg(self, leg: Record, proof: Proof) -> None:
        """A leg proves the progress of its containers, or of the shipment if it has none."""
        carried = self._containers_on.get(leg.id, ())
        for number in carried:
            self._by_container[number].append(proof)
        if not carried:
            self._unassigned.append(proof)

    def _add_for_container(self, number: int | None, proof: Proof) -> None:
        if number in self._by_container:
            self._by_container[number].append(proof)
        else:
            self._unassigned.append(proof)

    def _add_milestone_proofs(self, events: Iterable[Mapping[str, Any]]) -> None:
        for event in events:
            name = (event["type"] or "").rpartition("#")[2]
            moment = plausible_or_none(utc(event["occurred_at"]) or utc(event["created_at"]))
            if moment is not None:
                self._add_milestone_proof(name, moment, event)

    def _add_milestone_proof(self, name: str, moment: str, event: Mapping[str, Any]) -> None:
        """Event types are the same for all legs: the resource of the event says which leg or container it is about."""
        source, leg = f"events/{event['id']}", self._legs.get(leg_of(event) or -1)
        box_leg = self._box_legs.get(_resource_number(event, "/shipment_container_leg") or -1)
        if name == "delivered_in_full":
            self._of_all_cargo.append(Proof(CargoStage.DELIVERED, moment, source))
        elif name in _CONTAINER_MILESTONES:
            self._add_for_container(box_of(event, self._box_legs), Proof(_CONTAINER_MILESTONES[name], moment, source))
        elif name in ("loaded_on_board", "unloaded_off_board") and box_leg is not None:
            of_leg = self._legs.get(box_leg.fields["leg_id"])
            if of_leg is not None:
                stage = self.departure_stage if name == "loaded_on_board" else self.discharge_stage
                self._add_for_container(box_leg.fields["container_id"], Proof(stage(of_leg), moment, source))
        elif name in _DEPARTURE_MILESTONES and leg is not None:
            self._add_for_leg(leg, Proof(self.departure_stage(leg), moment, source))
        elif name in _ARRIVAL_MILESTONES and leg is not None:
            self._reached.setdefault(leg.id, moment)
            self._add_for_leg(leg, Proof(self.arrival_stage(leg), moment, source))
        elif name in _LEFT_WITHOUT_LEG:
            self._unassigned.append(Proof(CargoStage.LEFT, moment, source))

    def _add_container_proofs(self) -> None:
        arrival = CargoStage.AT_RAMP if self._route.has_ramp else CargoStage.ARRIVED
        names = (
            ("actual_departure", CargoStage.DEPARTED),
            ("actual_arrival", arrival),
            ("available_for_pickup", CargoStage.DISCHARGED),
            ("actual_delivery", CargoStage.DELIVERED),
            ("empty_returned_date", CargoStage.EMPTY_RETURNED),
        )
        for box in self._containers:
            dated = ((stage, plausible_or_none(box.fields[name])) for name, stage in names)
            own = self._by_container[int(box.id)]
            own += [Proof(stage, moment, f"containers/{box.id}") for stage, moment in dated if moment]
        for box in self._containers:
            if moment := plausible_or_none(box.fields["actual_pickup"]):
                stage = self._pickup_stage(self._by_container[int(box.id)], moment)
                self._by_container[int(box.id)].append(Proof(stage, moment, f"containers/{box.id}"))

    def _pickup_stage(self, own: Sequence[Proof], moment: str) -> CargoStage:
        """The stage that the pickup of a container proves: as recorded, mostly its pickup at the seller's."""
        known = (*own, *self._shipment_proofs(), *self._unassigned)
        days = [(proof.stage, proof.moment[:10]) for proof in known if proof.moment]
        arrived = [day for stage, day in days if CargoStage.ARRIVED <= stage <= CargoStage.DISCHARGED]
        departed = [day for stage, day in days if stage == CargoStage.DEPARTED]
        if arrived:
            return CargoStage.LEFT if moment[:10] >= min(arrived) else CargoStage.PICKED_UP
        return CargoStage.LEFT if departed and moment[:10] > max(departed) else CargoStage.PICKED_UP

    def _shipment_proofs(self) -> Iterator[Proof]:
        fields = self._shipment.fields
        for name, stage in (
            ("picked_up_in_full", CargoStage.PICKED_UP),
            ("departure", CargoStage.DEPARTED),
            ("arrival", CargoStage.ARRIVED),
            ("ramp_arrival", CargoStage.AT_RAMP),
            ("delivered_in_full", CargoStage.DELIVERED),
        ):
            if moment := plausible_or_none(fields[f"actual_{name}"]):
                yield Proof(stage, moment, "shipment")

    def _status_proofs(self) -> Iterator[Proof]:
        """Inland, "in transit to the final destination" may mean by rail to a ramp or by truck."""
        status, mode = self._shipment.fields["status"] or "", self._shipment.fields["mode"]
        stage = _STATUS.get(status)
        if stage is None:
            return
        if (stage < CargoStage.DELIVERED and stage > CargoStage.DEPARTED and mode in _BY_ROAD) or (
            status in _INLAND_STATUSES and mode == "rail"
        ):
            stage = CargoStage.DEPARTED
        elif status in _INLAND_STATUSES and self._route.has_ramp:
            stage = CargoStage.ARRIVED
        yield Proof(stage, None, "status")

    def _overall_proofs(self) -> Iterator[Proof]:
        yield from self._shipment_proofs()
        yield from self._of_all_cargo
        boxes = [proof for own in self._by_container.values() for proof in own]
        for proof in (*self._unassigned, *boxes):
            is_delivered = proof.stage >= CargoStage.DELIVERED  # only a part of the cargo
            yield proof._replace(stage=CargoStage.LEFT) if is_delivered else proof
        yield from self._status_proofs()
        yield from self._full_delivery_proofs()

    def _full_delivery_proofs(self) -> Iterator[Proof]:
        """Delivered in full: each leg to the destination has arrived, or each container is delivered."""
        stages = [max((proof.stage for proof in own), default=0) for own in self._by_container.values()]
        if stages and min(stages) >= CargoStage.DELIVERED:
            found = [
                proof for own in self._by_container.values() for proof in own if proof.stage >= CargoStage.DELIVERED
            ]
            yield max(found, key=lambda proof: proof.moment or "")._replace(stage=CargoStage.DELIVERED)
        if self._route.terminal[:2] == self._route.places["destination"][:2]:
            return  # the route ends where the carrier hands over: nothing is delivered there
        last = [leg for leg in self._route.ordered if self._is_at(leg, "destination", "destination")]
        if last and all(leg.id in self._reached for leg in last):
            moment, number = max((self._reached[leg.id], int(leg.id)) for leg in last)
            yield Proof(CargoStage.DELIVERED, moment, f"legs/{number}")

    def _container_proofs(self, number: int) -> Iterator[Proof]:
        """The proofs of a container: its own evidence, and the shipment's evidence for all of its cargo.

        A status or a leg without containers proves for all that they left the terminal, unless other containers have
        their own evidence of that: then Flexport reports it per container.
        """
        own = self._by_container[number]
        yield from own
        yield from (proof for proof in self.overall.proofs if proof.stage <= CargoStage.DISCHARGED)
        by_box = bool(self._known_to_have_left - {number})
        yield from (proof for proof in self.overall.proofs if proof.stage == CargoStage.DELIVERED)
        if not by_box:
            yield from (
                proof for proof in (*self._unassigned, *self._status_proofs()) if proof.stage >= CargoStage.LEFT
            )


def leg_of(event: Mapping[str, Any]) -> int | None:
    """The leg of a milestone, if any."""
    return _resource_number(event, "/shipment_leg")


def box_of(event: Mapping[str, Any], box_legs: Mapping[Any, Record]) -> int | None:
    """The container of a milestone, directly or by one of its container legs, if any."""
    number = _resource_number(event, "/shipment_container")
    if number is not None:
        return number
    box_leg = box_legs.get(_resource_number(event, "/shipment_container_leg"))
    return None if box_leg is None else box_leg.fields["container_id"]


def _resource_number(event: Mapping[str, Any], kind: str) -> int | None:
    """The id of the resource of an event, if it is of a kind; Flexport writes `/ocean/shipment_leg` as well."""
    resource, key = event.get("resource") or "", str(event.get("resource_id") or "")
    is_kind = resource == kind or resource.removeprefix("/ocean") == kind
    return int_id(key) if is_kind else None
