"""What a message says, before a channel renders it: a title, sections of lines, and the data for programs."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

Severity = Literal["critical", "warning", "notice", "good"]
"""How a line is marked; `good` is good news, such as an exception that closed."""

MAX_LINES = 100
"""Lines of one message; what is more is counted in the section's note."""


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One subject and what there is to say about it.

    `label` names it (`FLEX-1042 · Winter jackets`), `texts` are sentences without a full stop, `path` is its page in
    the dashboard. `named` are the shipments that the line of an incident names.
    """

    label: str
    texts: Sequence[str] = ()
    severity: Severity | None = None
    path: str | None = None
    shipment_id: int | None = None
    named: Sequence[int] = ()


class Section(msgspec.Struct, frozen=True, omit_defaults=True):
    """Lines under a heading; `note` follows them, such as `and 12 more`."""

    lines: Sequence[Line] = ()
    title: str | None = None
    note: str | None = None


class Content(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message. Texts are plain: each channel escapes them.

    `title` is the subject of a mail; `summary` a sentence below it. `body` replaces the sections: the text that the
    template of a rule made. `topic` and `data` are what a program receives. `notes` stand at the end, such as the
    failure of a template. `dates` are those that the message tells: (channel, resource, id, field), and the day.
    """

    title: str
    summary: str | None = None
    sections: Sequence[Section] = ()
    severity: Severity | None = None
    path: str | None = None
    body: str | None = None
    notes: Sequence[str] = ()
    topic: str = ""
    data: Mapping[str, Any] = {}
    rules: Sequence[str] = ()
    dates: Sequence[tuple[tuple[str, str, str, str], str | None]] = ()


def shown_shipments(content: Content) -> set[int]:
    """The shipments that the lines of a message show; others are only counted."""
    lines = [line for section in content.sections for line in section.lines]
    own = {line.shipment_id for line in lines if line.shipment_id is not None}
    return own.union(*(line.named for line in lines))


def texts_about(content: Content, shipment_id: int) -> list[str]:
    """What a message says about a shipment."""
    lines = (line for section in content.sections for line in section.lines)
    return [text for line in lines if line.shipment_id == shipment_id for text in line.texts]
