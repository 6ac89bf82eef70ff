"""The client against a Flexport on a real socket that misbehaves in every way."""

import asyncio
import gzip
import json
import logging
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path

import aiohttp
import pytest
from aioresponses import aioresponses
from yarl import URL

from flexportd.clock import stamp
from flexportd.errors import InvalidError
from flexportd.flexport.client import Client, ClientRules
from flexportd.flexport.errors import (
    CircuitOpenError,
    FlexportError,
    FlexportUnavailableError,
    ForbiddenAtFlexportError,
    MalformedResponseError,
    NotFoundAtFlexportError,
    RateLimitedError,
    RejectedError,
    ResponseTooLargeError,
    UnauthorisedError,
    UnknownOutcomeError,
)
from flexportd.flexport.oauth.auth import ApiKeyAuth
from flexportd.flexport.transport import Request, translate
from tests.flexport_double import (
    FlexportDouble,
    HurriedClock,
    answer,
    cut_short,
    envelope,
    html,
    listing,
    reset,
)

SHARED = Path(__file__).parents[3] / "shared"
KEY = "key-of-the-account"
SHIPMENT = {"_object": "/shipment", "id": 7}


@pytest.fixture
async def flexport():
    async with FlexportDouble().running() as double:
        yield double


@pytest.fixture
def hurry():
    return HurriedClock()


@asynccontextmanager
async def opened(flexport, clock, **rules):
    given = {"requests_per_second": 1000.0, "timeout": 5.0, "base_url": flexport.url, **rules}
    async with Client(ClientRules(**given), ApiKeyAuth(KEY), clock) as client:
        yield client


@pytest.fixture
async def client(flexport, hurry):
    async with opened(flexport, hurry) as client:
        yield client


async def test_a_page_asks_for_a_hundred_and_gives_each_object_as_it_came(flexport, client):
    rows = [{"_object": "/shipment", "id": 1, "x": "é"}, {"id": 2}]
    flexport.script.append(answer(listing(rows, f"{flexport.url}/shipments?per=100&page=2", 2)))
    page = await client.page(
        "/shipments", {"f.updated_at.gt": "2026-03-04T00:00:00+00:00", "f.metadata.PO #": "a&b"}, 1, "sync"
    )
    asked = flexport.asked[0]
    assert asked.path == "/shipments"
    assert dict(asked.query) == {
        "f.updated_at.gt": "2026-03-04T00:00:00+00:00",
        "f.metadata.PO #": "a&b",
        "page": "1",
        "per": "100",
    }
    assert "%2B00" in asked.raw_path
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.headers["Flexport-Version"] == "2"
    assert asked.headers["Accept"] == asked.headers["Content-Type"] == "application/json"
    assert [json.loads(row) for row in page.rows] == rows
    assert (page.number, page.has_next, page.total_count, page.notes) == (1, True, 2, [])
    assert page.started_at <= page.date or page.started_at[:16] == page.date[:16]


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("https://evil.example/shipments?page=2", "another host: evil.example"),
        ("/shipments?page=1", "back to page 1"),
        ("/shipments?page=9", "skips to page 9"),
        ("/shipments", "names no page"),
        ("http://[bad", "not a URL"),
    ],
)
async def test_odd_links_are_noted_and_never_followed(flexport, client, link, words):
    flexport.script.append(answer(listing([SHIPMENT], link)))
    page = await client.page("/shipments", {}, 1, "sync")
    assert page.has_next
    assert words in page.notes[0]
    assert len(flexport.asked) == 1


async def test_large_pages_and_compressed_ones_are_read_whole(flexport, client):
    rows = [{"id": number, "text": "x" * 2000} for number in range(100)]
    body = gzip.compress(json.dumps(listing(rows)).encode())
    flexport.script.append(answer(body, Content_Encoding="gzip"))
    page = await client.page("/shipments", {}, 1, "sync")
    assert [json.loads(row) for row in page.rows] == rows
    assert page.bytes > 200_000


