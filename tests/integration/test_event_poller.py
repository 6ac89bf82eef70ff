"""Events that no webhook brought are found by asking, and their outages are told (design promise 4)."""

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from flexportd.cli.client import DaemonClient
from flexportd.cli.command import Invocation
from flexportd.cli.commands.gaps import gaps as gaps_command
from flexportd.clock import parse, stamp
from flexportd.core.outages import health
from flexportd.core.system_conditions import ABSENT
from flexportd.expose.api import events as gaps_api
from flexportd.expose.api import list_endpoint
from flexportd.expose.middleware import auth_middleware
from flexportd.expose.openapi.router import register, routes_of
from flexportd.expose.security.access_policy import ACCESS_POLICY, AccessPolicy
from flexportd.flexport.client import Client, ClientRules
from flexportd.flexport.errors import (
    FlexportUnavailableError,
    ForbiddenAtFlexportError,
    MalformedResponseError,
    NotFoundAtFlexportError,
)
from flexportd.flexport.oauth.auth import ApiKeyAuth
from flexportd.ingest.event_poller import EventPoller
from flexportd.jobs.condition_monitor import ConditionMonitor, MonitorRules
from flexportd.sandbox import Sandbox, SandboxOptions
from flexportd.settings import Settings
from tests.conftest import TurnedClock
from tests.events import event, leg, shipment
from tests.under_test import SECRET, UnderTest, start

OVERLAP = timedelta(minutes=10)
DAY = 86_400


class KilledError(Exception):
    """Stands for the end of the process: nothing catches it."""


@dataclass
class Page:
    rows: list[bytes]
    has_next: bool
    started_at: str
    date: str
    total_count: int | None = None


@dataclass
class Script:
    """Flexport's list of events, from a script: newest first by id, a hundred a page, unless told otherwise."""

    clock: TurnedClock
    ahead: timedelta = timedelta()  # of Flexport's clock
    events: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[int, str]] = field(default_factory=list)
    per: int = 100
    newest_first: bool = True
    failing: dict[int, Exception] = field(default_factory=dict)  # page -> what it raises, once
    rows: list[bytes] | None = None  # instead of the events
    repeats: bool = False
    _ids: int = 5_000_000

    def now(self, **ago: float) -> str:
        return stamp(self.clock.now() + self.ahead - timedelta(**ago))

    def happens(self, count: int = 1, *, occurred: str | None = None, **fields: Any) -> list[dict[str, Any]]:
        """Events recorded a second after one another, up to now."""
        found = []
        for place in range(count):
            self._ids += 1
            at = self.now(seconds=count - 1 - place)
            number = 900_000 + self._ids % 7
            about = shipment(number, updated_at=at, name=f"as of event {self._ids}")
            one = event(about, id=self._ids, created_at=at, occurred_at=occurred or at, **fields)
            one["data"]["shipment"] = about
            found.append(one)
        self.events += found
        return found

    async def page(self, path, query, number, purpose):
        assert (path, purpose) == ("/events", "events")
        assert set(query) == {"f.occurred_at.gte"}
        self.asked.append((number, query["f.occurred_at.gte"]))
        if number in self.failing:
            raise self.failing.pop(number)
        chosen = [one for one in self.events if one["occurred_at"] >= query["f.occurred_at.gte"]]
        chosen.sort(key=lambda one: int(one["id"]), reverse=self.newest_first)
        rows = self.rows if self.rows is not None else [json.dumps(one).encode() for one in chosen]
        begin = 0 if self.repeats else (number - 1) * self.per
        at = self.now()
        return Page(rows[begin : begin + self.per], len(rows) > begin + self.per, at, at)


@pytest.fixture
def script(clock):
    return Script(clock)


def polling(daemon: UnderTest, source: Any, **options: Any) -> EventPoller:
    return EventPoller(source, daemon.daemon.queue, OVERLAP, **options)


@pytest.fixture
def poll(daemon, script):
    return polling(daemon, script)


async def sql(daemon: UnderTest, text: str) -> list[tuple[Any, ...]]:
    return await daemon.daemon.db.read(lambda tx: tx.raw.execute(text).fetchall())


async def kept(daemon: UnderTest) -> list[str]:
    return [row[0] for row in await sql(daemon, "SELECT id FROM events ORDER BY id")]


async def gap_ids(daemon: UnderTest) -> list[str]:
    return [row[0] for row in await sql(daemon, "SELECT event_id FROM gaps ORDER BY event_id")]


def ids(*groups: list[dict[str, Any]]) -> list[str]:
    return sorted(str(one["id"]) for group in groups for one in group)


async def verdict(daemon: UnderTest, clock: TurnedClock) -> tuple[str, str]:
    found = await daemon.daemon.db.read(lambda tx: health(tx, clock.now()))
    return found.verdict, found.sentence


