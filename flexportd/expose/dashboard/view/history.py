"""The history of objects: changed fields with old and new values, grouped by event. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from types import SimpleNamespace
from typing import Any

from flexportd.core.events.applier import event_title
from flexportd.core.labels import field_label
from flexportd.expose.dashboard.view.dates import DateText, Tone, ViewContext, count, days_between
from flexportd.expose.dashboard.view.labels import (
    LABELS,
    SOURCES,
    Text,
    enum_text,
    event_url,
    json_or_none,
    quantity,
    text,
)

OVERVIEW_FIELDS = (
    "id", "status", "estimated_departure", "actual_departure", "estimated_arrival", "actual_arrival",
    "actual_delivered_in_full",
)  # fmt: skip

_TIMES = ("created", "updated", "last_updated", "issued", "voided", "uploaded", "archived", "deleted", "removed")

_UNDATED = "1970"  # an older time marks a state without a time

_DATES = ("actual_", "estimated_")
_MORE_DATES = frozenset(("last_free_day", "available_for_pickup", "delivery_appointment", "delivery_completed"))


def field_words(name: str) -> str:
    """The label of a field."""
    if name.removesuffix("_at") in _TIMES:
        name = name.removesuffix("_at")
    label = LABELS.fields.get(name) or field_label(name)
    return label[:1].upper() + label[1:]


def change_row(row: Mapping[str, Any], view: ViewContext, subject: Text | None = None) -> SimpleNamespace:
    """One change."""
    field = row["field"]
    old, new = json_or_none(row["old"]), json_or_none(row["new"])
    if field == "id":
        return SimpleNamespace(
            field="First received", verb="", old=None, new=None, note=None, tone="plain", subject=subject
        )
    note, tone = _date_move(field, old, new)
    before, after = _value(field, row["old"], old, view), _value(field, row["new"], new, view)
    return SimpleNamespace(
        field=field_words(field),
        verb="moved" if _is_date(field) else "changed",
        old=before,
        new=after,
        note=note,
        tone=tone,
        subject=subject,
    )


def recent_changes(rows: Iterable[Mapping[str, Any]], view: ViewContext) -> tuple[SimpleNamespace, ...]:
    """The latest changes of all shipments; `rows` are newest first."""
    recent = []
    for (number, _), group in groupby(rows, key=lambda row: (int(row["shipment_id"]), row["event_id"])):
        same = list(group)
        name = text(same[0]["name"], 60) or Text(f"FLEX-{number}")
        recent.append(
            SimpleNamespace(
                shipment_id=number,
                name=name,
                at=_at(same[0], view),
                changes=tuple(change_row(row, view) for row in same[::-1]),
            )
        )
    return tuple(recent)


def change_groups(
    rows: Iterable[tuple[Mapping[str, Any], Text | None]],
    types: Mapping[str, str | None],
    view: ViewContext,
    resource: str = "shipments",
) -> tuple[SimpleNamespace, ...]:
    """The history of an object of this resource, grouped by event; `rows` are changes with subjects, newest first."""
    shown = [
        (row, subject)
        for row, subject in rows
        if row["field"] not in LABELS.hidden_changes and (row["field"] != "id" or row["resource"] == resource)
    ]
    groups, cause = [], itemgetter("event_id", "changed_at", "source")
    for (event_id, _, source), group in groupby(shown, key=lambda pair: cause(pair[0])):
        pairs = list(group)
        title = event_title(types[event_id]) if event_id in types else f"Source: {SOURCES.get(source, source)}"
        url = event_url(event_id) if event_id in types else None
        changes = tuple(change_row(row, view, subject) for row, subject in reversed(pairs))
        groups.append(
            SimpleNamespace(
                at=_at(pairs[0][0], view), title=text(title) or Text("Event"), event_url=url, changes=changes
            )
        )
    return tuple(groups)


def _at(row: Mapping[str, Any], view: ViewContext) -> DateText | None:
    return view.instant(row["changed_at"] if row["as_of"] < _UNDATED else row["as_of"])


def _is_date(field: str) -> bool:
    return field.startswith(_DATES) or field in _MORE_DATES


def _date_move(field: str, old: Any, new: Any) -> tuple[str | None, Tone]:
    """The shift of a date: later is bad, earlier is good."""
    is_move = _is_date(field) and isinstance(old, str) and isinstance(new, str)
    days = days_between(old, new) if is_move else None
    if not days:
        return None, "plain"
    return f"{count(abs(days), 'day')} {'later' if days > 0 else 'earlier'}", "warn" if days > 0 else "good"


def _value(field: str, stored: str | None, value: Any, view: ViewContext) -> Text | None:
    if value is None:
        return None
    if isinstance(value, str) and (_is_date(field) or field.endswith(("_date", "_at"))):
        read = view.moment if _is_date(field) else view.calendar_day if field.endswith("_date") else view.instant
        when = read(value)
        return text(when.text if when else value)
    return text(_plain(field, stored, value))


def _plain(field: str, stored: str | None, value: Any) -> str | None:
    if field in ("weight", "volume", "chargeable_weight"):
        return quantity(stored)
    if isinstance(value, str):
        return enum_text(field, value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _parts(value) if isinstance(value, list | dict) else str(value)


def _parts(value: Sequence[Any] | Mapping[str, Any]) -> str:
    if isinstance(value, Mapping):
        parts = [str(name) for name in value]
    elif any(isinstance(part, dict | list) for part in value):
        return count(len(value), "entry", "entries")
    else:
        parts = [str(part) for part in value]
    return ", ".join(parts[:8]) + (" …" if len(parts) > 8 else "")
