"""Exceptions of the journey: what is late, what slips, and of what nothing is heard. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import groupby
from operator import itemgetter

import msgspec

from flexportd.core.exceptions.cases import Case, Finding, Rules, Watch, after, day_over

_read = msgspec.json.Decoder().decode

Moves = Sequence[tuple[str, str, str | None, str | None]]
"""(as_of, field, old, new) of the history, oldest first; values are JSON text."""


def late_departure(case: Case, _: Rules, watch: Watch) -> Iterator[Finding]:
    """The day of the estimated departure is over at its place, and nothing says that it departed."""
    plan = None if case.is_over or case.is_departed else case.planned("departure")
    if plan is not None and watch.passed(day_over(*plan[:2])):
        yield case.find("late_departure", {"estimated_departure": plan[0][:10], "place": plan[2]})


def late_arrival(case: Case, _: Rules, watch: Watch) -> Iterator[Finding]:
    """The day of the estimated arrival is over at its place, and nothing says that it arrived.

    While it has not departed either, its departure is late, and its arrival is not told of.
    """
    if case.is_over or case.is_arrived or not (case.is_departed or case.planned("departure") is None):
        return
    plan = case.planned("arrival")
    if plan is not None and watch.passed(day_over(*plan[:2])):
        yield case.find("late_arrival", {"estimated_arrival": plan[0][:10], "place": plan[2]})


def eta_slipped(case: Case, rules: Rules, _: Watch) -> Iterator[Finding]:
    """While under way: the arrival is estimated so many days behind the earliest estimate since the departure."""
    now = case.shipment.fields["estimated_arrival"]
    if case.is_over or case.is_arrived or not now or not case.estimates:
        return
    first = min(case.estimates, key=lambda moment: moment[:10])
    days = _days(first, now)
    if days >= rules.eta_slip_days:
        plan = case.planned("arrival")
        told = {"first_estimate": first[:10], "estimated_arrival": now[:10], "days": days}
        yield case.find("eta_slipped", told | {"place": plan[2] if plan else None})


def silent(case: Case, rules: Rules, watch: Watch) -> Iterator[Finding]:
    """While under way: neither a state nor a milestone is newer than so many days."""
    if case.is_over or case.is_arrived or not case.is_departed:
        return
    states = (case.shipment, *case.legs, *case.containers, *case.container_legs)
    heard = (*(one.as_of for one in states), *(event["created_at"] or "" for event in case.events))
    newest = max(heard)
    if newest and watch.passed(after(newest, rules.silent_days)):
        yield case.find("silent", {"last_news_at": newest})


def estimates_since_departure(moves: Moves, departure: str | None, arrival: str | None) -> list[str]:
    """The estimates of an arrival that were known at the departure and later, of the history and the present.

    Where the history does not tell of the departure, those known since the shipment is. None before it departs.
    """
    if departure is None:
        return []
    told = [
        (as_of, field, *(None if value is None else _read(value) for value in values))
        for as_of, field, *values in moves
    ]
    first = next((old for _, field, old, _ in told if field == "estimated_arrival"), arrival)
    known = [first]
    for _, group in groupby(told, key=itemgetter(0)):  # what came at once was known at once
        several = list(group)
        known += [new for _, field, _, new in several if field == "estimated_arrival"]
        if any(field == "actual_departure" and old is None and new is not None for _, field, old, new in several):
            known = known[-1:]
    return _moments((*known, arrival))


def _moments(values: Iterable[object]) -> list[str]:
    return [value for value in values if isinstance(value, str)]


def _days(first: str, last: str) -> int:
    return (date.fromisoformat(last[:10]) - date.fromisoformat(first[:10])).days
