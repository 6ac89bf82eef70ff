"""Slack's form of a message: nothing in a name formats, links or mentions, and every limit is kept."""

# ruff: noqa: RUF001 (look-alikes are the subject)

import html
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.notify.channels.slack_blocks import (
    MAX_BLOCKS,
    MAX_HEADER,
    MAX_PLAIN,
    MAX_TEXT,
    MAX_TOTAL,
    escape,
    render,
    units,
)
from flexportd.notify.content import Content, Line, Section
from flexportd.notify.render import clean_line
from tests.http_target import context, delay

NASTY = st.text(alphabet=st.sampled_from("ab1 <>&@!#|*_~`:;.-＞＊\n\u202e漢🚢"), max_size=40) | st.text(max_size=60)
# Written from Slack's documentation: what would format, mention or become an emoji.
FORMATS = re.compile(r"(?:^|[^A-Za-z0-9])([*_~])(?=\S)|`|[＊＿｀]|(?<=\S)([*_~])(?:$|[^A-Za-z0-9])")
MENTIONS = re.compile(r"(?:^|[\s(\[{\"'])@(here|channel|everyone|\w)", re.IGNORECASE)
EMOJI = re.compile(r":[a-z_+][a-z0-9_+-]*:", re.IGNORECASE)
BACK = str.maketrans("∗ˍ∼ˋ﹡⸏", "*_~`＊＿", "\u2060\u00ad")


@given(NASTY)
def test_an_escaped_text_is_shown_as_it_is(text):
    escaped = escape(text)
    assert "<" not in escaped
    assert ">" not in escaped
    assert re.fullmatch(r"(?:[^&]|&(?:amp|lt|gt);)*", escaped)
    shown = html.unescape(escaped)
    assert not FORMATS.search(shown)
    assert not MENTIONS.search(shown)
    assert not EMOJI.search(shown)
    assert not shown.startswith((">", "＞"))
    plain = clean_line(text, 400)
    assert shown.translate(BACK).replace("`", "｀") == plain.translate(BACK).replace("`", "｀")


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("AT&T <b>", "AT&amp;T &lt;b&gt;"),
        ("<!channel> <@U123> <#C1|x>", "&lt;!channel&gt; &lt;@\u2060U123&gt; &lt;#C1|x&gt;"),
        ("@here please", "@\u2060here please"),
        ("mail me@example.com", "mail me@example.com"),
        ("*bold* _it_ ~x~ `c`", "∗bold∗ ˍitˍ ∼x∼ ˋcˋ"),
        ("PO_2024_11 4*5", "PO_2024_11 4*5"),
        (":fire: 10:30:45", ":\u2060fire: 10:30:45"),
        ("> quoted", "\u00ad&gt; quoted"),
        ("a\nb\u202ec", "a bc"),
    ],
)
def test_texts_that_slack_would_interpret(text, escaped):
    assert escape(text) == escaped


def texts_of(blocks):
    for block in blocks:
        yield from (
            (each["text"] for each in block.get("elements", ())) if "elements" in block else [block["text"]["text"]]
        )


def check_limits(message):
    assert len(message.blocks) <= MAX_BLOCKS
    assert units(message.blocks[0]["text"]["text"]) <= MAX_HEADER
    sizes = [units(text) for text in texts_of(message.blocks)]
    assert all(1 <= size <= MAX_TEXT for size in sizes)
    assert sum(sizes) <= MAX_TOTAL
    assert 1 <= units(message.text) <= MAX_TEXT
    assert units(message.plain) <= MAX_PLAIN
    assert all(len(block.get("elements", ())) <= 10 for block in message.blocks)
    json.dumps(message.blocks).encode()


LINES = st.builds(
    Line, label=NASTY, texts=st.lists(NASTY, max_size=3), severity=st.sampled_from([None, "critical", "good"]),
    path=st.none() | st.just("/shipments/1"),
)  # fmt: skip
SECTIONS = st.builds(Section, lines=st.lists(LINES, max_size=3), title=st.none() | NASTY, note=st.none() | NASTY)
CONTENTS = st.builds(
    Content, title=NASTY, summary=st.none() | NASTY, sections=st.lists(SECTIONS, max_size=3), body=st.none() | NASTY,
    severity=st.sampled_from([None, "warning"]), notes=st.lists(NASTY, max_size=3), rules=st.lists(NASTY, max_size=7),
    path=st.just("/x?a=1&b=2"),
)  # fmt: skip


