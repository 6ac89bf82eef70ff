"""What people and programs see of notifications: deliveries, rules, channels; and what they do about them."""

import asyncio
import base64
import io
import json

import pytest

from flexportd.settings import Settings
from flexportd.storage.repositories.deliveries import NewDelivery
from flexportd.storage.repositories.notifications import NewNotification
from tests.events import event, shipment
from tests.http_target import HttpTarget, reply
from tests.integration.test_forms import TOKEN, browser
from tests.integration.test_middleware import ask, new_key
from tests.integration.test_resources_cli import Terminal
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
    values = {
        "type": "webhook",
        "url": f"{target.url}/hooks?token=t0ken-of-erp",
        "secret": SECRET,
        "allow_private": True,
    }
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
        await queued(daemon, 1)
        (waiting,) = (await daemon.get("/deliveries"))["data"]
        assert (waiting["state"], waiting["channel_type"]) == ("waiting", "webhook")
        assert waiting["next_attempt_at"] > waiting["updated_at"]
        assert "503" in waiting["error"]
        (channel,) = (await daemon.get("/notify/channels"))["data"]
        assert (channel["failures"], channel["pending"], channel["pending_since"]) == (1, 1, waiting["created_at"])
        assert channel["destination"].startswith(f"{target.url}/hooks")
        assert "t0ken-of-erp" not in json.dumps(channel)

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

        later = shipment(42, estimated_arrival_date="2026-03-26T12:00:00.000-07:00", updated_at="2026-03-06T00:00:00Z")
        await daemon.receive(event(later))
        await deliveries(daemon, 1, "waiting")
        assert (await daemon.get("/deliveries/2"))["data"]["days_later"] == 5  # what was discarded told no date


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
        assert target.url.removeprefix("http://") not in warning  # it needs no key
        assert [one for one in status["warnings"] if one.startswith(f"{warning}: 127.0.0.1")]
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
            ({"channel": "erp", "include_sent": True}, "since is missing"),
            ({"channel": "erp", "since": "soon"}, "since is 'soon'"),
            ({"channel": "erp", "since": "2026-03-02", "until": "2026-03-01"}, "not before until"),
            ({"channel": "erp", "state": "sent"}, "state"),
            ({}, "channel"),
        ):
            assert part in (await daemon.call("/deliveries/retry", wrong, 400))["detail"], wrong
        assert "did you mean erp?" in (await daemon.call("/deliveries/retry", {"channel": "erb"}, 404))["detail"]
        await asyncio.sleep(0)
        assert len(target.requests) == 6


async def test_a_key_that_is_limited_to_some_shipments_sees_nothing_of_notifications(tmp_path, box, clock):
    async with start(configured(tmp_path, **email_channel(box)), clock) as daemon:
        await slip(daemon, 42)
        await deliveries(daemon, 1)
        key = await new_key(daemon, consignees=["Example Imports"])
        for path in ("/deliveries", "/deliveries/1", "/notifications", "/notify/rules", "/notify/channels"):
            assert (await ask(daemon, f"/api/v1{path}", key=key))[0] == 403, path
        for path in ("/deliveries", "/deliveries/1", "/deliveries/rules"):
            assert (await ask(daemon, path, key=key))[0] == 404, path
        for path in (
            "/deliveries/1/retry",
            "/deliveries/retry",
            "/deliveries/1/discard",
            "/notify/channels/team/resume",
        ):
            assert (await ask(daemon, f"/api/v1{path}", "POST", key=key))[0] == 403, path
        _, _, shown = await ask(daemon, "/shipments/42", key=key)
        assert b"PO 42" in shown
        assert b"otification" not in shown


