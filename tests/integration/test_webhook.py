"""The webhook: what is taken, what is refused, and that nothing acknowledged is lost (design promises 1 and 2)."""

import asyncio
import json

import aiohttp
import pytest

from flexportd.flexport.webhook_signature import sign, sign_sha1
from flexportd.settings import Settings
from tests.events import event, shipment
from tests.under_test import SECRET, start

GOOD = json.dumps(event(shipment())).encode()


async def kept(daemon) -> int:
    return await daemon.daemon.db.read(lambda tx: tx.events.total())


async def test_an_event_is_accepted_once_and_then_a_duplicate(daemon):
    one = event(shipment())
    body = json.dumps(one).encode()
    assert await daemon.post(body) == (200, {"status": "accepted", "id": str(one["id"])})
    assert await daemon.post(body) == (200, {"status": "duplicate", "id": str(one["id"])})
    await daemon.settled()
    assert await kept(daemon) == 1


async def test_many_copies_at_once_are_kept_once(daemon):
    one = json.dumps(event(shipment())).encode()
    answers = await asyncio.gather(*(daemon.post(one) for _ in range(40)))
    assert sorted(document["status"] for _, document in answers) == ["accepted"] + ["duplicate"] * 39


@pytest.mark.parametrize(
    ("headers", "slug"),
    [
        ({}, "signature-missing"),
        ({"X-Hub-Signature-256": "sha256=" + "0" * 64}, "signature-invalid"),
        ({"X-Hub-Signature-256": "sha256=zz"}, "signature-invalid"),
        ({"X-Hub-Signature-256": ""}, "signature-invalid"),
        ({"X-Hub-Signature-256": "sha256=" + "é" * 4}, "signature-invalid"),
        ({"X-Hub-Signature": sign_sha1(GOOD, SECRET)}, "sha1-signature"),
        (
            {"X-Hub-Signature-256": sign(GOOD, "another-secret-0000"), "X-Hub-Signature": sign_sha1(GOOD, SECRET)},
            "signature-invalid",
        ),
    ],
)
async def test_what_is_not_signed_right_is_refused_and_leaves_only_a_counter(daemon, headers, slug):
    status, document = await daemon.post(GOOD, secret=None, **headers)
    assert status == 401
    assert document["type"] == f"urn:flexportd:problem:{slug}"
    assert await kept(daemon) == 0
    assert (await daemon.get("/status"))["webhook"]["deliveries"] == {slug: 1}


@pytest.mark.parametrize(
    "claimed",
    [sign(GOOD, SECRET).upper().replace("SHA256", "sha256"), f"  {sign(GOOD, SECRET)} ", sign(GOOD, SECRET)[7:]],
)
async def test_harmless_spellings_of_a_right_signature_are_taken(daemon, claimed):
    status, _ = await daemon.post(GOOD, secret=None, **{"X-Hub-Signature-256": claimed})
    assert status == 200


async def test_sha1_counts_when_allowed_and_any_secret_may_match(tmp_path, clock):
    settings = Settings.for_tests(
        tmp_path, **{"webhook.allow_sha1": True, "webhook.secrets": ["new-secret-0123456789", SECRET]}
    )
    async with start(settings, clock) as daemon:
        assert (await daemon.post(GOOD, secret=None, **{"X-Hub-Signature": sign_sha1(GOOD, SECRET)}))[0] == 200
        assert (await daemon.post(json.dumps(event(shipment())).encode()))[0] == 200


