"""What people do about exceptions, and how exceptions get worse: the store, the API, the command, customers."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from flexportd.clock import stamp
from flexportd.core.exceptions import actions
from flexportd.core.exceptions.model import KINDS, ExceptionRules
from flexportd.core.exceptions.worker import ExceptionWorker
from flexportd.core.trusted_time import TrustedTime
from flexportd.errors import ConflictError, InvalidError
from flexportd.jobs.job import JobRun
from flexportd.jobs.retention import RetentionJob, RetentionPeriods
from flexportd.settings import Settings
from flexportd.storage.database import Database
from flexportd.storage.repositories.exceptions import is_snoozed
from tests.events import event, shipment
from tests.integration.test_exceptions import Judged, StoodClock, messages, standing
from tests.integration.test_middleware import ask, new_key
from tests.stored import record
from tests.under_test import start

NOW = datetime(2026, 3, 21, 12, tzinfo=UTC)
BEFORE = datetime(2026, 3, 1, tzinfo=UTC)
YESTERDAY = "2026-03-20T12:00:00+08:00"
SAILED = {"mode": "ocean", "actual_departure": "2026-03-10T12:00:00+08:00"}
RULES = ExceptionRules(required={"ocean": [["packing_list"], ["commercial_invoice"]]}, silent_days=60)


@pytest.fixture
async def judged(tmp_path):
    async with Database.open(tmp_path / "data") as db:
        found = Judged(db, StoodClock(NOW), RULES)
        await found.examiner.process()
        yield found


async def act(judged, work, *values, number=1, **options):
    def write(tx):
        work(tx, tx.exceptions.by_id(number), "maya", judged.clock.stamp(), *values, **options)

    await judged.db.write(write)


async def row(judged, number=1):
    return await judged.db.read(lambda tx: tx.exceptions.by_id(number))


async def number_of(judged, kind):
    """The last one of a kind."""
    sql = "SELECT max(id) FROM exceptions WHERE kind = ?"
    return await judged.db.read(lambda tx: tx.raw.execute(sql, (kind,)).fetchone()[0])


async def topics(judged, kind):
    return [one["topic"] for one in await judged.told() if one.get("kind") == kind]


def restarted(judged):
    """Another worker, as after a crash."""
    judged.examiner = ExceptionWorker(judged.db, judged.clock, judged.examiner.rules)
    return judged


# --- every kind: opens, gets worse, is snoozed, closes ---


def milestone_row(number, name, at="2026-03-20T00:00:00.000Z"):
    return f"""INSERT INTO events (id, type, source, received_at, state, ended_at, created_at, occurred_at, shipment_id)
        VALUES ('e{number}', '/shipment#{name}', 'webhook', '{at}', 'applied', '{at}', '{at}', '{at}', 1)"""


def box(**fields):
    return record("containers", 5, shipment_id=1, actual_arrival="2026-03-18T12:00:00-07:00", **fields)


def of_shipment(**fields):
    return record("shipments", 1, **{"mode": "ocean", **fields})


def slipped(day):
    return of_shipment(**SAILED, estimated_arrival=f"2026-04-{day}T12:00:00-07:00", status="in_transit_to_arrival_port")


ARRIVED = of_shipment(**SAILED, status="arrival_port")
HOLD = {"shipment_id": 1, "release_state": "hold", "release_status": "customs_hold"}
DUE = {"name": "F-1", "due_date": "2026-03-20", "outstanding_amount": "1"}
BOOKED = {"created_at": "2026-03-18T00:00:00.000Z"}
DOCUMENT = record("documents", "d", shipment_id=1, document_type="packing_list")
GONE_DOCUMENT = record("documents", "d", "2026-03-21T12:00:00.000Z", shipment_id=1, document_type="packing_list")

UNKNOWN_OPERATION = """INSERT INTO operations (key, kind, target, title, body, digest, state, created_at, created_by,
    creator, queued_at, updated_at, unknown_since) VALUES ('k', 'product.create', 't', 'SKU-1', '{}', 'd', 'unknown',
    '2026-03-21T00:00:00.000Z', 'erp', 'key:1', '2026-03-21T00:00:00.000Z', '2026-03-21T02:00:00.000Z',
    '2026-03-21T02:00:00.000Z')"""

LIFE = {
    # kind: (what leads to it, what makes it worse: days or writes, what closes it)
    "late_pickup": ([of_shipment(estimated_picked_up_in_full=YESTERDAY)], 3, [of_shipment(status="arrival_port")]),
    "late_departure": ([of_shipment(estimated_departure=YESTERDAY)], 3, [of_shipment(status="arrival_port")]),
    "late_arrival": ([of_shipment(**SAILED, estimated_arrival=YESTERDAY)], 3, [ARRIVED]),
    "late_delivery": (
        [of_shipment(status="arrival_port", estimated_delivered_in_full=YESTERDAY)], 3,
        [of_shipment(status="final_destination")],
    ),
    "eta_slipped": ([slipped("05"), slipped("09")], [slipped("10")], [slipped("05")]),
    "customs_hold": (
        [of_shipment(), record("customs_entries", "c", **HOLD)], 4,
        [record("customs_entries", "c", **HOLD | {"release_state": "cleared"})],
    ),
    "free_time_expiring": (
        [ARRIVED, box(last_free_day="2026-03-23T07:00:00+00:00")], 1, [box(actual_delivery="2026-03-21T12:00:00Z")]
    ),
    "free_time_expired": (
        [ARRIVED, box(last_free_day="2026-03-20T07:00:00+00:00")], 3, [box(actual_delivery="2026-03-21T12:00:00Z")]
    ),
    "empty_return": (
        [ARRIVED, box(actual_delivery="2026-03-15T12:00:00-07:00")], 4, [box(empty_returned_date="2026-03-21")]
    ),
    "silent": (
        [of_shipment(**SAILED)], 7, [of_shipment(**SAILED, status="arrival_port")]
    ),
    "missing_documents": ([of_shipment(**SAILED), DOCUMENT], [GONE_DOCUMENT], [of_shipment(status="final_destination")]),
    "invoice_overdue": (
        [record("invoices", "i", **DUE)], 3, [record("invoices", "i", **DUE | {"status": "paid"})]
    ),
    "booking_unanswered": (
        [record("bookings", 7, status="submitted", **BOOKED)], 3, [record("bookings", 7, status="booked", **BOOKED)]
    ),
    "operation_unknown": (
        [UNKNOWN_OPERATION, of_shipment()], 1, ["UPDATE operations SET state = 'cancelled'", of_shipment(name="x")],
    ),
    "flexport_reported": (
        [milestone_row(1, "weather_delay"), of_shipment()],
        [milestone_row(2, "vessel_delay_port_congestion"), of_shipment()],
        [of_shipment(actual_departure="2026-03-21T12:00:00Z")],
    ),
}  # fmt: skip


async def happen(judged, step):
    if isinstance(step, int):
        judged.clock.turn(days=step)
        await judged.examiner.process()
        return
    for one in step:
        if isinstance(one, str):
            await judged.db.write(lambda tx, sql=one: tx.raw.execute(sql))
        else:
            await judged.put(one)


def test_the_table_has_every_kind():
    assert set(LIFE) == set(KINDS)


@pytest.mark.parametrize("kind", LIFE)
async def test_a_snooze_ends_when_it_gets_worse_and_at_its_date_and_each_is_told_once(judged, kind):
    opening, worse, closing = LIFE[kind]
    if kind == "silent":
        judged.clock.at = datetime(2026, 5, 3, 3, tzinfo=UTC)  # 60 days after `AT`
    await happen(judged, opening)
    judged.clock.turn(minutes=1)
    await judged.examiner.process()
    number = await number_of(judged, kind)
    first = await row(judged, number)
    await act(judged, actions.snooze, None, until_worse=True, number=number)
    assert is_snoozed(await row(judged, number), judged.clock.now())
    await happen(judged, worse)
    second = await row(judged, number)
    assert second.degree > first.degree
    assert (second.snoozed_at, second.snoozed_until_worse, second.snoozed_degree) == (None, False, None)
    judged.clock.turn(minutes=1)
    await restarted(judged).examiner.process()
    assert await topics(judged, kind) == ["exception.opened", "exception.worsened"]
    end = judged.clock.now() + timedelta(hours=2)
    await act(judged, actions.snooze, stamp(end), until_worse=False, number=number)
    judged.clock.at = end - timedelta(seconds=1)
    await judged.examiner.process()
    assert is_snoozed(await row(judged, number), judged.clock.now())
    judged.clock.at = end
    assert not is_snoozed(await row(judged, number), judged.clock.now())
    for _ in range(2):
        await restarted(judged).examiner.process()
    assert await topics(judged, kind) == ["exception.opened", "exception.worsened", "exception.snooze_ended"]
    assert (await row(judged, number)).snoozed_at is None
    await act(judged, actions.snooze, None, until_worse=True, number=number)
    await happen(judged, closing)
    last = await row(judged, number)
    assert (last.closed_at, last.snoozed_at) == (judged.clock.stamp(), None)
    assert (await topics(judged, kind))[-1] == "exception.closed"


async def test_severity_rises_with_time_and_each_rise_is_told_once(judged):
    await judged.put(of_shipment(estimated_departure=YESTERDAY))
    for _ in range(30):
        judged.clock.turn(hours=12)
        await restarted(judged).examiner.process()
    told = [(one["topic"], one["severity"]) for one in await judged.told()]
    assert told == [("exception.opened", "warning"), ("exception.worsened", "critical")]
    assert {*(await judged.told())[1]} == {*(await judged.told())[0]}  # the same fields
    assert (await row(judged)).updated_at == "2026-03-28T00:00:00.000Z"  # evidence and severity, not the days alone


async def test_a_date_that_swings_is_told_once(judged):
    await happen(judged, [slipped("01"), slipped("04")])
    number = await number_of(judged, "eta_slipped")
    for _ in range(3):
        await judged.put(slipped("09"))
        await judged.put(slipped("04"))
    assert await topics(judged, "eta_slipped") == ["exception.opened", "exception.worsened"]
    found = await row(judged, number)
    assert (found.severity, found.peak_severity, found.degree) == ("warning", "critical", 3)


async def test_a_snooze_until_it_gets_worse_bears_what_is_as_bad_as_it_was(judged):
    await happen(judged, [slipped("01"), slipped("06")])
    number = await number_of(judged, "eta_slipped")
    await act(judged, actions.snooze, None, until_worse=True, number=number)
    for day in ("04", "06", "05"):
        await judged.put(slipped(day))
        assert (await row(judged, number)).snoozed_at is not None
    await judged.put(slipped("07"))
    assert (await row(judged, number)).snoozed_at is None
    assert await topics(judged, "eta_slipped") == ["exception.opened", "exception.worsened"]


async def test_a_snooze_until_a_date_bears_that_it_gets_worse_but_says_so(judged):
    await happen(judged, [slipped("01"), slipped("06")])
    number = await number_of(judged, "eta_slipped")
    await act(judged, actions.snooze, stamp(NOW + timedelta(days=2)), until_worse=False, number=number)
    await judged.put(slipped("07"))
    await judged.put(slipped("09"))
    assert (await row(judged, number)).snoozed_at is not None
    assert await topics(judged, "eta_slipped") == ["exception.opened", "exception.worsened"]  # critical now


async def test_what_is_worse_before_anybody_looked_or_by_other_thresholds_is_not_told(judged):
    await judged.put(of_shipment(estimated_departure=YESTERDAY))
    judged.clock.turn(days=10)
    judged.examiner.rules = ExceptionRules(silent_days=20)
    await judged.examiner.process()
    assert (await row(judged)).severity == "critical"
    judged.clock.turn(days=10)
    await judged.examiner.process()
    assert await topics(judged, "late_departure") == ["exception.opened"]


async def test_a_problem_that_returns_starts_without_actions(judged):
    late = of_shipment(estimated_departure=YESTERDAY)
    await judged.put(late)
    await act(judged, actions.acknowledge)
    await act(judged, actions.assign, "Maya")
    await judged.put(of_shipment(status="arrival_port"))
    await judged.put(late)
    number = await number_of(judged, "late_departure")
    again = await row(judged, number)
    assert (again.acknowledged_at, again.assigned_to, again.closed_at) == (None, None, None)
    assert await judged.db.read(lambda tx: tx.exceptions.actions(number)) == []
    assert number > 1
    closed = await row(judged)
    assert (closed.acknowledged_by, closed.assigned_to) == ("maya", "Maya")
    for work, *values in ((actions.acknowledge,), (actions.unacknowledge,), (actions.assign, "X"), (actions.unsnooze,)):
        with pytest.raises(ConflictError, match=r"exception 1 closed at 2026-03-21T12:00:00.000Z; only notes"):
            await act(judged, work, *values)
    await act(judged, actions.note, "It was a typo.")


async def test_actions_are_recorded_once_and_are_bounded_and_go_with_their_exception(judged, monkeypatch):
    await judged.put(of_shipment(estimated_departure=YESTERDAY), record("shipments", 2))
    for _ in range(2):
        await act(judged, actions.acknowledge)
        await act(judged, actions.assign, "Maya")
        await act(judged, actions.unsnooze)
    recorded = await judged.db.read(lambda tx: tx.exceptions.actions(1))
    assert [(one["action"], one["by"], one["text"]) for one in recorded] == [
        ("acknowledge", "maya", None), ("assign", "maya", "Maya")
    ]  # fmt: skip
    monkeypatch.setattr(actions, "MAX_ACTIONS", 3)
    await act(judged, actions.note, "one")
    with pytest.raises(ConflictError, match="3 recorded actions"):
        await act(judged, actions.note, "two")
    await judged.put(of_shipment(status="arrival_port"), record("shipments", 2, **LATE))
    judged.clock.turn(days=40)
    periods = RetentionPeriods(None, timedelta(days=30))
    retention = RetentionJob(judged.db, judged.clock, periods, TrustedTime(judged.db, judged.clock))
    judged.clock.sleep = lambda _: asyncio.sleep(0)
    await retention.run(JobRun("retention", 1, "manual"))
    assert await judged.rows("id = 1") == []
    assert await judged.db.read(lambda tx: tx.exceptions.actions(1)) == []


LATE = {"mode": "ocean", "estimated_departure": YESTERDAY}


async def meanwhile(judged, monkeypatch, until, *, until_worse, number=1):
    """Evaluate, and snooze after what is new was read and before it is written."""
    plain = judged.db.write

    async def write(work):
        monkeypatch.setattr(judged.db, "write", plain)
        await act(judged, actions.snooze, until, until_worse=until_worse, number=number)
        return await plain(work)

    monkeypatch.setattr(judged.db, "write", write)
    await judged.examiner.process()


async def test_a_snooze_that_someone_changes_while_it_ends_goes_on(judged, monkeypatch):
    await judged.put(of_shipment(**LATE))
    await act(judged, actions.snooze, stamp(NOW + timedelta(hours=1)), until_worse=False)
    judged.clock.turn(hours=1)
    later = stamp(judged.clock.now() + timedelta(hours=1))
    await meanwhile(judged, monkeypatch, later, until_worse=False)
    assert (await row(judged)).snoozed_until == later
    assert await topics(judged, "late_departure") == ["exception.opened"]


async def test_a_snooze_of_what_just_got_worse_ends_at_once(judged, monkeypatch):
    await judged.put(of_shipment(**LATE))
    judged.clock.turn(days=3)
    await meanwhile(judged, monkeypatch, None, until_worse=True)
    assert (await row(judged)).snoozed_at is None
    assert await topics(judged, "late_departure") == ["exception.opened", "exception.worsened"]


# --- until when ---


@pytest.mark.parametrize(
    ("text", "zone", "end"),
    [
        ("3d", "UTC", "2026-03-24T12:00:00.000Z"),
        ("1h30m", "UTC", "2026-03-21T13:30:00.000Z"),
        ("2026-03-29", "Europe/Berlin", "2026-03-28T23:00:00.000Z"),  # the day on which summer time begins
        ("2026-03-30", "Europe/Berlin", "2026-03-29T22:00:00.000Z"),
        ("2026-03-22", "Pacific/Kiritimati", None),  # it has begun there
        ("2026-03-21", "Pacific/Honolulu", None),
        ("2026-03-29T02:30", "Europe/Berlin", "2026-03-29T01:30:00.000Z"),  # a time that this day leaves out
        ("2026-03-22T09:00+01:00", "America/New_York", "2026-03-22T08:00:00.000Z"),
        ("2026-03-22T09:00:00Z", "America/New_York", "2026-03-22T09:00:00.000Z"),
        ("2026-03-21T12:00:00Z", "UTC", None),
        ("0d", "UTC", None),
        ("367d", "UTC", None),
        ("9999-12-31", "UTC", None),
        ("99999999999999d", "UTC", None),
        ("tomorrow", "UTC", None),
        ("2026-02-30", "UTC", None),
        ("", "UTC", None),
        ("3 d", "UTC", None),
        ("٣d", "UTC", None),
        ("2026-W50", "UTC", None),  # ISO 8601 as well, but not what is described
        ("20260401", "UTC", None),
    ],
)
def test_until_when(text, zone, end):
    from flexportd.clock import zone_of

    if end is not None:
        assert actions.parse_until(text, NOW, zone_of(zone)) == end
        return
    with pytest.raises(InvalidError, match=r"^until is ") as error:
        actions.parse_until(text, NOW, zone_of(zone))
    assert error.value.parameter == "until"


# --- the API, the command, the pages ---


async def send(daemon, path, body=None, key=None):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with daemon.http.post(f"{daemon.url}/api/v1{path}", json=body, headers=headers) as answer:
        return answer.status, json.loads(await answer.read())


async def test_actions_over_the_api_have_the_name_of_the_key_and_change_what_is_cached(tmp_path, clock):
    settings = Settings.for_tests(tmp_path, **{"api.require_key": True})
    async with start(settings, clock) as daemon:
        writer, reader = await new_key(daemon, name="ops", scope="write"), await new_key(daemon, name="wall")
        customer = await new_key(daemon, name="customer", consignees=["Example Imports"])
        daemon.http.headers["Authorization"] = f"Bearer {writer}"
        await standing(daemon)
        await daemon.receive(event(shipment(1), id=1))
        await standing(daemon)
        tags = set()

        async def changed(path="/exceptions"):
            status, headers, _ = await ask(daemon, f"/api/v1{path}", key=reader)
            assert status == 200
            assert headers["ETag"] not in tags
            tags.add(headers["ETag"])

        await changed()
        pages = ("/shipments/1", "/exceptions", "/exceptions/1")
        for path in pages:
            assert b"Acknowledged by" not in (await ask(daemon, path, key=reader))[2]
        status, found = await send(daemon, "/exceptions/1/acknowledge", key=writer)
        for path in pages:
            assert b"Acknowledged by ops" in (await ask(daemon, path, key=reader))[2], path
        assert (status, found["acknowledged_by"]) == (200, "ops")
        await changed()
        assert (await send(daemon, "/exceptions/1/assign", {"assigned_to": " Maya Lin "}, writer))[0] == 200
        await changed()
        assert (await send(daemon, "/exceptions/1/note", {"text": "Called the carrier"}, writer))[0] == 200
        until = stamp(clock.now() + timedelta(days=3))
        status, found = await send(daemon, "/exceptions/1/snooze", {"until": until, "until_worse": True}, writer)
        assert status == 200
        await changed()
        names = ("acknowledged_by", "assigned_to", "snoozed_by", "snoozed_until", "snoozed_until_worse")
        assert [found[name] for name in names] == ["ops", "Maya Lin", "ops", until, True]
        assert [(one["text"], one["by"]) for one in found["notes"]] == [("Called the carrier", "ops")]
        assert [one["action"] for one in found["actions"]] == ["acknowledge", "assign", "snooze"]
        assert await daemon.get("/exceptions/1") == found
        for query, count in (
            ("", 1), ("acknowledged=true", 1), ("acknowledged=false", 0), ("snoozed=true", 1), ("snoozed=false", 0),
            ("assigned_to=maya%20lin", 1), ("assigned_to=Maya", 0), ("assigned_to=Maya%20Lin&snoozed=true", 1),
        ):  # fmt: skip
            assert len((await daemon.get(f"/exceptions?{query}"))["data"]) == count, query
            assert len((await daemon.get(f"/shipments/1/exceptions?{query}"))["data"]) == count, query

        # Who may not, and what a customer sees: all of that as if it did not exist.
        assert (await send(daemon, "/exceptions/1/unsnooze", key=reader))[0] == 403
        status, _, body = await ask(daemon, "/api/v1/exceptions", key=customer)
        (seen,) = json.loads(body)["data"]
        assert [seen[name] for name in names] == [None, None, None, None, False]
        _, _, body = await ask(daemon, f"/api/v1/exceptions/{seen['id']}", key=customer)
        assert json.loads(body) == seen | {"notes": [], "actions": []}
        for path in (f"/exceptions/{seen['id']}", "/exceptions", "/shipments/1", "/api/v1/exceptions?format=csv"):
            status, _, body = await ask(daemon, path, key=customer, Accept="text/html")
            assert status == 200
            for secret in (b"Maya", b"ops", b"Called", b"nooze", b"cknowledge", b'method="post"'):
                assert secret not in body.replace(b"acknowledged_", b"").replace(b"snoozed_", b""), (path, secret)
        for query in ("acknowledged=true", "acknowledged=false", "assigned_to=Maya%20Lin", "snoozed=true"):
            assert (await ask(daemon, f"/api/v1/exceptions?{query}", key=customer))[0] == 403, query
        for number in (seen["id"], "1"):
            for action, body in (("acknowledge", {}), ("note", {"text": "x"}), ("unsnooze", None)):
                assert (await send(daemon, f"/exceptions/{number}/{action}", body, customer))[0] == 403

        # Nobody but the team hears that a snooze ended.
        clock.turn(days=8)  # more days late, as critical as before
        daemon.daemon.consumers.wake()
        ((_, worse),) = await messages(daemon, "exception.worsened", 1, key=writer, last="0")
        assert (worse["severity"], worse["only_for_snooze"]) == ("critical", True)
        until = stamp(clock.now() + timedelta(days=3))
        assert (await send(daemon, "/exceptions/1/snooze", {"until": until}, writer))[0] == 200
        clock.turn(days=3)
        daemon.daemon.consumers.wake()
        assert (await messages(daemon, "exception.snooze_ended", 1, key=writer, last="0"))[0][1]["exception_id"] == "1"
        await daemon.receive(event(shipment(1, updated_at="2026-03-05T00:00:00Z", status="final_destination"), id=2))
        heard = await messages(daemon, "exception.*", 2, key=customer, last="0")
        assert [topic for topic, _ in heard] == ["exception.opened", "exception.closed"]
        status, found = await send(daemon, "/exceptions/1/acknowledge", key=writer)
        assert (status, found["type"]) == (409, "urn:flexportd:problem:conflict")
        assert "only notes can be added" in found["detail"]
        assert (await send(daemon, "/exceptions/1/note", {"text": "Done"}, writer))[0] == 200


BAD = [
    ("assign", None, "body"),
    ("assign", {}, "assigned_to"),
    ("assign", {"assigned_to": ""}, "assigned_to"),
    ("assign", {"assigned_to": " "}, "assigned_to"),
    ("assign", {"assigned_to": "x" * 81}, "assigned_to"),
    ("assign", {"assigned_to": "Maya\r\nBcc: x"}, "assigned_to"),
    ("assign", {"assigned_to": "Maya\u0085"}, "assigned_to"),
    ("assign", {"assigned_to": 5}, "assigned_to"),
    ("note", {"text": "x" * 501}, "text"),
    ("note", {"text": "\x1b[31m"}, "text"),
    ("note", {"text": "a\x00b"}, "text"),
    ("note", {"note": "x"}, "note"),
    ("note", {"text": " \u00a0"}, "text"),
    ("note", [], "body"),
    ("snooze", {}, "until"),
    ("snooze", {"until_worse": False}, "until"),
    ("snooze", {"until": "yesterday"}, "until"),
    ("snooze", {"until": "2020-01-01"}, "until"),
    ("snooze", {"until": "x" * 41}, "until"),
    ("snooze", {"until": 3}, "until"),
    ("snooze", {"until_worse": "yes"}, "until_worse"),
    ("snooze", {"until_worse": True, "for": "3d"}, "for"),
    ("acknowledge", {"who": "me"}, "who"),
    ("acknowledge", {"by": "x\ny"}, "by"),
]


async def test_bad_requests_name_what_is_wrong_and_change_nothing(daemon):
    await daemon.receive(event(shipment(1), id=1))
    await standing(daemon)
    before = await daemon.get("/exceptions/1")
    for action, body, name in BAD:
        status, found = await send(daemon, f"/exceptions/1/{action}", body)
        assert status in (400, 415), (action, body, found)
        assert status == 415 or found["parameter"] == name, (action, body, found)
    assert await daemon.get("/exceptions/1") == before
    for number in ("99", "x", "99999999999999999999"):
        assert (await send(daemon, f"/exceptions/{number}/acknowledge"))[0] == 404
    assert (await send(daemon, "/exceptions/1/acknowledge", {"by": "maya@freight"}))[1][
        "acknowledged_by"
    ] == "maya@freight"
    key = await new_key(daemon, name="ops", scope="write")
    status, found = await send(daemon, "/exceptions/1/unacknowledge", {"by": "someone else"}, key)
    assert (status, found["parameter"]) == (400, "by")
    assert (await send(daemon, "/exceptions/1/unacknowledge", {"by": "ops"}, key))[0] == 200


async def test_the_commands_act_and_show(settings, clock):
    async with start(settings, clock) as daemon:

        def run(*arguments):
            return daemon.command("exceptions", *arguments)

        await daemon.receive(event(shipment(1), id=1), event(shipment(2), id=2))
        await standing(daemon)
        code, said, wrong = await run("ack", "1", "99", "2")
        assert (code, said.splitlines()) == (4, ["Exception 1 acknowledged.", "Exception 2 acknowledged."])
        assert "there is no exception" in wrong.lower()
        assert (await run("assign", "1", "Maya"))[1] == "Exception 1 assigned to Maya.\n"
        assert (await run("note", "1", "Called"))[0] == 0
        code, said, _ = await run("snooze", "1", "--until", "3d", "--until-worse")
        assert (code, said.startswith("Exception 1 snoozed until ")) == (0, True)
        code, said, _ = await run("show", "1")
        for words in ("@", "assigned to", "Maya", "or until it gets worse", "Notes", "Called"):
            assert words in said, words
        code, said, _ = await run("--snoozed")
        assert "acknowledged, assigned to Maya, snoozed" in said
        assert [one["id"] for one in json.loads((await run("--not-snoozed", "--json"))[1])["data"]] == ["2"]
        code, _, wrong = await run("snooze", "2", "--until", "never")
        assert (code, "until is 'never'; allowed is a duration" in wrong) == (2, True)
        assert (await run("snooze", "2"))[0] == 2
        assert (await run("assign", "2"))[0] == 2
        assert (await run("unsnooze", "1"))[1] == "Exception 1 no longer snoozed.\n"
