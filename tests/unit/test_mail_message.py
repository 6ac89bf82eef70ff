"""A mail is a valid message whatever its texts contain."""

import email
import email.policy
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from hypothesis import example, given, settings
from hypothesis import strategies as st

from flexportd.notify.channels.channel import OutgoingMessage
from flexportd.notify.channels.mail_message import MAX_SUBJECT, build_mail
from flexportd.notify.content import MAX_LINES, Content, Line, Section
from flexportd.notify.render import Origin, clean_line, clean_text, render_html, render_text


@dataclass(frozen=True)
class Mailbox:
    address: str
    name: str = ""


HEADERS = [
    "From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "List-Id", "List-Unsubscribe",
    "Auto-Submitted", "X-Auto-Response-Suppress", "MIME-Version", "Content-Type",
]  # fmt: skip
TEXTS = st.one_of(
    st.text(st.characters(), max_size=300),  # with control characters and lone surrogates
    st.text(st.sampled_from('aé貨ש👩\u200d\u202e \t\r\n.=?_,;:<>"\\@()[]'), max_size=300),
)
NOWHERE = Origin("flexportd", "team")


def build(content, title="flexportd", name=""):
    return build_mail(
        OutgoingMessage(
            key="msg_1",
            content=content,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
            thread=f"shipment:{content.title}",
        ),
        sender=Mailbox("flexportd@example.com", name),
        recipients=[Mailbox("a@example.org", name), Mailbox("b@example.org")],
        origin=Origin(title, "team"),
        link=lambda path: path and f"https://freight.example.com{path}",
    )


@given(TEXTS, TEXTS, TEXTS, TEXTS)
@example("a\r\nBcc: x@example.org", "b\n.\n", "=?utf-8?q?a?=", 'quote "\\')
@example("=?utf-8?q?a?=", "a", "b", "=?utf-8?q?a?=")
@example("W" * 500, "貨" * 500, "x" * 59 + " " + "y" * 60, "a" * 76 + ".")
@settings(max_examples=80)
def test_texts_survive_a_round_trip_and_never_add_a_header(title, label, text, name):
    lines = (Line(label, (text,), "warning", "/x"), Line(text, (label,), None))
    octets = build(Content(title=title, sections=(Section(lines, title),), rules=(label,)), title=text, name=name)
    mail = email.message_from_bytes(octets, policy=email.policy.default)
    assert mail.keys() == HEADERS
    assert not mail.defects
    assert mail["Subject"] == (clean_line(title, MAX_SUBJECT) or clean_line(text, 100) or "flexportd")
    shown = clean_line(name, 100) or clean_line(text, 100) or "flexportd"
    sender = mail["From"].addresses
    assert [each.addr_spec for each in sender] == ["flexportd@example.com"]
    if shown.isascii() and "=?" not in shown:
        assert sender[0].display_name == shown
    else:  # the parser of Python 3.11 puts a blank between two encoded words of a name
        assert sender[0].display_name.replace(" ", "") == shown.replace(" ", "")
    assert [each.addr_spec for each in mail["To"].addresses] == ["a@example.org", "b@example.org"]
    plain = mail.get_body(("plain",)).get_content()
    for given_text in (label, text):
        assert clean_line(given_text, 240) in plain
    assert octets.isascii()
    assert all(len(line) < 500 for line in octets.split(b"\r\n"))
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", octets)


@given(TEXTS)
@settings(max_examples=100)
def test_the_body_of_a_template_is_shown_as_it_is(body):
    mail = email.message_from_bytes(build(Content(title="x", body=body)), policy=email.policy.default)
    assert clean_text(body) in mail.get_body(("plain",)).get_content().replace("\r\n", "\n")


def test_markup_in_texts_is_shown_as_text():
    markup = '<img src=x onerror="alert(1)">&{{ 7*7 }}'
    content = Content(
        title=markup, summary=markup, notes=(markup,), rules=(markup,), sections=(Section((Line(markup, (markup,)),)),)
    )
    html = render_html(content, lambda _: None, Origin(markup, "team"))
    assert "<img" not in html
    assert html.count("&lt;img src=x onerror=&#34;alert(1)&#34;&gt;&amp;{{ 7*7 }}") >= 6
    assert "href" not in html


def test_a_long_message_says_how_many_lines_it_does_not_show():
    sections = tuple(
        Section([Line(f"FLEX-{n}", path=f"/shipments/{n}") for n in range(start, start + 80)], "Part", "note")
        for start in (0, 80)
    )
    content = Content(title="Many", sections=sections)
    text = render_text(content, lambda _: None)
    assert text.count("* FLEX-") == MAX_LINES
    assert text.endswith("and 60 more\n\nnote\n")
    assert render_html(content, lambda _: None, NOWHERE).count("FLEX-") == MAX_LINES + 1  # the preview names the first


def test_links_need_the_url_of_the_dashboard():
    content = Content(
        title="x",
        path="/shipments/1",
        sections=(Section((Line("FLEX-1", path="/shipments/1"), Line("FLEX-2", path="/shipments/2"))),),
    )
    assert "http" not in render_text(content, lambda _: None, NOWHERE)
    html = render_html(content, lambda path: path and f"https://freight.example.com{path}", NOWHERE)
    assert html.count('href="https://freight.example.com/shipments/1"') == 2
    assert html.count('href="https://freight.example.com/shipments/2"') == 1


def test_a_single_line_does_not_repeat_the_link_of_the_message():
    content = Content(title="x", path="/shipments/1", sections=(Section((Line("FLEX-1", path="/shipments/1"),)),))
    assert render_text(content, str) == "* FLEX-1\n\n/shipments/1\n"


def test_severity_is_a_word_and_stands_where_it_differs():
    def shown(*severities):
        lines = tuple(Line(f"FLEX-{n}", severity=severity) for n, severity in enumerate(severities))
        return render_text(
            Content(title="x", summary="Sum", severity="critical", sections=(Section(lines),)), lambda _: None
        )

    assert shown("critical", "critical").startswith("[Critical] Sum\n\n* FLEX-0\n")
    assert "* [Critical] FLEX-0\n\n* [Good news] FLEX-1\n" in shown("critical", "good")
