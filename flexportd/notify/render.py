"""A message for people: as plain text, and as the HTML of a mail."""

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import jinja2

from flexportd.notify.content import MAX_LINES, Content, Line, Severity

Link = Callable[[str | None], str | None]
"""Makes the absolute URL of a page of the dashboard; None where its URL is not configured (`ChannelContext.url`)."""

SEVERITY_LABELS: Mapping[Severity, str] = {
    "critical": "Critical",
    "warning": "Warning",
    "notice": "Notice",
    "good": "Good news",
}

_MAX_LABEL = 240  # characters
_MAX_TEXT = 500
_MAX_TEXTS = 20  # of one line
_MAX_PREVIEW = 140
_MAX_RULES = 5
_CONSIDERED = 10  # times the limit of a text: the rest is not read

_BREAKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_BREAKS_IN_LINE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]+")
_LINE_ENDS = re.compile(r"\r\n|[\r\x85\u2028\u2029]")
# What is invisible or turns the direction of writing could make a text read as another; emoji keep their joiners.
_INVISIBLE = re.compile(r"[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")


def clean_line(text: str, limit: int = _MAX_TEXT) -> str:
    """External text as one line of at most `limit` characters, without control and invisible characters."""
    shown = text[: _CONSIDERED * limit]
    line = _BREAKS.sub(" ", _INVISIBLE.sub("", _SURROGATES.sub("\ufffd", shown))).strip()
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def clean_text(text: str) -> str:
    """The same for a text of several lines, of any length."""
    text = _LINE_ENDS.sub("\n", _INVISIBLE.sub("", _SURROGATES.sub("\ufffd", text)))
    return _BREAKS_IN_LINE.sub(" ", text).strip("\n")


@dataclass(frozen=True, slots=True)
class Origin:
    """Who sent a message: the title of the dashboard, and the name of the channel."""

    title: str
    channel: str


@dataclass(frozen=True, slots=True)
class _LineView:
    label: str
    texts: Sequence[str]
    severity: Severity | None
    severity_label: str | None
    url: str | None


@dataclass(frozen=True, slots=True)
class _SectionView:
    title: str | None
    lines: Sequence[_LineView]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class MessageView:
    """What the templates show: clean texts, at most `MAX_LINES` lines."""

    title: str
    summary: str | None
    severity: Severity | None
    severity_label: str | None
    sections: Sequence[_SectionView]
    body: str | None
    notes: Sequence[str]
    url: str | None
    sender: str
    sender_url: str | None
    reason: str
    change: str

    @property
    def preview(self) -> str:
        """What a list of mails shows beside the subject."""
        first = (f"{line.label}: {'; '.join(line.texts)}" for section in self.sections for line in section.lines)
        return clean_line(self.summary or self.body or next(first, self.title), _MAX_PREVIEW)


def message_view(content: Content, link: Link, origin: Origin) -> MessageView:
    """The view of a message."""
    reason, change = _footer(content.rules, origin.channel)
    return MessageView(
        title=clean_line(content.title, _MAX_LABEL),
        summary=clean_line(content.summary) if content.summary else None,
        severity=content.severity,
        severity_label=SEVERITY_LABELS.get(content.severity) if content.severity else None,
        sections=() if content.body is not None else tuple(_sections(content, link)),
        body=None if content.body is None else clean_text(content.body),
        notes=tuple(clean_line(note) for note in content.notes),
        url=link(content.path),
        sender=clean_line(origin.title, _MAX_LABEL) or "flexportd",
        sender_url=link("/"),
        reason=reason,
        change=change,
    )


def render_text(content: Content, link: Link, origin: Origin | None = None) -> str:
    """The message as plain text without its title; with a footer if `origin` is given."""
    view = message_view(content, link, origin or Origin("", ""))
    severity = f"[{view.severity_label}] " if view.severity_label else ""
    blocks = [f"{severity}{view.summary or ''}".strip(), view.body or ""]
    for section in view.sections:
        if section.title:
            blocks.append(f"{section.title}\n{'-' * min(len(section.title), 40)}")
        blocks += ["\n".join(_text_lines(line)) for line in section.lines]
        blocks += section.notes
    blocks += view.notes
    if view.url:
        blocks.append(view.url)
    if origin is not None:
        sender = f"{view.sender} ({view.sender_url})" if view.sender_url else view.sender
        blocks.append(f"-- \nSent by {sender}. {view.reason}\n{view.change}")
    return "\n\n".join(filter(None, blocks)) + "\n"


def render_html(content: Content, link: Link, origin: Origin) -> str:
    """The message as one HTML file without scripts, images or other files."""
    return _environment().get_template("mail.html").render(mail=message_view(content, link, origin))


def _sections(content: Content, link: Link) -> Iterator[_SectionView]:
    """Lines that all share the severity of the message do not repeat it, and a single one does not repeat its link."""
    every = [line for section in content.sections for line in section.lines]
    is_mixed = {line.severity for line in every} != {content.severity}
    path = content.path if len(every) == 1 else None
    left = MAX_LINES
    for section in content.sections:
        shown = section.lines[:left]
        left -= len(shown)
        hidden = len(section.lines) - len(shown)
        more = (f"and {hidden} more",) if hidden else ()
        notes = (*more, *((clean_line(section.note),) if section.note else ()))
        if shown or notes:
            lines = tuple(
                _line(line, line.severity if is_mixed else None, link(line.path) if line.path != path else None)
                for line in shown
            )
            yield _SectionView(clean_line(section.title, _MAX_LABEL) if section.title else None, lines, notes)


def _line(line: Line, severity: Severity | None, url: str | None) -> _LineView:
    texts = [clean_line(text) for text in line.texts[:_MAX_TEXTS]]
    if len(line.texts) > _MAX_TEXTS:
        texts.append(f"and {len(line.texts) - _MAX_TEXTS} more")
    return _LineView(
        label=clean_line(line.label, _MAX_LABEL),
        texts=tuple(filter(None, texts)),
        severity=severity,
        severity_label=SEVERITY_LABELS.get(severity) if severity else None,
        url=url,
    )


def _text_lines(line: _LineView) -> Iterator[str]:
    yield f"* [{line.severity_label}] {line.label}" if line.severity_label else f"* {line.label}"
    yield from (f"  {text}" for text in line.texts)
    if line.url:
        yield f"  {line.url}"


def _footer(rules: Sequence[str], channel: str) -> tuple[str, str]:
    """Why it was sent, and where to change that."""
    names = [f"“{clean_line(name, 100)}”" for name in rules[:_MAX_RULES]]
    if not names:
        return f"Channel: {channel}.", f"To change this, edit [notify.channels.{channel}] in the configuration."
    if len(rules) == 1:
        change = f"To change this, edit the rule with name = {names[0]} under [[notify.rules]] in the configuration."
        return f"Rule: {names[0]}. Channel: {channel}.", change.replace("“", '"').replace("”", '"')
    more = f" and {len(rules) - _MAX_RULES} more" if len(rules) > _MAX_RULES else ""
    change = "To change this, edit these rules under [[notify.rules]] in the configuration."
    return f"Rules: {', '.join(names)}{more}. Channel: {channel}.", change


@functools.cache
def _environment() -> jinja2.Environment:
    """The templates, read and compiled once."""
    folder = files(__package__) / "templates"
    sources = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".html")}
    return jinja2.Environment(
        loader=jinja2.DictLoader(sources),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
