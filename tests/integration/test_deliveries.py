"""What people and programs see of notifications: deliveries, rules, channels; and what they do about them."""

import asyncio
import base64
import json

import pytest

from flexportd.settings import Settings
from tests.events import event, shipment
from tests.http_target import HttpTarget, reply
from tests.integration.test_middleware import new_key
from tests.mail_server import email_channel, mail_server
from tests.under_test import look_again, start

SLIPS = {"name": "ETA slips", "on": "shipment.eta_changed", "when": {"days_later": 2}}
DAILY = {"name": "Daily", "on": "shipment.eta_changed", "digest": "daily 07:30", "channels": ["team"]}
SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()


@pytest.fixture
async def box():
    async with mail_server() as found:
        yield found


@pytest.fixture
async def target():
    async with HttpTarget().running() as found:
        yield found


def erp(target):
    values = {"type": "webhook", "url": f"{target.url}/hooks?token=hidden", "secret": SECRET, "allow_private": True}
    return {f"notify.channels.erp.{key}": value for key, value in values.items()}


def configured(tmp_path, *rules, **fields):
    return Settings.for_tests(tmp_path, **{"notify.gather": "0s", "notify.rules": list(rules or [SLIPS]), **fields})


async def slip(daemon, *numbers):
    """A shipment that arrives four days later."""
    for number in numbers:
        await daemon.receive(event(shipment(number)))
    await daemon.settled()
    for number in numbers:
        later = shipment(
            number, estimated_arrival_date="2026-03-25T12:00:00.000-07:00", updated_at="2026-03-05T00:00:00Z"
        )
        await daemon.receive(event(later))


async def deliveries(daemon, count, state="sent", query=""):
    """Wait until there are so many in a state; newest first."""
    async with asyncio.timeout(20):
        while True:
            found = (await daemon.get(f"/deliveries?state={state}{query}"))["data"]
            if len(found) >= count:
                return found
            await look_again()


async def queued(daemon, ready):
    """Wait until so many items wait and none is running."""
    async with asyncio.timeout(20):
        while ((found := await daemon.get("/queue"))["ready"], found["leased"]) != (ready, 0):
            await look_again()


async def test_a_delivery_shows_what_was_sent_to_whom_with_its_text_and_its_notifications(tmp_path, box, clock):
    async with start(configured(tmp_path, SLIPS, DAILY, **email_channel(box)), clock) as daemon:
        await slip(daemon, 42)
        await box.wait_for(1)
        (found,) = await deliveries(daemon, 1)
        assert found | {"created_at": 0, "updated_at": 0, "sent_at": 0, "thread": 0} == {
            "id": "1", "channel": "team", "channel_type": "email", "kind": "message", "state": "sent",
            "title": "FLEX-42 · PO 42: ETA 4 days later", "rules": ["ETA slips"], "shipments": [42],
            "notifications": 1, "thread": 0, "replaces": None, "created_at": 0, "updated_at": 0, "sent_at": 0,
            "attempts": 1, "next_attempt_at": None, "error": None, "note": None, "repeated": False,
            "dead_letter": None,
        }  # fmt: skip
        detail = await daemon.get("/deliveries/1")
        assert "4 days later than 21 Mar" in detail["text"]
        (contained,) = detail["contains"]
        assert (contained["topic"], contained["shipment_id"], contained["rule"]) == (
            "shipment.eta_changed", 42, "ETA slips",
        )  # fmt: skip
        for query in ("shipment=42", "channel=team", "kind=message", "state=sent", "created_after=2020-01-01"):
            assert [one["id"] for one in (await daemon.get(f"/deliveries?{query}"))["data"]] == ["1"], query
        for query in ("shipment=43", "channel=erp", "kind=digest", "state=failed", "created_before=2020-01-01"):
            assert (await daemon.get(f"/deliveries?{query}"))["data"] == [], query
        await daemon.get("/deliveries/9", 404)
        await daemon.get("/deliveries/x", 404)

        waiting, sent = (await daemon.get("/notifications"))["data"]
        assert (sent["rule"], sent["state"], sent["waits_for"], sent["delivery_id"]) == ("ETA slips", "sent", None, "1")
        assert (waiting["rule"], waiting["state"], waiting["waits_for"]) == ("Daily", "waiting", "digest")
        assert waiting["due_at"].endswith("07:30:00.000Z")
        for query, ids in {"rule=Daily": [waiting["id"]], "state=dropped": [], "delivery=1": [sent["id"]]}.items():
            assert [one["id"] for one in (await daemon.get(f"/notifications?{query}"))["data"]] == ids

        rules = {one["name"]: one for one in (await daemon.get("/notify/rules"))["data"]}
        assert rules["ETA slips"] | {"last_matched_at": 0} == {
            "name": "ETA slips", "enabled": True, "shipped": False, "on": ["shipment.eta_changed"],
            "when": {"days_later": 2}, "channels": ["team"], "digest": None, "quiet": None, "timezone": "UTC",
            "max_per_hour": None, "has_template": False, "matches": 1, "sent": 1, "dropped": 0, "last_matched_at": 0,
        }  # fmt: skip
        assert (rules["Daily"]["matches"], rules["Daily"]["sent"]) == (1, 0)
        (channel,) = (await daemon.get("/notify/channels"))["data"]
        assert channel | {"last_sent_at": 0} == {
            "name": "team", "type": "email", "destination": "team@example.com", "state": "working", "failures": 0,
            "failing_since": None, "retry_at": None, "error": None, "last_sent_at": 0, "pending": 0,
            "pending_since": None, "failed": 0,
        }  # fmt: skip


