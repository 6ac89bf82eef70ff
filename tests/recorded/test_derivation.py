"""The recorded account, as flexportd answers it and as its raw objects say: every field of every object.

`derivation.py` works the expected answers out from Flexport's documentation alone.
"""

import asyncio
import copy
import json
from datetime import UTC, date, datetime, time, timedelta
from email.utils import format_datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio

from flexportd.settings import Settings
from tests.events import event
from tests.recorded.derivation import Account, Evidence, Findings, end_of
from tests.small_flexport import SmallFlexport, mirroring, synced
from tests.under_test import DatedClock, start

RECORDED = Path(__file__).parents[2].parent / "shared" / "recorded"
# The newest object was recorded on 17 April 2020.
RECORDED_AT = datetime(2020, 4, 18, 12, tzinfo=UTC)
PAPERS = ["packing_list/commercial_invoice_packing_list"]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded answers are not beside this checkout"),
]


class TurnedDatedClock(DatedClock):
    """Runs from the time of the recording, and from where the test sets it."""

    def set(self, now: datetime) -> None:
        self._offset += now - self.now()


class RecordedFlexport(SmallFlexport):
    """Serves the recording on the clock of the test. Its lists of shipments say less than the shipments themselves."""

    def __init__(self, account, clock):
        super().__init__(
            *(one for kind, found in account.by.items() if kind != "/api/response" for one in found.values())
        )
        self.clock = clock
        self.listed = {str(number): list_entry(own) for number, own in account.shipments.items()}
        self.unread = {f"/shipments/{number}" for number in self.listed}

    def answer(self, request):
        own = self.objects["/shipments"]
        if request.path == "/shipments":
            self.objects["/shipments"] = self.listed
        response = super().answer(request)
        self.objects["/shipments"] = own
        self.unread.discard(request.path)
        response.headers["Date"] = format_datetime(self.clock.now(), usegmt=True)
        return response


def list_entry(own):
    """A shipment as lists give it: without metadata and sellers, house bills in another order, times in UTC."""
    row = copy.deepcopy(own) | {"metadata": {}, "sellers": []}
    for kind in ("estimated", "actual"):
        for part in ("picked_up_in_full", "delivered_in_full"):
            if row[f"{kind}_{part}_date"]:
                at = datetime.fromisoformat(row[f"{kind}_{part}_date"])
                row[f"{kind}_{part}_date"] = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    if row["ocean_shipment"]:
        bills = row["ocean_shipment"]["house_bill_number"] or ""
        row["ocean_shipment"]["house_bill_number"] = ", ".join(reversed(bills.split(", ")))
    return row


def recorded():
    found = {}
    for file in sorted(RECORDED.glob("*.json")):
        for answer in json.loads(file.read_text()).values():
            data = answer["data"]
            is_list = isinstance(data.get("data"), list)
            for one in data["data"] if is_list else [data]:
                # An object's own answer says more than its entry in a list.
                if not is_list or (one["_object"], one["id"]) not in found:
                    found[one["_object"], one["id"]] = one
    return Account(list(found.values()))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def account():
    return recorded()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(account, tmp_path_factory):
    clock = TurnedDatedClock(RECORDED_AT)
    flexport = RecordedFlexport(account, clock)
    changed = {"exceptions.required_documents": {"ocean": PAPERS}}
    async with mirroring(flexport, tmp_path_factory.mktemp("recorded"), clock, **changed) as daemon:
        daemon.clock = clock
        async with asyncio.timeout(60):
            while flexport.unread or (await daemon.get("/sync"))["shipment_details"]["pending"]:
                await asyncio.sleep(0.02)  # the daemon asks for each shipment once
        await daemon.settled()
        yield daemon


async def judged(daemon):
    """Wait until exceptions are those of the present."""
    examiner = daemon.daemon.consumers.examiner
    async with asyncio.timeout(30):
        while True:
            last = await daemon.daemon.db.read(lambda tx: tx.journal.last())
            due = await daemon.daemon.db.read(lambda tx: tx.exceptions.next_due())
            is_due = due is not None and due <= daemon.clock.stamp()
            if examiner.notifies and examiner.has_processed(last) and not is_due:
                return
            daemon.daemon.consumers.wake()
            await asyncio.sleep(0.02)


def lines(wrong):
    return "\n".join(map(str, wrong))


def differs(expected, found):
    """Whether an answered field is not what was derived. Sets have no order; the end of a day is an instant, or just before."""
    if isinstance(expected, datetime):
        return found is None or not timedelta(0) <= expected - datetime.fromisoformat(found) <= timedelta(seconds=1)
    if isinstance(expected, set):
        return expected != set(found or ())
    return expected != found


async def disagreements(daemon, account, name):
    """(id, field, derived, answered) where an answer is not what was derived."""
    rows = {row["id"]: row for row in (await daemon.get(f"/{name}?limit=500"))["data"]}
    expected = account.expected()[name]
    assert rows.keys() == expected.keys()
    return [
        (number, field, value, rows[number].get(field, "absent"))
        for number, fields in expected.items()
        for field, value in fields.items()
        if field not in rows[number] or differs(value, rows[number][field])
    ]


@pytest.mark.parametrize(
    "name",
    [
        "shipments",
        "legs",
        "containers",
        "container-legs",
        "bookings",
        "documents",
    ],
)
async def test_every_field_is_what_the_raw_object_says(mirror, account, name):
    wrong = await disagreements(mirror, account, name)
    assert wrong == [], lines(wrong)