BROKEN = {
    "not JSON": b"hello",
    "empty": b"",
    "not an event": b'{"hello": 1}',
    "a number": b"17",
    "an empty list": b"[]",
    "no id": b'{"_object": "/event", "type": "/shipment#created", "data": null}',
    "an id that is an object": b'{"id": {"a": 1}, "type": "/shipment#created"}',
    "an id that is a word": b'{"id": "abc", "type": "/shipment#created"}',
    "an id that is true": b'{"id": true, "type": "/shipment#created"}',
    "an id that is a fraction": b'{"id": 1.5, "type": "/shipment#created"}',
    "no type": b'{"id": 17}',
    "nested deep": b'{"id": 1, "type": "x", "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "NaN": b'{"id": 1, "type": "x", "data": {"resource": {"a": NaN}}}',
    "a lone surrogate": b'{"id": 1, "type": "x", "data": {"resource": {"_object": "/shipment", "id": 5, "name": "\\ud800"}}}',
    "a lone surrogate in the type": b'{"id": 1, "type": "\\ud800"}',
    "invalid UTF-8": b'{"id": 1, "type": "x", "data": {"resource": {"_object": "/shipment", "id": 5, "name": "\xff"}}}',
    "digits": b'{"id": ' + b"9" * (1 << 20) + b', "type": "x"}',
    "digits inside": b'{"id": 3, "type": "x", "data": {"resource": {"_object": "/shipment", "id": 5, "pieces": '
    + b"9" * (1 << 20)
    + b"}}}",
    "data that is text": b'{"id": 4, "type": "x", "data": "y"}',
    "a resource without id": b'{"id": 5, "type": "x", "data": {"resource": {"_object": "/shipment", "name": "x"}}}',
    "a resource with a huge id": b'{"id": 6, "type": "x", "data": {"resource": {"_object": "/shipment", "id": 99999999999999999999, "updated_at": "2026-01-01T00:00:00Z"}}}',
    "a resource that is text": b'{"id": 7, "type": "x", "data": {"resource": "y"}}',
    "truncated": GOOD[: len(GOOD) // 2],
}


@pytest.mark.parametrize("name", BROKEN)
async def test_signed_but_broken_is_kept_and_dead_lettered_with_the_reason(daemon, name):
    body = BROKEN[name]
    status, document = await daemon.post(body)
    assert (status, document["status"]) == (200, "accepted")
    await daemon.settled()
    letters = (await daemon.get("/dead-letters"))["data"]
    assert len(letters) == 1
    assert letters[0]["error"]
    assert body[:40].decode("latin-1") not in letters[0]["error"] or len(body) < 20
    found = await daemon.get(f"/events/{document['id']}")
    assert (found["state"], found["reason"]) == ("dead", letters[0]["error"])
    assert (await daemon.post(body))[1]["status"] == "duplicate"
    assert (await daemon.get("/queue"))["ready"] == 0


@pytest.mark.parametrize(
    ("resource", "state"),
    [
        ({"_object": "/spaceship", "id": 1}, "ignored"),
        ({"id": 1}, "ignored"),
        ({"_object": "/carbon_calculation", "id": "abc"}, "ignored"),
        (None, "ignored"),
        (shipment(status="teleported", transportation_mode="zeppelin"), "applied"),
        (shipment(pieces={"a": 1}, consignees="nobody", metadata=[1]), "applied"),
    ],
)
async def test_the_unknown_is_ignored_or_applied_and_counted_but_never_dead(daemon, resource, state):
    one = event(resource, type="/future#invented")
    await daemon.receive(one)
    await daemon.settled()
    assert (await daemon.get(f"/events/{one['id']}"))["state"] == state
    counted = (await daemon.get("/status"))["events"]["by_type"]["/future#invented"]
    assert counted == {"known": False, state: 1}


async def test_an_unknown_resource_does_not_hide_the_shipment_beside_it(daemon):
    await daemon.receive(event({"_object": "/invoice", "id": "x"}, shipment=shipment(), type="/invoice#invoice_shared"))
    await daemon.settled()
    assert (await daemon.get("/shipments/910233"))["status"] == "seller_location"


async def test_a_list_and_an_envelope_of_events_are_taken(daemon):
    two = [event(shipment(1)), event(shipment(2))]
    status, document = await daemon.post(json.dumps(two).encode())
    assert (status, document["ids"]) == (200, [str(one["id"]) for one in two])
    wrapped = {"_object": "/api/response", "self": "x", "version": 2, "data": event(shipment(3)), "error": None}
    assert (await daemon.post(json.dumps(wrapped).encode()))[0] == 200
    await daemon.settled()
    assert {row["id"] for row in (await daemon.get("/shipments"))["data"]} == {1, 2, 3}


async def test_the_exact_bytes_are_kept(daemon):
    one = event(shipment(name="  spaces  "))
    body = json.dumps(one, indent=3, ensure_ascii=False).encode()
    await daemon.post(body)
    assert await daemon.daemon.db.read(lambda tx: tx.events.payload(1)[1]) == body


async def test_too_large_is_refused_without_reading_it_all(tmp_path, clock):
    async with start(Settings.for_tests(tmp_path, **{"webhook.max_body": "2KiB"}), clock) as daemon:
        reader, writer = await asyncio.open_connection(*daemon.daemon.addresses[0].split(":"))
        head = "POST /webhooks/flexport HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Hub-Signature-256: x\r\n"
        writer.write((head + "Content-Length: 1000000000\r\n\r\n").encode())
        answer = await asyncio.wait_for(reader.read(), 5)  # to the end: the connection is closed
        assert answer.startswith(b"HTTP/1.1 413 ")
        writer.close()

        async def endless():
            for _ in range(100):
                yield b"x" * 1024

        status = None
        try:
            async with daemon.http.post(
                daemon.url + "/webhooks/flexport",
                data=endless(),
                headers={"Content-Type": "application/json", "X-Hub-Signature-256": "0" * 64},
            ) as answer:
                status = answer.status
        except OSError:
            status = 413  # closed while we still sent
        assert status == 413
        assert await kept(daemon) == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Encoding": "gzip"},
    ],
)
async def test_other_media_types_are_refused(daemon, headers):
    status, document = await daemon.post(GOOD, **headers)
    assert (status, document["type"]) == (415, "urn:flexportd:problem:unsupported-media-type")


