"""Files of documents from a Flexport of the test's own to disk, over HTTP and by command: real HTTP, SQLite, sockets."""

import asyncio
import csv
import errno
import hashlib
import io
import json
import os
import zipfile
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace

import aiohttp
import click
import pytest
from aiohttp import web

from flexportd.cache import Cache, DiskCache
from flexportd.cli.command import Invocation
from flexportd.cli.commands import documents as commands
from flexportd.cli.exit_codes import Exit, exit_of
from flexportd.core.documents.integrity_check import IntegrityCheck
from flexportd.core.documents.requests import DOCUMENT_FILE, ArchiveRules, CachedFiles
from flexportd.core.importer.importer import Importer, ImportObserver, RequestStart
from flexportd.core.reads import Reads
from flexportd.core.resources import documents, shipments
from flexportd.core.resources.registry import Registry
from flexportd.core.unit_of_work import ChangeCause
from flexportd.daemon import sockets
from flexportd.errors import FlexportdError
from flexportd.expose import context
from flexportd.expose.api import files as files_api
from flexportd.expose.api import list_endpoint
from flexportd.expose.api import queue as queue_api
from flexportd.expose.api import resources as resources_api
from flexportd.expose.api import shipments as shipments_api
from flexportd.expose.app import literal_first
from flexportd.expose.context import DisplaySettings, FileServices, ServerInfo
from flexportd.expose.middleware import auth_middleware
from flexportd.expose.openapi.router import register, routes_of
from flexportd.expose.security.access_policy import ACCESS_POLICY, AccessPolicy
from flexportd.expose.streamed_response import SPOOL_FILES, SpoolFiles
from flexportd.flexport.client import Client, ClientRules
from flexportd.flexport.oauth.auth import ApiKeyAuth
from flexportd.http.request_bodies import BodyBudget
from flexportd.ingest.document_fetcher import FileFetcher
from flexportd.ingest.document_requester import DocumentRequester
from flexportd.queue.handlers import ItemHandler, Policy
from flexportd.queue.queue import Queue
from flexportd.queue.workers import ItemWorker, LeaseLimits
from flexportd.storage.database import Database
from flexportd.storage.file_store import Archive
from flexportd.storage.repositories.document_files import DocumentFiles
from flexportd.tasks import Tasks
from tests import events
from tests.flexport_double import FlexportDouble, HurriedClock, answer, html, reset
from tests.under_test import look_again

PDF = b"%PDF-1.4\nan invoice\n%%EOF\n"
UPLOADED = "2026-03-01T10:00:00.000Z"


def sha(content):
    return hashlib.sha256(content).hexdigest()


def wire(key, size=len(PDF), **fields):
    given = {
        "_object": "/document",
        "id": key,
        "document_type": "commercial_invoice",
        "archived_at": None,
        "file_metadata": {"_object": "/file/metadata", "size": size, "uploaded_at": UPLOADED},
        "shipment": {"_object": "/api/refs/object", "id": 910_233, "link": "x", "ref_type": "/shipment"},
    }
    return given | fields


