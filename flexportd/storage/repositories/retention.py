"""Forgetting what is older than is kept, a little at a time."""

import sqlite3
from collections.abc import Sequence

import msgspec

from flexportd.storage.named_sql import queries


class Retention:
    """Deletes from the event log and the history."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries("retention")

    def old_events(self, times: "RetentionWindow", after: int, limit: int) -> list[int]:
        """The places of events older than these times, behind a place, oldest first."""
        rows = self._raw.execute(self._sql["old_events"], (after, times.before, times.earliest, times.latest, limit))
        return [row[0] for row in rows]

    def delete_events(self, seqs: Sequence[int]) -> int:
        """Delete those of these events that may go, with their bytes; how many."""
        rows = self._raw.execute(self._sql["forgettable"], (_json(seqs),))
        chosen = [row[0] for row in rows]
        if chosen:
            for name in ("forget_payloads", "forget_gaps", "forget_letters", "remember_ids", "forget_events"):
                self._raw.execute(self._sql[name], (_json(chosen),))
        return len(chosen)

    def old_changes(self, times: "RetentionWindow", limit: int) -> list[int]:
        """The rows of the history older than these times, oldest first."""
        values = (times.before, times.earliest, times.latest, limit)
        return [row[0] for row in self._raw.execute(self._sql["old_changes"], values)]

    def delete_changes(self, before: str, limit: int, rows: Sequence[int] | None = None) -> int:
        """Delete rows of the history, those older than a time where none are named; how many."""
        chosen = self.old_changes(RetentionWindow(before), limit) if rows is None else rows
        return self._raw.execute(self._sql["forget_changes"], (_json(chosen),)).rowcount

    def old_entries(self, times: "RetentionWindow", limit: int) -> list[int]:
        """The entries of the journal older than these times, oldest first."""
        values = (times.before, times.earliest, limit)
        return [row[0] for row in self._raw.execute(self._sql["old_entries"], values)]

    def delete_journal(self, before: str, limit: int, entries: Sequence[int] | None = None) -> int:
        """Delete entries of the journal, those older than a time where none are named; how many."""
        chosen = self.old_entries(RetentionWindow(before), limit) if entries is None else entries
        return self._raw.execute(self._sql["forget_entries"], (_json(chosen),)).rowcount


class RetentionWindow(msgspec.Struct, frozen=True):
    """What is from before `before` is old; times outside of `earliest` and `latest` come of a wrong clock."""

    before: str
    earliest: str = ""
    latest: str = "~"


def _json(numbers: Sequence[int]) -> str:
    return msgspec.json.encode(numbers).decode()
