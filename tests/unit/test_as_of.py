"""What was known at a time: whatever came later, it is told as it was shown then."""

import random
from datetime import timedelta

import msgspec
import pytest

from flexportd.clock import Clock, parse, stamp
from flexportd.core.events.applier import EventApplier
from flexportd.core.history.as_of import AsOfList, object_as_of
from flexportd.core.history.provenance import field_provenance, trace_object
from flexportd.core.importer.batch_import import apply, remove
from flexportd.core.importer.compare import Comparison
from flexportd.core.resources import shipments
from flexportd.core.unit_of_work import ChangeCause
from flexportd.errors import InvalidError, NotFoundError
from flexportd.storage.queries import as_of
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.retention import RetentionWindow
from tests.events import event, leg, shipment
from tests.unit.test_convergence import REGISTRY, Store, story

MARKS = ("as_of", "source", "synced_at")
SHIPMENTS = REGISTRY["shipments"]
LATER = "2099-01-01T00:00:00.000Z"


class Held(Clock):
    """A clock that moves when it is told to."""

    def __init__(self):
        self.at = parse("2026-05-01T00:00:00.000Z")

    def now(self):
        return self.at

    def turn(self, seconds=1.0):
        self.at += timedelta(seconds=seconds)


class Past(Store):
    """A store that remembers what it showed."""

    def __init__(self, path):
        super().__init__(path)
        self.clock = Held()
        self.applier = EventApplier(REGISTRY, self.clock)
        self.shown = {}
        self.runs = 0

    def answer(self, domain, objects, gone=()):
        """Flexport answers with these objects; and no longer has those."""
        at, self.runs = self.clock.stamp(), self.runs + 1
        seq = self.tx.events.last_seq()
        found = Comparison(domain, at, at, seq, LATER)
        found.compare(self.tx, [msgspec.json.encode(one) for one in objects])
        self.raw.execute("BEGIN IMMEDIATE")
        cause = ChangeCause(at, "sync", run=(self.runs, at))
        apply(self.tx, found, found.candidates, cause)
        if gone:
            remove(self.tx, domain, gone, at, cause)
        self.raw.execute("COMMIT")

    def remember(self):
        self.shown[self.clock.stamp()] = (self.objects(), {name: self.list(page) for name, page in QUERIES.items()})

    def objects(self):
        found = {}
        for domain in REGISTRY:
            table = domain.table
            for values in self.raw.execute(f"SELECT {', '.join(table.shown)} FROM {table.name}"):
                row = dict(zip(table.shown, values, strict=True))
                found[domain.name, row["id"]] = as_told(table, row)
        return found

    def list(self, page):
        return [row["id"] for row in self.tx.resources.page(shipments.TABLE, page)]

    def then(self, domain, key, at):
        return as_told(domain.table, object_as_of(self.tx, domain, key, at, LATER))

    def list_then(self, page, at):
        found = AsOfList(SHIPMENTS, shipments.TABLE, at, LATER)
        try:
            return [row["id"] for row in found.read(self.tx, page)]
        finally:
            found.close()


def as_told(table, row):
    """A row without what has no history: the offset that a time is written with, what explains, what a route gives."""
    gone = {field.name for field in table.public if field.derived} | set(table.moments)
    if table is not shipments.TABLE:
        gone |= set(REGISTRY[table.name].derived) | {f"{one.name}_at" for one in table.public if one.kind == "deadline"}
    return {name: value for name, value in row.items() if name not in gone}


def _json(*values):
    return (msgspec.json.encode(values).decode(),)


