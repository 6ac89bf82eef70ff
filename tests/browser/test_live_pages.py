"""Pages that keep themselves up to date: what the reader has in hand stays, and "Live" is only said while it is true."""

import asyncio
import itertools
import json
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import expect

from flexportd.clock import Clock
from flexportd.settings import Settings
from tests.events import event, shipment
from tests.under_test import start

NEWEST = "/shipments?sort=-updated_at"
_minutes = itertools.count()


async def news(daemon, number, **fields):
    """A webhook that changes this shipment, or brings it; it is then the newest."""
    minute = next(_minutes)
    changed = shipment(number, updated_at=f"2026-03-05T{minute // 60:02}:{minute % 60:02}:00.000Z", **fields)
    await daemon.receive(event(changed))
    await daemon.settled()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def board():
    """A daemon with forty shipments and two dead letters."""
    with TemporaryDirectory(prefix="fxd-") as folder:
        async with start(Settings.for_tests(Path(folder).resolve()), Clock()) as daemon:
            for number in range(1, 41):
                await news(daemon, number)
            await daemon.post(b"no event")
            await daemon.post(b"none either")
            await daemon.settled()
            yield daemon


# Counts the answers that the page has read and dealt with: a message is delivered after all that follows from reading.
COUNT_ANSWERS = """(() => {
  const fetched = window.fetch, channel = new MessageChannel(), dealt = () => channel.port2.postMessage(null);
  window.answersDealtWith = 0;
  channel.port1.onmessage = () => { window.answersDealtWith += 1; };
  window.fetch = async (...given) => {
    const answer = await fetched(...given);
    for (const name of ["text", "json"]) {
      const read = answer[name].bind(answer);
      answer[name] = () => read().finally(dealt);
    }
    if (answer.status !== 200) dealt();
    return answer;
  };
})()"""


@asynccontextmanager
async def opened(browser, url, **context):
    """A page whose clock the test turns."""
    made = await browser.new_context(viewport={"width": 1280, "height": 800}, **context)
    await made.add_init_script(COUNT_ANSWERS)
    page = await made.new_page()
    await page.clock.install()
    try:
        await page.goto(url)
        await expect(live(page)).to_have_text("Live")
        yield page
    finally:
        await made.close()


def live(page):
    return page.locator("[data-live]")


async def look(page):
    """Let the page ask whether it has changed, and wait until it has dealt with the answer."""
    before = await page.evaluate("answersDealtWith")
    async with page.expect_response(lambda answer: answer.request.resource_type == "fetch"):
        await page.clock.run_for(5000)
    async with asyncio.timeout(10):
        while await page.evaluate("answersDealtWith") == before:
            await asyncio.sleep(0.01)
    await page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    await page.clock.run_for(1)


async def top(locator):
    return (await locator.bounding_box())["y"]


def row(page, number):
    return page.locator("tbody tr", has=page.locator(f"a[href='/shipments/{number}']"))


async def test_a_row_under_the_pointer_stays_until_the_reader_shows_the_updates(board, browser):
    async with opened(browser, board.url + NEWEST) as page:
        await row(page, 30).hover()
        at = await top(row(page, 30))
        await news(board, 101)
        await news(board, 31)
        await look(page)
        assert await top(row(page, 30)) == at
        assert await row(page, 30).evaluate("row => row.matches(':hover')")
        assert await row(page, 101).count() == 0
        await expect(live(page)).to_have_text("Live Show 2 updates")
        await page.get_by_role("button", name="Show 2 updates").click()
        await expect(page.locator("tbody tr").first).to_contain_text("FLEX-31")
        await expect(page.locator("tbody tr").nth(1)).to_contain_text("FLEX-101")
        await expect(live(page)).to_have_text("Live")


async def test_updates_show_themselves_once_the_pointer_has_left(board, browser):
    async with opened(browser, board.url + NEWEST) as page:
        await row(page, 29).hover()
        await news(board, 102)
        await look(page)
        await expect(page.get_by_role("button", name="Show 1 update")).to_be_visible()
        await page.mouse.move(2, 400)
        await expect(row(page, 102)).to_be_visible()
        await expect(live(page)).to_have_text("Live")


async def test_updates_do_not_wait_for_a_pointer_that_nobody_has_moved_for_two_minutes(board, browser):
    async with opened(browser, board.url + NEWEST) as page:
        await row(page, 26).hover()
        await news(board, 109)
        await look(page)
        await expect(page.get_by_role("button", name="Show 1 update")).to_be_visible()
        await page.clock.fast_forward(121_000)
        await expect(row(page, 109)).to_be_visible()


async def test_what_changes_inside_a_row_is_shown_under_the_pointer(board, browser):
    async with opened(browser, board.url + "/shipments?sort=id") as page:
        await row(page, 5).hover()
        kept = await row(page, 5).element_handle()
        await news(board, 5, name="PO 5b")
        await look(page)
        await expect(row(page, 5)).to_contain_text("PO 5b")
        assert await kept.evaluate("row => row.isConnected")
        await expect(live(page)).to_have_text("Live")


