"""Gaps: events that polling found and no webhook had brought, added up to outages."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from flexportd.core.apply import event_title
from flexportd.core.gaps import Health, Span, health, outages
from flexportd.expose import parameters
from flexportd.expose.lists import ListView
from flexportd.expose.parameters import ListRules
from flexportd.expose.parts import PARTS
from flexportd.expose.responding import respond
from flexportd.storage.listing import Page
from flexportd.storage.session import Session

MOST_EVENTS = 50  # shown with each outage

FIELDS = (
    "id", "type", "title", "state", "reason", "created_at", "occurred_at", "noticed_at", "deaf_since", "delivered_at",
    "on_time", "repaired_by", "resource", "resource_id", "shipment_id", "outage",
)  # fmt: skip


def gap(row: Mapping[str, Any]) -> dict[str, Any]:
    """An event that no webhook brought, as a document; its id is text."""
    ours = {
        "id": row["event_id"],
        "title": event_title(row["type"]),
        "on_time": bool(row["on_time"]),
        "outage": None if row["on_time"] else str(row["after_seq"]),
    }
    return {name: ours[name] if name in ours else row[name] for name in FIELDS}


def _checked_at(tx: Session) -> str | None:
    """When Flexport's list of events was last read to its end."""
    return max((poll.good_at for poll in tx.gaps.polls() if poll.good_at), default=None)


EVENTS = ListView(
    rules=ListRules(
        sorts={"noticed_at": "seq", "created_at": "created_at"},
        filters={
            "type": parameters.equals("type"),
            "shipment": parameters.number("shipment"),
            "outage": parameters.number("outage"),
            "noticed_since": parameters.moment("noticed_since"),
            "delivered": parameters.truth("delivered", "not_delivered"),
        },
        fields=FIELDS,
    ),
    read=lambda tx, page: tx.gaps.page(page),
    document=gap,
    as_of=_checked_at,
    key="seq",
)

_OUTAGES = ListRules(sorts={"outage": "outage"}, filters={}, fields=())


async def events(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/gaps/events`: single gaps, the last noticed first."""
    return await EVENTS.respond(request)


async def index(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/gaps`: outages, newest first, each with its first events; and how events are heard of at present."""
    parts = request.app[PARTS]
    parameters.once(request.query, ("limit", "cursor"))
    wanted = parameters.asked(request.query, _OUTAGES, parts.shown)

    async def build() -> dict[str, Any]:
        now, limit = parts.clock.now(), wanted.page.limit

        def read(tx: Session) -> dict[str, Any]:
            found = outages(tx, wanted.page, now)
            more = parameters.cursor(wanted, None, found[limit - 1].outage.after_seq) if len(found) > limit else None
            data = [_outage(tx, one) for one in found[:limit]]
            return {"data": data, "next": more, "as_of": _checked_at(tx), "health": health_document(health(tx, now))}

        return await parts.db.read(read)

    return await respond(request, build)


def _outage(tx: Session, span: Span) -> dict[str, Any]:
    outage = span.outage
    page = Page(MOST_EVENTS, "created_at", descending=False, filters={"outage": (outage.after_seq,)})
    return {
        "id": str(outage.after_seq),
        "since": outage.deaf_since,
        "until": span.until,
        "seconds": round(span.seconds, 3),
        "sentence": span.sentence,
        "events": outage.events,
        "repaired": span.repaired,
        "waiting": outage.waiting,
        "dead": outage.dead,
        "late": outage.late,
        "by_type": span.by_type,
        "first_created_at": outage.first_created_at,
        "last_created_at": outage.last_created_at,
        "noticed_at": outage.first_noticed_at,
        "gaps": [gap(row) for row in tx.gaps.page(page)[:MOST_EVENTS]],
    }


def health_document(found: Health) -> dict[str, Any]:
    """How events are heard of, as a document; spans of time in seconds."""
    clocks, rhythm = found.clocks, found.clocks.rhythm
    return {
        "verdict": found.verdict,
        "sentence": found.sentence,
        "worrying": found.worrying,
        "last_webhook_at": clocks.last_webhook_at,
        "last_upstream_at": clocks.last_upstream_at,
        "rhythm_seconds": rhythm.usual if rhythm else None,
        "longest_pause_seconds": rhythm.longest if rhythm else None,
        "listening_since": clocks.listening_since,
        "polled_at": clocks.polled_at,
        "failing_since": clocks.failing_since,
        "failure": clocks.failure,
        "deaf_since": clocks.deaf_since,
        "missed": clocks.missed,
    }
