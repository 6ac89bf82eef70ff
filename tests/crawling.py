"""Following every link of every page, as a reader could."""

import re
from html import unescape

_TAG = re.compile(r"<(?:a|link)\b[^>]*>")


def links(html):
    """(address without its fragment, whether it is labelled as data or a file) of every link to this site."""
    found = []
    for tag in _TAG.findall(html):
        address = re.search(r'href="([^"#]*)', tag)
        if address and address[1].startswith("/") and not address[1].startswith("/static/"):
            found.append((unescape(address[1]), 'type="application/json"' in tag or " download" in tag))
    return found


async def crawl(ask, start="/", most=400):
    """Every page that can be reached from `start`, by its address; a link that is not labelled must lead to a page.

    `ask(address)` gives (status, content type, text). Of pages that differ only in their query a few are followed.
    """
    pages, todo, variants, labelled = {}, [start], {}, set()
    while todo and len(pages) < most:
        address = todo.pop(0)
        status, kind, text = await ask(address)
        assert (status, kind) == (200, "text/html"), (address, status, kind)
        pages[address] = text
        for link, is_labelled in links(text):
            path = link.partition("?")[0]
            if is_labelled:
                labelled.add(link)
            elif link not in pages and link not in todo:
                seen = variants.setdefault(path, set())
                if len(seen) < 5:
                    seen.add(link)
                    todo.append(link)
    for link in sorted(labelled):
        status, kind, _ = await ask(link)
        assert status in (200, 202, 409, 502, 503), (link, status)
        assert kind != "text/html", link
    return pages
