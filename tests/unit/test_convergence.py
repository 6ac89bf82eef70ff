"""Newest state wins, whatever the order of arrival (design promise 3)."""

import copy
import itertools
import json
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.clock import Clock
from flexportd.core.events.applier import EventApplier
from flexportd.core.merge import Snapshot, merge
from flexportd.core.resources.registry import Registry
from flexportd.ingest.event_store import EVENT, IncomingEvent, store_webhook
from flexportd.outcome import Applied, Coalesced
from flexportd.queue.handlers import Completion, Policy
from flexportd.storage.connection import open_writer
from flexportd.storage.migrate import migrate
from flexportd.storage.repositories.events import ReceivedEvent
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction
from tests.events import container, event, leg, place, shipment

REGISTRY = Registry()


class Store:
    """A database to which events are applied, in batches of the given size."""

    def __init__(self, path: Path) -> None:
        migrate(path)
        self.raw = open_writer(path)
        self.tx = Transaction(self.raw)
        self.clock = Clock()
        self.applier = EventApplier(REGISTRY, self.clock)

    def apply(self, events, batch=7):
        outcomes = []
        for start in range(0, len(events), batch):
            some = [
                IncomingEvent(
                    ReceivedEvent(
                        str(one["id"]), one["type"], "webhook", self.clock.stamp(), "{}", json.dumps(one).encode()
                    )
                )
                for one in events[start : start + batch]
            ]
            self.raw.execute("BEGIN IMMEDIATE")
            store_webhook(self.tx, some)
            items = self.tx.items.due(EVENT, "9999", 1000)
            done, _ = self.applier(self.tx, items, lambda: False)
            Completion(Policy(), self.applier.on_dead, self.clock).complete(self.tx, done, counted=False)
            self.raw.execute("COMMIT")
            outcomes += [outcome for _, outcome in done]
        return outcomes

    def state(self):
        """Everything but our own marks, raw as JSON value."""
        found = {}
        for domain in REGISTRY:
            names = [
                name
                for name in domain.table.columns
                if name not in ("seq", "synced_at", "first_seen_at", "source", "older")
            ]
            for row in self.raw.execute(f"SELECT {', '.join(names)} FROM {domain.name} ORDER BY id"):
                record = dict(zip(names, row, strict=True))
                record["raw"] = json.loads(record["raw"])
                found[domain.name, record["id"]] = record
        found["references"] = sorted(self.raw.execute("SELECT * FROM shipment_references"))
        return found

    def close(self):
        self.raw.close()


@pytest.fixture
def store(tmp_path):
    made = []

    def make():
        made.append(Store(tmp_path / f"{len(made)}.db"))
        return made[-1]

    yield make
    for one in made:
        one.close()


STATUSES = ("seller_location", "departure_port", "in_transit_to_arrival_port", "arrival_port", "final_destination")


def story(seed: int) -> list[dict]:
    """A shipment's life: its events in order, with full and partial snapshots of everything."""
    rnd = random.Random(seed)
    number = 900_000 + seed % 1000
    ship = shipment(number)
    legs = [
        leg(
            1,
            number,
            transportation_mode="truck",
            origin=place("Factory", "CNSZX"),
            destination=place("Yantian", "CNYTN"),
        ),
        leg(2, number, origin=place("Yantian", "CNYTN"), destination=place("Los Angeles", "USLAX")),
        leg(
            3,
            number,
            transportation_mode="truck",
            origin=place("Los Angeles", "USLAX"),
            destination=place("Door", "USONT"),
        ),
    ]
    boxes = [container(n, number, container_number=f"CSQU305438{n}") for n in range(1, rnd.randint(2, 4))]
    events = []
    for step in range(rnd.randint(5, 25)):
        at = f"2026-03-{1 + step // 24:02d}T{step % 24:02d}:00:00.000Z"
        ship["updated_at"] = at
        change = rnd.randrange(6)
        resource, about = ship, "/shipment#created"
        if change == 0:
            ship["status"] = rnd.choice(STATUSES)
        elif change == 1:
            ship["estimated_arrival_date"] = f"2026-04-{rnd.randint(1, 28):02d}T12:00:00.000-07:00"
        elif change == 2:
            resource = rnd.choice(legs)
            resource["actual_departure_date"] = at
            resource["carrier_name"] = rnd.choice(["Example Line", "FLXT Placeholder", None])
            about = "/shipment_leg#departed"
        elif change == 3:
            resource = rnd.choice(boxes)
            resource["last_free_day_date"] = at
            about = "/ocean/shipment_container#free_time_to_expire"
        elif change == 4:
            ship["metadata"] = {"PO #": [str(rnd.randrange(5))], "note": [str(step)]}
        else:
            ship["ocean_shipment"] = {**ship["ocean_shipment"], "house_bill_number": rnd.choice(["A1", "A1, B2", ""])}
        seen = copy.deepcopy(resource)
        if resource is not ship and rnd.random() < 0.6:  # an embedded snapshot may be partial
            moving = ("actual_departure_date", "carrier_name", "last_free_day_date", "container_type", "origin")
            for name in rnd.sample(moving, rnd.randint(1, 3)):
                seen.pop(name, None)
        events.append(
            copy.deepcopy(
                event(
                    seen,
                    shipment=None if resource is ship or rnd.random() < 0.3 else ship,
                    containers=boxes if rnd.random() < 0.3 else [],
                    created_at=at,
                    type=about,
                )
            )
        )
    return events


