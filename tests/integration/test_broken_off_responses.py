"""A body that breaks off never looks complete: not to a client that speaks HTTP/1.0, and not behind a proxy that does."""

import asyncio
import csv
import io
import json
import os
import shutil
import signal
import socket
import ssl
import tempfile
import zipfile
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from flexportd.clock import Clock
from flexportd.daemon import server
from flexportd.errors import UnavailableError
from flexportd.expose import streamed_response
from flexportd.expose.feeds import export
from flexportd.flexport.webhook_signature import sign
from flexportd.http.connections import Timeouts
from flexportd.settings import Settings
from tests.events import event, shipment
from tests.integration.test_crash import Process
from tests.under_test import SECRET, start

ROWS = 23


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def filled():
    """A daemon for all these tests, also at a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="fxd-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("flexportd.expose.api.list_endpoint.ROWS_AT_ONCE", 5)
        settings = {"server.listen": ["127.0.0.1:0", f"unix:{folder}/web.sock"], "api.require_key": False}
        async with start(Settings.for_tests(Path(folder), **settings), Clock()) as daemon:
            await daemon.receive(*(event(shipment(n)) for n in range(1, ROWS + 1)))
            await daemon.settled()
            yield daemon


def request(path, version="1.0"):
    return f"GET /api/v1{path} HTTP/{version}\r\nHost: localhost\r\n\r\n".encode()


async def connect(daemon, unix=False, tls=None):
    if unix:
        return await asyncio.open_unix_connection(daemon.daemon.settings.storage.data_dir.parent / "web.sock")
    host, _, port = daemon.daemon.addresses[0].rpartition(":")
    return await asyncio.open_connection(host, int(port), ssl=tls)


async def read(reader):
    """(everything that came, whether the connection was reset)."""
    found = b""
    async with asyncio.timeout(20):
        try:
            while piece := await reader.read(1 << 16):
                found += piece
        except ConnectionError:
            return found, True
    return found, False


async def ask(daemon, path, version="1.0", **where):
    reader, writer = await connect(daemon, **where)
    try:
        writer.write(request(path, version))
        return await read(reader)
    finally:
        writer.transport.abort()


def body_of(found):
    return found.partition(b"\r\n\r\n")[2]


def fail_at(monkeypatch, call, error):
    """Let an export fail while it writes its second page."""
    calls = []

    def failing(written):
        def encode(*arguments):
            calls.append(1)
            if len(calls) == call:
                raise error
            return written(*arguments)

        return encode

    monkeypatch.setattr(export.Export, "encode", failing(export.Export.encode))
    monkeypatch.setattr(export.CsvRowWriter, "encode", failing(export.CsvRowWriter.encode))


@pytest.mark.parametrize("form", ["csv", "csv-bom", "ndjson"])
async def test_an_export_that_fails_resets_the_connection_of_an_http_1_0_client(filled, form, monkeypatch):
    fail_at(monkeypatch, 2, UnavailableError("the disk is gone"))
    found, was_reset = await ask(filled, f"/shipments?format={form}")
    assert found.split()[1] == b"200"
    assert was_reset
    assert len(body_of(found).splitlines()) < ROWS


@pytest.mark.parametrize("error", [RuntimeError("broken"), ConnectionError("of something else"), TimeoutError()])
async def test_an_export_that_fails_has_no_last_chunk(filled, error, monkeypatch):
    fail_at(monkeypatch, 2, error)
    found, _ = await ask(filled, "/shipments?format=ndjson", "1.1")
    assert b"transfer-encoding: chunked" in found.lower()
    assert not body_of(found).endswith(b"0\r\n\r\n")


async def test_an_export_that_fails_at_once_is_an_ordinary_error(filled, monkeypatch):
    fail_at(monkeypatch, 1, UnavailableError("the disk is gone"))
    found, was_reset = await ask(filled, "/shipments?format=csv")
    assert (found.split()[1], was_reset) == (b"503", False)


async def test_a_complete_export_ends_properly_in_http_1_0(filled):
    found, was_reset = await ask(filled, "/shipments?format=csv")
    rows = list(csv.DictReader(io.StringIO(body_of(found).decode(), newline="")))
    assert (len(rows), was_reset) == (ROWS, False)


async def test_a_head_request_ends_properly_in_http_1_0(filled):
    reader, writer = await connect(filled)
    writer.write(request("/shipments?format=csv").replace(b"GET", b"HEAD"))
    found, was_reset = await read(reader)
    writer.close()
    assert (found.split()[1], body_of(found), was_reset) == (b"200", b"", False)


async def test_a_zip_that_fails_resets_the_connection_of_an_http_1_0_client(filled, monkeypatch):
    found, was_reset = await ask(filled, "/shipments/1/documents.zip")
    assert zipfile.ZipFile(io.BytesIO(body_of(found))).namelist() == ["index.json", "index.csv"]
    assert not was_reset
    monkeypatch.setattr("flexportd.core.documents.zip_export._csv", lambda rows: 1 / 0)
    _, was_reset = await ask(filled, "/shipments/1/documents.zip")
    assert was_reset
    found, _ = await ask(filled, "/shipments/1/documents.zip", "1.1")
    assert not body_of(found).endswith(b"0\r\n\r\n")


async def test_through_a_unix_socket_an_http_1_0_client_gets_the_length(filled, monkeypatch):
    """A Unix socket cannot be reset."""
    found, _ = await ask(filled, "/shipments?format=ndjson", unix=True)
    assert len(body_of(found).splitlines()) == ROWS
    assert b"content-length: %d\r\n" % len(body_of(found)) in found.lower()
    with monkeypatch.context() as patch:
        patch.setattr(streamed_response, "MAX_SPOOLED", 1000)
        found, _ = await ask(filled, "/shipments?format=ndjson", unix=True)
        assert (found.split()[1], b"proxy_http_version" in found) == (b"409", True)
    fail_at(monkeypatch, 2, RuntimeError("broken"))
    found, _ = await ask(filled, "/shipments?format=csv", unix=True)
    assert found.split()[1] == b"500"


class Stalled:
    """A client that asks for a large export and does not read on."""

    def __init__(self, daemon, **where):
        self.daemon = daemon
        self.where = where

    async def __aenter__(self):
        host, _, port = self.daemon.daemon.addresses[0].rpartition(":")
        self.reader, self.writer = await asyncio.open_connection(host, int(port), limit=1024, ssl=self.where.get("tls"))
        self.writer.write(request("/shipments?format=csv"))
        assert b" 200 " in await self.reader.readline()
        return self

    async def __aexit__(self, *_):
        self.writer.transport.abort()


@pytest.fixture
def endless(monkeypatch):
    much = b"x" * (4 << 20)  # more than what lies between takes
    monkeypatch.setattr(export.CsvRowWriter, "encode", lambda *_: much)
    monkeypatch.setattr(server, "SHUTDOWN_TIMEOUT", 0.1)


async def test_a_client_that_does_not_read_is_reset(filled, endless, monkeypatch):
    pool = filled.daemon.connections.network
    monkeypatch.setattr(pool, "timeouts", Timeouts(write=0.2, check=0.05))
    async with Stalled(filled) as client:
        async with asyncio.timeout(20):
            while not pool.closed["write_timeout"]:
                await asyncio.sleep(0.01)
        assert (await read(client.reader))[1]


async def test_a_stop_in_the_middle_of_an_export_resets_the_connection(settings, clock, endless):
    async with start(settings, clock) as daemon:
        await daemon.receive(event(shipment(1)))
        await daemon.settled()
        client = await Stalled(daemon).__aenter__()
    assert (await read(client.reader))[1]
    await client.__aexit__()


async def test_over_tls_an_http_1_0_client_gets_the_length_and_the_whole_body(tmp_path, clock, monkeypatch):
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {tmp_path}/key.pem -out {tmp_path}/cert.pem 2>/dev/null"
    if os.system(command):
        pytest.skip("there is no openssl")
    certificate = {"server.tls_cert": tmp_path / "cert.pem", "server.tls_key": tmp_path / "key.pem"}
    context = ssl.create_default_context(cafile=tmp_path / "cert.pem")
    context.check_hostname = False
    async with start(Settings.for_tests(tmp_path, **certificate), clock) as daemon:
        body = json.dumps(event(shipment(1))).encode()
        url = f"https://{daemon.daemon.addresses[0]}/webhooks/flexport"
        signed = {"X-Hub-Signature-256": sign(body, SECRET), "Content-Type": "application/json"}
        async with daemon.http.post(url, data=body, ssl=context, headers=signed) as answer:
            assert answer.status == 200
        await daemon.settled()
        monkeypatch.setattr(export.CsvRowWriter, "encode", lambda *_: b"x" * (4 << 20))
        found, was_reset = await ask(daemon, "/shipments?format=csv", tls=context)
    assert not was_reset
    assert body_of(found).endswith(b"x" * (4 << 20))
    assert b"content-length: %d\r\n" % len(body_of(found)) in found.lower()


# --- what is between the daemon and the client ---


async def test_even_a_kill_in_the_middle_of_an_export_resets_the_connection(tmp_path, unused_tcp_port):
    process = Process(tmp_path, unused_tcp_port)
    await process.start()
    try:
        async with aiohttp.ClientSession() as http:
            body = json.dumps(event(shipment(name="x" * (7 << 20)))).encode()  # more than the buffers between take
            signed = {"X-Hub-Signature-256": sign(body, SECRET), "Content-Type": "application/json"}
            async with http.post(process.url + "/webhooks/flexport", data=io.BytesIO(body), headers=signed) as answer:
                assert answer.status == 200
            async with asyncio.timeout(20):
                while True:
                    async with http.get(process.url + "/api/v1/status") as answer:
                        if (await answer.json())["shipments"]["total"]:
                            break
                    await asyncio.sleep(0.05)
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", unused_tcp_port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
        writer.write(request("/shipments?format=ndjson"))
        assert b" 200 " in await reader.readline()
    finally:
        await process.end(signal.SIGKILL)
    found, was_reset = await read(reader)
    writer.close()
    assert was_reset
    assert len(found) < 7 << 20


NGINX = """
{user}daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen unix:{folder}/nginx.sock;
        location / {{ proxy_pass http://{upstream}; proxy_set_header Host $host; }}
    }}
}}
"""


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
async def test_behind_nginx_with_its_defaults_an_export_that_fails_does_not_look_complete(
    filled, unix, tmp_path, monkeypatch
):
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("there is no nginx")
    folder = tmp_path / "nginx"
    user = "user root;\n" if os.geteuid() == 0 else ""  # else its workers may not open what is in the test's folder
    folder.mkdir()
    upstream = (
        f"unix:{filled.daemon.settings.storage.data_dir.parent}/web.sock:" if unix else filled.daemon.addresses[0]
    )
    (folder / "nginx.conf").write_text(NGINX.format(user=user, folder=folder, upstream=upstream))
    nginx = await asyncio.create_subprocess_exec(
        program, "-e", folder / "error.log", "-c", folder / "nginx.conf", stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(10):
            while not (folder / "nginx.pid").exists():
                await asyncio.sleep(0.02)

        async def through():
            reader, writer = await asyncio.open_unix_connection(folder / "nginx.sock")
            writer.write(
                request("/shipments?format=ndjson", "1.1").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            )
            found, _ = await read(reader)
            writer.close()
            return found

        found = await through()
        assert found.count(b'"as_of"') == ROWS
        assert found.endswith(b"0\r\n\r\n") or b"content-length" in found.lower()
        fail_at(monkeypatch, 2, RuntimeError("broken"))
        found = await through()
        assert (
            (not body_of(found).endswith(b"0\r\n\r\n") and b" 200 " in found) or b" 500 " in found or b" 502 " in found
        )
    finally:
        nginx.terminate()
        await nginx.wait()
