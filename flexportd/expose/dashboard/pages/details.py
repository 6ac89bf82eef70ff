"""The pages of one event, one exception and one dead letter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flexportd.core.events.applier import event_title
from flexportd.core.history.provenance import TraceStep
from flexportd.expose.dashboard.pages.exceptions import ExceptionListRow, exception_list_row
from flexportd.expose.dashboard.view.dates import DateText, ViewContext
from flexportd.expose.dashboard.view.labels import Badge, Text, event_url, text
from flexportd.expose.dashboard.view.values import NamedValues, ValueGroup, pairs, value_group, value_text
from flexportd.storage.repositories.exceptions import ExceptionRow

_STATES = {
    "ready": Badge("Waiting", "plain"),
    "leased": Badge("Running", "transit"),
    "applied": Badge("Applied", "delivered"),
    "coalesced": Badge("Superseded", "other"),
    "ignored": Badge("Ignored", "other"),
    "dead": Badge("Dead letter", "bad"),
}
_SOURCES = {"webhook": "Webhook", "events": "Flexport's event log"}
_MOST_STEPS = 60


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step of what became of an event."""

    at: DateText | None
    text: Text


@dataclass(frozen=True, slots=True)
class EventPage:
    """Everything the page of an event shows."""

    title: Text
    state: Badge
    groups: tuple[ValueGroup, ...]
    steps: tuple[StepRow, ...]
    json_url: str | None


@dataclass(frozen=True, slots=True)
class EventData:
    """What the store says of an event; `links` are the pages of its shipment, its object and its dead letter."""

    row: Mapping[str, Any]
    steps: Sequence[TraceStep]
    links: Mapping[str, Text]


def event_page(data: EventData, sight: ViewContext) -> EventPage:
    """An event in words."""
    row = data.row
    facts = [
        ("Event", text(row["id"], 120)),
        ("Type", text(row["type"], 120)),
        ("Source", text(_SOURCES.get(row["source"], row["source"]))),
        *((name, link) for name, link in data.links.items()),
        ("Occurred", _time(row["occurred_at"], sight)),
        ("Recorded by Flexport", _time(row["created_at"], sight)),
        ("Received", _time(row["received_at"], sight)),
        ("Processed", _time(row["ended_at"], sight)),
        ("Reason", text(row["reason"], 300)),
    ]
    url = event_url(row["id"])
    return EventPage(
        title=text(event_title(row["type"]), 120) or Text("Event"),
        state=_STATES.get(row["state"]) or Badge((text(row["state"], 40) or Text("Unknown")).shown, "other"),
        groups=value_group("Details", [NamedValues(name, (value,)) for name, value in facts if value is not None]),
        steps=tuple(_step(one, sight) for one in data.steps[:_MOST_STEPS]),
        json_url=f"/api/v1{url}" if url else None,
    )


def _step(step: TraceStep, sight: ViewContext) -> StepRow:
    return StepRow(sight.instant(step.at), text(f"{step.text[:1].upper()}{step.text[1:]}.", 400) or Text(""))


def _time(moment: str | None, sight: ViewContext) -> Text | None:
    when = sight.instant(moment)
    return Text(when.text) if when else None


# --- one exception ---


@dataclass(frozen=True, slots=True)
class ExceptionPage:
    """Everything the page of one exception shows; `state` says whether it is open."""

    one: ExceptionListRow
    state: Badge
    groups: tuple[ValueGroup, ...]
    json_url: str


def exception_page(row: ExceptionRow, names: Mapping[int, str | None], sight: ViewContext) -> ExceptionPage:
    """One exception with its evidence. `row` has the number by which the caller knows it."""
    found = exception_list_row(row, names, sight)
    times = [
        ("Since", row.since),
        ("Opened", row.opened_at),
        ("Evidence updated", row.updated_at),
        ("Closed", row.closed_at),
    ]
    facts = [("About", Text(found.name.shown, found.name.whole, found.url))]
    facts += [(name, shown) for name, at in times if (shown := _time(at, sight)) is not None]
    return ExceptionPage(
        one=found,
        state=Badge("Open", "bad") if row.closed_at is None else Badge("Closed", "delivered"),
        groups=(
            *value_group("Details", [NamedValues(name, (value,)) for name, value in facts]),
            *value_group(
                "Evidence", [NamedValues(evidence_label(one.name), one.values) for one in pairs(row.evidence, sight)]
            ),
        ),
        json_url=f"/api/v1/exceptions/{row.id}",
    )


def evidence_label(name: str) -> str:
    """A name of the evidence for people."""
    return name.replace("_", " ").capitalize()


# --- one dead letter ---


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One failed attempt."""

    attempt: str
    at: DateText | None
    error: Text


@dataclass(frozen=True, slots=True)
class DeadLetterPage:
    """Everything the page of one dead letter shows."""

    id: str
    title: Text
    groups: tuple[ValueGroup, ...]
    tries: tuple[AttemptRow, ...]
    json_url: str


def dead_letter_page(found: tuple[Mapping[str, Any], Mapping[str, Text]], sight: ViewContext) -> DeadLetterPage:
    """A dead letter in words: the document of the API, and the pages of its event and its shipment."""
    document, links = found
    times = (("Queued", "enqueued_at"), ("Failed", "ended_at"), ("Discarded", "discarded_at"))
    facts: list[tuple[str, Text | None]] = [("Kind", text(value_text(document["kind"], sight, "kind")))]
    facts += [("Type", text(document["event_type"], 120)), *links.items()]
    facts += [(name, _time(document[field], sight)) for name, field in times]
    facts += [("Discarded by", text(document["discarded_by"])), ("Reason", text(document["discard_reason"], 300))]
    return DeadLetterPage(
        id=document["id"],
        title=text(document["title"], 120) or Text("Event"),
        groups=value_group("Details", [NamedValues(name, (value,)) for name, value in facts if value is not None]),
        tries=tuple(
            AttemptRow(
                f"{one['attempt']:,}", sight.instant(one["at"]), text(one["error"], 300) or Text("No error recorded")
            )
            for one in document["failed_attempts"]
        ),
        json_url=f"/api/v1/dead-letters/{document['id']}",
    )
