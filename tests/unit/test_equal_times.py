"""Of equal times the higher event id wins, in every order of arrival and whatever way events come (design promise 3)."""

import atexit
import functools
import itertools
import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexportd.core.events.applier import EventApplier
from flexportd.core.importer.batch_import import apply
from flexportd.core.importer.compare import Comparison
from flexportd.core.merge import is_at_least_as_new, tie_breaker
from flexportd.core.resources.registry import Registry
from flexportd.core.unit_of_work import ChangeCause
from flexportd.flexport.models.events import parse_heads
from flexportd.ingest.event_poller import parse_rows
from flexportd.ingest.event_store import EVENT, IncomingEvent, store_polled, store_webhook
from flexportd.queue.handlers import Completion, Policy
from flexportd.storage.connection import open_writer
from flexportd.storage.migrate import migrate, migrations, split_statements
from flexportd.storage.repositories.events import ReceivedEvent
from flexportd.storage.transaction import Transaction
from tests.events import event, leg, shipment
from tests.flexport_double import HurriedClock

REGISTRY = Registry()
AT = "2026-03-04T10:00:00Z"
KEY = 910_233
WAYS = ("singly", "list", "polled")


@functools.cache
def empty():
    """A database without anything in it."""
    path = Path(tempfile.mkdtemp(prefix="fxd-")) / "empty.db"
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    migrate(path)
    return path


class Store:
    """A database to which events come in one of three ways, and to which answers are applied."""

    def __init__(self, path):
        shutil.copy(empty(), path)
        self.raw = open_writer(path)
        self.raw.execute("PRAGMA synchronous = OFF")
        self.tx = Transaction(self.raw)
        self.clock = HurriedClock()
        self.told = []
        self.applier = EventApplier(REGISTRY, self.clock, lambda told, _: self.told.extend(told) or [])

    def receive(self, *events, way="singly"):
        bodies = [json.dumps(one).encode() for one in events]
        if way == "list":
            groups = [[self.arrival(head) for head in parse_heads(b"[" + b",".join(bodies) + b"]")]]
        elif way == "polled":
            found = parse_rows(bodies, "2099-01-01T00:00:00.000Z")
            groups = [[one.as_incoming(self.clock.stamp()) for one in found]]
        else:
            groups = [[self.arrival(head)] for body in bodies for head in parse_heads(body)]
        for group in groups:
            self.within(lambda group=group: (store_polled if way == "polled" else store_webhook)(self.tx, group))
            self.within(self.work)

    def arrival(self, head):
        return IncomingEvent(ReceivedEvent(head.id, head.type, "webhook", self.clock.stamp(), "{}", head.body))

    def within(self, work):
        self.raw.execute("BEGIN IMMEDIATE")
        work()
        self.raw.execute("COMMIT")

    def work(self):
        items = self.tx.items.due(EVENT, "9999", 1000)
        done, _ = self.applier(self.tx, items, lambda: False)
        assert {type(outcome).__name__ for _, outcome in done} <= {"Applied", "Coalesced"}
        Completion(Policy(), self.applier.on_dead, self.clock).complete(self.tx, done, counted=False)

    def fetch(self, *objects, name="shipments", as_of="2026-03-05T00:00:00.000Z", seq=None):
        seq = self.tx.events.last_seq() if seq is None else seq
        rows = [json.dumps(one).encode() for one in objects]
        patience = "2026-01-01T00:00:00.000Z"  # what is stored is always too new to be disbelieved
        found = Comparison(REGISTRY[name], as_of, "2026-03-05T00:00:01.999Z", seq, patience)
        found.compare(self.tx, rows)
        assert not found.failures
        self.within(lambda: apply(self.tx, found, found.candidates, ChangeCause(self.clock.stamp(), "sync")))

    def state(self):
        found = {}
        for domain in REGISTRY:
            names = ("id", "as_of", "tie_breaker", "raw", *domain.table.names)
            for row in self.raw.execute(f"SELECT {', '.join(names)} FROM {domain.name}"):
                one = dict(zip(names, row, strict=True))
                found[domain.name, one["id"]] = one | {"raw": json.loads(one["raw"])}
        return found

    def one(self, name="shipments", key=KEY):
        return self.state()[name, key]

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


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ids", [(9, 10), ("9", 10), (9, "10"), (2**63 + 9, 2**64), (730_001, "0730002")])
@pytest.mark.parametrize("reverse", [False, True])
def test_of_equal_times_the_higher_event_id_wins(store, way, ids, reverse):
    one = store()
    low = event(shipment(status="departure_port", updated_at=AT), id=ids[0])
    high = event(shipment(status="arrival_port", updated_at=AT), id=ids[1])
    one.receive(*([high, low] if reverse else [low, high]), way=way)
    assert one.one()["status"] == "arrival_port"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("2026-01-01T00:00:00.000001Z", "2026-01-01T00:00:00.000002Z"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000001Z"),
        ("2026-01-01T00:00:00.377Z", "2026-01-01T00:00:00.3771Z"),
        ("2026-01-01T00:00:00.000000001Z", "2026-01-01T00:00:00.000000002Z"),
        ("2026-01-01T08:00:00.000009+08:00", "2026-01-01T00:00:00.00001Z"),
        ("2025-12-31T19:00:00.1234-05:00", "2026-01-01T00:00:00.1235+00:00"),
    ],
)
def test_what_is_finer_than_a_millisecond_counts(store, way, earlier, later):
    for events in itertools.permutations(
        [
            event(shipment(status="arrival_port", updated_at=later), id=1),
            event(shipment(status="departure_port", updated_at=earlier), id=2),
        ]
    ):
        one = store()
        one.receive(*events, way=way)
        assert one.one()["status"] == "arrival_port"


