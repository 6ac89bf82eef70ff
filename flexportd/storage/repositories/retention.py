"""Deletion of what is older than its retention period, in small batches."""

from collections.abc import Sequence

import msgspec

from flexportd.storage.statements import Repository, json_text


class Retention(Repository):
    """Deletes from the event log and the history."""

    family = "retention"

    def old_events(self, times: "RetentionWindow", after: int, limit: int) -> list[int]:
        """The `seq` of events older than these times, after one `seq`, oldest first."""
        return self._first_column("old_events", after, times.before, times.earliest, times.latest, limit)

    def delete_events(self, seqs: Sequence[int]) -> int:
        """Delete those of these events that may be deleted, with their bytes; how many."""
        chosen = self._first_column("deletable", json_text(seqs))
        if chosen:
            for name in ("delete_payloads", "delete_gaps", "delete_letters", "keep_ids", "delete_events"):
                self._run(name, json_text(chosen))
        return len(chosen)

    def old_changes(self, times: "RetentionWindow", limit: int) -> list[int]:
        """The rows of the history older than these times, oldest first."""
        return self._first_column("old_changes", times.before, times.earliest, times.latest, limit)

    def delete_changes(self, before: str, limit: int, rows: Sequence[int] | None = None) -> int:
        """Delete these rows of the history, by default those older than a time; how many."""
        chosen = self.old_changes(RetentionWindow(before), limit) if rows is None else rows
        return self._run("delete_changes", json_text(chosen)).rowcount

    def old_entries(self, times: "RetentionWindow", limit: int) -> list[int]:
        """The entries of the change log older than these times, oldest first."""
        return self._first_column("old_entries", times.before, times.earliest, limit)

    def delete_journal(self, before: str, limit: int, entries: Sequence[int] | None = None) -> int:
        """Delete these entries of the change log, by default those older than a time; how many."""
        chosen = self.old_entries(RetentionWindow(before), limit) if entries is None else entries
        return self._run("delete_entries", json_text(chosen)).rowcount


class RetentionWindow(msgspec.Struct, frozen=True):
    """What is older than `before` is old; times outside of `earliest` and `latest` come from a wrong clock."""

    before: str
    earliest: str = ""
    latest: str = "~"
