"""What an outcome does to its item, inside the transaction of its effect."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flexportd.clock import Clock, stamp
from flexportd.outcome import Dead, Outcome, Retry, Snooze
from flexportd.queue.handlers import Buried
from flexportd.queue.retry_policy import Policy, after_failure
from flexportd.storage.repositories.items import Item
from flexportd.storage.transaction import Session

MAX_ERROR = 2000  # characters of an error that are kept
DEAD_LETTER = "system.dead_letter"  # the topic of a notice in the journal


@dataclass(frozen=True, slots=True)
class Settled:
    """How many items left the queue, and how many of them to the dead letters."""

    finished: int
    buried: int
    retried: int


@dataclass(frozen=True, slots=True)
class Settling:
    """The rules in force."""

    policy: Policy
    buried: Buried
    clock: Clock

    def settle(self, tx: Session, done: Iterable[tuple[Item, Outcome]], *, counted: bool) -> Settled:
        """Finish, postpone or bury each. `counted`: the item's `attempts` has this try in it already."""
        finished: list[Item] = []
        notices: list[dict[str, Any]] = []
        retried = 0
        for item, outcome in done:
            attempt = item.attempts if counted else item.attempts + 1
            if isinstance(outcome, Retry):
                after = after_failure(attempt, outcome, self.policy, random.random())  # noqa: S311 (jitter)
                if isinstance(after, Dead):
                    notices.append(self._bury(tx, item, after, attempt))
                else:
                    self._note(tx, item, outcome.error, attempt)
                    tx.items.postpone(item.id, self._in(after), attempt)
                    retried += 1
            elif isinstance(outcome, Dead):
                notices.append(self._bury(tx, item, outcome, attempt))
            elif isinstance(outcome, Snooze):
                tx.items.postpone(item.id, self._in(outcome.seconds), attempt - 1)
            else:
                finished.append(item)
        tx.items.finish(finished)
        tx.journal.add(self.clock.stamp(), notices=notices)
        return Settled(len(finished) + len(notices), len(notices), retried)

    def _in(self, seconds: float) -> str:
        return stamp(self.clock.after(seconds))

    def _note(self, tx: Session, item: Item, error: str, attempt: int) -> None:
        tx.items.note_attempt(item.id, attempt, self.clock.stamp(), _kept(error))

    def _bury(self, tx: Session, item: Item, dead: Dead, attempt: int) -> dict[str, Any]:
        """Returns what the journal tells of it."""
        error = _kept(dead.error)
        self._note(tx, item, dead.error, attempt)
        tx.items.bury(item.id, self.clock.stamp(), attempt)
        self.buried(tx, item, error, self.clock.stamp())
        return {"topic": DEAD_LETTER, "dead_letter_id": str(item.id), "kind": item.kind, "detail": error}


def _kept(error: str) -> str:
    """As it is kept: of a bounded length, and without halves of characters, which no database takes."""
    return error[:MAX_ERROR].encode("utf-8", "backslashreplace").decode()