async def test_the_buttons_of_the_pages_act_once_for_a_double_click(tmp_path, box, target, clock):
    box.answers += ["550 no such user"]
    target.script.append(reply("gone", 410))
    async with (
        start(configured(tmp_path, **erp(target), **email_channel(box)), clock) as daemon,
        browser(daemon) as person,
    ):
        await slip(daemon, 42)
        found = await deliveries(daemon, 2, "failed")
        mail, hook = sorted(found, key=lambda one: one["channel_type"])
        answer, shown = await person.press(f"/deliveries/{hook['id']}/retry")
        assert (answer.status, "resume it first" in shown) == (409, True)
        answer, _ = await person.press("/deliveries/channels/erp/resume")
        assert (answer.status, answer.headers["Location"]) == (303, "/deliveries?done=resumed")
        path = f"/deliveries/{mail['id']}"
        assert (await person.press(f"{path}/retry", Sec_Fetch_Site="cross-site"))[0].status == 403
        answers = await asyncio.gather(*(person.press(f"{path}/retry", Origin=daemon.url) for _ in range(2)))
        assert [answer.headers.get("Location") for answer, _ in answers] == [f"{path}?done=retried"] * 2
        await box.wait_for(1)
        assert "queued again" in (await person.page(f"{path}?done=retried"))[1]
        await deliveries(daemon, 1, query="&channel=team")
        assert (await person.press(f"{path}/retry"))[0].status == 409
        token = TOKEN.search((await person.page(path))[1])[1]
        answer, _ = await person.press(f"{path}/retry", fields=f"form_token={token}&again=true")
        assert answer.status == 303
        await box.wait_for(2)
        path = f"/deliveries/{hook['id']}"
        answer, _ = await person.press(f"{path}/discard", fields="why=not+needed")
        assert answer.headers["Location"] == f"{path}?done=discarded"
        assert "Discarded by dashboard: not needed" in (await person.page(path))[1]


async def test_old_deliveries_and_notifications_are_deleted_with_their_dead_letters(tmp_path, box, clock):
    box.answers += ["550 no such user"]
    kept = {"storage.event_retention": "30d", "storage.history_retention": "60d"}
    async with start(configured(tmp_path, SLIPS, DAILY, **email_channel(box), **kept), clock) as daemon:
        await slip(daemon, 42)
        await deliveries(daemon, 1, "failed")
        async with asyncio.timeout(20):
            while not (problems := (await daemon.get("/exceptions"))["data"]):
                await look_again()
        await daemon.daemon.db.write(lambda tx: told_of(tx, int(problems[0]["id"]), clock.stamp()))
        await retained(daemon)
        await daemon.get("/deliveries/1")
        clock.turn(days=31)
        await slip(daemon, 43)
        await deliveries(daemon, 2, query="&kind=message")  # with the one about an exception
        await retained(daemon)
        assert "1" not in [one["id"] for one in (await daemon.get("/deliveries?kind=message"))["data"]]
        await daemon.get("/deliveries/1", 404)
        (kept,) = (await daemon.get(f"/deliveries?exception={problems[0]['id']}"))["data"]
        assert (kept["id"], kept["notifications"]) == ("2", 1)  # its end is still to be reported
        assert '<a href="/deliveries/2"><bdi>Late</bdi></a>' in await page(daemon, f"/exceptions/{problems[0]['id']}")
        assert (await daemon.get("/dead-letters"))["data"] == []
        left = [(one["rule"], one["state"]) for one in (await daemon.get("/notifications?rule=ETA%20slips"))["data"]]
        assert left == [("ETA slips", "sent")]


def told_of(tx, exception_id, at):
    """A sent message about an exception, as the composer stores it."""
    tx.notifications.add([
        NewNotification(
            "1", "Problems", "team", "exception.opened", "exception:1", "shipments", "42", 42, exception_id, "{}", at,
            "gather", at,
        )
    ])  # fmt: skip
    new = NewDelivery(
        key="fxd_1", channel="team", channel_type="email", kind="message", rules=["Problems"], title="Late",
        content='{"title": "Late"}', notifications=1,
    )  # fmt: skip
    number = tx.deliveries.add(new, at)
    tx.notifications.mark_sent([row.id for row in tx.notifications.due("team", at, 1)], number, at)
    tx.deliveries.mark_sent(number, at, None, None)


async def retained(daemon):
    """Run the job that deletes what is old, to its end."""
    runs = (await daemon.get("/jobs/retention"))["runs"]
    await daemon.call("/jobs/retention/run", status=202)
    async with asyncio.timeout(20):
        while (found := await daemon.get("/jobs/retention"))["runs"] == runs or found["running"]:
            await look_again()
    assert found["last_run"]["outcome"] == "done", found


