"""Who sends a byte at a time, or nothing at all, is told so and does not hold anything for long."""

import asyncio
import json
import re

import aiohttp
import pytest

from flexportd.daemon import server
from flexportd.http import request_bodies
from tests.under_test import start

BOUND = 0.3


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(request_bodies, "BODY_TIMEOUT", BOUND)


async def _trickle(daemon, head, pieces):
    """Send the head, then piece by piece until the server has answered: the head of its answer, and the body."""
    host, port = daemon.daemon.addresses[0].rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head)

    async def send():
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(BOUND / 20)

    sending = asyncio.get_running_loop().create_task(send())
    try:
        async with asyncio.timeout(15):
            answer = await reader.readuntil(b"\r\n\r\n")
            if answer.startswith(b"HTTP/1.1 100"):
                answer = await reader.readuntil(b"\r\n\r\n")
            return answer, await reader.readexactly(int(re.search(rb"Content-Length: (\d+)", answer)[1]))
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.close()


def _chunks():
    return [b"1\r\n \r\n"] * 2000


WEBHOOK = b"/webhooks/flexport"
KINDS = {
    "webhook": (WEBHOOK, b"application/json"),
    "keys": (b"/api/v1/keys", b"application/json"),
    "discard": (b"/api/v1/dead-letters/1/discard", b"application/json"),
    "share": (b"/api/v1/shipments/1/shares", b"application/json"),
    "form": (b"/queue/dead-letters/1/discard", b"application/x-www-form-urlencoded"),
    "sync form": (b"/sync/accept", b"application/x-www-form-urlencoded"),
    "multipart": (b"/sync/accept", b"multipart/form-data; boundary=x"),
}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("expects", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_body_that_trickles_in_is_given_up(daemon, kind, chunked, expects):
    path, media = KINDS[kind]
    length = b"Transfer-Encoding: chunked\r\n" if chunked else b"Content-Length: 2000\r\n"
    more = b"Expect: 100-continue\r\n" if expects else b""
    head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: %b\r\nX-Hub-Signature-256: sha256=%b\r\n%b%b\r\n" % (
        path,
        media,
        b"0" * 64,
        length,
        more,
    )
    head, body = await _trickle(daemon, head, _chunks() if chunked else [b" "] * 1999)
    assert head.startswith(b"HTTP/1.1 408 "), (head, body)
    assert b"Content-Type: application/problem+json" in head
    assert b"Connection: close" in head
    assert json.loads(body)["type"] == "urn:flexportd:problem:request-timeout"
    async with aiohttp.ClientSession() as http, http.get(f"{daemon.url}/healthz") as other:
        assert other.status == 200


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: "])
async def test_who_does_not_send_a_whole_head_is_cut_off(settings, clock, monkeypatch, sent):
    monkeypatch.setattr(server, "KEEPALIVE_TIMEOUT", BOUND)
    async with start(settings, clock) as daemon:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await _trickle(daemon, sent, [b"x"] * 2000 if b"X-A" in sent else [])
