"""Exceptions over the whole way: a webhook opens one, another closes it; told, listed, and kept across restarts."""

import asyncio
import json
import re
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flexportd.clock import stamp
from flexportd.core.changes.stream_messages import StreamPosition, read_messages
from flexportd.core.exceptions import worker
from flexportd.core.exceptions.model import KINDS, SEVERITIES, ExceptionRules
from flexportd.core.exceptions.worker import ExceptionWorker
from flexportd.core.trusted_time import TrustedTime
from flexportd.errors import UnavailableError
from flexportd.expose.api.exceptions import STATES
from flexportd.jobs.job import JobRun
from flexportd.jobs.retention import RetentionJob, RetentionPeriods
from flexportd.sandbox import Sandbox, SandboxOptions
from flexportd.settings import Settings
from flexportd.storage.database import Database
from flexportd.storage.repositories.exceptions import EvaluationState, Exceptions
from tests.events import container, event, leg, shipment
from tests.flexport_double import listing
from tests.integration.test_daemon_sync import configured, ended
from tests.integration.test_middleware import ask, new_key
from tests.mirrored import KEY
from tests.small_flexport import SmallFlexport, mirroring
from tests.stored import AT, REGISTRY, put, record
from tests.under_test import DatedClock, start

NOW = datetime(2026, 3, 21, 12, tzinfo=UTC)


class StoodClock(DatedClock):
    """Stands still until it is turned."""

    def __init__(self, now=NOW):
        self.at = now

    def now(self):
        return self.at

    def turn(self, **by):
        self.at += timedelta(**by)


LATE = {"mode": "ocean", "estimated_departure": "2026-03-10T12:00:00+08:00"}


class Judged:
    """A store with what judges it."""

    def __init__(self, db, clock, rules=None):
        self.db, self.clock = db, clock
        self.examiner = ExceptionWorker(db, clock, rules or ExceptionRules())

    async def put(self, *records):
        await self.db.write(put(*records))
        await self.examiner.process()

    async def rows(self, where="closed_at IS NULL"):
        sql = f"SELECT kind, resource, resource_id, shipment_id FROM exceptions WHERE {where} ORDER BY id"
        return await self.db.read(lambda tx: tx.raw.execute(sql).fetchall())

    async def kinds(self):
        return {row[0] for row in await self.rows()}

    async def told(self):
        found = await self.db.read(lambda tx: read_messages(tx, REGISTRY, StreamPosition(0)))
        documents = [json.loads(one.data) for one in found.messages]
        topics = ("exception.", "invoice.due", "invoice.overdue")
        return [one for one in documents if one["topic"].startswith(topics)]


@pytest.fixture
async def judged(tmp_path):
    async with Database.open(tmp_path / "data") as db:
        found = Judged(db, StoodClock())
        await found.examiner.process()
        yield found


# --- opening, moving, closing ---


async def test_it_opens_once_moves_closes_by_itself_and_comes_back_as_another(judged):
    await judged.put(record("shipments", 1, **LATE))
    assert await judged.rows() == [("late_departure", "shipments", "1", 1)]
    judged.clock.turn(hours=1)
    await judged.put(record("shipments", 1, **LATE, name="Lamps"))  # nothing that matters here
    first = await judged.db.read(lambda tx: tx.exceptions.by_id(1))
    assert first.updated_at == first.opened_at
    await judged.put(record("shipments", 1, **LATE | {"estimated_departure": "2026-03-12T12:00:00+08:00"}))
    moved = await judged.db.read(lambda tx: tx.exceptions.by_id(1))
    assert (moved.opened_at, moved.updated_at) == (first.opened_at, stamp(judged.clock.now()))
    assert moved.evidence == {"estimated_departure": "2026-03-12"}
    await judged.put(record("shipments", 1, **LATE, status="arrival_port"))
    closed = await judged.db.read(lambda tx: tx.exceptions.by_id(1))
    assert closed.closed_at == stamp(judged.clock.now())
    await judged.put(record("shipments", 1, **LATE))  # Flexport corrected itself
    assert await judged.rows("1") == [("late_departure", "shipments", "1", 1)] * 2
    topics = [(one["topic"], one["exception_id"]) for one in await judged.told()]
    assert topics == [("exception.opened", "1"), ("exception.closed", "1"), ("exception.opened", "2")]


async def test_what_is_told_says_what_it_is_and_where_without_money(judged):
    await judged.put(
        record("shipments", 1, **LATE),
        record("invoices", "i", shipment_id=1, name="FLEX-1-1", due_date="2026-03-01", outstanding_amount="12.34"),
    )
    told = {one["topic"] + one.get("kind", ""): one for one in await judged.told()}
    one = told["exception.openedlate_departure"]
    assert (one["severity"], one["resource"], one["resource_id"], one["shipment_id"]) == (
        "critical",
        "shipments",
        "1",
        1,
    )
    assert one["evidence"] == {"estimated_departure": "2026-03-10"}
    assert told["exception.openedinvoice_overdue"]["resource"] == "invoices"  # so hidden from who sees no invoices
    assert told["invoice.overdue"]["evidence"]["name"] == "FLEX-1-1"
    assert "12.34" not in json.dumps(list(told.values()))


