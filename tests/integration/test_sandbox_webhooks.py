"""The sandbox's webhooks: signed, retried until 200, with the backlog first, and with faults on demand."""

import asyncio
import hashlib
import hmac
import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from flexportd.clock import Clock
from flexportd.errors import InvalidError, NotFoundError
from flexportd.flexport.webhook_signature import Verifier
from flexportd.sandbox import Sandbox, SandboxOptions
from flexportd.sandbox.catalog.kinds import CONTAINER, CONTAINER_LEG, INVOICE, LEG, SHIPMENT
from tests.under_test import signature_problem

SECRET = "s3cret"


class TurnedClock(Clock):
    """Stands still; sleeping turns it."""

    def __init__(self):
        self.time = datetime(2026, 3, 4, 8, tzinfo=UTC)
        self.slept = []

    def now(self):
        return self.time

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.time += timedelta(seconds=seconds)
        await asyncio.sleep(0)


class Receiver:
    """Checks signatures and answers with the statuses it was given, then with 200."""

    def __init__(self):
        self.events = []
        self.headers = []
        self.statuses = []
        self.problems = []
        self.now = self.most = 0

    async def hook(self, request):
        self.now += 1
        self.most = max(self.most, self.now)
        body = await request.read()
        self.problems.append(signature_problem(Verifier([SECRET]), body, request.headers))
        self.headers.append(request.headers)
        status = self.statuses.pop(0) if self.statuses else 200
        self.events.append((status, json.loads(body)))
        await asyncio.sleep(0)
        self.now -= 1
        headers = {"Location": "/elsewhere"} if status == 302 else {}
        return web.Response(status=status, headers=headers)

    @property
    def accepted(self):
        return [event["id"] for status, event in self.events if status == 200]


@pytest.fixture
def receiver():
    return Receiver()


@pytest.fixture
async def hook_url(receiver):
    app = web.Application(client_max_size=2**24)
    app.router.add_post("/hook", receiver.hook)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    await runner.cleanup()


@pytest.fixture
def clock():
    return TurnedClock()


@pytest.fixture
async def opened(hook_url, clock):
    closing = []

    async def start(**options):
        settings = {
            "speed": 0,
            "shipments": 10,
            "send_backlog": False,
            "webhook_url": hook_url,
            "webhook_secret": SECRET,
        }
        box = Sandbox(SandboxOptions(**settings | options), clock)
        await box.start()
        closing.append(box)
        return box

    yield start
    for box in closing:
        await box.stop()


async def test_the_backlog_comes_first_and_whole(opened, receiver):
    box = await opened(send_backlog=True, in_flight=1)
    await box.wait_delivered()
    assert receiver.accepted == [event["id"] for event in box.world.backlog()]
    assert set(receiver.problems) == {None}
    assert box.deliveries.accepted == box.deliveries.attempts == len(receiver.events)


async def test_both_signatures_are_sent_over_the_exact_bytes(opened, receiver):
    box = await opened()
    event = box.world.events[-1]
    assert await box.send(event) == 200
    sent = receiver.headers[0]
    assert sent["X-Hub-Signature-256"].startswith("sha256=")
    assert sent["Content-Type"] == "application/json"
    assert receiver.problems == [None]
    body = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
    assert sent["X-Hub-Signature"] == "sha1=" + hmac.new(SECRET.encode(), body, hashlib.sha1).hexdigest()


async def test_a_step_delivers_what_it_causes_once(opened, receiver):
    box = await opened()
    events = await box.step(3 * 86_400)
    assert events
    assert sorted(receiver.accepted) == [event["id"] for event in events]
    assert Counter(receiver.accepted).most_common(1)[0][1] == 1


@pytest.mark.parametrize("status", [500, 503, 404, 204, 202, 302])
async def test_anything_but_200_is_tried_again(opened, receiver, clock, status):
    receiver.statuses = [status, status]
    box = await opened(in_flight=1)
    events = await box.step(3 * 86_400)
    assert sorted(receiver.accepted) == [event["id"] for event in events]
    assert len(receiver.events) == len(events) + 2
    assert (box.deliveries.refused, box.deliveries.retried) == (2, 2)
    assert all(1 <= wait <= 60 for wait in clock.slept)


async def test_after_ten_attempts_an_event_is_given_up_and_kept(opened, receiver, clock):
    receiver.statuses = [500] * 10_000
    box = await opened()
    events = await box.step(2 * 86_400)
    assert [one.event["id"] for one in sorted(box.undelivered, key=lambda one: one.event["id"])] == [
        event["id"] for event in events
    ]
    assert {(one.attempts, one.status) for one in box.undelivered} == {(10, 500)}
    assert box.deliveries.undelivered == len(events)
    assert len(receiver.events) == 10 * len(events)


