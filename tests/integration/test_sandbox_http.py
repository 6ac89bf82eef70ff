"""The sandbox over real HTTP: authorisation, envelopes, pages, errors, metadata and faults as published."""

import asyncio
import json
import socket
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import aiohttp
import pytest

from flexportd.clock import Clock
from flexportd.errors import ConflictError
from flexportd.sandbox import Sandbox, SandboxOptions
from flexportd.sandbox.shapes import LEG, PATHS, SHIPMENT


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


@pytest.mark.parametrize("kind", PATHS)
async def test_following_next_reads_every_row_once(opened, kind):
    box, client = await opened(shipments=12)
    url, seen, pages = f"{box.url}{PATHS[kind]}?per=7", [], 0
    while url:
        _, body, _ = await get(client, url)
        assert body["data"]["_object"] == "/api/collections/paginated"
        assert (body["data"]["prev"] is None) == (pages == 0)
        seen += body["data"]["data"]
        url, pages = body["data"]["next"], pages + 1
    expected = {number for number, row in box.world.tables[kind].items() if kind != LEG or row["deleted_at"] is None}
    assert {row["id"] for row in seen} == expected
    assert len(seen) == len(expected) == body["data"]["total_count"]


async def test_the_default_page_has_ten_rows_and_next_says_so(opened):
    box, client = await opened()
    _, body, _ = await get(client, "/shipments")
    assert len(body["data"]["data"]) == 10
    assert body["data"]["next"] == f"{box.url}/shipments?page=2&per=10"
    assert body["data"]["total_count"] == 40


async def test_filters_survive_in_links(opened):
    box, client = await opened()
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


async def test_lists_that_the_sandbox_does_not_fill_are_empty(opened):
    _, client = await opened(shipments=1)
    status, body, _ = await get(client, "/invoices?per=100")
    assert (status, body["data"]["data"], body["data"]["total_count"], body["data"]["next"]) == (200, [], 0, None)


async def test_metadata_is_replaced_whole(opened):
    box, client = await opened(shipments=3)
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
    box.amend(number, {"status": "gated_out"})
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
