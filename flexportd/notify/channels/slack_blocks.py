"""Slack's form of a message: Block Kit, and escaped text.

Limits: https://docs.slack.dev/reference/block-kit/blocks (50 blocks; 150 characters in a header, 3000 in a text). All
texts of the blocks together have a limit that is not documented: https://github.com/slackapi/bolt-js/issues/2867 saw
11,341 characters refused. Escaping: https://docs.slack.dev/messaging/formatting-message-text. Lengths are counted in
UTF-16 units after escaping, which is never less than Slack counts.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flexportd.notify.channels.channel import ChannelContext
from flexportd.notify.content import Content, Line, Severity
from flexportd.notify.render import SEVERITY_LABELS, clean_line

MAX_BLOCKS = 50
MAX_HEADER = 150
MAX_TEXT = 3000
MAX_TOTAL = 10_000  # of all texts
MAX_PLAIN = 3800  # chat.update refuses a text of more than 4000 characters
_MAX_FALLBACK = 1000
_MAX_LABEL = 200  # characters, before they are escaped
_MAX_SENTENCE = 400
_MAX_URL = 1000
_MAX_NOTES = 8  # a context block has at most ten elements
_MAX_SECTIONS = MAX_BLOCKS - 4  # without header, summary and notes
_RESERVED = 200  # units for the line that counts what was left out

_EMOJI_OF: dict[Severity, str] = {"critical": "🔴", "warning": "🟠", "notice": "🔵", "good": "🟢"}
MARKS = {severity: f"{_EMOJI_OF[severity]} {label}" for severity, label in SEVERITY_LABELS.items()}

# Slack has no escape for its formatting characters, and a zero-width space beside one makes it format. So those that
# may format are replaced by characters that look like them; between two letters or digits they never format.
_LOOKALIKES = str.maketrans("*_~`＊＿｀", "∗ˍ∼ˋ﹡⸏ˋ")  # noqa: RUF001
_FORMATTING = re.compile("(?<![A-Za-z0-9])[*_~]|[*_~](?![A-Za-z0-9])|[`＊＿｀]")  # noqa: RUF001
_MENTION = re.compile(r"(?<![A-Za-z0-9._+-])@(?=\w)")
_EMOJI = re.compile(r":(?=(?:[a-z0-9_+'-]*[a-z+-][a-z0-9_+'-]*|100|1234):)", re.IGNORECASE)
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_WORD_JOINER = "\u2060"
_SOFT_HYPHEN = "\u00ad"  # before a leading >, which would be a quotation
_MORE = re.compile(r"and (\d{1,9}) more")


@dataclass(frozen=True, slots=True)
class SlackMessage:
    """One message: `blocks`, the `text` of the notification about it, and the whole message as `plain` text."""

    blocks: Sequence[dict[str, Any]]
    text: str
    plain: str


def escape(text: str, limit: int = _MAX_SENTENCE) -> str:
    """Text as it is, on one line, in mrkdwn: it formats nothing, mentions nobody, links nowhere."""
    text = clean_line(text, limit)
    text = _FORMATTING.sub(lambda match: match[0].translate(_LOOKALIKES), text)
    text = _EMOJI.sub(f":{_WORD_JOINER}", _MENTION.sub(f"@{_WORD_JOINER}", text))
    return (_SOFT_HYPHEN if text.startswith((">", "＞")) else "") + text.translate(_ENTITIES)  # noqa: RUF001


def units(text: str) -> int:
    """The length of a text in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def render(content: Content, context: ChannelContext, plain: str, notes: Sequence[str] = ()) -> SlackMessage:
    """The message for Slack. `plain` is the content as plain text; `notes` come before those of the content."""
    title = clean_line(content.title, 300) or "flexportd"
    if content.severity is not None:
        title = f"{MARKS[content.severity]} · {title}"
    header = _fit_title(title)
    head = [{"type": "header", "text": {"type": "plain_text", "text": header, "emoji": True}}]
    summary = _summary(content, context)
    if summary:
        head.append(_section(summary))
    foot = _context_block([*notes, *content.notes], content.rules)
    left = MAX_TOTAL - units(header) - units(summary) - sum(units(each["text"]) for each in foot.get("elements", ()))
    if content.body is None:
        texts = _pack(list(_line_entries(content, context)), left)
    else:
        texts = _pack(list(_body_entries(content.body)), left, " lines")
    blocks = [*head, *map(_section, texts), *([foot] if foot else [])]
    text = escape(title, 300) + (f": {escape(content.summary)}" if content.summary else "")
    if units(text) > _MAX_FALLBACK:
        text = escape(title, 150)
    return SlackMessage(blocks, text, _cut_plain(plain))


