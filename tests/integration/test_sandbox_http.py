"""The sandbox over real HTTP: authorisation, envelopes, pages, errors, metadata and faults as published."""

import asyncio
import json
import re
import socket
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import aiohttp
import pytest

from flexportd.clock import Clock
from flexportd.errors import ConflictError
from flexportd.sandbox import Sandbox, SandboxOptions
from flexportd.sandbox.catalog.kinds import ALL_PATHS, BOOKING, COMPANY, DOCUMENT, LEG, PORT, SHIPMENT
from flexportd.sandbox.faults import BODY_FAULTS


class TurnedClock(Clock):
    """Stands still until turned; sleeping turns it."""

    def __init__(self):
        self.time = datetime(2026, 3, 4, 8, tzinfo=UTC)
        self.slept = []

    def now(self):
        return self.time

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.time += timedelta(seconds=seconds)
        await asyncio.sleep(0)


@pytest.fixture
def clock():
    return TurnedClock()


@pytest.fixture
async def opened(clock):
    """A function that starts a sandbox and gives it with a client that holds its key."""
    closing = []

    async def start(**options):
        box = Sandbox(SandboxOptions(speed=0, **options), clock)
        await box.start()
        client = aiohttp.ClientSession(box.url, headers={"Authorization": f"Bearer {box.api_key}"})
        closing.append((box, client))
        return box, client

    yield start
    for box, client in closing:
        await client.close()
        await box.stop()


async def get(client, path, **options):
    async with client.get(path, **options) as answer:
        return answer.status, await answer.json(), answer.headers


async def test_an_object_is_in_the_envelope(opened):
    box, client = await opened()
    number = max(box.world.tables[SHIPMENT])
    status, body, headers = await get(client, f"/shipments/{number}")
    assert status == 200
    assert body == {
        "_object": "/api/response",
        "self": f"{box.url}/shipments/{number}",
        "version": 2,
        "data": box.world.tables[SHIPMENT][number],
        "error": None,
    }
    assert "Date" in headers


@pytest.mark.parametrize("kind", ALL_PATHS)
async def test_following_next_reads_every_row_once(opened, kind):
    box, client = await opened(shipments=12, complete_lists=True)
    url, seen, pages = f"{box.url}{ALL_PATHS[kind]}?per=7", [], 0
    while url:
        _, body, _ = await get(client, url)
        assert body["data"]["_object"] == "/api/collections/paginated"
        assert (body["data"]["prev"] is None) == (pages == 0)
        seen += body["data"]["data"]
        url, pages = body["data"]["next"], pages + 1
    expected = [row for row in box.world.collections[kind].rows() if not row.get("deleted_at")]
    assert seen == expected
    assert len(seen) == len(expected) == body["data"]["total_count"]


async def test_the_default_page_has_ten_rows_and_next_says_so(opened):
    box, client = await opened()
    _, body, _ = await get(client, "/shipments")
    assert len(body["data"]["data"]) == 10
    assert body["data"]["next"] == f"{box.url}/shipments?page=2&per=10"
    assert body["data"]["total_count"] == 40


async def test_filters_survive_in_links(opened):
    box, client = await opened(complete_lists=True)
    orders = [row["metadata"]["PO #"][0] for row in box.world.tables[SHIPMENT].values()][:3]
    query = urlencode([*(("f.metadata.PO #", order) for order in orders), ("per", "1")])
    seen, url = [], f"/shipments?{query}"
    while url:
        _, body, _ = await get(client, url)
        seen += body["data"]["data"]
        url = body["data"]["next"]
    assert len(seen) == body["data"]["total_count"] >= 3
    assert all(set(row["metadata"]["PO #"]) & set(orders) for row in seen)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/shipments?per=101", 400, "bad_request"),
        ("/shipments?page=0", 400, "bad_request"),
        ("/shipments?f.status=lost", 400, "bad_request"),
        ("/shipments/1", 404, "not_found"),
        ("/shipments/FLEX-1", 404, "not_found"),
        ("/bookings/1", 404, "not_found"),
        ("/documents/AAAAAAAAAAAAAAAAAAAAAA/download", 404, "not_found"),
        ("/ports/CNYTN", 404, "not_found"),
        ("/invoices?f.status=payment_pending", 400, "bad_request"),
        ("/nowhere", 404, "not_found"),
        ("/oauth/token", 405, "method_not_allowed"),
    ],
)
async def test_errors_are_in_the_envelope(opened, path, status, code):
    _, client = await opened(shipments=1)
    found, body, _ = await get(client, path)
    assert found == status
    assert body["data"] is None
    assert set(body["error"]) == {"_object", "status", "code", "message", "data"}
    assert body["error"]["_object"] == "/api/error"
    assert (body["error"]["status"], body["error"]["code"]) == (status, code)
    assert body["error"]["message"]


