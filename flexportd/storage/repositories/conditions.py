"""Conditions of the daemon itself: which are open, and when the others ended."""

from collections.abc import Iterable
from typing import NamedTuple

from flexportd.storage.statements import Repository, json_text


class Condition(NamedTuple):
    """An open condition. `since` is when its fault began, `detail` a sentence for people, without a full stop."""

    kind: str
    since: str
    detail: str


class Conditions(Repository):
    """Reads and writes `system_conditions`: of each kind the latest occurrence."""

    family = "conditions"

    def open(self) -> list[Condition]:
        """The conditions that have not ended, the longest first."""
        return self._all(Condition, "open")

    def begin(self, condition: Condition) -> bool:
        """Begin a condition; False if one of its kind is open already, which stays as it is."""
        return self._run("begin", *condition).rowcount > 0

    def end(self, kind: str, at: str) -> bool:
        """End a condition that was over at this time; False if none is open."""
        return self._run("end", at, kind).rowcount > 0

    def recovered_at(self, kinds: Iterable[str]) -> str | None:
        """When the last of these kinds ended; None if none of them ever did. Open ones do not count."""
        return self._text("recovered_at", json_text(list(kinds)))

    def correct_times(self, now: str) -> None:
        """Set times in the future to the present."""
        self._run("correct_times", now)
