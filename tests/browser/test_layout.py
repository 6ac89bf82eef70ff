"""Pages at every width from a small phone to a wide screen: one line of navigation, whole words, nothing beside them."""

import pytest
import pytest_asyncio

from tests.browser.conftest import EVERY_PAGE, PAGES

WIDTHS = (320, 360, 390, 480, 600, 740, 768, 820, 900, 1000, 1024, 1280, 1440, 1920, 2560)
RECORD_WIDTHS = (320, 600, 820, 1024, 1440, 2560)
"""For the pages of resources that are not shipments: all of them are made of the same two templates."""

REFUSED = {"no such shipment": 404, "no such share": 404, "filters that cannot be used": 400}

# What is wrong with the page at this width, in words. A word may be broken only where it is longer than its line.
FAULTS = """() => {
  const found = [];
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) found.push(`the page is ${root.scrollWidth} wide`);
  const isShown = (node) => node.checkVisibility({ visibilityProperty: true }) && node.getClientRects().length > 0
    && !node.closest(".hidden, .quiet, .skip, .sprite, thead, option, pre");
  for (const box of document.querySelectorAll("main *, .bar, .bar *")) {
    if (!isShown(box) || box.closest("svg, pre, summary > code")) continue;
    const style = getComputedStyle(box);
    const isCut = style.overflowX !== "visible" && style.textOverflow !== "ellipsis";
    if (isCut && box.scrollWidth > box.clientWidth + 1 && box.tagName !== "INPUT" && box.tagName !== "SELECT")
      found.push(`${box.tagName}.${box.className} is cut: ${box.scrollWidth} in ${box.clientWidth}`);
  }
  const line = (node) => {
    while (getComputedStyle(node).display.startsWith("inline")) node = node.parentElement;
    const style = getComputedStyle(node);
    return node.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  for (let text; (text = texts.nextNode());) {
    if (!isShown(text.parentElement)) continue;
    for (const { 0: word, index } of text.data.matchAll(/[\\p{Script=Latin}\\p{N}_]+/gu)) {
      range.setStart(text, index);
      range.setEnd(text, index + word.length);
      const parts = [...range.getClientRects()].filter((one) => one.width > 0);
      const width = parts.reduce((sum, one) => sum + one.width, 0);
      const isLong = word.length > 15 && width > line(text.parentElement);
      if (new Set(parts.map((one) => Math.round(one.top))).size > 1 && !isLong)
        found.push(`"${word}" is broken in ${text.parentElement.outerHTML.slice(0, 90)}`);
    }
  }
  const links = [...document.querySelectorAll(".bar nav a")].filter(isShown);
  const menu = document.querySelector(".menu");
  if (links.length ? new Set(links.map((link) => link.getBoundingClientRect().top)).size > 1
      : menu && !isShown(menu)) found.push("the navigation is not in one line");
  if (links.some((link) => link.getClientRects().length > 1)) found.push("a link of the navigation wraps");
  const nav = links.length && links[0].parentElement;
  if (nav && nav.scrollWidth > nav.clientWidth) found.push("the navigation is cut");
  return [...new Set(found)];
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(browser):
    page = await browser.new_page(viewport={"width": 1440, "height": 900})
    yield page
    await page.close()


async def faults(page, name, address):
    """What is wrong with the page by width."""
    answer = await page.goto(address)
    assert answer is not None
    assert answer.status == REFUSED.get(name, 200)
    # As in test_accessibility.py: the first routes of each group say what the others would.
    await page.evaluate("() => document.querySelectorAll('.api-route:nth-child(n + 3)').forEach((one) => one.remove())")
    found = {}
    for width in WIDTHS if name in PAGES else RECORD_WIDTHS:
        await page.set_viewport_size({"width": width, "height": 900})
        if wrong := await page.evaluate(FAULTS):
            found[width] = wrong
    return found


@pytest.mark.parametrize("name", EVERY_PAGE)
async def test_a_page_keeps_its_words_whole_at_every_width(page, addresses, name):
    assert await faults(page, name, addresses[name]) == {}