@asynccontextmanager
async def served(daemon: UnderTest, folder):
    """The handlers of gaps over HTTP on a socket of their own."""
    app = web.Application(middlewares=[auth_middleware])
    daemon.daemon.add_parts(app)
    app[ACCESS_POLICY] = AccessPolicy(daemon.daemon.clock, checks_hosts=False)
    register(app.router, routes_of(gaps_api, list_endpoint))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(folder / "gaps.socket")).start()
        yield DaemonClient(folder / "gaps.socket")
    finally:
        await runner.cleanup()


async def asked(control: DaemonClient, path: str, **parameters: Any) -> Any:
    return (await asyncio.to_thread(control.get, path, **parameters)).document


# --- what polling finds ---


async def test_what_no_webhook_brought_is_kept_once_applied_and_told(daemon, script, poll, clock, tmp_path):
    clock.turn(minutes=5)
    heard = script.happens(3)
    await daemon.receive(*heard)
    await daemon.settled()
    clock.turn(minutes=30)
    lost = script.happens(4) + script.happens(type="/shipment#delivered")
    clock.turn(minutes=3)
    result = await poll.poll("narrow")
    assert (result.outcome, result.read, result.new, result.gaps, result.pages) == ("complete", 8, 5, 5, 1)
    assert (result.oldest, result.newest) == (heard[0]["created_at"], lost[-1]["created_at"])
    await daemon.settled()
    assert await kept(daemon) == ids(heard, lost)
    rows = await sql(daemon, "SELECT source, state, count(*) FROM events GROUP BY 1, 2 ORDER BY 1")
    assert rows == [("events", "applied", 5), ("webhook", "applied", 3)]
    assert await gap_ids(daemon) == ids(lost)
    since = (await sql(daemon, "SELECT received_at FROM events WHERE id = " + str(heard[-1]["id"])))[0][0]
    word, sentence = await verdict(daemon, clock)
    assert word == "broken"
    assert sentence.startswith("No webhooks since ")
    assert sentence.endswith(f"{since[11:16]} UTC: 5 events arrived only by polling")
    again = await poll.poll("narrow")
    assert (again.read, again.new) == (5, 0)
    async with served(daemon, tmp_path) as control:
        document = await asked(control, "/gaps")
    (outage,) = document["data"]
    assert (outage["since"], outage["until"], outage["events"], outage["recovered"]) == (since, None, 5, 5)
    assert outage["by_type"] == {"/shipment#created": 4, "/shipment#delivered": 1}
    assert [gap["id"] for gap in outage["gaps"]] == ids(lost)
    first = outage["gaps"][0]
    assert (first["state"], first["resource"], first["shipment_id"]) == (
        "applied",
        "/shipment",
        lost[0]["data"]["resource"]["id"],
    )
    assert (first["created_at"], first["recovered_by"]) == (lost[0]["created_at"], "polling")


async def test_lost_webhooks_are_one_notice_until_one_arrives(daemon, script, poll, clock):
    db, rules = daemon.daemon.db, MonitorRules(daemon.daemon.settings.storage.data_dir, True, True)
    monitor = ConditionMonitor(
        db, clock, rules, path_check=lambda: ABSENT, after_write=lambda: None, on_stale_lists=lambda: None
    )

    async def watch(minutes: int) -> list[tuple[str, str]]:
        for _ in range(minutes):
            clock.turn(minutes=1)
            await poll.poll("narrow")
            await monitor.check()
        entries = await db.read(lambda tx: tx.journal.after(0, 1000))
        notices = [one for entry in entries for one in entry.notices]
        return [(one["topic"], one["kind"]) for one in notices if one["topic"].startswith("system.")]

    clock.turn(days=-3)
    script.happens(120)  # before the daemon, and then three days of silence
    clock.turn(days=3)
    assert await watch(30) == []
    await daemon.receive(*script.happens(3))
    assert await watch(2) == []
    script.happens(4)
    assert await watch(8) == []  # they may be late
    assert await watch(15) == [("system.webhook_silent", "webhook_silent")]
    await daemon.receive(*script.happens(1))
    assert (await watch(10))[1:] == [("system.recovered", "webhook_silent")]


async def test_without_any_webhook_the_endpoint_is_asked_after(daemon, script, poll, clock):
    clock.turn(minutes=5)
    script.happens(3)
    await poll.poll("narrow")
    assert await verdict(daemon, clock) == (
        "never_received",
        "No webhook has ever arrived; 3 events arrived only by polling. Check that the endpoint is registered in Flexport",
    )


async def test_what_happened_before_this_store_listened_is_history_and_no_gap(daemon, script, poll, clock):
    clock.turn(days=-3)
    old = script.happens(120)
    clock.turn(days=3)
    result = await poll.poll("wide")
    assert (result.new, result.gaps) == (120, 0)
    await daemon.settled()
    assert await kept(daemon) == ids(old)
    assert await gap_ids(daemon) == []
    assert (await verdict(daemon, clock))[0] == "unusually_quiet"


