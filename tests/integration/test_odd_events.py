"""Events as they should never come, delivered over HTTP: each ends, those behind it are applied, everything is shown."""

import asyncio
import copy
import os
import threading

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flexportd.clock import Clock
from flexportd.core.events.applier import EventApplier
from flexportd.settings import Settings
from tests import events
from tests.odd_events import NUMBER, ODD, USUAL, encoded, look, nested, odd_events, put, read
from tests.under_test import start
from tests.wire_goods import product
from tests.wire_orders import document

EXAMPLES = int(os.environ.get("ODD_EVENTS", "15"))
STRIDE = int(os.environ.get("ODD_VALUES_STRIDE", "10"))  # 1: every odd value in every place, which takes minutes


def behind(number):
    return events.event(events.shipment(number, name="behind it"))


async def deliver(daemon, made):
    status, answer = await daemon.post(encoded(made))
    assert status == 200, answer


async def states(daemon):
    return dict(await read(daemon, "SELECT id, state FROM events"))


async def test_elements_of_a_list_that_are_no_events_become_dead_letters_by_themselves(daemon):
    good = [behind(920_001), behind(920_002)]
    parts = [b"5", encoded(good[0]), b"null", b'{"id":7}', b'"\xff"', b'{"x":"\\ud83d"}', encoded(good[1])]
    status, answer = await daemon.post(b"[" + b",".join(parts) + b"]")
    assert (status, answer["status"], len(answer["ids"])) == (200, "accepted", 7)
    await daemon.settled()
    assert [(await daemon.get(f"/shipments/{number}"))["name"] for number in (920_001, 920_002)] == ["behind it"] * 2
    ended = await states(daemon)
    assert [ended[name] for name in answer["ids"]] == ["dead", "applied", "dead", "dead", "dead", "dead", "applied"]
    assert (await daemon.post(b"[" + b",".join(parts) + b"]"))[1]["status"] == "duplicate"
    assert (await daemon.get("/status"))["queue"]["dead"] == 5


async def test_shipments_that_are_known_by_their_id_alone_have_an_unknown_status(daemon):
    await daemon.receive(events.event({"_object": "/shipment", "id": 920_003}))
    await daemon.settled()
    counts = (await daemon.get("/status"))["shipments"]
    assert (counts["by_status"], counts["by_mode"]) == ({"unknown": 1}, {"unknown": 1})


POISON = {
    "a list for a time": [events.event(events.shipment(), occurred_at=[])],
    "an object for a time": [events.event(events.shipment(updated_at={}))],
    "one id that SQLite cuts off": [events.event(product("\0")), events.event(product("\0", name="again"))],
    "another id that SQLite cuts off": [events.event(document("a\0b")), events.event(document("a\0c"))],
    "too large an id": [events.event(events.shipment(2**63)), events.event(events.shipment(10**18))],
    "too large a number": [events.event(events.shipment(pieces=2**63)), events.event(events.leg(shipment_id=2**64))],
    "half a character": [events.event(events.shipment(name="Lamps \ud83d", metadata={"\ud83d": ["\ud83d"]}))],
    "no number": [
        events.event(events.shipment(pieces=f"{NUMBER}NaN")),
        events.event(events.shipment(pieces=f"{NUMBER}1e400")),
    ],
    "no end": [events.event(events.shipment(metadata={"a": nested(depth)})) for depth in (60, 120, 500, 950, 10_000)],
    "a number without end": [events.event(events.shipment(metadata={"a": f"{NUMBER}{'9' * 5000}"}))],
    "ids of other kinds": [events.event(events.shipment(one)) for one in (1.5, True, None, [], {}, "x", "", "-1")],
    "too many containers": [events.event(events.shipment(), containers=[{"id": number} for number in range(2001)])],
    "no data": [events.event(None), {**events.event(None), "data": 5}, {**events.event(None), "data": []}],
}


