"""The pages of notifications in a browser: nothing is wrong with them on a phone or a desk, and their buttons work."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.test_accessibility import violations
from tests.http_target import HttpTarget, reply
from tests.integration.test_deliveries import DAILY, SLIPS, configured, deliveries, erp, slip
from tests.mail_server import email_channel, mail_server
from tests.under_test import DatedClock, start


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def daemon():
    """With a channel that is switched off, and messages that were sent and that failed."""
    with TemporaryDirectory(prefix="fxd-") as folder:
        async with mail_server() as box, HttpTarget().running() as target:
            box.answers += ["250 ok", "550 5.1.1 no such user " + "x" * 200]
            target.script.append(reply("gone", 410))
            settings = configured(Path(folder).resolve(), SLIPS, DAILY, **erp(target), **email_channel(box))
            async with start(settings, DatedClock()) as found:
                await slip(found, 42)
                await deliveries(found, 1)
                await slip(found, 43)
                await deliveries(found, 2, "failed")
                yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(browser):
    context = await browser.new_context(bypass_csp=True, reduced_motion="reduce")
    yield await context.new_page()
    await context.close()


@pytest.mark.parametrize(
    "path", ["/deliveries", "/deliveries/rules", "/deliveries/1", "/deliveries/2", "/shipments/42"]
)
async def test_axe_finds_nothing_wrong_and_nothing_is_wider_than_the_window(page, daemon, path):
    found = {}
    for width in (1280, 390):
        await page.set_viewport_size({"width": width, "height": 900})
        await page.goto(daemon.url + path)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            found[width, scheme] = await violations(page, *(() if scheme == "light" else ("color-contrast",)))
    assert {where: sorted(told) for where, told in found.items() if told} == {}


async def test_the_buttons_resume_a_channel_and_send_messages_again(page, daemon):
    notice = page.locator(".notice[role=status]")
    await page.goto(f"{daemon.url}/deliveries")
    await page.get_by_role("button", name="Resume channel erp").click(click_count=2, delay=60)
    await expect(notice).to_contain_text("The channel is resumed")

    await page.locator("select[name=channel]").select_option("erp")
    await page.locator("select[name=state]").select_option("failed")
    await page.get_by_role("button", name="Filter").click()
    row = page.locator("section[aria-labelledby=messages] li")
    await expect(row.first).to_contain_text("410 Gone")
    await row.first.get_by_role("button", name="Retry").click(click_count=2, delay=60)
    await expect(notice).to_contain_text("queued again")
    await deliveries(daemon, 1, query="&channel=erp")

    (failed,) = await deliveries(daemon, 1, "failed", "&channel=team")
    await page.goto(f"{daemon.url}/deliveries/{failed['id']}")
    await page.get_by_text("Discard…").click()
    await page.get_by_placeholder("Reason for discarding").fill("wrong address")
    await page.get_by_role("button", name="Discard", exact=True).click()
    await expect(page.locator("pre.error")).to_contain_text("Discarded by dashboard: wrong address")
    await page.get_by_role("button", name="Retry").click()
    await expect(notice).to_contain_text("queued again")
    await deliveries(daemon, 2, query="&channel=team")

    (sent,) = await deliveries(daemon, 1, query="&channel=erp")
    await page.goto(f"{daemon.url}/deliveries/{sent['id']}")
    await page.get_by_text("Send again…").click()
    await page.get_by_role("button", name="Send again", exact=True).click()
    await expect(notice).to_contain_text("queued again")