async def test_a_poll_of_a_clock_that_was_ahead_does_not_keep_later_ones_from_seeing(daemon, script, clock):
    clock.turn(days=730)
    ahead = polling(daemon, script)
    await ahead.poll("narrow")
    clock.turn(days=-730)
    poll = polling(daemon, script)
    await poll.poll("narrow")
    assert parse(script.asked[-1][1]) < clock.now()
    clock.turn(minutes=3)
    lost = script.happens(2)
    clock.turn(minutes=3)
    await poll.poll("narrow")
    assert await gap_ids(daemon) == ids(lost)


async def test_a_store_listens_since_its_first_webhook(daemon, script, clock):
    clock.turn(minutes=5)
    await daemon.receive(*script.happens(1))
    clock.turn(days=2)
    lost = script.happens(2)
    clock.turn(days=2)
    poll = polling(daemon, script)  # the process was started anew
    await poll.poll("wide")
    assert await gap_ids(daemon) == ids(lost)


async def test_flexports_clock_decides_what_is_history(daemon, script, poll, clock):
    script.ahead = timedelta(minutes=-20)
    clock.turn(minutes=5)
    lost = script.happens(2)
    await poll.poll("wide")
    assert await gap_ids(daemon) == ids(lost)


async def test_a_webhook_that_comes_after_the_poll_is_a_duplicate_and_marks_its_gap(
    daemon, script, poll, clock, tmp_path
):
    clock.turn(minutes=5)
    heard = script.happens(1)
    await daemon.receive(*heard)
    await daemon.settled()
    clock.turn(minutes=5)
    late, lost, prompt = script.happens(1), script.happens(1), None
    clock.turn(minutes=5)
    prompt = script.happens(1)
    await poll.poll("narrow")
    assert (await verdict(daemon, clock))[1].endswith("3 events arrived only by polling")
    await daemon.receive(*prompt)  # polling was only quicker
    assert (await verdict(daemon, clock))[0] == "arriving"
    clock.turn(minutes=30)
    status, document = await daemon.post(json.dumps(late[0]).encode())
    assert (status, document["status"]) == (200, "duplicate")
    await daemon.settled()
    async with served(daemon, tmp_path) as control:
        (outage,) = (await asked(control, "/gaps"))["data"]
        gaps = {gap["id"]: gap for gap in (await asked(control, "/gaps/events"))["data"]}
    assert (outage["events"], outage["late"]) == (2, 1)
    assert outage["until"] is not None
    assert gaps[str(late[0]["id"])]["delivered_at"] is not None
    assert gaps[str(late[0]["id"])]["on_time"] is False
    assert gaps[str(lost[0]["id"])]["delivered_at"] is None
    assert (gaps[str(prompt[0]["id"])]["on_time"], gaps[str(prompt[0]["id"])]["outage"]) == (True, None)
    assert await kept(daemon) == ids(heard, late, lost, prompt)


async def test_one_lost_among_many_is_an_outage_of_one_event(daemon, script, poll, clock, tmp_path):
    clock.turn(minutes=5)
    first = script.happens(2)
    clock.turn(minutes=5)
    lost = script.happens(1)
    clock.turn(minutes=5)
    last = script.happens(2)
    await daemon.receive(*last, *first, *first)
    await daemon.settled()
    await poll.poll("narrow")
    assert await gap_ids(daemon) == ids(lost)
    async with served(daemon, tmp_path) as control:
        document = await asked(control, "/gaps")
    assert document["data"][0]["summary"].startswith("One webhook was lost between ")
    assert document["health"]["state"] == "arriving"


async def test_a_webhook_that_came_while_the_page_was_read_makes_no_gap(daemon, script, clock):
    class Racing:
        async def page(self, *question):
            page = await script.page(*question)
            await daemon.receive(found[1])
            return page

    poll = polling(daemon, Racing())
    clock.turn(minutes=5)
    found = script.happens(3)
    known = daemon.daemon.db.read
    daemon.daemon.db.read = lambda work: _nothing_known(known, work)
    result = await poll.poll("narrow")
    daemon.daemon.db.read = known
    assert (result.new, result.gaps) == (2, 2)
    assert await gap_ids(daemon) == ids(found[:1], found[2:])


async def _nothing_known(read, work):
    """What a read began with, a moment before the webhook was committed."""
    answer = await read(work)
    return set() if isinstance(answer, set) else answer


# --- spans ---


