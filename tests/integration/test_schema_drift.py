"""What Flexport sends that nobody published, from the webhook to the API and the command."""

import json

import pytest

from tests.events import event, leg, shipment


@pytest.fixture
async def drifted(daemon, clock):
    """Two shipments and a leg with something new in them."""
    for one in (
        event(shipment(1, freight_class={"kind": "urgent"})),
        event(leg(3, 1, ocean_leg={"_object": "/ocean/shipment_leg", "deck": 4}), type="/shipment_leg#teleported"),
        event(shipment(2, status="teleported", freight_class="none")),
    ):
        await daemon.receive(one)
        await daemon.settled()
        clock.turn(hours=1)
    return daemon


def named(rows):
    return {(row["kind"], row["object"], row["name"]): row["count"] for row in rows}


async def test_what_events_bring_is_listed_with_its_first_example(drifted):
    document = await drifted.get("/drift")
    assert named(document["data"]) == {
        ("field", "/shipment", "freight_class"): 2,
        ("value", "/shipment", 'status = "teleported"'): 1,
        ("field", "/shipment_leg", "ocean_leg.deck"): 1,
        ("event_type", "/event", "/shipment_leg#teleported"): 1,
    }
    first = next(row for row in document["data"] if row["name"] == "freight_class")
    assert first["example"] == '{"kind": "urgent"}'
    assert first["source"] == "webhook"
    assert first["first_seen_at"] < first["last_seen_at"]
    moments = [row["last_seen_at"] for row in document["data"]]
    assert moments == sorted(moments, reverse=True)
    assert moments[0] == first["last_seen_at"]
    assert isinstance(first["id"], str)
    assert document["as_of"] is not None


async def test_nothing_breaks_on_it(drifted):
    assert (await drifted.get("/queue"))["dead"] == 0
    found = await drifted.get("/shipments/2?include=raw")
    assert found["status"] == "teleported"
    assert found["raw"]["freight_class"] == "none"


async def test_an_event_that_changes_nothing_new_is_looked_at_by_its_changes(drifted):
    later = shipment(2, status="beamed", freight_class="none", updated_at="2026-03-05T00:00:00.000Z")
    await drifted.receive(event(later))
    await drifted.settled()
    found = named((await drifted.get("/drift"))["data"])
    assert found["value", "/shipment", 'status = "beamed"'] == 1
    assert found["field", "/shipment", "freight_class"] == 2  # it has not changed


async def test_an_object_that_nobody_published_is_listed(daemon):
    await daemon.receive(event({"_object": "/teleport", "id": 1, "name": "A"}, type="/teleport#used"))
    await daemon.settled()
    rows = (await daemon.get("/drift?kind=object"))["data"]
    assert [(row["object"], row["name"], row["example"]) for row in rows] == [
        ("/teleport", "_object", '{"_object": "/teleport", "id": 1, "name": "A"}')
    ]


async def test_what_is_published_leaves_no_trace(daemon):
    await daemon.receive(event(shipment(1)), event(leg(3, 1), type="/shipment_leg#departed"))
    await daemon.settled()
    assert (await daemon.get("/drift"))["data"] == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("kind=value", ['status = "teleported"']),
        ("object=/shipment_leg", ["ocean_leg.deck"]),
        ("kind=field&object=/shipment", ["freight_class"]),
        ("kind=response", []),
        ("sort=-count&limit=1", ["freight_class"]),
        ("sort=id&limit=1", ["freight_class"]),
    ],
)
async def test_filters_and_sorts(drifted, query, expected):
    assert [row["name"] for row in (await drifted.get(f"/drift?{query}"))["data"]] == expected


@pytest.mark.parametrize("sort", ["last_seen", "-first_seen", "count", "-id"])
async def test_pages_hold_everything_once(drifted, sort):
    names, query = [], f"?limit=1&sort={sort}"
    while query:
        document = await drifted.get(f"/drift{query}")
        names += [row["name"] for row in document["data"]]
        query = document["next"] and f"?limit=1&sort={sort}&cursor={document['next']}"
    assert len(names) == len(set(names)) == 4


async def test_a_kind_that_does_not_exist_is_named(drifted):
    problem = await drifted.get("/drift?kind=colour", 400)
    assert "kind is 'colour'; allowed are field, value, shape" in problem["detail"]


async def test_it_is_streamed_as_a_table(drifted):
    async with drifted.http.get(drifted.url + "/api/v1/drift?format=csv&fields=kind,name,count") as answer:
        assert answer.status == 200
        lines = (await answer.text()).splitlines()
    assert lines[0] == "kind,name,count"
    assert len(lines) == 5


async def run(daemon, *arguments):
    """What the command prints."""
    code, out, err = await daemon.command("drift", *arguments)
    assert code == 0, err
    return out


async def test_the_command_shows_them(drifted):
    lines = (await run(drifted)).splitlines()
    assert lines[0].split() == ["KIND", "OBJECT", "NAME", "EXAMPLE", "COUNT", "FIRST", "SEEN", "LAST", "SEEN"]
    (line,) = [line for line in lines if "freight_class" in line]
    assert line.split()[:3] == ["field", "/shipment", "freight_class"]
    assert '{"kind": "urgent"}' in line
    found = json.loads(await run(drifted, "--json", "--kind", "value"))
    assert [row["name"] for row in found["data"]] == ['status = "teleported"']
    assert await run(drifted, "--object", "/nowhere") == "No matches.\n"


async def test_the_command_says_that_there_is_none(daemon):
    assert await run(daemon) == "No undocumented fields, values or objects.\n"
