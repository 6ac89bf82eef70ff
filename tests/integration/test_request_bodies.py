"""Bodies of requests: what is not signed uses up no memory, keeps no honest webhook out, and is never read in vain."""

import asyncio
import contextlib
import io
import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.errors import RefusedError
from flexportd.flexport import webhook_signature
from flexportd.flexport.webhook_signature import Verifier, sign
from flexportd.http import request_bodies
from flexportd.http.request_bodies import MAX_SMALL, BodyBudget
from flexportd.ingest import webhook
from flexportd.settings import Settings
from tests.events import event, shipment
from tests.integration.test_connections import answer_of, connected, end_of, until
from tests.under_test import SECRET, start

HEAD = b"POST /webhooks/flexport HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CLAIM = b"X-Hub-Signature-256: sha256=" + b"0" * 64 + b"\r\n"
LARGE = b"Content-Length: 1000000\r\n\r\n"


@pytest.fixture
async def small(tmp_path, clock):
    """A daemon with room for two bodies of 1 MiB, and for 256 KiB of small ones."""
    async with start(Settings.for_tests(tmp_path, **{"webhook.max_body": "1MiB"}), clock) as daemon:
        budget = daemon.daemon.bodies
        budget.for_large, budget.total = 2 << 20, (2 << 20) + (256 << 10)
        yield daemon


def budget_of(daemon):
    return daemon.daemon.bodies


# --- refused before the body ---


@pytest.mark.parametrize(
    ("more", "status"),
    [
        (b"", 401),
        (b"X-Hub-Signature-256: sha256=zz\r\n", 401),
        (b"X-Hub-Signature-256: sha256=00\r\n", 401),
        (b"X-Hub-Signature-256: \r\n", 401),
        (b"X-Hub-Signature: sha1=" + b"0" * 40 + b"\r\n", 401),
        (CLAIM + b"Content-Encoding: gzip\r\n", 415),
    ],
    ids=["signature-missing", "no-digest", "short", "empty", "sha1", "compressed"],
)
async def test_what_no_body_can_make_right_is_refused_before_it_arrives(small, more, status):
    async with connected(small, 1, HEAD + more + LARGE) as [(reader, _)]:
        head, _ = await answer_of(reader)
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"Connection: close" in head
        assert budget_of(small).used == 0


async def test_without_secrets_no_body_is_read(tmp_path, clock):
    async with (
        start(Settings.for_tests(tmp_path, **{"webhook.secrets": []}), clock) as daemon,
        connected(daemon, 1, HEAD + CLAIM + LARGE) as [(reader, _)],
    ):
        assert b"webhook-secret-missing" in (await answer_of(reader))[1]


async def test_a_refused_body_is_not_read_to_its_end(daemon):
    """The connection ends although megabytes are still on their way."""
    async with connected(daemon, 1, HEAD + b"Content-Length: 8000000\r\n\r\n") as [(reader, writer)]:
        writer.write(b"x" * 7_900_000)
        found = await end_of(reader)
        assert found.startswith(b"HTTP/1.1 401 ") or not found  # a reset may take the answer along
        await until(lambda: len(daemon.daemon.connections.network) == 0)


# --- the budget ---


async def test_large_bodies_beyond_the_budget_are_refused_and_small_webhooks_get_in(small):
    sent = HEAD + CLAIM + LARGE + b"x" * 100_000
    async with (
        connected(small, 2, sent, source=lambda number: f"127.0.1.{1 + number}"),
        connected(small, 1, HEAD + CLAIM + LARGE, source=lambda _: "127.0.1.9") as [(third, _)],
    ):
        head, _ = await answer_of(third)
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 5" in head
        await small.receive(event(shipment()))
        status = await small.get("/status")
        assert status["connections"]["request_bodies_rejected"] == 1
        assert status["connections"]["request_body_bytes"] == 2_000_000
        assert status["webhook"]["deliveries"] == {"accepted": 1, "overloaded": 1}
        assert any("request bodies were refused" in one for one in status["warnings"])
    await until(lambda: budget_of(small).used == 0)


