"""The pages as a browser meets them: real HTTP, real events, no script."""

import json
import re

import pytest

from flexportd.clock import Clock
from flexportd.sandbox import Sandbox, SandboxOptions
from flexportd.settings import Settings
from flexportd.storage.repositories.gaps import Gap, Poll
from flexportd.storage.repositories.schema_drift import DriftRecord
from tests.crawling import crawl
from tests.events import container, event, leg, shipment
from tests.under_test import start

EVENT = {"type": "/shipment_leg#departed"}


async def page(daemon, path, status=200, **headers):
    async with daemon.http.get(daemon.url + path, headers=headers) as answer:
        text = await answer.text()
        assert answer.status == status, text
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        return text


async def submit(daemon, path, status=303, headers=None, **fields):
    async with daemon.http.post(daemon.url + path, data=fields, headers=headers, allow_redirects=False) as answer:
        assert answer.status == status, await answer.text()
        return answer.headers.get("Location"), await answer.text()


async def filled(daemon):
    await daemon.receive(
        event(leg(), shipment=shipment(name="PO 4471 <b>lamps</b>"), containers=[container()], **EVENT),
        event(shipment(2, name="Kettles", status="final_destination", transportation_mode="air",
                       actual_arrival_date="2026-03-20T12:00:00Z", archived_at="2026-03-22T12:00:00Z")),
        event(shipment(3, name="شحنة", status="beamed_up", transportation_mode="teleport")),
        event(shipment(status="departure_port", updated_at="2026-03-05T02:00:00Z",
                       estimated_arrival_date="2026-03-24T12:00:00.000-07:00")),
    )  # fmt: skip
    await daemon.settled()


# --- nothing yet ---


@pytest.mark.parametrize("path", ["/", "/shipments"])
async def test_before_the_first_event_pages_say_how_to_connect(daemon, path):
    found = await page(daemon, path)
    for words in ("/webhooks/flexport", "flexportd webhook send", "flexportd demo", "secret is configured"):
        assert words in found


async def test_a_missing_secret_is_told(tmp_path, clock):
    settings = Settings.for_tests(tmp_path, **{"webhook.secrets": []})
    async with start(settings, clock) as daemon:
        found = await page(daemon, "/")
    assert "No webhook secret is configured" in found
    assert "The webhook secret is missing" in found


async def test_an_empty_queue_says_what_would_be_here(daemon):
    assert "You can retry or discard them" in await page(daemon, "/queue")


# --- pages ---


async def test_the_overview_counts_and_tells_what_moved(daemon):
    await filled(daemon)
    found = await page(daemon, "/")
    assert "3 shipments" in found
    assert "beamed_up" in found
    assert re.search(r"ETA\s+moved from <s><bdi>21 Mar( \d+)?</bdi></s> to <strong><bdi>24 Mar", found)
    assert "3 days later" in found
    assert 'href="/shipments/910233"' in found


async def test_the_list_shows_shipments_with_route_and_dates(daemon):
    await filled(daemon)
    found = await page(daemon, "/shipments")
    assert "2 shipments, most recently updated first" in found
    for words in ("FLEX-910233", "PO 910233", "CNYTN", "USLAX", "Example Line", "EXAMPLE STAR"):
        assert words in found
    assert re.search('<time datetime="2026-03-24">24 Mar( 2026)?</time>', found)
    assert "Kettles" not in found


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("archived=all", {910233, 2, 3}),
        ("archived=true", {2}),
        ("q=&status=&mode=&archived=false&eta_after=&eta_before=", {910233, 3}),
        ("status=beamed_up", {3}),
        ("status=departure_port,beamed_up&sort=eta", {910233, 3}),
        ("mode=air&archived=all", {2}),
        ("q=csqu3054383", {910233}),
        ("q=%25", set()),
        ("eta_after=2026-03-23&eta_before=2026-03-26", {910233}),
    ],
)
async def test_filters_choose(daemon, query, ids):
    await filled(daemon)
    found = await page(daemon, f"/shipments?{query}")
    assert {int(number) for number in re.findall(r'href="/shipments/(\d+)"', found)} == ids


async def test_next_leads_through_all(daemon):
    await filled(daemon)
    path, seen = "/shipments?limit=1&archived=all&sort=eta", []
    while path:
        found = await page(daemon, path)
        seen += re.findall(r'href="/shipments/(\d+)"', found)
        following = re.search(r'rel="next" href="([^"]+)"', found)
        path = following and following[1].replace("&amp;", "&")
    assert sorted(seen) == ["2", "3", "910233"]


