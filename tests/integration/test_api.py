"""The JSON API: lists, parameters, problem documents, operations."""

import json
import threading

import aiohttp
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from flexportd.expose import cached_response
from tests.events import container, event, leg, shipment


@pytest.fixture
async def filled(daemon):
    await daemon.receive(
        *(
            event(
                shipment(
                    n,
                    name=f"Order {n}",
                    transportation_mode="air" if n % 3 == 0 else "ocean",
                    status="arrival_port" if n % 2 else "seller_location",
                    updated_at=f"2026-03-{n:02d}T00:00:00Z",
                    estimated_arrival_date=f"2026-05-{n:02d}T12:00:00.000Z" if n != 5 else None,
                    archived_at="2026-06-01T00:00:00Z" if n == 7 else None,
                    metadata={"PO #": [f"PO-{n}"], "SKU": [f"SKU_{n}%"]},
                    ocean_shipment={
                        "house_bill_number": f"HB{n}, HX{n}",
                        "master_bill_number": f"MB{n}",
                        "carrier_booking_number": f"BK{n}",
                    },
                ),
                containers=[container(n, n, container_number=f"CSQU000000{n}")] if n < 10 else [],
            )
            for n in range(1, 13)
        )
    )
    await daemon.settled()
    await daemon.consumed()
    return daemon


async def ids(daemon, query):
    return [row["id"] for row in (await daemon.get("/shipments" + query))["data"]]