@pytest.mark.parametrize("fetched_first", [False, True])
def test_what_is_finer_than_a_millisecond_counts_between_an_event_and_an_answer(store, fetched_first):
    one = store()
    told = event(shipment(status="departure_port", updated_at="2026-01-01T00:00:00.000001Z"))
    if not fetched_first:
        one.receive(told)
    one.fetch(shipment(status="arrival_port", updated_at="2026-01-01T00:00:00.000002Z"), seq=0)
    if fetched_first:
        one.receive(told)
    assert one.one()["status"] == "arrival_port"


def test_objects_without_a_stamp_go_by_the_events_time_to_the_microsecond(store):
    for events in itertools.permutations(
        [
            event(leg(carrier_name="new"), created_at="2026-01-01T00:00:00.000002Z", id=1),
            event(leg(carrier_name="old"), created_at="2026-01-01T00:00:00.000001Z", id=2),
        ]
    ):
        one = store()
        one.receive(*events)
        assert one.one("legs", 8_800_412)["carrier"] == "new"


LIFE = [
    event(shipment(status="a", pieces=1, updated_at=AT), id=9),
    event(shipment(status="b", updated_at=AT), id=10),
    event({"_object": "/shipment", "id": KEY, "pieces": 3, "updated_at": AT}, id=11),
    event({"_object": "/shipment", "id": KEY, "name": "finer", "updated_at": "2026-03-04T10:00:00.000001Z"}, id=8),
    event({"_object": "/shipment", "id": KEY, "status": "later", "updated_at": "2026-03-04T10:00:01Z"}, id=3),
]


def test_every_order_of_arrival_ends_in_the_same_state(store):
    ends = []
    for order, way in zip(itertools.permutations(LIFE), itertools.cycle(WAYS), strict=False):
        one = store()
        one.receive(*order, way=way)
        ends.append(one.state())
        one.close()
    assert all(end == ends[0] for end in ends)
    end = ends[0]["shipments", KEY]
    assert (end["status"], end["pieces"], end["name"]) == ("later", 3, "finer")
    assert end["raw"]["incoterm"] == "FOB"


