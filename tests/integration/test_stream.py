"""The stream over real HTTP: told once, in order, and to be resumed from any place."""

import asyncio
import contextlib
import json
import random
import socket
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import msgspec
import pytest
from aiohttp import web

from flexportd.clock import stamp
from flexportd.core.access import keys
from flexportd.core.access.keys import UNRESTRICTED, Principal
from flexportd.core.changes import stream_messages
from flexportd.core.changes.stream_messages import StreamMessage
from flexportd.core.events.applier import WriteSet
from flexportd.core.exceptions.worker import ExceptionWorker
from flexportd.core.resources.registry import REGISTRY
from flexportd.daemon.after_commit import CommitBus
from flexportd.errors import RefusedError, UnavailableError
from flexportd.expose.context import PRINCIPAL
from flexportd.expose.middleware import error_middleware
from flexportd.expose.openapi.router import register, routes_of
from flexportd.expose.security.access_policy import ACCESS_POLICY, AccessPolicy
from flexportd.expose.security.authentication import MAX_CACHED_KEYS, KeyAuthenticator, UsageCounter
from flexportd.expose.security.authorization import OpaqueCodec
from flexportd.expose.streaming import broadcaster as hubs
from flexportd.expose.streaming import sse
from flexportd.expose.streaming.broadcaster import BROADCASTER, Broadcaster
from flexportd.expose.streaming.sse import end_streams
from flexportd.http.connections import Timeouts
from flexportd.settings import Settings
from flexportd.storage.repositories.audiences import Audience
from tests.events import event, leg, shipment
from tests.integration.test_middleware import new_key
from tests.under_test import start

ACME = Audience("consignee", ("Acme",))
decode = msgspec.json.Decoder(StreamMessage).decode


@pytest.fixture(autouse=True)
def nobody_judges(monkeypatch):
    """What is told of exceptions is for tests of their own: here messages are counted."""

    async def wait(_self):
        await asyncio.Event().wait()

    monkeypatch.setattr(ExceptionWorker, "process", wait)