QUERIES = {
    "all": PageRequest(100, "id"),
    "up": PageRequest(100, "id", descending=False),
    "eta": PageRequest(100, "eta_at"),
    "first": PageRequest(2, "eta_at", descending=False),
    "status": PageRequest(100, "id", filters={"status": _json("departure_port", "arrival_port")}),
    "po": PageRequest(100, "id", filters={"po": ("2",)}),
    "bill": PageRequest(100, "eta_at", filters={"bill": ("B2",)}),
    "container": PageRequest(100, "id", filters={"container": ("CSQU3054381",)}),
    "q": PageRequest(100, "id", filters={"q": ("%9%", "%9%", "%CSQU%")}),
    "before": PageRequest(100, "id", filters={"eta_before": ("2026-04-15",)}),
    "archived": PageRequest(100, "id", filters={"archived": ()}),
}


@pytest.fixture
def store(tmp_path):
    made = Past(tmp_path / "a.db")
    yield made
    made.close()


def _live(store, seed):
    """Some shipments live: events, answers of Flexport's, objects that vanish and come back."""
    rnd = random.Random(seed)
    lives = [story(seed * 10 + number) for number in range(3)]
    events = [one for life in lives for one in life]
    rnd.shuffle(events)
    while events:
        if rnd.random() < 0.9:  # else within the same instant
            store.clock.turn(rnd.choice([0.001, 0.5, 60]))
        chosen = rnd.random()
        known = [row[0] for row in store.raw.execute("SELECT id FROM shipments ORDER BY id")]
        if chosen < 0.7 or not known:
            some = [events.pop() for _ in range(min(rnd.randint(1, 4), len(events)))]
            store.apply(some, batch=rnd.randint(1, 4))
        elif chosen < 0.9:
            one = shipment(
                rnd.choice(known),
                updated_at=store.clock.stamp(),
                pieces=rnd.choice([0, 1, 2]),
                archived_at=rnd.choice([None, "2026-04-01T00:00:00.000Z"]),
                status=rnd.choice(["departure_port", "x"]),
                calculated_weight={"value": rnd.choice([1, 2.5]), "unit": "kg"},
                metadata={"PO #": [str(rnd.randrange(4))]},
            )
            store.answer(SHIPMENTS, [one])
        elif chosen < 0.95:
            store.answer(SHIPMENTS, [], [rnd.choice(known)])
        else:
            store.answer(REGISTRY["legs"], [leg(rnd.randint(1, 3), rnd.choice(known), carrier_name=str(rnd.random()))])
        store.remember()


@pytest.mark.parametrize("seed", range(8))
def test_every_state_that_was_shown_is_told_again(store, seed):
    _live(store, seed)
    everything = store.objects()
    exact = 0
    for at, (objects, lists) in store.shown.items():
        for (name, key), now in everything.items():
            if (name, key) not in objects:
                with pytest.raises(NotFoundError, match=f"was not known before {now['first_seen_at']}"):
                    store.then(REGISTRY[name], key, at)
                continue
            shown, told = objects[name, key], store.then(REGISTRY[name], key, at)
            assert {n: v for n, v in told.items() if n not in MARKS} == {
                n: v for n, v in shown.items() if n not in MARKS
            }
            assert told["as_of"] <= shown["as_of"]
            assert told["synced_at"] <= shown["synced_at"]
            exact += all(told[mark] == shown[mark] for mark in MARKS)
        for query, ids in lists.items():
            assert store.list_then(QUERIES[query], at) == ids, (at, query)
    assert exact