class House:
    """All that has to do with files, as the daemon puts it together, before a scripted Flexport."""

    def __init__(self, folder, rules):
        self.folder = folder
        self.rules = rules
        self.files = {}  # id -> what Flexport answers
        self.flexport = FlexportDouble()
        self.flexport.usual = self._file
        self.clock = HurriedClock()
        self.tasks = Tasks()

    def _file(self, request):
        key = request.path.split("/")[2]
        found = self.files.get(key)
        if found is None:
            return answer({"errors": [{"code": "not_found", "message": "no such document"}]}, 404)(request)
        return found(request)

    @asynccontextmanager
    async def open(self, *, key=True, running=True):
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.flexport.running())
            self.db = await stack.enter_async_context(Database.open(self.folder / "data"))
            cache = Cache(DiskCache(self.folder / "cache", 64 << 20, self.clock), ttls={"file": 3600.0})
            await cache.disk.open()
            stack.push_async_callback(cache.disk.close)
            self.queue = Queue(self.db, self.clock, Policy(8, 2.0, 900.0))
            client = Client(
                ClientRules(self.flexport.url, 10_000, 4, patience=0.0, timeout=5.0), ApiKeyAuth("k-test"), self.clock
            )
            self.client = await stack.enter_async_context(client)
            self.archive = Archive(self.folder / "data")
            await asyncio.to_thread(self.archive.remove_incomplete)
            self.held = CachedFiles(cache)
            self.fetcher = FileFetcher(
                self.client, self.db, self.clock, self.rules, archive=self.archive, cache=self.held
            )
            self.archivist = DocumentRequester(self.db, self.queue, self.rules, self.clock, fetches=key)
            verification = IntegrityCheck(self.archive, self.db, self.clock, self.tasks, self.archivist.refetch_lost)
            self.queue.add(ItemHandler(name=DOCUMENT_FILE, handle=self.fetcher.handle, on_dead=self.fetcher.on_dead))
            await self.queue.load()
            self.filing = FileServices(self.archive, self.held, self.archivist, verification)
            self.cache = cache
            await self._serve(stack)
            stack.push_async_callback(self.tasks.stop)
            if running:
                self.work()
            self.http = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
            yield self

    def work(self):
        kind = self.queue.handlers[DOCUMENT_FILE]
        self.tasks.start("files", ItemWorker(self.queue, kind, self.tasks, LeaseLimits(2, 60.0)).run)

    async def _serve(self, stack):
        app = web.Application(middlewares=[auth_middleware])
        app[context.DB], app[context.QUEUE], app[context.CACHE] = self.db, self.queue, self.cache
        app[context.REGISTRY], app[context.READS] = Registry(), Reads(Registry())
        app[context.CLOCK], app[context.BODIES] = self.clock, BodyBudget(1 << 20)
        app[context.DISPLAY], app[context.SERVER_INFO] = DisplaySettings(), ServerInfo(self.clock.stamp())
        app[context.FILES], app[context.UPSTREAM] = self.filing, None
        app[SPOOL_FILES] = SpoolFiles()
        app[ACCESS_POLICY] = AccessPolicy(self.clock, checks_hosts=False)
        own = resources_api.resources(Registry())["shipments"].routes()
        routes = [*routes_of(files_api, shipments_api, queue_api, list_endpoint), *own]
        register(app.router, literal_first(routes))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v1"
        self.socket = self.folder / "control.sock"
        await web.SockSite(runner, sockets.bind_control_socket(self.socket)).start()

    async def take(self, *rows, watcher=None):
        """Have documents of these JSON objects, and their shipment."""
        intake, times = Importer(self.db, self.clock, watcher), (self.clock.stamp(),) * 2
        for domain, objects in ((shipments.RESOURCE_TYPE, [events.shipment()]), (documents.RESOURCE_TYPE, rows)):
            texts = [json.dumps(one).encode() for one in objects]
            found = await intake.compare(domain, texts, times, RequestStart())
            await intake.apply([found], ChangeCause(self.clock.stamp(), "sync"))

    async def rows(self, key):
        return await self.db.read(lambda tx: tx.files.of_document(key))

    async def until(self, key, *states):
        """The document's present file, once it is in one of these states."""
        async with asyncio.timeout(20):
            while True:
                row = next((row for row in await self.rows(key) if row.current), None)
                if row is not None and row.state in states:
                    return row
                await look_again()

    async def unfinished(self):
        sql = "SELECT count(*) FROM items WHERE state IN ('ready', 'leased')"
        return (await self.db.read(lambda tx: tx.raw.execute(sql).fetchone()))[0]

    async def finished(self):
        async with asyncio.timeout(20):
            while await self.unfinished():
                await look_again()

    async def ask(self, path, status=200, method="GET", body=None, **headers):
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(method, self.url + path, json=body, headers=sent) as got:
            content = await got.read()
            assert got.status == status, content
            return content, got.headers

    async def document(self, path, status=200, method="GET", body=None):
        return json.loads((await self.ask(path, status, method, body))[0])

    async def file(self, key):
        """The file, asked for until it is there."""
        async with asyncio.timeout(20):
            while True:
                async with self.http.get(f"{self.url}/documents/{key}/file") as got:
                    content = await got.read()
                    if got.status != 202:
                        return got.status, content, got.headers
                    assert got.headers["Retry-After"] == "2"
                await look_again()

    async def command(self, *arguments):
        """(exit code, output of the error) of `flexportd documents …`."""
        settings = f'[storage]\ndata_dir = "{self.folder}/data"\ncache_dir = "{self.folder}/cache"\n'
        config = self.folder / "flexportd.toml"
        config.write_text(f'{settings}control_socket = "{self.socket}"\n')
        group = click.Group("documents")
        commands.add_to(group)
        options = {"obj": Invocation(config), "standalone_mode": False}
        try:
            return await asyncio.to_thread(group.main, list(arguments), **options) or Exit.DONE
        except FlexportdError as error:
            return exit_of(error), str(error)

    def left(self):
        """What lies in the archive, and what is under way."""
        found = {str(path.relative_to(self.archive.path)) for path in self.archive.path.rglob("*") if path.is_file()}
        return {path.rpartition("/")[2] for path in found}


