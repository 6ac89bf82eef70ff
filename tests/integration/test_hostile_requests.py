"""Whatever bytes a client sends: it gets an answer or an end, never a 500, and everybody else is served as before."""

import asyncio
import contextlib
import os
import re
import socket
import tempfile
import threading
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flexportd.clock import Clock
from flexportd.settings import Settings
from tests.events import container, event, shipment
from tests.under_test import start

EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "60"))
PATIENCE = 10.0  # seconds for an answer, on a machine with much else to do
QUIET = 0.1  # seconds without a byte, after which a hostile client goes away
MOST = 1 << 20  # bytes of an answer that are read

PATHS = (
    "/", "/healthz", "/readyz", "/metrics", "/api/v1/status", "/api/v1/shipments", "/api/v1/shipments/1",
    "/api/v1/shipments/FLEX-1", "/api/v1/shipments/1/history", "/api/v1/shipments/1/timeline", "/api/v1/events",
    "/api/v1/events/7", "/api/v1/search", "/api/v1/stream", "/api/v1/openapi.json", "/api/v1/why/shipments/1",
    "/api/v1/gaps", "/api/v1/dead-letters", "/api/v1/containers", "/api/v1/documents/1/file", "/api/v1/keys",
    "/calendar.ics", "/shipments", "/shipments/1", "/gaps", "/queue", "/static/app.css", "/webhooks/flexport", "/s/x.y",
    "/api/v1/nothing", "*", "http://localhost/api/v1/status", "http://evil.example/", "//evil.example/x", "localhost:80",
)  # fmt: skip
METHODS = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "get",
    "PRI",
    "X" * 300,
    "G\x00T",
)
VERSIONS = (
    "HTTP/1.1",
    "HTTP/1.1",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/1.2",
    "HTTP/2.0",
    "HTTP/0.9",
    "HTTP/11",
    "",
    "HTTP/1.1 x",
)
QUERIES = (
    "limit", "cursor", "sort", "fields", "include", "format", "q", "status", "as_of", "updated_since", "topics",
    "shipment", "last_event_id", "archived", "mode", "types", "from", "to", "x",
)  # fmt: skip
VALUES = (
    "", "1", "-1", "0", "500", "9" * 30, "1e9", "NaN", "null", "true", "id", "-id", "%", "%%%", "%zz", "%00", "%0d%0a", "%ff",
    "%c3%28", "%ed%a0%80", "%F0%9F%98%80", "+", "a,b,,c", ",", "'", '"', "\\", "../../etc/passwd", "2026-03-04", "0000-00-00",
    "2026-03-04T00:00:00Z", "9999-12-31T23:59:59-14:00", "1-0.0123456789ab", "csv", "csv-bom", "ndjson", "shipment.*",
    "*" * 50, "A" * 1100, "W10", "WyJpZCIsdHJ1ZSxudWxsLDEsMCwiIiwiIl0", "eyJ9", "=" * 8, "\u0663", "FLEX-1",
)  # fmt: skip
HEADERS = (
    "Host", "Content-Length", "Transfer-Encoding", "Content-Type", "Content-Encoding", "Accept", "Accept-Encoding",
    "Accept-Language", "Authorization", "Cookie", "Connection", "Upgrade", "Expect", "Range", "If-Range", "If-None-Match",
    "If-Match", "If-Modified-Since", "Last-Event-ID", "Origin", "Sec-Fetch-Site", "X-Request-Id", "X-Forwarded-For",
    "Forwarded", "X-Flexport-Hmac-Sha256", "Referer", "TE", "Trailer", "Idempotency-Key", "Sec-WebSocket-Key",
    "Access-Control-Request-Method", "HTTP2-Settings", "", " ", "Bad Name", "X:Y", "N\u00e4me",
)  # fmt: skip
HEADER_VALUES = (
    "", " ", "localhost", "127.0.0.1:1", "[::1", "evil.example", "a" * 9000, "0", "-1", "+5", "5", "5, 5", "99999999999999999999",
    "0x10", "chunked", "gzip, chunked", "identity", "chunked, chunked", "application/json", "text/html", "*/*", "a/b;q=",
    "*/*;q=1e400", "gzip;q=0, *;q=0", "zstd", "br", "gzip, zstd;q=nan", "Bearer", "Bearer ", "Bearer x", "Basic", "Basic !!!",
    "Basic Og==", "Basic /////w==", "Negotiate x", "keep-alive", "close", "upgrade", "h2c", "websocket", "100-continue",
    "bytes=0-", "bytes=-", "bytes=-0", "bytes=5-1", "bytes=0-0,1-1", "bytes=" + "0-0," * 200, "bytes=99999999999999999999-",
    "items=0-1", '"x"', 'W/"x"', "*", '"' * 100, "," * 500, "Thu, 01 Jan 1970 00:00:00 GMT", "not a date", "1-0", "0", "\u0663",
    "http://evil.example", "null", "cross-site", "for=unknown;;;=", "1.2.3.4, , x", "\x01\x02", "a=b; " * 300, "\xff\xfe", "=;=;",
)  # fmt: skip
BODIES = (
    b"", b"{}", b"[]", b"null", b"{", b"\xff", b"[" * 5000, b'{"a":' * 500, b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"-1\r\n\r\n",
    b"FFFFFFFFFFFFFFFFF\r\nx", b'5;ext="\r\nhello\r\n0\r\n\r\n', b"0\r\nTrailer: x\r\n\r\n", b"5\nhello\n0\n\n", b"1\r\na",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"a" * 70_000, b"name=x&name=y", b"\x1f\x8b\x08\x00garbage",
)  # fmt: skip