async def test_one_shipment_tells_its_journey_and_its_history(daemon):
    await filled(daemon)
    found = await page(daemon, "/shipments/FLEX-910233")
    for words in ("At departure port", "CSQU3054383", "40 ft HC, dry", "4471", "EXA1", "Example Imports", "MAEU1",
                  "Actual Time of Departure (ATD)", "3 days later", "Source: webhook"):  # fmt: skip
        assert words in found
    assert 'aria-label="From Yantian, China by ocean to Los Angeles, CA' in found
    assert 'href="/api/v1/shipments/910233"' in found


async def test_a_page_changes_with_the_next_event_and_not_before(daemon):
    await filled(daemon)
    await daemon.daemon.consumers.examiner.process()  # the page shows exceptions as well
    async with daemon.http.get(daemon.url + "/shipments/910233") as answer:
        etag = answer.headers["ETag"]
    async with daemon.http.get(daemon.url + "/shipments/910233", headers={"If-None-Match": etag}) as answer:
        assert answer.status == 304
    await daemon.receive(event(shipment(status="arrival_port", updated_at="2026-03-06T02:00:00Z")))
    await daemon.settled()
    async with daemon.http.get(daemon.url + "/shipments/910233", headers={"If-None-Match": etag}) as answer:
        assert answer.status == 200
        assert "At arrival port" in await answer.text()


async def test_what_is_due_today_is_overdue_tomorrow_without_any_event(daemon, clock):
    day = clock.now().date().isoformat()
    await daemon.receive(
        event(shipment(status="in_transit_to_arrival_port", estimated_arrival_date=f"{day}T12:00:00Z"))
    )
    await daemon.settled()
    assert "1 day overdue" not in await page(daemon, "/shipments")
    clock.turn(days=1)
    assert "1 day overdue" in await page(daemon, "/shipments")


# --- what is not there, and what is wrong ---


@pytest.mark.parametrize("path", ["/shipments/999", "/shipments/FLEX-999", "/shipments/lamps"])
async def test_an_unknown_shipment_is_a_page(daemon, path):
    found = await page(daemon, path, status=404)
    assert "There is no shipment" in found or "there is no shipment" in found
    assert 'href="/shipments"' in found


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/shipments?limit=many", "limit is &#39;many&#39;; a whole number from 1 to 500 is allowed."),
        ("/shipments?colour=red", "&#39;colour&#39; is not a known parameter"),
        ("/shipments?sort=colour", "sort is &#39;colour&#39;"),
        ("/shipments?cursor=x", "cursor was not issued by this list"),
        ("/shipments?archived=perhaps", "archived is &#39;perhaps&#39;"),
        ("/shipments?eta_after=soon", "eta_after is &#39;soon&#39;"),
        ("/queue?discarded=some", "discarded is &#39;some&#39;"),
        ("/?x=1", "&#39;x&#39; is not a known parameter"),
        ("/shipments/1?x=1", "&#39;x&#39; is not a known parameter"),
    ],
)
async def test_a_wrong_parameter_is_a_page_with_the_sentence(daemon, path, sentence):
    assert sentence in await page(daemon, path, status=400)


async def test_hostile_names_stay_text(daemon):
    name = "<script>alert(1)</script>\u202e" + "x" * 1_000_000
    await daemon.receive(event(shipment(name=name, metadata={"<i>": [name]}, incoterm=name, status=name[:2000])))
    await daemon.settled()
    for path in ("/", "/shipments", "/shipments/910233"):
        found = await page(daemon, path)
        assert "<script>alert" not in found
        assert "\u202e" not in found
        assert len(found) < 60_000


# --- the queue ---


async def test_a_dead_letter_can_be_retried_and_discarded_without_script(daemon):
    await daemon.post(b"no event at all")
    found = await page(daemon, "/queue")
    number = re.search(r"/queue/dead-letters/(\d+)/retry", found)[1]
    assert "not JSON" in found
    location, _ = await submit(daemon, f"/queue/dead-letters/{number}/retry")
    await daemon.settled()
    assert location == "/queue?done=retried"
    assert "was queued for retry" in await page(daemon, location)
    location, _ = await submit(daemon, f"/queue/dead-letters/{number}/discard", why="<b>a test</b>")
    found = await page(daemon, location)
    assert "was discarded" in found
    assert "not JSON" not in found
    assert "Discarded by dashboard on" in (kept := await page(daemon, "/queue?discarded=true"))
    assert "&lt;b&gt;a test&lt;/b&gt;" in kept
    _, text = await submit(daemon, f"/queue/dead-letters/{number}/discard", status=409, why="again")
    assert "was discarded already" in text
    _, text = await submit(daemon, f"/queue/dead-letters/{number}/discard", status=400, why="x" * 501)
    assert "500 characters" in text