@pytest.fixture
async def house(tmp_path):
    async with House(tmp_path, ArchiveRules(archive=True, max_size=1 << 20)).open() as found:
        yield found


@pytest.fixture
async def open_house(tmp_path):
    """Without the archive."""
    async with House(tmp_path, ArchiveRules()).open() as found:
        yield found


# --- fetching ---


async def test_everything_that_is_lacking_is_archived_by_itself(house):
    house.files = {"a": answer(PDF, Content_Type="application/pdf"), "b": answer(b"sku\r\n", Content_Type="text/csv")}
    await house.take(wire("a"), wire("b", size=5, document_type="booking_form_csv"))
    house.tasks.start("document_requests", house.archivist.run)

    row = await house.until("a", "fetched")
    assert (row.sha256, row.size, row.media_type, row.file_name) == (
        sha(PDF), len(PDF), "application/pdf", "commercial_invoice-a.pdf",
    )  # fmt: skip
    assert (await house.until("b", "fetched")).file_name == "booking_form_csv-b.csv"
    assert house.archive.path_of(sha(PDF)).read_bytes() == PDF

    # A document that comes later is noticed by the commit that brings it.
    class Noticing(ImportObserver):
        def after_commit(self, touched):
            house.archivist.on_documents(touched.get("documents", ()))

    house.files["c"] = answer(PDF, Content_Type="application/pdf")
    await house.take(wire("c"), watcher=Noticing())
    assert (await house.until("c", "fetched")).sha256 == sha(PDF)
    await house.finished()
    assert len(house.flexport.asked) == 3
    totals = house.client.calls.totals()
    assert (totals["sync"]["calls"], totals["interactive"]["calls"]) == (3, 0)


async def test_an_error_nobody_foresaw_is_shown_and_the_files_are_requested_once_it_is_over(house, monkeypatch):
    house.files["a"] = answer(PDF, Content_Type="application/pdf")
    await house.take(wire("a"))
    lacking, failing = DocumentFiles.missing, [ZeroDivisionError("by nothing")]

    def fails_once(self, *given):
        if failing:
            raise failing.pop()
        return lacking(self, *given)

    seen = []
    sleep = house.clock.sleep

    async def look(seconds):
        seen.append(house.archivist.error)
        await sleep(seconds)

    monkeypatch.setattr(DocumentFiles, "missing", fails_once)
    monkeypatch.setattr(house.clock, "sleep", look)
    house.tasks.start("document_requests", house.archivist.run)
    await house.until("a", "fetched")
    assert "ZeroDivisionError: by nothing" in seen
    assert house.archivist.error is None
    assert house.tasks.dead == {}


async def test_another_upload_is_fetched_again_and_the_old_file_stays(house):
    house.files["a"] = answer(PDF, Content_Type="application/pdf")
    await house.take(wire("a"))
    await house.archivist.request_missing("")
    await house.until("a", "fetched")

    newer = PDF + b"amended"
    house.files["a"] = answer(newer, Content_Type="application/pdf")
    later = {"_object": "/file/metadata", "size": len(newer), "uploaded_at": "2026-03-02T10:00:00.000Z"}
    await house.take(wire("a", file_metadata=later))
    await house.archivist.request_missing("")
    assert (await house.until("a", "fetched")).sha256 == sha(newer)

    assert house.left() == {sha(PDF), sha(newer)}
    found = await house.document("/documents/a/files")
    assert [(row["current"], row["sha256"]) for row in found["data"]] == [(True, sha(newer)), (False, sha(PDF))]
    assert (await house.ask(f"/documents/a/file?sha256={sha(PDF)}"))[0] == PDF
    await house.ask(f"/documents/a/file?sha256={'0' * 64}", 404)


