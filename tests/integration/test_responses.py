"""The bytes on the wire: our ready-made answers must be what an HTTP client expects of aiohttp's own."""

import asyncio
import json
import threading

import pytest
from aiohttp import web

from flexportd.flexport.webhook_signature import sign
from tests.events import event, shipment
from tests.under_test import SECRET, start


async def raw(daemon, request: bytes, *, until_closed: bool = False) -> bytes:
    host, port = daemon.daemon.addresses[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    try:
        async with asyncio.timeout(5):
            if until_closed:
                return await reader.read()
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
            )
            return head + (await reader.readexactly(length) if not request.startswith(b"HEAD") else b"")
    finally:
        writer.close()


def get(path: str, *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: localhost", *lines, "", ""]).encode()


@pytest.fixture
async def filled(daemon):
    await daemon.receive(event(shipment()))
    await daemon.settled()
    return daemon


async def test_the_head_of_an_answer(filled):
    head, _, body = (await raw(filled, get("/api/v1/shipments/910233"))).partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    fields = dict(line.split(": ", 1) for line in lines[1:])
    assert fields["Content-Type"] == "application/json; charset=utf-8"
    assert int(fields["Content-Length"]) == len(body)
    assert fields["Date"].endswith(" GMT")
    assert fields["Cache-Control"] == "no-store"
    assert "Server" not in fields
    assert fields["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in fields["Content-Security-Policy"]
    assert fields["Etag"].startswith('"')
    assert "Connection" not in fields


async def test_head_has_the_headers_and_no_body(filled):
    answer = await raw(filled, get("/api/v1/shipments/910233", "Connection: close", method="HEAD"), until_closed=True)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b""
    assert b"Content-Length: " in head
    assert b"Content-Length: 0" not in head


async def test_keep_alive_serves_request_after_request_and_close_closes(filled):
    two = get("/healthz") + get("/healthz", "Connection: close")
    answer = await raw(filled, two, until_closed=True)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.count(b"Connection: close") == 1


async def test_http_1_0_closes_unless_asked_to_stay(filled):
    assert b"Connection: close" in await raw(filled, get("/healthz", version="1.0"), until_closed=True)
    assert b"Connection: keep-alive" in await raw(filled, get("/healthz", "Connection: keep-alive", version="1.0"))


@pytest.mark.parametrize("path", ["/api/v1/shipments/910233", "/api/v1/shipments", "/api/v1/shipments/910233/timeline"])
async def test_an_etag_answers_304_until_something_changes(filled, path):
    async with filled.http.get(filled.url + path) as first:
        etag = first.headers["ETag"]
    for wanted in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        async with filled.http.get(filled.url + path, headers={"If-None-Match": wanted}) as again:
            assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", etag)
    await filled.receive(
        event(
            shipment(
                status="arrival_port", updated_at="2026-04-01T00:00:00Z", actual_arrival_date="2026-04-01T12:00:00Z"
            ),
            shipment=None,
        )
    )
    await filled.settled()
    async with filled.http.get(filled.url + path, headers={"If-None-Match": etag}) as changed:
        assert changed.status == 200
        assert changed.headers["ETag"] != etag


async def test_gzip_is_given_to_those_who_ask(filled):
    plain = await raw(filled, get("/api/v1/shipments"))
    zipped = await raw(filled, get("/api/v1/shipments", "Accept-Encoding: gzip, br"))
    assert b"Content-Encoding: gzip" in zipped
    assert b"Content-Encoding" not in plain
    assert len(zipped) < len(plain)
    assert b"Vary: Accept-Encoding" in plain


async def test_a_reader_that_does_not_read_is_not_answered_without_end(filled):
    """Requests sent ahead wait until the answers before them are read."""
    host, port = filled.daemon.addresses[0].split(":")
    _, writer = await asyncio.open_connection(host, int(port), limit=1 << 16)
    before = filled.daemon.cache.hits
    writer.write(get("/api/v1/shipments/910233") * 20_000)
    answered = -1
    while answered != (answered := filled.daemon.cache.hits - before):
        for _ in range(100):  # the others are served meanwhile
            await filled.get("/queue")
    assert 0 < answered < 10_000
    writer.close()


async def test_a_webhook_through_a_proxy_may_carry_any_host(filled):
    body = b"{}"
    head = "POST /webhooks/flexport?from=proxy HTTP/1.1\r\nHost: freight.example\r\nContent-Type: application/json\r\n"
    answer = await raw(
        filled, f"{head}X-Hub-Signature-256: {sign(body, SECRET)}\r\nContent-Length: 2\r\n\r\n".encode() + body
    )
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_100_continue_is_answered(daemon):
    host, port = daemon.daemon.addresses[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /webhooks/flexport HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\nContent-Type: application/json\r\nX-Hub-Signature-256: x\r\n\r\n"
    )
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).startswith(b"HTTP/1.1 100 Continue")
    writer.write(b"{}")
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).startswith(b"HTTP/1.1 401 ")
    writer.close()