class Client:
    """Reads a stream as a browser does: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

    def __init__(self, answer, last=None, decode=str):
        self.answer = answer
        self.last = last
        self._decode = decode  # of ids
        self.comments = 0
        self.moves = 0  # blocks with an id alone
        self._lines = self._read()

    async def _read(self):
        rest = b""
        async for chunk in self.answer.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.decode()

    async def event(self):
        """The next event that is dispatched: (topic, document); None at the end."""
        async with asyncio.timeout(20):
            while (block := await self._block()) is not None:
                if "id" in block:
                    self.last = block["id"]
                    self.moves += "data" not in block
                if "data" in block:
                    return block.get("event", "message"), json.loads(block["data"])
        return None

    async def _block(self):
        block = {}
        async for line in self._lines:
            if line.startswith(":"):
                self.comments += 1
                return {}
            if not line:
                return block
            name, _, value = line.partition(":")
            assert name in ("id", "event", "data", "retry"), line
            assert name not in block
            block[name] = value.removeprefix(" ") if name != "id" else self._decode(value.removeprefix(" "))
        return None

    async def events(self, count):
        return [await self.event() for _ in range(count)]

    async def quiet(self):
        """Read up to a sign of life, and what was told before it."""
        signs = self.comments + self.moves
        return await self._while(lambda: self.comments + self.moves == signs)

    async def up_to_now(self, daemon):
        """Read until all that was committed was told, or passed over."""
        now = (await daemon.daemon.db.read(stream_messages.newest_position)).text
        return await self._while(lambda: self.last != now)

    async def _while(self, going_on):
        found = []
        async with asyncio.timeout(20):
            while going_on():
                block = await self._block()
                if block and "id" in block:
                    self.last = block["id"]
                    self.moves += "data" not in block
                if block and "data" in block:
                    found.append((block["event"], json.loads(block["data"])))
        return found


class Streaming:
    """A web server of its own that streams what happens in a daemon."""

    def __init__(self, url, hub, http, runner, codec=None):
        self.url, self.hub, self.http, self._runner, self.codec = url, hub, http, runner, codec

    async def stop(self):
        """Shut the server down; streams that are open hold nobody up."""
        async with asyncio.timeout(20):
            await self._runner.cleanup()

    @asynccontextmanager
    async def client(self, query="", last=None, **headers):
        sent = headers | ({"Last-Event-ID": last} if last is not None else {})
        async with self.http.get(f"{self.url}{query}", headers=sent) as answer:
            assert answer.status == 200, await answer.text()
            client = Client(answer, last, str if self.codec is None else self.codec.decode)
            assert await client._block() == {"retry": "3000", "id": client.last or await self._now(client)}
            yield client

    async def _now(self, client):
        client.last = (await self.hub._db.read(stream_messages.newest_position)).text
        return client.last

    async def refused(self, query="", **headers):
        async with asyncio.timeout(20), self.http.get(f"{self.url}{query}", headers=headers) as answer:
            return answer.status, json.loads(await answer.read()), answer.headers


@asynccontextmanager
async def streaming(daemon, beat=0.15, viewer=UNRESTRICTED, door=None):
    @web.middleware
    async def admitted(request, handler):
        async def go_on(request):
            request[PRINCIPAL] = door.authenticate(request, "read") if door else viewer
            return await handler(request)

        return await error_middleware(request, go_on)

    hub, app = (
        Broadcaster(daemon.daemon.db, REGISTRY, beat),
        web.Application(middlewares=[admitted]),
    )
    daemon.daemon.add_parts(app)
    if door:
        app[ACCESS_POLICY] = door
    app[BROADCASTER] = hub
    app.on_shutdown.append(end_streams)
    register(app.router, routes_of(sse))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=60)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    running = asyncio.create_task(hub.run())
    port = site._server.sockets[0].getsockname()[1]
    try:
        async with aiohttp.ClientSession() as http:
            codec = (
                None
                if viewer.audience is None
                else OpaqueCodec(daemon.daemon.security.authenticator.signer, viewer.key_id)
            )
            yield Streaming(f"http://127.0.0.1:{port}/api/v1/stream", hub, http, runner, codec)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await runner.cleanup()


def at(second):
    return f"2026-03-04T02:{second // 60:02}:{second % 60:02}.000Z"


def told(second, number=1, type_="/shipment#created", **fields):
    return event(shipment(number, updated_at=at(second), **fields), type=type_, created_at=at(second))


async def everything(streaming, daemon):
    """All that was told, from the beginning."""
    async with streaming.client(last="0") as client:
        return await client.up_to_now(daemon)


# --- telling ---


async def test_what_happens_is_told_as_it_happens(daemon):
    async with streaming(daemon) as served, served.client() as client:
        assert client.answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert client.answer.headers["Cache-Control"] == "no-store"
        assert client.answer.headers["X-Accel-Buffering"] == "no"
        assert client.answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Content-Encoding" not in client.answer.headers
        await daemon.receive(told(1))
        (created, document), (milestone, departed) = await client.events(2)
        assert (created, milestone) == ("shipment.created", "milestone.created")
        assert document["shipment_id"] == departed["shipment_id"] == 1
        assert document["resource_id"] == "1"
        await daemon.receive(told(2, estimated_arrival_date="2026-03-24T12:00:00.000-07:00"))
        updated, moved, milestone = await client.events(3)
        assert [one[0] for one in (updated, moved, milestone)] == [
            "shipment.updated", "shipment.eta_changed", "milestone.created",
        ]  # fmt: skip
        assert moved[1]["days_later"] == 3
        assert moved[1]["event_id"] == milestone[1]["event_id"]
        for topic, document in (updated, moved, milestone):
            assert document["topic"] == topic
            decode(json.dumps(document))
        assert client.last == milestone[1]["id"]


async def test_patterns_and_a_shipment_choose(daemon):
    async with (
        streaming(daemon) as served,
        served.client("?topics=leg.*,*.eta_changed") as legs,
        served.client("?shipment=FLEX-2") as second,
    ):
        await daemon.receive(told(1), told(1, 2))
        await daemon.receive(told(2, estimated_arrival_date=None))
        undated = leg(5, 1, estimated_arrival_date=None)  # else it gives its shipment an arrival again
        await daemon.receive(event(undated, created_at=at(3)), event(leg(6, 2), created_at=at(3)))
        assert [one[0] for one in await legs.events(3)] == ["shipment.eta_changed", "leg.created", "leg.created"]
        found = [await second.event()]
        while found[-1][0] != "leg.created":
            found.append(await second.event())
        assert {one[1]["shipment_id"] for one in found} == {2}


async def test_what_was_given_up_is_told(daemon):
    async with streaming(daemon) as served, served.client("?topics=system.*") as client:
        await daemon.receive(event({"_object": "/shipment", "id": "no number"}))
        topic, document = await client.event()
        assert topic == "system.dead_letter"
        assert document["kind"] == "event"
        letter = await daemon.get(document["link"].removeprefix("/api/v1"))
        assert (letter["id"], letter["error"]) == (document["dead_letter_id"], document["detail"])


async def test_what_was_given_up_is_told_to_whom_the_dead_letters_are_shown(tmp_path, clock):
    """The text of an error may hold what somebody's shipment is called."""
    async with start(Settings.for_tests(tmp_path, **{"api.require_key": True}), clock) as daemon:
        whole = {"Authorization": f"Bearer {await new_key(daemon, name='all')}"}
        one = {"Authorization": f"Bearer {await new_key(daemon, name='one customer', consignees=['Acme'])}"}
        async with (
            daemon.http.get(daemon.url + "/api/v1/stream", headers=whole) as told,
            daemon.http.get(daemon.url + "/api/v1/stream", headers=one) as other,
        ):
            await daemon.receive(event({"_object": "/shipment", "id": "no number"}))
            topic, document = await Client(told).event()
            assert topic == "system.dead_letter"
            letter = await daemon.get(document["link"].removeprefix("/api/v1"), **whole)
            assert letter["error"] == document["detail"]
            assert await Client(other).quiet() == []
        await daemon.get("/dead-letters", 403, **one)
        await daemon.get(document["link"].removeprefix("/api/v1"), 403, **one)


