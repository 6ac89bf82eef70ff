"""Webhooks that are refused or miss their path: counted by reason, shown where people look, over restarts."""

import asyncio
import contextlib
import dataclasses
import json
import sqlite3

import pytest
import structlog

from flexportd.errors import UnavailableError
from flexportd.flexport.webhook_signature import sign, sign_sha1
from flexportd.http import request_bodies
from flexportd.settings import Settings
from tests.events import event, shipment
from tests.under_test import SECRET, start

GOOD = json.dumps(event(shipment())).encode()
SIGNED = {"X-Hub-Signature-256": sign(GOOD, SECRET), "Content-Type": "application/json"}
SHA1 = {"X-Hub-Signature": sign_sha1(GOOD, SECRET), "Content-Type": "application/json"}


async def post(daemon, path, body=GOOD, headers=SIGNED):
    async with daemon.http.post(daemon.url + path, data=body, headers=headers) as answer:
        return answer.status, await answer.text()


async def page(daemon, path):
    async with daemon.http.get(daemon.url + path) as answer:
        assert answer.status == 200
        return await answer.text()


async def refused(daemon):
    return {one["reason"]: one for one in (await daemon.get("/status"))["webhook"]["rejected"]}


REFUSED = {
    "sha1-signature": (SHA1, GOOD, "allow_sha1"),
    "signature-invalid": ({**SIGNED, "X-Hub-Signature-256": sign(GOOD, "another-secret-0000")}, GOOD, "secrets"),
    "signature-missing": ({"Content-Type": "application/json"}, GOOD, "X-Hub-Signature-256"),
    "unsupported-media-type": ({**SIGNED, "Content-Type": "text/plain"}, GOOD, "application/json"),
    "content-too-large": (SIGNED, b"x" * 9000, "max_body"),
}


async def test_what_is_refused_is_counted_by_reason_and_shown_where_people_look_over_a_restart(tmp_path, clock):
    settings = Settings.for_tests(tmp_path, **{"webhook.max_body": "8KiB"})
    async with start(settings, clock) as daemon:
        with structlog.testing.capture_logs() as lines:
            for headers, body, _ in REFUSED.values():
                await post(daemon, "/webhooks/flexport", body, headers)
        logged = {line["reason"]: line for line in lines if line["event"] == "webhook_rejected"}
        assert logged.keys() == REFUSED.keys()
        assert {line["log_level"] for line in logged.values()} == {"info"}
        assert {line["client"] for line in logged.values()} == {"127.0.0.1"}
    async with start(settings, clock) as daemon:  # nothing was refused since this start
        await post(daemon, "/webhooks/flexport", GOOD, SHA1)
        found = await refused(daemon)
        assert {reason: one["count"] for reason, one in found.items()} == {
            **dict.fromkeys(REFUSED, 1),
            "sha1-signature": 2,
        }
        for reason, (_, _, part) in REFUSED.items():
            one = found[reason]
            assert (one["last_address"], one["last_path"]) == ("127.0.0.1", "/webhooks/flexport")
            assert part in one["hint"], reason
        assert found["sha1-signature"]["first_at"] < found["sha1-signature"]["last_at"]
        warned = " ".join((await daemon.get("/status"))["warnings"])
        assert "2 webhooks refused: signed with SHA-1 only." in warned
        metrics = await page(daemon, "/metrics")
        assert 'flexportd_webhooks_rejected_total{reason="sha1-signature"} 2.0' in metrics
        assert 'flexportd_webhooks_rejected_total{reason="network-not-allowed"} 0.0' in metrics
        overview, system = await page(daemon, "/"), await page(daemon, "/system")
        assert "2 webhooks refused: signed with SHA-1 only." in overview
        for text in ("Signed with SHA-1 only", "Wrong signature", "No signature", "Not plain JSON", "Too large"):
            assert text in system
        # Once deliveries are accepted again, what anybody can cause is no warning any more; the rest is one for a day.
        await daemon.receive({"_object": "/event", "id": 1, "type": "x"})
        await daemon.settled()
        warned = " ".join((await daemon.get("/status"))["warnings"])
        assert ("signed with SHA-1 only" in warned, "no signature" in warned) == (True, False)
        assert "webhooks refused, latest" in await page(daemon, "/")
        clock.turn(hours=25)
        assert "refused" not in " ".join((await daemon.get("/status"))["warnings"])
        assert "2 webhooks refused" not in await page(daemon, "/")


async def test_a_sender_of_another_network_is_counted_with_its_own_address(tmp_path, clock):
    networks = {"webhook.allowed_networks": ["198.51.100.0/24"], "server.trusted_proxies": ["127.0.0.1"]}
    async with start(Settings.for_tests(tmp_path, **networks, **{"api.require_key": False}), clock) as daemon:
        assert (await post(daemon, "/webhooks/flexport", headers={**SIGNED, "X-Forwarded-For": "203.0.113.7"}))[
            0
        ] == 403
        assert (await refused(daemon))["network-not-allowed"]["last_address"] == "203.0.113.7"
        assert (await post(daemon, "/elsewhere", headers={**SIGNED, "X-Forwarded-For": "203.0.113.7"}))[0] == 404
        assert "wrong-path" not in await refused(daemon)