@pytest.mark.parametrize("number", ["77", "x", "9" * 30])
@pytest.mark.parametrize("act", ["retry", "discard"])
async def test_a_dead_letter_that_is_none_is_a_page(daemon, number, act):
    _, text = await submit(daemon, f"/queue/dead-letters/{number}/{act}", status=404)
    assert "There is no dead letter" in text


async def test_the_queue_is_paused_and_resumed(daemon):
    location, _ = await submit(daemon, "/queue/pause")
    assert daemon.daemon.queue.paused
    assert "Webhooks are still accepted and stored" in await page(daemon, location)
    await daemon.receive(event(shipment()))
    assert "1 item waiting" in await page(daemon, "/")
    location, _ = await submit(daemon, "/queue/resume")
    await daemon.settled()
    assert "Queue resumed" in await page(daemon, location)
    assert "FLEX-910233" in await page(daemon, "/shipments")


async def test_forms_of_other_sites_are_refused(daemon):
    _, text = await submit(daemon, "/queue/pause", status=403, headers={"Origin": "https://evil.example"})
    assert not daemon.daemon.queue.paused
    assert json.loads(text)["status"] == 403


# --- the mirror ---

KEY = "sandbox-key-for-tests"


@pytest.fixture
async def mirror(tmp_path, clock):
    """A daemon with a key, and the sandbox that it asks."""
    async with Sandbox(SandboxOptions(speed=0, shipments=4, api_key=KEY), Clock()) as sandbox:
        asking = {"base_url": sandbox.url, "api_key": KEY, "requests_per_second": 1000}
        settings = Settings.for_tests(tmp_path, **{f"flexport.{name}": value for name, value in asking.items()})
        async with start(settings, clock) as daemon:
            yield daemon, sandbox


async def synced(daemon):
    """Press the button, and wait until what it began has ended."""
    location, _ = await submit(daemon, "/sync/run")
    await daemon.daemon.scheduler.wait_until_idle("full_sync")
    return location


@pytest.mark.parametrize("path", ["/sync", "/gaps"])
async def test_without_a_key_pages_say_what_to_do(daemon, path):
    found = await page(daemon, path)
    assert "No Flexport API key is configured" in found
    assert "<code>api_key</code> in the section <code>[flexport]</code>" in found
    assert "/sync/run" not in found
    assert 'data-attention><a class="is-warn" href="/sync"' in await page(daemon, "/shipments")
    _, text = await submit(daemon, "/sync/run", status=409)
    assert "No key for Flexport&#39;s API is configured" in text
    assert 'href="/sync"' in text


async def test_a_full_sync_begins_with_a_button_and_shows_its_books(mirror):
    daemon, _ = mirror
    assert "No full sync has completed yet" in await page(daemon, "/sync")
    assert "Incomplete" in await page(daemon, "/")
    location = await synced(daemon)
    assert location == "/sync?done=begun"
    assert "Full sync started" in await page(daemon, location)
    await daemon.daemon.flexport.save_usage()
    found = await page(daemon, "/sync")
    assert "All lists synced just now." in found
    assert ">OK<" in found
    assert "Nothing to review." in found
    run = (await daemon.get("/sync"))["full"]
    assert f'href="/sync?run={run["id"]}#receipt"' in found
    rows = re.findall(r"<tr>(.*?)</tr>", found[found.index("Balance") :], re.DOTALL)
    sums = [
        [int(number.replace(",", "")) for number in re.findall(r'class="number[^>]*>([\d,]+)<', row)] for row in rows
    ]
    closed = [numbers for numbers in sums if len(numbers) == 6]
    assert len(closed) == len(run["results"]) + 1
    assert all(total == sum(parts) for total, *parts in closed)
    assert "API calls, last 24 h" in found
    assert ">Reachable<" in found
    assert "data-attention></p>" in found