async def test_a_receiver_that_is_not_there_counts_as_no_answer(clock):
    options = SandboxOptions(
        speed=0, shipments=5, send_backlog=False, webhook_url="http://127.0.0.1:9/hook", webhook_secret=SECRET
    )
    async with Sandbox(options, clock) as box:
        assert await box.send(box.world.events[-1]) == 0
        assert box.deliveries.unanswered == 1


async def test_no_more_than_asked_are_in_flight(opened, receiver):
    box = await opened(in_flight=3, shipments=40)
    await box.step(5 * 86_400)
    assert 1 <= receiver.most <= 3


async def test_drops_duplicates_and_disorder_are_made_and_counted(opened, receiver):
    box = await opened(in_flight=1, shipments=40, faults={"drop": "20%", "duplicate": "20%", "reorder": "20%"})
    events = await box.step(10 * 86_400)
    counted = box.deliveries
    assert min(counted.dropped, counted.duplicated, counted.reordered) > 0
    assert len(receiver.accepted) == len(events) - counted.dropped + counted.duplicated
    assert receiver.accepted != sorted(receiver.accepted)
    # What was dropped is still in the list of events, which is how a client heals.
    missed = {event["id"] for event in events} - set(receiver.accepted)
    assert len(missed) == counted.dropped
    assert missed <= {event["id"] for event in box.world.events}


async def test_the_world_moves_and_tells_by_itself(opened, receiver):
    box = await opened(speed=86_400, shipments=20)
    while not receiver.accepted:
        await asyncio.sleep(0)
    assert set(receiver.accepted) <= {event["id"] for event in box.world.events}


async def test_stopping_gives_up_what_is_on_its_way(opened, receiver):
    receiver.statuses = [500] * 10_000
    box = await opened(send_backlog=True, shipments=20)
    while not receiver.events:
        await asyncio.sleep(0)
    await box.stop()
    assert box.deliveries.outstanding == 0
    assert box.deliveries.accepted == 0
    await box.wait_delivered()


async def test_a_forged_event_says_what_the_test_wants(opened, receiver):
    box = await opened()
    number = max(box.world.tables[SHIPMENT])
    at = datetime(2026, 3, 4, 10, 5, tzinfo=UTC)
    event = box.event(number, "/shipment#schedule_confirmed", at, status="gated_out")
    assert event["data"]["shipment"]["status"] == event["data"]["resource"]["status"] == "gated_out"
    assert event["data"]["shipment"]["updated_at"] == event["created_at"] == "2026-03-04T10:05:00.000Z"
    assert box.world.tables[SHIPMENT][number]["status"] != "gated_out"
    assert await box.send(event) == 200
    assert receiver.events == [(200, event)]
    event["data"]["shipment"]["metadata"]["edited"] = ["yes"]
    assert "edited" not in box.world.tables[SHIPMENT][number]["metadata"]


@pytest.mark.parametrize(
    ("kind", "table", "side"),
    [
        ("/shipment_leg#departed", LEG, "origin"),
        ("/shipment_leg#arrived", LEG, "destination"),
        ("/ocean/shipment_leg#loaded_on_truck", LEG, "origin"),
        ("/ocean/shipment_container_leg#unloaded_off_board", CONTAINER_LEG, "destination"),
        ("/ocean/shipment_container#empty_returned", CONTAINER, None),
        ("/shipments#commercial_invoices_digitized", SHIPMENT, None),
        ("/novelty#invented", SHIPMENT, None),
        ("/invoice#invoice_voided", INVOICE, None),
    ],
)
async def test_a_forged_event_is_about_the_right_thing(opened, kind, table, side):
    box = await opened(shipments=40)
    boxes = [row["shipment"]["id"] for row in box.world.tables[CONTAINER].values()]
    number = next(one for one in boxes if len(box.world.collections[INVOICE].for_shipment(one)))
    event = box.event(number, kind)
    assert event["data"]["resource"]["_object"] == table
    assert (event["data"]["location"] is None) == (side is None)
    if table == LEG:
        assert event["data"]["location"] == event["data"]["resource"][side]
    assert box.event(number, kind)["id"] > event["id"]


async def test_a_forged_event_can_name_its_leg_and_refuses_nonsense(opened):
    box = await opened()
    leg = max(box.world.tables[LEG].values(), key=lambda one: one["id"])
    number = leg["shipment"]["id"]
    assert box.event(number, "/shipment_leg#arrived", about=leg["id"])["data"]["resource"] == leg
    with pytest.raises(NotFoundError, match="no /shipment_leg 5"):
        box.event(number, "/shipment_leg#arrived", about=5)
    with pytest.raises(InvalidError, match="colour"):
        box.event(number, "/shipment#created", colour="red")
    with pytest.raises(NotFoundError, match="no shipment 1"):
        box.event(1, "/shipment#created")
    with pytest.raises(NotFoundError, match="no such /invoice"):
        box.event(number, "/invoice#invoice_voided", about="nobody's")
