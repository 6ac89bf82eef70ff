"""What every answer's headers say of storing, of transport, and of what made it: nothing more than is needed."""

import asyncio
import itertools
import ssl
import subprocess

import aiohttp
import pytest

from flexportd.expose.middleware import RequestPipeline
from flexportd.settings import Settings
from tests.events import event, shipment
from tests.under_test import start

HSTS = "Strict-Transport-Security"
PATHS = [
    "/api/v1/shipments", "/api/v1/shipments/1", "/api/v1/shipments?format=csv", "/api/v1/shipments?format=ndjson",
    "/api/v1/shipments/1/documents.zip", "/api/v1/stream", "/api/v1/status", "/api/v1/openapi.json", "/api/v1/docs",
    "/api/v1/keys", "/calendar.ics", "/metrics", "/healthz", "/readyz", "/", "/shipments/1", "/queue", "/nothing",
    "/api/v1/nothing", "/api/v1/shipments/99", "/api/v1/shipments?limit=x", "/s/fxs_x", "/api/v1/shared/fxs_x",
    "/static/nothing.css",
]  # fmt: skip


@pytest.fixture
async def filled(daemon):
    await daemon.receive(event(shipment(1)))
    await daemon.settled()
    return daemon


async def test_no_answer_may_be_stored_or_tells_what_made_it(filled):
    for path, method in itertools.product(PATHS, ("GET", "HEAD", "POST", "OPTIONS", "DELETE")):
        if path == "/api/v1/keys" and method == "POST":
            continue
        async with filled.http.request(method, filled.url + path, allow_redirects=False) as answer:
            assert "Server" not in answer.headers, (path, method)
            assert answer.headers["Cache-Control"] == "no-store", (path, method)
            assert answer.headers["X-Content-Type-Options"] == "nosniff", (path, method)
            assert HSTS not in answer.headers, (path, method)
            answer.close()


async def test_an_etag_still_spares_the_body(filled):
    for path in ("/api/v1/shipments", "/api/v1/shipments/1", "/calendar.ics", "/"):
        async with filled.http.get(filled.url + path) as first:
            etag = first.headers["ETag"]
        async with filled.http.get(filled.url + path, headers={"If-None-Match": etag}) as again:
            assert again.status == 304, path
            assert again.headers["Cache-Control"] == "no-store"
            assert "Server" not in again.headers


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 50 + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"POST /webhooks/flexport HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nExpect: the-moon\r\nConnection: close\r\n\r\n",
    ],
    ids=["tls", "version", "header", "chunk", "length", "expect"],
)
async def test_answers_that_aiohttp_makes_tell_nothing_either(filled, sent):
    host, port = filled.daemon.addresses[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
    writer.close()
    assert b"\r\nserver:" not in head
    assert b"aiohttp" not in head
    assert b"\r\ncache-control: no-store\r\n" in head


async def test_a_failure_before_the_application_tells_nothing_either(filled, monkeypatch):
    async def fail(self, request, request_id):
        raise RuntimeError("hidden")

    monkeypatch.setattr(RequestPipeline, "_via_router", fail)
    async with filled.http.get(filled.url + "/api/v1/nothing") as answer:
        text = await answer.text()
        assert (answer.status, answer.headers["Content-Type"]) == (500, "application/problem+json")
        assert "Server" not in answer.headers
        assert "hidden" not in text
        assert "Traceback" not in text


# --- https alone ---


async def test_a_proxy_that_encrypts_keeps_browsers_on_https(tmp_path, clock):
    settings = {"server.public_url": "https://freight.example.com", "server.trusted_proxies": ["127.0.0.1"]}
    async with start(Settings.for_tests(tmp_path, **settings), clock) as daemon:
        for path in ("/healthz", "/api/v1/shipments", "/", "/static/nothing.css"):
            for proto, sent in ((None, True), ("https", True), ("http", False)):
                headers = {} if proto is None else {"X-Forwarded-Proto": proto}
                async with daemon.http.get(daemon.url + path, headers=headers) as answer:
                    assert (HSTS in answer.headers) is sent, (path, proto)
        async with daemon.http.post(daemon.url + "/webhooks/flexport", data=b"{}") as answer:
            assert answer.headers[HSTS] == "max-age=31536000"


@pytest.mark.parametrize(
    "settings",
    [
        {"server.public_url": "https://freight.example.com"},  # whoever connects is no proxy that is known
        {"server.public_url": "http://freight.example.com", "server.trusted_proxies": ["127.0.0.1"]},
        {"server.trusted_proxies": ["127.0.0.1"]},
    ],
)
async def test_who_does_not_come_by_https_is_not_told_so(tmp_path, clock, settings):
    async with (
        start(Settings.for_tests(tmp_path, **settings), clock) as daemon,
        daemon.http.get(daemon.url + "/healthz", headers={"X-Forwarded-Proto": "https"}) as answer,
    ):
        assert HSTS not in answer.headers


async def test_our_own_tls_keeps_browsers_on_https(tmp_path, clock):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
               "-keyout", str(key), "-out", str(cert)]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("there is no openssl to make a certificate with")
    settings = {"server.tls_cert": str(cert), "server.tls_key": str(key), "api.require_key": False}
    async with start(Settings.for_tests(tmp_path, **settings), clock) as daemon:
        context = ssl.create_default_context(cafile=str(cert))
        context.check_hostname = False
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http:
            url = daemon.url.replace("http://", "https://")
            for path in ("/healthz", "/api/v1/shipments", "/api/v1/shipments", "/api/v1/shipments?format=csv", "/"):
                async with http.get(url + path) as answer:
                    assert answer.headers[HSTS] == "max-age=31536000", path
            async with http.post(url + "/webhooks/flexport", data=b"{}") as answer:
                assert HSTS in answer.headers
