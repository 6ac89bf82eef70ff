"""Forgetting what is older than is kept, a little at a time."""

import sqlite3

import msgspec

from flexportd.storage.queries import queries


class Retention:
    """Deletes from the event log and the history."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries("retention")

    def forget_events(self, before: str, after: int, limit: int) -> "Step":
        """Delete events received before this time of ours, with their bytes, among the oldest behind a place."""
        rows = self._raw.execute(self._sql["oldest_events"], (after, limit)).fetchall()
        old = [row for row in rows if row[1] < before]
        seqs = [seq for seq, _, may_go in old if may_go]
        if seqs:
            chosen = (msgspec.json.encode(seqs).decode(),)
            for name in ("forget_payloads", "forget_gaps", "forget_letters", "remember_ids", "forget_events"):
                self._raw.execute(self._sql[name], chosen)
        return Step(len(seqs), old[-1][0] if old else after, len(old) < limit)

    def forget_changes(self, before: str, limit: int) -> int:
        """Delete the history written before this time of ours among its oldest rows; how many."""
        return self._raw.execute(self._sql["forget_changes"], (limit, before)).rowcount

    def forget_journal(self, before: str, limit: int) -> int:
        """Delete the entries of the journal from before this time of ours among its oldest; how many."""
        return self._raw.execute(self._sql["forget_journal"], (limit, before)).rowcount


class Step(msgspec.Struct, frozen=True):
    """How many were deleted, the place of the last that was looked at, and whether nothing older is left."""

    gone: int
    after: int
    is_last: bool