async def test_that_an_invoice_is_due_says_what_it_was_expected_to_amount_to(judged):
    _, costly = record("shipments", 1)
    costly = msgspec.structs.replace(costly, raw='{"id":1,"freight_cost":512.14}')
    money = {"total_amount": "612.14", "total_currency": "USD", "quote_currency": "USD", "outstanding_amount": "1"}
    await judged.put(
        ("shipments", costly),
        record("invoices", "i", shipment_id=1, due_date="2026-03-01", **money),
        record("invoices", "other", shipment_id=1, shipment_ids=[1, 2], due_date="2026-03-01", **money),
    )
    told = {one["resource_id"]: one["evidence"] for one in await judged.told() if one["topic"] == "invoice.overdue"}
    assert told["i"] == {
        "due_date": "2026-03-01", "expected_amount": "512.14", "expected_currency": "USD", "difference": "100",
    }  # fmt: skip
    assert told["other"] == {"due_date": "2026-03-01"}  # the cost of one of its shipments is not its own


async def test_an_overdue_invoice_is_compared_with_a_cost_that_comes_later(judged):
    money = {"total_amount": "612.14", "total_currency": "USD", "quote_currency": "USD", "outstanding_amount": "1"}
    invoices = (
        record("invoices", "i", shipment_id=1, shipment_ids=[1], due_date="2026-03-01", **money),
        record("invoices", "later", shipment_id=1, shipment_ids=[1], due_date="2026-05-01", **money),
    )
    await judged.put(record("shipments", 1), *invoices)

    async def evidence():
        return [one.evidence for one in await judged.db.read(lambda tx: tx.exceptions.of_shipments([1]))]

    assert await evidence() == [{"due_date": "2026-03-01"}]
    for cost, difference in ((512.14, "100"), (600, "12.14")):
        _, costly = record("shipments", 1)
        raw = json.dumps({"id": 1, "freight_cost": cost})
        await judged.put(("shipments", msgspec.structs.replace(costly, raw=raw)))
        assert [one.get("difference") for one in await evidence()] == [difference]
    await judged.put(record("shipments", 1))
    assert await evidence() == [{"due_date": "2026-03-01"}]
    topics = [one["topic"] for one in await judged.told()]
    assert sorted(topics) == ["exception.opened", "invoice.overdue"]


async def test_an_object_that_moves_to_another_shipment_takes_its_exception_along(judged):
    hold = {"release_state": "hold", "release_status": "customs_hold"}
    await judged.put(record("shipments", 1), record("shipments", 2))
    await judged.put(record("customs_entries", "e", shipment_id=1, **hold))
    assert await judged.rows() == [("customs_hold", "customs_entries", "e", 1)]
    await judged.put(record("customs_entries", "e", shipment_id=2, **hold))
    assert await judged.rows("1") == [("customs_hold", "customs_entries", "e", 2)]  # the same one
    await judged.put(record("customs_entries", "e", shipment_id=None, **hold))
    assert await judged.rows() == []


async def test_an_object_that_moves_in_a_large_sync_takes_its_exception_along(judged, monkeypatch):
    arrived = {"actual_arrival": "2026-03-15T12:00:00-07:00", "last_free_day": "2026-03-19T12:00:00-07:00"}
    hold = {"release_state": "hold", "release_status": "cbp_hold"}
    for ship in (1, 2, 1):
        await judged.put(
            *(record("shipments", number, mode="ocean", status="arrival_port") for number in (1, 2)),
            record("containers", 5, shipment_id=ship, **arrived),
            record("customs_entries", "e", shipment_id=ship, **hold),
        )
        assert sorted(await judged.rows("1")) == [
            ("customs_hold", "customs_entries", "e", ship),
            ("free_time_expired", "containers", "5", ship),
        ]
        for name in ("read_batch", "busy_read_batch"):
            monkeypatch.setattr(judged.examiner, name, 1)  # its two shipments are looked at one after the other
    assert [one["topic"] for one in await judged.told()] == ["exception.opened"] * 2


async def test_children_alone_are_enough(judged):
    await judged.put(record("shipments", 1, mode="ocean", status="arrival_port"))
    arrived = "2026-03-18T12:00:00-07:00"
    box = {"shipment_id": 1, "last_free_day": "2026-03-22T07:00:00+00:00", "actual_arrival": arrived}
    await judged.put(record("containers", 5, **box))
    assert await judged.kinds() == {"free_time_expiring"}
    await judged.put(record("containers", 5, **box, actual_pickup="2026-03-21T12:00:00-07:00"))
    assert await judged.kinds() == set()


async def test_a_state_without_a_moved_field_is_evaluated_for_shipments_alone(judged, monkeypatch):
    box = record("containers", 5, shipment_id=1, container_number="MSCU1234567")
    await judged.put(record("shipments", 1, mode="ocean"), box)
    looked, plain = [], worker.evaluate

    def noting(tx, subjects, *others):
        looked.extend(subjects)
        return plain(tx, subjects, *others)

    monkeypatch.setattr(worker, "evaluate", noting)
    await judged.put(box)
    assert looked == []
    await judged.put(record("shipments", 1, mode="ocean"))  # Flexport sent it again: it is not silent
    assert looked == [("shipments", 1)]
    await judged.put(record("containers", 5, shipment_id=1, container_number="MSCU1234560"))
    assert looked == [("shipments", 1)] * 2


