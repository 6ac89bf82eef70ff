"""Objects of which an event tells the id alone: they have no time, and whatever tells of them fills them."""

import asyncio
import json

import pytest

from flexportd.core.changes.stream_messages import _entry_context, messages_of
from flexportd.core.resources.registry import Registry
from tests.events import container, event, leg, shipment
from tests.small_flexport import SmallFlexport, mirroring, one_of_each
from tests.under_test import look_again

SHIPMENT = 910_233
LINKS = [
    {"id": SHIPMENT},
    {"_object": "/shipment", "id": str(SHIPMENT)},
    {"_object": "/shipment", "id": SHIPMENT, "ref": "x", "link": "https://api.flexport.com/shipments/910233"},
    {"_object": "/api/refs/object", "ref_type": "/shipment", "id": SHIPMENT, "link": "https://x.example/1"},
]
LATE = "2026-03-20T00:00:00Z"


@pytest.mark.parametrize("link", LINKS)
async def test_a_link_has_no_time_and_an_older_snapshot_fills_it(daemon, link):
    await daemon.receive(event(leg(), shipment=link, created_at=LATE))
    await daemon.settled()
    found = await daemon.get(f"/shipments/{SHIPMENT}")
    assert (found["as_of"], found["status"], found["source"]) == (None, None, "webhook")
    assert (await daemon.get("/shipments"))["as_of"] is None
    assert (await daemon.get("/shipments?updated_since=1970-01-01T00:00:00Z"))["data"] == []
    assert (await daemon.get(f"/shipments/{SHIPMENT}/legs"))["data"][0]["id"] == 8_800_412
    await daemon.receive(event(shipment(updated_at="2026-03-01T00:00:00Z"), created_at="2026-03-01T00:00:00Z"))
    await daemon.settled()
    found = await daemon.get(f"/shipments/{SHIPMENT}")
    assert (found["as_of"], found["status"]) == ("2026-03-01T00:00:00.000Z", "seller_location")


@pytest.mark.parametrize("link", LINKS)
async def test_a_link_changes_nothing_of_what_is_known(daemon, link):
    await daemon.receive(event(shipment(), created_at="2026-03-04T02:41:09.512Z"))
    await daemon.settled()
    before = await daemon.get(f"/shipments/{SHIPMENT}?include=raw")
    await daemon.receive(event(leg(), shipment=link, created_at=LATE))
    await daemon.settled()
    after = await daemon.get(f"/shipments/{SHIPMENT}?include=raw")
    moving = ("raw", "synced_at", "origin", "destination", "route")
    assert after["as_of"] == before["as_of"]
    assert after["status"] == before["status"]
    assert {n: v for n, v in before["raw"].items() if n not in moving}.items() <= after["raw"].items()


async def test_it_is_created_when_something_is_told_of_it(daemon):
    await daemon.receive(event(leg(), shipment={"id": SHIPMENT}, created_at=LATE))
    await daemon.settled()
    assert (await daemon.get(f"/shipments/{SHIPMENT}/history"))["data"] == []
    await daemon.receive(event(shipment()))
    await daemon.settled()
    fields = [row["field"] for row in (await daemon.get(f"/shipments/{SHIPMENT}/history?limit=100"))["data"]]
    assert {"id", "status", "name"} <= set(fields)
    topics = await daemon.daemon.db.read(_topics)
    assert topics.count("shipment.created") == 1


def _topics(tx):
    told = (
        one
        for entry in tx.journal.after(0, 100)
        for one in messages_of(Registry(), entry, _entry_context(tx, Registry(), entry))
    )
    return [one.topic for one in told if one is not None]


@pytest.mark.parametrize(
    ("path", "made"),
    [
        (f"/shipments/{SHIPMENT}", lambda **fields: shipment(updated_at=None, **fields)),
        ("/legs/8800412", leg),
        ("/containers/555001", container),
    ],
)
@pytest.mark.parametrize("created_at", [None, "soon", "", 5])
async def test_an_event_without_a_time_is_older_than_any_that_has_one(daemon, path, made, created_at):
    await daemon.receive(event(made(strange=1), created_at=created_at))
    await daemon.settled()
    found = await daemon.get(path)
    assert found["as_of"] is None
    await daemon.receive(event(made(strange=2), created_at="2026-03-01T00:00:00Z"))
    await daemon.receive(event(made(strange=3), created_at=created_at))
    await daemon.settled()
    found = await daemon.get(path + "?include=raw")
    assert (found["as_of"], found["raw"]["strange"]) == ("2026-03-01T00:00:00.000Z", 2)