@pytest.mark.parametrize("seed", range(60))
def test_a_shuffled_and_duplicated_life_ends_as_the_ordered_one(store, seed):
    events = story(seed)
    rnd = random.Random(seed * 7 + 1)
    shuffled = events + rnd.choices(events, k=len(events) // 2)
    rnd.shuffle(shuffled)
    ordered, mixed = store(), store()
    ordered.apply(events)
    mixed.apply(shuffled, batch=rnd.randint(1, 9))
    assert mixed.state() == ordered.state()


def test_equal_stamps_go_to_the_later_received(store):
    one = store()
    same = "2026-03-04T10:00:00Z"
    one.apply(
        [
            event(shipment(status="departure_port", updated_at=same)),
            event(shipment(status="arrival_port", updated_at=same)),
        ]
    )
    assert one.state()["shipments", 910_233]["status"] == "arrival_port"


def test_an_older_snapshot_is_coalesced_and_leaves_no_history(store):
    one = store()
    outcomes = one.apply(
        [
            event(shipment(updated_at="2026-03-04T10:00:00Z")),
            event(shipment(status="x", updated_at="2026-03-03T10:00:00Z")),
        ]
    )
    assert [type(outcome) for outcome in outcomes] == [Applied, Coalesced]
    assert one.raw.execute("SELECT count(*) FROM changes WHERE field = 'status'").fetchone() == (0,)


def test_a_partial_snapshot_erases_nothing(store):
    one = store()
    full = container(last_free_day_date="2026-03-10T04:00:00.000Z")
    partial = {name: full[name] for name in ("_object", "id", "container_number")}
    one.apply(
        [
            event(full, shipment=shipment(), created_at="2026-03-01T00:00:00Z"),
            event(leg(), shipment=shipment(), containers=[partial], created_at="2026-03-02T00:00:00Z"),
        ]
    )
    found = one.state()["containers", 555_001]
    assert found["last_free_day"].startswith("2026-03-09T21:00:00")  # at the terminal in Los Angeles
    assert found["as_of"] == "2026-03-02T00:00:00.000Z"


def test_every_change_is_one_row_with_its_cause(store):
    one = store()
    first = event(shipment(updated_at="2026-03-04T10:00:00Z"))
    second = event(shipment(status="arrival_port", pieces=7, updated_at="2026-03-04T11:00:00Z"))
    one.apply([first, second])
    rows = one.raw.execute(
        "SELECT field, old, new, as_of, event_id FROM changes WHERE field <> 'id' ORDER BY field"
    ).fetchall()
    assert rows == [
        ("pieces", "120", "7", "2026-03-04T11:00:00.000Z", str(second["id"])),
        ("status", '"seller_location"', '"arrival_port"', "2026-03-04T11:00:00.000Z", str(second["id"])),
    ]


FIELD = st.sampled_from(
    [
        "status",
        "name",
        "pieces",
        "metadata",
        "items",
        "ocean_shipment",
        "air_shipment",
        "consignees",
        "estimated_arrival_date",
        "booking",
        "unknown_field",
    ]
)
VALUE = {
    "status": st.sampled_from([*STATUSES, None, "new_status"]),
    "name": st.text(max_size=20),
    "pieces": st.one_of(st.none(), st.integers(0, 10**6), st.just("12")),
    "metadata": st.dictionaries(st.sampled_from(["PO #", "SKU", "x"]), st.lists(st.text(max_size=4), max_size=2)),
    "items": st.lists(
        st.fixed_dictionaries({"purchase_order_number": st.text(max_size=3), "product": st.none()}), max_size=2
    ),
    "ocean_shipment": st.one_of(
        st.none(),
        st.fixed_dictionaries({"house_bill_number": st.sampled_from(["A", "A, B", ""]), "is_lcl": st.booleans()}),
    ),
    "air_shipment": st.one_of(st.none(), st.fixed_dictionaries({"house_airway_bill": st.sampled_from(["W", ""])})),
    "consignees": st.lists(st.fixed_dictionaries({"name": st.text(max_size=5)}), max_size=2),
    "estimated_arrival_date": st.one_of(
        st.none(), st.datetimes().map(lambda at: at.isoformat() + "Z"), st.just("nonsense")
    ),
    "booking": st.one_of(st.none(), st.fixed_dictionaries({"id": st.integers(1, 99)})),
    "unknown_field": st.integers(),
}


@given(
    st.lists(st.lists(FIELD.flatmap(lambda name: VALUE[name].map(lambda value: (name, value))), max_size=3), max_size=6)
)
def test_reading_what_changed_ends_as_reading_everything(tmp_path_factory, steps):
    """The short way over `feeds` must never differ from the long one."""
    one = Store(tmp_path_factory.mktemp("feeds") / "x.db")
    try:
        ship = shipment()
        events = []
        for step, changes in enumerate(steps):
            ship = {**ship, **dict(changes), "updated_at": f"2026-03-01T00:00:{step:02d}Z"}
            events.append(event(ship))
        one.apply(events, batch=2)
        if events:
            domain = REGISTRY["shipments"]
            stored = one.tx.resources.load(domain.table, [910_233])[910_233]
            model, faults = domain.wire.load(stored.raw.encode())
            kept = {
                name for fault in faults for name in domain.fields_from(fault.field)
            }  # what was known of them stays
            whole = {name: value for name, value in domain.normalise(model).items() if name not in kept}
            assert {name: stored.fields[name] for name in whole} == whole
    finally:
        one.close()


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_a_field_that_newer_snapshots_leave_out_keeps_its_own_age(order):
    """Each field is as old as the snapshot that carried it last, not as the newest that did not."""
    texts = [b'{"id":1,"k":"first","n":1}', b'{"id":1,"k":"second","n":2}', b'{"id":1,"n":3}', b'{"id":1,"n":4}']
    state = None
    for turn in order:
        fields = msgspec.json.decode(texts[turn], type=dict[str, msgspec.Raw])
        merged = merge(state, Snapshot(1, texts[turn], fields, f"2026-01-0{turn + 1}", turn))
        if merged is not None:
            state = Record(1, {}, merged.raw, merged.as_of, merged.seq, "webhook", "", "", older=merged.older)
    assert json.loads(state.raw) == {"id": 1, "k": "second", "n": 4}


def test_a_removed_shipment_that_is_told_of_again_is_there_again(store):
    one = store()
    one.apply([event(shipment(updated_at="2026-03-01T00:00:00Z"))])
    one.raw.execute("UPDATE shipments SET removed_at = '2026-03-02T00:00:00.000Z'")
    one.apply([event(shipment(updated_at="2026-03-03T00:00:00Z"))])
    assert one.state()["shipments", 910_233]["removed_at"] is None


def test_the_id_of_a_reference_may_be_quoted(store):
    """Ids are integers or integers as text, wherever they stand."""
    one = store()
    quoted = leg(shipment={"_object": "/api/refs/object", "id": "910233"})
    one.apply([event(shipment(booking={"id": "31001"})), event(quoted)])
    state = one.state()
    assert state["legs", 8_800_412]["shipment_id"] == 910_233
    assert state["shipments", 910_233]["booking_id"] == 31_001
    assert state["shipments", 910_233]["origin"] == "Yantian, China"
    assert one.raw.execute("SELECT DISTINCT shipment_id FROM events").fetchall() == [(910_233,)]


def link(kind, number):
    return {"_object": "/api/refs/object", "ref_type": kind, "link": "https://x.example/1", "id": number}


def container_leg(number, box, leg_id, **dates):
    owners = {"shipment_container": link("/ocean/shipment_container", box), "leg": link("/shipment_leg", leg_id)}
    return {"_object": "/ocean/shipment_container_leg", "id": number, "dates": dates, **owners}


NO_DATES = {f"{kind}_{what}_date": None for kind in ("estimated", "actual") for what in ("departure", "arrival")}
CHICAGO = place("Chicago, IL", "USCHI", "America/Chicago")


@pytest.mark.parametrize("batch", [1, 9])
@pytest.mark.parametrize("seed", range(4))
def test_free_time_runs_at_the_same_terminal_in_whatever_order_the_route_becomes_known(store, batch, seed):
    store = store()
    port = leg(11, 1, **NO_DATES)
    rail = leg(12, 1, **NO_DATES, origin=port["destination"], destination=CHICAGO, transportation_mode="rail")
    by_rail, at_port = container(101, 1), container(102, 1, last_free_day_date="2026-03-27T07:00:00.000Z")
    loads = [container_leg(201, 101, 11), container_leg(202, 101, 12), container_leg(203, 102, 11)]
    objects = [at_port, *loads, rail, shipment(1), by_rail, port]
    random.Random(seed).shuffle(objects)
    store.apply([event(found, created_at=f"2026-03-04T02:41:09.51{at}Z") for at, found in enumerate(objects)], batch)
    state = store.state()
    assert [state["containers", number]["terminal"] for number in (101, 102)] == ["Chicago, IL", "Los Angeles, CA"]
    assert state["containers", 102]["last_free_day"] == "2026-03-27T00:00:00-07:00"


def test_a_shipment_loses_the_route_of_a_leg_that_moves_to_another(store):
    store = store()
    for at, owner in enumerate((1, 2)):
        moved = leg(11, owner, **NO_DATES)
        store.apply([event(one, created_at=f"2026-03-04T02:41:09.51{at}Z") for one in (shipment(owner), moved)])
    state = store.state()
    assert [state["shipments", owner]["port_of_unloading"] for owner in (1, 2)] == [None, "Los Angeles, CA"]