# --- what follows from the time alone ---


async def test_time_alone_opens_what_comes_due_and_looks_at_nothing_else(judged, monkeypatch):
    soon = {"mode": "ocean", "estimated_departure": "2026-03-22T12:00:00+08:00"}
    due = {"name": "FLEX-1-1", "due_date": "2026-03-26", "outstanding_amount": "1"}
    await judged.put(
        *(record("shipments", number, mode="ocean") for number in range(100, 300)),
        record("shipments", 1, **soon),
        record("invoices", "i", shipment_id=1, **due),
        record("bookings", 7, status="submitted", created_at=stamp(NOW - timedelta(days=1))),
    )
    assert await judged.rows() == []
    looked, plain = [], worker.evaluate

    def noting(tx, subjects, *others):
        looked.extend(subjects)
        return plain(tx, subjects, *others)

    monkeypatch.setattr(worker, "evaluate", noting)
    await judged.examiner.process()
    assert looked == []
    judged.clock.at = datetime(2026, 3, 22, 15, 59, tzinfo=UTC)
    await judged.examiner.process()
    assert await judged.rows() == []
    judged.clock.turn(minutes=1)
    await judged.examiner.process()
    assert await judged.kinds() == {"late_departure"}
    judged.clock.at = datetime(2026, 3, 27, tzinfo=UTC)
    await judged.examiner.process()
    assert await judged.kinds() == {"late_departure", "invoice_overdue", "booking_unanswered"}
    assert set(looked) == {("shipments", 1), ("invoices", "i"), ("bookings", 7)}


async def test_that_an_invoice_is_due_and_overdue_is_told_once(judged):
    fields = {"name": "FLEX-1-1", "due_date": "2026-03-24", "outstanding_amount": "1"}
    await judged.put(record("invoices", "i", **fields))
    for day in range(22, 30):
        judged.clock.at = datetime(2026, 3, day, tzinfo=UTC)
        await judged.put(record("invoices", "i", **fields, recipient=f"Somebody {day}"))
    topics = [one["topic"] for one in await judged.told()]
    assert topics == ["invoice.due", "exception.opened", "invoice.overdue"]
    await judged.put(record("invoices", "i", **fields, status="paid"))
    await judged.put(record("invoices", "i", **fields))
    assert [one["topic"] for one in await judged.told()].count("invoice.overdue") == 1
    later = fields | {"due_date": "2026-03-30"}
    await judged.put(record("invoices", "i", **later))
    judged.clock.at = datetime(2026, 4, 2, tzinfo=UTC)
    await judged.put(record("invoices", "i", **later, recipient="Somebody else"))
    topics = [one["topic"] for one in await judged.told() if one["topic"].startswith("invoice.")]
    assert topics == ["invoice.due", "invoice.overdue"] * 2  # another due day is another promise


# --- the first look, other rules, what breaks off ---


async def test_what_stood_before_anybody_looked_is_listed_and_not_told(tmp_path):
    async with Database.open(tmp_path / "data") as db:
        await db.write(put(*(record("shipments", number, **LATE) for number in range(250)), record("bookings", 1)))
        judged = Judged(db, StoodClock())
        await judged.examiner.process()
        assert len(await judged.rows()) == 250
        assert await judged.told() == []
        await judged.put(record("shipments", 900, **LATE))
        assert [one["shipment_id"] for one in await judged.told()] == [900]


async def test_until_the_lists_were_read_whole_nothing_is_told(tmp_path):
    async with Database.open(tmp_path / "data") as db:
        judged = Judged(db, StoodClock())
        judged.examiner.reads_lists = True
        await judged.put(record("shipments", 1, **LATE))  # a webhook before the first sync
        assert await judged.kinds() == {"late_departure"}
        await db.write(lambda tx: tx.sync.begin("full", "manual", AT, ["shipments"]))
        await judged.put(record("shipments", 2, **LATE))
        assert len(await judged.rows()) == 1  # it is read first
        await db.write(lambda tx: tx.raw.execute("UPDATE sync_runs SET state = 'complete', ended_at = ?", (AT,)))
        await judged.examiner.process()
        assert len(await judged.rows()) == 2
        assert await judged.told() == []
        await judged.put(record("shipments", 3, **LATE))
        assert [one["shipment_id"] for one in await judged.told()] == [3]
        await db.write(lambda tx: tx.sync.begin("full", "schedule", AT, ["shipments"]))
        judged.examiner.rules = ExceptionRules(silent_days=20)  # while they are read once more
        await judged.examiner.process()
        await judged.put(record("shipments", 4, **LATE))
        assert [one["shipment_id"] for one in await judged.told()] == [3, 4]


async def test_other_thresholds_are_taken_over_at_once(judged):
    await judged.put(record("shipments", 1, mode="ocean", actual_departure="2026-03-03T12:00:00+08:00"))
    assert await judged.kinds() == {"silent"}
    judged.examiner.rules = ExceptionRules(silent_days=20)
    await judged.examiner.process()
    assert await judged.kinds() == set()
    judged.examiner.rules = ExceptionRules(silent_days=3)
    await judged.examiner.process()
    assert await judged.kinds() == {"silent"}