async def test_a_flood_of_refused_deliveries_writes_one_row_and_one_line(tmp_path, clock):
    settings = Settings.for_tests(tmp_path)
    async with start(settings, clock) as daemon:
        units = daemon.daemon.db.writer.units
        with structlog.testing.capture_logs() as lines:
            for _ in range(200):
                await post(daemon, "/webhooks/flexport", GOOD, SHA1)
        assert daemon.daemon.db.writer.units - units < 100  # others write as well
        assert len([line for line in lines if line["event"] == "webhook_rejected"]) == 1
    with contextlib.closing(sqlite3.connect(settings.storage.data_dir / "flexportd.db")) as raw:
        rows = raw.execute("SELECT reason, count FROM webhook_refusals").fetchall()
    assert rows == [("sha1-signature", 200)]


async def test_what_the_disk_does_not_take_is_written_later(daemon, monkeypatch):
    await post(daemon, "/webhooks/flexport", GOOD, SHA1)
    refusals = daemon.daemon.refusals.all.__self__

    async def fails(work):
        raise UnavailableError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(daemon.daemon.db, "write", fails)
        await refusals.flush()
    await refusals.flush()
    assert (await daemon.daemon.db.read(lambda tx: tx.webhook_refusals.all()))[0].count == 1


@pytest.mark.parametrize("path", ["/webhooks/flexport", "/hooks"])
async def test_slashes_at_the_end_of_the_path_are_accepted(tmp_path, clock, path):
    async with start(Settings.for_tests(tmp_path, **{"webhook.path": path}), clock) as daemon:
        for end in ("", "/", "//", "/?source=flexport", "?source=flexport"):
            assert (await post(daemon, path + end))[0] == 200, end
        assert (await post(daemon, path + "/", headers={**SIGNED, "Expect": "100-continue"}))[0] == 200
        assert (await post(daemon, path + "/", headers={**SIGNED, "X-Hub-Signature-256": "sha256=00"}))[0] == 401
        assert (await daemon.get("/openapi.json"))["paths"].keys() & {path, path + "/"} == {path}


ELSEWHERE = [
    "/", "/webhook", "/webhooks", "/webhooks/", "/flexport", "/api/v1/webhooks/flexport", "/webhooks/flexport/events",
    "/webhooks/flexport/webhooks/flexport", "//webhooks/flexport", "/Webhooks/Flexport", "/webhooks%2Fflexport",
    "/webhooks/flexport%20", "/shipments", "/api/v1/events", "/healthz", "/static/x", "/s/abc", "/a?b=c",
    "/api/v1/keys", "/api/v1/documents/fetch",  # which read the body themselves
]  # fmt: skip


@pytest.mark.parametrize("keys", [False, True])
async def test_a_signed_delivery_to_another_path_is_named(tmp_path, clock, keys):
    extra = {"server.public_url": "https://freight.example.com"} if keys else {}
    async with start(Settings.for_tests(tmp_path, **extra), clock) as daemon:
        for number, path in enumerate(ELSEWHERE, 1):
            status, text = await post(daemon, path)
            assert status == 404, path
            assert "set the endpoint to" in text, path
            one = daemon.daemon.refusals.all()[0]
            assert (one.reason, one.count) == ("wrong-path", number), path
            assert one.last_path == path.partition("?")[0]  # as sent: decoded, it could look like the right one
        assert daemon.daemon.bodies.used == 0
        assert await daemon.daemon.db.read(lambda tx: tx.events.total()) == 0


async def test_where_it_is_to_go_stands_in_status_and_overview(tmp_path, clock):
    settings = {"server.public_url": "https://freight.example.com/", "api.require_key": False}
    async with start(Settings.for_tests(tmp_path, **settings), clock) as daemon:
        await post(daemon, "/hooks/flexport")
        expected = (
            "A webhook with a valid signature arrived at /hooks/flexport; "
            "set the endpoint to https://freight.example.com/webhooks/flexport."
        )
        assert expected in " ".join((await daemon.get("/status"))["warnings"])
        assert expected in await page(daemon, "/")
        assert (await refused(daemon))["wrong-path"]["hint"] == expected


async def test_only_a_valid_signature_makes_a_wrong_path_count(daemon, monkeypatch):
    wrong = {**SIGNED, "X-Hub-Signature-256": sign(GOOD, "another-secret-0000")}
    for headers in (wrong, SHA1, {"Content-Type": "application/json"}, {**SIGNED, "X-Hub-Signature-256": "zz"}):
        status, text = await post(daemon, "/webhook", headers=headers)
        assert (status, "endpoint" in text) == (404, False)
    receiver = daemon.daemon.receiver
    monkeypatch.setattr(receiver, "rules", dataclasses.replace(receiver.rules, max_body=1024))
    big = b"x" * 2000
    assert (
        "endpoint" not in (await post(daemon, "/webhook", big, {**SIGNED, "X-Hub-Signature-256": sign(big, SECRET)}))[1]
    )
    monkeypatch.setattr(request_bodies, "BODY_TIMEOUT", 0.05)
    host, _, port = daemon.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n")
    writer.write(f"X-Hub-Signature-256: {sign(big, SECRET)}\r\n\r\n".encode())
    assert (await reader.readline()).split()[1] == b"404"
    writer.close()
    assert await refused(daemon) == {}
    assert daemon.daemon.bodies.used == 0