# --- resuming ---


async def test_a_stream_goes_on_behind_its_last_event_across_restarts(settings, clock):
    async with start(settings, clock) as daemon, streaming(daemon) as served, served.client() as client:
        await daemon.receive(told(1))
        seen = [await client.event()]
    async with start(settings, clock) as daemon:
        await daemon.receive(told(2, name="while nobody followed"))
        await daemon.settled()
    async with start(settings, clock) as daemon, streaming(daemon) as served:
        async with served.client(last=client.last) as again:
            await daemon.receive(told(3, name="and after"))
            seen += await again.events(5)
        assert seen == await everything(served, daemon)
        assert [one[0] for one in seen] == [
            "shipment.created", "milestone.created", "shipment.updated", "milestone.created", "shipment.updated",
            "milestone.created",
        ]  # fmt: skip
        # A browser connects again to the same URL: what it has seen last counts more than what the URL says.
        async with served.client("?last_event_id=0", last=again.last) as once_more:
            assert await once_more.quiet() == []
        async with served.http.get(served.url + "?last_event_id=0") as answer:
            assert await Client(answer).event() == seen[0]


@pytest.mark.parametrize("seed", range(6))
async def test_a_client_killed_at_random_misses_nothing_and_tells_duplicates(daemon, seed, monkeypatch):
    monkeypatch.setattr(hubs, "MAX_BUFFERED", 6)
    monkeypatch.setattr(stream_messages, "_MAX_MESSAGES", 5)
    chance = random.Random(seed)
    seen, last = {}, "0"

    async def produce():
        for second in range(1, 40):
            number = chance.randrange(1, 4)
            await daemon.receive(told(second, number, name=f"name {second}", status=chance.choice(["a", "b"])))
        await daemon.receive(told(99, 9, name="the end"))

    async def follow():
        nonlocal last
        while True:
            async with served.client(last=last) as client:
                for _ in range(chance.randrange(1, 15)):
                    topic, document = await client.event()
                    assert seen.setdefault(document["id"], (topic, document)) == (topic, document)
                    if chance.random() < 0.8:  # else it dies before it has noted what it saw
                        last = client.last
                    if topic == "milestone.created" and document["shipment_id"] == 9:
                        return
                client.answer.connection.transport.abort()

    async with streaming(daemon, beat=0.3) as served:
        async with asyncio.timeout(60):
            await asyncio.gather(produce(), follow())
        whole = await everything(served, daemon)
        assert [document["id"] for _, document in whole] == sorted(seen, key=stream_messages.parse_position)
        assert whole == [seen[document["id"]] for _, document in whole]
        assert len(whole) > 80