def _section(text: str) -> dict[str, Any]:
    # verbatim: no URL, channel name or @mention in it becomes a link
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _fit_title(title: str) -> str:
    """A title within the limit of a header, escaped."""
    size = len(title)
    while units(text := _neutral(clean_line(title, size))) > MAX_HEADER:
        size -= 1
    return text


def _neutral(text: str) -> str:
    """Plain text without mentions; Slack decodes the three entities there too."""
    return _EMOJI.sub(f":{_WORD_JOINER}", _MENTION.sub(f"@{_WORD_JOINER}", text)).translate(_ENTITIES)


def _summary(content: Content, context: ChannelContext) -> str:
    summary = escape(content.summary, 500) if content.summary else ""
    url = _link_target(context.url(content.path))
    link = f"<{url}|Open in {escape(context.title, 100)}>" if url else ""
    return "\n".join(filter(None, (summary, link)))


def _context_block(notes: Sequence[str], rules: Sequence[str]) -> dict[str, Any]:
    texts = [text for note in notes[:_MAX_NOTES] if (text := escape(note).strip())]
    if rules:
        names = ", ".join(rules[:5]) + (f" and {len(rules) - 5} more" if len(rules) > 5 else "")
        texts.append(escape(f"{'Rule' if len(rules) == 1 else 'Rules'}: {names}"))
    if not texts:
        return {}
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text, "verbatim": True} for text in texts]}


def _link_target(url: str | None) -> str | None:
    """A URL as the target of a link; None if there is none, or it is too long."""
    if url is None or units(url) > _MAX_URL:
        return None
    for char, code in ((" ", "%20"), ("|", "%7C"), ("<", "%3C"), (">", "%3E")):
        url = url.replace(char, code)
    return clean_line(url, _MAX_URL).replace("&", "&amp;")


def _line_text(line: Line, severity: Severity | None, context: ChannelContext) -> str:
    """One line with a bullet, its link, and as many of its texts as fit."""
    label, url = escape(line.label.strip(), _MAX_LABEL) or "-", _link_target(context.url(line.path))
    text = "• " + (f"{MARKS[severity]} · " if severity else "") + f"*{f'<{url}|{label}>' if url else label}*"
    separator = ": "
    for each in line.texts:
        addition = separator + escape(each)
        if units(text + addition) > MAX_TEXT - _RESERVED:
            return f"{text} …"
        text, separator = text + addition, "; "
    return text


@dataclass(frozen=True, slots=True)
class _Entry:
    """A piece that is shown whole or not at all; `count` is how many lines of the content it stands for."""

    text: str
    count: int = 1
    begins_block: bool = False


def _line_entries(content: Content, context: ChannelContext) -> Iterator[_Entry]:
    """Lines that all share the severity of the message do not repeat it."""
    is_mixed = {line.severity for section in content.sections for line in section.lines} != {content.severity}
    for section in content.sections:
        title = escape((section.title or "").strip(), _MAX_LABEL)
        heading = f"*{title}*" if title else ""
        for index, line in enumerate(section.lines):
            text = _line_text(line, line.severity if is_mixed else None, context)
            yield _Entry(f"{heading}\n{text}".strip(), begins_block=index == 0)
            heading = ""
        if heading:
            yield _Entry(heading, 0, begins_block=True)
        note = escape(section.note or "").strip()
        if note:
            match = _MORE.search(note)
            yield _Entry(note, int(match[1]) if match else 0)


def _body_entries(body: str) -> Iterator[_Entry]:
    for line in body.strip().splitlines():
        yield _Entry(escape(line.rstrip(), 500))


def _pack(entries: Sequence[_Entry], limit: int, unit: str = "") -> list[str]:
    """The texts of the section blocks: all entries, or as many as fit with the number of the others."""
    blocks, left = [""], limit - _RESERVED
    for index, entry in enumerate(entries):
        size = units(entry.text) + 1
        is_new = bool(blocks[-1]) and (entry.begins_block or units(blocks[-1]) + size > MAX_TEXT - _RESERVED)
        if size > left or len(blocks) + is_new > _MAX_SECTIONS:
            hidden = sum(each.count for each in entries[index:])
            blocks[-1] += f"\nand {hidden} more{unit}" if hidden else "\n…"
            break
        if is_new:
            blocks.append("")
        blocks[-1] += f"\n{entry.text}" if blocks[-1] else entry.text
        left -= size
    return [text.strip("\n") for text in blocks if text.strip()]


def _cut_plain(plain: str) -> str:
    """Plain text, escaped, cut after a line."""
    lines = [_neutral(clean_line(line, 500)) for line in plain.strip().splitlines()]
    kept, size = list[str](), 0
    for line in lines:
        size += units(line) + 1
        if size > MAX_PLAIN - _RESERVED:
            return "\n".join([*kept, f"and {len(lines) - len(kept)} more lines"])
        kept.append(line)
    return "\n".join(kept)
