"""Writes whose outcome stays unknown: the exception opens after an hour, tells what is known, and closes with the end."""

from datetime import timedelta

import pytest

from flexportd.clock import stamp
from flexportd.core.exceptions import worker
from flexportd.core.exceptions.model import UNKNOWN_OPENS, UNKNOWN_RISES
from flexportd.core.exceptions.sentences import sentence
from flexportd.core.outbox import actions
from flexportd.core.outbox.actions import Actor
from flexportd.core.outbox.request_builder import WriteRules
from flexportd.storage.database import Database
from tests.integration.test_exceptions import Judged, StoodClock
from tests.stored import new_operation, record

RULES = WriteRules(enabled=True, allow=frozenset({"products"}))
ANA = Actor("ana", "key:2")


@pytest.fixture
async def judged(tmp_path):
    async with Database.open(tmp_path) as db:
        yield Judged(db, StoodClock())


async def unknown(judged, error="No answer", *, needs_decision=False, number=None, **fields):
    """An operation whose outcome becomes unknown, or is still unknown; its id."""
    at = judged.clock.stamp()

    def write(tx):
        found = number or tx.operations.add(new_operation(**fields), at)
        tx.operations.set_state(found, "unknown", at, error, needs_decision=needs_decision)
        return found

    return await judged.db.write(write)


async def later(judged, **by):
    judged.clock.turn(**by)
    await judged.examiner.process()


async def found(judged, number):
    rows = await judged.db.read(lambda tx: tx.exceptions.open_of_objects("operations", [number]))
    return rows[0] if rows else None


async def test_it_opens_after_an_hour_is_kept_current_gets_critical_after_a_day_and_closes(judged):
    await judged.put(record("shipments", 7, mode="ocean"))
    number = await unknown(judged, shipment_id=7)
    await judged.db.write(lambda tx: tx.operations.add(new_operation(), judged.clock.stamp()))  # the newest is kept
    since = judged.clock.stamp()
    await later(judged, minutes=59)
    assert await found(judged, number) is None
    assert judged.examiner.poll_interval() == 60  # nothing else wakes it
    await unknown(judged, "Timed out", number=number)  # a further look-up: it is unknown since the first
    await later(judged, minutes=1)
    row = await found(judged, number)
    assert (row.kind, row.severity, row.since, row.shipment_id) == ("operation_unknown", "warning", since, 7)
    assert row.evidence == {
        "operation_id": str(number), "title": "Create product SKU-1", "operation_kind": "product.create",
        "unknown_since": since, "needs_decision": False, "error": "Timed out",
    }  # fmt: skip
    await unknown(judged, "Several match", number=number, needs_decision=True)
    await judged.put(record("shipments", 7, mode="air"))  # its shipment is evaluated by itself
    row = await found(judged, number)
    assert sentence(row.kind, row.evidence) == (
        "Create product SKU-1: whether Flexport made it is unknown since 2026-03-21; a person must decide "
        "(Several match)"
    )
    await later(judged, seconds=(UNKNOWN_RISES - UNKNOWN_OPENS).total_seconds() - 1)
    assert (await found(judged, number)).severity == "warning"
    await later(judged, seconds=1)
    assert (await found(judged, number)).severity == "critical"
    await judged.db.write(lambda tx: actions.resolve_cancelled(tx, number, ANA, "not needed", judged.clock.stamp()))
    later_on = stamp(judged.clock.now() + timedelta(days=1))
    assert await judged.db.write(lambda tx: tx.operations.delete_old(later_on, 10)) == 0  # still an exception
    await judged.examiner.process()
    assert await found(judged, number) is None
    assert await judged.db.write(lambda tx: tx.operations.delete_old(later_on, 10)) == 1
    told = [one["topic"] for one in await judged.told() if one["topic"].startswith("exception.")]
    assert told == ["exception.opened", "exception.worsened", "exception.closed"]


async def test_one_that_a_person_sends_again_is_in_doubt_only_since_then(judged):
    number = await unknown(judged, needs_decision=True)
    await later(judged, hours=2)
    assert await found(judged, number) is not None
    await judged.db.write(
        lambda tx: actions.resend(tx, number, ANA, RULES, reason="not there", at=judged.clock.stamp())
    )
    await later(judged, minutes=1)
    assert await found(judged, number) is None
    await unknown(judged, number=number)
    await later(judged, minutes=59)
    assert await found(judged, number) is None
    await later(judged, minutes=1)
    assert await found(judged, number) is not None


async def test_more_than_one_step_finds_all(judged, monkeypatch):
    monkeypatch.setattr(worker.ExceptionWorker, "read_batch", 3)
    monkeypatch.setattr(worker.ExceptionWorker, "busy_read_batch", 3)
    numbers = [await unknown(judged, title=f"SKU-{each}") for each in range(10)]
    await later(judged, hours=1)
    assert all([await found(judged, number) for number in numbers])
    await judged.db.write(lambda tx: [tx.operations.end(each, "confirmed", judged.clock.stamp()) for each in numbers])
    await judged.examiner.process()
    assert not any([await found(judged, number) for number in numbers])
    assert judged.examiner.poll_interval() == worker.POLL_INTERVAL


async def test_after_a_restore_all_that_were_not_sent_are_in_doubt(judged):
    at = judged.clock.stamp()
    number = await judged.db.write(lambda tx: tx.operations.add(new_operation(), at))
    await judged.db.write(lambda tx: tx.operations.suspect_all(at, "the database was restored"))
    await later(judged, hours=1)
    assert (await found(judged, number)).evidence["error"] == "the database was restored"
