"""Pages on paper, A4: how many there are, and what is on each."""

import io
import re

import pytest
import pytest_asyncio
from pypdf import PdfReader

from tests.browser.conftest import PAGES


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(browser):
    page = await browser.new_page(color_scheme="dark")
    yield page
    await page.close()


async def printed(page, address):
    """The sheets of paper."""
    await page.emulate_media(media="null")
    await page.goto(address)
    return PdfReader(io.BytesIO(await page.pdf(format="A4"))).pages


async def test_a_list_begins_on_the_first_page_and_repeats_its_head(page, addresses):
    sheets = [sheet.extract_text() for sheet in await printed(page, addresses["shipments"])]
    assert len(sheets) <= 4
    for sheet in (sheet for sheet in sheets if "FLEX-" in sheet):
        head = ("Shipment", "Status", "Route", "Carrier", "Departure", "Arrival", "Updated")
        assert all(word in sheet for word in head)
    assert all(sheet.count("FLEX-") >= 8 for sheet in sheets[:-1])
    assert "Data as of" in sheets[-1]
    numbers = re.findall(r"FLEX-\d+", " ".join(sheets))
    assert len(numbers) == len(set(numbers)) == 40


def lowest(sheet):
    """How far above the lower edge of the paper its last text stands, in points; the page number is left out."""
    found = []

    def look(text, cm, tm, *_):
        height = tm[4] * cm[1] + tm[5] * cm[3] + cm[5]
        if text.strip() and height > 43:  # 15 mm of margin
            found.append(height)

    sheet.extract_text(visitor_text=look)
    return min(found)


@pytest.mark.parametrize("name", PAGES)
async def test_no_sheet_but_the_last_is_left_half_empty(page, addresses, name):
    sheets = await printed(page, addresses[name])
    assert all(lowest(sheet) < 842 * 0.3 for sheet in sheets[:-1])


@pytest.mark.parametrize("name", [name for name in PAGES if name != "no such share"])
async def test_paper_has_the_date_and_no_controls(page, addresses, name):
    await page.goto(addresses[name])
    await page.emulate_media(media="print")
    shown = """() => [...document.querySelectorAll("button, .button, input, select, .bar nav, .live, .filters, .paging")]
        .filter((one) => one.checkVisibility()).map((one) => one.outerHTML)"""
    assert await page.evaluate(shown) == []
    colours = "() => { const found = getComputedStyle(document.body); return [found.backgroundColor, found.color]; }"
    assert await page.evaluate(colours) == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    await page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    date = await page.locator("[data-printed]").inner_text()
    assert re.fullmatch(r"(Printed|Viewed) \d+ \w+ \d{4},? \d\d:\d\d UTC\S*", date)
    await page.emulate_media(media="screen")
    assert not await page.locator("[data-printed]").is_visible()