async def test_how_far_each_span_reaches(daemon, script, poll, clock):
    script.ahead = timedelta(minutes=-20)
    born = clock.now()
    await poll.poll("narrow")
    clock.turn(hours=1)
    await poll.poll("narrow")
    second = clock.now()
    clock.turn(hours=30)
    await poll.poll("narrow")
    await poll.poll("wide")
    await poll.poll("deep")
    found = [parse(since) for _, since in script.asked]
    expected = [
        born - OVERLAP,
        born + script.ahead - OVERLAP,
        second + script.ahead - OVERLAP,
        second + timedelta(hours=30) + script.ahead - timedelta(days=14),
        second + timedelta(hours=30) + script.ahead - timedelta(days=45),
    ]
    assert [abs(one - other) < timedelta(seconds=30) for one, other in zip(found, expected, strict=True)] == [True] * 5
    assert all(since.endswith("Z") and len(since) == 24 for _, since in script.asked)


async def test_an_event_recorded_days_after_it_happened_is_found_by_the_wide_span(daemon, script, poll, clock):
    await poll.poll("narrow")
    clock.turn(days=4)
    await poll.poll("narrow")
    dated_back = script.happens(1, occurred=script.now(days=3))
    clock.turn(minutes=2)
    assert (await poll.poll("narrow")).new == 0
    assert (await poll.poll("wide")).new == 1
    assert await gap_ids(daemon) == ids(dated_back)


async def test_a_poll_stops_where_all_that_follows_was_seen_by_an_earlier_one(daemon, script, poll, clock):
    clock.turn(minutes=5)
    script.happens(950)
    assert (await poll.poll("wide")).pages == 10
    script.happens(30)
    result = await poll.poll("wide")
    assert (result.outcome, result.pages, result.new) == ("early", 3, 30)
    for _ in range(2):
        result = await poll.poll("deep")
        assert (result.outcome, result.pages) == ("complete", 10)
    script.newest_first = False
    result = await poll.poll("wide")
    assert (result.outcome, result.pages) == ("complete", 10)


async def test_webhooks_that_brought_the_newest_do_not_hide_what_was_lost_before(daemon, script, poll, clock):
    await poll.poll("narrow")
    clock.turn(minutes=5)
    lost = script.happens(40)
    clock.turn(minutes=30)
    heard = script.happens(260)
    await daemon.receive(*heard)
    result = await poll.poll("narrow")
    assert (result.pages, result.new) == (3, 40)
    assert await gap_ids(daemon) == ids(lost)


@pytest.mark.parametrize("end", [KilledError("kill -9"), FlexportUnavailableError("503 from /events")])
@pytest.mark.parametrize("page", [2, 3, 4])
async def test_nothing_is_lost_when_a_poll_ends_between_pages(daemon, script, poll, clock, end, page):
    await poll.poll("narrow")
    clock.turn(minutes=9)
    lost = script.happens(450)
    script.failing[page] = end
    with pytest.raises(type(end)):
        await poll.poll("narrow")
    assert len(await kept(daemon)) == (page - 1) * 100
    clock.turn(minutes=2)
    again = polling(daemon, script)  # the process was started anew
    result = await again.poll("narrow")
    assert (result.pages, result.new) == (5, 450 - (page - 1) * 100)
    assert await kept(daemon) == await gap_ids(daemon) == ids(lost)
    await daemon.settled()
    assert await sql(daemon, "SELECT count(*) FROM events WHERE state = 'ready'") == [(0,)]
    assert len(await sql(daemon, "SELECT DISTINCT after_seq FROM gaps")) == 1


async def test_the_very_first_poll_may_end_between_pages_too(daemon, script, poll, clock):
    await daemon.receive(*script.happens(1))
    clock.turn(minutes=30)
    lost = script.happens(450)
    script.failing[3] = KilledError("kill -9")
    with pytest.raises(KilledError):
        await poll.poll("narrow")
    clock.turn(minutes=60)
    await daemon.receive(*script.happens(1))
    again = polling(daemon, script)  # the process was started anew
    assert (await again.poll("narrow")).new == 250
    assert await gap_ids(daemon) == ids(lost)


async def test_what_is_remembered_is_committed_with_the_last_page(daemon, script, poll, clock, monkeypatch):
    await poll.poll("narrow")
    clock.turn(minutes=5)
    script.happens(3)
    before = await sql(daemon, "SELECT * FROM event_polls"), await sql(daemon, "SELECT * FROM event_delivery")
    from flexportd.storage.repositories.gaps import Gaps

    with monkeypatch.context() as patch:

        def full(self, poll):
            raise KilledError("no room left")

        patch.setattr(Gaps, "end_poll", full)
        with pytest.raises(KilledError):
            await poll.poll("narrow")
    assert await kept(daemon) == await gap_ids(daemon) == []
    assert (await sql(daemon, "SELECT * FROM event_polls"), await sql(daemon, "SELECT * FROM event_delivery")) == before
    assert (await poll.poll("narrow")).new == 3


async def test_events_older_than_is_kept_are_left_alone(daemon, script, clock):
    poll = polling(daemon, script, kept_for=timedelta(days=30))
    await poll.poll("deep")
    old = script.happens(2)
    clock.turn(days=40)
    young = script.happens(2)
    assert (await poll.poll("deep")).new == 2
    assert await kept(daemon) == ids(young)
    poll.kept_for = None
    assert (await poll.poll("deep")).new == 2
    assert await kept(daemon) == ids(old, young)


