"""How far back Flexport's list of events is read, and what one reading of it found.

Three spans: narrow, from the last good poll, for speed; wide and deep, since an event may be recorded days after it
happened and the list can be asked by `occurred_at` alone.
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

_MAX_TYPES = 10  # that are named of the events that the list lacks
_KNOWN_ENOUGH = 200  # rows of whole pages in a row that an earlier poll has seen: what follows, it has seen too


@dataclass(frozen=True, slots=True)
class PollResult:
    """What a poll did. `oldest` and `newest` are times at which Flexport recorded the events that it listed.

    `read` counts rows, `new` events that were not known, `gaps` those of them that a webhook should have brought,
    `unreadable` rows that are no event and were not known. `outcome` is `early` when only known events would have
    followed, `not_offered` when this account has no list of events.
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
    """One poll under way. `frontier` is the highest id that an earlier poll saw which reached at least as far back."""

    span: Window
    since: str
    frontier: int = -1
    read_until: str = ""  # when its first page was asked for, on Flexport's clock
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
        """Look for these events, which webhooks brought, in what is read."""
        self._unlisted = {one.event_id: one for one in expected}
        self.compared = len(self._unlisted)

    def add_page(self, found: Sequence[EventRow]) -> None:
        """One more page."""
        self.pages += 1
        self.read += len(found)
        for one in found:
            self._unlisted.pop(one.name, None)
            self._track(one)

    def _track(self, one: EventRow) -> None:
        if one.number is not None:
            self._descending = self._descending and (self._lowest is None or one.number < self._lowest)
            self._lowest, self.highest = one.number, max(self.highest, one.number)
        if one.created_at is not None:
            self.oldest = min(self.oldest or one.created_at, one.created_at)
            self.newest = max(self.newest or one.created_at, one.created_at)
        if one.occurred_at is not None:
            self.occurred = max(self.occurred or one.occurred_at, one.occurred_at)

    def can_stop(self, found: Sequence[EventRow], known: AbstractSet[str]) -> bool:
        """Whether the pages after this one can hold only what is known.

        An earlier poll that came to its end has to have seen them. That webhooks brought the newest events says nothing
        of those before, nor does a poll that was broken off.
        """
        behind = all(one.name in known and (one.number or 0) <= self.frontier for one in found)
        self._known_in_a_row = self._known_in_a_row + len(found) if behind else 0
        return self.span != "deep" and self._descending and self._known_in_a_row >= _KNOWN_ENOUGH

    def stop_early(self) -> None:
        """The pages that follow hold only what is known: nothing was learnt of the events on them."""
        beyond = [name for name in self._unlisted if name.isdigit() and int(name) < (self._lowest or 0)]
        for name in beyond:
            del self._unlisted[name]
        self.compared -= len(beyond)

    def as_poll(self, at: str) -> Poll:
        """What is remembered once it has come to its end."""
        newest = None if self.highest < 0 else str(self.highest)
        lacking = list(self._unlisted.values())
        types = Counter(one.type for one in lacking).most_common(_MAX_TYPES)
        return Poll(
            self.span, self.since, self.read_until, newest, at, self.read, self.new, self.pages,
            compared=self.compared,
            lacking=len(lacking),
            lacking_types=msgspec.json.encode(dict(types)).decode(),
            lacking_at=max((one.received_at for one in lacking), default=None),
            compared_at=at if self.compared else None,
        )  # fmt: skip

    def result(self, outcome: Literal["complete", "early", "not_offered"]) -> PollResult:
        """What it did."""
        return PollResult(
            self.span, outcome, self.since, self.read, self.new, self.gaps, self.unreadable, self.pages,
            self.oldest, self.newest,
        )  # fmt: skip
