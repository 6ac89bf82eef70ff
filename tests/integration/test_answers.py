"""The bytes on the wire: our ready-made answers must be what an HTTP client expects of aiohttp's own."""

import asyncio

import pytest

from flexportd.flexport.signature import sign
from tests.events import event, shipment
from tests.under_test import SECRET


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
    before = filled.daemon.parts.cache.hits
    writer.write(get("/api/v1/shipments/910233") * 20_000)
    answered = -1
    while answered != (answered := filled.daemon.parts.cache.hits - before):
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
    await daemon.daemon.parts.jobs.ended("cache_warm")
    assert (await daemon.get("/jobs/cache_warm"))["last_run"]["message"] == "4 of 4 responses cached"
