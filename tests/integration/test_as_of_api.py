"""Time travel and causes through the front door."""

import csv
import io
import json
from urllib.parse import quote

import pytest

from flexportd.core.labels import format_minute
from tests.events import container, event, leg, shipment

FIRST = "2026-03-04T10:00:00.000Z"
SECOND = "2026-03-05T10:00:00.000Z"
MARKS = ("as_of", "source", "synced_at", "first_seen_at", "removed_at")


async def _live(daemon, clock, *events):
    """Receive and apply; the time at which that was known, and what was shown then."""
    await daemon.receive(*events)
    await daemon.settled()
    await daemon.consumed()
    at = clock.stamp()
    clock.turn(hours=1)
    return at


async def test_a_shipment_is_shown_as_it_was_known(daemon, clock):
    at = await _live(
        daemon, clock, event(leg(), shipment=shipment(), containers=[container()], type="/shipment_leg#departed")
    )
    shown = await daemon.get("/shipments/910233")
    await _live(
        daemon,
        clock,
        event(
            shipment(
                updated_at=SECOND,
                status="arrival_port",
                estimated_arrival_date=None,
                actual_arrival_date="2026-03-20T14:30:00.000-07:00",
                metadata={"PO #": ["1", "2"]},
                pieces=0,
                consignees=[],
                ocean_shipment=None,
            )
        ),
        event(leg(ocean_leg={"_object": "/ocean/shipment_leg", "vessel_name": "OTHER"}), type="/shipment_leg#departed"),
    )
    assert (await daemon.get("/shipments/910233"))["vessel"] == "OTHER"
    assert await daemon.get(f"/shipments/910233?as_of={at}") == shown | {"known_at": at, "date_sources": None}
    assert (await daemon.get(f"/shipments/FLEX-910233?as_of={at}&fields=vessel")) == {
        "vessel": "EXAMPLE STAR",
        "known_at": at,
    }
    told = await daemon.get(f"/legs/8800412?as_of={at}")
    assert (told["vessel"], told["known_at"]) == ("EXAMPLE STAR", at)


async def test_what_cannot_be_told_is_said(daemon, clock):
    before = clock.stamp()
    clock.turn(hours=1)
    at = await _live(daemon, clock, event(shipment()))
    problem = await daemon.get(f"/shipments/910233?as_of={before}", 404)
    assert problem["detail"].startswith("shipment 910233 was not known before ")
    assert "there is no shipment 1" in (await daemon.get(f"/shipments/1?as_of={at}", 404))["detail"]
    for query, parameter in (
        (f"as_of={at}&include=raw", "include"),
        (f"as_of={at}&include=why", "include"),
        ("as_of=2999-01-01", "as_of"),
        ("as_of=yesterday", "as_of"),
        (f"as_of={at}&as_of={at}", "as_of"),
    ):
        assert (await daemon.get(f"/shipments/910233?{query}", 400))["parameter"] == parameter
    await daemon.daemon.db.write(lambda tx: tx.meta.put("history_from", at))
    for path in ("/shipments/910233", "/shipments", "/shipments?format=csv"):
        problem = await daemon.get(f"{path}{'&' if '?' in path else '?'}as_of={before}", 400)
        assert "no longer stored" in problem["detail"]
    assert (await daemon.get("/shipments?as_of=2026-01-01&include=raw", 400))["parameter"] == "include"


async def test_a_list_is_shown_as_it_was(daemon, clock):
    ships = [shipment(number, updated_at=FIRST, status="departure_port") for number in range(1, 8)]
    at = await _live(daemon, clock, *map(event, ships))
    queries = (
        "",
        "?status=departure_port",
        "?sort=-eta&limit=3",
        "?sort=id&limit=2",
        "?po=4471&sort=id",
        "?bill=exa2&sort=-id",
        "?q=4471&sort=id",
        "?container=CSQU3054383",
        "?updated_since=2026-03-04",
        "?archived=false&fields=id,status&sort=id",
    )
    shown = {query: await daemon.get(f"/shipments{query}") for query in queries}
    await _live(
        daemon,
        clock,
        event(shipment(8)),
        event(shipment(2, updated_at=SECOND, status="x", metadata={"PO #": ["9"]}, archived_at=SECOND)),
        event(shipment(4, updated_at=SECOND, name="other", ocean_shipment=None, estimated_arrival_date=None)),
        event(container(shipment_id=6), shipment=shipment(6, updated_at=FIRST)),
    )
    for query, before in shown.items():
        told = await daemon.get(f"/shipments{query}{'&' if query else '?'}as_of={at}")
        for row in (*told["data"], *before["data"]):
            row.pop("date_sources", None)  # known of the present alone
        assert told["data"] == before["data"], query
        assert (told["next"] is None) == (before["next"] is None)
        assert told["as_of"] == before["as_of"]
    assert [row["id"] for row in (await daemon.get("/shipments?container=CSQU3054383"))["data"]] == [6]