async def test_one_object_by_any_key(flexport, client):
    for key in ("7", "-_a", "../../events", ".", "a/b?c#d%2e"):
        flexport.script.append(answer(envelope(SHIPMENT), X_Request_ID="req-1"))
        found = await client.get("/shipments", key, "refresh")
        assert json.loads(found.text) == SHIPMENT
        assert (found.status, found.request_id) == (200, "req-1")
    paths = [request.raw_path for request in flexport.asked]
    assert paths[:2] == ["/shipments/7", "/shipments/-_a"]
    assert all(path.count("/") == 2 and ".." not in path for path in paths)
    with pytest.raises(InvalidError, match="id"):
        await client.get("/shipments", "", "refresh")


@pytest.mark.parametrize("path", ["shipments", "//evil.example/x", "/a?b", "/a#b", "/a/../b", "\\\\x"])
async def test_a_path_that_could_lead_elsewhere_is_refused(flexport, client, path):
    with pytest.raises(InvalidError, match="path"):
        await client.page(path, {}, 1, "sync")
    assert flexport.asked == []


REFUSALS = [
    (400, RejectedError),
    (401, UnauthorisedError),
    (403, ForbiddenAtFlexportError),
    (404, NotFoundAtFlexportError),
    (409, RejectedError),
    (422, RejectedError),
]


@pytest.mark.parametrize(("status", "kind"), REFUSALS)
async def test_a_refusal_is_told_at_once_with_what_flexport_said(flexport, client, status, kind):
    body = json.dumps({"error": {"message": f"no\nmore {KEY}"}}).encode() + b" " * 9000
    flexport.script.append(answer(body, status, CF_Ray="ray-1"))
    with pytest.raises(kind, match=r"^Flexport .* \(\d+: no") as caught:
        await client.get("/shipments", "7", "sync")
    error = caught.value
    assert (error.response.status, error.response.request_id, error.permanent) == (status, "ray-1", True)
    assert len(error.response.body) == 4096
    assert error.response.started_at is not None
    assert error.detail.startswith("GET /shipments/7: ")
    assert KEY not in str(error) + repr(error) + error.detail + error.response.body.decode()
    assert len(flexport.asked) == 1
    assert client.state()["breaker"]["failures"] == 0


