"""Every page in a real browser."""

import pytest

PAGES = ("/", "/shipments", "/exceptions", "/sync", "/queue", "/gaps", "/system", "/api/v1/docs")


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_loads_without_an_error_in_the_browser(site, browser, path):
    page = await browser.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    answer = await page.goto(site.url + path)
    assert answer is not None
    assert answer.status == 200
    assert await page.locator("h1").count() == 1
    assert errors == []
    await page.close()