CHOICES = [
    ("", [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
    ("?limit=2", [12, 11]),
    ("?sort=id", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
    ("?sort=eta&limit=3", [5, 1, 2]),
    ("?sort=-eta&limit=2", [12, 11]),
    ("?mode=air", [12, 9, 6, 3]),
    ("?mode=air,ocean&status=arrival_port&limit=2", [11, 9]),
    ("?status=origin_stop_off", []),
    ("?eta_before=2026-05-03", [2, 1]),
    ("?eta_after=2026-05-11T12:00:00Z", [12, 11]),
    ("?updated_since=2026-03-11", [12, 11]),
    ("?archived=true", [7]),
    ("?archived=false&limit=1&sort=-id", [12]),
    ("?po=po-4", [4]),
    ("?sku=SKU_3%25", [3]),
    ("?bill=hx2", [2]),
    ("?bill=mb2", [2]),
    ("?bill=BK9", [9]),
    ("?container=csqu0000005", [5]),
    ("?q=order%201", [12, 11, 10, 1]),
    ("?q=HB11", [11]),
    ("?q=%25", [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
    ("?q=_3", [3]),
    ("?q='%20OR%201=1--", []),
]


async def test_filters_and_sorts(filled):
    for query, expected in CHOICES:
        assert await ids(filled, query) == expected, query


async def test_pages_cover_every_row_once(filled):
    for sort in ("updated_at", "-updated_at", "id", "-id", "eta", "-eta"):
        found, query = [], f"?sort={sort}&limit=5"
        while True:
            page = await filled.get("/shipments" + query)
            found += [row["id"] for row in page["data"]]
            if page["next"] is None:
                break
            query = f"?sort={sort}&limit=5&cursor={page['next']}"
        assert sorted(found) == list(range(1, 13)), sort
        assert found == await ids(filled, f"?sort={sort}"), sort


async def test_the_link_header_names_the_next_page(filled):
    async with filled.http.get(filled.url + "/api/v1/shipments?limit=5&mode=ocean") as first:
        link = first.headers["Link"]
        page = await first.json()
    assert link.endswith('>; rel="next"')
    async with filled.http.get(filled.url + link[1 : link.index(">")]) as second:
        assert second.status == 200
        assert not {row["id"] for row in (await second.json())["data"]} & {row["id"] for row in page["data"]}
        assert "Link" not in second.headers


async def test_fields_and_raw(filled):
    page = await filled.get("/shipments?fields=id,status&limit=1")
    assert page["data"] == [{"id": 12, "status": "seller_location"}]
    page = await filled.get("/shipments?include=raw&limit=1")
    assert page["data"][0]["raw"]["name"] == "Order 12"
    one = await filled.get("/shipments/FLEX-12?include=raw&fields=id")
    assert one["raw"]["id"] == 12
    assert set(one) == {"id", "raw"}


BAD = [
    "?limit=0", "?limit=501", "?limit=x", "?limit=", "?limit=1&limit=2", "?unknown=1", "?sort=name", "?sort=", "?fields=id,nope",
    "?fields=", "?include=everything", "?cursor=x", "?cursor=", "?cursor=W10", "?eta_before=yesterday", "?eta_before=2026-02-31",
    "?eta_before=99999-01-01", "?archived=maybe", "?po=", "?q=%00", "?q=" + "x" * 1001, "?status=", "?status=" + ",".join("x" * 51),
    "?limit=" + "9" * 400,
]  # fmt: skip


async def test_a_bad_parameter_is_named(filled):
    for query in BAD:
        async with filled.http.get(filled.url + "/api/v1/shipments" + query) as answer:
            document = await answer.json(content_type=None)
            assert answer.status == 400, (query, document)
            assert answer.content_type == "application/problem+json", query
            assert document["parameter"] in query
            assert document["detail"], query


async def test_a_cursor_of_another_order_is_refused(filled):
    other = (await filled.get("/shipments?sort=id&limit=1"))["next"]
    document = await filled.get(f"/shipments?cursor={other}", status=400)
    assert document["parameter"] == "cursor"


MISSING = [
    "/shipments/999",
    "/shipments/abc",
    "/shipments/-1",
    "/shipments/99999999999999999999",
    "/shipments/999/timeline",
    "/shipments/999/history",
    "/shipments/999/legs",
    "/shipments/999/containers",
    "/events/1",
    "/events/%00",
    "/dead-letters/1",
    "/dead-letters/x",
    "/nothing",
    "/shipments/1/nothing",
]


async def test_what_is_not_there_is_a_404_problem(daemon):
    for path in MISSING:
        document = await daemon.get(path, status=404)
        assert document["type"] == "urn:flexportd:problem:not-found", path


async def test_the_wrong_method_says_which_are_right(daemon):
    async with daemon.http.delete(daemon.url + "/api/v1/shipments") as answer:
        assert answer.status == 405
        assert "GET" in answer.headers["Allow"]
        assert (await answer.json(content_type=None))["status"] == 405


async def test_history_tells_what_changed_and_which_event_did_it(daemon):
    first = event(shipment(updated_at="2026-03-01T00:00:00Z"))
    second = event(
        shipment(
            status="arrival_port",
            estimated_arrival_date="2026-03-25T12:00:00.000-07:00",
            updated_at="2026-03-02T00:00:00Z",
        )
    )
    await daemon.receive(first, second)
    await daemon.settled()
    rows = (await daemon.get("/shipments/910233/history"))["data"]
    assert {(row["field"], row["old"], row["new"], row["event_id"]) for row in rows} == {
        ("id", None, 910233, str(first["id"])),
        ("status", "seller_location", "arrival_port", str(second["id"])),
        ("estimated_arrival", "2026-03-21T12:00:00-07:00", "2026-03-25T12:00:00-07:00", str(second["id"])),
    }
    assert [row["field"] for row in (await daemon.get("/shipments/910233/history?field=status"))["data"]] == ["status"]


async def test_the_timeline_has_plan_and_fact_with_day_and_zone(daemon):
    await daemon.receive(
        event(
            leg(actual_departure_date="2026-03-04T02:30:00.000+08:00"),
            shipment=shipment(),
            containers=[container(last_free_day_date="2026-03-26T04:00:00.000Z")],
            type="/shipment_leg#departed",
        ),
        event(
            shipment(updated_at="2026-03-05T00:00:00Z"),
            type="/shipment#customs_agriculture_hold",
            occurred_at="2026-03-22T10:00:00Z",
        ),
    )
    await daemon.settled()
    rows = {row["milestone"]: row for row in (await daemon.get("/shipments/910233/timeline"))["data"]}
    departed = rows["departed"]
    assert (departed["planned_date"], departed["actual_date"], departed["actual_at"]) == (
        "2026-03-03",
        "2026-03-04",
        "2026-03-03T18:30:00.000Z",
    )
    assert (departed["day_only"], departed["timezone"], departed["place_code"]) == (False, "Asia/Hong_Kong", "CNYTN")
    assert (rows["arrived"]["day_only"], rows["arrived"]["actual_at"]) == (True, None)
    assert rows["last_free_day"]["container_number"] == "CSQU3054383"
    assert (rows["customs_agriculture_hold"]["title"], rows["customs_agriculture_hold"]["group"]) == (
        "Customs Hold",
        "customs",
    )
    assert list(rows) == ["created", "departed", "arrived", "customs_agriculture_hold", "last_free_day"]


async def test_events_are_listed_and_shown_with_their_payload(daemon):
    one = event(shipment(), type="/shipment#schedule_confirmed")
    await daemon.receive(one)
    await daemon.settled()
    [row] = (await daemon.get("/events?type=/shipment%23schedule_confirmed&state=applied&shipment=910233"))["data"]
    assert (row["id"], row["title"], row["shipment_id"]) == (str(one["id"]), "Schedule Confirmed", 910233)
    shown = await daemon.get(f"/events/{one['id']}")
    assert shown["payload"] == one
    assert "signature" not in json.dumps(shown["headers"]).lower()
    assert (await daemon.get("/events?state=sleeping", status=400))["parameter"] == "state"


async def test_a_replayed_event_changes_nothing_that_is_newer(daemon):
    old = event(shipment(updated_at="2026-03-01T00:00:00Z"))
    await daemon.receive(old, event(shipment(status="arrival_port", updated_at="2026-03-02T00:00:00Z")))
    await daemon.settled()
    assert (await daemon.call(f"/events/{old['id']}/replay"))["state"] == "ready"
    await daemon.settled()
    assert (await daemon.get(f"/events/{old['id']}"))["state"] == "coalesced"
    assert (await daemon.get("/shipments/910233"))["status"] == "arrival_port"


async def test_dead_letters_are_shown_retried_and_discarded(daemon):
    await daemon.post(b'{"id": 1, "type": "x", "data": "y"}')
    await daemon.post(b"\xff\x00")
    await daemon.settled()
    first, second = (await daemon.get("/dead-letters"))["data"]
    shown = await daemon.get(f"/dead-letters/{second['id']}")
    assert shown["payload"] == {"id": 1, "type": "x", "data": "y"}
    assert [one["attempt"] for one in shown["failed_attempts"]] == [1]
    assert (await daemon.get(f"/dead-letters/{first['id']}"))["payload_base64"] == "/wA="
    await daemon.call(f"/dead-letters/{second['id']}/retry")
    await daemon.settled()
    assert (await daemon.get("/queue"))["dead"] == 2
    assert await daemon.call("/dead-letters/retry?type=x") == {"retried": 1, "has_more": False}
    await daemon.settled()
    for body, parameter in (
        ({}, "reason"),
        ({"reason": ""}, "reason"),
        ({"reason": 5}, "reason"),
        ({"reason": "x", "extra": 1}, "extra"),
        ([], "body"),
    ):
        assert (await daemon.call(f"/dead-letters/{first['id']}/discard", body, status=400))["parameter"] == parameter
    closed = await daemon.call(f"/dead-letters/{first['id']}/discard", {"reason": "noise", "discarded_by": "anna"})
    assert (closed["discarded_by"], closed["discard_reason"]) == ("anna", "noise")
    await daemon.call(f"/dead-letters/{first['id']}/discard", {"reason": "noise"}, status=409)
    assert len((await daemon.get("/dead-letters"))["data"]) == 1
    assert len((await daemon.get("/dead-letters?discarded=true"))["data"]) == 1
    await daemon.call("/dead-letters/999/retry", status=404)


async def test_pause_and_resume(daemon):
    assert (await daemon.call("/queue/pause"))["paused"] is True
    one = event(shipment())
    await daemon.receive(one)
    assert (await daemon.get("/queue"))["ready"] == 1
    [item] = (await daemon.get("/queue/items"))["data"]
    assert (item["event_id"], item["state"], item["priority"]) == (str(one["id"]), "ready", "webhook")
    assert (await daemon.get("/queue"))["oldest_seconds"]["ready"] >= 0
    assert (await daemon.call("/queue/resume"))["paused"] is False
    await daemon.settled()
    assert (await daemon.get("/queue"))["ready"] == 0


async def test_metrics_are_prometheus_text(daemon):
    await daemon.receive(event(shipment()))
    await daemon.settled()
    async with daemon.http.get(daemon.url + "/metrics") as answer:
        text = await answer.text()
    assert 'flexportd_webhook_deliveries_total{result="accepted"} 1.0' in text
    assert 'flexportd_queue_oldest_item_age_seconds{state="dead"} 0.0' in text
    assert 'flexportd_events_total{state="applied",type="/shipment#created"} 1.0' in text


async def test_metrics_have_each_series_once_and_a_bounded_number_whatever_types_events_have(daemon):
    long = "/shipment#" + "x" * 120
    types = [f"{long}{n}" for n in range(3)] + [f"/made#up{n}" for n in range(200)] + ["", "/shipment_leg#created"]
    await daemon.receive(event(shipment()), *(event(shipment(), type=one) for one in types))
    await daemon.settled()
    async with daemon.http.get(daemon.url + "/metrics") as answer:
        text = await answer.text()
    samples = [
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    assert len(samples) == len(set(samples))
    assert sum(name == "flexportd_events_total" for name, _ in samples) < 10
    assert 'state="applied",type="/shipment#created"} 2.0' in text


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}]
)
async def test_a_page_of_another_site_may_do_nothing(daemon, headers):
    async with daemon.http.post(daemon.url + "/api/v1/queue/pause", headers=headers) as answer:
        assert answer.status == 403
    assert (await daemon.get("/queue"))["paused"] is False


async def test_the_control_socket_speaks_the_same_api_and_is_private(daemon, settings):
    path = settings.storage.control_socket
    assert path.stat().st_mode & 0o777 == 0o600
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(path))) as http,
        http.get("http://localhost/api/v1/queue") as answer,
    ):
        assert answer.status == 200


