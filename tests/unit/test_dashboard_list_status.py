"""The pages of sync, gaps and system as view-models, and what needs a person; without HTML."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from flexportd.cache import DiskStats
from flexportd.clock import stamp
from flexportd.core.outages import DeliveryHealth, DeliverySignals, Detection, EventRate, OutageReport
from flexportd.core.resources.registry import RESOURCE_TYPES
from flexportd.expose.context import DisplaySettings
from flexportd.expose.dashboard.pages import overview, queue, sync, system
from flexportd.expose.dashboard.view import alerts, sync_report
from flexportd.expose.dashboard.view.alerts import Alert, PageContext, RuntimeStatus, StoredStatus
from flexportd.expose.dashboard.view.dates import ViewContext, find_zone
from flexportd.storage.repositories.gaps import OutageSummary
from flexportd.storage.repositories.sync import ListState, Receipt, Run

NOW = datetime(2026, 3, 24, 12, 0, tzinfo=UTC)
SIGHT = ViewContext(find_zone("Europe/Berlin"), NOW)
NAMED = {domain.name: domain for domain in RESOURCE_TYPES}
HOSTILE = "<script>alert('1')</script>\" onload=x \u202e" + "y" * 3000


def ago(**past) -> str:
    return stamp(NOW - timedelta(**past))


def healthy(verdict="arriving", sentence="Webhooks are arriving; last one 2 min ago", **clocks) -> DeliveryHealth:
    return DeliveryHealth(DeliverySignals(**clocks), verdict, sentence, Detection("working", ""))


def state_of(**changed):
    found = {
        "breaker": {"state": "closed", "since": ago(hours=3), "reason": None, "retry_at": None, "failures": 0},
        "auth": {"kind": "api_key", "authorised": True, "reason": None, "expires_at": None, "token_requests": 0,
                 "token_requests_limit": 10},
        "rate_limit": {"current": 5.0, "configured": 5.0, "in_flight": 1, "waiting": {"sync": 2, "write": 0}},
        "calls": {"sync": {"calls": 3}},
        "clock": {"offset_seconds": 0.4, "responses": 3, "ignored": 0, "note": None},
        "proxy": None,
    }  # fmt: skip
    for name, part in changed.items():
        found[name] = found[name] | part
    return found


DOWN = {"state": "open", "since": ago(minutes=30), "reason": "GET /legs: 503", "retry_at": ago(seconds=-90)}


def runtime(*, has_secrets=True, **changed) -> RuntimeStatus:
    usual = {
        "flexport": state_of(),
        "resources": RESOURCE_TYPES,
        "display": DisplaySettings(has_secrets=has_secrets),
    }
    return RuntimeStatus(**usual | changed)


def everything_complete(**states) -> dict[str, ListState]:
    return {
        name: ListState(name, complete_at=ago(minutes=12), total=240, requests=3, incremental_since=ago(minutes=4))
        for name in NAMED
    } | states


def noted(**changed) -> StoredStatus:
    usual = {"health": healthy(), "pending_removals": {}, "lists": everything_complete()}
    return StoredStatus(**usual | changed)


def receipt(resource="legs", **changed) -> Receipt:
    usual = {
        "run_id": 7, "resource": resource, "state": "complete", "as_of": ago(minutes=13),
        "started_at": ago(minutes=13), "ended_at": ago(minutes=12), "next_page": 4, "first_total": 240, "total": 240,
        "objects": 240, "unchanged": 230, "changed": 6, "new": 3, "skipped": 1, "failed": 0, "skips": '{"older":1}',
        "missing": 0, "removed": 0, "requests": 3, "bytes": 5, "reason": None,
    }  # fmt: skip
    return Receipt(**usual | changed)


def a_run(**changed) -> Run:
    usual = {"id": 7, "kind": "full", "cause": "schedule", "state": "complete", "started_at": ago(minutes=13),
             "ended_at": ago(minutes=12), "reason": "fine"}  # fmt: skip
    return Run(**usual | changed)


def a_row(run: Run) -> dict:
    return {name: getattr(run, name) for name in ("id", "kind", "cause", "state", "started_at", "ended_at", "reason")}


def found(**changed) -> sync.SyncData:
    usual = {"query": None, "running": None, "ended": (a_run(), [receipt(name) for name in NAMED]), "runs": [a_row(a_run())],
             "unreadable": {}, "unreadable_rows": [], "calls": {}}  # fmt: skip
    return sync.SyncData(**usual | changed)


AHEAD = {"requests": 40, "seconds": 8.0, "never_synced": []}
JOB = {"id": "full_sync", "next_run_at": ago(minutes=-48), "paused": False}


def sync_page(store=None, mirror=None, state="usual", ahead=AHEAD, job=JOB, spoken=None):
    spoken = spoken or runtime(flexport=state_of() if state == "usual" else state)
    store, mirror = store or found(), mirror or noted()
    current = alerts.current_alerts(spoken, mirror, SIGHT)
    data = replace(store, query=sync.SyncQuery(None, None, job))
    return sync.sync_page(data, PageContext(SIGHT, mirror, spoken, current, ahead))


# --- what needs a person ---


def needs(noted_now=None, **changed) -> list[Alert]:
    return list(alerts.current_alerts(runtime(**changed), noted_now or noted(), SIGHT))


def test_nothing_needs_anybody_while_all_is_well():
    assert needs() == []
    assert alerts.banner([]) is None


@pytest.mark.parametrize(
    ("changed", "mirror", "badge", "words", "url"),
    [
        ({"reasons": ["the disk does not answer"]}, {}, "Not ready", "The disk does not answer.", "/system"),
        ({"has_secrets": False}, {}, "No webhook secret", "every webhook is refused", "/system"),
        ({"flexport": state_of(breaker=DOWN)}, {}, "Flexport down, data from 12:56",
         "Flexport has not responded since 12:30: GET /legs: 503. Data was last read from Flexport 4 minutes ago.", "/sync#flexport"),
        ({"flexport": state_of(auth={"authorised": False, "reason": "401 bad key"})}, {},
         "Sign-in refused, data from 12:56", "Flexport refuses the sign-in: 401 bad key.", "/sync#flexport"),
        ({"flexport": state_of(auth={"reason": "no token left"})}, {}, "Sign-in failing", "no token left", "/sync#flexport"),
        ({}, {"health": healthy("broken", "No webhooks since 10:00 UTC: 3 events arrived only by polling")},
         "Webhooks broken", "No webhooks since 10:00 UTC: 3 events", "/gaps"),
        ({}, {"health": healthy("unusually_quiet", "Unusually quiet")}, "Unusually quiet", "Unusually quiet.", "/gaps"),
        ({}, {"health": healthy("polling_failed", "Polling Flexport has failed")}, "Polling fails", "has failed", "/gaps"),
        ({}, {"pending_removals": {"legs": (40, ago(hours=1)), "ports": (2, ago(hours=1))}}, "Review needed",
         "40 legs and 2 ports are missing", "/sync#held"),
        ({"failing_jobs": ["Job full_sync has failed 3 times in a row: HTTP 500"]}, {}, "Job failing",
         "Job full_sync has failed 3 times in a row: HTTP 500.", "/system"),
        ({"flexport": None}, {}, "No API key", "Set api_key in the section [flexport]", "/sync"),
    ],
)  # fmt: skip
def test_each_thing_that_needs_a_person_is_a_sentence_and_a_page(changed, mirror, badge, words, url):
    (need,) = needs(noted(**mirror), **changed)
    assert (need.badge, need.url) == (badge, url)
    assert words in need.sentence
    assert alerts.banner([need]).url == url


def test_a_poll_that_fails_because_flexport_is_down_is_told_once():
    down = state_of(breaker=DOWN)
    assert [one.badge for one in needs(noted(health=healthy("polling_failed", "x")), flexport=down)] == [
        "Flexport down, data from 12:56"
    ]


def test_before_anything_was_read_the_badge_says_so():
    (need,) = needs(noted(lists={}), flexport=state_of(breaker=DOWN))
    assert need.badge == "Flexport down, no data yet"


def test_several_needs_are_one_badge_that_leads_to_the_overview():
    badge = alerts.banner(needs(noted(pending_removals={"legs": (40, ago(hours=1))}), flexport=state_of(breaker=DOWN)))
    assert (badge.words, badge.tone, badge.url) == ("Flexport down, data from 12:56 and 1 more", "bad", "/")


def test_what_the_store_does_not_say_is_left_out_when_it_cannot_be_asked():
    assert alerts.current_alerts(runtime(), None, SIGHT) == ()
    (need,) = alerts.current_alerts(runtime(flexport=state_of(breaker=DOWN)), None, SIGHT)
    assert need.sentence == "Flexport has not responded since 12:30: GET /legs: 503."


# --- how complete the mirror is ---


def completeness(lists, last=None, unread=()):
    kept = noted(lists=lists)
    rows = sync_report.list_rows(RESOURCE_TYPES, kept, sync_report.LastRun(last or {}, (), unread, {}), SIGHT)
    told = sync_report.completeness(rows, SIGHT)
    return told.text, told.tone


def test_everything_compared_is_one_sentence():
    assert completeness(everything_complete()) == ("All lists synced 12 minutes ago.", "good")


def test_lists_that_are_read_seldom_are_told_apart():
    late = {name: ListState(name, complete_at=ago(hours=9)) for name in ("ports", "locations")}
    assert completeness(everything_complete(**late)) == (
        "All lists synced: 16 lists 12 minutes ago, the other 2 at most 9 hours ago.", "good",
    )  # fmt: skip


def test_lists_not_read_yet_are_named():
    lists = everything_complete()
    del lists["ports"], lists["legs"]
    assert completeness(lists, unread={"ports", "legs"}) == (
        "16 of 18 lists synced, the latest 12 minutes ago. Not synced yet: Legs and Ports.", "warn",
    )  # fmt: skip
    assert completeness({}, unread=set(NAMED)) == ("No full sync has completed yet.", "warn")


def test_lists_that_nobody_chose_are_not_missed():
    lists = {"shipments": ListState("shipments", complete_at=ago(minutes=2))}
    assert completeness(lists, unread=()) == ("All lists synced 2 minutes ago.", "good")


def test_a_list_that_failed_says_how_old_it_is():
    lists = everything_complete(legs=ListState("legs", complete_at=ago(hours=5)))
    assert completeness(lists, {"legs": receipt(state="failed", reason="HTTP 500")}) == (
        "The last sync failed for Legs (last synced 5 hours ago). All other lists synced 12 minutes ago.", "warn",
    )  # fmt: skip


def test_a_list_that_is_refused_does_not_count_and_says_why():
    closed = ListState("legs", unavailable_at=ago(hours=1), unavailable_reason="HTTP 403: no")
    page = sync_page(mirror=noted(lists=everything_complete(legs=closed)))
    row = next(row for row in page.lists if row.name == "Legs")
    assert (row.state.text, row.note.shown) == ("Unavailable", "HTTP 403: no")
    assert [one.text for one in page.sentences] == [
        "Webhooks are arriving; last one 2 min ago.",
        "All lists synced 12 minutes ago.",
        "This Flexport account has no access to Legs.",
        "Nothing to review.",
    ]


# --- the sync ---


def test_what_is_held_names_the_list_the_command_and_the_number():
    page = sync_page(mirror=noted(pending_removals={"container_legs": (1040, ago(minutes=20))}))
    (held,) = page.held
    assert (held.name, held.route, held.objects) == ("Container legs", "container-legs", "1,040 objects")
    assert held.command == "flexportd sync accept container-legs"
    assert held.since.words == "20 minutes ago"
    assert page.sentences[-1].url == "#held"
    assert next(row for row in page.lists if row.route == "container-legs").pending == "1,040"


def test_while_flexport_is_down_the_page_begins_with_it():
    page = sync_page(state=state_of(breaker=DOWN))
    assert page.sentences[0].text.startswith("Flexport has not responded since 12:30")
    assert page.sentences[0].tone == "bad"


def row_of(one: Receipt):
    return sync_report.run_receipts(a_run(), [one], NAMED, SIGHT).rows[0]


def test_a_receipt_closes_in_sight():
    row = row_of(receipt())
    assert row.total == "240"
    assert [(part.title, part.count) for part in row.counts] == [
        ("Unchanged", "230"), ("Changed", "6"), ("New", "3"), ("Skipped", "1"), ("Failed", "0"),
    ]  # fmt: skip
    assert (row.balance.text, row.balance.tone) == ("OK", "good")
    assert row.notes[0].shown == "Skipped: 1 older"
    assert row.state is None


@pytest.mark.parametrize(
    ("changed", "words", "tone"),
    [
        ({"total": 243}, "Off by 3", "bad"),
        ({"total": 236}, "Off by 4", "bad"),
        ({"total": None}, "No total given", "plain"),
        ({"total": 237, "skipped": 4, "unchanged": 227, "skips": '{"repeated":3}'}, "OK, 3 listed twice", "good"),
    ],
)
def test_a_sum_that_does_not_close_says_by_how_much(changed, words, tone):
    row = row_of(receipt(**changed))
    assert (row.balance.text, row.balance.tone) == (words, tone)


def test_a_list_that_could_not_be_read_says_why_and_has_no_sum():
    row = row_of(receipt(state="unavailable", total=None, objects=0, skips="{}", reason="HTTP 403"))
    assert (row.state.text, row.balance, row.notes[0].shown) == ("Unavailable", None, "HTTP 403")


def test_the_sums_of_a_run_are_those_of_its_lists():
    shown = sync_report.run_receipts(a_run(), [receipt("legs"), receipt("ports", total=241)], NAMED, SIGHT)
    assert (shown.totals.total, shown.totals.counts[0].count) == ("481", "460")
    assert (shown.totals.balance.text, shown.totals.balance.tone) == ("1 not balanced", "bad")
    assert (shown.run.duration, shown.run.cause) == ("60 s", "scheduled")
    assert sync_report.run_receipts(a_run(), [receipt()], NAMED, SIGHT).totals is None


def test_a_run_under_way_tells_its_pages():
    under_way = [
        receipt("shipments", next_page=4),
        receipt("legs", state="running", next_page=2, total=950),
        receipt("ports", state="waiting", next_page=1, total=None, objects=0),
    ]
    page = sync_page(found(running=(a_run(state="running", ended_at=None), under_way)))
    assert page.running.words == "4 of 16 pages, 1 of 3 lists done"
    assert (page.running.done, page.running.expected) == (4, 16)
    assert next(row for row in page.lists if row.name == "Legs").state.text == "Syncing"
    assert page.receipts.rows[1].balance is None
    first = sync_report.progress(a_run(), under_way, {}, SIGHT)
    assert first.words == "4 of at least 13 pages, 1 of 3 lists done"


def test_the_next_full_sync_is_foretold():
    assert sync_page().forecast == SimpleNamespace(at=SIGHT.until(JOB["next_run_at"]), words="about 40 requests, 8 s")
    assert sync_page().forecast.at.words == "in 48 minutes"
    some = AHEAD | {"never_synced": ["legs"]}
    assert sync_page(ahead=some).forecast.words == "about 40 requests, 8 s, plus 1 list not synced yet"
    none = {"requests": 0, "seconds": 0.0, "never_synced": ["legs"]}
    assert sync_page(ahead=none).forecast.words == "duration not known until the first one has completed"
    assert sync_page(job=JOB | {"paused": True}).forecast.words == "Paused (about 40 requests, 8 s)"


def test_the_budget_adds_up():
    sums = {"calls": 10, "errors": 1, "retries": 2, "bytes": 2_000_000, "seconds": 1.5}
    rows, total = sync_report.usage_rows({"sync": sums, "refresh": sums | {"errors": 0}, "tea": sums})
    assert [row.title for row in rows] == ["Webhook follow-up", "Sync", "tea"]
    assert (rows[1].calls, rows[1].errors, rows[1].data, rows[1].average) == ("10", "1", "2.0 MB", "150 ms")
    assert (total.calls, total.errors, total.has_errors) == ("30", "2", True)
    assert sync_report.usage_rows({}) == ((), None)


def facts(**changed):
    return {fact.title: (fact.badge.text if fact.badge else None, fact.words)
            for fact in sync_report.facts(state_of(**changed), SIGHT)}  # fmt: skip


def test_the_way_to_flexport_is_told_in_words():
    assert facts() == {
        "Flexport": ("Reachable", ""),
        "Sign-in": ("Accepted", "API key"),
        "Rate": (None, "5 requests per second"),
        "Requests": (None, "1 in progress, 2 waiting"),
        "Flexport's clock": (None, "In sync"),
    }
    told = facts(
        breaker=DOWN,
        auth={"kind": "oauth", "token_requests": 3, "authorised": True, "expires_at": ago(hours=-20)},
        rate_limit={"current": 2.5},
        clock={"offset_seconds": -90.0},
    )
    assert told["Flexport"] == ("Down", "No requests since 12:30: GET /legs: 503; next attempt in 2 minutes.")
    assert told["Token requests"] == (None, "3 of 10 in the last 24 hours")
    assert told["Sign-in"] == ("Accepted", "Client credentials, token valid until 25 Mar 09:00")
    assert told["Rate"] == ("Reduced", "2.5 requests per second now, 5 configured")
    assert told["Flexport's clock"] == (None, "2 min behind")
    assert facts(auth={"authorised": False, "reason": "401"})["Sign-in"] == ("Refused", "API key: 401.")
    assert facts(breaker=DOWN | {"state": "half_open"})["Flexport"][0] == "Retrying"
    assert facts(calls={"sync": {"calls": 0}})["Flexport"][0] == "No requests yet"


def test_without_a_key_the_page_says_what_to_do_and_nothing_else():
    page = sync_page(found(ended=None, runs=[]), noted(lists={}), state=None, ahead=None)
    assert page.no_key.startswith("No Flexport API key is configured")
    assert (page.sentences, page.lists, page.flexport, page.forecast, page.receipts) == ((), (), (), None, None)


def test_an_object_that_cannot_be_read_is_listed():
    row = {"resource": "legs", "resource_id": "9", "error": "no id", "count": 3, "last_seen_at": ago(minutes=1)}
    page = sync_page(found(unreadable={"legs": 1}, unreadable_rows=[row]))
    assert page.unreadable_total == "1 object"
    assert (page.unreadable[0].name, page.unreadable[0].key.shown, page.unreadable[0].count) == ("Legs", "9", "3")
    assert next(row for row in page.lists if row.name == "Legs").unreadable == "1"


# --- gaps ---


def an_outage(number=5, *, until=True, **changed) -> OutageReport:
    usual = {"after_seq": number, "deaf_since": ago(hours=2), "events": 3, "first_created_at": ago(hours=2),
             "last_created_at": ago(hours=1), "first_noticed_at": ago(hours=1), "last_noticed_at": ago(hours=1),
             "late": 1, "waiting": 0, "dead": 0}  # fmt: skip
    return OutageReport(
        OutageSummary(**usual | changed), ago(hours=1) if until else None, 3600.0, {}, "no webhook from 10 to 11"
    )


def an_event(**changed) -> dict:
    usual = {"event_id": "77/8", "type": "/shipment_leg#departed", "state": "applied", "occurred_at": ago(hours=2),
             "created_at": ago(hours=2), "detected_at": ago(hours=1), "shipment_id": 910233, "delivered_at": None}  # fmt: skip
    return usual | changed


def gaps_page(spans, shipments=(910233,), health=None, *, has_key=True):
    data = queue.GapsData(spans, shipments, "c" if len(spans) > 2 else None, limit=2)
    daemon = runtime(flexport=state_of() if has_key else None)
    return queue.gaps_page(data, PageContext(SIGHT, noted(health=health or healthy()), daemon))


def test_an_outage_tells_from_when_to_when_and_what_was_repaired():
    (row,) = gaps_page([(an_outage(), [an_event()])]).rows
    assert (row.since.text, row.until.text, row.duration) == (
        "24 Mar 11:00 (UTC+1)",
        "24 Mar 12:00 (UTC+1)",
        "60 min",
    )
    assert (row.events, row.recovered, row.is_recovered, row.late) == ("3 events", "3 of 3", True, "1")
    assert row.sentence == "No webhook from 10 to 11."
    assert row.all_url is None
    (row,) = gaps_page([(an_outage(until=False, waiting=1, dead=1, events=300), [])]).rows
    assert (row.until, row.recovered, row.is_recovered) == (None, "298 of 300, 1 waiting, 1 failed", False)
    assert row.all_url == "/api/v1/gaps/events?outage=5"


def test_the_events_of_an_outage_link_only_to_what_is_there():
    events = [an_event(), an_event(state=None, shipment_id=7), an_event(shipment_id=None, delivered_at=ago(minutes=5))]
    (row,) = gaps_page([(an_outage(), events)]).rows
    assert [(one.url, one.shipment_id, one.state.text) for one in row.missed] == [
        ("/events/77%2F8", 910233, "Applied"), (None, None, "No longer stored"),
        ("/events/77%2F8", None, "Applied"),
    ]  # fmt: skip
    assert row.missed[2].late.text == "24 Mar 12:55 (UTC+1)"


def test_further_outages_are_a_page_away():
    page = gaps_page([(an_outage(number), []) for number in (9, 8, 7)])
    assert [row.number for row in page.rows] == [9, 8]
    assert page.next_url == "/gaps?cursor=c"
    assert gaps_page([]).next_url is None


def test_the_clocks_stand_beside_the_verdict():
    health = healthy("broken", "Webhook path broken", last_webhook_at=ago(hours=2), polled_at=ago(minutes=2),
                     event_rate=EventRate(120.0, 3 * 3600.0))  # fmt: skip
    page = gaps_page([], health=health)
    assert (page.verdict.text, page.verdict.tone, page.verdict.url) == ("Webhook path broken.", "bad", None)
    assert (page.last_webhook.words, page.last_upstream, page.polled.words) == ("2 hours ago", None, "2 minutes ago")
    assert page.interval == "2 min, longest 3 h"
    assert gaps_page([], has_key=False).no_key


# --- the system ---


def a_job(**changed) -> dict:
    usual = {
        "id": "full_sync", "title": "Compare every list", "schedule": "every 1 h", "paused": False, "running": None,
        "next_run_at": ago(minutes=-30), "consecutive_failures": 0,
        "last_run": {"started_at": ago(minutes=31), "ended_at": ago(minutes=30), "seconds": 61.0, "outcome": "done",
                     "message": "240 objects"},
    }  # fmt: skip
    return usual | changed


def a_finding(**changed) -> dict:
    usual = {"kind": "event_type", "object": "/event", "name": "/x#y", "example": "5", "count": 1200,
             "first_seen_at": ago(days=3), "last_seen_at": ago(minutes=3)}  # fmt: skip
    return usual | changed


def system_page(findings=(), total=0, fault=None, reasons=(), refusals=(), **changed):
    usual = {"started_at": ago(hours=5), "warnings": [], "jobs": [a_job()], "wal_bytes": 4_200_000,
             "memory": (90, 10, 1000), "disk": DiskStats(1, 33_000, 0, 0, 0, 0, 0)}  # fmt: skip
    data = system.SystemData(system.SystemQuery(**usual | changed), findings, total)
    daemon = runtime(fault=fault, reasons=reasons, refusals=refusals)
    return system.system_page(data, PageContext(SIGHT, noted(), daemon))


@pytest.mark.parametrize(
    ("changed", "words", "running", "paused"),
    [
        ({}, "in 30 minutes", False, False),
        ({"next_run_at": ago(seconds=2)}, "now", False, False),
        ({"paused": True, "next_run_at": None}, "Paused", False, True),
        (
            {"running": {"id": "4", "since": ago(minutes=2), "cause": "manual"}},
            "Running",
            True,
            False,
        ),
        ({"next_run_at": None}, "Not scheduled", False, False),
    ],
)
def test_a_job_says_when_it_runs(changed, words, running, paused):
    (job,) = system_page(jobs=[a_job(**changed)]).jobs
    assert (job.next_words, job.is_running, job.is_paused) == (words, running, paused)
    assert job.started == ("started 2 minutes ago" if running else None)
    assert job.url == "/system/jobs/full_sync"


def test_a_job_says_what_became_of_it():
    (job,) = system_page().jobs
    assert (job.last.words, job.duration, job.outcome.text, job.message.shown) == (
        "30 minutes ago", "61 s", "Done", "240 objects",
    )  # fmt: skip
    failed = a_job(last_run=a_job()["last_run"] | {"outcome": "failed", "seconds": 0.25}, consecutive_failures=3)
    (job,) = system_page(jobs=[failed]).jobs
    assert (job.duration, job.outcome.tone, job.failing) == ("250 ms", "bad", "3 times in a row")
    assert system_page(jobs=[a_job(last_run=None)]).jobs[0].outcome is None


def test_the_layers_of_the_cache_tell_what_share_they_answered():
    memory, disk = system_page().layers
    assert (memory.title, memory.hit_rate, memory.hits, memory.misses, memory.size) == (
        "Memory",
        90,
        "90",
        "10",
        "1.0 kB",
    )
    assert (disk.hit_rate, disk.size) == (None, "33 kB in 1 item")


def test_storage_tells_its_fault():
    assert system_page().storage.state.text == "Healthy"
    assert system_page(fault="disk full").storage.words == "The database is not writable: disk full."
    assert system_page().storage.wal == "4.2 MB"
    assert system_page().uptime == "5 h"


def test_what_nobody_published_is_listed():
    page = system_page([a_finding(), a_finding(kind="smell", object="", example="")], 71)
    assert (page.findings[0].kind, page.findings[0].count, page.findings[0].last.words) == (
        "Event type", "1,200", "3 minutes ago",
    )  # fmt: skip
    assert (page.findings[1].kind, page.findings[1].object) == ("smell", None)
    assert (page.findings_total, page.has_more_findings) == ("71", True)
    assert system_page(warnings=["no webhook secret"]).warnings == ("No webhook secret.",)
    assert system_page(notice=system.NOTICES["paused"]).notice.startswith("Job paused")


# --- the overview ---


@pytest.mark.parametrize(
    ("state", "mirror", "word"),
    [
        (state_of(), {}, "Complete"),
        (state_of(), {"lists": {}}, "Incomplete"),
        (state_of(), {"pending_removals": {"legs": (40, ago(hours=1))}}, "Review needed"),
        (state_of(breaker=DOWN), {}, "Flexport down"),
        (state_of(auth={"authorised": False}), {}, "Sign-in refused"),
        (None, {}, "No API key"),
    ],
)
def test_the_overview_tells_how_the_mirror_is(state, mirror, word):
    store = overview.OverviewData({"gated_out": 1}, [], [], [], ago(minutes=1),
                           dict.fromkeys(("ready", "leased", "dead"), (0, None)), [])  # fmt: skip
    page = overview.overview_page(store, PageContext(SIGHT, noted(**mirror), runtime(flexport=state)))
    assert page.health[2].word == word
    assert page.health[2].url == "/sync"


def test_the_overview_tells_that_webhooks_are_broken():
    store = overview.OverviewData(
        {}, [], [], [], ago(hours=9), dict.fromkeys(("ready", "leased", "dead"), (0, None)), []
    )
    context = PageContext(SIGHT, noted(health=healthy("broken", "no webhooks since 02:58 UTC")), runtime())
    health = overview.overview_page(store, context).health[1]
    assert (health.word, health.detail, health.url) == ("Broken", "No webhooks since 02:58 UTC.", "/gaps")


# --- models that are as hostile and as full as can be, for the templates ---


def hostile_models():
    down = state_of(
        breaker=DOWN | {"reason": HOSTILE},
        auth={"kind": "oauth", "authorised": False, "reason": HOSTILE, "expires_at": ago(hours=-1)},
        rate_limit={"current": 1.0},
    )
    bad = receipt(state="failed", reason=HOSTILE, skips='{"<i>": 2}', total=9)
    sums = {"calls": 10, "errors": 1, "retries": 2, "bytes": 2_000_000, "seconds": 1.5}
    lost = {"resource": HOSTILE, "resource_id": HOSTILE, "error": HOSTILE, "count": 3, "last_seen_at": HOSTILE}
    store = found(
        running=(a_run(state="running", ended_at=None), [bad, receipt("ports", state="running", removed=3)]),
        ended=(a_run(state="failed", reason=HOSTILE), [bad]),
        runs=[a_row(a_run(reason=HOSTILE)), a_row(a_run(id=8, kind="incremental", state="running", ended_at=None))],
        unreadable={"legs": 3},
        unreadable_rows=[lost],
        calls={"sync": sums, HOSTILE: sums},
    )
    closed = ListState("legs", unavailable_at=HOSTILE, unavailable_reason=HOSTILE)
    mirror = noted(
        health=healthy("broken", HOSTILE),
        pending_removals={"ports": (40, ago(hours=1)), "legs": (2, HOSTILE)},
        lists=everything_complete(legs=closed),
    )
    failing = runtime(flexport=down, reasons=[HOSTILE], failing_jobs=[HOSTILE])
    yield "sync.html", sync_page(store, mirror, down, spoken=failing)
    yield "sync.html", sync_page(found(ended=(a_run(state="held", reason=HOSTILE), [])), mirror, down)
    yield "sync.html", sync_page(found(ended=None, runs=[]), noted(lists={}), state=None, ahead=None)
    events = [an_event(type=HOSTILE, event_id="a/b", state=HOSTILE, occurred_at=HOSTILE, delivered_at=HOSTILE)]
    yield (
        "gaps.html",
        gaps_page([(an_outage(n, until=n > 8, events=90), events) for n in (9, 8, 7)], health=mirror.health),
    )
    yield "gaps.html", gaps_page([])
    yield "gaps.html", gaps_page([], health=healthy(polled_at=ago(minutes=1)), has_key=False)
    run = {"started_at": HOSTILE, "ended_at": HOSTILE, "seconds": None, "outcome": HOSTILE, "message": HOSTILE}
    jobs = [
        a_job(id="one", title=HOSTILE, last_run=run, consecutive_failures=4),
        a_job(id="two", paused=True),
        a_job(id="three", last_run=None, running={"id": "1", "since": HOSTILE, "cause": "manual"}),
    ]
    findings = [a_finding(kind=HOSTILE, object=HOSTILE, name=HOSTILE, example=HOSTILE), a_finding(last_seen_at=HOSTILE)]
    yield "system.html", system_page(findings, 99, notice="Job started.", jobs=jobs, fault=HOSTILE,
                                     reasons=[HOSTILE], warnings=[HOSTILE])  # fmt: skip
    yield "system.html", system_page(jobs=[])


def test_without_a_gap_the_page_says_whether_one_could_be_seen():
    assert gaps_page([]).undetectable is None
    blind = Detection("all_missing", "gaps cannot be detected: the list is empty")
    page = gaps_page([], health=replace(healthy(), detection=blind))
    assert page.undetectable == "Gaps cannot be detected: the list is empty."
    assert page.verdict.tone == "warn"