async def test_a_method_that_is_not_offered_is_refused_with_those_that_are(opened):
    _, client = await opened(shipments=1)
    async with client.post("/shipments") as answer:
        assert answer.status == 405
        assert "GET" in answer.headers["Allow"]
        assert (await answer.json())["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic abc", "Bearer"])
async def test_without_the_key_nothing_is_told(opened, header):
    box, _ = await opened(shipments=1)
    headers = {} if header is None else {"Authorization": header}
    async with aiohttp.ClientSession(box.url, headers=headers) as stranger:
        status, body, _ = await get(stranger, "/shipments")
    assert status == 401
    assert body["error"]["code"] == "unauthorized"


@pytest.mark.parametrize(("asked", "version"), [("2", 2), ("3", 3), ("2023-07-01", 2), ("x", 2), (None, 2)])
async def test_the_version_is_echoed(opened, asked, version):
    _, client = await opened(shipments=1)
    _, body, _ = await get(client, "/shipments", headers={"Flexport-Version": asked} if asked else {})
    assert body["version"] == version
    assert isinstance(body["version"], int)


async def test_metadata_is_replaced_whole(opened):
    box, client = await opened(shipments=3, complete_lists=True)
    number = max(box.world.tables[SHIPMENT])
    before = box.world.tables[SHIPMENT][number]
    async with client.patch(f"/shipments/{number}", json={"metadata": {"Season": ["spring"]}}) as answer:
        assert answer.status == 200
        row = (await answer.json())["data"]
    assert row["metadata"] == {"Season": ["spring"]}
    assert row["updated_at"] > before["updated_at"]
    _, body, _ = await get(client, "/shipments?f.metadata.Season=spring")
    assert body["data"]["data"] == [row]


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"{}", b'{"metadata": []}', b'{"metadata": {"a": "b"}}', b'{"metadata": {"a": [1]}}', b"\xff"]
)
async def test_metadata_that_is_none_is_refused(opened, body):
    box, client = await opened(shipments=1)
    number = max(box.world.tables[SHIPMENT])
    async with client.patch(f"/shipments/{number}", data=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["code"] == "bad_request"


async def test_a_deleted_leg_is_shown_only_on_request(opened):
    box, client = await opened(shipments=120)
    number = next(number for number, leg in box.world.tables[LEG].items() if leg["deleted_at"])
    assert (await get(client, f"/shipment_legs/{number}"))[0] == 404
    assert (await get(client, f"/shipment_legs/{number}?f.include_deleted=true"))[0] == 200


@pytest.mark.parametrize("how", ["json", "data"])
async def test_a_token_opens_the_api_for_a_day(opened, clock, how):
    box, _ = await opened(shipments=1)
    asked = {
        "client_id": box.options.client_id,
        "client_secret": box.options.client_secret,
        "grant_type": "client_credentials",
    }
    async with aiohttp.ClientSession(box.url) as client:
        async with client.post("/oauth/token", **{how: asked}) as answer:
            token = await answer.json()
        assert (answer.status, token["token_type"], token["expires_in"]) == (200, "Bearer", 86_400)
        bearer = {"Authorization": f"Bearer {token['access_token']}"}
        assert (await get(client, "/shipments", headers=bearer))[0] == 200
        clock.time += timedelta(hours=24)
        assert (await get(client, "/shipments", headers=bearer))[0] == 401


async def test_ten_tokens_a_day_and_no_more(opened, clock):
    box, client = await opened(shipments=1)
    asked = {
        "client_id": box.options.client_id,
        "client_secret": box.options.client_secret,
        "grant_type": "client_credentials",
    }
    for _ in range(10):
        async with client.post("/oauth/token", json=asked) as answer:
            assert answer.status == 200
        clock.time += timedelta(hours=1)
    async with client.post("/oauth/token", json=asked) as answer:
        assert answer.status == 429
        assert int(answer.headers["Retry-After"]) == 14 * 3600
    clock.time += timedelta(hours=14)
    async with client.post("/oauth/token", json=asked) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "access_denied"),
        ({"client_id": "wrong"}, 401, "access_denied"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
async def test_wrong_credentials_get_no_token(opened, change, status, error):
    box, client = await opened(shipments=1)
    asked = {
        "client_id": box.options.client_id,
        "client_secret": box.options.client_secret,
        "grant_type": "client_credentials",
    }
    async with client.post("/oauth/token", json=asked | change) as answer:
        assert answer.status == status
        assert (await answer.json())["error"] == error


@pytest.mark.parametrize("body", ["{", "[]"])
async def test_a_token_request_that_is_no_object_is_refused(opened, body):
    _, client = await opened(shipments=1)
    async with client.post("/oauth/token", data=body, headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 400


async def test_too_many_requests_are_told_when_to_come_back(opened, clock):
    _, client = await opened(shipments=1, rate_limit=2)
    statuses = [(await get(client, "/shipments"))[0] for _ in range(3)]
    assert statuses == [200, 200, 429]
    _, body, headers = await get(client, "/shipments")
    assert body["error"]["code"] == "too_many_requests"
    clock.time += timedelta(seconds=int(headers["Retry-After"]))
    assert (await get(client, "/shipments"))[0] == 200


async def test_a_slow_limit_still_lets_one_through(opened):
    _, client = await opened(shipments=1, rate_limit=0.1)
    assert (await get(client, "/shipments"))[0] == 200
    status, _, headers = await get(client, "/shipments")
    assert (status, headers["Retry-After"]) == (429, "10")


async def test_latency_is_slept_on_the_clock(opened, clock):
    _, client = await opened(shipments=1, faults={"latency": "250ms"})
    await get(client, "/shipments")
    assert clock.slept == [0.25]


async def test_a_429_fault_says_when_to_retry(opened):
    _, client = await opened(shipments=1, faults={"429": "100%"})
    status, body, headers = await get(client, "/shipments")
    assert (status, headers["Retry-After"], body["error"]["status"]) == (429, "1", 429)


async def test_a_5xx_fault_is_an_envelope_or_a_gateways_page(opened):
    _, client = await opened(shipments=1, faults={"5xx": "100%"})
    kinds = set()
    for _ in range(20):
        async with client.get("/shipments") as answer:
            assert answer.status in {500, 502, 503, 504}
            kinds.add((answer.status == 500, answer.content_type))
    assert kinds == {(True, "application/json"), (False, "text/html")}


async def test_a_reset_fault_breaks_the_connection_after_the_work(opened):
    box, client = await opened(shipments=1, faults={"reset": "100%"})
    number = max(box.world.tables[SHIPMENT])
    with pytest.raises(aiohttp.ClientError):
        async with client.patch(f"/shipments/{number}", json={"metadata": {"a": ["b"]}}):
            pass
    assert box.world.tables[SHIPMENT][number]["metadata"] == {"a": ["b"]}


async def test_a_truncated_answer_is_half_a_document(opened):
    _, client = await opened(shipments=1, faults={"truncate": "100%"})
    async with client.get("/shipments") as answer:
        text = await answer.text()
    assert answer.status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


async def test_faults_spare_tokens(opened):
    box, client = await opened(shipments=1, faults={"5xx": "100%"})
    asked = {
        "client_id": box.options.client_id,
        "client_secret": box.options.client_secret,
        "grant_type": "client_credentials",
    }
    async with client.post("/oauth/token", json=asked) as answer:
        assert answer.status == 200


async def test_a_step_moves_what_is_served(opened):
    box, client = await opened()
    events = await box.step(5 * 86_400)
    assert events
    _, body, _ = await get(client, f"/events/{events[-1]['id']}")
    assert body["data"] == events[-1]


async def test_the_world_keeps_up_with_the_clock(clock):
    async with Sandbox(SandboxOptions(speed=86_400, shipments=20), clock) as box:
        before = len(box.world.events)
        while len(box.world.events) == before:
            await asyncio.sleep(0)
        assert box.world.now > datetime(2026, 3, 4, 8, tzinfo=UTC)


async def test_a_silent_change_is_seen_by_readers_only(opened):
    box, client = await opened(shipments=2)
    number = max(box.world.tables[SHIPMENT])
    count = len(box.world.events)
    box.edit_shipment(number, {"status": "gated_out"})
    _, body, _ = await get(client, f"/shipments/{number}")
    assert body["data"]["status"] == "gated_out"
    assert len(box.world.events) == count


async def test_stopping_is_safe_before_starting_and_twice(clock):
    box = Sandbox(SandboxOptions(), clock)
    await box.stop()
    with pytest.raises(ConflictError, match="not been started"):
        _ = box.url
    with pytest.raises(ConflictError, match="not been started"):
        _ = box.world
    with pytest.raises(ConflictError, match="no webhooks"):
        _ = box.deliveries
    async with Sandbox(SandboxOptions(shipments=1), Clock()) as running:
        await running.stop()


async def test_a_taken_port_is_an_error_and_leaves_nothing_behind(clock):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        box = Sandbox(SandboxOptions(port=taken.getsockname()[1]), clock)
        with pytest.raises(OSError, match="in use"):
            await box.start()
        await box.stop()


async def test_a_wildcard_host_is_reached_over_loopback(opened):
    box, _ = await opened(shipments=1, host="0.0.0.0")
    assert box.url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("kind", [kind for kind in ALL_PATHS if kind != PORT])
async def test_a_list_shows_what_each_object_shows(opened, kind):
    _, client = await opened(shipments=20, complete_lists=True)
    _, body, _ = await get(client, f"{ALL_PATHS[kind]}?per=100")
    for row in body["data"]["data"][:5]:
        status, shown, _ = await get(client, f"{ALL_PATHS[kind]}/{row['id']}")
        assert (status, shown["data"]) == (200, row)


async def test_a_list_of_shipments_is_poorer_than_their_own_answers(opened):
    """As recorded: no metadata, times of pickup and delivery in UTC, house bills in another order, the same stamp."""
    _, client = await opened(shipments=60)
    _, body, _ = await get(client, "/shipments?per=100")
    told = set()
    for row in body["data"]["data"]:
        _, shown, _ = await get(client, f"/shipments/{row['id']}")
        own = shown["data"]
        differ = {name for name in own if own[name] != row[name]}
        told |= differ
        assert row["metadata"] == {} != own["metadata"]
        assert row["updated_at"] == own["updated_at"]
        for name in differ - {"metadata", "ocean_shipment"}:
            assert re.fullmatch(r"(estimated_|actual_)?(picked_up|delivered)_in_full_date", name)
            assert row[name].endswith("Z")
            assert datetime.fromisoformat(row[name]) == datetime.fromisoformat(own[name])
        if "ocean_shipment" in differ:
            bills = [one["ocean_shipment"]["house_bill_number"].split(", ") for one in (row, own)]
            assert bills[0] == bills[1][::-1]
    assert {"actual_picked_up_in_full_date", "delivered_in_full_date", "ocean_shipment"} <= told


async def test_a_document_is_downloaded_with_its_type_and_size(opened):
    box, client = await opened(shipments=20)
    for row in list(box.world.collections[DOCUMENT].rows())[:9]:
        async with client.get(row["file_link"]) as answer:
            assert answer.status == 200
            assert len(await answer.read()) == row["file_metadata"]["size"] == int(answer.headers["Content-Length"])
            assert answer.content_type == ("text/csv" if row["document_type"].endswith("csv") else "application/pdf")


async def test_the_own_company_is_one_object(opened):
    box, client = await opened(shipments=1)
    _, body, _ = await get(client, "/network/me/companies")
    assert body["data"] == box.world.collections[COMPANY].rows()[0]


async def test_carbon_is_calculated_and_nonsense_refused(opened):
    _, client = await opened(shipments=1)
    asked = {"transportation_mode": "air", "weight": {"value": 40, "unit": "kg"}, "destination_port": "JFK"}
    async with client.post("/carbon_calculation", json=asked) as answer:
        assert answer.status == 200
        assert (await answer.json())["data"]["co2e_emissions"]["unit"] == "t"
    async with client.post("/carbon_calculation", data=b"{") as answer:
        assert answer.status == 400


async def test_what_a_test_changes_is_served_at_once(opened):
    box, client = await opened(shipments=3)
    _, body, _ = await get(client, "/bookings?per=100")
    rows, total = body["data"]["data"], body["data"]["total_count"]
    box.override(BOOKING, rows[0]["id"], name="Renamed")
    box.delete(BOOKING, rows[1]["id"])
    box.put({**rows[0], "id": 77, "name": "Put"})
    assert (await get(client, f"/bookings/{rows[1]['id']}"))[0] == 404
    assert (await get(client, "/bookings/77"))[1]["data"]["name"] == "Put"
    _, body, _ = await get(client, "/bookings?per=100")
    assert body["data"]["total_count"] == total
    assert [row["name"] for row in body["data"]["data"]] == ["Renamed", *(row["name"] for row in rows[2:]), "Put"]
    assert (await get(client, "/bookings?f.name=Put"))[1]["data"]["total_count"] == 1


async def test_events_are_paged_newest_first_within_their_filters(opened):
    box, client = await opened(shipments=30)
    newest = box.world.events[::-1]
    begin, end = newest[60]["occurred_at"], newest[5]["occurred_at"]
    query = {"f.occurred_at.gte": begin, "f.occurred_at.lte": end, "f.data.resource._object": LEG, "per": "4"}
    seen, url = [], f"/events?{urlencode(query)}"
    while url:
        _, body, _ = await get(client, url)
        seen += body["data"]["data"]
        url = body["data"]["next"]
    expected = [
        event
        for event in newest
        if begin <= event["occurred_at"] <= end and event["data"]["resource"]["_object"] == LEG
    ]
    assert seen == expected != []
    kind, shipment = expected[0]["type"], expected[0]["data"]["shipment"]["id"]
    _, body, _ = await get(client, f"/events?{urlencode({'f.type': kind, 'f.data.shipment.id': shipment})}")
    assert expected[0] in body["data"]["data"]
    assert {(row["type"], row["data"]["shipment"]["id"]) for row in body["data"]["data"]} == {(kind, shipment)}


async def test_the_date_of_every_answer_is_the_time_of_the_world(opened, clock):
    box, client = await opened(shipments=20)
    await box.step(40 * 86_400)
    expected = (clock.time + timedelta(days=40)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    box.fault("html", "^/products")
    box.fault("502", "^/ports")
    for path in ("/shipments", "/shipments/1", "/nowhere", "/products", "/ports", "/shipments?per=0"):
        async with client.get(path) as answer:
            assert answer.headers.getall("Date") == [expected]
    async with client.post("/oauth/token", json={}) as answer:
        assert answer.headers.getall("Date") == [expected]
    newest = max(row["updated_at"] for row in box.world.tables[SHIPMENT].values())
    assert datetime.fromisoformat(newest) <= box.world.now


async def test_what_was_asked_is_logged(opened):
    box, client = await opened(shipments=3)
    # A client asks again by itself when a connection that was open breaks.
    box.fault("reset", "^/ports", times=None)
    await get(client, "/shipments?per=2&f.metadata.PO%20%23=1")
    await get(client, "/shipments/1")
    with pytest.raises(aiohttp.ClientError):
        await get(client, "/ports")
    async with client.post("/oauth/token", json={}) as answer:
        assert answer.status == 400
    log = [one for one in box.requests if one.path != "/ports"]
    assert log == [
        ("GET", "/shipments?per=2&f.metadata.PO%20%23=1", 200),
        ("GET", "/shipments/1", 404),
        ("POST", "/oauth/token", 400),
    ]
    assert {one.status for one in box.requests if one.path == "/ports"} == {0}
    assert box.requests.tokens == 1
    assert box.requests.count("^/shipments") == 2


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("401", 401, "unauthorized"),
        ("403", 403, "forbidden"),
        ("404", 404, "not_found"),
        ("429", 429, "too_many_requests"),
        ("429_bare", 429, "too_many_requests"),
        ("500", 500, "internal_server_error"),
    ],
)
async def test_a_scripted_refusal_comes_as_often_as_asked(opened, kind, status, code):
    box, client = await opened(shipments=2)
    script = box.fault(kind, "^/invoices", times=2)
    assert (await get(client, "/shipments"))[0] == 200
    for _ in range(2):
        found, body, headers = await get(client, "/invoices")
        assert (found, body["error"]["code"]) == (status, code)
        assert ("Retry-After" in headers) == (kind == "429")
    assert (await get(client, "/invoices"))[0] == 200
    assert script.made == 2


@pytest.mark.parametrize(("kind", "status"), [("html", 200), ("502", 502), ("503", 503)])
async def test_a_scripted_gateway_answers_html(opened, kind, status):
    box, client = await opened(shipments=1)
    box.fault(kind)
    async with client.get("/shipments") as answer:
        assert (answer.status, answer.content_type) == (status, "text/html")


async def test_a_scripted_fault_can_hit_the_token_but_only_by_name(opened):
    box, client = await opened(shipments=1)
    box.fault("500", times=None)
    asked = {
        "client_id": box.options.client_id,
        "client_secret": box.options.client_secret,
        "grant_type": "client_credentials",
    }
    async with client.post("/oauth/token", json=asked) as answer:
        assert answer.status == 200
    box.clear_faults()
    box.fault("503", "^/oauth/token")
    async with client.post("/oauth/token", json=asked) as answer:
        assert answer.status == 503
    assert box.requests.tokens == 2


async def test_a_slow_answer_takes_three_seconds_of_the_clock(opened, clock):
    box, client = await opened(shipments=1)
    box.fault("slow")
    assert (await get(client, "/shipments"))[0] == 200
    assert clock.slept == [3.0]


async def test_a_repeated_page_holds_the_rows_before_and_goes_on(opened):
    box, client = await opened(shipments=20)
    pages = [(await get(client, f"/shipments?per=5&page={number}"))[1]["data"] for number in (1, 2)]
    box.fault("repeat", "^/shipments")
    first = (await get(client, "/shipments?per=5"))[1]["data"]
    second = (await get(client, "/shipments?per=5&page=2"))[1]["data"]
    assert first == pages[0]
    assert second == {**pages[1], "data": pages[0]["data"]}
    assert (await get(client, "/shipments?per=5&page=2"))[1]["data"] == pages[1]


@pytest.mark.parametrize(
    "kind",
    sorted(BODY_FAULTS - {"repeat", "huge", "error_200"}),
)
async def test_a_spoilt_page_differs_once_from_the_good_one(opened, kind):
    box, client = await opened(shipments=20)
    _, good, _ = await get(client, "/shipments")
    script = box.fault(kind, "^/shipments")
    status, spoilt, _ = await get(client, "/shipments")
    assert status == 200
    assert spoilt["data"] != good["data"]
    assert script.made == 1
    assert (await get(client, "/shipments"))[1] == good


async def test_an_error_with_200_and_an_answer_without_end(opened):
    box, client = await opened(shipments=1)
    box.fault("error_200")
    status, body, _ = await get(client, "/shipments")
    assert (status, body["data"], body["error"]["status"]) == (200, None, 500)
    box.fault("huge")
    async with client.get("/shipments") as answer:
        assert int(answer.headers["Content-Length"]) > 50 * 2**20


async def test_a_fault_by_its_share_is_made_of_every_answer(opened):
    _, client = await opened(shipments=3, faults={"unknown_field": "100%"})
    _, body, _ = await get(client, "/shipments")
    assert all("x_sandbox_novelty" in row for row in body["data"]["data"])