async def test_a_failed_delivery_and_its_dead_letter_are_retried_and_discarded_together(tmp_path, box, clock):
    box.answers += ["550 no such user", "550 still no such user"]
    async with start(configured(tmp_path, **email_channel(box)), clock) as daemon:
        await slip(daemon, 42)
        (failed,) = await deliveries(daemon, 1, "failed")
        assert "550" in failed["error"]
        (letter,) = (await daemon.get("/dead-letters"))["data"]
        assert (letter["id"], letter["delivery_id"]) == (failed["dead_letter"], "1")
        assert letter["title"] == "Notification: FLEX-42 · PO 42: ETA 4 days later"
        status = await daemon.get("/status")
        assert status["notifications"] == {"channels": {"team": "working"}, "pending": 0, "failed": 1}
        assert "1 notification could not be sent: flexportd deliveries list --state failed" in status["warnings"]

        await daemon.call(f"/dead-letters/{letter['id']}/discard", {"reason": "wrong address", "discarded_by": "maya"})
        discarded = await daemon.get("/deliveries/1")
        assert (discarded["state"], discarded["error"]) == ("discarded", "Discarded by maya: wrong address")
        await daemon.call("/deliveries/1/discard", {"reason": "again"}, 409)

        await daemon.call(f"/dead-letters/{letter['id']}/retry")  # the server refuses it once more
        (failed,) = await deliveries(daemon, 1, "failed")
        assert (failed["dead_letter"], failed["attempts"]) == (letter["id"], 1)
        await daemon.call("/deliveries/1/discard", {"reason": "nobody cares"})
        (letter,) = (await daemon.get("/dead-letters?discarded=true"))["data"]
        assert (letter["discarded_by"], letter["discard_reason"]) == ("api", "nobody cares")

        answer = await daemon.call("/deliveries/1/retry")
        assert answer["state"] in ("waiting", "sending", "sent")
        await box.wait_for(1)
        (sent,) = await deliveries(daemon, 1)
        assert (sent["attempts"], sent["repeated"], sent["dead_letter"], sent["error"]) == (1, False, None, None)
        assert (await daemon.get("/dead-letters"))["data"] == []
        refused = await daemon.call("/deliveries/1/retry", None, 409)
        assert "again" in refused["detail"]
        await daemon.call("/deliveries/1/discard", {"reason": "too late"}, 409)
        await daemon.call("/deliveries/1/retry", {"again": True})
        await box.wait_for(2)
        assert box.mails[0]["Message-ID"] == box.mails[1]["Message-ID"]
        (sent,) = await deliveries(daemon, 1)
        assert sent["repeated"]
        await daemon.call("/deliveries/7/retry", None, 404)


async def test_what_waits_for_its_next_attempt_is_attempted_at_once_or_discarded(tmp_path, target, clock):
    target.usual = reply("busy", 503, Retry_After="3600")
    async with start(configured(tmp_path, **erp(target)), clock) as daemon:
        await slip(daemon, 42)
        async with asyncio.timeout(20):
            while (found := (await daemon.get("/deliveries"))["data"])[:1] == [] or not found[0]["error"]:
                await look_again()
        (waiting,) = (await daemon.get("/deliveries"))["data"]
        assert (waiting["state"], waiting["channel_type"]) == ("waiting", "webhook")
        assert waiting["next_attempt_at"] > waiting["updated_at"]
        assert "503" in waiting["error"]
        (channel,) = (await daemon.get("/notify/channels"))["data"]
        assert (channel["failures"], channel["pending"], channel["pending_since"]) == (1, 1, waiting["created_at"])
        assert channel["destination"].startswith(f"{target.url}/hooks")
        assert "hidden" not in json.dumps(channel)

        await queued(daemon, 1)
        await daemon.call("/deliveries/1/retry")
        async with asyncio.timeout(20):
            while len(target.requests) < 2:
                await look_again()
        await queued(daemon, 1)
        await daemon.call("/deliveries/1/discard", {"reason": "no longer needed"})
        assert (await daemon.get("/deliveries/1"))["next_attempt_at"] is None
        assert (await daemon.get("/queue"))["ready"] == 0
        detail = await daemon.get("/deliveries/1")
        assert (detail["topic"], detail["data"]["shipment_id"]) == ("shipment.eta_changed", 42)