async def test_the_focused_link_keeps_the_focus_and_its_place(board, browser):
    async with opened(browser, board.url + NEWEST) as page:
        link = page.locator("a[href='/shipments/28']")
        await link.focus()
        await page.keyboard.press("Shift")
        at = await top(link)
        await news(board, 103)
        await look(page)
        assert await top(link) == at
        await expect(link).to_be_focused()
        await page.get_by_role("button", name="Show 1 update").press("Enter")
        await expect(row(page, 103)).to_be_visible()
        await expect(link).to_be_focused()


async def test_a_row_that_leaves_the_page_stays_while_it_has_the_focus(board, browser):
    async with opened(browser, board.url + "/shipments?status=seller_location&sort=id") as page:
        link = page.locator("a[href='/shipments/7']")
        await link.focus()
        await page.keyboard.press("Shift")
        await news(board, 7, status="delivered_at_final_destination")
        await look(page)
        await expect(link).to_be_focused()
        await expect(page.get_by_role("button", name="Show 1 update")).to_be_visible()


async def test_selected_text_stays_selected(board, browser):
    async with opened(browser, board.url + NEWEST) as page:
        await row(page, 27).locator(".name").evaluate("name => getSelection().selectAllChildren(name)")
        await page.mouse.move(300, 400)
        selected = await page.evaluate("getSelection().toString()")
        assert selected.strip() == "PO 27"
        await page.mouse.move(2, 400)
        at = await top(row(page, 27))
        await news(board, 104)
        await look(page)
        assert await page.evaluate("getSelection().toString()") == selected
        assert await top(row(page, 27)) == at
        await page.evaluate("getSelection().removeAllRanges()")
        await look(page)
        await expect(row(page, 104)).to_be_visible()


async def test_the_rows_in_view_stay_where_they_are_when_rows_come_above_them(board, browser):
    async with opened(browser, board.url + NEWEST) as page:
        await page.evaluate("scrollTo(0, 900)")
        shown = page.locator("tbody tr").nth(15)
        name = await shown.locator("a").get_attribute("href")
        at = await top(shown)
        await news(board, 105)
        await look(page)
        assert await row(page, 105).count() == 1
        assert abs(await top(row(page, name.rpartition("/")[2])) - at) <= 1


async def test_an_open_detail_and_what_is_typed_into_it_stay(board, browser):
    async with opened(browser, board.url + "/queue") as page:
        details = page.locator(".letters details").last
        await details.locator("summary").click()
        await details.get_by_role("textbox").fill("noise of a test")
        await page.mouse.move(2, 400)
        await page.locator("main").focus()
        at = await top(details)
        await board.post(b"a third one")
        await board.settled()
        await look(page)
        await expect(page.locator("nav a[href='/queue'] .badge")).to_have_text("3")
        assert await details.evaluate("details => details.open")
        assert await details.get_by_role("textbox").input_value() == "noise of a test"
        assert await top(details) == at
        await details.get_by_role("textbox").fill("")
        await page.locator("main").focus()
        await look(page)
        await expect(page.locator(".letters > li")).to_have_count(3)
        assert await page.locator(".letters details[open]").count() == 1


@pytest.mark.parametrize("path", ["/", "/exceptions"])
async def test_a_page_that_was_updated_shows_what_a_new_one_shows(board, browser, path):
    async with opened(browser, board.url + path) as page:
        for number, status in ((33, "delivered_at_final_destination"), (34, "final_destination"), (108, "booked")):
            await news(board, number, status=status, actual_arrival_date="2026-03-20T12:00:00Z")
            await look(page)
        for _ in range(20):  # exceptions follow a commit by a moment
            await look(page)
            shown, new = await page.evaluate(
                """async () => {
                  const answer = await fetch(location.href), parser = new DOMParser();
                  const pages = [document, parser.parseFromString(await answer.text(), "text/html")];
                  return pages.map((one) => {
                    const main = one.getElementById("main").cloneNode(true);
                    for (const age of main.querySelectorAll("[data-since]")) age.textContent = "";
                    return main.innerHTML;
                  });
                }"""
            )
            if shown == new:
                break
        assert shown == new


# --- not live ---

NOT_LIVE = {
    401: "Not live: the key is no longer valid. Sign in",
    403: "Not live: access to this page is refused. Reload",
    404: "Not live: this page no longer exists. Reload",
    429: "Not live: too many requests. Updates resume automatically.",
}


@asynccontextmanager
async def keyed(folder, clock):
    """A daemon that needs keys, and what asks its control socket."""
    settings = Settings.for_tests(folder, **{"api.require_key": True})
    connector = aiohttp.UnixConnector(str(settings.storage.control_socket))
    async with start(settings, clock) as daemon, aiohttp.ClientSession(connector=connector) as control:

        async def ask(method, path, body=None):
            async with control.request(method, "http://local/api/v1" + path, json=body) as answer:
                assert answer.status < 300, await answer.text()
                return json.loads(await answer.read() or b"null")

        yield daemon, ask


def password(key):
    return {"http_credentials": {"username": "anna", "password": key["token"]}}


