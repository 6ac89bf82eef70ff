"""Forgetting what is older than is kept, a little at a time."""

import sqlite3

import msgspec

from flexportd.storage.queries import queries


class Retention:
    """Deletes from the event log and the history."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries("retention")

    def forget_events(self, before: str, limit: int) -> int:
        """Delete the oldest events received before this time of ours, with their bytes; how many."""
        seqs = [row[0] for row in self._raw.execute(self._sql["old_events"], (before, limit))]
        if seqs:
            chosen = (msgspec.json.encode(seqs).decode(),)
            for name in ("forget_payloads", "forget_letters", "forget_events"):
                self._raw.execute(self._sql[name], chosen)
        return len(seqs)

    def forget_changes(self, before: str, limit: int) -> int:
        """Delete the oldest history written before this time of ours; how many rows."""
        return self._raw.execute(self._sql["forget_changes"], (before, limit)).rowcount