GARBAGE = {
    "html": html(),
    "json as html": answer(listing([SHIPMENT]), Content_Type="text/html"),
    "html as json": answer(b"<html>"),
    "cut": answer(b'{"_object": "/api/response", "data": {"data": ['),
    "cut on the wire": cut_short,
    "no object": answer([]),
    "no data": answer({"_object": "/api/response", "error": None}),
    "an object": answer(envelope(SHIPMENT)),
    "redirect": answer(b"", 302, Location="/elsewhere"),
    "empty": answer(b""),
    "bad gzip": answer(b"not gzip", Content_Encoding="gzip"),
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_garbage_is_asked_for_again_and_told_in_the_end(flexport, client, hurry, name):
    flexport.usual = GARBAGE[name]
    with pytest.raises(MalformedResponseError) as caught:
        await client.page("/shipments", {}, 1, "sync")
    assert not caught.value.permanent
    assert len(flexport.asked) > 3
    assert sum(hurry.slept) <= 61
    flexport.usual = answer(listing([SHIPMENT]))
    hurry.turn(minutes=3)
    assert len((await client.page("/shipments", {}, 1, "sync")).rows) == 1


@pytest.mark.parametrize("name", [*GARBAGE, "reset", "500", "503"])
async def test_one_failure_is_mended_by_the_next_try(flexport, client, name):
    more = {"reset": reset, "500": html(500), "503": answer(b"", 503, Retry_After="3")}
    flexport.script.append((GARBAGE | more)[name])
    flexport.usual = answer(listing([SHIPMENT]))
    assert len((await client.page("/shipments", {}, 1, "sync")).rows) == 1
    # aiohttp sends a request again by itself when a kept connection turns out to be closed.
    assert len(flexport.asked) == 2


async def test_retry_after_is_waited_for(flexport, client, hurry):
    flexport.script.append(answer(b"", 503, Retry_After="17"))
    await client.page("/shipments", {}, 1, "sync")
    assert max(hurry.slept) == 17


async def test_when_retry_after_exceeds_patience_it_is_told(flexport, client):
    flexport.usual = answer({}, 429, Retry_After="100")
    with pytest.raises(RateLimitedError) as caught:
        await client.page("/shipments", {}, 1, "sync")
    assert (caught.value.response.retry_after, len(flexport.asked)) == (100, 1)


@pytest.mark.parametrize(("purpose", "patience"), [("interactive", 10), ("sync", 60), ("refresh", 60)])
async def test_patience_ends(flexport, client, hurry, purpose, patience):
    flexport.usual = html(500)
    with pytest.raises(FlexportUnavailableError) as caught:
        await client.page("/shipments", {}, 1, purpose)
    assert caught.value.response.status == 500
    assert sum(hurry.slept) <= patience + 0.1
    assert len(flexport.asked) >= 3


async def test_a_429_without_retry_after_waits_long_and_halves_the_rate(flexport, hurry):
    async with opened(flexport, hurry, requests_per_second=100.0) as client:
        flexport.script.append(answer({}, 429))
        await client.page("/shipments", {}, 1, "sync")
        assert max(hurry.slept) >= 30
        pace = client.state()["rate_limit"]
        assert 50 <= pace["current"] < 90
        assert pace["configured"] == 100


async def test_200_with_an_error_is_a_failure(flexport, client):
    flexport.script.append(answer(envelope(None, {"status": 403, "message": "Not yours"})))
    with pytest.raises(ForbiddenAtFlexportError, match="Not yours"):
        await client.page("/shipments", {}, 1, "sync")
    flexport.script.append(answer(envelope({"data": []}, "odd")))
    with pytest.raises(RejectedError, match="odd"):
        await client.page("/shipments", {}, 1, "sync")


def endless(broken, status=200):
    async def told(request):
        response = aiohttp.web.StreamResponse(status=status, headers={"Content-Type": "application/json"})
        await response.prepare(request)
        try:
            for _ in range(5000):
                await response.write(b" " * 65536)
        except OSError:
            broken.set()
            raise
        return response

    return told


async def test_an_answer_that_is_too_large_is_broken_off(flexport, hurry):
    broken = asyncio.Event()
    flexport.script.append(endless(broken))
    async with opened(flexport, hurry, max_answer=1 << 20) as client:
        with pytest.raises(ResponseTooLargeError) as caught:
            await client.page("/shipments", {}, 1, "sync")
        assert caught.value.permanent
        await asyncio.wait_for(broken.wait(), 10)
        assert len(flexport.asked) == 1
        await client.page("/shipments", {}, 1, "sync")


async def test_an_endless_error_body_is_not_read(flexport, client):
    broken = asyncio.Event()
    flexport.script.append(endless(broken, 404))
    with pytest.raises(NotFoundAtFlexportError, match="no such object") as caught:
        await client.get("/shipments", "7", "sync")
    assert len(caught.value.response.body) == 4096
    await asyncio.wait_for(broken.wait(), 10)


async def test_a_proxy_of_the_environment_is_not_used(flexport, hurry, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with opened(flexport, hurry, patience=0) as client:
        await client.page("/shipments", {}, 1, "sync")


class EverNew(ApiKeyAuth):
    """A bearer that is said to be another after each 401."""

    async def renew_rejected(self, bearer, resource):
        return True


async def test_a_401_is_followed_by_one_more_try_and_no_third(flexport, hurry):
    flexport.usual = answer({}, 401)
    async with Client(ClientRules(flexport.url, requests_per_second=1000), EverNew(KEY), hurry) as client:
        with pytest.raises(UnauthorisedError):
            async with asyncio.timeout(10):
                await client.page("/shipments", {}, 1, "sync")
    assert len(flexport.asked) == 2


async def test_a_silent_flexport_is_given_up(flexport, hurry):
    flexport.gate = asyncio.Event()
    async with opened(flexport, hurry, timeout=0.05, patience=0.0) as client:
        with pytest.raises(FlexportUnavailableError, match="did not answer in time"):
            await client.page("/shipments", {}, 1, "sync")
    flexport.gate.set()


async def test_the_breaker_spares_flexport_and_a_person_is_told_at_once(flexport, client, hurry):
    flexport.usual = html(500)
    for path in ("/shipments", "/documents", "/shipments"):
        with pytest.raises(FlexportUnavailableError):
            await client.page(path, {}, 1, "interactive")
    asked = len(flexport.asked)
    with pytest.raises(CircuitOpenError) as caught:
        await client.page("/shipments", {}, 1, "interactive")
    assert len(flexport.asked) == asked
    assert caught.value.response.retry_after > 0
    with pytest.raises(CircuitOpenError):
        await client.send("POST", "/bookings", b"{}", "write")  # not sent, so not unknown
    state = client.state()["breaker"]
    assert state["state"] == "open"
    assert "500" in state["reason"]
    flexport.usual = answer(listing([]))
    await client.page("/shipments", {}, 1, "sync")  # waits for the probe's time
    assert client.state()["breaker"]["state"] == "closed"


async def test_no_more_requests_are_under_way_than_allowed_and_one_place_is_free_of_lists(flexport, hurry):
    flexport.gate = asyncio.Event()
    async with opened(flexport, hurry, concurrency=3) as client:
        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(client.page("/shipments", {}, number + 1, "sync"))
            person = group.create_task(client.get("/shipments", "7", "interactive"))
            flexport.script.extend([answer(listing([]))] * 2 + [answer(envelope(SHIPMENT))])
            while flexport.busy < 3:
                await asyncio.sleep(0)
            assert client.state()["rate_limit"]["waiting"]["sync"] == 6
            flexport.gate.set()
            await person
        assert flexport.busiest == 3


async def test_cancelled_requests_leave_nothing_behind(flexport, client):
    flexport.gate = asyncio.Event()
    tasks = [asyncio.create_task(client.page("/shipments", {}, 1, "events")) for _ in range(6)]
    while flexport.busy < 4:
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert client.state()["rate_limit"]["in_flight"] == 0
    flexport.gate.set()
    await client.page("/shipments", {}, 1, "events")


async def test_fifty_openings_leave_no_task_and_no_session(flexport, hurry):
    before = asyncio.all_tasks()
    for _ in range(50):
        async with opened(flexport, hurry) as client:
            await client.page("/shipments", {}, 1, "sync")
    await asyncio.sleep(0)
    assert asyncio.all_tasks() - before == set() or all("server" in repr(task) for task in asyncio.all_tasks() - before)


# Writes


async def test_a_write_is_sent_with_its_exact_body(flexport, client):
    bodies = []

    async def keep(request):
        bodies.append(await request.read())
        return answer(envelope({"id": 9}), 201)(request)

    flexport.script.append(keep)
    found = await client.send("POST", "/bookings", b'{"name": 1.10}', "write")
    assert (found.text, found.status, bodies) == (b'{"id": 9}', 201, [b'{"name": 1.10}'])
    with pytest.raises(InvalidError, match="method"):
        await client.send("DELETE", "/bookings/1", b"", "write")


@pytest.mark.parametrize(
    "fault",
    [reset, cut_short, html(500), answer({}, 502), answer({}, 503, Retry_After="1"), answer({}, 408), html(200),
     answer(b'{"data": {'), answer(envelope(None)), answer(b"", 302, Location="/x"), answer(b"", 204),
     answer(envelope(None, {"status": 503, "message": "x"}))],
)  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_write_whose_fate_is_not_known_is_never_sent_again(flexport, client, fault, method):
    flexport.script.append(fault)
    flexport.usual = answer(envelope({"id": 9}))
    with pytest.raises(UnknownOutcomeError) as caught:
        await client.send(method, "/bookings/1", b"{}", "write")
    assert caught.value.permanent
    assert len(flexport.asked) == 1


async def test_a_write_that_did_not_answer_in_time_is_unknown(flexport, hurry):
    flexport.gate = asyncio.Event()
    async with opened(flexport, hurry, timeout=0.2) as client:
        with pytest.raises(UnknownOutcomeError):
            await client.send("POST", "/bookings", b"{}", "write")
    flexport.gate.set()
    assert len(flexport.asked) == 1


async def test_a_write_that_was_refused_for_the_rate_is_sent_again(flexport, client):
    flexport.script.append(answer({}, 429, Retry_After="1"))
    flexport.usual = answer(envelope({"id": 9}))
    await client.send("POST", "/bookings", b"{}", "write")
    assert len(flexport.asked) == 2


@pytest.mark.parametrize(("status", "kind"), REFUSALS)
async def test_a_refused_write_is_told(flexport, client, status, kind):
    flexport.script.append(answer({"error": {"message": "name can't be blank"}}, status))
    with pytest.raises(kind, match="name can't be blank"):
        await client.send("POST", "/products", b"{}", "write")


async def test_a_write_without_a_connection_is_known_not_to_have_happened(hurry):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # nobody listens
        rules = ClientRules(f"http://127.0.0.1:{held.getsockname()[1]}", requests_per_second=1000, patience=3)
        async with Client(rules, ApiKeyAuth(KEY), hurry) as client:
            with pytest.raises(FlexportUnavailableError) as caught:
                await client.send("POST", "/bookings", b"{}", "write")
            assert not caught.value.sent
            assert client.calls.totals()["write"]["calls"] > 1  # it was tried again


# Downloads


class Kept(list):
    async def __call__(self, piece):
        self.append(piece)


async def test_a_file_is_streamed(flexport, client):
    flexport.script.append(answer(b"%PDF" + b"x" * 300_000, Content_Type="Application/PDF; x=1", X_Request_Id="r"))
    kept = Kept()
    found = await client.download("/documents/-a/download", "interactive", kept, 1 << 20)
    assert b"".join(kept) == b"%PDF" + b"x" * 300_000
    assert (found.media_type, found.size, found.status, found.request_id) == ("application/pdf", 300_004, 200, "r")
    assert len(kept) > 1


async def test_a_redirected_file_is_fetched_without_the_bearer(flexport, client):
    async with FlexportDouble().running() as store:
        store.usual = answer(b"file", Content_Type="application/pdf")
        flexport.script.append(answer(b"", 302, Location="/documents/moved"))
        flexport.script.append(answer(b"", 307, Location=f"{store.url}/bucket/x?sig=%2Fa"))
        kept = Kept()
        await client.download("/documents/a/download", "refresh", kept, 100)
        assert (kept, store.asked[0].raw_path) == ([b"file"], "/bucket/x?sig=%2Fa")
        assert "Authorization" not in store.asked[0].headers
        assert KEY not in repr(store.asked[0].raw_headers)
        assert [request.headers["Authorization"] for request in flexport.asked] == [f"Bearer {KEY}"] * 2

        for status, kind in ((401, RejectedError), (404, RejectedError)):
            store.usual = answer(b"<xml/>", status)
            flexport.script.append(answer(b"", 302, Location=f"{store.url}/bucket/x"))
            with pytest.raises(kind, match="store"):
                await client.download("/documents/a/download", "refresh", kept, 100)


async def test_nobody_leads_a_download_back_with_the_bearer(flexport, client):
    async with FlexportDouble().running() as store:
        store.usual = answer(b"", 302, Location=f"{flexport.url}/secret")
        flexport.script += [answer(b"", 302, Location=f"{store.url}/bucket"), answer(b"public")]
        await client.download("/documents/a/download", "refresh", Kept(), 100)
        assert "Authorization" in flexport.asked[0].headers
        assert "Authorization" not in flexport.asked[1].headers
        assert KEY not in repr(flexport.asked[1].raw_headers)


@pytest.mark.parametrize(
    "location", ["", "ftp://x/y", "file:///etc/passwd", "http://u:p@127.0.0.1/", "http://[x", "//"]
)
async def test_a_redirect_to_nowhere_is_malformed(flexport, hurry, location):
    flexport.usual = answer(b"", 302, Location=location)
    async with opened(flexport, hurry, patience=0) as client:
        with pytest.raises(FlexportError) as caught:
            await client.download("/documents/a/download", "refresh", Kept(), 100)
        assert isinstance(caught.value, MalformedResponseError)


async def test_redirects_end(flexport, hurry):
    flexport.usual = answer(b"", 302, Location="/documents/a/download")
    async with opened(flexport, hurry, patience=0) as client:
        with pytest.raises(MalformedResponseError, match="redirects"):
            await client.download("/documents/a/download", "refresh", Kept(), 100)
    assert len(flexport.asked) == 4


async def test_what_is_no_file_is_not_passed_on(flexport, hurry):
    async with opened(flexport, hurry, patience=0) as client:
        kept = Kept()
        for told, kind in (
            (html(), MalformedResponseError),
            (html(500), FlexportUnavailableError),
            (answer({"error": {"message": "gone"}}, 404), NotFoundAtFlexportError),
            (answer(envelope(None, {"status": 404, "message": "gone"})), NotFoundAtFlexportError),
            (answer(b"x" * 101, Content_Type="application/pdf"), ResponseTooLargeError),
        ):
            flexport.script.append(told)
            with pytest.raises(kind):
                await client.download("/documents/a/download", "refresh", kept, 100)
        assert kept == []
        flexport.script.append(answer(b'{"a": 1}'))
        await client.download("/documents/a/download", "refresh", kept, 100)
        assert kept == [b'{"a": 1}']


async def test_a_file_that_grows_too_large_or_breaks_off_is_not_begun_again(flexport, client):
    async def unsized(request):
        response = aiohttp.web.StreamResponse(headers={"Content-Type": "application/pdf"})
        await response.prepare(request)
        for _ in range(30):
            await response.write(b"x" * 10_000)
        if flexport.script:
            await response.write_eof()
        else:
            request.transport.abort()
        return response

    flexport.script.extend([unsized, unsized])
    with pytest.raises(ResponseTooLargeError):
        await client.download("/documents/a/download", "refresh", Kept(), 100_000)
    with pytest.raises((MalformedResponseError, FlexportUnavailableError)):
        await client.download("/documents/a/download", "refresh", Kept(), 1 << 20)
    assert len(flexport.asked) == 2


async def test_a_sink_that_fails_is_its_own_error(flexport, client):
    async def full(_piece):
        raise OSError(28, "No space left on device")

    flexport.usual = answer(b"file", Content_Type="application/pdf")
    with pytest.raises(OSError, match="No space"):
        await client.download("/documents/a/download", "refresh", full, 100)
    assert len(flexport.asked) == 1
    assert client.state()["rate_limit"]["in_flight"] == 0


# What is told


async def test_every_attempt_is_booked_to_its_purpose(flexport, client):
    flexport.script.extend([html(500), answer(envelope(SHIPMENT))])
    await client.get("/shipments", "7", "refresh")
    ((_, purpose, resource), sums), *_ = client.calls.take().items()
    assert (purpose, resource, sums[:3]) == ("refresh", "/shipments", (2, 1, 1))
    assert sums[3] > 50
    assert client.state()["calls"]["refresh"]["calls"] == 2


async def test_the_status_says_whether_the_key_is_accepted(flexport, client):
    assert client.state()["auth"]["authorised"] is None
    flexport.script.append(answer({}, 403))
    with pytest.raises(ForbiddenAtFlexportError):
        await client.get("/shipments", "7", "refresh")
    assert client.state()["auth"]["authorised"] is True
    flexport.script.append(answer({"errors": [{"message": "Bad token"}]}, 401))
    with pytest.raises(UnauthorisedError):
        await client.get("/shipments", "7", "refresh")
    state = client.state()
    assert (state["auth"]["kind"], state["auth"]["authorised"]) == ("api_key", False)
    assert "Bad token" in state["auth"]["reason"]
    assert KEY not in json.dumps(state)


async def test_times_are_on_flexports_clock(flexport, client, hurry):
    ahead = (hurry.now() + timedelta(hours=1)).replace(microsecond=0)
    flexport.script.append(answer(envelope(SHIPMENT), Date=format_datetime(ahead, usegmt=True)))
    found = await client.get("/shipments", "7", "sync")
    assert found.date == stamp(ahead)
    assert stamp(ahead - timedelta(seconds=10)) <= found.started_at <= found.date
    assert client.now() >= found.started_at
    never = answer({}, 404, Date="Wed, 01 Jan 2020 12:00:00 GMT")
    flexport.script.append(never)
    with pytest.raises(NotFoundAtFlexportError) as caught:
        await client.get("/shipments", "7", "sync")
    assert caught.value.response.started_at >= found.started_at
    assert client.state()["clock"]["ignored"] == 1


async def test_the_key_is_in_no_log_and_no_repr(flexport, client, caplog):
    caplog.set_level(logging.DEBUG)
    flexport.script.append(reset)
    await client.page("/shipments", {}, 1, "sync")
    assert KEY not in caplog.text
    assert KEY not in repr(Request("GET", "http://h/", {"Authorization": f"Bearer {KEY}"}))


def all_kinds(kind):
    for below in kind.__subclasses__():
        yield below
        yield from all_kinds(below)


def test_each_error_of_aiohttp_has_one_of_ours():
    unsent = set()
    for kind in {aiohttp.ClientError, *all_kinds(aiohttp.ClientError)}:
        error = kind.__new__(kind)
        BaseException.__init__(error)
        if isinstance(error, aiohttp.ClientConnectorError):
            error = aiohttp.ClientConnectorError(_Key(), OSError(111, "refused"))
        elif isinstance(error, aiohttp.ClientResponseError):
            error = aiohttp.ClientResponseError(None, (), message="bad")
        elif isinstance(error, aiohttp.InvalidURL):
            error = aiohttp.InvalidURL("http://x")
        ours = translate(error, Request("GET", "http://h/x", {}))
        assert isinstance(ours, FlexportUnavailableError | MalformedResponseError), kind
        if not ours.sent:
            unsent.add(type(error).__name__)
    assert unsent == {"ClientConnectorError", "ConnectionTimeoutError", "InvalidURL"}


class _Key:
    host, port, ssl, is_ssl = "h", 1, True, False


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError("cut"),
        aiohttp.SocketTimeoutError(),
        TimeoutError(),
        aiohttp.ClientOSError(104, "reset"),
        ConnectionResetError(104, "reset"),
    ],
)
async def test_an_odd_error_of_a_write_is_an_unknown_outcome_and_of_a_read_is_tried_again(hurry, error):
    rules = ClientRules("http://flexport.test", requests_per_second=1000)
    with aioresponses() as mocked:
        async with Client(rules, ApiKeyAuth(KEY), hurry) as client:
            mocked.post("http://flexport.test/bookings", exception=error)
            with pytest.raises(UnknownOutcomeError):
                await client.send("POST", "/bookings", b"{}", "write")
            asked = "http://flexport.test/shipments?page=1&per=100"
            mocked.get(URL(asked), exception=error)
            mocked.get(URL(asked), payload=listing([SHIPMENT]))
            assert len((await client.page("/shipments", {}, 1, "sync")).rows) == 1


