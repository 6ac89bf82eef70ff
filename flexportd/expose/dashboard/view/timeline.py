"""The timeline of one shipment: planned and actual times, with place and delay. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from flexportd.core.timeline import EVENT_RANK, TimelinePoint
from flexportd.expose.dashboard.view.dates import DateText, Delay, ViewContext, count
from flexportd.expose.dashboard.view.labels import Mode, PlaceText, Text, event_url, mode, place, text

State = Literal["done", "overdue", "planned", "unreported", "past"]

_STATES: dict[State, str] = {
    "done": "actual",
    "overdue": "planned",
    "planned": "planned",
    "unreported": "planned; actual not reported",
    "past": "planned",
}


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One point of the timeline; `plan` where an actual time differs from it."""

    title: Text
    state: State
    kind: str
    group: str
    when: DateText
    plan: DateText | None
    delay: Delay | None
    place: PlaceText | None
    mode: Mode | None
    containers: Text | None
    event_url: str | None
    is_first_ahead: bool


def timeline_rows(entries: Iterable[TimelinePoint], view: ViewContext) -> tuple[TimelineRow, ...]:
    """The points in order; the first planned one after the last actual one is marked."""
    shown = list(entries)
    reached = max((entry.rank for entry in shown if entry.actual and entry.rank < EVENT_RANK), default=(-9, 0))
    states = [_state(entry, reached, view) for entry in shown]
    done = max((index for index, state in enumerate(states) if state == "done"), default=-1)
    ahead = next((index for index, state in enumerate(states) if index > done and state == "planned"), None)
    rows = [_row(entry, states[index], view, is_first_ahead=index == ahead) for index, entry in enumerate(shown)]
    return tuple(row for row in rows if row is not None)


def _state(entry: TimelinePoint, reached: tuple[int, int], view: ViewContext) -> State:
    if entry.actual:
        return "done"
    days = view.days_past(entry.planned or "")
    if days is None or days <= 0:
        return "planned"
    if entry.group != "progress":
        return "past"
    return "overdue" if entry.rank > reached else "unreported"


def _row(entry: TimelinePoint, state: State, view: ViewContext, *, is_first_ahead: bool) -> TimelineRow | None:
    when = view.moment(entry.actual or entry.planned, entry.timezone)
    if when is None:
        return None
    plan = view.moment(entry.planned, entry.timezone) if entry.actual else None
    where = place({"place": entry.place, "place_code": entry.place_code}, "place")
    return TimelineRow(
        title=text(entry.title, 60) or Text("Milestone"),
        state=state,
        kind=_STATES[state],
        group=entry.group,
        when=when,
        plan=plan if plan and plan.text != when.text else None,
        delay=view.delay(entry.planned, entry.actual) if state in ("done", "overdue") else None,
        place=where,
        mode=mode(entry.mode),
        containers=_containers(entry.container_numbers),
        event_url=event_url(entry.event_id),
        is_first_ahead=is_first_ahead,
    )


def _containers(numbers: Sequence[str]) -> Text | None:
    if not numbers:
        return None
    if len(numbers) == 1:
        return text(numbers[0], 40)
    return Text(count(len(numbers), "container"), (text(", ".join(numbers), 200) or Text("")).shown)