async def test_the_pages_of_a_list_as_it_was_follow_each_other(daemon, clock):
    at = await _live(daemon, clock, *(event(shipment(number, updated_at=FIRST)) for number in range(1, 10)))
    whole = [row["id"] for row in (await daemon.get("/shipments?sort=eta"))["data"]]
    await _live(daemon, clock, *(event(shipment(n, updated_at=SECOND, estimated_arrival_date=None)) for n in (2, 3, 7)))
    found, path = [], f"/shipments?sort=eta&limit=2&as_of={at}"
    cursor = ""
    while True:
        page = await daemon.get(path + cursor)
        found += [row["id"] for row in page["data"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={quote(page['next'])}"
    assert found == whole


@pytest.mark.parametrize("form", ["csv", "ndjson"])
async def test_a_whole_list_as_it_was_is_exported(daemon, clock, form):
    at = await _live(daemon, clock, *(event(shipment(number)) for number in range(1, 6)))
    await _live(daemon, clock, *(event(shipment(n, updated_at=SECOND, status="x")) for n in (1, 9)))
    async with daemon.http.get(f"{daemon.url}/api/v1/shipments?format={form}&as_of={at}&sort=id") as answer:
        assert answer.status == 200
        text = await answer.text()
    rows = (
        list(csv.DictReader(io.StringIO(text))) if form == "csv" else [json.loads(line) for line in text.splitlines()]
    )
    assert [(int(row["id"]), row["status"]) for row in rows] == [(n, "seller_location") for n in range(1, 6)]


async def test_each_field_says_why(daemon, clock):
    made, moved = event(shipment()), event(shipment(updated_at=SECOND, status="arrival_port"))
    at = await _live(daemon, clock, made)
    await _live(daemon, clock, moved)
    found = await daemon.get("/shipments/910233?include=why&fields=status")
    assert found["status"] == "arrival_port"
    why = found["why"]["status"]
    assert why.pop("since") > at
    assert why == {
        "as_of": SECOND,
        "source": "webhook",
        "event_id": str(moved["id"]),
        "event_type": moved["type"],
        "title": "Shipment Created",
        "run_id": None,
        "before": "seller_location",
    }
    assert found["why"]["name"]["event_id"] == str(made["id"])
    both = await daemon.get("/shipments/910233?include=why,raw")
    assert both["raw"]["status"] == "arrival_port"
    assert "vessel" not in both["why"]


async def test_the_chain_of_an_object_is_told_in_words(daemon, clock):
    one = event(leg(), shipment=shipment(), type="/shipment_leg#departed")
    two = event(
        shipment(
            updated_at=SECOND,
            status="in_transit_to_arrival_port",
            actual_departure_date="2026-03-03T12:00:00.000+08:00",
        )
    )
    await _live(daemon, clock, one)
    await _live(daemon, clock, two)
    for route in ("shipments/FLEX-910233", "shipment/910233"):
        found = await daemon.get(f"/why/{route}")
        newest = found["data"][0]
        kept = format_minute(newest["at"])
        assert newest["text"] == (
            f"event {two['id']} (Shipment Created) arrived by webhook with a valid signature at {kept}: set status to "
            "in transit to arrival port (was seller location), actual departure to 3 Mar 2026"
        )
        assert [moved["field"] for moved in newest["changes"]] == ["status", "actual_departure"]
        assert found["data"][-1]["text"].partition("UTC: ")[2].startswith("created")
    page = await daemon.get("/why/shipments/910233?limit=1")
    rest = await daemon.get(f"/why/shipments/910233?limit=9&cursor={page['next']}")
    assert page["data"] + rest["data"] == found["data"]
    assert (await daemon.get("/why/container-legs/1", 404))["detail"] == "there is no container leg 1"
    assert "Allowed are " in (await daemon.get("/why/planets/1", 404))["detail"]
    await daemon.get("/why/shipments/x", 404)
    await daemon.get("/why/shipments/910233?limit=0", 400)


async def test_the_chain_of_an_event_is_told_in_words(daemon, clock):
    new = event(
        leg(), shipment=shipment(updated_at=SECOND, status="x"), created_at=SECOND, type="/shipment_leg#departed"
    )
    old = event(shipment(updated_at=FIRST, status="y"), created_at=FIRST)
    broken = event("nothing")
    odd = event({"_object": "/planet", "id": 4})
    await _live(daemon, clock, new)
    await _live(daemon, clock, old, broken, odd)
    found = await daemon.get(f"/why/events/{new['id']}")
    assert found["event"]["id"] == str(new["id"])
    assert [step["kind"] for step in found["data"]][:2] == ["received", "applied"]
    assert "arrived by webhook with a valid signature" in found["data"][0]["text"]
    assert any(step["text"] == "leg 8800412: created" for step in found["data"])
    steps = (await daemon.get(f"/why/events/{old['id']}"))["data"]
    assert steps[1]["kind"] == "coalesced"
    assert f"as of 5 Mar 2026 10:00 UTC, from event {new['id']} (Actual Time of Departure (ATD)) at" in steps[1]["text"]
    steps = (await daemon.get(f"/why/events/{broken['id']}"))["data"]
    assert [step["kind"] for step in steps] == ["received", "failed", "dead"]
    steps = (await daemon.get(f"/why/events/{odd['id']}"))["data"]
    assert steps[1]["text"] == "ignored: /planet is not a known resource"
    assert (await daemon.get("/why/events/1", 404))["detail"] == "there is no event '1'"


async def test_the_command_tells_it(daemon, clock):
    made = event(shipment())
    await _live(daemon, clock, made)
    for arguments in (("shipment", "FLEX-910233"), ("event", str(made["id"]))):
        code, out, err = await daemon.command("why", *arguments)
        assert (code, err) == (0, "")
        assert f"event {made['id']} (Shipment Created) arrived by webhook with a valid signature" in out
    code, out, _ = await daemon.command("why", "shipment", "910233", "--json")
    assert json.loads(out)["data"][0]["event_id"] == str(made["id"])
    code, _, err = await daemon.command("why", "planet", "1")
    assert (code, "allowed are " in err) == (4, True)