async def test_what_is_held_is_accepted_with_a_button(mirror):
    daemon, _ = mirror
    await synced(daemon)
    legs = [leg["id"] for leg in (await daemon.get("/legs?limit=3"))["data"]]
    at = (await daemon.get("/sync"))["resources"][1]["as_of"]
    await daemon.daemon.db.write(lambda tx: tx.sync.hold("legs", legs, at))
    found = await page(daemon, "/sync")
    assert "3 objects missing from Flexport" in found
    assert "<code>flexportd sync accept legs</code>" in found
    assert "Review needed" in await page(daemon, "/")
    location, _ = await submit(daemon, "/sync/accept", resource="legs")
    assert location == "/sync?done=accepted"
    assert "marked as removed" in await page(daemon, location)
    for key in legs:
        assert (await daemon.get(f"/legs/{key}"))["removed_at"]
    assert "Waits for you" not in await page(daemon, "/sync")
    _, text = await submit(daemon, "/sync/accept", status=409, resource="legs")
    assert "Nothing to review in legs" in text
    for wrong in ({"resource": "<b>teapots"}, {}):
        _, text = await submit(daemon, "/sync/accept", status=400, **wrong)
        assert "resource is" in text
        assert "<b>" not in text


async def test_while_flexport_is_down_every_page_says_so_and_how_old_it_is(mirror):
    daemon, _ = mirror
    await synced(daemon)
    assert "data-attention></p>" in await page(daemon, "/shipments")
    for name in ("shipments", "legs"):
        breaker = daemon.daemon.flexport.client._sender.breaker
        for _ in range(3):
            breaker.enter()
            breaker.leave(name, probe=False, failure="<i>GET /legs</i>: HTTP 503", answered=False)
    for path in ("/", "/shipments", "/queue", "/sync", "/gaps", "/system", "/nothing/here"):
        found = await page(daemon, path, 404 if "nothing" in path else 200, Accept="text/html")
        assert 'data-attention><a class="is-bad" href="/sync#flexport"' in found, path
        assert "Flexport down, " in found
        assert "<i>GET" not in found
    assert "&lt;i&gt;GET /legs&lt;/i&gt;: HTTP 503. Data was last read from Flexport just now." in await page(
        daemon, "/"
    )


# --- gaps ---


async def missed(daemon, count):
    """Let polling find events that no webhook brought."""
    await daemon.receive(*[event(shipment(), id=str(number), **EVENT) for number in range(1, count + 1)])
    await daemon.settled()

    def work(tx):
        at = daemon.daemon.clock.stamp()
        rows = tx.raw.execute("SELECT seq, id, type, created_at, shipment_id FROM events ORDER BY seq").fetchall()
        gaps = [Gap(seq, key, kind, created, created, "legs", "1", ship) for seq, key, kind, created, ship in rows]
        tx.raw.execute("UPDATE events SET source = 'events'")
        tx.gaps.set_listening_since("2026-03-01T00:00:00.000Z")
        tx.gaps.add(at, gaps)
        tx.gaps.end_poll(Poll("narrow", at, at, good_at=at))

    await daemon.daemon.db.write(work)


async def test_an_outage_is_told_with_its_events(mirror):
    daemon, _ = mirror
    assert "has not been read yet" in await page(daemon, "/gaps")
    await missed(daemon, 30)
    found = await page(daemon, "/gaps")
    assert "No webhook has ever arrived" in found
    assert "30 of 30" in found
    assert found.count("<li>\n                <div>") == 25
    assert 'href="/events/1"' in found
    assert "of all 30" in found
    badge = (await page(daemon, "/shipments")).partition("data-attention>")[2].partition("</p>")[0]
    assert "No webhook has ever arrived" in badge  # perhaps beside something else
    assert "cursor was not issued" in await page(daemon, "/gaps?cursor=x", status=400)


async def test_without_any_gap_the_page_says_so(mirror):
    daemon, _ = mirror
    at = daemon.daemon.clock.stamp()
    nothing = "Every polled event had already arrived by webhook"
    for listed, words in ((0, "None known. Gaps cannot be detected yet: "), (3, nothing)):
        poll = Poll("narrow", at, at, good_at=at, read=listed)
        await daemon.daemon.db.write(lambda tx: (tx.gaps.set_listening_since(at), tx.gaps.end_poll(poll)))  # noqa: B023 (awaited here)
        assert words in await page(daemon, "/gaps")


# --- the system ---