async def test_a_channel_that_is_switched_off_is_seen_everywhere_until_a_person_resumes_it(tmp_path, target, clock):
    target.script.append(reply("gone", 410))
    async with start(configured(tmp_path, **erp(target)), clock) as daemon:
        await slip(daemon, 42)
        await deliveries(daemon, 1, "failed")
        (channel,) = (await daemon.get("/notify/channels"))["data"]
        assert (channel["state"], channel["failed"]) == ("off", 1)
        async with daemon.http.get(f"{daemon.url}/readyz") as answer:
            ready = await answer.json()
        assert ready["status"] == "ready"
        (warning,) = [one for one in ready["warnings"] if "Channel erp is switched off" in one]
        status = await daemon.get("/status")
        assert warning in status["warnings"]
        assert status["notifications"]["channels"] == {"erp": "off"}
        async with daemon.http.get(f"{daemon.url}/metrics") as answer:
            metrics = await answer.text()
        assert 'flexportd_notification_channel_working{channel="erp"} 0.0' in metrics
        assert 'flexportd_notification_attempts_total{channel="erp",outcome="failed"} 1.0' in metrics
        assert 'flexportd_notification_deliveries{channel="erp",state="failed"} 1.0' in metrics
        async with daemon.http.get(daemon.url) as answer:
            assert "Channel erp is switched off" in await answer.text()

        for path, body in (("/deliveries/1/retry", None), ("/deliveries/retry", {"channel": "erp"})):
            assert "resume it first" in (await daemon.call(path, body, 409))["detail"]
        await daemon.call("/notify/channels/nothing/resume", None, 404)
        assert (await daemon.call("/notify/channels/erp/resume"))["state"] == "failing"
        assert (await daemon.call("/deliveries/retry", {"channel": "erp"}))["retried"] == 1
        await deliveries(daemon, 1)
        (channel,) = (await daemon.get("/notify/channels"))["data"]
        assert (channel["state"], channel["error"], channel["failed"]) == ("working", None, 0)
        assert target.requests[0].headers["webhook-id"] == target.requests[1].headers["webhook-id"]
        async with daemon.http.get(f"{daemon.url}/readyz") as answer:
            assert not [one for one in (await answer.json())["warnings"] if "erp" in one]


async def test_a_time_range_of_a_webhook_is_replayed_in_batches_with_the_same_ids(
    tmp_path, box, target, clock, monkeypatch
):
    monkeypatch.setattr("flexportd.expose.api.deliveries.MAX_RETRIED", 2)
    monkeypatch.setattr("flexportd.expose.api.deliveries._BATCH", 1)
    async with start(configured(tmp_path, **erp(target), **email_channel(box)), clock) as daemon:
        await slip(daemon, 42, 43, 44)
        await deliveries(daemon, 3, query="&channel=erp")
        first = [request.headers["webhook-id"] for request in target.requests]
        body = {"channel": "erp", "since": "2020-01-01", "include_sent": True}
        counted = await daemon.call("/deliveries/retry", body | {"dry_run": True})
        assert (counted["matching"], counted["retried"], counted["next"]) == (3, 0, None)
        answer = await daemon.call("/deliveries/retry", body)
        assert (answer["matching"], answer["retried"]) == (3, 2)
        last = await daemon.call("/deliveries/retry", body | {"after": answer["next"], "until": answer["until"]})
        assert (last["matching"], last["retried"], last["next"]) == (1, 1, None)
        async with asyncio.timeout(20):
            while len(target.requests) < 6:
                await look_again()
        assert sorted(request.headers["webhook-id"] for request in target.requests[3:]) == sorted(first)
        assert sorted(target.bodies[:3]) == sorted(target.bodies[3:])
        assert all(one["repeated"] for one in await deliveries(daemon, 3, query="&channel=erp"))

        for wrong, part in (
            ({"channel": "team", "since": "2020-01-01", "include_sent": True}, "only webhook channels are replayed"),
            ({"channel": "erb"}, "did you mean erp?"),
            ({"channel": "erp", "include_sent": True}, "since is missing"),
            ({"channel": "erp", "since": "soon"}, "since is 'soon'"),
            ({"channel": "erp", "since": "2026-03-02", "until": "2026-03-01"}, "not before until"),
            ({"channel": "erp", "state": "sent"}, "state"),
            ({}, "channel"),
        ):
            assert part in (await daemon.call("/deliveries/retry", wrong, 400))["detail"], wrong
        await asyncio.sleep(0)
        assert len(target.requests) == 6


async def test_a_key_that_is_limited_to_some_shipments_sees_nothing_of_notifications(tmp_path, box, clock):
    async with start(configured(tmp_path, **email_channel(box)), clock) as daemon:
        await slip(daemon, 42)
        await deliveries(daemon, 1)
        key = await new_key(daemon, consignees=["Acme"])
        headers = {"Authorization": f"Bearer {key}"}
        for path in ("/deliveries", "/deliveries/1", "/notifications", "/notify/rules", "/notify/channels"):
            await daemon.get(path, 403, **headers)
        async with daemon.http.post(f"{daemon.url}/api/v1/deliveries/1/retry", headers=headers) as answer:
            assert answer.status == 403
