"""How far back Flexport's list of events is read, and the state of one poll.

Three windows: narrow, from the last complete poll, for speed; wide and deep, since an event may be recorded days after
it happened and the list can be filtered only by `occurred_at`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

import msgspec

from flexportd.ingest.event_poller.rows import EventRow
from flexportd.storage.repositories.gaps import NOT_OFFERED, ExpectedEvent, Poll

Window = Literal["narrow", "wide", "deep"]

LOOKBACK: Mapping[Window, timedelta] = {"wide": timedelta(days=14), "deep": timedelta(days=45)}

_MAX_TYPES = 10  # event types that are named of those missing in the list
_KNOWN_ENOUGH = 200  # consecutive rows that an earlier poll has seen: what follows, it has seen too


@dataclass(frozen=True, slots=True)
class PollResult:
    """The result of a poll. `oldest` and `newest` are times at which Flexport recorded the listed events.

    `read` counts rows, `new` unknown events, `gaps` those of them that a webhook should have delivered, `unreadable`
    unknown rows that are not events. `outcome` is `early` when only known events would have followed, `not_offered`
    when this account has no list of events.
    """

    span: Window
    outcome: Literal["complete", "early", "not_offered"]
    since: str
    read: int = 0
    new: int = 0
    gaps: int = 0
    unreadable: int = 0
    pages: int = 0
    oldest: str | None = None
    newest: str | None = None

    def __str__(self) -> str:
        if self.outcome == "not_offered":
            return NOT_OFFERED
        counted = "1 row was not an event" if self.unreadable == 1 else f"{self.unreadable} rows were not events"
        strange = f"; {counted}" if self.unreadable else ""
        return f"{self.read} events read, {self.new} new, {self.gaps} missed by webhooks{strange}"


@dataclass(slots=True)
class PollRun:
    """A running poll. `frontier` is the highest id seen by an earlier poll that reached at least as far back."""

    span: Window
    since: str
    frontier: int = -1
    read_until: str = ""  # when its first page was requested, on Flexport's clock
    ahead: timedelta = timedelta()  # how far Flexport's clock is before ours
    pages: int = 0
    read: int = 0
    new: int = 0
    gaps: int = 0
    unreadable: int = 0
    oldest: str | None = None
    newest: str | None = None
    occurred: str | None = None
    highest: int = -1
    compared: int = 0
    _unlisted: dict[str, ExpectedEvent] = field(default_factory=dict)
    _descending: bool = True
    _lowest: int | None = None
    _known_in_a_row: int = 0

    def expect(self, expected: Iterable[ExpectedEvent]) -> None:
        """Look for these events, which webhooks delivered, in what is read."""
        self._unlisted = {event.event_id: event for event in expected}
        self.compared = len(self._unlisted)

    def add_page(self, rows: Sequence[EventRow]) -> None:
        """Count a page."""
        self.pages += 1
        self.read += len(rows)
        for row in rows:
            self._unlisted.pop(row.name, None)
            self._track(row)

    def _track(self, row: EventRow) -> None:
        if row.number is not None:
            self._descending = self._descending and (self._lowest is None or row.number < self._lowest)
            self._lowest, self.highest = row.number, max(self.highest, row.number)
        if row.created_at is not None:
            self.oldest = min(self.oldest or row.created_at, row.created_at)
            self.newest = max(self.newest or row.created_at, row.created_at)
        if row.occurred_at is not None:
            self.occurred = max(self.occurred or row.occurred_at, row.occurred_at)

    def can_stop(self, rows: Sequence[EventRow], known: AbstractSet[str]) -> bool:
        """Whether the pages after this one hold only known events.

        An earlier, complete poll must have seen them. Neither the newest events of webhooks nor an interrupted poll say
        anything about older ones.
        """
        is_seen = all(row.name in known and (row.number or 0) <= self.frontier for row in rows)
        self._known_in_a_row = self._known_in_a_row + len(rows) if is_seen else 0
        return self.span != "deep" and self._descending and self._known_in_a_row >= _KNOWN_ENOUGH

    def stop_early(self) -> None:
        """End before the remaining pages: their events were not compared."""
        beyond = [name for name in self._unlisted if name.isdigit() and int(name) < (self._lowest or 0)]
        for name in beyond:
            del self._unlisted[name]
        self.compared -= len(beyond)

    def as_poll(self, at: str) -> Poll:
        """The record of a complete poll."""
        newest = None if self.highest < 0 else str(self.highest)
        missing = list(self._unlisted.values())
        types = Counter(event.type for event in missing).most_common(_MAX_TYPES)
        return Poll(
            self.span, self.since, self.read_until, newest, at, self.read, self.new, self.pages,
            compared=self.compared,
            lacking=len(missing),
            lacking_types=msgspec.json.encode(dict(types)).decode(),
            lacking_at=max((event.received_at for event in missing), default=None),
            compared_at=at if self.compared else None,
        )  # fmt: skip

    def result(self, outcome: Literal["complete", "early", "not_offered"]) -> PollResult:
        """The result so far."""
        return PollResult(
            self.span, outcome, self.since, self.read, self.new, self.gaps, self.unreadable, self.pages,
            self.oldest, self.newest,
        )  # fmt: skip
