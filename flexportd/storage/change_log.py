"""The journal: one entry for each commit that wrote states or ended events, numbered in the order of commits.

Its consumers (the stream, the search index, cursors) miss nothing: an entry is committed with what it describes,
and there is one writer, so a reader that sees an entry sees all before it.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from flexportd.errors import ExpiredError, InvalidError
from flexportd.storage.statements import Repository, json_text


class WrittenObject(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An object that a commit wrote: its id, and the `as_of` that it had before; None for a new one.

    `changed_fields` are the names of the fields that changed, separated by blanks; `raw` among them means that values
    read only from Flexport's own JSON may have changed. None: any field may have changed.
    """

    key: int | str
    as_of: str | None
    changed_fields: str | None = None

    def concerns(self, fields: frozenset[str]) -> bool:
        """Whether one of these fields may have changed."""
        return self.changed_fields is None or not fields.isdisjoint(self.changed_fields.split())


States = Mapping[str, Sequence[WrittenObject]]  # table -> what was written of it
Positions = Mapping[str, Sequence[tuple[int | str, Sequence[Any] | None]]]
"""Table without a history -> what was written of it: (id, what it was sorted by before; None for what is new)."""

decode_states = msgspec.json.Decoder(dict[str, list[WrittenObject]]).decode  # the states of an entry, of their JSON
decode_positions = msgspec.json.Decoder(dict[str, list[tuple[int | str, list[Any] | None]]]).decode
"""The places of an entry, of their JSON."""
_decode_events = msgspec.json.Decoder(list[int]).decode
_decode_notices = msgspec.json.Decoder(list[dict[str, Any]]).decode


class JournalEntry(msgspec.Struct, frozen=True):
    """What one commit did. `changes` are the first and the last row of the history that it wrote, None for none.

    `mark` is random: an entry with the same number in another database, or in one that was restored, has another.
    """

    id: int
    at: str
    changes: tuple[int, int] | None
    states: States
    events: Sequence[int]
    notices: Sequence[Mapping[str, Any]]
    mark: str = ""


class ConsumerState(msgspec.Struct, frozen=True, kw_only=True):
    """How far a consumer is: it has processed all entries up to `journal`, which was written at `at`.

    While it reads everything for the first time, or again, `resource` and `after` say how far that is, and `journal` is
    where it continues then. `version` is that of what it keeps: another one reads everything again.
    """

    version: str
    journal: int
    at: str = ""
    resource: str | None = None
    after: int | str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether everything has been read once."""
        return self.resource is None


class HistoryRow(msgspec.Struct, frozen=True, gc=False):
    """One row of the history; `old` and `new` are JSON text, None where there was nothing."""

    resource: str
    resource_id: str
    field: str
    old: str | None
    new: str | None
    as_of: str
    source: str
    event_id: str | None
    run_id: int | None


class FinishedEvent(msgspec.Struct, frozen=True, gc=False):
    """What is known of an event that ended; `resource` is Flexport's `_object`."""

    seq: int
    id: str
    type: str | None
    source: str
    state: str
    created_at: str | None
    occurred_at: str | None
    resource: str | None
    resource_id: str | None
    shipment_id: int | None


_CACHED_ENTRIES = 64  # decoded; of a page of 500 objects, one takes some 200 KiB
_FIRST_TIME = 10**16  # numbers of entries are less


def time_number(at: str) -> int:
    """A time on our clock, to the millisecond, as a number that a cursor carries in place of that of an entry."""
    return int("".join(filter(str.isdigit, at)))