# --- answers that are not as they should be ---


async def test_a_page_that_repeats_ends_the_poll_and_loses_nothing(daemon, script, poll, clock):
    await poll.poll("narrow")
    clock.turn(minutes=5)
    found = script.happens(150)
    script.repeats = True
    with pytest.raises(
        MalformedResponseError, match="/events goes on and repeats earlier pages: they held 100 different rows"
    ):
        await poll.poll("narrow")
    assert len(await kept(daemon)) == 100
    assert (
        (await verdict(daemon, clock))[1].partition("in Flexport. ")[2].startswith("Polling Flexport has failed since ")
    )
    script.repeats = False
    clock.turn(minutes=2)
    assert (await poll.poll("narrow")).new == 50
    assert await kept(daemon) == ids(found)
    assert (await verdict(daemon, clock))[0] == "never_received"


async def test_a_row_that_is_no_event_is_a_dead_letter_once(daemon, script, poll, clock):
    clock.turn(minutes=5)
    good = script.happens(2)
    rows = [json.dumps(one).encode() for one in good]
    script.rows = [rows[0], b'{"_object":"/event","type":"/shipment#created"}', b'"text"', b"null", rows[1]]
    result = await poll.poll("narrow")
    assert (result.read, result.new, result.gaps, result.unreadable) == (5, 2, 2, 3)
    again = await poll.poll("wide")
    assert (again.new, again.unreadable) == (0, 0)
    letters = (await daemon.get("/dead-letters"))["data"]
    assert sorted(letter["error"] for letter in letters) == [
        "not an event: Expected `object`, got `null`",
        "not an event: Expected `object`, got `str`",
        "not an event: it has no id",
    ]
    assert await sql(daemon, "SELECT count(*) FROM events WHERE source = 'events' AND state = 'dead'") == [(3,)]
    assert await gap_ids(daemon) == ids(good)


async def test_an_id_that_is_there_twice_is_one_event(daemon, script, poll, clock):
    clock.turn(minutes=5)
    found = script.happens(120)
    rows = [json.dumps(one).encode() for one in reversed(found)]
    script.rows = [rows[0], rows[0], *rows[:100], *rows[60:]]
    result = await poll.poll("narrow")
    assert (result.new, result.gaps) == (120, 120)
    assert await kept(daemon) == ids(found)


@pytest.mark.parametrize(
    "error", [NotFoundAtFlexportError("404 from /events"), ForbiddenAtFlexportError("403 from /events")]
)
async def test_an_account_without_a_list_of_events_is_no_failure_but_says_so(daemon, script, poll, clock, error):
    script.failing[1] = error
    result = await poll.poll("narrow")
    assert (result.outcome, str(result)) == ("not_offered", "this account has no list of events")
    word, sentence = await verdict(daemon, clock)
    assert word == "polling_failed"
    assert sentence.endswith(f": this account has no list of events: {error}")
    await poll.poll("narrow")
    assert (await verdict(daemon, clock))[0] == "idle"


async def test_since_when_flexport_cannot_be_asked_is_the_first_failure(daemon, script, poll, clock):
    assert (await verdict(daemon, clock))[0] == "not_polled"
    await poll.poll("narrow")
    clock.turn(minutes=10)
    first = clock.stamp()
    for _ in range(3):
        script.failing[1] = FlexportUnavailableError("503 from /events")
        with pytest.raises(FlexportUnavailableError):
            await poll.poll("narrow")
        clock.turn(minutes=10)
    found = await daemon.daemon.db.read(lambda tx: health(tx, clock.now()))
    assert found.verdict == "polling_failed"
    assert abs(parse(found.signals.failing_since) - parse(first)) < timedelta(seconds=30)


async def test_a_time_in_the_future_blocks_nothing(daemon, script, poll, clock):
    clock.turn(minutes=5)
    strange = script.happens(1, occurred="2099-01-01T00:00:00.000Z")
    strange[0]["created_at"] = "2099-01-01T00:00:00.000Z"
    await poll.poll("narrow")
    (created_at,) = (await sql(daemon, "SELECT created_at FROM gaps"))[0]
    assert created_at <= script.now(seconds=-2)
    clock.turn(minutes=5)
    await daemon.receive(*script.happens(1))
    await daemon.settled()
    await poll.poll("narrow")
    word, _ = await verdict(daemon, clock)
    assert word == "arriving"
    found = await daemon.daemon.db.read(lambda tx: tx.gaps.delivery_state())
    assert found.upstream_created_at < script.now(seconds=-2)