async def test_large_bodies_of_one_address_leave_room_to_others(small):
    async with connected(small, 1, HEAD + CLAIM + LARGE):
        await until(lambda: budget_of(small).used)
        async with connected(small, 1, HEAD + CLAIM + LARGE) as [(second, _)]:
            assert (await answer_of(second))[0].startswith(b"HTTP/1.1 503 ")
        async with connected(small, 1, HEAD + CLAIM + LARGE, source=lambda _: "127.0.1.2"):
            await until(lambda: budget_of(small).used == 2_000_000)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_honest_webhook_gets_in_once_a_slow_one_had_its_time(small, chunked, monkeypatch):
    monkeypatch.setattr(request_bodies, "GRACE_SECONDS", 0.0)
    body = json.dumps(event(shipment(metadata={"notes": ["x" * 900_000]}))).encode()
    slow = HEAD + CLAIM + (b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % 1_000_000 if chunked else LARGE)
    async with connected(small, 1, slow + b"x" * 300_000) as [(reader, _)]:
        await until(lambda: budget_of(small).used >= 300_000)
        assert (await small.post(body))[0] == 200
        assert (await answer_of(reader))[0].startswith(b"HTTP/1.1 408 ")
    assert budget_of(small).evicted == 1
    await until(lambda: budget_of(small).used == 0)


async def test_one_address_beyond_its_share_does_not_cost_others_their_bodies(small, monkeypatch):
    monkeypatch.setattr(request_bodies, "GRACE_SECONDS", 0.0)
    async with (
        connected(small, 1, HEAD + CLAIM + LARGE, source=lambda _: "127.0.1.2") as [(other, _)],
        connected(small, 1, HEAD + CLAIM + LARGE) as [(first, _)],
    ):
        await until(lambda: budget_of(small).used == 2_000_000)
        async with connected(small, 1, HEAD + CLAIM + LARGE):
            assert (await answer_of(first))[0].startswith(b"HTTP/1.1 408 ")
            await small.receive(event(shipment()))
            assert not other._buffer


async def test_a_body_of_tiny_chunks_is_kept_in_few_pieces(small, monkeypatch):
    kept = []
    monkeypatch.setattr(
        webhook, "join_pieces", lambda pieces: kept.append(len(pieces)) or request_bodies.join_pieces(pieces)
    )
    body = json.dumps(event(shipment())).encode()
    head = HEAD + b"X-Hub-Signature-256: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % sign(body, SECRET).encode()
    async with connected(small, 1, head) as [(reader, writer)]:
        for byte in body:
            writer.write(b"1\r\n%c\r\n" % byte)
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")
        assert (await answer_of(reader))[0].startswith(b"HTTP/1.1 200 ")
    assert kept[0] <= len(body) // 4096 + 1


async def test_chunks_take_from_the_budget_as_they_arrive(small):
    async with connected(small, 1, HEAD + CLAIM + b"Transfer-Encoding: chunked\r\n\r\n") as [(_, writer)]:
        writer.write(b"%x\r\n%b\r\n" % (30_000, b"x" * 30_000))
        await until(lambda: budget_of(small).used == 30_000)
        assert budget_of(small).used_by_large == 0
        writer.write(b"%x\r\n%b\r\n" % (50_000, b"x" * 50_000))
        await until(lambda: budget_of(small).used_by_large == 80_000)
    await until(lambda: (budget_of(small).used, budget_of(small).used_by_large) == (0, 0))


@pytest.mark.parametrize(
    ("path", "media"),
    [("/api/v1/keys", "application/json"), ("/sync/accept", "application/x-www-form-urlencoded")],
)
async def test_bodies_of_all_routes_share_the_budget(small, path, media):
    budget_of(small).total = budget_of(small).for_large = 0
    for body in (b"{}", b"{" * 40_000):
        async with small.http.post(small.url + path, data=body, headers={"Content-Type": media}) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize(
    "media", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"]
)
async def test_forms_are_small(daemon, media):
    for size in (300_000, 9_000_000):
        form = b"why=" + b"x" * size
        try:
            async with daemon.http.post(
                daemon.url + "/queue/dead-letters/1/discard", data=io.BytesIO(form), headers={"Content-Type": media}
            ) as answer:
                assert answer.status == 413
        except OSError:
            pass  # closed while we still sent