async def test_the_commands_list_show_retry_replay_discard_and_resume(
    tmp_path, box, target, clock, capsys, monkeypatch
):
    box.answers += ["550 no such user"]
    terminal = Terminal(tmp_path, capsys)
    async with start(configured(tmp_path, SLIPS, DAILY, **erp(target), **email_channel(box)), clock) as daemon:
        assert "No messages yet." in await terminal.said("deliveries", "list")
        await slip(daemon, 42)
        await deliveries(daemon, 1, "failed")
        await deliveries(daemon, 1)
        said = await terminal.said("deliveries", "list", "--state", "failed")
        assert "FLEX-42 · PO 42: ETA 4 days later" in said
        assert "550" in said
        assert await terminal.json("deliveries", "list") == await daemon.get("/deliveries")
        assert "No matches." in await terminal.said("deliveries", "list", "--channel", "nobody")
        failed = (await daemon.get("/deliveries?state=failed"))["data"][0]["id"]
        said = await terminal.said("deliveries", "show", failed)
        for part in ("team (email)", "ETA slips", "4 days later than 21 Mar", "shipment.eta_changed", "FLEX-42"):
            assert part in said, part

        assert "failed 1" in (await terminal.said("status")).replace(", 1 failed", ", failed 1")
        said = await terminal.said("notify", "channels")
        assert "working" in said
        assert "1 message failed" in said
        said = await terminal.said("notify", "rules")
        assert "days_later = 2" in said
        assert "daily 07:30" in said

        assert "queued again" in await terminal.said("deliveries", "retry", failed)
        await box.wait_for(1)
        await deliveries(daemon, 2)
        for arguments, code, part in (
            (("retry", failed), 1, "to send it once more, set again"),
            (("retry", "99"), 4, "There is no delivery 99"),
            (("retry",), 2, "Specify one or more deliveries, or --channel"),
            (("retry", failed, "--channel", "erp"), 2, "Specify one or more deliveries, or --channel"),
            (("retry", failed, "--since", "2026-01-01"), 2, "require --channel"),
            (("retry", "--channel", "erb", "--yes"), 4, "did you mean erp?"),
            (("retry", "--channel", "team", "--since", "2020-01-01", "--include-sent", "--yes"), 2, "only webhook"),
            (("discard", failed, "--reason", "late"), 1, "is sent"),
            (("show", "99"), 4, "There is no delivery 99"),
        ):
            _, said = await terminal.run("deliveries", *arguments, code=code)
            assert part in said, arguments
        replay = ("deliveries", "retry", "--channel", "erp", "--since", "2020-01-01", "--include-sent")
        monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
        _, said = await terminal.run(*replay, code=130)
        assert "Send 1 message to erp again?" in said
        assert len(target.requests) == 1
        assert "1 message queued again." in await terminal.said(*replay, "--yes")
        async with asyncio.timeout(20):
            while len(target.requests) < 2:
                await look_again()
        assert "works" in await terminal.said("notify", "resume", "erp")
        await terminal.run("notify", "resume", "erb", code=4)


async def test_the_pages_show_channels_messages_rules_and_who_was_notified_of_a_shipment(tmp_path, box, target, clock):
    box.answers += ["250 OK", "550 no <b>such</b> user"]
    gate = asyncio.Event()

    async def answer(request):
        await gate.wait()
        return reply("ok")(request)

    target.script.append(answer)
    target.usual = reply("gone", 410)
    async with start(configured(tmp_path, SLIPS, DAILY, **erp(target), **email_channel(box)), clock) as daemon:
        await daemon.receive(event(shipment(42)))
        await daemon.settled()
        shown = await page(daemon, "/shipments/42")
        assert "Nobody has been notified yet." in shown
        await slip(daemon, 41)
        await deliveries(daemon, 1)
        await deliveries(daemon, 1, "sending")
        await daemon.consumed()  # which drops cached pages, too
        assert "Sending" in await page(daemon, "/shipments/41")
        gate.set()
        async with asyncio.timeout(20):
            while "Sending" in await page(daemon, "/shipments/41"):  # which is cached
                await look_again()
        await slip(daemon, 42)
        await deliveries(daemon, 2, "failed")
        shown = await page(daemon, "/deliveries")
        for part in ("Switched off", "Nothing is sent to this channel until you resume it.", "Working", "Failed"):
            assert part in shown, part
        assert "no &lt;b&gt;such&lt;/b&gt; user" in shown
        assert "t0ken-of-erp" not in shown
        shown = await page(daemon, "/shipments/42")
        assert "4 days later than 21 Mar" in shown
        assert shown.count("to <bdi>") == 2
        assert "days_later = 2" in await page(daemon, "/deliveries/rules")
        first, _ = (await daemon.get("/deliveries?channel=team"))["data"]
        shown = await page(daemon, f"/deliveries/{first['id']}")
        assert "4 days later than 21 Mar" in shown
        assert 'href="/shipments/42"' in shown
        assert "FLEX-42" in await page(daemon, "/deliveries?channel=team&state=failed")
        assert "No messages match these filters." in await page(daemon, "/deliveries?channel=team&state=discarded")
        await page(daemon, "/deliveries?state=wrong", 400)
        for path in ("/deliveries/99", "/deliveries/nothing"):
            await page(daemon, path, 404)
        assert f'href="/deliveries/{first["id"]}"' in await page(daemon, "/queue")


