"""Connections: however many are held, whoever sends a request at once is served, and nothing is held for good."""

import asyncio
import json
import os
import resource
import socket
import ssl
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from flexportd.daemon import server, sockets
from flexportd.daemon.server import Acceptor
from flexportd.errors import ConfigError
from flexportd.http import connections, responses
from flexportd.http.connections import ClientConnection, ConnectionLimits, ConnectionPool, ConnectionPools, Timeouts
from flexportd.settings import Settings
from tests.events import event, shipment
from tests.under_test import start

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
WEBHOOK = b"POST /webhooks/flexport HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CLAIM = b"X-Hub-Signature-256: sha256=" + b"0" * 64 + b"\r\n"


@pytest.fixture
async def crowded(tmp_path, clock):
    """A daemon that takes 16 connections, 8 of one address."""
    limits = {"server.max_connections": 16, "server.max_connections_per_address": 8}
    async with start(Settings.for_tests(tmp_path, **limits), clock) as daemon:
        yield daemon


@asynccontextmanager
async def connected(daemon, count, sent=b"", source=None):
    """Raw connections that have sent these bytes."""
    host, port = daemon.daemon.addresses[0].rsplit(":", 1)
    held = []
    try:
        for number in range(count):
            local = (source(number), 0) if source else None
            reader, writer = await asyncio.open_connection(host, int(port), local_addr=local)
            held.append((reader, writer))
            writer.write(sent)
            await writer.drain()
        yield held
    finally:
        for _, writer in held:
            writer.transport.abort()


def pool_of(daemon):
    return daemon.daemon.connections.network


async def until(met):
    async with asyncio.timeout(20):
        while not met():
            await asyncio.sleep(0.01)


async def answer_of(reader):
    async with asyncio.timeout(20):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r")[0])
        return head, await reader.readexactly(length)


async def end_of(reader):
    """All that comes until the connection ends."""
    found = b""
    async with asyncio.timeout(20):
        try:
            while piece := await reader.read(1 << 16):
                found += piece
        except ConnectionError:
            return found
    return found


# --- room for new connections ---


async def test_an_idle_connection_makes_room_for_a_webhook_of_the_same_address(crowded):
    async with connected(crowded, 30):
        await crowded.receive(event(shipment()))
        pool = pool_of(crowded)
        assert len(pool) <= 8
        assert pool.closed["idle"] > 20
        assert pool.refused.total() == 0


async def test_connections_that_were_used_and_wait_are_idle_too(crowded):
    async with connected(crowded, 8, GET) as held:
        for reader, _ in held:
            assert (await answer_of(reader))[0].startswith(b"HTTP/1.1 200")
        await crowded.receive(event(shipment()))
        assert await end_of(held[0][0]) == b""  # the one that was idle longest


async def test_many_addresses_together_are_bounded_and_shut_nobody_out(crowded):
    async with connected(crowded, 40, source=lambda number: f"127.0.1.{1 + number}"):
        pool = pool_of(crowded)
        await until(lambda: pool.closed["idle"] >= 24)
        assert len(pool) == 16
        await crowded.receive(event(shipment()))
        assert len(pool) <= 16


SLOW_API = (
    b"POST /api/v1/keys HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
)
SLOW_WEBHOOK = WEBHOOK + CLAIM + b"Content-Length: 5000\r\n\r\n{"


@pytest.mark.parametrize("sent", [SLOW_WEBHOOK, SLOW_API], ids=["webhook", "api"])
async def test_senders_of_slow_bodies_make_room_when_no_connection_is_idle(crowded, sent, monkeypatch):
    monkeypatch.setattr(connections, "_SLOW_AFTER", 0.05)
    pool = pool_of(crowded)
    pool.timeouts = Timeouts(check=0.05)
    async with connected(crowded, 8, sent):
        await until(lambda: len(pool._slow) == 8)
        await crowded.receive(event(shipment()))
        assert pool.closed["slow"] >= 1


async def test_where_nobody_can_be_closed_a_new_connection_is_told_so_counted_and_a_warning(crowded):
    pool = pool_of(crowded)
    async with connected(crowded, 8, SLOW_WEBHOOK):
        await until(lambda: not pool._idle)
        async with connected(crowded, 1) as [(reader, _)]:
            found = await end_of(reader)
        assert found.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in found
        assert pool.refused == {"max_connections_per_address": 1}
        async with operator(crowded) as http:
            async with http.get("http://flexportd/api/v1/status") as answer:
                status = await answer.json()
            async with http.get("http://flexportd/metrics") as answer:
                metrics = await answer.text()
    assert status["connections"]["refused"] == {"max_connections_per_address": 1}
    assert any("connections were refused" in one for one in status["warnings"])
    assert 'flexportd_connections_refused_total{reason="max_connections_per_address",server="network"} 1.0' in metrics


