"""Notifications over the whole way: a webhook from Flexport arrives, and a mail leaves for a real SMTP server."""

import asyncio
import contextlib
import json
import shutil
import sqlite3
from datetime import timedelta

import pytest

from flexportd.clock import parse, stamp
from flexportd.settings import Settings
from tests.events import event, shipment
from tests.integration.test_resources_cli import Terminal
from tests.mail_server import email_channel, mail_server
from tests.small_flexport import SmallFlexport, mirroring, synced
from tests.under_test import look_again, start

SLIPS = {"name": "ETA slips", "on": "shipment.eta_changed", "when": {"days_later": 2}}
SYSTEM = {"name": "System", "on": "system.*"}


@pytest.fixture
async def box():
    async with mail_server() as found:
        yield found


def configured(tmp_path, box, *rules, **fields):
    return Settings.for_tests(
        tmp_path, **{"notify.gather": "0s", "notify.rules": list(rules), **email_channel(box), **fields}
    )


def slipped(number: int, day: str, at: str, **fields):
    return event(shipment(number, estimated_arrival_date=f"{day}T12:00:00.000-07:00", updated_at=at, **fields))


async def slip(daemon, number=42, day="2026-03-25", at="2026-03-05T00:00:00Z"):
    """A shipment that exists, and then arrives later; the event of that."""
    await daemon.receive(event(shipment(number)))
    await daemon.settled()
    last = slipped(number, day, at)
    await daemon.receive(last)
    await daemon.settled()
    return last


async def delivery(daemon, state, channel="team"):
    """The newest delivery to a channel, once it is in this state."""
    async with asyncio.timeout(20):
        while True:
            found = (await daemon.get(f"/deliveries?channel={channel}"))["data"]
            if found and found[0]["state"] == state:
                return found[0]
            await look_again()


async def hastened(daemon, clock, is_done):
    """Let the time pass until something has happened."""
    async with asyncio.timeout(20):
        while not is_done():
            clock.turn(minutes=1)
            daemon.daemon.queue.wake_all()
            await asyncio.sleep(0.1)


async def test_a_slip_of_the_arrival_is_a_mail_that_names_shipment_dates_and_days(tmp_path, box, clock):
    async with start(configured(tmp_path, box, SLIPS), clock) as daemon:
        await slip(daemon)
        await box.wait_for(1)
        assert box.subjects == ["FLEX-42 · PO 42: ETA 4 days later"]
        assert "25 Mar" in box.text()
        assert "4 days later than 21 Mar" in box.text()


async def test_the_first_sync_and_a_restored_database_send_nothing_and_what_follows_is_sent(tmp_path, box, clock):
    everything = {"name": "All", "on": "shipment.*"}
    daily = {"name": "Daily", "on": "shipment.arrived", "digest": "daily 07:30"}
    fields = {"notify.gather": "0s", "notify.rules": [everything, daily], **email_channel(box)}
    at = clock.now() + timedelta(days=2)
    flexport = SmallFlexport(shipment(1, estimated_arrival_date=stamp(at)))
    async with mirroring(flexport, tmp_path / "a", clock, **fields) as daemon:
        flexport.put(
            shipment(1, updated_at="2026-03-05T00:00:00Z", status="departure_port", estimated_arrival_date=stamp(at))
        )
        await synced(daemon)
        await box.wait_for(1)
    first = box.subjects
    assert first[0].startswith("FLEX-1 · PO 1: ")
    (tmp_path / "b").mkdir()
    shutil.copytree(tmp_path / "a" / "data", tmp_path / "b" / "data")
    with contextlib.closing(sqlite3.connect(tmp_path / "b" / "data" / "flexportd.db")) as raw, raw:
        assert raw.execute("UPDATE digest_runs SET due_at = '2026-01-01T07:30:00.000Z'").rowcount == 1
    flexport.put(shipment(1, updated_at="2026-03-06T00:00:00Z", status="in_transit_to_arrival_port"))
    flexport.put(shipment(2))
    async with mirroring(flexport, tmp_path / "b", clock, **fields) as daemon:
        assert box.subjects == first  # what changed before the first complete sync is known
        flexport.put(shipment(1, updated_at="2026-03-07T00:00:00Z", status="arrival_port"))
        await synced(daemon)
        await box.wait_for(len(first) + 1)
        assert "arrival port" in box.text()
        assert not [subject for subject in box.subjects if "digest" in subject]  # it was due before the restore