@given(
    steps=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 200_000), st.booleans()), max_size=40),
    total=st.integers(1, 1_000_000),
)
async def test_the_budget_is_kept_whatever_comes(steps, total):
    budget = BodyBudget(10, total=total, reserve=total // 4)
    bodies = [budget.reserve(lambda number=number: f"192.0.2.{number % 2}") for number in range(6)]
    for number, count, ends in steps:
        body = bodies[number]
        if ends:
            body.__exit__(None, None, None)
        else:
            with contextlib.suppress(RefusedError):
                budget.acquire(body, count)
        assert budget.used == sum(one.size for one in bodies) <= budget.total
        large = [one for one in bodies if one.size > MAX_SMALL]
        assert budget.used_by_large == sum(one.size for one in large) <= budget.for_large
        for address in ("192.0.2.0", "192.0.2.1"):
            assert sum(one.size for one in large if one.address == address) <= budget.for_large // 2
    for body in bodies:
        body.__exit__(None, None, None)
    assert (budget.used, budget.used_by_large, budget._by_address) == (0, 0, {})


# --- the signature while the body arrives ---


@given(pieces=st.lists(st.binary(max_size=200), max_size=8), secrets=st.lists(st.text("ab", min_size=16), max_size=3))
async def test_a_digest_of_pieces_is_that_of_the_whole(pieces, secrets):
    body = b"".join(pieces)
    for secret in [*secrets, "another-secret-0000"]:
        check = Verifier(secrets).begin({"X-Hub-Signature-256": sign(body, secret)})
        for piece in pieces:
            check.update(piece)
        assert check.problem is None
        assert check.matches() is (secret in secrets)


async def test_large_digests_and_heads_are_computed_off_the_event_loop(daemon, monkeypatch):
    threads = {"digest": set(), "heads": set()}
    update, heads = webhook_signature.SignatureCheck.update, webhook.parse_heads

    def watched_update(self, piece):
        if len(piece) > 1000:
            threads["digest"].add(threading.get_ident())
        update(self, piece)

    def watched_heads(body):
        threads["heads"].add(threading.get_ident())
        return heads(body)

    monkeypatch.setattr(webhook_signature.SignatureCheck, "update", watched_update)
    monkeypatch.setattr(webhook, "parse_heads", watched_heads)
    body = json.dumps(event(shipment(metadata={"notes": ["x" * 4_000_000]}))).encode()
    assert (await daemon.post(body))[0] == 200
    assert threads["heads"].isdisjoint({threading.get_ident()})
    assert threads["digest"] - {threading.get_ident()}
    await daemon.settled()
    assert await daemon.daemon.db.read(lambda tx: tx.events.payload(1)[1]) == body
    assert (await daemon.post(body + b" "))[0] == 200
    assert (await daemon.post(body, secret="another-secret-0123456789"))[0] == 401


async def test_a_head_of_brackets_is_not_made_lists(daemon):
    """8 MiB of brackets as an id took the event loop for more than a second."""
    body = b'{"type":"x","id":[' + b",".join([b"[]"] * 100_000) + b"]}"
    status, document = await daemon.post(body)
    assert status == 200
    found = await daemon.get(f"/events/{document['id']}")
    assert found["state"] == "dead"
    assert "no integer" in found["reason"]


async def test_pieces_of_a_body_signed_right_are_kept_whole(daemon):
    body = json.dumps(event(shipment(name="in pieces"))).encode()
    head = HEAD + b"X-Hub-Signature-256: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % sign(body, SECRET).encode()
    async with connected(daemon, 1, head) as [(reader, writer)]:
        for start_at in range(0, len(body), 100):
            piece = body[start_at : start_at + 100]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")
        assert (await answer_of(reader))[0].startswith(b"HTTP/1.1 200 ")
    assert await daemon.daemon.db.read(lambda tx: tx.events.payload(1)[1]) == body