# The recorded Flexport


@pytest.mark.skipif(not SHARED.is_dir(), reason="the stand-in is not here")
async def test_every_object_of_the_recorded_account_comes_as_it_is(hurry):
    dumps = sorted((SHARED / "recorded").glob("*.json"))
    process = subprocess.Popen(
        [sys.executable, SHARED / "standin" / "flexport.py", "--dump", *dumps], stdout=subprocess.PIPE
    )
    try:
        told = json.loads(await asyncio.to_thread(process.stdout.readline))
        rules = ClientRules(f"http://127.0.0.1:{told['port']}", requests_per_second=1000)
        async with Client(rules, ApiKeyAuth("recorded-key"), hurry) as client, aiohttp.ClientSession() as session:
            async with session.get(f"{rules.base_url}/_ctl/store") as response:
                store = await response.json()
            for path, name in (
                ("/shipments", "/shipment"),
                ("/shipment_legs", "/shipment_leg"),
                ("/documents", "/document"),
            ):
                rows, number, more = [], 0, True
                while more:
                    number += 1
                    page = await client.page(path, {}, number, "sync")
                    rows += [json.loads(row) for row in page.rows]
                    more = page.has_next
                by_id = {str(row["id"]): row for row in rows}
                assert by_id == {str(row["id"]): row for row in store[name]}
                assert page.total_count == len(rows)
            for fault in ("429", "500", "html", "reset", "truncate"):
                body = {"path": "/documents", "kind": fault, "times": 2}
                await (await session.post(f"{rules.base_url}/_ctl/fault", json=body)).read()
                assert (await client.page("/documents", {}, 1, "sync")).rows
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