async def test_what_breaks_off_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(ExceptionWorker, "read_batch", 10)
    monkeypatch.setattr(ExceptionWorker, "write_batch", 7)
    async with Database.open(tmp_path / "data") as db:
        await db.write(put(*(record("shipments", number, **LATE) for number in range(95))))
        judged, writes, plain = Judged(db, StoodClock()), [], db.write

        def breaking(work):
            writes.append(1)
            if len(writes) == 6:
                raise UnavailableError("the disk is full")
            return plain(work)

        with monkeypatch.context() as broken:
            broken.setattr(db, "write", breaking)
            with pytest.raises(UnavailableError):
                await judged.examiner.process()
        done = len(await judged.rows())
        assert 0 < done < 95
        again = Judged(db, StoodClock())  # as after a crash
        await again.examiner.process()
        assert [row[3] for row in await again.rows("1")] == list(range(95))
        assert await again.told() == []


async def test_one_that_cannot_be_judged_stops_no_other_and_is_tried_again_later(judged, monkeypatch):
    await judged.put(record("shipments", 1, **LATE))
    plain, asked = worker.evaluate_shipment, []

    def failing(case, rules, now):
        asked.append(case.id)
        if case.id == 1:
            raise ValueError("no such day")
        return plain(case, rules, now)

    with monkeypatch.context() as broken:
        broken.setattr(worker, "evaluate_shipment", failing)
        await judged.put(record("shipments", 1), record("shipments", 2, **LATE))
        assert [row[3] for row in await judged.rows()] == [1, 2]  # what stood of it still does
        await judged.examiner.process()
        assert asked.count(1) == 1
        judged.clock.turn(hours=2)
        await judged.examiner.process()
        assert asked.count(1) == 2
    judged.clock.turn(hours=2)
    await judged.examiner.process()
    assert [row[3] for row in await judged.rows()] == [2]


@pytest.mark.parametrize("bad", [1, 2, 4])
async def test_a_finding_that_cannot_be_written_keeps_no_other_out_and_is_said(judged, monkeypatch, bad):
    plain = Exceptions.open

    def failing(self, row, at):
        if row.shipment_id == bad:
            raise OverflowError("Python int too large to convert to SQLite INTEGER")
        return plain(self, row, at)

    monkeypatch.setattr(Exceptions, "open", failing)
    await judged.put(*(record("shipments", number, **LATE) for number in (1, 2, 3, 4)))
    assert [row[3] for row in await judged.rows()] == [number for number in (1, 2, 3, 4) if number != bad]
    assert judged.examiner.skipped_reason.endswith("OverflowError: Python int too large to convert to SQLite INTEGER")
    await judged.put(record("shipments", 5, **LATE))
    assert (await judged.rows())[-1][3] == 5


async def test_closed_ones_are_forgotten_with_the_history(judged):
    await judged.put(record("shipments", 1, **LATE), record("shipments", 2, **LATE))
    await judged.put(record("shipments", 1), record("shipments", 2))
    await judged.put(record("shipments", 3, **LATE))
    judged.clock.turn(days=40)
    retention = RetentionJob(
        judged.db,
        judged.clock,
        RetentionPeriods(None, timedelta(days=30)),
        TrustedTime(judged.db, judged.clock),
    )
    judged.clock.sleep = lambda _: asyncio.sleep(0)
    await retention.run(JobRun("retention", 1, "manual"))
    assert [row[3] for row in await judged.rows("1")] == [3]


# --- any order of the same events ends alike ---

EVENTS = [
    event(shipment(1, updated_at="2026-03-01T00:00:00.000Z"), id=1, type="/shipment#created"),
    event(
        shipment(1, updated_at="2026-03-05T00:00:00.000Z", status="in_transit_to_arrival_port"),
        id=2, type="/shipment#weather_delay", occurred_at="2026-03-05T00:00:00.000Z",
    ),
    event(leg(10, 1, actual_departure_date="2026-03-04T02:30:00.000+08:00"), id=3, type="/shipment_leg#departed",
          occurred_at="2026-03-03T18:30:00.000Z"),
    event(
        container(20, 1, last_free_day_date="2026-03-20T07:00:00.000Z", available_for_pickup_date="2026-03-16T12:00:00.000-07:00"),
        id=4, type="/ocean/shipment_container#free_time_to_expire", occurred_at="2026-03-18T00:00:00.000Z",
    ),
    event(shipment(1, updated_at="2026-03-06T00:00:00.000Z", status="in_transit_to_arrival_port"), id=5,
          type="/shipment#customs_agriculture_hold", occurred_at="2026-03-06T00:00:00.000Z"),
]  # fmt: skip


