"""Shipments through the front door: webhooks in, API out."""

from tests.events import container, event, leg, place, shipment


async def test_a_signed_webhook_becomes_a_shipment(daemon):
    await daemon.receive(event(shipment()))
    await daemon.settled()
    found = await daemon.get("/shipments/910233")
    assert found["flex_id"] == "FLEX-910233"
    assert found["status"] == "seller_location"
    assert found["estimated_arrival_date"] == "2026-03-21"
    assert found["estimated_arrival_at"] == "2026-03-21T19:00:00.000Z"
    assert found["house_bills"] == ["EXA1", "EXA2"]
    assert found["purchase_orders"] == ["4471"]
    assert found["consignees"] == ["Example Imports"]
    assert "estimated_arrival" in found["day_only"]


async def test_a_late_event_never_moves_a_shipment_backwards(daemon):
    await daemon.receive(
        event(shipment(status="departure_port", updated_at="2026-03-04T10:05:00Z")),
        event(shipment(status="seller_location", updated_at="2026-03-04T10:01:00Z")),
    )
    await daemon.settled()
    assert (await daemon.get("/shipments/910233"))["status"] == "departure_port"


async def test_legs_and_containers_tell_the_route(daemon):
    await daemon.receive(event(leg(), shipment=shipment(), containers=[container()], type="/shipment_leg#departed"))
    await daemon.settled()
    found = await daemon.get("/shipments/910233")
    assert (found["origin"], found["destination_code"]) == ("Yantian, China", "USLAX")
    assert (found["carrier"], found["vessel"]) == ("Example Line", "EXAMPLE STAR")
    assert found["container_numbers"] == ["CSQU3054383"]
    assert [row["id"] for row in (await daemon.get("/shipments/910233/legs"))["data"]] == [8800412]
    assert [row["id"] for row in (await daemon.get("/shipments/910233/containers"))["data"]] == [555001]
    kinds = [row["milestone"] for row in (await daemon.get("/shipments/910233/timeline"))["data"]]
    assert kinds == ["created", "departed", "arrived"]


async def test_a_milestone_is_on_the_clock_of_its_location(daemon):
    told = event(shipment(), type="/shipment#weather_delay", occurred_at="2026-03-10T03:00:00.000Z")
    told["data"]["location"] = place("Honolulu", "USHNL", "Pacific/Honolulu")
    nowhere = event(shipment(), type="/shipment#port_strike_delay", occurred_at="2026-03-10T03:00:00.000Z")
    nowhere["data"]["location"] = {"place": ["odd"]}
    await daemon.receive(told, nowhere)
    await daemon.settled()
    rows = {row["milestone"]: row for row in (await daemon.get("/shipments/910233/timeline"))["data"]}
    found = rows["weather_delay"]
    assert (found["actual_at"], found["actual_date"]) == ("2026-03-10T03:00:00.000Z", "2026-03-09")
    assert (found["place"], found["place_code"], found["timezone"]) == ("Honolulu", "USHNL", "Pacific/Honolulu")
    assert (rows["port_strike_delay"]["place"], rows["port_strike_delay"]["actual_date"]) == (None, "2026-03-10")