async def test_what_is_no_longer_kept_is_said_and_the_rest_is_told(daemon, clock):
    async with streaming(daemon) as served:
        await daemon.receive(told(1))
        await daemon.settled()
        clock.turn(days=2)
        await daemon.receive(told(2), told(3, name="the newest"))
        await daemon.settled()
        before = stamp(clock.now() - timedelta(days=1))
        assert await daemon.daemon.db.write(lambda tx: tx.retention.delete_journal(before, 100))
        first, mark = await daemon.daemon.db.read(lambda tx: (tx.journal.first(), tx.journal.origin(0)))
        for last in ("0", f"{first - 1}-0.0123456789ab"):
            async with served.client(last=last) as client:
                topic, document = await client.event()
                assert topic == "reset"
                assert (await client.event())[1]["id"] == f"{first}-0.{mark}"
        async with served.client(last=document["oldest"]) as client:  # all of what is gone was seen
            assert (await client.event())[1]["id"] == f"{first}-0.{mark}"


async def test_history_that_is_no_longer_kept_is_a_loss_too(daemon, clock):
    async with streaming(daemon) as served:
        for second in (1, 2, 3):
            await daemon.receive(told(second, name=f"name {second}"))
            await daemon.settled()
            clock.turn(days=2)
        before = stamp(clock.now() - timedelta(days=3))
        assert await daemon.daemon.db.write(lambda tx: tx.retention.delete_changes(before, 100))
        async with served.client(last="0") as client:
            (reset, _), (updated, document), _ = await client.events(3)
            assert (reset, updated) == ("reset", "shipment.updated")
            assert document["changes"] == [{"field": "name", "old": "name 2", "new": "name 3"}]
            assert await client.quiet() == []


# --- signs of life ---


async def test_a_quiet_stream_shows_that_it_lives_and_moves_its_place(daemon):
    async with streaming(daemon) as served, served.client("?topics=booking.*") as client:
        assert await client.quiet() == []
        assert client.comments == 1
        await daemon.receive(told(1))
        await daemon.settled()
        assert await client.up_to_now(daemon) == []
        assert client.moves == 1
        async with served.client("?topics=booking.*", last=client.last) as again:
            assert await again.quiet() == []


async def test_only_who_waits_and_has_seen_all_is_passed_over():
    follower = hubs.Subscriber(None, None, 0)
    follower.position = stream_messages.StreamPosition(1)
    assert not follower.skip_to(stream_messages.StreamPosition(5))
    assert follower.position == stream_messages.StreamPosition(1)
    waiting = asyncio.create_task(follower.wait())
    await asyncio.sleep(0)
    assert follower.skip_to(stream_messages.StreamPosition(5))
    assert follower.position == stream_messages.StreamPosition(5)
    follower.wake()
    assert not follower.skip_to(stream_messages.StreamPosition(9))
    await waiting
    assert follower.position == stream_messages.StreamPosition(5)


# --- slow, gone, and too many ---


@contextlib.contextmanager
def slow_reader(served, last):
    """A connection that asks for everything and reads nothing."""
    host, port = served.url.split("/")[2].split(":")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect((host, int(port)))
        sock.sendall(f"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {last}\r\n\r\n".encode())
        yield sock


def rest_of(sock):
    """What the kernel still has for a connection that was cut."""
    taken = b""
    sock.settimeout(20)
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            taken += piece
    return taken


