"""A word of a filter that nobody published and nobody sent is a mistake, and the nearest known one is named."""

import pytest

from tests.events import event, shipment


@pytest.fixture
async def strange(daemon):
    """A daemon to which Flexport has sent words of its own."""
    await daemon.receive(event(shipment()), event(shipment(2, status="beamed_up", transportation_mode="teleport")))
    await daemon.settled()
    return daemon


MISTAKES = [
    ("/shipments?status=beamed_upp", "status", "did you mean beamed_up?"),
    ("/shipments?status=Delivered To Port", "status", "allowed are"),
    ("/shipments?status=in_transit,fnal_destination", "status", "'in_transit'"),
    ("/shipments?mode=OCEAN", "mode", "did you mean ocean?"),
    ("/shipments?mode=sea", "mode", "allowed are air, barge, ocean"),
    ("/shipments?status=beamed_upp&as_of=2030-01-01", "status", "did you mean beamed_up?"),
    ("/shipments?status=x&format=csv", "status", "allowed are"),
    ("/legs?mode=trucks", "mode", "did you mean truck?"),
    ("/invoices?status=payed", "status", "did you mean paid?"),
    ("/invoices?type=client", "type", "did you mean Client?"),
    ("/documents?type=packing-lst", "type", "did you mean packing_list?"),
    ("/containers?container_type=drie", "container_type", "allowed are bulk, dry"),
    ("/purchase-orders?status=opn", "status", "did you mean open?"),
    ("/bookings?status=submited", "status", "did you mean submitted?"),
    ("/customs-entries?state=cleard", "state", "did you mean cleared?"),
    ("/customs-entries?status=relesed", "status", "did you mean released?"),
    ("/exceptions?severity=warn", "severity", "did you mean warning?"),
    ("/exceptions?kind=late_arival", "kind", "did you mean late_arrival?"),
    ("/exceptions?state=opened", "state", "did you mean open?"),
    ("/events?type=/shipment%23departed_", "type", "did you mean /shipment"),
    ("/events?state=aplied", "state", "did you mean applied?"),
    ("/dead-letters?type=x", "type", "allowed are"),
    ("/dead-letters?type=%5Bx", "type", "allowed are"),
    ("/dead-letters?type=%5B1%5D", "type", "allowed are"),
    ("/gaps/events?type=/shipment_leg%23departd", "type", "did you mean /shipment_leg#departed?"),
    ("/queue/items?state=redy", "state", "did you mean ready?"),
    ("/sync/runs?kind=fulll", "kind", "did you mean full?"),
    ("/sync/pending-removals?resource=shipment", "resource", "did you mean shipments?"),
    ("/sync/unreadable?resource=shipment", "resource", "did you mean shipments?"),
    ("/drift?kind=fields", "kind", "did you mean field?"),
    ("/search?q=x&kind=containers", "kind", "did you mean container?"),
    ("/shipments?sort=etaa", "sort", "did you mean eta?"),
]


async def test_an_unknown_word_is_an_error_that_names_the_nearest(strange):
    for path, parameter, words in MISTAKES:
        problem = await strange.get(path, 400)
        assert problem["parameter"] == parameter, path
        assert words in problem["detail"], (path, problem["detail"])
    problem = await strange.get("/jobs/retenton", 404)
    assert "did you mean retention?" in problem["detail"]


async def test_a_word_that_flexport_sent_is_taken_as_long_as_it_is_stored_and_in_the_past(strange, clock):
    assert [row["id"] for row in (await strange.get("/shipments?status=beamed_up"))["data"]] == [2]
    assert [row["id"] for row in (await strange.get("/shipments?mode=teleport,ocean&status=beamed_up"))["data"]] == [2]
    assert (await strange.get("/shipments?status=final_destination"))["data"] == []
    before = clock.stamp()
    clock.turn(minutes=5)
    known = shipment(2, status="final_destination", transportation_mode="teleport", updated_at="2026-03-06T02:41:09Z")
    await strange.receive(event(known, id=99_001))
    await strange.settled()
    problem = await strange.get("/shipments?status=beamed_up", 400)
    assert "beamed_up" not in problem["detail"].partition("llowed are")[2]
    assert [row["id"] for row in (await strange.get(f"/shipments?status=beamed_up&as_of={before}"))["data"]] == [2]


async def test_a_page_says_it_and_keeps_its_filters(strange):
    url = f"{strange.url}/shipments?status=beamed_upp&mode=ocean&q=lamps"
    async with strange.http.get(url) as answer:
        text = await answer.text()
        assert answer.status == 400
    assert "did you mean beamed_up?" in text
    for part in ('value="lamps"', '<option value="beamed_upp" selected>', '<option value="ocean" selected>'):
        assert part in text
    async with strange.http.get(f"{strange.url}/shipments?eta_after=soon&q=lamps") as answer:
        text = await answer.text()
        assert answer.status == 400
    assert "eta_after is &#39;soon&#39;" in text
    assert 'value="lamps"' in text
    async with strange.http.get(f"{strange.url}/shipments?status=beamed_up") as answer:
        assert answer.status == 200