async def test_only_allowed_networks_may_deliver(tmp_path, clock):
    limits = {"webhook.allowed_networks": ["10.0.0.0/8"], "server.trusted_proxies": ["127.0.0.1"]}
    async with start(Settings.for_tests(tmp_path, **limits), clock) as daemon:
        assert (await daemon.post(GOOD))[0] == 403
        assert (await daemon.post(GOOD, X_Forwarded_For="10.1.2.3"))[0] == 200
        assert (await daemon.post(GOOD, X_Forwarded_For="10.1.2.3, 192.0.2.1"))[0] == 403


async def test_through_a_unix_socket_allowed_networks_apply_to_the_client_that_the_proxy_reports(tmp_path, clock):
    path = f"{tmp_path}/web.sock"
    settings = {"webhook.allowed_networks": ["10.0.0.0/8", "127.0.0.1"], "server.listen": f"unix:{path}"}
    async with start(Settings.for_tests(tmp_path, **settings), clock) as daemon:
        daemon.url = "http://flexportd"
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as daemon.http:
            for told, status in (
                ("10.1.2.3:4711", 200),
                ("192.0.2.1, [::ffff:10.1.2.3]", 200),
                ("10.1.2.3, 192.0.2.1", 403),
                ("10.1.2.3, unknown", 403),
                ("10.1.2.3,", 403),
                ("127.0.0.1.evil", 403),
            ):
                assert (await daemon.post(GOOD, X_Forwarded_For=told))[0] == status, told
            status, document = await daemon.post(GOOD)
            assert status == 403
            assert "X-Forwarded-For" in document["detail"]
        control = str(daemon.daemon.settings.storage.control_socket)  # `flexportd webhook send` uses it
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(control)) as daemon.http:
            assert (await daemon.post(GOOD))[0] == 200


async def test_a_full_queue_answers_503_and_says_when_to_come_back(tmp_path, clock):
    async with start(Settings.for_tests(tmp_path, **{"webhook.max_pending": 2}), clock) as daemon:
        await daemon.call("/queue/pause")
        await daemon.receive(event(shipment(1)), event(shipment(2)))
        async with daemon.http.post(
            daemon.url + "/webhooks/flexport",
            data=GOOD,
            headers={"Content-Type": "application/json", "X-Hub-Signature-256": sign(GOOD, SECRET)},
        ) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "30")
        async with daemon.http.get(daemon.url + "/readyz") as answer:
            assert answer.status == 503
        await daemon.call("/queue/resume")
        await daemon.settled()
        await daemon.receive(event(shipment(3)))


async def test_without_secrets_nothing_is_taken_and_the_answer_says_why(tmp_path, clock):
    async with start(Settings.for_tests(tmp_path, **{"webhook.secrets": []}), clock) as daemon:
        status, document = await daemon.post(GOOD)
        assert (status, document["type"]) == (401, "urn:flexportd:problem:webhook-secret-missing")


async def test_a_reload_brings_a_new_secret(daemon, tmp_path):
    now, later = daemon.daemon.reload(
        Settings.for_tests(tmp_path, **{"webhook.secrets": ["rotated-secret-0123"], "queue.workers": 2})
    )
    assert (now, later) == (["webhook.secrets"], ["queue.workers"])
    assert (await daemon.post(GOOD))[0] == 401
    assert (await daemon.post(GOOD, secret="rotated-secret-0123"))[0] == 200
