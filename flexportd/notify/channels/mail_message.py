"""A message as the octets of a mail (RFC 5322): multipart/alternative, folded and encoded headers, short lines."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy
from email.utils import format_datetime, quote
from typing import Protocol
from urllib.parse import quote as percent_encode

from flexportd.notify.channels.channel import OutgoingMessage
from flexportd.notify.render import Link, Origin, clean_line, render_html, render_text

MAX_SUBJECT = 150
"""Characters."""

_LINE_LENGTH = 76
_LINE_END = "\r\n"
_MAX_NAME = 100  # characters of a display name
_MAX_RULE = 40  # characters of a rule's name in List-Unsubscribe, where a line cannot be folded
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
# Outside ASCII, or read as an encoded word although it is none.
_NEEDS_ENCODING = re.compile(r"[^\x20-\x7e]|=\?")
_NO_FOLD = re.compile(r"[^ ]{60}")  # no blank to fold a line at
_MOSTLY_ASCII = 1.2  # octets for each character, up to which quoted-printable is shorter than base64


class Mailbox(Protocol):
    """A mail address with its display name, which may be empty. The domain is ASCII (IDNA)."""

    @property
    def address(self) -> str: ...
    @property
    def name(self) -> str: ...


class _FoldedHeader(str):
    """The value of a header that is encoded and folded already: email.policy asks such a value for its `fold`."""

    __slots__ = ("name",)
    name: str

    def fold(self, *, policy: EmailPolicy) -> str:
        return f"{self.name}: {self}{policy.linesep}"


def message_id(key: str, sender: Mailbox) -> str:
    """The Message-ID of the message with this key, the same in every attempt."""
    return f"<{key}@{_domain(sender)}>"


def thread_id(thread: str, sender: Mailbox) -> str:
    """The Message-ID that all messages of a conversation refer to; no message has it, but clients group by it."""
    digest = hashlib.sha256(thread.encode("utf-8", "surrogatepass")).hexdigest()
    return message_id(f"thread-{digest[:32]}", sender)


def build_mail(
    message: OutgoingMessage,
    *,
    sender: Mailbox,
    recipients: Sequence[Mailbox],
    origin: Origin,
    link: Link,
    utf8: bool = False,
) -> bytes:
    """The mail, with CRLF as line end and 7-bit text; `utf8` (RFC 6532) is for addresses that are not ASCII only."""
    content = message.content
    mail = EmailMessage(policy=SMTP.clone(cte_type="7bit", max_line_length=_LINE_LENGTH, utf8=utf8))
    title = clean_line(origin.title, _MAX_NAME) or "flexportd"
    subject = clean_line(content.title, MAX_SUBJECT) or title
    for name, value in (
        ("From", _mailbox("From", clean_line(sender.name, _MAX_NAME) or title, sender.address)),
        ("To", f",{_LINE_END} ".join(_mailbox("To", each.name, each.address) for each in recipients)),
        ("Subject", _words("Subject", subject)),
        ("Date", format_datetime(message.created_at)),
        ("Message-ID", message_id(message.key, sender)),
        *((name, thread_id(message.thread, sender)) for name in ("In-Reply-To", "References") if message.thread),
        ("List-Id", _mailbox("List-Id", title, f"{origin.channel}.flexportd.{_domain(sender)}")),
        ("List-Unsubscribe", _unsubscribe(content.rules, origin.channel, sender)),
        ("Auto-Submitted", "auto-generated"),  # RFC 3834: no automatic answers
        ("X-Auto-Response-Suppress", "All"),  # the same for Microsoft Exchange
        *((("Importance", "high"), ("X-Priority", "1 (Highest)")) if content.severity == "critical" else ()),
        *((("X-Flexportd-Repeated", "yes"),) if message.is_repeated else ()),
    ):
        header = _FoldedHeader(value)
        header.name = name
        mail[name] = header
    text = render_text(content, link, origin)
    mail.set_content(text, cte=_transfer_encoding(text))
    html = render_html(content, link, origin)
    mail.add_alternative(html, subtype="html", cte=_transfer_encoding(html))
    return mail.as_bytes()


def _domain(sender: Mailbox) -> str:
    return sender.address.rpartition("@")[2]


def _words(header: str, text: str) -> str:
    """Unstructured text: as it is where a header can hold it, otherwise as encoded words (RFC 2047)."""
    charset = "utf-8" if _NEEDS_ENCODING.search(text) or _NO_FOLD.search(text) else "us-ascii"
    return Header(text, charset, maxlinelen=_LINE_LENGTH, header_name=header).encode(linesep=_LINE_END)


def _mailbox(header: str, name: str, address: str) -> str:
    """A display name and an address."""
    phrase = clean_line(name, _MAX_NAME)
    if not phrase:
        return address
    if _NEEDS_ENCODING.search(phrase):
        phrase = _words(header, phrase)
    elif not _ATOMS.fullmatch(phrase):
        phrase = f'"{quote(phrase)}"'
    return f"{phrase}{_LINE_END} <{address}>"


def _unsubscribe(rules: Iterable[str], channel: str, sender: Mailbox) -> str:
    """A mail to the sender, who is the admin or known to the admin (RFC 2369)."""
    rule = next((clean_line(rule, _MAX_RULE) for rule in rules), "all")
    local, _, domain = sender.address.rpartition("@")
    subject = percent_encode(f"unsubscribe {rule}/{channel}", safe="")
    return f"<mailto:{percent_encode(local)}@{domain}?subject={subject}>"


def _transfer_encoding(text: str) -> str:
    return "quoted-printable" if len(text.encode()) <= _MOSTLY_ASCII * len(text) else "base64"