async def test_a_channel_that_fails_is_tried_again_reported_by_the_others_and_recovers(tmp_path, box, clock):
    async with mail_server() as other:
        fields = email_channel(other, "ops")
        async with start(configured(tmp_path, box, {**SLIPS, "channels": ["team"]}, SYSTEM, **fields), clock) as daemon:
            box.answers += ["451 try again later"] * 50
            await slip(daemon)
            await hastened(daemon, clock, lambda: other.mails)
            box.answers.clear()
            assert other.subjects == ["flexportd: A notification channel fails"]
            assert "451 try again later" in other.text()
            await hastened(daemon, clock, lambda: box.mails)
            assert box.subjects == ["FLEX-42 · PO 42: ETA 4 days later"]
            await other.wait_for(2)
            assert other.subjects[1] == "flexportd: Resolved: a notification channel fails"


async def test_a_message_that_is_refused_for_good_is_a_dead_letter_that_can_be_sent_again(tmp_path, box, clock):
    async with start(configured(tmp_path, box, SLIPS), clock) as daemon:
        box.answers += ["554 no spam"]
        await slip(daemon)
        failed = await delivery(daemon, "failed")
        assert "554" in failed["error"]
        await daemon.call(f"/deliveries/{failed['id']}/retry")
        await box.wait_for(1)
        sent = await delivery(daemon, "sent")
        assert (sent["id"], sent["error"]) == (failed["id"], None)


async def test_a_date_in_a_message_that_failed_was_not_told(tmp_path, box, clock):
    async with start(configured(tmp_path, box, SLIPS), clock) as daemon:
        box.answers += ["554 no spam"]
        await slip(daemon)
        await delivery(daemon, "failed")
        await daemon.receive(slipped(42, "2026-03-26", "2026-03-06T00:00:00Z"))
        await box.wait_for(1)
        assert box.subjects == ["FLEX-42 · PO 42: ETA 5 days later"]  # than the one before both


async def test_a_test_message_says_what_the_server_said(tmp_path, box, clock):
    async with start(configured(tmp_path, box, SLIPS), clock) as daemon:
        found = await daemon.call("/notify/channels/team/test")
        assert (found["sent"], found["destination"]) == (True, "team@example.com")
        box.answers += ["554 no spam"]
        found = await daemon.call("/notify/channels/team/test")
        assert not found["sent"]
        assert "554 no spam" in found["error"]
        problem = await daemon.call("/notify/channels/teem/test", status=404)
        assert "did you mean 'team'?" in problem["detail"]


async def test_a_preview_says_what_a_rule_would_have_sent_and_leaves_no_trace(tmp_path, box, clock):
    off = {**SLIPS, "enabled": False}
    async with start(configured(tmp_path, box, off), clock) as daemon:
        await slip(daemon)
        await daemon.receive(slipped(42, "2026-03-20", "2026-03-06T00:00:00Z"))
        await daemon.settled()
        found = await daemon.call("/notify/preview", {"rule": "eta SLIPS"})
        assert (found["matched"], found["sent"], found["held"]) == (2, 2, 0)
        assert [message["title"] for message in found["messages"]] == [
            "FLEX-42 · PO 42: ETA 4 days later",
            "FLEX-42 · PO 42: ETA 5 days earlier",
        ]
        assert "Now expected" in found["messages"][0]["text"]
        assert (await daemon.get("/deliveries"))["data"] == (await daemon.get("/notifications"))["data"] == []
        problem = await daemon.call("/notify/preview", {"rule": "ETA slip"}, status=404)
        assert "did you mean 'ETA slips'?" in problem["detail"]