@given(order=st.permutations(range(len(EVENTS))), looks=st.sets(st.integers(0, len(EVENTS) - 1)))
@hypothesis_settings(max_examples=8)
async def test_any_order_of_the_same_events_ends_in_the_same_open_set(order, looks):
    found = []
    for numbers, stops in ((range(len(EVENTS)), set()), (order, looks)):
        folder = Path(tempfile.mkdtemp(prefix="fxd-"))
        settings = Settings.for_tests(folder)
        async with start(settings, StoodClock(datetime(2026, 3, 25, tzinfo=UTC))) as daemon:
            for place, number in enumerate(numbers):
                await daemon.receive(EVENTS[number])
                if place in stops:
                    await daemon.settled()
                    await standing(daemon)
            await daemon.settled()
            found.append(await standing(daemon))
        shutil.rmtree(folder)
    assert found[0] == found[1]
    assert {kind for kind, *_ in found[0]} >= {"free_time_expired", "customs_hold"}


async def standing(daemon):
    """What is open once all that came is applied and judged."""
    await daemon.settled()
    await daemon.consumed()
    page = (await daemon.get("/exceptions?limit=500"))["data"]
    return sorted((one["kind"], one["resource"], one["resource_id"], json.dumps(one["evidence"])) for one in page)


# --- over HTTP ---


async def test_a_webhook_opens_one_and_another_closes_it(settings, clock):
    async with start(settings, clock) as daemon:
        await standing(daemon)  # what is known at the first check is no news
        streamed = asyncio.create_task(messages(daemon, "exception.*", 2))
        await daemon.receive(event(shipment(1), id=1))
        await standing(daemon)
        page = await daemon.get("/exceptions")
        (one,) = page["data"]
        assert (one["kind"], one["severity"], one["shipment_id"]) == ("late_departure", "critical", 1)
        assert one["summary"].startswith("Due to depart on 2026-03-03")
        assert await daemon.get(f"/exceptions/{one['id']}") == one | {"notes": [], "actions": []}
        assert (await daemon.get("/shipments/FLEX-1/exceptions"))["data"] == [one]
        assert [row["id"] for row in (await daemon.get("/shipments?exception=silent,late_departure"))["data"]] == [1]
        assert (await daemon.get("/shipments?exception=silent"))["data"] == []
        gone = shipment(1, updated_at="2026-03-05T00:00:00.000Z", status="final_destination")
        await daemon.receive(event(gone, id=2))
        await standing(daemon)
        assert (await daemon.get("/exceptions"))["data"] == []
        assert (await daemon.get("/shipments?exception=late_departure"))["data"] == []
        (closed,) = (await daemon.get("/exceptions?state=closed"))["data"]
        assert closed["closed_at"] is not None
        assert (await daemon.get("/exceptions?state=all&kind=late_departure&shipment=1"))["data"] == [closed]
        told = await streamed
        assert [topic for topic, _ in told] == ["exception.opened", "exception.closed"]
        assert {document["exception_id"] for _, document in told} == {one["id"]}


async def messages(daemon, topics, count, key=None, last=None):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    query = f"?topics={topics}" + (f"&last_event_id={last}" if last else "")
    found, topic = [], ""
    async with daemon.http.get(f"{daemon.url}/api/v1/stream{query}", headers=headers) as answer, asyncio.timeout(20):
        async for line in answer.content:
            if line.startswith(b"event: "):
                topic = line[7:].strip().decode()
            if line.startswith(b"data: "):
                found.append((topic, json.loads(line[6:])))
                if len(found) == count:
                    break
    return found


async def test_a_restart_goes_on_and_time_that_passed_meanwhile_counts(settings, clock):
    async with start(settings, clock) as daemon:
        ready = (clock.now() + timedelta(days=2)).date().isoformat()
        soon = f"{ready}T12:00:00.000+08:00"
        await daemon.receive(event(shipment(1, estimated_departure_date=soon, estimated_arrival_date=None), id=1))
        assert await standing(daemon) == []
    clock.turn(days=4)
    async with start(settings, clock) as daemon:
        async with asyncio.timeout(20):
            while not await standing(daemon):
                await asyncio.sleep(0.01)
        assert [one[0] for one in await standing(daemon)] == ["late_departure"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("kind=late", ("kind", "late_departure")),
        ("severity=bad", ("severity", "critical")),
        ("state=gone", ("state", "open, closed, all")),
        ("shipment=x", ("shipment", "digits")),
        ("opened_after=soon", ("opened_after", "2026-03-21")),
        ("sort=kind", ("sort", "opened_at")),
        ("nothing=1", ("nothing", "severity")),
    ],
)
async def test_a_bad_value_is_refused_with_what_is_allowed(daemon, query, words):
    problem = await daemon.get(f"/exceptions?{query}", status=400)
    assert problem["parameter"] == words[0]
    assert words[1] in problem["detail"]
    await daemon.get("/exceptions/abc", status=404)
    await daemon.get("/exceptions/99", status=404)
    await daemon.get("/shipments/99/exceptions", status=404)
    problem = await daemon.get("/shipments?exception=late", status=400)
    assert "late_departure" in problem["detail"]