SNAPSHOT = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["a", "b", "c"]),
        "pieces": st.integers(0, 2),
        "name": st.sampled_from(["x", "y"]),
        "updated_at": st.sampled_from(
            [AT, "2026-03-04T10:00:00.000001Z", "2026-03-04T18:00:00+08:00", "2026-03-03T00:00:00Z", "no time", None]
        ),
    },
)
TOLD = st.tuples(SNAPSHOT, st.sampled_from([AT, "2026-03-04T10:00:00.0000015Z", "2026-03-01T00:00:00Z", None, "soon"]))


@settings(max_examples=40)
@given(st.lists(TOLD, min_size=2, max_size=5), st.data())
def test_any_order_and_any_way_ends_in_the_same_state(tmp_path_factory, told, data):
    """With times that are equal, near, missing or unreadable, and snapshots that carry any of the fields."""
    events = [
        event({"_object": "/shipment", "id": KEY, **snapshot}, created_at=created_at, id=number)
        for number, (snapshot, created_at) in enumerate(told, 8)
    ]
    ends = []
    for turn in range(3):
        one = Store(tmp_path_factory.mktemp("ties") / f"{turn}.db")
        order = data.draw(st.permutations(events)) if turn else events
        one.receive(*order, way=data.draw(st.sampled_from(WAYS)))
        ends.append(one.state())
        one.close()
    assert ends[1] == ends[0]
    assert ends[2] == ends[0]


def test_what_is_said_again_later_is_as_new_as_that(store):
    """A field that a newer snapshot lacks keeps the newest age at which it was told, also by a straggler."""
    days = ("2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04")
    names = ("same", "other", "same", None)
    events = [
        event({"_object": "/shipment", "id": KEY, "updated_at": f"{day}T00:00:00Z", **({"name": name} if name else {})})
        for day, name in zip(days, names, strict=True)
    ]
    for order in itertools.permutations(events):
        one = store()
        one.receive(*order)
        assert one.one()["name"] == "same"


def test_a_retried_event_of_a_higher_id_wins_though_it_was_received_before(store):
    one = store()
    high = event(shipment(status="arrival_port", updated_at=AT), id=10)
    body = json.dumps(high).encode()
    one.within(lambda: store_webhook(one.tx, [one.arrival(head) for head in parse_heads(body)]))
    one.raw.execute("UPDATE items SET ready_at = '9999'")  # it failed, and waits for its next try
    one.receive(event(shipment(status="departure_port", updated_at=AT), id=9))
    one.within(one.work)
    assert one.one()["status"] == "arrival_port"


# --- answers ---


def test_an_answer_of_the_same_time_wins_over_events_before_it_and_loses_to_one_after(store):
    one = store()
    one.receive(event(shipment(status="b", updated_at=AT), id=10))
    one.fetch(shipment(status="fetched", updated_at=AT))
    one.receive(event(shipment(status="a", updated_at=AT), id=9))  # it is older than one that the answer replaced
    assert one.one()["status"] == "fetched"
    one.receive(event(shipment(status="c", updated_at=AT), id=11))
    assert one.one()["status"] == "c"


def test_an_answer_asked_for_later_wins_over_a_state_that_only_its_event_dates(store):
    one = store()
    partial = {"_object": "/shipment", "id": KEY, "status": "partial"}
    one.receive(event(partial, created_at="2026-03-04T12:00:00Z"))
    one.fetch(shipment(status="fetched", updated_at=AT))  # two hours before the event
    found = one.one()
    assert (found["status"], found["as_of"]) == ("fetched", "2026-03-04T12:00:00.000Z")
    one.receive(event({**partial, "status": "late"}, created_at="2026-03-04T11:00:00Z"))
    assert one.one()["status"] == "fetched"


