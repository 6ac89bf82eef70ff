"""Incidents: messages that have one cause become one message, with a line for each shipment. Pure.

A cause is a vessel and voyage, a port, or a fault of flexportd or Flexport. Several messages about one shipment are one
line in any case.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from flexportd.core.changes.topics import OPERATION
from flexportd.core.labels import count_of
from flexportd.notify.content import MAX_LINES, Line, Section, Severity
from flexportd.queue.handlers import DEAD_LETTER
from flexportd.storage.repositories.notifications import DateKey

MAX_MESSAGES = 5
"""Messages about single shipments that are made at once; more become one message with a line for each."""
MAX_INCIDENTS = 5
"""Incidents that are made at once; more become one message with a line for each."""

_MAX_NAMED = 20  # shipments that a line of a digest names
_ORDER: Sequence[Severity | None] = ("critical", "warning", "notice", "good", None)
_VESSEL_KINDS = frozenset(
    {"late_departure", "late_arrival", "late_delivery", "eta_slipped", "silent", "shipment.eta_changed"}
)  # also the topic of a date
_PORT_KINDS = frozenset({"customs_hold", "free_time_expiring", "free_time_expired"})


class Piece(msgspec.Struct, frozen=True):
    """What is to be said about one subject; `ids` are the notifications that say it.

    `cause` is what it may share with others. `date` is a date in it: its key and the day.
    """

    ids: tuple[int, ...]
    rules: tuple[str, ...]
    subject: str
    topic: str
    label: str
    headline: str
    text: str
    severity: Severity
    path: str
    shipment_id: int | None = None
    cause: str | None = None
    message: Mapping[str, Any] = {}
    """What a program receives: a date in it is compared with the one last told."""
    date: tuple[DateKey, str | None] | None = None
    is_urgent: bool = False
    """Whether it is sent earlier although its subject was reported lately."""
    template: tuple[str | None, str | None] = (None, None)
    """The templates of its rule for text and subject; `variables` are what these can use of it."""
    template_rule: str = ""
    variables: Mapping[str, Any] = {}


class Cluster(NamedTuple):
    """One message: `thread` is the conversation that it belongs to, `cause` what its pieces share."""

    pieces: Sequence[Piece]
    thread: str | None = None
    cause: str | None = None
    is_folded: bool = False
    """Whether shipments that share a cause are one line of it."""


def cause_of(kind: str, vessel: str | None, voyage: str | None, port: str | None) -> str | None:
    """The cause that an exception or a date may share with those of other shipments."""
    if kind in _VESSEL_KINDS and vessel:
        return f"vessel:{' '.join(filter(None, (vessel, voyage)))}"
    if kind in _VESSEL_KINDS | _PORT_KINDS and port:
        return f"port:{port}:{kind if kind in _PORT_KINDS else 'dates'}"
    return None


def merge(pieces: Iterable[Piece]) -> list[Piece]:
    """One piece for each subject: the last one says it, for all rules and notifications."""
    found: dict[str, Piece] = {}
    for piece in pieces:
        before = found.pop(piece.subject, None)
        found[piece.subject] = piece if before is None else _join(before, piece)
    return list(found.values())


def _join(before: Piece, last: Piece) -> Piece:
    templated = last if last.template != (None, None) else before
    return msgspec.structs.replace(
        last,
        ids=(*before.ids, *last.ids),
        rules=tuple(dict.fromkeys((*before.rules, *last.rules))),
        template=templated.template,
        template_rule=templated.template_rule,
        variables=templated.variables,
    )


def by_template(pieces: Iterable[Piece]) -> list[list[Piece]]:
    """The pieces of each template: what is in one message has one."""
    groups: dict[tuple[str | None, str | None], list[Piece]] = {}
    for piece in pieces:
        groups.setdefault(piece.template, []).append(piece)
    return list(groups.values())


def cluster(pieces: Sequence[Piece], is_active: Callable[[str], bool]) -> list[Cluster]:
    """The messages for these pieces; `is_active` says whether a cause was reported lately."""
    return [one for group in by_template(pieces) for one in _cluster(group, is_active)]


def _cluster(pieces: Sequence[Piece], is_active: Callable[[str], bool]) -> list[Cluster]:
    letters = [piece for piece in pieces if piece.topic == DEAD_LETTER]
    system = [piece for piece in pieces if piece.topic.startswith("system.") and piece.topic != DEAD_LETTER]
    found = [Cluster(system, "system")] if system else []
    found += [Cluster(letters, DEAD_LETTER, DEAD_LETTER)] if letters else []
    by_shipment: dict[int, list[Piece]] = {}
    by_topic: dict[str, list[Piece]] = {}
    for piece in pieces:
        if piece.topic.startswith("system."):
            continue
        if piece.shipment_id is None:
            by_topic.setdefault(piece.topic, []).append(piece)
        else:
            by_shipment.setdefault(piece.shipment_id, []).append(piece)
    causes = {number: _causes(own) for number, own in by_shipment.items()}
    counts = Counter(cause for own in causes.values() for cause in own)
    shared = {cause for cause, count in counts.items() if count > 1 or is_active(cause)}
    by_cause: dict[str, list[int]] = {}
    for shipment, own_causes in causes.items():  # several of its messages may have one: that of most shipments counts
        if common := [cause for cause in own_causes if cause in shared]:
            by_cause.setdefault(max(common, key=counts.__getitem__), []).append(shipment)
    incidents = [
        Cluster([piece for shipment in shipments for piece in by_shipment.pop(shipment)], cause, cause)
        for cause, shipments in by_cause.items()
        if len(shipments) > 1 or is_active(cause)
    ]
    if len(incidents) > MAX_INCIDENTS:
        incidents = [Cluster([piece for one in incidents for piece in one.pieces], is_folded=True)]
    found += incidents
    single = [
        Cluster(own, f"shipment:{shipment}", next(iter(causes[shipment]), None))
        for shipment, own in by_shipment.items()
    ]
    if len(single) > MAX_MESSAGES:
        single = [Cluster([piece for one in single for piece in one.pieces])]
    found += single
    for own in by_topic.values():
        thread = f"{own[0].subject}" if len(own) == 1 else None
        found.append(Cluster(own, thread))
    return found


def _causes(pieces: Sequence[Piece]) -> list[str]:
    return list(dict.fromkeys(piece.cause for piece in pieces if piece.cause))


def severity_of(pieces: Sequence[Piece]) -> Severity:
    """The most serious of them."""
    return min((piece.severity for piece in pieces), key=_ORDER.index)


def lines_of(pieces: Sequence[Piece]) -> list[Line]:
    """A line for each shipment or object, the most serious first."""
    groups: dict[str, list[Piece]] = {}
    for piece in pieces:
        key = piece.subject if piece.shipment_id is None else f"shipment:{piece.shipment_id}"
        groups.setdefault(key, []).append(piece)
    lines = [
        Line(
            label=own[0].label,
            texts=tuple(dict.fromkeys(piece.text for piece in sorted(own, key=lambda one: _ORDER.index(one.severity)))),
            severity=severity_of(own),
            path=own[0].path if len(own) == 1 else f"/shipments/{own[0].shipment_id}",
            shipment_id=own[0].shipment_id,
        )
        for own in groups.values()
    ]
    return sorted(lines, key=lambda line: _ORDER.index(line.severity))


def digest_lines(pieces: Sequence[Piece]) -> list[Line]:
    """The same for a digest: shipments that share a cause are one line, which names them."""
    shipments: dict[str, dict[int, Piece]] = {}
    for piece in pieces:
        if piece.cause is not None and piece.shipment_id is not None:
            shipments.setdefault(piece.cause, {})[piece.shipment_id] = piece
    shared = {cause: own for cause, own in shipments.items() if len(own) > 1}
    folded = [[piece for piece in pieces if piece.cause == cause] for cause in shared]
    single = [piece for piece in pieces if piece.cause not in shared]
    lines = [*map(_incident_line, folded), *lines_of(single)]
    return sorted(lines, key=lambda line: _ORDER.index(line.severity))


def _incident_line(pieces: Sequence[Piece]) -> Line:
    labels = list(dict.fromkeys(piece.label for piece in pieces))
    more = len(labels) - _MAX_NAMED
    named = ", ".join(labels[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
    headlines = dict.fromkeys(piece.headline for piece in pieces)
    label = f"{cause_label(pieces[0].cause or '')} · {count_of(len(labels), 'shipment')}: {', '.join(headlines)}"
    shown = set(labels[:_MAX_NAMED])
    ids = {piece.shipment_id for piece in pieces if piece.label in shown and piece.shipment_id is not None}
    return Line(label, (named,), severity_of(pieces), "/exceptions", named=sorted(ids))


def section_of(lines: Sequence[Line], title: str | None = None, most: int = MAX_LINES) -> Section:
    """Lines as a section; those that are too many are counted."""
    left = len(lines) - most
    return Section(lines[:most], title, f"and {left:,} more" if left > 0 else None)


def title_of(cluster: Cluster, before: int = 0) -> str:
    """The title of a message; `before` are the shipments of an incident that were reported earlier."""
    pieces, what = cluster.pieces, _what(cluster.pieces)
    if pieces[0].topic.startswith("system."):
        return f"flexportd: {what}"
    labels = list(dict.fromkeys(piece.label for piece in pieces))
    if len(labels) + before == 1:
        return f"{labels[0]}: {what}"
    shipments = {piece.shipment_id for piece in pieces if piece.shipment_id is not None}
    things = "operations" if all(piece.topic.startswith(OPERATION) for piece in pieces) else "objects"
    subject = count_of(len(shipments) + before, "shipment") if shipments else f"{len(labels)} {things}"
    if cluster.cause is not None:
        return f"{cause_label(cluster.cause)} · {subject}: {what}"
    return f"{subject}: {what}"


def _what(pieces: Sequence[Piece]) -> str:
    """What happened: the headline of all; or the range of the days by which dates moved."""
    headlines = list(dict.fromkeys(piece.headline for piece in pieces))
    if len(headlines) == 1:
        return headlines[0]
    days = [piece.message.get("days_later") or 0 for piece in pieces if piece.date is not None]
    if len(days) == len(pieces) and (min(days) > 0 or max(days) < 0):
        least, most = sorted((abs(min(days)), abs(max(days))))
        return f"ETA {least} to {most} days {'later' if min(days) > 0 else 'earlier'}"
    return f"{headlines[0]} and {len(headlines) - 1} more"


def cause_label(cause: str) -> str:
    """A cause for people: `EVER GIVEN 012W`, `USLAX`."""
    return cause.split(":")[1]