async def test_pages_forms_and_conditions_are_those_of_every_list(settings, clock):
    async with start(settings, clock) as daemon:
        await daemon.receive(*(event(shipment(number), id=number) for number in range(1, 8)))
        await standing(daemon)
        whole = (await daemon.get("/exceptions?sort=opened_at"))["data"]
        assert len(whole) == 7
        seen, cursor = [], ""
        while cursor is not None:
            page = await daemon.get(f"/exceptions?sort=opened_at&limit=2{cursor and '&cursor=' + cursor}")
            seen += page["data"]
            cursor = page["next"]
        assert seen == whole
        async with daemon.http.get(f"{daemon.url}/api/v1/exceptions?format=csv&fields=id,kind") as answer:
            lines = (await answer.text()).splitlines()
        assert lines[0] == "id,kind"
        assert len(lines) == 8
        async with daemon.http.get(f"{daemon.url}/api/v1/exceptions?format=ndjson") as answer:
            assert [json.loads(line) for line in (await answer.text()).splitlines()] == whole[::-1]
        async with daemon.http.get(f"{daemon.url}/api/v1/exceptions?limit=2") as answer:
            assert 'rel="next"' in answer.headers["Link"]
            etag = answer.headers["ETag"]
        headers = {"If-None-Match": etag}
        async with daemon.http.get(f"{daemon.url}/api/v1/exceptions?limit=2", headers=headers) as answer:
            assert answer.status == 304


async def test_a_customers_key_sees_its_own_and_no_invoices(tmp_path, clock):
    settings = Settings.for_tests(tmp_path, **{"api.require_key": True})
    async with start(settings, clock) as daemon:
        key = await new_key(daemon, name="customer", consignees=["Example Imports"])
        async with asyncio.timeout(20):
            while not daemon.daemon.consumers.examiner.notifies:  # what is known at the first check is no news
                await asyncio.sleep(0.01)
        other = [{"_object": "/company_entity", "id": 78, "name": "Others", "ref": "id-78"}]
        await daemon.receive(event(shipment(1), id=1), event(shipment(2, consignees=other), id=2))
        invoice = {"shipment_id": 1, "name": "FLEX-1-1", "due_date": "2026-01-01", "outstanding_amount": "5"}
        await daemon.daemon.db.write(put(record("invoices", "i", **invoice)))
        daemon.daemon.consumers.wake()
        token = await new_key(daemon, scope="admin")
        daemon.http.headers["Authorization"] = f"Bearer {token}"
        async with asyncio.timeout(20):
            while len(await standing(daemon)) < 3:
                await asyncio.sleep(0.01)
        everything = (await daemon.get("/exceptions"))["data"]
        mine = [one for one in everything if one["shipment_id"] == 1 and one["kind"] == "late_departure"]
        for path in ("/exceptions", "/shipments/1/exceptions", "/exceptions?state=all"):
            status, _, body = await ask(daemon, f"/api/v1{path}", key=key)
            found = json.loads(body)["data"]
            assert status == 200
            assert [{**one, "id": None} for one in found] == [{**one, "id": None} for one in mine]
        status, _, body = await ask(daemon, f"/api/v1/exceptions/{found[0]['id']}", key=key)
        assert (status, json.loads(body)) == (200, found[0] | {"notes": [], "actions": []})
        for one in everything:  # their numbers count the exceptions of all: for the customer they are others
            assert (await ask(daemon, f"/api/v1/exceptions/{one['id']}", key=key))[0] == 404
        assert (await ask(daemon, "/api/v1/shipments/2/exceptions", key=key))[0] == 404
        for spelt in ("invoice_overdue", "silent,invoice_overdue", "%EF%BB%BFinvoice_overdue", "%1Dinvoice_overdue%20"):
            assert (await ask(daemon, f"/api/v1/shipments?exception={spelt}", key=key))[0] == 403
        status, _, body = await ask(daemon, "/api/v1/exceptions?kind=invoice_overdue", key=key)
        assert (status, json.loads(body)["data"]) == (200, [])
        await daemon.receive(event(shipment(3, consignees=other), id=3), event(shipment(4), id=4))
        await standing(daemon)
        told = await messages(daemon, "exception.*,invoice.*", 2, key=key, last="0")
        assert [document["shipment_id"] for _, document in told] == [1, 4]


async def test_a_first_sync_of_a_whole_account_is_listed_and_tells_nobody(tmp_path):
    async with (
        Sandbox(SandboxOptions(speed=0, shipments=40, api_key=KEY), DatedClock()) as sandbox,
        start(configured(tmp_path, sandbox.url), DatedClock()) as daemon,
    ):
        await ended(daemon, (await daemon.call("/sync/run", status=202))["id"])
        examiner = daemon.daemon.consumers.examiner
        async with asyncio.timeout(30):
            while not (examiner.is_complete and examiner.notifies):
                daemon.daemon.consumers.wake()
                await asyncio.sleep(0.02)
        page = (await daemon.get("/exceptions?limit=500"))["data"]
        assert 0 < len(page) < 40
        db = daemon.daemon.db
        entries = await db.read(
            lambda tx: tx.raw.execute("SELECT notices FROM journal WHERE notices IS NOT NULL").fetchall()
        )
        assert not any("exception." in row[0] or "invoice." in row[0] for row in entries)