async def test_a_trusted_proxy_may_have_more_connections_than_one_address(tmp_path, clock):
    limits = {
        "server.max_connections": 32,
        "server.max_connections_per_address": 8,
        "server.trusted_proxies": ["127.0.0.1"],
    }
    async with start(Settings.for_tests(tmp_path, **limits), clock) as daemon, connected(daemon, 20, GET) as held:
        for reader, _ in held:
            await answer_of(reader)
        assert len(pool_of(daemon)) == 20


async def test_a_unix_listener_is_bounded_in_all_and_not_per_address(tmp_path, clock):
    limits = {"server.listen": f"unix:{tmp_path}/web.sock", "server.max_connections_per_address": 8}
    async with start(Settings.for_tests(tmp_path, **limits), clock):
        held = [await asyncio.open_unix_connection(f"{tmp_path}/web.sock") for _ in range(20)]
        for reader, writer in held:
            writer.write(GET)
            assert (await answer_of(reader))[0].startswith(b"HTTP/1.1 200")
        for _, writer in held:
            writer.close()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
async def test_what_counts_as_one_address(one, other, same):
    pool = ConnectionPool("network", ConnectionLimits(10, 10))
    assert (pool._key(one) == pool._key(other)) is same


# --- the control socket ---


@asynccontextmanager
async def operator(daemon):
    path = str(daemon.daemon.settings.storage.control_socket)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as http:
        yield http


async def test_the_control_socket_answers_while_the_network_is_full(crowded):
    async with (
        connected(crowded, 8, SLOW_WEBHOOK),
        operator(crowded) as http,
        http.get("http://flexportd/api/v1/status") as answer,
    ):
        assert (await answer.json())["connections"]["open"] == 8


async def test_idle_connections_do_not_fill_the_control_socket(daemon):
    path = str(daemon.daemon.settings.storage.control_socket)
    held = [await asyncio.open_unix_connection(path) for _ in range(connections.CONTROL_CONNECTIONS + 20)]
    async with operator(daemon) as http, http.get("http://flexportd/api/v1/status") as answer:
        assert answer.status == 200
    assert len(daemon.daemon.connections.control) <= connections.CONTROL_CONNECTIONS
    for _, writer in held:
        writer.close()


async def test_the_operator_is_answered_while_clients_keep_the_readers_of_the_database(daemon):
    release, began = asyncio.Event(), []

    async def keep():
        pair = await daemon.daemon.db._readers._idle.get()
        began.append(pair)
        await release.wait()
        daemon.daemon.db._readers._idle.put_nowait(pair)

    keepers = [asyncio.create_task(keep()) for _ in range(2)]
    await until(lambda: len(began) == 2)
    try:
        async with operator(daemon) as http, http.get("http://flexportd/api/v1/status") as answer:
            assert answer.status == 200
    finally:
        release.set()
        await asyncio.gather(*keepers)


async def test_a_control_socket_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError):
        sockets.bind_control_socket(tmp_path / "file" / "control.sock")


# --- files ---


async def test_room_for_connections_follows_the_limit_of_open_files():
    async def room(files, wanted=8192):
        return ConnectionPools.create(ConnectionLimits(wanted, 2048), files).network.limits.total

    assert await room(1 << 20) == 8192
    assert await room(1024) == (1024 - connections.RESERVED_FILES) // 2
    assert await room(64) == 16  # what little there is


async def test_a_low_limit_of_open_files_is_a_warning(daemon):
    daemon.daemon.connections.open_files = 1024
    assert any("Only 1024 open files are allowed" in one for one in (await daemon.get("/status"))["warnings"])


