"""A signed body that is sent again, long after retention has deleted the event: it is kept and changes nothing."""

import asyncio
import json

import pytest

from flexportd.core.changes import stream_messages
from flexportd.core.changes.stream_messages import StreamPosition
from flexportd.core.events.applier import REDELIVERED
from flexportd.core.exceptions.worker import ExceptionWorker
from flexportd.core.resources.registry import REGISTRY
from flexportd.core.trusted_time import TrustedTime
from flexportd.jobs.job import JobRun
from flexportd.jobs.retention import RetentionJob, RetentionPeriods
from tests.events import event, shipment
from tests.under_test import SECRET

judge = ExceptionWorker.process


@pytest.fixture(autouse=True)
def judging_when_the_test_says_so(monkeypatch):
    async def wait(_self):
        await asyncio.Event().wait()

    monkeypatch.setattr(ExceptionWorker, "process", wait)


async def told(daemon, after=0):
    """The topics that the stream tells of, behind an entry of the journal."""
    parts = daemon.daemon
    found, place = [], StreamPosition(after)
    while True:
        reading = await parts.db.read(lambda tx: stream_messages.read_messages(tx, REGISTRY, place))  # noqa: B023
        found += [(one.topic, json.loads(one.data)["event_id"]) for one in reading.messages]
        place = reading.position
        if not reading.more:
            return found, place.entry


async def forget(daemon, clock, days=401):
    clock.turn(days=days)
    # The newest event stays always, and confirms that so much time has passed.
    await daemon.receive(event(shipment(77), created_at=clock.stamp()))
    await daemon.settled()
    settings = daemon.daemon.settings.storage
    keep = RetentionPeriods(settings.event_retention, settings.history_retention)
    await RetentionJob(daemon.daemon.db, clock, keep, TrustedTime(daemon.daemon.db, clock)).run(
        JobRun("retention", 1, "manual")
    )


async def test_an_event_sent_again_after_it_was_forgotten_raises_nothing(daemon, clock):
    fields = {"id": 5001, "type": "/shipment#weather_delay", "created_at": "2026-03-05T00:00:00.000Z"}
    body = json.dumps(event(shipment(1, updated_at="2026-03-05T00:00:00.000Z"), **fields)).encode()
    assert (await daemon.post(body))[1]["status"] == "accepted"
    await daemon.settled()
    topics, _ = await told(daemon)
    assert ("milestone.weather_delay", "5001") in topics
    assert (await daemon.post(body))[1]["status"] == "duplicate"

    await forget(daemon, clock)
    assert (await daemon.get("/events/5001", 404))["status"] == 404
    await judge(daemon.daemon.consumers.examiner)
    _, last = await told(daemon)
    exceptions = await daemon.get("/exceptions?kind=flexport_reported&state=all&limit=500")
    history = await daemon.get("/shipments/1/history?limit=500")

    status, answer = await daemon.post(body)
    assert (status, answer["status"]) == (200, "accepted")  # it is kept
    await daemon.settled()
    await judge(daemon.daemon.consumers.examiner)
    kept = await daemon.get("/events/5001")
    assert (kept["state"], kept["reason"]) == ("ignored", REDELIVERED)
    assert (kept["shipment_id"], kept["created_at"]) == (1, "2026-03-05T00:00:00.000Z")
    topics, _ = await told(daemon, last)
    assert [topic for topic, event_id in topics if event_id == "5001"] == []
    assert not [topic for topic, _ in topics if topic.startswith(("milestone.", "exception."))]
    after = await daemon.get("/exceptions?kind=flexport_reported&state=all&limit=500")
    assert after["data"] == exceptions["data"]
    assert (await daemon.get("/shipments/1/history?limit=500"))["data"] == history["data"]
    assert (await daemon.post(body))[1]["status"] == "duplicate"


async def test_an_old_event_that_was_never_here_is_applied(daemon, clock):
    """A first import brings history, and a delivery may be late: only what was here before is left out."""
    await forget(daemon, clock)
    old = event(shipment(2), id=6001, created_at="2020-01-01T00:00:00.000Z")
    await daemon.receive(old)
    await daemon.settled()
    assert (await daemon.get("/events/6001"))["state"] == "applied"


@pytest.mark.parametrize("created_at", ["2099-01-01T00:00:00.000Z", None, "1970-01-01T00:00:00Z"])
async def test_what_an_event_says_of_its_time_does_not_matter(daemon, clock, created_at):
    body = json.dumps(event(shipment(3), id=7001, created_at=created_at)).encode()
    await daemon.post(body)
    await daemon.settled()
    await forget(daemon, clock)
    await daemon.post(body)
    await daemon.settled()
    assert (await daemon.get("/events/7001"))["state"] == "ignored"


async def test_bytes_that_are_no_event_are_no_dead_letter_a_second_time(daemon, clock):
    body = b'{"no": "event"}'
    event_id = (await daemon.post(body))[1]["id"]
    (letter,) = (await daemon.get("/dead-letters"))["data"]
    await daemon.call(f"/dead-letters/{letter['id']}/discard", {"reason": "a test"})
    await forget(daemon, clock)
    assert (await daemon.get("/dead-letters"))["data"] == []
    _, last = await told(daemon)
    assert (await daemon.post(body, secret=SECRET))[0] == 200
    await daemon.settled()
    assert (await daemon.get("/dead-letters"))["data"] == []
    assert (await daemon.get(f"/events/{event_id}"))["reason"] == REDELIVERED
    assert (await told(daemon, last))[0] == []