async def test_a_header_cannot_be_smuggled_through_an_answer(daemon):
    answer = await raw(daemon, get("/api/v1/shipments/1%0d%0aX-Evil:%201"))
    assert b"\r\nX-Evil" not in answer


async def test_what_is_built_ahead_of_requests_are_pages_too(daemon):
    await daemon.receive(event(shipment()))
    await daemon.settled()
    await daemon.call("/jobs/cache_warm/run", status=202)
    await daemon.daemon.scheduler.wait_until_idle("cache_warm")
    assert (await daemon.get("/jobs/cache_warm"))["last_run"]["message"] == "4 of 4 responses cached"


@pytest.fixture
def served(filled, monkeypatch):
    """The requests for which aiohttp made an object; the others were answered at once."""
    paths = []
    original = web.Request.__init__

    def note(self, message, *arguments, **options):
        paths.append(message.path)
        original(self, message, *arguments, **options)

    monkeypatch.setattr(web.Request, "__init__", note)
    return paths


async def test_a_cached_answer_and_a_webhook_take_no_request_object_and_look_the_same(filled, served):
    path = "/api/v1/shipments/910233"
    first = await raw(filled, get(path))
    second = await raw(filled, get(path))
    assert served == [path]
    assert [without_id(one) for one in (first, second)] == [without_id(first)] * 2
    usual = filled.daemon.receiver.results["accepted"]
    assert (await filled.post(numbered(77)))[0] == 200
    assert (await filled.post(numbered(77)))[1]["status"] == "duplicate"
    assert served == [path]
    assert filled.daemon.receiver.results["accepted"] == usual + 1
    assert filled.daemon.bodies.used == 0


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Authorization: Bearer nonsense"], b"401"),
        (["Host: evil.example"], b"403"),
        (["Origin: https://evil.example"], b"200"),
        (["If-None-Match: *"], b"304"),
        (["Content-Length: 2"], b"200"),
    ],
)
async def test_what_is_not_plainly_the_same_for_everybody_is_left_to_the_application(filled, served, lines, status):
    path = "/api/v1/shipments/910233"
    await raw(filled, get(path))
    given = [f"GET {path} HTTP/1.1", *lines, *(() if lines[0].startswith("Host") else ["Host: localhost"]), "", ""]
    body = b"{}" if "Length" in lines[0] else b""
    answer = await raw(filled, "\r\n".join(given).encode() + body)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert served == [path, path]


async def test_requests_sent_ahead_are_answered_in_their_order(filled):
    host, port = filled.daemon.addresses[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    await raw(filled, get("/api/v1/shipments/910233"))
    body = numbered(78)
    head = f"POST /webhooks/flexport HTTP/1.1\r\nHost: localhost\r\nX-Hub-Signature-256: {sign(body, SECRET)}\r\n"
    webhook = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    writer.write(webhook)  # answered when it is on disk
    writer.write(get("/api/v1/shipments/910233", "X-Request-Id: two"))
    writer.write(get("/no-such-page", "X-Request-Id: three") + get("/healthz", "Connection: close"))
    answer = await asyncio.wait_for(reader.read(), 5)
    places = [
        answer.index(part)
        for part in (b'"accepted"', b"X-Request-Id: two", b"X-Request-Id: three", b"Connection: close")
    ]
    assert places == sorted(places)
    writer.close()


async def test_a_webhook_whose_sender_has_gone_is_kept_and_nothing_is_left_behind(filled):
    host, port = filled.daemon.addresses[0].split(":")
    body = numbered(79)
    head = f"POST /webhooks/flexport HTTP/1.1\r\nHost: localhost\r\nX-Hub-Signature-256: {sign(body, SECRET)}\r\n"
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    writer.transport.abort()
    pool = filled.daemon.connections.network
    async with asyncio.timeout(5):
        while filled.daemon.receiver.results["accepted"] < 2 or len(pool) > 1:
            await filled.get("/queue")
    assert filled.daemon.bodies.used == 0


async def test_a_webhook_under_way_is_answered_when_the_daemon_stops(settings, clock):
    begun, go_on, body = threading.Event(), threading.Event(), numbered(80)
    head = f"POST /webhooks/flexport HTTP/1.1\r\nHost: localhost\r\nX-Hub-Signature-256: {sign(body, SECRET)}\r\n"
    async with start(settings, clock) as under:
        database = under.daemon.queue.db
        held = asyncio.ensure_future(database.write(lambda _: begun.set() or go_on.wait(5)))
        await asyncio.to_thread(begun.wait, 5)  # else the webhook, which is urgent, could be written before it
        host, port = under.daemon.addresses[0].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        async with asyncio.timeout(5):
            while not database.writer.urgent_waiting():
                await under.get("/queue")
        asyncio.get_running_loop().call_later(0.1, go_on.set)
    assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 200 OK")
    await held
    writer.close()


def numbered(number: int) -> bytes:
    return json.dumps(event(shipment(), id=number)).encode()


def without_id(answer: bytes) -> list[bytes]:
    """An answer as its lines, without its id and the second in which it was made."""
    return [line for line in answer.split(b"\r\n") if not line.startswith((b"X-Request-Id", b"Date"))]