@given(CONTENTS, NASTY)
def test_no_content_breaks_a_limit_or_mentions_anybody(content, plain):
    message = render(content, context(public_url="https://freight.example.com"), plain)
    check_limits(message)
    for text in [*texts_of(message.blocks), message.text, message.plain]:
        links = re.sub(r"<https://freight\.example\.com/(?:x\?a=1&amp;b=2|shipments/1)\|[^<>]*>", "", text)
        assert "<" not in links
        assert ">" not in links
        assert not MENTIONS.search(html.unescape(links))


def test_a_message_has_header_summary_lines_and_footer():
    blocks = render(delay(), context(public_url="https://freight.example.com", title="Freight"), "plain").blocks
    assert [block["type"] for block in blocks] == ["header", "section", "section", "context"]
    assert blocks[0]["text"] == {"type": "plain_text", "text": "🟠 Warning · Two shipments arrive later", "emoji": True}
    assert blocks[1]["text"] == {
        "type": "mrkdwn",
        "text": "Ever Given 042W is late\n<https://freight.example.com/shipments/1042|Open in Freight>",
        "verbatim": True,
    }
    assert blocks[2]["text"]["text"].splitlines() == [
        "*Later*",
        (
            "• 🔴 Critical · *<https://freight.example.com/shipments/1042|FLEX-1042 · Winter jackets>*: "
            "ETA 3 Dec → 7 Dec; 4 days later"
        ),
        "• 🟠 Warning · *<https://freight.example.com/shipments/1043|FLEX-1043 · Boots>*: ETA 4 Dec → 6 Dec",
        "and 12 more",
    ]
    assert [each["text"] for each in blocks[3]["elements"]] == ["The template of the rule failed", "Rule: ETA slips"]


def test_lines_of_one_severity_do_not_repeat_it():
    content = Content("x", severity="critical", sections=[Section([Line("a", severity="critical")] * 2)])
    assert list(texts_of(render(content, context(), "x").blocks)) == ["🔴 Critical · x", "• *a*\n• *a*"]


def test_without_a_dashboard_there_are_no_links():
    texts = "".join(texts_of(render(delay(), context(), "plain").blocks))
    assert "<" not in texts
    assert "*FLEX-1043 · Boots*" in texts


@pytest.mark.parametrize(("name", "count"), [("Boots", 100), ("名" * 500, 100), ("&<>" * 200, 40), ("🚢" * 300, 100)])
def test_what_does_not_fit_is_cut_after_a_line_and_counted(name, count):
    lines = [Line(f"{number} {name}", [f"ETA moved by {number} days " * 5] * 3) for number in range(count)]
    content = Content(
        "Late " * 100, sections=[Section(lines[:60], "First"), Section(lines[60:], "Second", "and 7 more")]
    )
    message = render(content, context(public_url="https://x.example"), "\n".join(f"line {n}" for n in range(5000)))
    check_limits(message)
    shown = sum(text.count("• ") for text in texts_of(message.blocks))
    assert 0 < shown < count
    assert list(texts_of(message.blocks))[-1].splitlines()[-1] == f"and {count - shown + 7} more"
    last = message.plain.splitlines()[-1]
    assert last == f"and {5000 - len(message.plain.splitlines()) + 1} more lines"


def test_many_sections_fit_into_fifty_blocks():
    message = render(Content("x", sections=[Section([Line(str(n))], f"S{n}") for n in range(90)]), context(), "x")
    check_limits(message)
    assert list(texts_of(message.blocks))[-1].endswith("and 44 more")


def test_the_text_of_a_template_replaces_the_sections():
    message = render(Content("x", body="> first *line*\n\n<!here> & more\n" * 400), context(), "x")
    check_limits(message)
    texts = list(texts_of(message.blocks))
    assert texts[1].splitlines()[:3] == ["\u00ad&gt; first ∗line∗", "", "&lt;!here&gt; &amp; more"]
    assert re.search(r"\nand \d+ more lines$", texts[-1])
