"""What Flexport really sends, through the front door: everything is kept without loss."""

import json
from pathlib import Path

import pytest

from tests.events import event

RECORDED = Path(__file__).parents[2].parent / "shared" / "recorded"


def objects(name):
    file = RECORDED / f"{name}.json"
    if not file.exists():
        pytest.skip("the recorded answers are not beside this checkout")
    found = {}
    for answer in json.loads(file.read_text()).values():
        data = answer["data"]
        for value in data["data"] if isinstance(data.get("data"), list) else [data]:
            found[value["id"]] = value
    return found


async def test_recorded_objects_arrive_as_events_and_come_back_value_by_value(daemon):
    shipments, legs, boxes = objects("shipments"), objects("shipment_legs"), objects("ocean_shipment_containers")
    box_legs = objects("ocean_shipment_container_legs")
    everything = [*shipments.values(), *legs.values(), *boxes.values()]
    for one in everything:
        await daemon.receive(event(one, type="/shipment#updated_route"))
    for one in box_legs.values():
        owner = boxes[one["shipment_container"]["id"]]["shipment"]["id"]
        await daemon.receive(event(one, shipment=shipments[owner]))
    await daemon.settled()
    assert (await daemon.get("/queue"))["dead"] == 0
    assert (await daemon.get("/status"))["events"]["by_state"]["applied"] == len(everything) + len(box_legs)
    for number, value in shipments.items():
        found = await daemon.get(f"/shipments/{number}?include=raw")
        assert found["raw"] == value
        for path, known in (("legs", legs), ("containers", boxes)):
            rows = (await daemon.get(f"/shipments/{number}/{path}?include=raw"))["data"]
            assert {row["id"]: row["raw"] for row in rows} == {
                n: one for n, one in known.items() if one["shipment"]["id"] == number
            }
        planned = (await daemon.get(f"/shipments/{number}/timeline"))["data"]
        assert [row for row in planned if row["planned_at"] is None and row["actual_at"] is None] == []
