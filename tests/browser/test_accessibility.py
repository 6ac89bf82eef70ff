"""What axe-core has to say about every page: in light and dark, on a desk and on a phone."""

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe

from tests.browser.conftest import PAGES

AXE = Axe()

# Two of what is made alike say what the others would, in a fraction of the time: of the API's many routes, and of the
# rows that differ in nothing but texts, addresses and times.
THIN_OUT = r"""() => {
  document.querySelectorAll('.api-route:nth-child(n + 3)').forEach((one) => one.remove());
  const seen = new Map();
  for (const row of document.querySelectorAll('tbody tr, li')) {
    const shape = row.outerHTML
      .replace(/>[^<]*\S[^<]*</g, '>text<')
      .replace(/ (href|id|for|title|datetime|style|aria-label|data-[a-z-]+)="[^"]+"/g, ' $1');
    seen.set(shape, (seen.get(shape) ?? 0) + 1);
    if (seen.get(shape) > 2) row.remove();
  }
}"""


SEVERAL_LAYOUTS = ("overview", "shipments", "shipment", "system", "list of documents")
"""Pages that say what every page has: the navigation as links or a menu, tables or cards."""

OF_NARROW_PAGES = (
    "color-contrast", "link-in-text-block", "target-size", "region", "scrollable-region-focusable", "aria-hidden-focus",
    "link-name", "button-name", "select-name", "label", "heading-order", "empty-heading", "empty-table-header",
)  # fmt: skip
"""Rules about what a narrow window hides, shows or moves; the document itself is the same."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(browser):
    # axe is injected, which the pages forbid; colours that still change would count as they are half-way.
    context = await browser.new_context(bypass_csp=True, reduced_motion="reduce")
    yield await context.new_page()
    await context.close()


async def violations(page, *rules):
    """What axe finds by these rules, or by all."""
    options = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": rules}
    found = await AXE.run(page, options=options)
    return {
        f"{one['impact']} {one['id']}: {node['html'][:200]}"
        for one in found.response["violations"]
        for node in one["nodes"]
    }


@pytest.mark.parametrize("name", PAGES)
async def test_axe_finds_nothing_wrong(page, addresses, name):
    await page.set_viewport_size({"width": 1440, "height": 900})
    await page.goto(addresses[name])
    await page.evaluate(THIN_OUT)
    found = {}
    for width, rules in ((1440, ()), (390, OF_NARROW_PAGES if name not in SEVERAL_LAYOUTS else ())):
        await page.set_viewport_size({"width": width, "height": 900})
        await page.emulate_media(color_scheme="light")
        found[width, "light"] = await violations(page, *rules)
        await page.emulate_media(color_scheme="dark")
        found[width, "dark"] = await violations(page, "color-contrast", "link-in-text-block")
    assert {where: sorted(told) for where, told in found.items() if told} == {}