@pytest.mark.parametrize("name", POISON)
async def test_what_is_poison_to_one_event_harms_no_other(daemon, name):
    made = copy.deepcopy(POISON[name])
    await daemon.daemon.queue.set_paused(paused=True)  # so that all of them are one batch
    for number, one in enumerate(made):
        await deliver(daemon, behind(100 + number))
        await deliver(daemon, one)
    await deliver(daemon, behind(99))
    await daemon.daemon.queue.set_paused(paused=False)
    await look(daemon, 0)
    assert {one["name"] for one in (await daemon.get("/shipments?limit=100"))["data"]} >= {"behind it"}
    assert [(await daemon.get(f"/shipments/{number}"))["name"] for number in (99, *range(100, 100 + len(made)))]


async def test_what_nobody_foresaw_is_a_dead_letter_that_says_what_it_was(daemon, monkeypatch):
    merge = EventApplier._merge

    def unforeseen(self, workspace, event, *rest):
        if b"poison" in event.stored.body:
            raise ZeroDivisionError("by nothing \ud83d\n\0")
        return merge(self, workspace, event, *rest)

    monkeypatch.setattr(EventApplier, "_merge", unforeseen)
    await daemon.receive(behind(1), events.event(events.shipment(2, name="poison")), behind(3))
    await look(daemon, 0)
    [letter] = (await daemon.get("/dead-letters"))["data"]
    assert letter["error"] == r"ZeroDivisionError: by nothing \ud83d\u000a\u0000"
    assert {(await daemon.get(f"/shipments/{number}"))["name"] for number in (1, 3)} == {"behind it"}


PLACES = [
    ("occurred_at",), ("created_at",), ("type",), ("version",), ("data", "resource", "id"), ("data", "resource", "updated_at"),
    ("data", "resource", "name"), ("data", "resource", "metadata"), ("data", "resource", "status"),
    ("data", "resource", "_object"), ("data", "resource"), ("data", "shipment"), ("data", "containers"),
]  # fmt: skip


@pytest.mark.parametrize("usual", USUAL, ids=lambda one: one["_object"].strip("/").replace("/", "-"))
async def test_an_odd_value_anywhere_harms_nothing_else(daemon, usual):
    await daemon.daemon.queue.set_paused(paused=True)
    for offset, place in enumerate(PLACES, USUAL.index(usual)):
        for value in ODD[offset % STRIDE :: STRIDE]:
            made = copy.deepcopy(events.event({**usual}))
            put(made, place, value)
            await deliver(daemon, made)
    await deliver(daemon, behind(5))
    await daemon.daemon.queue.set_paused(paused=False)
    await look(daemon, await last(daemon) - 30)
    assert (await daemon.get("/shipments/5"))["name"] == "behind it"
    assert set((await states(daemon)).values()) <= {"applied", "coalesced", "ignored", "dead"}


async def last(daemon):
    return await daemon.daemon.db.read(lambda tx: tx.events.last_seq())


class Aside:
    """A daemon on a loop of its own, for tests that are not coroutines."""

    def __init__(self, folder):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.context = start(Settings.for_tests(folder), Clock())
        self.daemon = self.run(self.context.__aenter__())

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(120)

    def close(self):
        self.run(self.context.__aexit__(None, None, None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def aside(tmp_path):
    one = Aside(tmp_path)
    yield one
    one.close()


@settings(max_examples=EXAMPLES, suppress_health_check=[*HealthCheck])
@given(st.lists(odd_events(), min_size=1, max_size=4))
@example([events.event(events.shipment(), occurred_at=[])])
@example([events.event(product("\0")), events.event(product("\0", name="again"))])
@example([events.event(events.shipment(metadata={"a": nested(950)}))])
def test_whatever_comes_the_events_behind_it_are_applied_and_all_of_it_is_shown(aside, made):
    async def go(daemon):
        since = await last(daemon)
        for one in made:
            status, answer = await daemon.post(encoded(one))
            assert status == 200, answer
        final = events.event(events.shipment(5, name=f"behind {since}", updated_at="2026-03-05T00:00:00.000Z"))
        await daemon.receive(final)
        await look(daemon, since)
        assert (await states(daemon))[str(final["id"])] in ("applied", "coalesced")

    aside.run(go(aside.daemon))