async def test_hostile_text_stays_text(daemon):
    nasty = '<script>alert(1)</script>\u202e\x00\x1b[31m"\\'
    await daemon.receive(event(shipment(name=nasty + "x" * 1_000_000)))
    await daemon.settled()
    assert (await daemon.get("/shipments/910233"))["name"].startswith(nasty)


async def test_a_page_is_made_into_json_where_it_is_read(filled, monkeypatch):
    """Megabytes of it would hold up everybody else on the event loop."""
    encode, threads = cached_response._encode, set()

    def watched(value):
        threads.add(threading.current_thread())
        return encode(value)

    monkeypatch.setattr(cached_response, "_encode", watched)
    async with filled.http.get(f"{filled.url}/api/v1/shipments?limit=5&include=raw") as answer:
        body = await answer.read()
        assert "Link" in answer.headers
    assert threads
    assert threading.main_thread() not in threads
    found = json.loads(body)
    assert list(found) == ["data", "next", "as_of"]
    assert len(found["data"]) == 5
    assert body == encode(
        {name: msgspec.Raw(part) for name, part in msgspec.json.decode(body, type=dict[str, msgspec.Raw]).items()}
    )


async def test_a_date_that_cannot_be_right_neither_filters_nor_orders(daemon):
    dates = {"actual_arrival_date": "1970-01-01T00:00:00.000Z", "actual_departure_date": "2099-12-31T00:00:00.000Z"}
    told = {1: {"estimated_arrival_date": "2026-05-03T12:00:00.000Z", **dates}}
    told |= {n: {"estimated_arrival_date": f"2026-05-0{n}T12:00:00.000Z"} for n in (2, 4)}
    await daemon.receive(*(event(shipment(n, **found)) for n, found in told.items()))
    await daemon.settled()
    assert await ids(daemon, "?sort=eta") == [2, 1, 4]
    assert await ids(daemon, "?eta_before=1990-01-01") == await ids(daemon, "?departure_after=2050-01-01") == []
    assert await ids(daemon, "?eta_after=2026-05-03&eta_before=2026-05-04") == [1]
    assert await ids(daemon, "?eta_after=2026-05-03T00:00:00Z&eta_before=2026-05-04T00:00:00Z") == [1]