class Journal(Repository):
    """Reads and writes `journal`."""

    family = "change_log"
    columns = ("id", "at", "first_change", "last_change", "states", "events", "notices", "mark")

    def add(
        self,
        at: str,
        changes: tuple[int, int] | None = None,
        states: States | None = None,
        events: Sequence[int] = (),
        notices: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Note what this transaction does; nothing for nothing."""
        if changes or states or events or notices:
            texts = (json_text(part) if part else None for part in (states, events, notices))
            self._run("add", at, *(changes or (None, None)), *texts)

    def save_positions(self, at: str, places: Positions) -> None:
        """Note where rows stood that this transaction moves in their lists; nothing for nothing."""
        if places:
            self._run("add_position", at, json_text(places))

    def last(self) -> int:
        """The number of the newest entry; 0 before the first."""
        return self._run("last").fetchone()[0] or 0

    def first(self) -> int:
        """The number of the oldest entry that is kept; 0 before the first."""
        return self._run("first").fetchone()[0] or 0

    def origin(self, number: int) -> str:
        """What distinguishes this history from any other in which a list was read at this number.

        It is the mark of that entry; where that one is not kept, of the oldest that is; before the first entry, the
        mark of the store.
        """
        mark = self._text("first_mark", number)
        return self.store_id() if mark is None else mark

    def entry_at(self, since: int) -> int:
        """The number of the journal that a cursor carries, or that of the newest entry up to the time that it carries.

        0 where no entry from that time or before is kept. Times are as `time_number` gives them.
        """
        if since < _FIRST_TIME:
            return since
        text = f"{since:017}"
        at = f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[8:10]}:{text[10:12]}:{text[12:14]}.{text[14:]}Z"
        return int(self._text("last_until", at) or 0)

    def origin_of(self, since: int) -> str:
        """`origin` for what a cursor carries; the mark of the store where no such entry is kept."""
        entry = self.entry_at(since)
        return self.store_id() if entry == 0 and since else self.origin(entry)

    def check_origin(self, number: int, origin: str) -> None:
        """Check that a list was read in this history.

        Raises InvalidError for another history, ExpiredError where that is no longer known.
        """
        if 0 <= number <= self.last():
            if self.origin(number) == origin or (number == 0 and origin == self.store_id()):
                return
            if self.first() > number + 1:
                raise ExpiredError("cursor is too old; omit it to start over", "cursor")
        raise InvalidError("cursor is from another database, or from before a restore; omit it to start over", "cursor")

    def store_id(self) -> str:
        """The mark of this store, whatever it holds."""
        return str(self._text("store_id"))

    def after(self, number: int, limit: int) -> list[JournalEntry]:
        """The entries after one, oldest first. Consumers that read the same ones share what is decoded."""
        return [_entry(row) for row in self._run("after", number, limit)]

    def entry_before(self, at: str) -> int:
        """The newest entry from before a time on our clock; 0 for none."""
        return int(self._text("last_before", at) or 0)

    def of_event(self, seq: int, since: str, changes: Sequence[int]) -> list[JournalEntry]:
        """The entries since a time that completed an event or wrote these rows of the history, in order."""
        found = [_entry(row) for row in self._run("of_event", since, seq)]
        found += [_entry(row) for number in changes for row in self._run("of_change", since, number)]
        return sorted({entry.id: entry for entry in found}.values(), key=lambda entry: entry.id)

    def history_before(self, number: int) -> int:
        """The last row of the history that was written before an entry which wrote none; 0 for none."""
        return self._count("last_change_before", number)

    def history_rows(self, entry: JournalEntry, fields: Sequence[str] | None = None) -> list[HistoryRow]:
        """The rows of the history that an entry wrote, as many as are still kept; only those of these fields."""
        if entry.changes is None:
            return []
        if fields is None:
            return self._all(HistoryRow, "changes", *entry.changes)
        return self._all(HistoryRow, "changes_of_fields", *entry.changes, json_text(fields))

    def next_change(self, resource: str, resource_id: str, field: str, after: int) -> HistoryRow | None:
        """The first change of a field of an object after a row of the history; None without one."""
        return self._one(HistoryRow, "next_change", resource, resource_id, after, field)

    def finished_events(self, seqs: Sequence[int]) -> dict[int, FinishedEvent]:
        """The events at these places, as many as are still kept."""
        return {event.seq: event for event in self._all(FinishedEvent, "events", json_text(seqs))} if seqs else {}

    def shipments_of(self, seqs: Sequence[int]) -> list[int]:
        """The shipments that the events at these places belong to, each once."""
        return self._first_column("shipments_of_events", json_text(seqs)) if seqs else []


@functools.lru_cache(maxsize=_CACHED_ENTRIES)
def _entry(row: tuple[Any, ...]) -> JournalEntry:
    number, at, first, last, states, events, notices, mark = row
    return JournalEntry(
        number,
        at,
        None if first is None else (first, last),
        decode_states(states) if states else {},
        _decode_events(events) if events else (),
        _decode_notices(notices) if notices else (),
        mark,
    )