async def test_a_reader_that_takes_nothing_is_cut_off_and_can_go_on(daemon):
    parts = daemon.daemon
    parts.connections.network.timeouts = Timeouts(write=0.5, check=0.05)
    for second in range(1, 60):
        await daemon.receive(told(second, metadata={"notes": [str(second) * 7000]}))
    await daemon.settled()
    async with aiohttp.ClientSession() as http:
        served = Streaming(f"{daemon.url}/api/v1/stream", parts.consumers.hub, http, None)
        with slow_reader(served, "0") as sock:
            async with asyncio.timeout(30):
                while not served.hub.dropped:
                    await asyncio.sleep(0.01)
            taken = await asyncio.to_thread(rest_of, sock)
        assert len(served.hub) == 0
        seen = [line.split()[1].decode() for line in taken.split(b"\n") if line.startswith(b"id: ")]
        whole = [document["id"] for _, document in await everything(served, daemon)]
        assert len(seen) < len(whole)
        last = seen[-1] if seen[-1] in whole else "0"  # the last line may be a part
        async with served.client(last=last) as client:
            rest = [document["id"] for _, document in await client.up_to_now(daemon)]
        assert rest == whole[whole.index(last) + 1 if last != "0" else 0 :]


async def test_a_slow_reader_holds_up_no_shutdown_and_nobody_else(daemon):
    for second in range(1, 60):
        await daemon.receive(told(second, metadata={"notes": [str(second) * 7000]}))
    await daemon.settled()
    async with streaming(daemon) as served:
        with slow_reader(served, "0"):
            async with asyncio.timeout(20):
                while not len(served.hub):
                    await asyncio.sleep(0.01)
            assert len(await everything(served, daemon)) > 100
            async with served.client() as idle:
                await served.stop()
                assert await idle.event() is None
        assert len(served.hub) == 0
        with pytest.raises(RefusedError, match="stopping"):
            await served.hub.subscribe(None)


async def test_a_client_that_goes_is_forgotten(daemon):
    async with streaming(daemon) as served:
        async with served.client() as one, served.client() as other:
            assert len(served.hub) == 2
            one.answer.connection.transport.abort()
            async with asyncio.timeout(20):
                while len(served.hub) == 2:
                    await asyncio.sleep(0.01)
            await daemon.receive(told(1))
            assert (await other.event())[0] == "shipment.created"
        async with asyncio.timeout(20):
            while len(served.hub):
                await asyncio.sleep(0.01)


async def test_no_more_streams_than_are_allowed(daemon, monkeypatch):
    monkeypatch.setattr(hubs, "MAX_SUBSCRIBERS", 1)
    async with streaming(daemon) as served, served.client():
        status, document, headers = await served.refused()
        assert status == 503
        assert document["type"].endswith("too-many-streams")
        assert headers["Retry-After"] == "5"


async def test_a_store_that_fails_for_a_while_costs_no_message(daemon, monkeypatch):
    async with streaming(daemon) as served, served.client() as client:
        read, failed = daemon.daemon.db.read, []

        async def failing(work):
            if len(failed) < 3:
                failed.append(work)
                raise UnavailableError("the disk is away")
            return await read(work)

        monkeypatch.setattr(served.hub, "_db", type("Away", (), {"read": staticmethod(failing)}))
        await daemon.receive(told(1))
        assert (await client.event())[0] == "shipment.created"
        assert len(failed) == 3
        assert served.hub.error is None


# --- who may see what ---


async def test_a_customers_key_is_told_of_its_shipments_alone(daemon):
    acme = {"consignees": [{"_object": "/company_entity", "id": 5, "name": "Acme"}]}
    other = {"consignees": [{"_object": "/company_entity", "id": 6, "name": "Other"}]}
    bill = {"_object": "/invoice", "id": "inv", "name": "FLEX-1-1", "type": "Shipment", "status": "outstanding"}
    viewer = Principal("k", "acme", frozenset({"read"}), ACME)
    async with streaming(daemon, viewer=viewer) as served, served.client() as client:
        await daemon.receive(told(1, 1, **acme), told(2, 2, **other), event(leg(5, 1)), event(leg(6, 2)))
        await daemon.receive(event(bill, type="/invoice#invoice_shared", created_at=at(3)))
        await daemon.receive(event({"_object": "/shipment", "id": "no number"}))
        await daemon.settled()
        found = await client.up_to_now(daemon)
        assert {(one[1]["shipment_id"], one[1]["resource"]) for one in found} == {(1, "shipments"), (1, "legs")}
        await daemon.receive(told(10, 1, name="not theirs any more", **other), told(11, 2, name="theirs", **acme))
        await daemon.settled()
        assert {one[1]["shipment_id"] for one in await client.up_to_now(daemon)} == {2}
        # Also of what was before, only what is theirs now is told.
        assert {one[1]["shipment_id"] for one in await everything(served, daemon)} == {2}