async def test_jobs_are_run_paused_and_resumed_with_buttons(mirror):
    daemon, _ = mirror
    assert "Compare all lists with Flexport" in await page(daemon, "/system")
    location, _ = await submit(daemon, "/system/jobs/full_sync/pause")
    assert location == "/system?done=paused"
    found = await page(daemon, location)
    assert "Job paused" in found
    assert 'action="/system/jobs/full_sync/resume"' in found
    assert (await daemon.get("/jobs/full_sync"))["paused"]
    assert "Paused (" in await page(daemon, "/sync")
    await submit(daemon, "/system/jobs/full_sync/resume")
    location, _ = await submit(daemon, "/system/jobs/full_sync/run")
    assert location == "/system?done=started"
    await daemon.daemon.scheduler.wait_until_idle("full_sync")
    assert "just now" in await page(daemon, "/system")
    _, text = await submit(daemon, "/system/jobs/tea/run", status=404)
    assert "tea" in text
    assert 'href="/system"' in text
    assert "A shipment appears" not in text


async def test_what_nobody_published_is_listed_and_stays_text(daemon):
    assert "sends but does not document are listed here" in await page(daemon, "/system")
    finding = DriftRecord("field", "/shipment", "<b>colour", '"<i>red"', "sync", 3)
    await daemon.daemon.db.write(lambda tx: tx.drift.merge([finding], daemon.daemon.clock.stamp()))
    found = await page(daemon, "/system")
    assert "&lt;b&gt;colour" in found
    assert "<i>red" not in found


@pytest.mark.parametrize(
    "path", ["/sync/run", "/sync/accept", "/system/jobs/full_sync/run", "/system/jobs/full_sync/pause"]
)
async def test_buttons_pressed_by_other_sites_are_refused(mirror, path):
    daemon, _ = mirror
    _, text = await submit(daemon, path, status=403, headers={"Origin": "https://evil.example"}, resource="legs")
    assert json.loads(text)["status"] == 403
    assert (await daemon.get("/sync"))["full"] is None
    assert not (await daemon.get("/jobs/full_sync"))["paused"]


async def test_every_link_leads_to_a_page_unless_it_says_otherwise(mirror):
    daemon, _ = mirror
    await synced(daemon)
    await missed(daemon, 2)
    await filled(daemon)
    await daemon.post(b"no event at all")
    await daemon.settled()

    async def ask(address):
        async with daemon.http.get(daemon.url + address) as answer:
            return answer.status, answer.content_type, await answer.text(errors="replace")

    pages = await crawl(ask, most=250)
    assert {"/sync", "/gaps", "/system", "/queue", "/shipments", "/exceptions"} <= pages.keys()
    kinds = {address.split("/")[1].partition("?")[0] for address in pages}
    assert {"legs", "containers", "documents", "bookings", "events", "invoices", "customs-entries"} <= kinds
    assert any(address.startswith("/queue/dead-letters/") for address in pages)
    assert any(address.startswith("/sync?run=") for address in pages)
    assert any(address.endswith("/history") for address in pages)


# --- static files ---


async def test_static_files_are_kept_by_browsers_for_as_long_as_their_address_stays(daemon):
    found = await page(daemon, "/")
    urls = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', found))
    assert {url.partition("?")[0] for url in urls} == {
        "/static/flexportd.css", "/static/icon.svg", "/static/live.js", "/static/print.js",
    }  # fmt: skip
    for url in urls:
        async with daemon.http.get(daemon.url + url) as answer:
            assert answer.status == 200
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert await answer.read()
            etag = answer.headers["ETag"]
        async with daemon.http.get(daemon.url + url, headers={"If-None-Match": etag}) as answer:
            assert answer.status == 304
        async with daemon.http.get(daemon.url + url.partition("?")[0]) as answer:
            assert answer.headers["Cache-Control"] == "no-cache"


async def test_large_static_files_are_compressed_for_those_who_ask(daemon):
    async with daemon.http.get(daemon.url + "/static/flexportd.css", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert int(answer.headers["Content-Length"]) < 9_000
        assert len(await answer.read()) < 40_000
    async with daemon.http.get(daemon.url + "/static/flexportd.css", headers={"Accept-Encoding": "identity"}) as answer:
        assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("name", ["nothing.css", "..%2fpages.py", "%2e%2e%2fpages.py", "__init__.py"])
async def test_nothing_but_static_files_is_served(daemon, name):
    async with daemon.http.get(f"{daemon.url}/static/{name}") as answer:
        assert answer.status == 404


async def test_a_filter_that_cannot_be_used_is_a_warning_on_a_page_that_is_not_live(daemon):
    found = await page(daemon, "/shipments?status=nonsense", status=400)
    assert '<p class="notice is-warn" role="alert">status is &#39;nonsense&#39;' in found
    assert "data-live" not in found
