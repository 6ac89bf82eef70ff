"""What people do about an exception: acknowledge, assign, note, snooze. Each action is recorded with who did it."""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from flexportd.clock import stamp
from flexportd.errors import ConflictError, InvalidError
from flexportd.settings import parse_duration
from flexportd.storage.repositories.exceptions import ExceptionAction, ExceptionRow
from flexportd.storage.transaction import Transaction

MAX_NAME_LENGTH = 80  # characters of the name of a person to whom one is assigned
MAX_ACTOR_LENGTH = 200  # characters of the name of who acts: user@host
MAX_NOTE_LENGTH = 500  # characters
MAX_ACTIONS = 500  # of one exception
MAX_SNOOZE = timedelta(days=366)

_SPAN = re.compile(r"[0-9]{1,15}[a-z]")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(rf"{_DAY.pattern}[Tt ][0-9]")
_ALLOWED = "a duration (3d, 12h), a day (2026-03-01, from whose beginning it is no longer snoozed) or a time"


def acknowledge(tx: Transaction, row: ExceptionRow, by: str, at: str) -> None:
    """Acknowledge an open exception; the first acknowledgement stays. Raises ConflictError."""
    _check_open(row)
    if row.acknowledged_at is None:
        _record(tx, row, {"action": "acknowledge", "by": by, "at": at, "text": None})
        tx.exceptions.acknowledge(row.id, at, by)


def unacknowledge(tx: Transaction, row: ExceptionRow, by: str, at: str) -> None:
    """Take an acknowledgement back. Raises ConflictError."""
    _check_open(row)
    if row.acknowledged_at is not None:
        _record(tx, row, {"action": "unacknowledge", "by": by, "at": at, "text": None})
        tx.exceptions.acknowledge(row.id, None, None)


def assign(tx: Transaction, row: ExceptionRow, by: str, at: str, assignee: str | None) -> None:
    """Assign an open exception to a person; None: to nobody. Raises ConflictError."""
    _check_open(row)
    if row.assigned_to != assignee:
        _record(tx, row, {"action": "assign", "by": by, "at": at, "text": assignee})
        tx.exceptions.assign(row.id, assignee)


def note(tx: Transaction, row: ExceptionRow, by: str, at: str, text: str) -> None:
    """Add a note, also to a closed exception. Raises ConflictError."""
    _record(tx, row, {"action": "note", "by": by, "at": at, "text": text})


def snooze(tx: Transaction, row: ExceptionRow, by: str, at: str, until: str | None, *, until_worse: bool) -> None:
    """Snooze an open exception until a time, until it gets worse, or whichever is first. Raises ConflictError.

    It replaces an earlier snooze.
    """
    _check_open(row)
    parts = [until, "worse" if until_worse else None]
    _record(tx, row, {"action": "snooze", "by": by, "at": at, "text": " or ".join(filter(None, parts))})
    tx.exceptions.snooze(row.id, at, by, until, until_worse=until_worse)


def unsnooze(tx: Transaction, row: ExceptionRow, by: str, at: str) -> None:
    """End a snooze. Raises ConflictError."""
    _check_open(row)
    if row.snoozed_at is not None:
        _record(tx, row, {"action": "unsnooze", "by": by, "at": at, "text": None})
        tx.exceptions.unsnooze(row.id)


def parse_until(text: str, now: datetime, zone: tzinfo) -> str:
    """Parse the end of a snooze to a stamp. A day, and a time without an offset, are in `zone`. Raises InvalidError."""
    try:
        if _SPAN.match(text):
            at = now + parse_duration(text)
        elif _DAY.fullmatch(text):
            at = datetime.combine(date.fromisoformat(text), time.min, zone)
        else:
            at = datetime.fromisoformat(text if _TIME.match(text) else "")
            at = at if at.tzinfo else at.replace(tzinfo=zone)
        at = at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidError(f"until is {text[:50]!r}; allowed is {_ALLOWED} (2026-03-01T09:00+01:00)", "until") from None
    if at <= now:
        raise InvalidError(f"until is {text[:50]!r}, which is not in the future; now it is {stamp(now)}", "until")
    if at > now + MAX_SNOOZE:
        raise InvalidError(f"until is {text[:50]!r}; at most {MAX_SNOOZE.days} days from now are allowed", "until")
    return stamp(at)


def _check_open(row: ExceptionRow) -> None:
    if row.closed_at is not None:
        why = f"exception {row.id} closed at {row.closed_at}; only notes can be added to a closed exception"
        raise ConflictError(why)


def _record(tx: Transaction, row: ExceptionRow, done: ExceptionAction) -> None:
    if tx.exceptions.count_actions(row.id) >= MAX_ACTIONS:
        raise ConflictError(f"exception {row.id} has {MAX_ACTIONS} recorded actions; more are not allowed")
    tx.exceptions.add_action(row.id, done)
