"""Messages to channels as rows of pages: the list, and who was notified of a shipment or an exception."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from flexportd.expose.api.deliveries import read_deliveries
from flexportd.expose.context import NOTIFICATIONS
from flexportd.expose.dashboard.view.dates import ViewContext, count
from flexportd.expose.dashboard.view.labels import Badge, Text, short_text, text
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.transaction import Transaction

MOST = 10  # messages about one object
_LONGEST_TEXTS = 300  # characters

STATES: Mapping[str, Badge] = {
    "waiting": Badge("Waiting", "arriving"),
    "sending": Badge("Sending", "transit"),
    "sent": Badge("Sent", "delivered"),
    "failed": Badge("Failed", "bad"),
    "discarded": Badge("Discarded", "plain"),
}

_KINDS = {"summary": "Summary", "digest": "Digest", "test": "Test"}


class DeliveriesAbout(NamedTuple):
    """The last messages about an object, newest first, one more than is shown, and what each says about its shipment.

    `is_shown` is false where no channel is configured and none was ever notified.
    """

    rows: Sequence[Mapping[str, Any]] = ()
    texts: Mapping[int, Sequence[str]] = {}
    is_shown: bool = False


def read_about(
    tx: Transaction, request: web.Request, name: str, number: int, shipment_id: int | None
) -> DeliveriesAbout:
    """The last messages about an object; `name` is the filter of deliveries that finds them."""
    control = request.app[NOTIFICATIONS]
    rows = read_deliveries(tx, PageRequest(MOST, "id", filters={name: (number,)}))
    contents = {} if shipment_id is None else tx.deliveries.contents([row["id"] for row in rows[:MOST]])
    texts = {key: control.texts_about(content, shipment_id or 0) for key, content in contents.items()}
    return DeliveriesAbout(rows, texts, bool(rows) or bool(control.list_channels()))


def deliveries_about(data: DeliveriesAbout, url: str, view: ViewContext) -> SimpleNamespace | None:
    """The section of an object's page about who was notified; `url` is that of the list as JSON."""
    if not data.is_shown:
        return None
    return SimpleNamespace(
        rows=tuple(
            SimpleNamespace(
                **vars(delivery_row(row, view)),
                says=text("; ".join(data.texts.get(row["id"], ())), _LONGEST_TEXTS),
            )
            for row in data.rows[:MOST]
        ),
        url=url,
        has_more=len(data.rows) > MOST,
    )


def delivery_row(row: Mapping[str, Any], view: ViewContext) -> SimpleNamespace:
    """One message as a row."""
    shipments = row["shipments"]
    return SimpleNamespace(
        id=row["id"],
        url=f"/deliveries/{row['id']}",
        title=text(row["title"], 160) or Text("Message"),
        kind=_KINDS.get(row["kind"]),
        channel=short_text(row["channel"], 64) or "",
        rules=text(", ".join(msgspec.json.decode(row["rules"])), 120),
        state=STATES.get(row["state"]) or Badge(row["state"], "other"),
        at=view.ago(row["sent_at"] or row["created_at"]),
        next=view.until(row["next_attempt_at"]) if row["next_attempt_at"] else None,
        error=text(row["error"], 300) if row["state"] != "sent" else None,
        note=text(row["note"], 300),
        is_repeated=bool(row["is_repeated"]),
        attempts=count(row["attempts"], "attempt"),
        shipments=tuple(shipments[:3]),
        more_shipments=max(0, len(shipments) - 3),
        can_retry=row["state"] in ("failed", "discarded"),
        can_discard=row["state"] in ("waiting", "failed"),
        can_hasten=row["state"] == "waiting",
        can_repeat=row["state"] == "sent",
    )