async def test_an_event_is_explained_rule_by_rule(tmp_path, box, clock):
    far = {**SLIPS, "name": "Far", "when": {"days_later": 10}}
    other = {"name": "Customs", "on": "exception.opened"}
    async with start(configured(tmp_path, box, SLIPS, far, other), clock) as daemon:
        last = await slip(daemon)
        await box.wait_for(1)
        await delivery(daemon, "sent")
        found = await daemon.get(f"/events/{last['id']}/notifications")
        by_topic = {message["topic"]: message["rules"] for message in found["messages"]}
        slips, too_near, customs = by_topic["shipment.eta_changed"]
        assert (slips["matched"], slips["channels"]) == (True, {"team": "in delivery 1"})
        assert (too_near["matched"], too_near["reason"]) == (False, "days_later is 4, not at least 10")
        assert customs["reason"] == "the topic is not one of exception.opened"


async def test_an_explanation_counts_the_days_from_the_date_last_told(tmp_path, box, clock):
    async def rule_of(event_id):
        found = await daemon.get(f"/events/{event_id}/notifications")
        (message,) = [one for one in found["messages"] if one["topic"] == "shipment.eta_changed"]
        return message["rules"][0]

    async with start(configured(tmp_path, box, SLIPS), clock) as daemon:
        await slip(daemon, day="2026-03-22")
        last = slipped(42, "2026-03-23", "2026-03-06T00:00:00Z")
        await daemon.receive(last)
        await delivery(daemon, "sent")
        rule = await rule_of(last["id"])
        assert (rule["matched"], rule["channels"]) == (True, {"team": "in delivery 1"})
        assert rule["reason"] == "days_later is 2, at least 2"

        back = slipped(42, "2026-03-21", "2026-03-07T00:00:00Z")
        await daemon.receive(back)
        async with asyncio.timeout(20):
            while len((await daemon.get("/notifications"))["data"]) < 2:
                await look_again()
        rule = await rule_of(back["id"])
        assert rule["matched"]
        assert rule["reason"] == "days_later is -2, not at least 2; it corrects the date last told"


async def test_a_digest_can_be_seen_and_sent_now(tmp_path, box, clock):
    daily = {**SLIPS, "digest": "daily 07:30"}
    async with start(configured(tmp_path, box, daily), clock) as daemon:
        await slip(daemon)
        async with asyncio.timeout(20):
            while not (await daemon.get("/notifications"))["data"]:
                await look_again()
        (seen,) = (await daemon.call("/notify/digests", {"rule": "ETA slips"}))["data"]
        assert "4 days later" in seen["text"]
        assert seen["delivery_id"] is None
        (sent,) = (await daemon.call("/notify/digests", {"dry_run": False}))["data"]
        await box.wait_for(1)
        assert box.subjects == [sent["title"]]
        (again,) = (await daemon.call("/notify/digests", {}))["data"]
        assert "4 days later" not in (again["text"] or "")


async def test_two_digests_that_are_asked_for_at_once_do_not_say_the_same(tmp_path, box, clock):
    daily = {**SLIPS, "digest": "daily 07:30"}
    async with start(configured(tmp_path, box, daily), clock) as daemon:
        await slip(daemon)
        async with asyncio.timeout(20):
            while not (await daemon.get("/notifications"))["data"]:
                await look_again()
        asked = [daemon.call("/notify/digests", {"dry_run": False}) for _ in range(4)]
        texts = [found["data"][0]["text"] or "" for found in await asyncio.gather(*asked)]
        assert sum("4 days later" in text for text in texts) == 1


async def test_a_digest_that_is_asked_for_at_its_time_is_not_sent_twice(tmp_path, box, clock):
    daily = {**SLIPS, "digest": "daily 07:30", "timezone": "UTC"}
    async with start(configured(tmp_path, box, daily), clock) as daemon:
        await slip(daemon)
        async with asyncio.timeout(20):
            while not (await daemon.get("/notifications"))["data"]:
                await look_again()
        clock.turn(days=1)
        asked = daemon.call("/notify/digests", {"dry_run": False})
        await asyncio.gather(asked, daemon.daemon.notify.composer.compose_due())
        await box.wait_for(1)
        texts = [
            (await daemon.get(f"/deliveries/{one['id']}"))["text"] for one in (await daemon.get("/deliveries"))["data"]
        ]
        assert sum("4 days later" in text for text in texts) == 1