async def test_problems_that_flexport_reported_before_the_first_sync_tell_nobody(tmp_path):
    """What polling finds of the weeks before the installation is history, however soon each of its jobs runs."""

    class Remembering(SmallFlexport):
        def answer(self, request):
            if request.path == "/events":
                return web.json_response(listing(events, total=len(events)))
            return super().answer(request)

    clock = DatedClock()
    happened = {days: stamp(clock.now() - timedelta(days=days)) for days in (5, 30)}
    events = [
        event(
            shipment(days), id=days, type="/shipment#cargo_breakdown_delay", created_at=at, occurred_at=at,
            shipment=shipment(days),
        )
        for days, at in happened.items()
    ]  # fmt: skip
    async with mirroring(Remembering(shipment(5), shipment(30)), tmp_path, clock) as daemon:
        examiner = daemon.daemon.consumers.examiner
        async with asyncio.timeout(30):
            while not (examiner.is_complete and examiner.notifies):
                daemon.daemon.consumers.wake()
                await asyncio.sleep(0.02)
        jobs = daemon.daemon.scheduler
        for name in ("events_wide", "events_deep"):
            await jobs.wait_until_idle(name)
            await jobs.run_now(name)
            await jobs.wait_until_idle(name)
        reported = [one for one in await standing(daemon) if one[0] == "flexport_reported"]
        assert {str(one[2]) for one in reported} == {"5", "30"}
        entries = await daemon.daemon.db.read(
            lambda tx: tx.raw.execute("SELECT notices FROM journal WHERE notices IS NOT NULL").fetchall()
        )
        assert not [row[0] for row in entries if "exception." in row[0]]


async def test_thresholds_change_while_it_runs(tmp_path, clock):
    given = {"exceptions.required_documents": {"ocean": ["packing_list/commercial_invoice_packing_list"]}}
    async with start(Settings.for_tests(tmp_path), clock) as daemon:
        await daemon.receive(event(shipment(1, actual_departure_date="2026-03-04T12:00:00.000+08:00"), id=1))
        assert "missing_documents" not in {one[0] for one in await standing(daemon)}
        changed = ["exceptions.required_documents.ocean"]
        assert daemon.daemon.reload(Settings.for_tests(tmp_path, **given)) == (changed, [])
        async with asyncio.timeout(20):
            while "missing_documents" not in {one[0] for one in await standing(daemon)}:
                await asyncio.sleep(0.01)


# --- pages and commands ---


async def page(daemon, path):
    async with daemon.http.get(daemon.url + path) as answer:
        assert answer.status == 200
        return await answer.text()


async def test_pages_tell_of_what_stands_and_what_is_watched(settings, clock):
    async with start(settings, clock) as daemon:
        await standing(daemon)
        found = await page(daemon, "/exceptions")
        assert "No open exceptions" in found
        assert "Free time ended" in found
        await daemon.receive(event(shipment(1, name="Lamps <b>"), id=1))
        await standing(daemon)
        found = await page(daemon, "/exceptions")
        assert "1 open, most severe first" in found
        assert 'href="/shipments/1"' in found
        assert "Late departure" in found
        assert re.search(r"Due to depart on 3 Mar( \d{4})?; no departure reported\.", found)
        assert "Lamps &lt;b&gt;" in found
        assert "1 critical" in await page(daemon, "/")
        of_one = await page(daemon, "/shipments/1")
        assert "Late departure" in of_one
        assert 'href="/api/v1/shipments/1/exceptions?state=all"' in of_one
        await daemon.receive(event(shipment(1, updated_at="2026-03-05T00:00:00Z", status="final_destination"), id=2))
        await standing(daemon)
        assert "Late departure" not in await page(daemon, "/shipments/1")
        assert "No open exceptions" in await page(daemon, "/")


async def test_the_commands_list_and_show(settings, clock):
    async with start(settings, clock) as daemon:

        def run(*arguments):
            return daemon.command("exceptions", *arguments)

        await standing(daemon)
        assert await run() == (0, "No open exceptions.\n", "")
        await daemon.receive(event(shipment(1), id=1))
        await standing(daemon)
        code, said, _ = await run()
        assert code == 0
        assert "Late departure" in said
        assert (await run("list", "--kind", "silent")) == (0, "No matches.\n", "")
        code, said, _ = await run("--severity", "critical", "--json")
        assert [one["shipment_id"] for one in json.loads(said)["data"]] == [1]
        code, said, _ = await run("show", "1")
        assert code == 0
        assert "estimated departure  2026-03-03" in said
        assert (await run("show", "99"))[0] == 4
        assert (await run("list", "--kind", "late"))[0] == 2
    assert (await run())[0] == 3


def test_the_command_offers_what_there_is():
    from flexportd.cli.commands import exceptions as command

    assert (command.KINDS, command.SEVERITIES, command.STATES) == (KINDS, SEVERITIES, STATES)


# --- since when, of whom ---