async def test_a_key_that_is_revoked_ends_its_streams(daemon, clock):
    db = daemon.daemon.db
    gate = await KeyAuthenticator.open(db, UsageCounter(), required=True)
    wanted = keys.NewKey("screen")
    key, token = await db.write(lambda tx: keys.create(tx, wanted, "me", clock.now()))
    gate.reload(await db.read(lambda tx: tx.keys.with_digests(MAX_CACHED_KEYS)))
    bearer = {"Authorization": f"Bearer {token}"}
    async with streaming(daemon, door=AccessPolicy(clock, gate)) as served:
        async with served.client(**bearer) as client, served.client(**bearer) as dismissed:
            assert await client.quiet() == []
            served.hub.disconnect_key(key.id)
            assert await dismissed.event() is None
        async with served.client(**bearer) as client:
            assert await client.quiet() == []
            await db.write(lambda tx: keys.revoke(tx, key.id, "me", clock.now()))
            gate.reload(await db.read(lambda tx: tx.keys.with_digests(MAX_CACHED_KEYS)))
            assert await client.event() is None
        assert (await served.refused(**bearer))[0] == 401


# --- bad input ---


@pytest.mark.parametrize(
    ("query", "header", "parameter"),
    [
        ("?topics=", None, "topics"),
        ("?topics=shipmint.*", None, "topics"),
        ("?topics=*&topics=*", None, "topics"),
        ("?topics=%00", None, "topics"),
        ("?topics=" + "a" * 2000, None, "topics"),
        ("?shipment=x", None, "shipment"),
        ("?shipment=-1", None, "shipment"),
        ("?shipment=99999999999999999999", None, "shipment"),
        ("?shipments=1", None, "shipments"),
        ("?last_event_id=abc", None, "last_event_id"),
        ("?last_event_id=", None, "last_event_id"),
        ("?last_event_id=1.5", None, "last_event_id"),
        ("", "1-0.0123456789AB", "last_event_id"),
        ("", "1-2-3", "last_event_id"),
        ("", "' OR 1=1 --", "last_event_id"),
        ("", "9" * 401, "last_event_id"),
    ],
)
async def test_what_makes_no_sense_is_named(daemon, query, header, parameter):
    async with streaming(daemon) as served:
        headers = {} if header is None else {"Last-Event-ID": header}
        status, document, _ = await served.refused(query, **headers)
        assert (status, document["parameter"]) == (400, parameter)
        assert len(served.hub) == 0


async def test_head_tells_the_kind_and_ends(daemon):
    async with streaming(daemon) as served:
        async with served.http.head(served.url) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            assert await answer.read() == b""
        async with served.http.head(served.url, headers={"Last-Event-ID": "x"}) as answer:
            assert answer.status == 400
        assert len(served.hub) == 0


async def test_a_commit_wakes_the_hub(daemon):
    hub = Broadcaster(daemon.daemon.db, REGISTRY, heartbeat=3600.0)  # it would not look by itself
    bus = CommitBus()
    bus.subscribe(lambda _: hub.wake())
    running = asyncio.create_task(hub.run())
    try:
        follower = await hub.subscribe(None)
        async with asyncio.timeout(20):
            await daemon.receive(told(1))
            await daemon.settled()
            bus.after_commit(WriteSet({"shipments": {1}}))
            while not (found := await follower.next_batch()).messages:
                await follower.wait()
        assert [one.topic for one in found.messages] == ["shipment.created", "milestone.created"]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