async def page(daemon, path, status=200):
    async with daemon.http.get(daemon.url + path) as answer:
        assert answer.status == status, path
        return await answer.text()


async def test_a_successful_test_message_ends_the_warning_about_a_channel(tmp_path, target, clock):
    target.script += [reply("gone", 410), reply("gone", 410)]
    async with start(configured(tmp_path, **erp(target)), clock) as daemon:
        await slip(daemon, 42)
        await deliveries(daemon, 1, "failed")
        assert not (await daemon.call("/notify/channels/erp/test"))["sent"]
        assert (await daemon.get("/status"))["notifications"]["failed"] == 1  # not the test
        assert "Channel erp is switched off" in " ".join((await daemon.get("/status"))["warnings"])
        await daemon.call("/notify/channels/erp/test")
        assert "Channel erp" not in " ".join((await daemon.get("/status"))["warnings"])
        assert (await daemon.get("/notify/channels"))["data"][0]["state"] == "working"
        assert (await daemon.call("/deliveries/retry", {"channel": "erp"}))["matching"] == 1


async def test_a_test_message_that_was_being_sent_when_the_daemon_ended_has_failed(tmp_path, target, clock):
    arrived = asyncio.Event()

    async def never(_request):
        arrived.set()
        await asyncio.Event().wait()

    target.script.append(never)
    async with start(configured(tmp_path, **erp(target)), clock) as daemon:
        asked = asyncio.create_task(ask(daemon, "/api/v1/notify/channels/erp/test", "POST"))
        await arrived.wait()
        asked.cancel()
    async with start(configured(tmp_path, **erp(target)), clock) as daemon:
        (found,) = (await daemon.get("/deliveries"))["data"]
        assert (found["state"], found["error"]) == ("failed", "interrupted: flexportd ended meanwhile")
        (channel,) = (await daemon.get("/notify/channels"))["data"]
        assert (channel["pending"], channel["pending_since"]) == (0, None)


async def test_a_message_that_was_made_for_people_is_not_sent_to_a_program(tmp_path, box, target, clock):
    async with start(configured(tmp_path, **email_channel(box, "erp")), clock) as daemon:
        box.answers += ["554 no"]
        await slip(daemon, 42)
        await deliveries(daemon, 1, "failed")
        daemon.daemon.reload(configured(tmp_path, **erp(target)))
        await daemon.call("/deliveries/1/retry")
        (failed,) = await deliveries(daemon, 1, "failed")
        assert failed["error"] == "channel erp is of type webhook now, and this message was made for email"
        assert target.bodies == []


async def test_a_replay_to_a_program_leaves_out_what_was_sent_to_people(tmp_path, box, target, clock):
    async with start(configured(tmp_path, **email_channel(box, "erp")), clock) as daemon:
        await slip(daemon, 42)
        await deliveries(daemon, 1)
        daemon.daemon.reload(configured(tmp_path, **erp(target)))
        body = {"channel": "erp", "since": "2026-01-01", "include_sent": True}
        found = await daemon.call("/deliveries/retry", body)
        assert (found["matching"], found["retried"]) == (0, 0)
        assert [one["state"] for one in (await daemon.get("/deliveries"))["data"]] == ["sent"]