@pytest.mark.parametrize(
    ("told", "size", "state", "part"),
    [
        (html(), len(PDF), "refused", "web page"),
        (answer(b"<!DOCTYPE html><p>busy", Content_Type="application/pdf"), None, "refused", "web page"),
        (answer(PDF, Content_Type="image/png"), len(PDF), "refused", "begins like application/pdf"),
        (answer(b"", Content_Type="application/pdf"), None, "refused", "empty"),
        (answer(b"%PDF" + b"x" * (1 << 20), Content_Type="application/pdf"), None, "refused", "larger than 1048576"),
        (answer({"errors": [{"message": "no"}]}, 404), len(PDF), "gone", "no file"),
        (answer({"errors": [{"message": "no"}]}, 403), len(PDF), "failed", "403"),
        (answer({"errors": [{"message": "no"}]}, 422), len(PDF), "failed", "422"),
    ],
)
async def test_what_is_not_the_file_is_refused_and_says_why(house, told, size, state, part):
    house.files["a"] = told
    await house.take(wire("a", size=size))
    await house.archivist.request_missing("")

    row = await house.until("a", "refused", "gone", "failed")
    assert row.state == state
    assert part in row.error
    assert row.attempts == 1
    assert row.retry_at > row.last_attempt_at
    await house.finished()
    assert await house.db.read(lambda tx: tx.items.stats()["dead"][0]) == 0
    assert house.left() == set()

    # Not at once, but some time, since what Flexport has may change.
    assert (await house.archivist.request_missing(""))[0].queued == []
    house.clock.turn(hours=1)
    house.files["a"] = answer(PDF, Content_Type="application/pdf")
    await house.take(wire("a"))
    await house.archivist.request_missing("")
    assert (await house.until("a", "fetched")).sha256 == sha(PDF)


@pytest.mark.parametrize("size", [len(PDF) - 1, len(PDF) + 1])
async def test_a_file_of_another_size_than_declared_is_kept_and_says_so(house, size):
    house.files["a"] = answer(PDF, Content_Type="application/pdf")
    await house.take(wire("a", size=size))
    await house.archivist.request_missing("")
    row = await house.until("a", "fetched", "refused")
    assert (row.state, row.sha256) == ("fetched", sha(PDF))
    assert row.error == f"the file has {len(PDF)} bytes, its document declares {size}"
    await house.finished()
    assert (await house.archivist.request_missing(""))[0].queued == []


async def test_a_stream_that_does_not_end_is_broken_off(house):
    written = []

    async def endless(request):
        response = web.StreamResponse(headers={"Content-Type": "application/pdf"})
        await response.prepare(request)
        with pytest.raises(ConnectionError):
            while len(written) < 10_000:
                await response.write(PDF * 1000)
                written.append(1)
        return response

    house.files["a"] = endless
    await house.take(wire("a", size=2000))
    await house.archivist.request_missing("")

    row = await house.until("a", "refused")
    assert "larger than 1048576" in row.error
    assert len(written) < 10_000
    assert house.left() == set()


async def test_a_broken_connection_waits_in_the_queue_and_leaves_nothing(house):
    async def half(request):
        response = web.StreamResponse(headers={"Content-Type": "application/pdf", "Content-Length": str(len(PDF))})
        await response.prepare(request)
        await response.write(PDF[:10])
        request.transport.close()
        return response

    house.flexport.script += [half]
    house.files["a"] = answer(PDF, Content_Type="application/pdf")
    await house.take(wire("a"))
    await house.archivist.request_missing("")
    row = await house.until("a", "failed")
    assert row.error
    assert house.left() == set()
    assert await house.unfinished() == 1

    house.clock.turn(minutes=1)
    house.queue.wake_all()
    await house.until("a", "fetched")


