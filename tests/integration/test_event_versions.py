"""Events of another version of Flexport's API: named, noted, and never what takes away what is known."""

import pytest

from tests.events import event, shipment

LATER = "2026-03-05T02:41:09.512Z"


async def test_an_event_of_another_version_erases_nothing_and_is_named(daemon):
    weight = {"_object": "/quantity/weight", "value": 8200, "unit": "kg"}
    known = {"estimated_arrival_date": "2026-03-21T12:00:00.000-07:00", "calculated_weight": weight, "pieces": 12}
    await daemon.receive(event(shipment(910_233, **known, priority="high")))
    await daemon.settled()
    before = await daemon.get("/shipments/910233")
    odd = {
        "updated_at": LATER,
        "name": "of another version",
        "status": {"code": "arrived"},
        "estimated_arrival_date": 1_773_012_345_678,
        "created_date": 1_773_012_345,
        "pieces": "many",
        "priority": ["high"],
        "calculated_weight": {"value": "twelve", "unit": "kg"},
    }
    await daemon.receive(event(shipment(910_233, **odd), version=3, id=77))
    await daemon.settled()
    found = await daemon.get("/shipments/910233?include=raw")
    assert found["name"] == "of another version"
    for name in (
        "status",
        "estimated_arrival_at",
        "estimated_arrival_date",
        "created_at",
        "pieces",
        "priority",
        "weight",
    ):
        assert found[name] == before[name] is not None, name
    assert found["raw"]["status"] == {"code": "arrived"}
    noted = {one["name"].partition(":")[0] for one in (await daemon.get("/drift?object=/shipment&limit=100"))["data"]}
    assert noted >= {"status", "estimated_arrival_date", "created_date", "pieces", "priority", "calculated_weight"}
    await daemon.receive(event(shipment(910_233, updated_at="2026-03-06T00:00:00.000Z", status="arrival_port"), id=78))
    await daemon.settled()
    assert (await daemon.get("/shipments/910233"))["status"] == "arrival_port"
    status = await daemon.get("/status")
    assert status["events"]["other_versions"] == {"3": 1}
    (warning,) = [one for one in status["warnings"] if "version 3" in one]
    assert warning.startswith("1 event arrived in version 3 of Flexport's API instead of 2")
    async with daemon.http.get(daemon.url + "/system") as page:
        assert "arrived in version 3" in await page.text()


@pytest.mark.parametrize("version", [2, "2", 2.0, None])
async def test_version_2_is_no_news_in_any_spelling(daemon, version):
    await daemon.receive(event(shipment(), version=version))
    await daemon.settled()
    assert (await daemon.get("/status"))["events"]["other_versions"] == {}


async def test_whatever_stands_for_a_version_is_tolerated_and_bounded(daemon, clock):
    odd = [3, "2026-01-01", [2], {"a": 2}, True, "", "\u202e", "x" * 5000, 1.5, *range(100, 130)]
    await daemon.receive(*(event(shipment(number), version=version) for number, version in enumerate(odd, 1)))
    await daemon.settled()
    found = (await daemon.get("/status"))["events"]
    assert found["by_state"]["applied"] == len(odd)
    assert sum(found["other_versions"].values()) == len(odd)
    assert len(found["other_versions"]) <= 21
    assert all(len(name) <= 40 for name in found["other_versions"])
    clock.turn(days=8)
    assert not [one for one in (await daemon.get("/status"))["warnings"] if "version" in one]