async def test_an_event_without_times_or_of_something_unknown_is_still_told(daemon, script, poll, clock):
    clock.turn(minutes=5)
    script.rows = [
        json.dumps(event({"_object": "/invoice", "id": "INV-1"}, id=1, created_at=None, occurred_at="soon")).encode(),
        json.dumps(event(leg(77, 910_233), id=2, created_at=script.now(), type="/shipment_leg#departed")).encode(),
        b'{"_object":"/event","id":3,"type":"/x#y","data":17}',
        b'{"_object":"/event","id":4,"type":"/x#y","data":{"resource":{"id":{}},"shipment":"none"}}',
    ]
    assert (await poll.poll("narrow")).gaps == 4
    rows = await sql(daemon, "SELECT event_id, resource, resource_id, shipment_id FROM gaps ORDER BY event_id")
    assert rows == [
        ("1", "/invoice", "INV-1", None),
        ("2", "/shipment_leg", "77", 910_233),
        ("3", None, None, None),
        ("4", None, None, None),
    ]


# --- the API and the command ---


async def _three_outages(daemon, script, poll, clock):
    clock.turn(minutes=5)
    for _ in range(3):
        await daemon.receive(*script.happens(1))
        await daemon.settled()
        clock.turn(minutes=10)
        script.happens(2, type="/shipment_leg#departed")
        clock.turn(minutes=10)
    await poll.poll("wide")
    await daemon.settled()


async def test_outages_and_gaps_over_http(daemon, script, poll, clock, tmp_path):
    await _three_outages(daemon, script, poll, clock)
    async with served(daemon, tmp_path) as control:
        whole = await asked(control, "/gaps")
        assert set(whole) == {"data", "next", "as_of", "health"}
        assert whole["next"] is None
        assert [one["until"] is None for one in whole["data"]] == [True, False, False]
        first = await asked(control, "/gaps", limit=2)
        rest = await asked(control, "/gaps", limit=2, cursor=first["next"])
        assert [one["id"] for one in first["data"] + rest["data"]] == [one["id"] for one in whole["data"]]
        assert rest["next"] is None
        document = await asked(control, "/gaps/events", limit=4)
        assert len(document["data"]) == 4
        more = await asked(control, "/gaps/events", limit=4, cursor=document["next"])
        assert len({gap["id"] for gap in document["data"] + more["data"]}) == 6
        chosen = await asked(control, "/gaps/events", outage=whole["data"][1]["id"], sort="created_at")
        assert chosen["data"] == whole["data"][1]["gaps"]
        assert (await asked(control, "/gaps/events", delivered="true"))["data"] == []
        assert (
            len((await asked(control, "/gaps/events", delivered="false", type="/shipment_leg#departed"))["data"]) == 6
        )
        assert (await asked(control, "/gaps/events", detected_since="2099-01-01"))["data"] == []
        number = document["data"][0]["shipment_id"]
        found = (await asked(control, "/gaps/events", shipment=number, fields="shipment_id"))["data"]
        assert {row["shipment_id"] for row in found} == {number}
        for path, parameters, word in (
            ("/gaps", {"sort": "id"}, "sort"),
            ("/gaps", {"cursor": "x"}, "cursor"),
            ("/gaps", {"limit": 0}, "limit"),
            ("/gaps/events", {"delivered": "maybe"}, "true, false"),
            ("/gaps/events", {"outage": "new"}, "outage"),
        ):
            with pytest.raises(Exception, match=word):
                await asked(control, path, **parameters)


async def told(daemon: UnderTest, folder, *arguments: str) -> str:
    async with served(daemon, folder) as control:
        invocation = Invocation()
        vars(invocation)["client"] = control
        found = await asyncio.to_thread(CliRunner().invoke, gaps_command, list(arguments), obj=invocation)
    assert found.exit_code == 0, found
    return found.output


async def test_the_command_begins_with_the_sentence_and_lists_outages(daemon, script, poll, clock, tmp_path):
    lines = (await told(daemon, tmp_path)).splitlines()
    assert lines[0] == "No webhooks yet. Lost webhooks cannot be detected before the first poll"
    assert lines[2] == ("No known gaps. Gaps cannot be detected yet: Flexport's event list has not been read yet.")
    await poll.poll("narrow")
    assert "No known gaps. Gaps cannot be detected yet: " in await told(daemon, tmp_path)
    clock.turn(minutes=5)
    await daemon.receive(*script.happens(1))
    await daemon.settled()
    await poll.poll("narrow")
    assert "No gaps. Every polled event had already arrived by webhook." in await told(daemon, tmp_path)
    await _three_outages(daemon, script, poll, clock)
    lines = (await told(daemon, tmp_path)).splitlines()
    assert lines[0].startswith("No webhooks since ")
    assert lines[2].split() == ["SINCE", "UNTIL", "DURATION", "EVENTS", "TYPES", "RECOVERED"]
    assert len(lines) == 6
    assert lines[3].split()[2] == "now"
    assert "2 departed" in lines[3]
    assert "2 of 2" in lines[3]
    assert set(json.loads(await told(daemon, tmp_path, "--json"))) == {"data", "next", "as_of", "health"}