async def test_stopping_in_the_middle_of_a_download_leaves_nothing_half(tmp_path):
    house = House(tmp_path, ArchiveRules(archive=True))
    half_way, never = asyncio.Event(), asyncio.Event()

    async def slow(request):
        response = web.StreamResponse(headers={"Content-Type": "application/pdf", "Content-Length": str(len(PDF))})
        await response.prepare(request)
        await response.write(PDF[:10])
        half_way.set()
        await never.wait()
        return response

    house.flexport.script += [slow]
    house.files["a"] = answer(PDF, Content_Type="application/pdf")
    async with house.open():
        await house.take(wire("a"))
        await house.archivist.request_missing("")
        await half_way.wait()
        async with asyncio.timeout(20):
            while not house.left():  # the first bytes are on disk
                await look_again()
        await house.tasks.stop()
        assert house.left() == set()
        (state, attempts) = await house.db.read(
            lambda tx: tx.raw.execute("SELECT state, attempts FROM items").fetchone()
        )
        assert (state, attempts) == ("ready", 0)

    again = House(tmp_path, house.rules)
    again.files = house.files
    async with again.open():
        await again.until("a", "fetched")
        assert again.left() == {sha(PDF)}


async def test_what_a_kill_left_half_is_gone_at_the_next_start(tmp_path):
    left = tmp_path / "data" / "archive" / "incoming" / "1"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    house = House(tmp_path, ArchiveRules(archive=True))
    house.files["a"] = answer(PDF, Content_Type="application/pdf")
    async with house.open():
        await house.take(wire("a"))
        await house.archivist.request_missing("")
        await house.until("a", "fetched")
        assert house.left() == {sha(PDF)}


async def test_a_full_disk_is_told_and_tried_again(house, monkeypatch):
    house.files["a"] = answer(PDF, Content_Type="application/pdf")
    await house.take(wire("a"))
    fsync = os.fsync

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    await house.archivist.request_missing("")
    row = await house.until("a", "failed")
    assert row.error == "the file cannot be stored: No space left on device"
    assert house.left() == set()

    monkeypatch.setattr(os, "fsync", fsync)
    house.clock.turn(minutes=1)
    house.queue.wake_all()
    await house.until("a", "fetched")


async def test_nothing_is_asked_of_flexport_while_the_disk_is_full(house, monkeypatch):
    house.files["a"] = answer(PDF, Content_Type="application/pdf")
    await house.take(wire("a"))
    monkeypatch.setattr(house.archive, "free_bytes", lambda: 1000)
    await house.archivist.request_missing("")

    assert "full" in (await house.until("a", "failed")).error
    assert house.flexport.asked == []


async def test_the_bearer_goes_to_flexport_alone(house):
    """A redirect to a store is followed; the store is not told the key."""
    async with FlexportDouble().running() as store:
        store.usual = answer(PDF, Content_Type="application/pdf")
        house.files["a"] = answer(b"", 302, Location=f"http://localhost:{store.port}/bucket/a?signature=1")
        await house.take(wire("a"))
        await house.archivist.request_missing("")
        await house.until("a", "fetched")
        assert "Authorization" not in store.asked[0].headers
    assert house.flexport.asked[0].headers["Authorization"] == "Bearer k-test"


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("http://169.254.169.254/latest/meta-data/", "169.254.169.254, a link-local address"),
        ("http://10.1.2.3/", "10.1.2.3, a private address"),
        ("https://[64:ff9b::a9fe:a9fe]/", "64:ff9b::a9fe:a9fe, a link-local address"),
        ("https://u:p@files.example.com/", "not valid"),
    ],
)
async def test_a_redirect_to_an_address_of_this_network_is_refused_in_the_row(house, location, said):
    house.files["a"] = answer(b"", 302, Location=location)
    await house.take(wire("a"))
    await house.archivist.request_missing("")
    assert said in (await house.until("a", "refused")).error
    assert len(house.flexport.asked) == 1  # it cannot become better within a minute


