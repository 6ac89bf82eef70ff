"""A message as plain text."""

from collections.abc import Callable, Iterator

from flexportd.notify.content import Content

Link = Callable[[str | None], str | None]
"""Makes the absolute URL of a page of the dashboard (`ChannelContext.url`)."""


def render_text(content: Content, link: Link) -> str:
    """Everything that a message says but its title."""
    return "\n".join(_lines(content, link)).strip()


def _lines(content: Content, link: Link) -> Iterator[str]:
    if content.summary:
        yield content.summary
    if content.body is not None:
        yield content.body
    else:
        for section in content.sections:
            yield from ("", section.title) if section.title else ("",)
            for line in section.lines:
                yield f"- {line.label}" + (f": {'; '.join(line.texts)}" if line.texts else "")
            if section.note:
                yield section.note
    yield from ("", *content.notes)
    url = link(content.path)
    if url:
        yield url