async def test_the_order_of_arrival_changes_no_field(account, tmp_path_factory):
    """What is derived from several objects is the same when the last of them comes first."""
    settings = Settings.for_tests(tmp_path_factory.mktemp("backwards"))
    when = "2020-04-18T11:00:00.000Z"
    async with start(settings, DatedClock(RECORDED_AT)) as daemon:
        for found in (account.box_legs, account.boxes, account.legs, account.shipments):
            events = [event(one, created_at=when, occurred_at=when) for one in found.values()]
            await asyncio.gather(*(daemon.receive(one) for one in events))
            await daemon.settled()
        wrong = []
        for name in ("shipments", "legs", "containers", "container-legs"):
            wrong += [(name, *one) for one in await disagreements(daemon, account, name)]
    assert wrong == [], lines(wrong)


async def test_filters_go_by_the_day_that_is_shown(mirror, account):
    expected = account.expected()["shipments"]
    days = {
        n: row["arrival_date"] for n, row in expected.items() if row["arrival_date"] and not row["actual_arrival_at"]
    }
    wrong = []
    for day in sorted(set(days.values())):
        own = {n for n, shown in days.items() if shown == day}
        before, after = (date.fromisoformat(day) + timedelta(days=n) for n in (-1, 1))
        for query, is_in in (
            (f"eta_after={before}&eta_before={after}", True),
            (f"eta_before={before}", False),
            (f"eta_after={after}", False),
        ):
            found = {row["id"] for row in (await mirror.get(f"/shipments?limit=500&{query}"))["data"]}
            wrong += [(query, n, is_in) for n in own if (n in found) != is_in]
    assert wrong == [], lines(wrong)


# One after the other: the clock of a daemon does not go back.
INSTANTS = (
    RECORDED_AT,
    datetime(2020, 4, 20, 3, tzinfo=UTC),  # half an hour before the week without news is over of two at sea
    datetime(2020, 4, 20, 4, tzinfo=UTC),
    datetime(2021, 4, 18, 12, tzinfo=UTC),
)


async def test_exceptions_stand_that_must_and_no_others(mirror, account):
    papers = frozenset(one for either in PAPERS for one in either.split("/"))
    wrong = []
    for now in INSTANTS:
        mirror.clock.set(now)
        if now == INSTANTS[-1]:
            await synced(mirror)  # reading the same again is no news
        await judged(mirror)
        rows = (await mirror.get("/exceptions?limit=500"))["data"]
        found = {
            (row["kind"], row["resource"], int(row["resource_id"])): row["evidence"] | {"since": row["since"]}
            for row in rows
        }
        due = Findings(account, now, papers)
        must, may = due.must, due.may
        wrong += [(now.isoformat(), "missing", case) for case in must.keys() - found.keys()]
        wrong += [(now.isoformat(), "false", case, found[case]) for case in found.keys() - must.keys() - may]
        wrong += [
            (now.isoformat(), case, name, value, found[case].get(name))
            for case, evidence in must.items()
            for name, value in evidence.items()
            if case in found and found[case].get(name) != value
        ]
    assert wrong == [], lines(wrong)


def span(row):
    """The first and last instant that a row of a timeline can mean."""
    kind = "actual" if row["actual_date"] else "planned"
    if row[f"{kind}_at"] is None or row["day_only"]:
        day, zone = date.fromisoformat(row[f"{kind}_date"]), ZoneInfo(row["timezone"] or "UTC")
        return datetime.combine(day, time(), zone), end_of(day.isoformat(), zone.key)
    at = datetime.fromisoformat(row[f"{kind}_at"])
    return at, at


async def timeline_faults(mirror, account):
    """Rows out of order or without a place, and dates of legs that are on no row."""
    expected = account.expected()["legs"]
    wrong = []
    for number in account.shipments:
        rows = (await mirror.get(f"/shipments/{number}/timeline"))["data"]
        wrong += [
            (number, "no place", row["milestone"])
            for row in rows
            if row["milestone"] != "created" and not (row["place"] and row["timezone"])
        ]
        spans = [span(row) for row in rows]
        wrong += [
            (number, "after", rows[i]["milestone"], rows[i + 1]["milestone"])
            for i in range(len(rows) - 1)
            if spans[i][0] > spans[i + 1][1]
        ]
        evidence = Evidence(account, number)
        legs = [expected[leg["id"]] for leg in account.of(account.legs, number)]
        ways = [(leg["origin"], leg["destination"]) for leg in legs]
        for leg in legs:
            if ways.count((leg["origin"], leg["destination"])) > 1:
                continue  # parallel trucks are one row
            own = [row for row in rows if row["leg_id"] == leg["id"]]
            for name, end in (("departure", "origin"), ("arrival", "destination")):
                days = leg[f"estimated_{name}_date"], leg[f"actual_{name}_date"]
                shown = [
                    (row["planned_date"], row["actual_date"])
                    for row in own
                    if (row["place"], row["timezone"]) == (leg[end], leg[f"{end}_timezone"])
                ]
                overtaken = days[1] is None and evidence.is_overtaken(account.legs[leg["id"]], name)
                left = leg["actual_departure_date"] if name == "arrival" else None
                overtaken |= days[1] is None and bool(left and days[0] and left > days[0])
                if any(days) and days not in shown and not overtaken:
                    wrong.append((number, leg["id"], name, days, shown))
    return wrong


async def test_timelines_ascend_and_show_each_leg_at_its_places(mirror, account):
    wrong = await timeline_faults(mirror, account)
    assert wrong == [], lines(wrong)