async def test_an_id_is_never_a_path(house):
    key = "../../network/companies?x=.."
    await house.take(wire(key))
    await house.archivist.request_missing("")
    await house.until(key, "gone")
    (asked,) = house.flexport.asked
    assert asked.raw_path == "/documents/%2E%2E%2F%2E%2E%2Fnetwork%2Fcompanies%3Fx%3D%2E%2E/download"


# --- over HTTP ---


async def test_the_file_is_served_so_that_nothing_in_it_runs(house):
    house.files["a"] = answer(PDF, Content_Type="application/pdf")
    await house.take(wire("a", file_name="Käufer's invoice.pdf"))
    status, content, headers = await house.file("a")

    assert (status, content) == (200, PDF)
    assert headers["ETag"] == f'"{sha(PDF)}"'
    assert headers["Content-Length"] == str(len(PDF))
    assert headers["Content-Type"] == "application/pdf"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"].startswith("sandbox;")
    assert headers["Content-Disposition"].endswith("filename*=UTF-8''K%C3%A4ufer%27s%20invoice.pdf")
    assert house.client.calls.totals()["interactive"]["calls"] == 1

    await house.ask("/documents/a/file", 304, If_None_Match=headers["ETag"])
    content, headers = await house.ask("/documents/a/file", method="HEAD")
    assert (content, headers["Content-Length"]) == (b"", str(len(PDF)))


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-3", 206, 0, 4),
        ("bytes=5-", 206, 5, len(PDF)),
        ("bytes=-4", 206, len(PDF) - 4, len(PDF)),
        ("bytes=0-9999", 206, 0, len(PDF)),
        ("bytes=9-2", 200, 0, len(PDF)),
        ("lines=1-2", 200, 0, len(PDF)),
        ("bytes=0-1,3-4", 200, 0, len(PDF)),
    ],
)
async def test_a_part_can_be_asked_for(house, asked, status, start, end):
    house.files["a"] = answer(PDF, Content_Type="application/pdf")
    await house.take(wire("a"))
    await house.file("a")

    content, headers = await house.ask("/documents/a/file", status, Range=asked)
    assert content == PDF[start:end]
    assert headers.get("Content-Range") == (f"bytes {start}-{end - 1}/{len(PDF)}" if status == 206 else None)
    _, headers = await house.ask("/documents/a/file", 416, Range="bytes=5000-")
    assert headers["Content-Range"] == f"bytes */{len(PDF)}"
    assert (await house.ask("/documents/a/file", Range="bytes=0-3", If_Range='"other"'))[0] == PDF


async def test_what_cannot_be_had_is_a_problem_with_its_reason(house):
    house.files = {"b": html(), "c": reset}
    await house.take(wire("a"), wire("b"), wire("c"), wire("d", size=2 << 20))

    await house.ask("/documents/nobody/file", 404)
    for key, status in (("a", 409), ("b", 502), ("c", 503), ("d", 409)):
        found, content, headers = await house.file(key)
        assert found == status, content
        assert headers["Content-Type"] == "application/problem+json"
        assert key in json.loads(content)["detail"]
    asked = len(house.flexport.asked)
    await house.ask("/documents/b/file", 502)  # told, not tried again at once
    assert len(house.flexport.asked) == asked

    house.files["b"] = answer(PDF, Content_Type="application/pdf")
    house.clock.turn(minutes=2)
    assert (await house.file("b"))[0] == 200


async def test_without_a_key_only_what_is_archived_is_shown(tmp_path):
    house = House(tmp_path, ArchiveRules(archive=True))
    house.files["a"] = answer(PDF, Content_Type="application/pdf")
    async with house.open():
        await house.take(wire("a"), wire("b"))
        await house.archivist.request(["a"])
        await house.until("a", "fetched")
    async with House(tmp_path, house.rules).open(key=False) as keyless:
        assert (await keyless.ask("/documents/a/file"))[0] == PDF
        assert "api_key" in (await keyless.document("/documents/b/file", 409))["detail"]
        assert "api_key" in (await keyless.document("/documents/fetch", 409, "POST", {"ids": ["b"]}))["detail"]


