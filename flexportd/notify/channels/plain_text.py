"""A message as plain text."""

from collections.abc import Iterator

from flexportd.notify.channels.base import ChannelContext
from flexportd.notify.content import Content


def render_text(content: Content, context: ChannelContext) -> str:
    """Everything that a message says but its title."""
    return "\n".join(_lines(content, context)).strip()


def _lines(content: Content, context: ChannelContext) -> Iterator[str]:
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
    url = context.url(content.path)
    if url:
        yield url