async def test_a_digest_that_is_switched_off_can_be_seen_but_is_not_sent(tmp_path, box, clock):
    off = {"name": "Off", "on": "shipment.arrived", "digest": "daily 07:30", "enabled": False}
    daily = {**off, "name": "Daily", "enabled": True}
    async with start(configured(tmp_path, box, off, daily), clock) as daemon:
        await daemon.receive(event(shipment(1, estimated_arrival_date=stamp(clock.now() + timedelta(days=2)))))
        await daemon.settled()
        found = (await daemon.call("/notify/digests", {"dry_run": False}))["data"]
        assert [(one["rule"], one["delivery_id"]) for one in found] == [("Daily", "1")]
        (seen,) = (await daemon.call("/notify/digests", {"rule": "Off"}))["data"]
        assert "Arriving" in seen["text"]
        refused = await daemon.call("/notify/digests", {"rule": "Off", "dry_run": False}, 409)
        assert "enabled = true" in refused["detail"]


async def test_rules_and_channels_change_with_the_configuration_while_the_daemon_runs(tmp_path, box, clock):
    async with start(configured(tmp_path, box, {**SLIPS, "enabled": False}), clock) as daemon:
        await slip(daemon)
        daemon.daemon.reload(configured(tmp_path, box, SLIPS, **email_channel(box, "boss")))
        await daemon.receive(slipped(42, "2026-03-29", "2026-03-06T00:00:00Z"))
        await box.wait_for(2)
        found = (await daemon.get("/notifications"))["data"]
        assert {one["channel"] for one in found} == {"team", "boss"}
        assert json.dumps(found).count("sent") >= 2


async def test_what_waits_for_a_digest_is_not_sent_to_a_channel_that_its_rule_no_longer_has(tmp_path, box, clock):
    async with mail_server() as other:
        fields = email_channel(other, "boss")
        daily = {**SLIPS, "digest": "daily 07:30"}
        settings = configured(tmp_path, box, {**daily, "channels": ["team", "boss"]}, **fields)
        async with start(settings, clock) as daemon:
            await slip(daemon)
            async with asyncio.timeout(20):
                while len((await daemon.get("/notifications"))["data"]) < 2:
                    await look_again()
            daemon.daemon.reload(configured(tmp_path, box, {**daily, "channels": ["boss"]}, **fields))
            async with asyncio.timeout(20):
                while not (found := (await daemon.get("/notifications?state=dropped"))["data"]):
                    await look_again()
            assert [(one["channel"], one["reason"]) for one in found] == [
                ("team", "its rule no longer sends to this channel")
            ]
            (waits,) = (await daemon.get("/notifications?state=waiting"))["data"]
            assert (waits["channel"], box.mails, other.mails) == ("boss", [], [])


async def test_the_commands_try_out_notifications(tmp_path, box, clock, capsys):
    terminal = Terminal(tmp_path, capsys)
    daily = {"name": "Daily", "on": "shipment.updated", "digest": "daily 07:30"}
    async with start(configured(tmp_path, box, SLIPS, daily), clock) as daemon:
        last = await slip(daemon)
        await box.wait_for(1)
        assert "Sent to team (email, team@example.com)." in await terminal.said("notify", "test", "team")
        box.answers += ["554 no spam"]
        _, problem = await terminal.run("notify", "test", "team", code=1)
        assert "554 no spam" in problem
        said = await terminal.said("notify", "preview", "eta slips")
        assert "ETA slips: in the last 30 days, would have sent 1 message, held 0 of 1 match." in said
        assert "Now expected" in said
        said = await terminal.said("notify", "explain", str(last["id"]))
        assert "ETA slips matched: days_later is 4, at least 2" in said
        assert "team: in delivery 1" in said
        said = await terminal.said("notify", "digest", "--now", "--dry-run")
        assert "Rule Daily, channel team (not sent): Daily digest" in said
        assert len(box.mails) == 2
        said = await terminal.said("notify", "digest", "--now")
        assert "Rule Daily, channel team (delivery " in said
        await box.wait_for(3)