async def test_a_revoked_or_used_up_key_is_told_and_a_limited_one_goes_on_in_time(browser, tmp_path, clock):
    async with keyed(tmp_path, clock) as (daemon, ask):
        key = await ask("POST", "/keys", {"name": "Screen", "scope": "read"})
        async with opened(browser, daemon.url + "/shipments", **password(key)) as page:
            await ask("DELETE", f"/keys/{key['id']}")
            await look(page)
            await expect(live(page)).to_have_text(NOT_LIVE[401])
            assert await live(page).get_attribute("role") == "status"
            requests = []
            page.on("request", lambda request: requests.append(request.url))
            await page.clock.run_for(300_000)
            assert requests == []
        slow = await ask("POST", "/keys", {"name": "Wall", "scope": "read", "rate_limit": "6/1m"})
        async with opened(browser, daemon.url + "/shipments", **password(slow)) as page:
            while "Not live" not in await live(page).inner_text():
                await look(page)
            await expect(live(page)).to_have_text(NOT_LIVE[429])
            requests = []
            page.on("request", lambda request: requests.append(request.url))
            await page.clock.run_for(7000)  # Retry-After is 10 s
            await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            assert requests == []
            clock.turn(seconds=10)
            await look(page)
            await expect(live(page)).to_have_text("Live")


@pytest.mark.parametrize("status", [403, 404])
async def test_a_page_that_is_gone_or_closed_is_told(board, browser, status):
    async with opened(browser, board.url + "/shipments/3") as page:
        await page.route("**/shipments/3", lambda route: route.fulfill(status=status))
        await look(page)
        await expect(live(page)).to_have_text(NOT_LIVE[status])
        await page.unroute("**/shipments/3")
        await page.clock.run_for(60_000)
        await expect(live(page)).to_have_text("Live")


async def test_a_login_page_in_place_of_the_answer_is_no_live_page(board, browser):
    async with opened(browser, board.url + "/gaps") as page:
        moved = {"status": 302, "headers": {"Location": "/login"}}
        await page.route("**/gaps", lambda route: route.fulfill(**moved))
        await page.clock.run_for(5000)
        await expect(live(page)).to_have_text("Not live: you are signed out. Sign in")
    async with opened(browser, board.url + "/gaps") as page:
        await page.route("**/gaps", lambda route: route.fulfill(status=200, body="<h1>Sign in</h1>"))
        await look(page)
        await expect(live(page)).to_have_text("Not live: the server returned a different page. Reload")


async def test_the_page_says_when_the_daemon_stops_and_goes_on_when_it_is_back(browser, tmp_path):
    async with AsyncExitStack() as running:
        daemon = await running.enter_async_context(start(Settings.for_tests(tmp_path), Clock()))
        await news(daemon, 1)
        port = daemon.url.rpartition(":")[2]
        async with opened(browser, daemon.url + "/shipments") as page:
            await running.aclose()
            await page.clock.run_for(5000)
            await expect(live(page)).to_have_text("Not live: no connection to the server. Retrying.")
            again = Settings.for_tests(tmp_path, **{"server.listen": f"127.0.0.1:{port}"})
            async with start(again, Clock()) as revived:
                await news(revived, 2)
                await page.clock.run_for(60_000)
                await expect(live(page)).to_have_text("Live")
                await expect(row(page, 2)).to_be_visible()


async def test_a_connection_that_has_died_without_notice_is_told_and_tried_again(board, browser):
    async with opened(browser, board.url + "/sync") as page:
        await page.route("**/sync", lambda route: None)  # no answer, ever
        await page.clock.run_for(5000)
        await page.clock.run_for(10_000)
        await expect(live(page)).to_have_text("Not live: the server is not responding. Retrying.")
        await page.unroute("**/sync")
        await page.clock.run_for(5000)
        await expect(live(page)).to_have_text("Live")


async def test_a_page_that_comes_back_into_view_asks_at_once(board, browser):
    async with opened(browser, board.url + NEWEST) as page:
        hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true}), "
        seen = "document.dispatchEvent(new Event('visibilitychange'))"
        await page.evaluate(hide % "true" + seen)
        requests = []
        page.on("request", lambda request: requests.append(request.url))
        await page.clock.run_for(60_000)
        assert requests == []
        await news(board, 106)
        await page.route("**/shipments?*", lambda route: None)
        await page.evaluate(hide % "false" + seen)
        await expect(live(page)).to_have_text("Checking")
        await page.unroute("**/shipments?*")
        # The same after the browser took the page out of its cache of whole pages.
        await page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
        await page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
        await expect(row(page, 106)).to_be_visible()
        await expect(live(page)).to_have_text("Live")
        # And after the machine slept for an hour.
        await news(board, 107)
        await page.clock.fast_forward(3_600_000)
        await expect(row(page, 107)).to_be_visible()


async def test_a_page_about_an_error_does_not_call_itself_live(board, browser):
    page = await browser.new_page()
    await page.goto(board.url + "/shipments/999999")
    assert await live(page).count() == 0
    await page.close()