async def test_without_the_archive_a_file_is_held_for_a_while(open_house):
    house = open_house
    house.files["a"] = answer(PDF, Content_Type="application/pdf")
    await house.take(wire("a"))
    house.archivist.check_all()
    house.tasks.start("document_requests", house.archivist.run)

    status, content, headers = await house.file("a")
    assert (status, content) == (200, PDF)
    assert headers["ETag"] == f'"{sha(PDF)}"'
    assert (await house.file("a"))[0] == 200
    house.held._last.clear()
    async with asyncio.timeout(20):
        document = await house.db.read(lambda tx: tx.resources.load(documents.TABLE, ["a"])["a"])
        while await house.held.get(document) is None:  # until it is on disk
            await look_again()
    assert (await house.file("a"))[0] == 200
    await house.finished()
    assert len(house.flexport.asked) == 1
    assert await house.rows("a") == []
    assert not house.archive.path.exists()


async def test_a_file_too_large_for_the_cache_says_how_it_can_be_had(open_house):
    await open_house.take(wire("a", size=20 << 20))
    found = await open_house.document("/documents/a/file", 409)
    assert "flexportd documents fetch" in found["detail"]
    assert open_house.flexport.asked == []


async def test_an_archived_file_that_is_gone_from_disk_is_fetched_again(house):
    house.files["a"] = answer(PDF, Content_Type="application/pdf")
    await house.take(wire("a"))
    await house.file("a")
    house.archive.path_of(sha(PDF)).unlink()

    assert (await house.file("a"))[:2] == (200, PDF)
    assert house.archive.path_of(sha(PDF)).read_bytes() == PDF


@pytest.mark.parametrize(
    "body",
    [{}, {"ids": "a"}, {"ids": ["a"], "all": True}, {"ids": ["a"] * 501}, {"unknown": 1}, [], {"all": False}],
)
async def test_a_wish_that_makes_no_sense_changes_nothing(house, body):
    await house.take(wire("a"))
    await house.document("/documents/fetch", 400, "POST", body)
    assert await house.rows("a") == []


async def test_the_list_of_files_can_be_asked(house):
    house.files["a"] = answer(PDF, Content_Type="application/pdf")
    await house.take(wire("a"), wire("b"))
    found = await house.document("/documents/fetch", 202, "POST", {"shipment": "FLEX-910233"})
    assert found["queued"] == ["a", "b"]
    await house.until("a", "fetched")
    await house.until("b", "gone")

    for query, ids in (("state=gone", "b"), ("document=a,x", "a"), ("shipment=910233", "ba"), ("shipment=1", "")):
        found = await house.document(f"/documents/files?{query}")
        assert [row["document_id"] for row in found["data"]] == list(ids)
    summary = await house.document("/documents/archive")
    assert (summary["documents"]["fetched"], summary["documents"]["gone"]) == (1, 1)
    assert (summary["files"], summary["bytes"]) == (1, len(PDF))


# --- by command ---


async def test_fetch_waits_and_says_what_was_not_had(house, capsys):
    house.files["a"] = answer(PDF, Content_Type="application/pdf")
    await house.take(wire("a"), wire("-b"))

    assert await house.command("fetch", "a", "--wait") == Exit.DONE
    assert capsys.readouterr().out == "1 file fetched.\n"
    assert await house.command("fetch", "a", "--wait") == Exit.DONE
    assert "already archived" in capsys.readouterr().out
    assert await house.command("fetch", "-b", "--wait") == Exit.FAILED
    assert "-b: gone: Flexport has no file for it" in capsys.readouterr().err
    assert await house.command("fetch", "nobody") == Exit.NOT_FOUND
    assert "no such document" in capsys.readouterr().err
    assert await house.command("fetch", "--shipment", "910233", "--wait", "--json") == Exit.FAILED
    found = json.loads(capsys.readouterr().out)
    assert (found["present"], [row["document_id"] for row in found["files"]]) == (["a"], ["-b"])
    assert await house.command("fetch", "--all", "--wait") == Exit.DONE  # -b was just tried, and has to wait
    with pytest.raises(click.UsageError):
        await house.command("fetch")
    with pytest.raises(click.UsageError):
        await house.command("fetch", "--everything")


async def test_fetch_archives_also_without_the_archive(open_house):
    open_house.files["a"] = answer(PDF, Content_Type="application/pdf")
    await open_house.take(wire("a"))
    assert await open_house.command("fetch", "a", "--wait") == Exit.DONE
    assert open_house.left() == {sha(PDF)}