@pytest.mark.parametrize("seed", range(4))
def test_a_list_that_is_read_page_by_page_stands_still_while_more_comes(store, seed):
    _live(store, seed)
    for at, (_, lists) in list(store.shown.items())[:: 1 + len(store.shown) // 4]:
        then = AsOfList(SHIPMENTS, shipments.TABLE, at, LATER)
        page, found = PageRequest(1, "eta_at"), []
        while True:
            rows = then.read(store.tx, page)
            found += [row["id"] for row in rows[:1]]
            if len(rows) < 2:
                break
            page = PageRequest(1, "eta_at", after=(rows[0]["eta_at"], rows[0]["id"]))
            store.clock.turn()
            store.apply(story(seed * 10 + len(found) % 3)[-3:])
            store.answer(SHIPMENTS, [shipment(rows[1]["id"], updated_at=store.clock.stamp(), pieces=99)])
        then.close()
        assert found == lists["eta"]


def test_the_marks_are_those_of_the_state(store):
    store.apply([event(shipment(status="departure_port", updated_at="2026-03-04T10:00:00Z"))])
    first = store.clock.stamp()
    store.clock.turn(60)
    store.answer(SHIPMENTS, [shipment(status="arrival_port", updated_at="2026-03-04T11:00:00Z")])
    second = store.clock.stamp()
    store.clock.turn(60)
    store.apply([event(shipment(status="x", updated_at="2026-03-04T12:00:00Z"))])
    told = store.then(SHIPMENTS, 910_233, first)
    assert [told[name] for name in MARKS] == ["2026-03-04T10:00:00.000Z", "webhook", first]
    told = store.then(SHIPMENTS, 910_233, second)
    assert [told[name] for name in MARKS] == ["2026-03-04T11:00:00.000Z", "sync", second]
    page = PageRequest(10, "as_of", filters={"updated_since": ("2026-03-04T10:30:00.000Z",)})
    assert store.list_then(page, first) == []
    assert store.list_then(page, second) == [910_233]


def test_a_state_that_was_only_confirmed_is_not_told_as_newer(store):
    store.apply([event(shipment(updated_at="2026-03-04T10:00:00Z"))])
    then = store.clock.stamp()
    store.clock.turn(60)
    store.apply([event(shipment(updated_at="2026-03-04T12:00:00Z"))])  # no field moves
    assert store.then(SHIPMENTS, 910_233, then)["as_of"] == "2026-03-04T10:00:00.000Z"
    shadow = AsOfList(SHIPMENTS, shipments.TABLE, then, LATER)
    assert [row["as_of"] for row in shadow.read(store.tx, PageRequest(5, "as_of"))] == ["2026-03-04T10:00:00.000Z"]
    assert shadow.as_of(store.tx) == "2026-03-04T10:00:00.000Z"
    shadow.close()


def test_a_route_told_by_a_leg_does_not_say_who_told_the_shipment(store):
    store.answer(SHIPMENTS, [shipment()])
    store.clock.turn(60)
    store.apply([event(leg(), type="/shipment_leg#departed")])
    then = store.clock.stamp()
    store.clock.turn(60)
    store.apply([event(shipment(status="x", updated_at=then))])
    told = store.then(SHIPMENTS, 910_233, then)
    assert (told["vessel"], told["source"], told["synced_at"]) == ("EXAMPLE STAR", "sync", then)


def test_a_clock_that_was_set_back_tells_what_was_known_last(store):
    store.apply([event(shipment(status="a", updated_at="2026-03-04T10:00:00Z"))])
    store.clock.turn(5)
    store.apply([event(shipment(status="b", updated_at="2026-03-04T11:00:00Z"))])
    store.clock.turn(-2)
    store.apply([event(shipment(status="c", updated_at="2026-03-04T12:00:00Z"))])
    then = store.clock.stamp()
    store.clock.turn(60)
    store.apply([event(shipment(status="d", updated_at="2026-03-04T13:00:00Z"))])
    assert store.then(SHIPMENTS, 910_233, then)["status"] == "c"


def test_what_is_forgotten_or_yet_to_come_is_not_made_up(store):
    store.apply([event(shipment(status="a", updated_at="2026-03-04T10:00:00Z"))])
    first = store.clock.stamp()
    store.clock.turn(60)
    limit = store.clock.stamp()
    store.clock.turn(60)
    store.apply([event(shipment(status="b", updated_at="2026-03-04T11:00:00Z"))])
    store.tx.retention.delete_changes(limit, 100)
    store.tx.meta.put("history_from", limit)
    assert store.tx.changes.history_start() == limit
    with pytest.raises(InvalidError, match=f"before {limit} is no longer stored"):
        store.then(SHIPMENTS, 910_233, first)
    with pytest.raises(InvalidError, match="no longer stored"):
        store.list_then(PageRequest(5, "id"), first)
    with pytest.raises(InvalidError, match="in the future"):
        object_as_of(store.tx, SHIPMENTS, 910_233, LATER, limit)
    told = store.then(SHIPMENTS, 910_233, limit)
    assert (told["status"], told["as_of"], told["source"], told["synced_at"]) == ("a", None, None, None)
    then = AsOfList(SHIPMENTS, shipments.TABLE, limit, LATER)
    for descending in (True, False):
        rows = then.read(store.tx, PageRequest(5, "as_of", descending=descending, after=(None, 910_233 + descending)))
        assert [row["as_of"] for row in rows] == ([None] if descending else [])
    then.close()


@pytest.mark.parametrize("limit", ["MAX_OBJECTS", "MAX_CHANGES"])
def test_too_much_to_roll_back_is_said(store, monkeypatch, limit):
    monkeypatch.setattr(as_of, limit, 2)
    then = store.clock.stamp()
    store.clock.turn()
    store.answer(SHIPMENTS, [shipment(number) for number in (1, 2, 3)])
    middle = store.clock.stamp()
    store.clock.turn()
    if limit == "MAX_CHANGES":
        for step in range(3):
            store.clock.turn()
            store.answer(SHIPMENTS, [shipment(1, pieces=step + 5, updated_at=store.clock.stamp())])
    at = then if limit == "MAX_OBJECTS" else middle
    with pytest.raises(InvalidError, match="too many to roll back"):
        store.list_then(PageRequest(5, "id"), at)


def test_an_object_is_read_from_its_own_history_alone(store):
    store.apply([event(shipment())])
    plan = " ".join(
        row[3]
        for row in store.raw.execute(
            "EXPLAIN QUERY PLAN " + store.tx.past._sql["history_back"], ("shipments", "910233")
        )
    )
    assert "changes_resource" in plan
    assert "TEMP B-TREE" not in plan
    plan = store.raw.execute("EXPLAIN QUERY PLAN SELECT id FROM shipments WHERE synced_at > ? LIMIT 5", ("",))
    assert "COVERING INDEX shipments_as_of" in plan.fetchone()[3]


def test_each_field_says_what_set_it(store):
    store.apply([event(shipment(status="a", updated_at="2026-03-04T10:00:00Z"))])
    first = store.clock.stamp()
    store.clock.turn(60)
    moved = event(shipment(status="b", updated_at="2026-03-04T11:00:00Z"))
    store.apply([moved])
    record = store.tx.resources.load(shipments.TABLE, [910_233])[910_233]
    told = field_provenance(store.tx, SHIPMENTS, record)
    assert (told["status"].event_id, bytes(told["status"].before)) == (str(moved["id"]), b'"a"')
    assert told["status"].title == "Shipment Created"
    assert (told["mode"].since, told["mode"].before) == (first, None)
    assert "vessel" not in told
    store.tx.retention.delete_changes(store.clock.stamp(), 1)
    store.tx.retention.delete_events(store.tx.retention.old_events(RetentionWindow(store.clock.stamp()), 0, 1))
    assert field_provenance(store.tx, SHIPMENTS, record)["mode"] is None


def test_a_chain_is_cut_between_causes(store):
    for step in range(5):
        store.clock.turn()
        store.apply([event(shipment(status=f"s{step}", pieces=step + 1, updated_at=stamp(store.clock.at)))])
    whole, more = trace_object(store.tx, SHIPMENTS, 910_233, 10)
    assert (len(whole), more) == (5, None)
    parts, before = [], None
    while True:
        some, before = trace_object(store.tx, SHIPMENTS, 910_233, 2, before)
        parts += some
        if before is None:
            break
    assert [step.text for step in parts] == [step.text for step in whole]
    with pytest.raises(NotFoundError):
        trace_object(store.tx, SHIPMENTS, 1, 10)