def test_an_answer_asked_for_before_an_event_came_does_not_win_over_it(store):
    one = store()
    one.receive(event({"_object": "/shipment", "id": KEY, "status": "told"}, created_at="2026-03-04T12:00:00Z"))
    one.fetch(shipment(status="fetched", updated_at=AT), seq=0)
    assert one.one()["status"] == "told"


def test_a_state_dated_to_the_future_by_its_event_gives_way_to_the_next_answer(store):
    one = store()
    one.receive(event(leg(carrier_name="told"), created_at="2099-01-01T00:00:00Z"))
    one.fetch(leg(carrier_name="fetched"), name="legs")
    found = one.one("legs", 8_800_412)
    assert (found["carrier"], found["as_of"]) == ("fetched", "2026-03-05T00:00:01.999Z")


# --- asking which holds ---


def test_an_object_that_told_two_things_at_one_time_is_fetched(store):
    one = store()
    box = leg()
    one.receive(event(box, shipment=shipment(status="a", updated_at=AT), id=10))
    one.told.clear()
    one.receive(event(box, shipment=shipment(status="a", updated_at=AT), id=11))
    assert {told.domain for told in one.told} == {"legs"}  # what the event is about; the shipment says the same again
    one.told.clear()
    one.receive(event(box, shipment=shipment(status="b", updated_at=AT), id=9))
    assert {told.domain for told in one.told} == {"legs", "shipments"}
    assert one.one()["status"] == "a"


# --- the order itself ---


AGE = st.tuples(
    st.sampled_from(["", "2026-03-04T10:00:00.000Z", "2026-03-04T10:00:00.001Z"]),
    st.builds(
        lambda fraction, number: tie_breaker(fraction, str(number)),
        st.sampled_from(["", "001", "1"]),
        st.integers(0, 2**65),
    ),
    st.integers(0, 5),
)


@given(AGE, AGE, AGE)
def test_the_order_of_events_has_no_circles(one, other, third):
    assert is_at_least_as_new(one, other) or is_at_least_as_new(other, one)
    if is_at_least_as_new(one, other) and is_at_least_as_new(other, third):
        assert is_at_least_as_new(one, third)


def test_states_of_before_know_the_events_that_brought_them(tmp_path):
    path = tmp_path / "x.db"
    before = [step for step in migrations() if step.name != "tie_breaker"]
    (step,) = (step for step in migrations() if step.name == "tie_breaker")
    raw = open_writer(path)
    for one in before:
        if one.number < step.number:
            for statement in split_statements(one.sql):
                raw.execute(statement)
    raw.execute("INSERT INTO events (seq, id, type, source, received_at) VALUES (7, '730114', 'x', 'webhook', '2026')")
    rows = [(1, 7, "webhook", "2026-03-04T10:00:00.000Z"), (2, 7, "sync", "2026-03-04T10:00:00.000Z"),
            (3, 8, "webhook", "0001-01-01T00:00:00.000Z")]  # fmt: skip
    for key, seq, source, as_of in rows:
        raw.execute(
            "INSERT INTO ports (id, seq, source, as_of, synced_at, first_seen_at, raw, digest) "
            "VALUES (?, ?, ?, ?, '', '', '{}', ?)", (key, seq, source, as_of, 5 if source == "sync" else None)
        )  # fmt: skip
    for statement in split_statements(step.sql):
        raw.execute(statement)
    found = raw.execute("SELECT tie_breaker, as_of FROM ports ORDER BY id").fetchall()
    assert found == [("#730114", "2026-03-04T10:00:00.000Z"), ("", "2026-03-04T10:00:00.000Z"), ("", "")]
    raw.close()


def test_the_higher_id_is_applied_as_news_and_the_lower_is_not(store):
    one = store()
    one.receive(event(shipment(status="b", updated_at=AT), id=10))
    one.receive(event(shipment(status="a", updated_at=AT), id=9))
    states = one.raw.execute("SELECT id, state FROM events ORDER BY id").fetchall()
    assert states == [("10", "applied"), ("9", "coalesced")]