# --- against the sandbox, with the real client ---


@asynccontextmanager
async def beside(folder, clock, **faults: str):
    """A daemon, a sandbox that sends it webhooks, and polling through the real client."""
    settings = Settings.for_tests(folder)
    async with start(settings, clock) as daemon:
        options = SandboxOptions(
            speed=0, shipments=25, api_key="sandbox-key-for-tests", send_backlog=False, faults=faults,
            webhook_url=daemon.url + settings.webhook.path, webhook_secret=SECRET,
        )  # fmt: skip
        async with (
            Sandbox(options, clock) as sandbox,
            Client(ClientRules(sandbox.url, 10_000, 8), ApiKeyAuth("sandbox-key-for-tests"), clock) as client,
        ):
            yield SimpleNamespace(daemon=daemon, sandbox=sandbox, poll=polling(daemon, client))


async def _moves(clock, sandbox, hours: int) -> list[dict[str, Any]]:
    events = []
    for _ in range(hours):
        clock.turn(hours=1)
        events += await sandbox.step(3600)
    return events


def listed(sandbox: Sandbox, since: str) -> list[str]:
    """The events that the sandbox lists as having occurred since then."""
    world = sandbox.world.tables["/event"].values()
    return sorted(str(one["id"]) for one in world if parse(one["occurred_at"]) >= parse(since))


async def test_with_all_webhooks_dropped_every_event_comes_by_polling(tmp_path, clock):
    async with beside(tmp_path, clock, drop="100%") as found:
        events = await _moves(clock, found.sandbox, 20)
        assert len(events) > 5
        result = await found.poll.poll("wide")
        await found.daemon.settled()
        assert result.outcome == "complete"
        assert await gap_ids(found.daemon) == ids(events)
        assert await kept(found.daemon) == listed(found.sandbox, result.since)
        word, sentence = await verdict(found.daemon, clock)
        assert word == "never_received"
        assert f"{len(events)} events" in sentence


async def test_of_lost_doubled_and_reordered_webhooks_exactly_the_lost_are_gaps(tmp_path, clock):
    async with beside(tmp_path, clock, drop="30%", duplicate="20%", reorder="30%") as found:
        lost: list[str] = []
        for _ in range(4):
            events = await _moves(clock, found.sandbox, 5)
            await found.daemon.settled()
            brought = await kept(found.daemon)
            lost += [one for one in ids(events) if one not in brought]
            await found.poll.poll("narrow")
            result = await found.poll.poll("wide")
            await found.daemon.settled()
        assert lost
        assert await gap_ids(found.daemon) == sorted(lost)
        assert set(await kept(found.daemon)) >= set(listed(found.sandbox, result.since))


# --- whatever happens ---


@settings(max_examples=12)
@given(
    brought=st.lists(st.sets(st.integers(0, 11)), min_size=1, max_size=3),
    doubled=st.sets(st.integers(0, 11)),
    dice=st.randoms(),
)
async def test_all_are_kept_once_and_gaps_are_what_webhooks_did_not_bring(tmp_path_factory, brought, doubled, dice):
    """Rounds of twelve events; webhooks bring some of each, in any order, some twice; then a poll."""
    clock = TurnedClock()
    script = Script(clock)
    folder = tmp_path_factory.mktemp("d")
    async with start(Settings.for_tests(folder), clock) as daemon:
        poll = polling(daemon, script)
        clock.turn(minutes=5)
        everything, lost, expected = [], [], {}
        before = None
        for some in brought:
            events = script.happens(12)
            sent = [events[place] for place in some] + [events[place] for place in some & doubled]
            dice.shuffle(sent)
            await daemon.receive(*sent)
            await daemon.settled()
            for place, one in enumerate(events):
                if place in some:
                    before = str(one["id"])
                else:
                    lost.append(one)
                    expected.setdefault(before, []).append(str(one["id"]))
            everything += events
            await poll.poll(dice.choice(["narrow", "wide", "deep"]))
            await daemon.settled()
            clock.turn(minutes=30)
        assert await kept(daemon) == ids(everything)
        assert await gap_ids(daemon) == ids(lost)
        rows = await sql(
            daemon,
            "SELECT b.id, g.event_id FROM gaps g LEFT JOIN events b ON b.seq = g.after_seq ORDER BY g.created_at, g.seq",
        )
        found: dict[str | None, list[str]] = {}
        for after, event_id in rows:
            found.setdefault(after, []).append(event_id)
        assert found == expected
        word, _ = await verdict(daemon, clock)
        goes_on = bool(lost) and str(everything[-1]["id"]) == str(lost[-1]["id"])
        assert (word in ("broken", "never_received")) == goes_on
        # Late, and twice: whatever had been lost is brought after all, and takes no effect again.
        await daemon.receive(*lost, *lost)
        assert await kept(daemon) == ids(everything)
        assert (await verdict(daemon, clock))[0] not in ("broken", "never_received")
        assert await sql(daemon, "SELECT count(*) FROM gaps WHERE delivered_at IS NULL") == [(0,)]


