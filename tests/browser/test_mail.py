"""The HTML of mails in a real browser: on a phone and a desktop, in light and dark mode."""

import pytest

from flexportd.notify.content import Content, Line, Section
from flexportd.notify.render import Origin, render_html
from tests.browser.conftest import AWKWARD

SEVERITIES = ("critical", "warning", "notice", "good", None)
LINES = tuple(
    Line(f"FLEX-{number} · {name}", (name * 3, "Due at Hamburg on 1 Dec"), SEVERITIES[number], f"/shipments/{number}")
    for number, name in enumerate((*AWKWARD, "<b>bold</b>"))
)
MAILS = tuple(
    Content(
        title=name, summary=name, severity=severity, path="/", sections=(Section(LINES, name, name),), rules=(name,)
    )
    for name, severity in zip((*AWKWARD, "Daily summary"), SEVERITIES, strict=True)
)
CONTRAST = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = channels(colour).map((c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const [, , , alpha = 1] = channels(getComputedStyle(node).backgroundColor);
      if (alpha > 0) return getComputedStyle(node).backgroundColor;
    }
    return "rgb(255, 255, 255)";
  };
  const texts = [...document.querySelectorAll("body *")].filter(
    (node) => node.offsetParent && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()),
  );
  return texts.map((node) => {
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), node.outerHTML.slice(0, 200)];
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 800])
async def test_a_mail_fits_the_screen_and_every_text_has_contrast(browser, width, scheme):
    page = await browser.new_page(viewport={"width": width, "height": 700}, color_scheme=scheme)
    for content in MAILS:
        await page.set_content(
            render_html(content, lambda path: f"https://freight.example.com{path}", Origin("Acme", "team"))
        )
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        measured = await page.evaluate(CONTRAST)
        assert len(measured) > 20
        assert [text for contrast, text in measured if contrast < 4.5] == []
    await page.close()