async def test_without_channels_an_unknown_rule_is_explained(daemon):
    """The shipped rules apply to all channels, so there are none before the first channel."""
    async with daemon.http.post(daemon.url + "/api/v1/notify/preview", json={"rule": "ETA slips"}) as answer:
        assert answer.status == 404
        assert "no channels that they could send to" in (await answer.json(content_type=None))["detail"]


async def test_an_outage_that_ended_because_the_api_key_was_removed_holds_nothing_back(tmp_path, box, clock):
    """Without a key the lists are never read again: nothing waits for that."""
    late = {"name": "Late", "on": "exception.opened", "when": {"kind": "late_departure"}}
    fields = {"notify.gather": "0s", "notify.rules": [late], **email_channel(box)}
    flexport = SmallFlexport(shipment(1))
    async with mirroring(flexport, tmp_path, clock, **fields) as daemon:
        flexport.failing = dict.fromkeys(flexport.objects, 403)
        number = (await daemon.call("/sync/run", status=202))["id"]
        async with asyncio.timeout(30):
            while (await daemon.get(f"/sync/runs/{number}"))["state"] == "running":
                await look_again()
        await daemon.daemon.conditions.check()
        assert [one.kind for one in daemon.daemon.conditions.open_conditions] == ["sync_failed"]
    async with start(Settings.for_tests(tmp_path, **fields), clock) as daemon:
        await daemon.daemon.conditions.check()
        clock.turn(minutes=6)
        await daemon.daemon.conditions.check()
        assert daemon.daemon.conditions.open_conditions == ()
        clock.turn(minutes=1)
        due = stamp(clock.now() - timedelta(days=2))
        await daemon.receive(event(shipment(2, estimated_departure_date=due, updated_at=stamp(clock.now()))))
        await daemon.settled()
        await hastened(daemon, clock, lambda: box.subjects)
        assert box.subjects == ["FLEX-2 · PO 2: Late departure"]
        assert clock.now() < parse(due) + timedelta(days=3)


async def test_the_first_sync_after_an_api_key_was_added_sends_nothing_and_what_follows_is_sent(tmp_path, box, clock):
    rules = [{"name": "Late", "on": "exception.opened"}, {"name": "New", "on": "shipment.created"}]
    fields = {"notify.gather": "0s", "notify.rules": rules, **email_channel(box)}
    async with start(Settings.for_tests(tmp_path, **fields), clock) as daemon:
        later = {"estimated_departure_date": stamp(clock.now() + timedelta(days=9)), "updated_at": stamp(clock.now())}
        await daemon.receive(event(shipment(1, **later)))
        await daemon.settled()
        await hastened(daemon, clock, lambda: box.subjects)
    assert box.subjects == ["FLEX-1 · PO 1: New"]
    old = {"estimated_departure_date": stamp(clock.now() - timedelta(days=9)), "updated_at": stamp(clock.now())}
    flexport = SmallFlexport(*(shipment(number, **old) for number in range(1, 9)))
    async with mirroring(flexport, tmp_path, clock, **fields) as daemon:
        async with asyncio.timeout(20):
            while len((await daemon.get("/exceptions?kind=late_departure"))["data"]) < 8:
                await look_again()
        clock.turn(minutes=1)
        later = {"estimated_departure_date": stamp(clock.now() + timedelta(days=9)), "updated_at": stamp(clock.now())}
        await daemon.receive(event(shipment(9, **later)))
        await daemon.settled()
        await hastened(daemon, clock, lambda: len(box.subjects) > 1)
        assert box.subjects == ["FLEX-1 · PO 1: New", "FLEX-9 · PO 9: New"]
