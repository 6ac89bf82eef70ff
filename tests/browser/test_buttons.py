"""Every button of every page, pressed in a browser with JavaScript and without."""

import asyncio
import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.conftest import world
from tests.integration.test_daemon_sync import ended

LISTS = {"legs": "/shipment_leg", "documents": "/document"}
GONE: dict[str, str] = {}  # one object of each that is missing
FOUND: dict[str, set] = {}  # the kinds of pages and of forms, before any test has pressed something
MISSING = 11  # objects of a list that vanish together and are held: one more than are believed at once
JOB = "retention"
LAST_PRESS: dict[str, float] = {}  # when each button was pressed, by the address of its form
SCRIPT = pytest.mark.parametrize("script", [True, False], ids=["with JavaScript", "without"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def full():
    """A world in which every kind of button shows: dead letters, objects that wait to be accepted, a paused job."""
    with TemporaryDirectory(prefix="fxd-") as folder:
        async with world(Path(folder).resolve(), shipments=12) as site:
            for route, kind in LISTS.items():
                gone = list(site.sandbox.world.rows(kind))[:MISSING]
                GONE[route] = gone[0]
                for key in gone:
                    site.sandbox.delete(kind, key)
            await ended(site.daemon, (await site.daemon.call("/sync/run", status=202))["id"])
            await site.daemon.call("/jobs/full_sync/pause")  # what is held is looked at again soon
            for number in range(6):
                await site.daemon.post(b"no event %d" % number)
            async with asyncio.timeout(20):
                while len(await letters(site.daemon)) < 6:
                    await asyncio.sleep(0.01)
            discarded = (await letters(site.daemon))[-1]
            await site.daemon.call(f"/dead-letters/{discarded}/discard", {"reason": "one that is there already"})
            FOUND["pages"], FOUND["forms"] = await walked(site.daemon)
            await site.daemon.call("/queue/pause")
            await site.daemon.call(f"/jobs/{JOB}/pause")
            problems = [one["id"] for one in (await site.daemon.get("/exceptions"))["data"]]
            for number in problems:
                await site.daemon.call(f"/exceptions/{number}/acknowledge")
                await site.daemon.call(f"/exceptions/{number}/snooze", {"until_worse": True})
            FOUND["forms"] |= (await walked(site.daemon))[1]
            for number in problems:
                await site.daemon.call(f"/exceptions/{number}/unacknowledge")
                await site.daemon.call(f"/exceptions/{number}/unsnooze")
            await site.daemon.call("/queue/resume")
            await site.daemon.call(f"/jobs/{JOB}/resume")
            yield site


async def letters(daemon):
    return [letter["id"] for letter in (await daemon.get("/dead-letters?discarded=false"))["data"]]


# --- what there is to press ---


class Forms(HTMLParser):
    """The forms of a page as (method, action), the buttons outside of any form, and the links to other pages."""

    def __init__(self, text):
        super().__init__()
        self.forms, self.loose, self.links, self._inside = set(), [], set(), False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "form":
            self._inside = True
            self.forms.add((found.get("method", "get"), kind_of(found.get("action", "?"))))
        elif tag == "button" and not self._inside:
            self.loose.append(found)
        elif tag == "a" and re.match(r"/(?!api/v1/(?!docs)|/)", found.get("href", "")):
            self.links.add(found["href"].partition("#")[0])

    def handle_endtag(self, tag):
        if tag == "form":
            self._inside = False


def kind_of(path):
    """The path without the ids in it."""
    return re.sub(r"/(dead-letters|exceptions|jobs|shipments)/[^/?]+", r"/\1/ID", path)


async def walked(daemon):
    """Every kind of page that links lead to, and every kind of form on them; no button is outside of a form."""
    todo, pages, forms = ["/", "/api/v1/docs"], {}, set()
    while todo:
        path = todo.pop()
        kind = re.sub(r"=[^&]*", "=", kind_of(path))
        if kind in pages:
            continue
        async with daemon.http.get(daemon.url + path) as answer:
            assert answer.status == 200, path
            pages[kind] = path
            found = Forms(await answer.text())
        assert not found.loose, path
        forms |= found.forms
        todo += sorted(found.links)
    return set(pages), forms


FIND_A_ROUTE = ("get", "?")  # of the API's page, made by its script
PRESSED = {
    FIND_A_ROUTE,
    ("get", "/shipments"),
    ("post", "/queue/pause"),
    ("post", "/queue/resume"),
    ("post", "/queue/dead-letters/ID/retry"),
    ("post", "/queue/dead-letters/ID/discard"),
    ("post", "/exceptions/ID/acknowledge"),
    ("post", "/exceptions/ID/unacknowledge"),
    ("post", "/exceptions/ID/assign"),
    ("post", "/exceptions/ID/note"),
    ("post", "/exceptions/ID/snooze"),
    ("post", "/exceptions/ID/unsnooze"),
    ("post", "/sync/run"),
    ("post", "/sync/accept"),
    ("post", "/system/jobs/ID/run"),
    ("post", "/system/jobs/ID/pause"),
    ("post", "/system/jobs/ID/resume"),
}


async def test_every_form_of_every_page_is_pressed_by_a_test(full):
    assert FOUND["pages"] >= {"/", "/shipments", "/shipments/ID", "/exceptions", "/queue", "/sync", "/gaps", "/system"}
    assert FOUND["forms"] == PRESSED, "a new form needs a test below that presses it"


# --- pressing ---


class Reader:
    """Somebody in front of a browser."""

    def __init__(self, page, site, *, script):
        self.script = script
        self.page = page
        self.site = site
        self.answers = []  # (method, path, status) of each page
        page.on("response", self._note)

    def _note(self, answer):
        if answer.request.is_navigation_request():
            path = answer.url.removeprefix(self.site.url)
            self.answers.append((answer.request.method, path, answer.status))

    async def press(self, path, action, *, clicks=1, **fields):
        """Open the page, open what hides the button, fill in the fields, and press; the page after it is a good one."""
        await self.page.goto(self.site.url + path)
        form = self.page.locator(f"form[action='{action}']").first
        hidden = self.page.locator("details:not([open])", has=form).first
        if await hidden.count():
            await hidden.locator("summary").click()
        for name, value in fields.items():
            await form.locator(f"[name={name}]").fill(value)
        self.answers.clear()
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(max(0, LAST_PRESS.get(action, 0) + 1.2 - now))  # no double of another test
        await form.get_by_role("button").click(click_count=clicks, delay=60 * (clicks - 1))
        await expect(self.page.locator(".notice[role=status]")).to_be_visible(timeout=15_000)
        assert all(status < 400 for _, _, status in self.answers), self.answers
        LAST_PRESS[action] = asyncio.get_running_loop().time()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def readers(full, browser):
    """One with JavaScript and one without."""
    contexts = {script: await browser.new_context(java_script_enabled=script) for script in (True, False)}
    yield {script: Reader(await context.new_page(), full, script=script) for script, context in contexts.items()}
    for context in contexts.values():
        await context.close()


@pytest.fixture
def reader(readers, script):
    readers[script].answers.clear()
    return readers[script]


@SCRIPT
async def test_the_queue_is_paused_and_resumed(full, reader):
    await reader.press("/queue", "/queue/pause")
    assert (await full.daemon.get("/queue"))["paused"]
    await reader.press("/queue", "/queue/resume")
    assert not (await full.daemon.get("/queue"))["paused"]


@SCRIPT
async def test_going_back_and_loading_again_sends_nothing_twice(full, reader):
    await reader.press("/queue", "/queue/pause")
    assert [method for method, _, _ in reader.answers] == ["POST", "GET"]
    await full.daemon.call("/queue/resume")
    await reader.page.reload()
    if reader.script:
        await expect(reader.page.locator(".notice")).to_have_count(0)  # the queue is not paused any more
    await reader.page.go_back()
    await reader.page.go_forward()
    assert [method for method, _, _ in reader.answers].count("POST") == 1
    assert not (await full.daemon.get("/queue"))["paused"]


@SCRIPT
async def test_a_dead_letter_is_retried(full, reader):
    number = (await letters(full.daemon))[0]
    before = (await full.daemon.get(f"/dead-letters/{number}"))["ended_at"]
    await reader.press("/queue", f"/queue/dead-letters/{number}/retry")
    async with asyncio.timeout(20):
        while number not in await letters(full.daemon):
            await asyncio.sleep(0.01)
    assert (await full.daemon.get(f"/dead-letters/{number}"))["ended_at"] != before


@SCRIPT
async def test_a_discarded_dead_letter_is_retried_from_its_list(full, reader):
    number = (await full.daemon.get("/dead-letters?discarded=true"))["data"][0]["id"]
    await reader.press("/queue?discarded=true", f"/queue/dead-letters/{number}/retry")
    async with asyncio.timeout(20):
        while number not in await letters(full.daemon):
            await asyncio.sleep(0.01)
    await full.daemon.call(f"/dead-letters/{number}/discard", {"reason": "again"})


@SCRIPT
async def test_a_dead_letter_is_discarded_once_after_a_confirmation(full, reader):
    number = (await letters(full.daemon))[0]
    await reader.page.goto(full.url + "/queue")
    await expect(reader.page.get_by_role("button", name=f"Discard dead letter {number}")).to_be_hidden()
    await reader.press("/queue", f"/queue/dead-letters/{number}/discard", clicks=2, why="noise")
    assert (await full.daemon.get(f"/dead-letters/{number}"))["discard_reason"] == "noise"


@SCRIPT
async def test_a_dead_letter_is_not_discarded_without_a_reason(full, reader):
    number = (await letters(full.daemon))[0]
    await reader.page.goto(full.url + "/queue")
    details = reader.page.locator(f"#discard-{number}")
    await details.locator("summary").press("Enter")
    await details.get_by_role("button").press("Enter")
    await expect(details.get_by_role("textbox")).to_be_focused()
    assert number in await letters(full.daemon)


@SCRIPT
async def test_an_exception_is_acknowledged_assigned_noted_and_snoozed(full, reader):
    number = (await full.daemon.get("/exceptions?limit=1"))["data"][0]["id"]
    path = f"/exceptions/{number}"
    await reader.press(path, f"{path}/acknowledge")
    await reader.press(path, f"{path}/assign", assigned_to="Maya Lin")
    await reader.press(path, f"{path}/note", clicks=2, text=f"The carrier was asked, script {reader.script}.")
    day = (full.daemon.daemon.clock.now() + timedelta(days=3)).date().isoformat()
    await reader.press(path, f"{path}/snooze", until=day)
    found = await full.daemon.get(path)
    assert (found["acknowledged_by"], found["assigned_to"], found["snoozed_by"]) == ("local", "Maya Lin", "local")
    assert (found["snoozed_until"][:10], found["snoozed_until_worse"]) == (day, True)
    assert [one["text"] for one in found["notes"]].count(f"The carrier was asked, script {reader.script}.") == 1
    await reader.page.goto(full.url + "/exceptions")
    snoozed = reader.page.get_by_role("region", name="Snoozed")
    await expect(snoozed).to_contain_text("Acknowledged by local")
    await expect(reader.page.locator("main section").last).to_contain_text("Snoozed until")
    for action in ("unsnooze", "unacknowledge"):
        await reader.press(path, f"{path}/{action}")
    await reader.press(path, f"{path}/assign", assigned_to="")
    found = await full.daemon.get(path)
    assert [found[name] for name in ("acknowledged_at", "assigned_to", "snoozed_at")] == [None] * 3


@SCRIPT
async def test_a_sync_is_begun_once_by_a_double_click(full, reader):
    before = len((await full.daemon.get("/sync/runs?kind=full"))["data"])
    await reader.press("/sync", "/sync/run", clicks=2)
    await full.daemon.daemon.scheduler.wait_until_idle("full_sync")
    assert len((await full.daemon.get("/sync/runs?kind=full"))["data"]) == before + 1


@SCRIPT
async def test_what_waits_to_be_accepted_is_accepted(full, reader):
    async def removed():
        found = [await full.daemon.get(f"/{route}/{key}") for route, key in GONE.items()]
        return [one["id"] for one in found if one["removed_at"]]

    before = await removed()
    await reader.press("/sync", "/sync/accept", clicks=2)
    assert len(await removed()) == len(before) + 1


@SCRIPT
async def test_a_job_is_run_by_a_double_click(full, reader):
    jobs = full.daemon.daemon.scheduler
    await jobs.wait_until_idle(JOB)
    before = (await full.daemon.get(f"/jobs/{JOB}"))["runs"]
    await reader.press("/system", f"/system/jobs/{JOB}/run", clicks=2)
    await jobs.wait_until_idle(JOB)
    assert (await full.daemon.get(f"/jobs/{JOB}"))["runs"] > before
    assert [status for method, _, status in reader.answers if method == "POST"][:1] == [303]


@SCRIPT
async def test_a_job_is_paused_by_a_double_click_and_resumed(full, reader):
    await reader.press("/system", f"/system/jobs/{JOB}/pause", clicks=2)
    assert (await full.daemon.get(f"/jobs/{JOB}"))["paused"]
    await reader.press("/system", f"/system/jobs/{JOB}/resume")
    assert not (await full.daemon.get(f"/jobs/{JOB}"))["paused"]


@SCRIPT
async def test_shipments_are_filtered_with_the_button_and_with_enter(full, reader):
    page, first = reader.page, (await full.daemon.get("/shipments?limit=1"))["data"][0]
    await page.goto(full.url + "/shipments")
    await page.get_by_role("combobox", name="Status").select_option(index=1)
    await page.get_by_role("button", name="Filter").click()
    assert "status=" in page.url
    await page.get_by_role("link", name="Clear").click()
    await page.get_by_role("searchbox").fill(str(first["id"]))
    await page.keyboard.press("Enter")
    await expect(page.locator("tbody tr")).to_have_count(1)
    await expect(page.locator("tbody tr")).to_contain_text(first["flex_id"])
    await page.go_back()
    await page.goto(full.url + "/shipments?limit=5")
    await page.get_by_role("link", name="Next").click()
    await page.get_by_role("link", name="Back to first page").click()
    assert all(status == 200 for _, _, status in reader.answers), reader.answers


@pytest.mark.parametrize("script", [True])
async def test_the_page_of_the_api_finds_routes_and_copies_commands(full, reader):
    page = reader.page
    await page.goto(full.url + "/api/v1/docs")
    await page.keyboard.press("/")
    await expect(page.get_by_role("searchbox")).to_be_focused()
    await page.keyboard.type("discard_dead_letter")
    await expect(page.locator(".docs-find output")).to_have_text("1 found")
    await page.keyboard.press("Enter")
    assert page.url == full.url + "/api/v1/docs"
    await page.locator("details.api-route:not([hidden]) summary").press("Enter")
    button = page.get_by_role("button", name="Copy").first
    # It says so for a second and a half.
    await button.evaluate(
        """button => { window.said = new Promise((done) => {
             new MutationObserver(() => done(button.textContent)).observe(button, {childList: true});
           }); }"""
    )
    await button.click()
    assert await page.evaluate("said") == "Copied"
    await page.get_by_role("searchbox").focus()
    await page.keyboard.press("Escape")
    await expect(page.locator(".docs-find output")).to_have_text("")


# --- the keyboard, and pages for other people ---


@SCRIPT
@pytest.mark.parametrize("path", ["/queue", "/nowhere"])
async def test_the_keyboard_reaches_everything_and_shows_where_it_is(full, reader, path):
    page = reader.page
    await page.goto(full.url + path)
    await page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    await expect(skip).to_be_focused()
    await expect(skip).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    for _ in range(2 if path == "/queue" else 1):
        await page.keyboard.press("Tab")
        focused = page.locator(":focus")
        await expect(focused).to_be_in_viewport()
        outline = (
            "one => { const {outlineStyle, outlineWidth} = getComputedStyle(one); return [outlineStyle, outlineWidth] }"
        )
        assert await focused.evaluate(outline) == ["solid", "2px"]
        assert await focused.evaluate("one => !!one.closest('main, footer')")


@SCRIPT
async def test_a_shared_page_and_a_page_about_an_error_lead_on(full, reader):
    page, first = reader.page, (await full.daemon.get("/shipments?limit=1"))["data"][0]
    link = (await full.daemon.call(f"/shipments/{first['id']}/shares", status=201))["path"]
    await page.goto(full.url + link)
    await expect(page.locator("h1")).to_be_visible()
    assert await page.locator("form, button, nav").count() == 0
    await page.goto(full.url + "/shipments/1")
    await page.locator("main a.button").click()
    assert page.url == full.url + "/shipments"