async def test_verify_finds_what_is_wrong_and_has_it_mended(house, capsys):
    other = PDF + b"other"
    house.files = {
        "a": answer(PDF, Content_Type="application/pdf"),
        "b": answer(other, Content_Type="application/pdf"),
    }
    await house.take(wire("a"), wire("b", size=len(other)))
    await house.command("fetch", "a", "b", "--wait")
    assert await house.command("verify") == Exit.DONE
    capsys.readouterr()

    house.archive.path_of(sha(PDF)).write_bytes(PDF.upper())
    house.archive.path_of(sha(other)).unlink()
    orphan = house.archive.path / "ab" / ("ab" * 32)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"nobody's")
    assert await house.command("verify", "--json") == Exit.FAILED
    found = json.loads(capsys.readouterr().out)
    assert [(row["sha256"], row["documents"]) for row in found["damaged"]] == [(sha(PDF), ["a"])]
    assert [(row["sha256"], row["documents"]) for row in found["missing"]] == [(sha(other), ["b"])]
    assert found["orphans"] == [f"ab/{'ab' * 32}"]
    assert (found["checked"], found["intact"]) == (2, 0)

    await house.finished()
    assert await house.command("verify") == Exit.DONE
    shown = capsys.readouterr()
    assert "2 files checked" in shown.out
    assert f"{sha(PDF)}.damaged-1 is damaged and was set aside" in shown.err
    assert orphan.read_bytes() == b"nobody's"
    assert house.archive.path_of(sha(PDF)).read_bytes() == PDF
    assert (await house.document("/documents/archive"))["verification"]["state"] == "done"


async def test_the_last_verification_outlasts_a_restart(tmp_path):
    house = House(tmp_path, ArchiveRules(archive=True))
    async with house.open():
        await house.command("verify")
    async with House(tmp_path, house.rules).open() as again:
        assert (await again.document("/documents/verify"))["state"] == "done"


async def test_export_writes_a_zip_and_says_what_it_lacks(house, capsys, monkeypatch):
    monkeypatch.chdir(house.folder)
    house.files["a"] = answer(PDF, Content_Type="application/pdf")
    await house.take(wire("a"))
    await house.command("fetch", "a", "--wait")

    assert await house.command("export", "--shipment", "FLEX-910233") == Exit.DONE
    path = house.folder / "FLEX-910233-documents.zip"
    assert path.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(path) as packed:
        assert packed.namelist() == ["commercial_invoice-a.pdf", "index.json", "index.csv"]
        assert packed.read("commercial_invoice-a.pdf") == PDF
        (row,) = csv.DictReader(io.StringIO(packed.read("index.csv").decode()))
    assert (row["document_id"], row["sha256"], row["uploaded_at"]) == ("a", sha(PDF), UPLOADED)

    code, sentence = await house.command("export", "--shipment", "910233")
    assert (code, "exists" in sentence) == (Exit.USAGE, True)
    await house.take(wire("b"))
    code, sentence = await house.command("export", "--shipment", "910233", "--force")
    assert (code, "1 document has no file" in sentence) == (Exit.FAILED, True)
    assert "it was never fetched" in capsys.readouterr().err
    code, _ = await house.command("export", "--shipment", "1", "--output", str(house.folder / "other.zip"))
    assert code == Exit.NOT_FOUND
    assert not (house.folder / "other.zip").exists()


async def test_a_zip_that_is_broken_off_is_not_kept(house, monkeypatch):
    house.files["a"] = answer(PDF, Content_Type="application/pdf")
    await house.take(wire("a"))
    await house.command("fetch", "a", "--wait")
    monkeypatch.setattr("flexportd.core.documents.zip_export._csv", lambda rows: SimpleNamespace().nothing)

    target = house.folder / "out.zip"
    code, sentence = await house.command("export", "--shipment", "910233", "--output", str(target))
    assert (code, "interrupted" in sentence) == (Exit.FAILED, True)
    assert not target.exists()
    assert not [path for path in house.folder.iterdir() if path.name.startswith(".out")]