async def test_pages_and_lists_show_what_has_no_time(daemon):
    await daemon.receive(event(leg(), shipment={"id": SHIPMENT}, created_at=None))
    await daemon.settled()
    for path in ("/shipments", f"/shipments/{SHIPMENT}", "/"):
        async with daemon.http.get(daemon.url + path) as answer:
            assert answer.status == 200
            assert "0001" not in await answer.text()
    for path in ("/shipments?format=csv", "/legs?sort=updated_at", f"/shipments/{SHIPMENT}/timeline", "/status"):
        async with daemon.http.get(daemon.url + "/api/v1" + path) as answer:
            assert answer.status == 200
            assert "0001-01" not in await answer.text()
    assert (await daemon.get(f"/shipments/{SHIPMENT}?include=why"))["as_of"] is None
    legs = await daemon.get("/legs/8800412/history?limit=500")
    assert {row["as_of"] for row in legs["data"]} == {None}


@pytest.mark.parametrize(
    "told",
    [
        event(leg(), shipment={"id": SHIPMENT}, created_at=LATE),
        event({"_object": "/shipment", "id": SHIPMENT}, created_at=LATE),
        event({"_object": "/api/refs/object", "ref_type": "/shipment", "id": SHIPMENT}, created_at=LATE),
        event(leg(), shipment={"id": SHIPMENT, "status": "odd"}, created_at=LATE),
    ],
)
async def test_it_is_fetched_and_the_answer_fills_it(tmp_path, clock, told):
    flexport = SmallFlexport(leg())
    async with mirroring(flexport, tmp_path, clock) as daemon:
        flexport.put(shipment(updated_at="2026-03-01T00:00:00Z"))
        await daemon.receive(told)
        await fetched(daemon, clock)
        found = await daemon.get(f"/shipments/{SHIPMENT}")
        assert found["status"] == "seller_location"


async def test_two_states_of_one_time_are_asked_about(tmp_path, clock):
    flexport = SmallFlexport(leg())
    same = "2026-03-01T00:00:00Z"
    async with mirroring(flexport, tmp_path, clock) as daemon:
        await daemon.receive(event(leg(), shipment=shipment(status="one", updated_at=same)))
        await daemon.receive(event(leg(), shipment=shipment(status="other", updated_at=same)))
        flexport.put(shipment(status="true", updated_at=same))
        await fetched(daemon, clock)
        assert (await daemon.get(f"/shipments/{SHIPMENT}"))["status"] == "true"


async def fetched(daemon, clock):
    """Have the fetches that wait for further events begin, and wait for their end."""
    pending = lambda tx: tx.items.pending()  # noqa: E731
    async with asyncio.timeout(20):
        while (await daemon.daemon.db.read(pending)).get("event"):
            await look_again()
        clock.turn(seconds=4)
        while await daemon.daemon.db.read(pending):
            daemon.daemon.queue.wake_all()
            await look_again()


async def test_times_of_a_body_that_is_a_list_count_to_the_microsecond(daemon):
    first = event(shipment(status="new", updated_at="2026-01-01T00:00:00.000002Z"))
    second = event(shipment(status="old", updated_at="2026-01-01T00:00:00.000001Z"))
    status, _ = await daemon.post(json.dumps([first, second]).encode())
    assert status == 200
    await daemon.settled()
    assert (await daemon.get(f"/shipments/{SHIPMENT}"))["status"] == "new"


async def test_a_link_to_anything_is_filled_by_what_is_told_of_it(daemon):
    registry = Registry()
    objects = [found for found in one_of_each() if "id" in found]
    for found in objects:
        link = {"_object": found["_object"], "id": found["id"], "ref": "x", "link": "https://x.example/1"}
        await daemon.receive(event(link, created_at=LATE))
    await daemon.settled()
    for found in objects:
        route = registry.of_object(found["_object"]).route
        document = await daemon.get(f"/{route}/{found['id']}")
        assert document["as_of"] is None, route
        assert (await daemon.get(f"/{route}"))["as_of"] is None
    for found in objects:
        await daemon.receive(event(found, created_at="2020-01-01T00:00:00Z"))
    await daemon.settled()
    for found in objects:
        route = registry.of_object(found["_object"]).route
        document = await daemon.get(f"/{route}/{found['id']}?include=raw")
        assert document["as_of"] is not None, route
        assert found.items() <= document["raw"].items(), route