async def test_an_exception_shows_since_when_it_is_so_and_is_sorted_by_that(daemon):
    sailing = {"estimated_departure_date": "2026-02-20T12:00:00.000+08:00", "estimated_arrival_date": None}
    await daemon.receive(event(shipment(1), id=1), event(shipment(2, **sailing), id=2))
    await standing(daemon)
    since = {1: "2026-03-03T16:00:00.000Z", 2: "2026-02-20T16:00:00.000Z"}
    for sort, order in (("since", [2, 1]), ("-since", [1, 2])):
        page_of = (await daemon.get(f"/exceptions?sort={sort}"))["data"]
        assert [one["shipment_id"] for one in page_of] == order
        assert {one["shipment_id"]: one["since"] for one in page_of} == since
    assert all(one["opened_at"] > one["since"] for one in page_of)
    async with daemon.http.get(f"{daemon.url}/api/v1/exceptions?format=csv&fields=since&sort=since") as answer:
        assert (await answer.text()).replace('"', "").split() == ["since", since[2], since[1]]
    assert "Since" in await page(daemon, f"/exceptions/{page_of[0]['id']}")


async def test_an_upgrade_checks_everything_again_and_tells_nobody_since_when(judged):
    await judged.put(record("shipments", 1, **LATE))
    (told,) = await judged.told()
    before = await judged.db.read(lambda tx: tx.exceptions.by_id(1))
    assert before.since == "2026-03-10T16:00:00.000Z"  # the end of the 10th at its place
    await judged.db.write(lambda tx: tx.raw.execute("UPDATE exceptions SET since = opened_at"))  # as migrated
    state = await judged.db.read(lambda tx: tx.meta.load("exceptions", EvaluationState))
    old = EvaluationState(version="of an older release", journal=state.journal, is_loud=True)
    await judged.db.write(lambda tx: tx.meta.save("exceptions", old))
    judged.examiner.reset()
    await judged.examiner.process()
    after = await judged.db.read(lambda tx: tx.exceptions.by_id(1))
    assert (after.since, after.opened_at) == (before.since, before.opened_at)
    assert await judged.told() == [told]


async def test_a_check_of_everything_that_the_disk_refused_is_done_later(judged, monkeypatch):
    judged.clock.turn(days=30)
    await judged.put(record("shipments", 1, mode="ocean", estimated_departure="2026-04-10T12:00:00+08:00"))
    assert await judged.kinds() == {"late_departure"}
    judged.clock.turn(days=-30)
    judged.examiner.reevaluate()  # the clock was set back

    async def refuse(_):
        raise UnavailableError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(judged.db, "write", refuse)
        with pytest.raises(UnavailableError):
            await judged.examiner.process()
    await judged.examiner.process()
    assert await judged.kinds() == set()


async def test_silence_from_before_a_shipment_was_seen_is_listed_and_not_told(judged):
    sailing = {"mode": "ocean", "actual_departure": "2026-03-03T12:00:00+08:00"}
    resource, old = record("shipments", 1, **sailing)
    _, new = record("shipments", 2, **sailing)
    seen = "2026-03-20T00:00:00.000Z"
    await judged.put(
        (resource, type(old)(**{**fields_of(old), "as_of": "2025-03-04T00:00:00.000Z", "first_seen_at": seen})),
        (resource, new),
    )
    assert [row[3] for row in await judged.rows("kind = 'silent'")] == [1, 2]
    assert [one["shipment_id"] for one in await judged.told()] == [2]


def fields_of(one):
    return {name: getattr(one, name) for name in one.__struct_fields__}


async def test_an_invoice_for_two_shipments_belongs_to_both(settings, clock):
    async with start(settings, clock) as daemon:
        due = {"name": "F-1", "due_date": "2026-01-01", "outstanding_amount": "5"}
        await daemon.daemon.db.write(
            put(record("shipments", 1), record("shipments", 2), record("invoices", "i", **due))
        )
        await daemon.daemon.db.write(
            lambda tx: tx.raw.executemany(
                "INSERT OR IGNORE INTO list_entries VALUES ('invoices.shipment_ids', ?, 'i')", [(1,), (2,)]
            )
        )
        daemon.daemon.consumers.wake()
        async with asyncio.timeout(20):
            while not await standing(daemon):
                await asyncio.sleep(0.01)
        for number in (1, 2):
            for path in (f"/shipments/{number}/exceptions", f"/exceptions?shipment={number}"):
                assert [one["kind"] for one in (await daemon.get(path))["data"]] == ["invoice_overdue"]
            assert "Invoice overdue" in await page(daemon, f"/shipments/{number}")
        found = (await daemon.get("/shipments?exception=invoice_overdue&sort=id"))["data"]
        assert [one["id"] for one in found] == [1, 2]


async def test_one_shipment_shows_its_arrival_as_first_estimated_and_the_slip(daemon):
    for number, day in ((1, "2026-03-20"), (2, "2026-03-24"), (3, "2026-03-22")):
        moved = shipment(
            1, updated_at=f"2026-03-0{number}T00:00:00.000Z", estimated_arrival_date=f"{day}T12:00:00.000-07:00"
        )
        await daemon.receive(event(moved, id=number))
        await daemon.settled()
    one = await daemon.get("/shipments/1")
    assert (one["first_estimated_arrival_date"], one["arrival_slip_days"]) == ("2026-03-20", 2)
    assert one["first_estimated_arrival_at"] == "2026-03-20T19:00:00.000Z"
    assert "arrival_slip_days" not in await daemon.get("/shipments/1?fields=name")