async def test_accepting_goes_on_after_descriptors_ran_out(crowded, monkeypatch):
    monkeypatch.setattr(server, "_PAUSE", 0.05)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    pool = pool_of(crowded)
    host, port = crowded.daemon.addresses[0].rsplit(":", 1)
    waiting = [socket.socket() for _ in range(3)]
    for sock in waiting:
        sock.setblocking(False)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(int(name) for name in os.listdir("/proc/self/fd")), hard))
        for sock in waiting:  # every number below is taken: there is none for what is accepted
            sock.connect_ex((host, int(port)))
        spare = []
        try:
            while True:
                spare.append(os.dup(waiting[0].fileno()))
        except OSError:
            pass
        await until(lambda: pool.refused["open_files"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in spare:
            os.close(number)
        for sock in waiting:
            sock.close()
    await crowded.receive(event(shipment()))


async def test_a_connection_that_arrives_while_the_server_stops_is_closed():
    loop, runner = asyncio.get_running_loop(), web.AppRunner(web.Application())
    await runner.setup()
    pool = ConnectionPool("network", ConnectionLimits(8, 8))
    listener = socket.create_server(("127.0.0.1", 0))
    acceptor = Acceptor(runner, lambda: ClientConnection(runner.server, loop=loop), pool, listener, None)
    await acceptor.start()
    with socket.create_connection(listener.getsockname(), timeout=20) as client:
        acceptor._accept()
        await acceptor.stop()  # before the task of the connection has begun
        assert await asyncio.to_thread(client.recv, 1) == b""
    assert len(pool) == 0
    await runner.cleanup()


# --- heads ---


@pytest.mark.parametrize("sent", [b"G", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n"])
async def test_a_head_that_does_not_arrive_is_answered_408(daemon, sent):
    pool_of(daemon).timeouts = Timeouts(head=0.1, check=0.02)
    async with connected(daemon, 1, sent) as [(reader, _)]:
        found = await end_of(reader)
    assert found.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in found
    assert json.loads(found.partition(b"\r\n\r\n")[2])["type"] == "urn:flexportd:problem:request-timeout"
    assert pool_of(daemon).closed["header_timeout"] == 1


async def test_a_connection_that_sends_nothing_is_closed_without_a_word(daemon):
    pool_of(daemon).timeouts = Timeouts(head=0.1, check=0.02)
    async with connected(daemon, 1) as [(reader, _)]:
        assert await end_of(reader) == b""


async def test_a_second_head_that_trickles_in_is_answered_408(daemon):
    pool_of(daemon).timeouts = Timeouts(head=0.1, check=0.02)
    async with connected(daemon, 1, GET) as [(reader, writer)]:
        assert (await answer_of(reader))[0].startswith(b"HTTP/1.1 200")
        writer.write(b"GET /heal")
        assert (await end_of(reader)).startswith(b"HTTP/1.1 408 ")


async def test_a_head_in_many_pieces_is_taken(daemon):
    async with connected(daemon, 1) as [(reader, writer)]:
        for _ in range(2):
            for byte in GET:
                writer.write(bytes([byte]))
                await writer.drain()
            assert (await answer_of(reader))[0].startswith(b"HTTP/1.1 200")
        assert pool_of(daemon).partial_heads == 0


async def test_heads_that_never_end_have_a_bound(daemon, monkeypatch):
    monkeypatch.setattr(connections, "MAX_HEAD", 2000)
    line = b"X-A: " + b"a" * 995 + b"\r\n"
    async with connected(daemon, 1, b"GET /healthz HTTP/1.1\r\n" + line) as [(reader, writer)]:
        await until(lambda: pool_of(daemon).partial_heads)
        writer.write(line)
        assert (await end_of(reader)).startswith(b"HTTP/1.1 431 ")
    assert pool_of(daemon).partial_heads == 0


async def test_all_heads_together_have_a_bound(daemon, monkeypatch):
    monkeypatch.setattr(connections, "MAX_HEADS", 10_000)
    part = b"GET /healthz HTTP/1.1\r\nX-A: " + b"a" * 2000
    async with connected(daemon, 12, part):
        await until(lambda: pool_of(daemon).closed["header_memory"] == 8)
        await daemon.receive(event(shipment()))
    await until(lambda: not pool_of(daemon).partial_heads)


async def test_a_small_body_that_nobody_reads_does_not_end_the_connection(daemon):
    async with connected(daemon, 1) as [(reader, writer)]:
        for _ in range(3):
            writer.write(GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n"))
            await writer.drain()
            head, _ = await answer_of(reader)
            assert head.startswith(b"HTTP/1.1 200")
            writer.write(b"hello")


async def test_the_rest_of_a_refused_body_is_no_request(daemon):
    """Neither is it answered, nor counted as a head."""
    async with connected(daemon, 1, WEBHOOK + b"Content-Length: 3000000\r\n\r\n") as [(reader, writer)]:
        found = (await answer_of(reader))[0]
        writer.write(GET * 50_000)
        found += await end_of(reader)
    assert found.count(b"HTTP/1.1 ") == 1
    assert pool_of(daemon).closed.total() == 0


# --- clients that do not read ---

MUCH = b"x" * (1 << 20)


@pytest.fixture
async def wordy(tmp_path, clock):
    """A daemon whose pages, lists, exports, documents and metrics are long."""
    async with start(Settings.for_tests(tmp_path), clock) as daemon:
        notes = {"notes": ["x" * 20_000]}
        await daemon.receive(*(event(shipment(number, metadata=notes)) for number in range(1, 40)))
        await daemon.settled()
        pool_of(daemon).timeouts = Timeouts(write=0.3, check=0.05)
        yield daemon


@asynccontextmanager
async def reading_nothing(daemon, path, count=1):
    """A connection that asks `count` times and reads nothing, where the kernel takes little for it."""
    host, port = daemon.daemon.addresses[0].rsplit(":", 1)
    pool, known = pool_of(daemon), set(pool_of(daemon)._all)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect((host, int(port)))
        await until(lambda: [one for one in pool._all - known if one._wire is not None])
        [connection] = pool._all - known
        connection._wire.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sock.settimeout(20)
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * count)
        yield sock


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/shipments?limit=100",
        "/api/v1/shipments?format=ndjson",
        "/api/v1/shipments?format=csv",
        "/api/v1/openapi.json",
        "/api/v1/docs",
        "/metrics",
        "/shipments",
        "/",
        "/api/v1/events",
        "/static/flexportd.css",
        "/nothing",
    ],
)
async def test_a_client_that_does_not_read_is_cut_off_on_every_kind_of_answer(wordy, path):
    async with reading_nothing(wordy, path, 500):
        await until(lambda: pool_of(wordy).closed["write_timeout"] == 1)
        await until(lambda: not pool_of(wordy).unsent)
    await wordy.receive(event(shipment(50)))


async def test_a_client_that_reads_slowly_gets_the_whole_answer(wordy, monkeypatch):
    monkeypatch.setattr(connections, "_MIN_READ", 1000)
    whole = await wordy.get("/shipments?limit=100")
    async with reading_nothing(wordy, "/api/v1/shipments?limit=100") as sock:
        found = b""
        while b"\r\n\r\n" not in found:
            found += await asyncio.to_thread(sock.recv, 2048)
        length = int(found.lower().split(b"content-length:")[1].split(b"\r")[0])
        body = found.partition(b"\r\n\r\n")[2]
        while len(body) < length:
            body += await asyncio.to_thread(sock.recv, 16_384)
    assert json.loads(body) == whole
    assert not pool_of(wordy).closed


async def test_a_closed_connection_whose_last_bytes_nobody_reads_ends(daemon, monkeypatch):
    pool = pool_of(daemon)
    pool.timeouts = Timeouts(write=0.2, check=0.05)
    monkeypatch.setattr(responses, "LARGE", 1 << 30)  # the answer is left to the transport
    async with reading_nothing(daemon, "/api/v1/docs", 3):
        await until(lambda: pool.closed["write_timeout"] == 1)
        await until(lambda: len(pool) == 0)


async def test_answers_that_wait_for_clients_have_a_bound_together(wordy, monkeypatch):
    pool = pool_of(wordy)
    pool.timeouts = Timeouts(write=60.0, check=0.05)
    monkeypatch.setattr(connections, "MAX_UNSENT", 400_000)
    async with AsyncExitStack() as stack:
        for _ in range(6):
            await stack.enter_async_context(reading_nothing(wordy, "/api/v1/shipments?limit=100", 20))
        await until(lambda: pool.closed["write_memory"] >= 4)
        assert len(pool._stalled) <= 2
        await wordy.receive(event(shipment(50)))


async def test_pipelined_requests_are_not_read_without_bound(wordy):
    async with reading_nothing(wordy, "/api/v1/shipments?limit=100", 3) as sock:
        pool = pool_of(wordy)
        pool.timeouts = Timeouts(write=60.0, check=0.05)
        await until(lambda: pool._stalled)
        sock.setblocking(False)
        sent = 0
        try:
            for _ in range(2000):
                sent += sock.send(GET * 1000)
        except BlockingIOError:
            pass
        [connection] = pool._stalled
        await wordy.receive(event(shipment(50)))
        assert len(connection._messages) <= 64
        assert connection._buffer_paused


# --- TLS ---


@pytest.fixture
def certificate(tmp_path):
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {tmp_path}/key.pem -out {tmp_path}/cert.pem 2>/dev/null"
    if os.system(command):
        pytest.skip("there is no openssl")
    return {"server.tls_cert": tmp_path / "cert.pem", "server.tls_key": tmp_path / "key.pem"}


async def test_connections_in_a_tls_handshake_count_and_make_room(tmp_path, clock, certificate):
    limits = {"server.max_connections": 16, "server.max_connections_per_address": 8}
    async with start(Settings.for_tests(tmp_path, **limits, **certificate), clock) as daemon:
        context = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        context.check_hostname = False
        async with connected(daemon, 30, b"\x16\x03\x01") as held:
            pool = pool_of(daemon)
            assert len(pool) <= 8
            async with daemon.http.get(f"https://{daemon.daemon.addresses[0]}/healthz", ssl=context) as answer:
                assert answer.status == 200
            assert await end_of(held[0][0]) == b""
        await until(lambda: len(pool) <= 1)