# --- what the list can show ---


async def detected(daemon: UnderTest, clock: TurnedClock):
    found = await daemon.daemon.db.read(lambda tx: health(tx, clock.now()))
    return found.detection


def unlisted(script, found):
    """Flexport's list does not have these."""
    gone = {one["id"] for one in found}
    script.events = [one for one in script.events if one["id"] not in gone]


async def test_an_empty_list_is_no_proof_that_nothing_was_lost(daemon, script, poll, clock, tmp_path):
    clock.turn(minutes=5)
    brought = script.happens(12)
    await daemon.receive(*brought)
    await daemon.settled()
    clock.turn(minutes=6)
    script.events.clear()  # none of them was sent to a registered webhook
    await poll.poll("wide")
    found = await detected(daemon, clock)
    assert (found.state, found.compared, found.lacking) == ("all_missing", 12, 12)
    assert found.lacking_types == {"/shipment#created": 12}
    word, sentence = await verdict(daemon, clock)
    assert word == "arriving"
    assert "Gaps cannot be detected: webhooks delivered 12 events" in sentence
    async with served(daemon, tmp_path) as control:
        document = await asked(control, "/gaps")
    assert document["health"]["needs_attention"] is True
    assert document["health"]["detection"]["state"] == "all_missing"
    assert document["health"]["detection"]["missing_by_type"] == {"/shipment#created": 12}
    assert "No known gaps. Gaps cannot be detected: " in await told(daemon, tmp_path)
    assert "Gaps cannot be detected" in (await daemon.get("/status"))["event_delivery"]["summary"]


async def test_a_list_that_lacks_some_says_so_and_recovers(daemon, script, poll, clock):
    clock.turn(minutes=5)
    brought = script.happens(6)
    await daemon.receive(*brought)
    await daemon.settled()
    clock.turn(minutes=6)
    unlisted(script, brought[:2])
    await poll.poll("narrow")
    found = await detected(daemon, clock)
    assert (found.state, found.compared, found.lacking) == ("incomplete", 6, 2)
    assert "lacks 2 of the latest 6 events" in found.sentence
    script.events += brought[:2]
    await poll.poll("wide")
    assert (await detected(daemon, clock)).state == "working"


async def test_what_came_a_moment_ago_or_is_older_than_the_span_is_not_looked_for(daemon, script, poll, clock):
    clock.turn(minutes=5)
    old = script.happens(3, occurred=script.now(days=20))
    await daemon.receive(*old)
    await daemon.settled()
    clock.turn(minutes=6)
    recent = script.happens(2)
    await daemon.receive(*recent)
    await daemon.settled()
    script.events.clear()
    await poll.poll("wide")
    assert (await detected(daemon, clock)).state == "unconfirmed"
    clock.turn(minutes=6)
    await poll.poll("wide")
    found = await detected(daemon, clock)
    assert (found.state, found.compared) == ("all_missing", 2)
    await poll.poll("deep")
    assert (await detected(daemon, clock)).compared == 5


async def test_a_poll_with_nothing_to_compare_leaves_what_was_found(daemon, script, poll, clock):
    clock.turn(minutes=5)
    await daemon.receive(*script.happens(2))
    await daemon.settled()
    clock.turn(minutes=6)
    script.events.clear()
    await poll.poll("narrow")
    clock.turn(hours=2)
    await poll.poll("narrow")
    await poll.poll("narrow")
    assert (await detected(daemon, clock)).state == "all_missing"


async def test_pages_that_are_not_read_since_they_are_known_are_not_lacking(daemon, script, poll, clock):
    clock.turn(minutes=5)
    brought = script.happens(400)
    await daemon.receive(*brought)
    await daemon.settled()
    clock.turn(minutes=6)
    assert (await poll.poll("wide")).outcome == "complete"
    assert (await detected(daemon, clock)).state == "working"
    assert (await poll.poll("wide")).outcome == "early"
    assert (await detected(daemon, clock)).state == "working"


async def test_a_webhook_that_is_delivered_twice_or_was_found_by_polling_is_compared_once(daemon, script, poll, clock):
    clock.turn(minutes=5)
    brought, polled = script.happens(2), script.happens(2)
    await daemon.receive(*brought, *brought)
    await poll.poll("narrow")
    await daemon.receive(*polled)  # polling was quicker
    await daemon.settled()
    clock.turn(minutes=6)
    script.events.clear()
    await poll.poll("wide")
    found = await detected(daemon, clock)
    assert (found.compared, found.lacking) == (2, 2)
