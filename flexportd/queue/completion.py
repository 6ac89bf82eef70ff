"""What an outcome does to its item, inside the transaction of its effect."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flexportd.clock import Clock, stamp
from flexportd.outcome import Dead, Outcome, Retry, Snooze
from flexportd.queue.handlers import OnDead
from flexportd.queue.retry_policy import Policy, next_delay
from flexportd.storage.repositories.items import Item
from flexportd.storage.transaction import Transaction

MAX_ERROR = 2000  # characters of an error that are kept
DEAD_LETTER = "system.dead_letter"  # the topic of a notice in the journal


@dataclass(frozen=True, slots=True)
class BatchResult:
    """How many items left the queue, and how many of them to the dead letters."""

    finished: int
    dead: int
    retried: int
    effects: Any = None  # for the handler's `on_commit`


@dataclass(frozen=True, slots=True)
class Completion:
    """The rules in force."""

    policy: Policy
    on_dead: OnDead
    clock: Clock

    def complete(
        self, tx: Transaction, done: Iterable[tuple[Item, Outcome]], *, counted: bool, effects: Any = None
    ) -> BatchResult:
        """Finish, postpone or bury each. `counted`: the item's `attempts` has this try in it already."""
        finished: list[Item] = []
        notices: list[dict[str, Any]] = []
        retried = 0
        for item, outcome in done:
            attempt = item.attempts if counted else item.attempts + 1
            if isinstance(outcome, Retry):
                after = next_delay(attempt, outcome, self.policy, random.random())  # noqa: S311 (jitter)
                if isinstance(after, Dead):
                    notices.append(self._mark_dead(tx, item, after, attempt))
                else:
                    self._record_attempt(tx, item, outcome.error, attempt)
                    tx.items.postpone(item.id, self._stamp_after(after), attempt)
                    retried += 1
            elif isinstance(outcome, Dead):
                notices.append(self._mark_dead(tx, item, outcome, attempt))
            elif isinstance(outcome, Snooze):
                tx.items.postpone(item.id, self._stamp_after(outcome.seconds), attempt - 1)
            else:
                finished.append(item)
        tx.items.finish(finished)
        tx.journal.add(self.clock.stamp(), notices=notices)
        return BatchResult(len(finished) + len(notices), len(notices), retried, effects)

    def _stamp_after(self, seconds: float) -> str:
        return stamp(self.clock.after(seconds))

    def _record_attempt(self, tx: Transaction, item: Item, error: str, attempt: int) -> None:
        tx.items.record_attempt(item.id, attempt, self.clock.stamp(), _truncate(error))

    def _mark_dead(self, tx: Transaction, item: Item, dead: Dead, attempt: int) -> dict[str, Any]:
        """Returns what the journal tells of it."""
        error = _truncate(dead.error)
        self._record_attempt(tx, item, dead.error, attempt)
        tx.items.mark_dead(item.id, self.clock.stamp(), attempt)
        self.on_dead(tx, item, error, self.clock.stamp())
        return {"topic": DEAD_LETTER, "dead_letter_id": str(item.id), "kind": item.kind, "detail": error}


def _truncate(error: str) -> str:
    """As it is kept: of a bounded length, and without halves of characters, which no database takes."""
    return error[:MAX_ERROR].encode("utf-8", "backslashreplace").decode()
