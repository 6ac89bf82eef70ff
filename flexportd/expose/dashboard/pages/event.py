"""The page of one event: what Flexport reported, and how it was processed."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from aiohttp import web

from flexportd.core.events.applier import event_title
from flexportd.core.history.provenance import TraceStep, trace_event
from flexportd.expose.context import REGISTRY
from flexportd.expose.dashboard.page import PageTable
from flexportd.expose.dashboard.view import related
from flexportd.expose.dashboard.view.alerts import PageContext
from flexportd.expose.dashboard.view.labels import Badge, Text, event_url, item_state, text
from flexportd.expose.dashboard.view.values import named_values, time_text, value_group
from flexportd.storage.transaction import Transaction

_SOURCES = {"webhook": "Webhook", "events": "Flexport's event log"}
_MOST_STEPS = 60

PAGES = PageTable("events")


class EventData(NamedTuple):
    """An event with its trace; `links` are the pages of its shipment, its object and its dead letter."""

    row: Mapping[str, Any]
    steps: Sequence[TraceStep]
    links: Mapping[str, Text]


def read(tx: Transaction, request: web.Request, _query: None) -> EventData:
    """The event that the path names. Raises NotFoundError."""
    registry = request.app[REGISTRY]
    row, steps = trace_event(tx, registry, request.match_info["id"])
    links = related.event_links(tx, registry, row)
    item = tx.items.of_event(row["seq"])
    if item is not None and item[1] == "dead":
        links["Dead letter"] = Text(str(item[0]), url=f"/queue/dead-letters/{item[0]}")
    return EventData(row, steps, links)


@PAGES.page("/events/{id:[^/]+}", "event.html", read=read)
def event_page(data: EventData, context: PageContext) -> SimpleNamespace:
    """The event with its times and its processing."""
    row, view, url = data.row, context.view, event_url(data.row["id"])
    details = [
        ("Event", text(row["id"], 120)),
        ("Type", text(row["type"], 120)),
        ("Source", text(_SOURCES.get(row["source"], row["source"]))),
        *data.links.items(),
        ("Occurred", time_text(row["occurred_at"], view)),
        ("Recorded by Flexport", time_text(row["created_at"], view)),
        ("Received", time_text(row["received_at"], view)),
        ("Processed", time_text(row["ended_at"], view)),
        ("Reason", text(row["reason"], 300)),
    ]
    return SimpleNamespace(
        title=text(event_title(row["type"]), 120) or Text("Event"),
        state=item_state(row["state"]) or Badge("Unknown", "other"),
        groups=value_group("Details", named_values(details)),
        steps=tuple((view.instant(step.at), _step_text(step)) for step in data.steps[:_MOST_STEPS]),
        json_url=f"/api/v1{url}" if url else None,
    )


def _step_text(step: TraceStep) -> Text:
    return text(f"{step.text[:1].upper()}{step.text[1:]}.", 400) or Text("")