words = st.one_of(st.sampled_from(VALUES), st.text(max_size=12).map(lambda text: quote(text, errors="replace")))
queries = st.lists(st.tuples(st.sampled_from(QUERIES), words), max_size=3).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
)
targets = st.builds(
    lambda path, more, query: path + more + (f"?{query}" if query else ""),
    st.sampled_from(PATHS),
    st.sampled_from(("",) * 12 + ("/", "/../x", "/%2e%2e/", "%2f", "%00", "%ff", ";x", "#f", "//", "/" + "a" * 3000)),
    queries,
)
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
headers = st.tuples(st.sampled_from(HEADERS), st.sampled_from(HEADER_VALUES) | printable)
FRAMING = ("Content-Length", "Transfer-Encoding", "Expect", "Upgrade", "Connection")


@st.composite
def sound(draw):
    """A request that the parser lets through, mostly: what is odd about it is for those behind."""
    head = [f"{draw(st.sampled_from(METHODS[:7] + ('GET',) * 8))} {draw(targets)} HTTP/1.1", "Host: localhost"]
    chosen = draw(st.lists(headers, max_size=4))
    head += [f"{name}: {value}" for name, value in chosen if name.isascii() and name not in (*FRAMING, "", " ", "Host")]
    body = draw(st.sampled_from((b"",) * 3 + BODIES))
    if body:
        head.append(f"Content-Length: {len(body)}")
    text = "\r\n".join(line for line in head if line.isprintable()) + "\r\n\r\n"
    return text.encode() + body


@st.composite
def broken(draw):
    """A request that the parser may stumble over."""
    method, target, version = draw(st.sampled_from(METHODS)), draw(targets), draw(st.sampled_from(VERSIONS))
    head = [f"{method} {target} {version}".rstrip()]
    if draw(st.integers(0, 9)):
        head.append("Host: localhost")
    head += [f"{name}: {value}" for name, value in draw(st.lists(headers, max_size=5))]
    body = draw(st.sampled_from(BODIES))
    if draw(st.booleans()):
        head.append(draw(st.sampled_from((f"Content-Length: {len(body)}", "Transfer-Encoding: chunked"))))
    end = draw(st.sampled_from(("\r\n",) * 6 + ("\n", "\r", " \r\n", "\r\n\t")))
    data = (end.join(head) + "\r\n\r\n").encode() + body
    if draw(st.integers(0, 3)) == 0:
        place = draw(st.integers(0, min(len(data), 200)))
        data = data[:place] + draw(st.binary(max_size=3)) + data[place + draw(st.integers(0, 2)) :]
    return data


class Served:
    """A daemon in a thread of its own; what its loop could not deal with is in `unhandled`."""

    def __init__(self, folder: Path) -> None:
        self.unhandled: list[str] = []
        self._folder = folder
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(30)

    async def _serve(self):
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(lambda _, context: self.unhandled.append(str(context)))
        async with start(Settings.for_tests(self._folder), Clock()) as daemon:
            await daemon.receive(event(shipment(1, name="Lamps")), event(container(2), id=9))
            await daemon.post(b'{"id": 7, "type": "x", "data": "y"}')
            await daemon.settled()
            host, _, port = daemon.daemon.addresses[0].rpartition(":")
            self.address, self.tasks = (host, int(port)), daemon.daemon.tasks
            self._ready.set()
            await self._over.wait()

    def ask(self, data: bytes, patience: float = PATIENCE) -> bytes:
        """What comes back until nothing more does."""
        found = b""
        # It may be refused in the middle; and what is no whole request is waited for.
        with (
            contextlib.suppress(ConnectionError, TimeoutError),
            socket.create_connection(self.address, timeout=PATIENCE) as sock,
        ):
            sock.sendall(data)
            sock.settimeout(patience)
            while len(found) < MOST and (piece := sock.recv(65_536)):
                found += piece
        return found


@pytest.fixture(scope="module")
def served():
    with tempfile.TemporaryDirectory(prefix="fxd-") as folder, Served(Path(folder)) as found:
        yield found


def statuses(answer: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"^HTTP/1\.[01] (\d{3})", answer, re.MULTILINE)]


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@example(b"GET / HTTP/1.1\r\n\r\n")
@example(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # TLS
@example(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
@given(st.one_of(sound(), sound(), broken(), st.binary(max_size=100)))
def test_any_request_is_answered_or_ended_and_others_are_served(served, data):
    found = served.ask(data, QUIET)
    assert not found or found.startswith(b"HTTP/1."), found[:300]
    assert all(status < 500 or status == 503 for status in statuses(found)), (data, found[:600])
    assert b"Traceback" not in found
    assert statuses(served.ask(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")) == [200]
    assert served.unhandled == []
    assert served.tasks.dead == {}
