"""How the queue runs items: priorities, handlers, retries, and what an outcome does to its item."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from flexportd.clock import Clock, stamp
from flexportd.outcome import Dead, Outcome, Retry, Snooze
from flexportd.settings import Settings
from flexportd.storage.repositories.items import Item
from flexportd.storage.transaction import Transaction

MAX_ERROR = 2000  # characters of an error that are stored
DEAD_LETTER = "system.dead_letter"  # the topic of a notice in the change log

OnDead = Callable[[Transaction, Item, str, str], None]
"""(transaction, item, error, when)."""

OnRetry = Callable[[Transaction, Item, str], None]
"""(transaction, dead letter, when): it is retried."""

OnDiscard = Callable[[Transaction, Item, str, str, str], None]
"""(transaction, dead letter, when, by whom, why): it is discarded."""


def _no_op(*_: object) -> None:
    pass  # nothing else depends on the item


@dataclass(frozen=True, kw_only=True)
class BatchHandler:
    """Items that change only the database: run in batches, effect and completion in one transaction.

    No lease is needed: a crash undoes both. Between items, `apply` calls its last argument to learn whether to end
    early; it then leaves the rest untouched. It returns the outcomes and its effects, which `on_commit` receives after
    the commit, or None when only the state of items has changed.
    """

    name: str
    apply: Callable[[Transaction, Sequence[Item], Callable[[], bool]], tuple[Sequence[tuple[Item, Outcome]], Any]]
    on_dead: OnDead = _no_op
    on_commit: Callable[[Any], None] = lambda _: None


@dataclass(frozen=True, kw_only=True)
class ItemHandler:
    """Items with effects elsewhere, such as a request: leased one by one, run concurrently, in order within a lane.

    `on_dead`, `on_retry` and `on_discard` keep what an item is about in the state of the item, in its transaction;
    `on_commit` is called after the outcome of an item is stored.
    """

    name: str
    handle: Callable[[Item], Awaitable[Outcome]]
    on_dead: OnDead = _no_op
    on_retry: OnRetry = _no_op
    on_discard: OnDiscard = _no_op
    on_commit: Callable[[], None] = _no_op


Handler = BatchHandler | ItemHandler


class PauseGate:
    """What a worker waits at: opened by `wake`, shut while paused or closed."""

    def __init__(self) -> None:
        self._work = asyncio.Event()
        self._running = asyncio.Event()
        self._running.set()
        self.closed = False

    def wake(self) -> None:
        """There may be work."""
        self._work.set()

    def set_paused(self, *, paused: bool) -> None:
        """Pause or resume."""
        if paused:
            self._running.clear()
        else:
            self._running.set()
            self._work.set()

    def close(self) -> None:
        """Let the worker end."""
        self.closed = True
        self._running.set()
        self._work.set()

    async def wait(self, seconds: float | None) -> bool:
        """Wait for work, at most `seconds`, and until not paused; False when closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._work.wait()
        await self._running.wait()
        self._work.clear()
        return not self.closed


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how long to retry; times in seconds."""

    max_attempts: int = 8
    base_delay: float = 2.0
    max_delay: float = 900.0

    @classmethod
    def from_settings(cls, settings: Settings) -> "Policy":
        """What `[queue]` says."""
        queue = settings.queue
        return cls(queue.max_attempts, queue.base_delay.total_seconds(), queue.max_delay.total_seconds())


def next_delay(attempt: int, failure: Retry, policy: Policy, jitter: float) -> float | Dead:
    """Seconds until the next attempt after number `attempt` (from 1) failed, or Dead if it was the last.

    Full jitter below a doubling bound; `jitter` is in [0, 1). The Retry-After of the other side is a minimum.
    """
    if attempt >= policy.max_attempts:
        return Dead(failure.error)
    bound = min(policy.max_delay, policy.base_delay * 2.0 ** min(attempt - 1, 64))
    return max(bound * jitter, failure.retry_after)


@dataclass(frozen=True, slots=True)
class BatchResult:
    """How many items left the queue, how many of them as dead letters, and how many are retried."""

    finished: int
    dead: int
    retried: int
    effects: Any = None  # for the handler's `on_commit`


@dataclass(frozen=True, slots=True)
class Completion:
    """Writes what an outcome does to its item, inside the transaction of its effect."""

    policy: Policy
    on_dead: OnDead
    clock: Clock

    def complete(
        self, tx: Transaction, done: Iterable[tuple[Item, Outcome]], *, counted: bool, effects: Any = None
    ) -> BatchResult:
        """Finish, postpone or mark dead each item. `counted`: the item's `attempts` includes this one already."""
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
        """Returns the notice for the change log."""
        error = _truncate(dead.error)
        self._record_attempt(tx, item, dead.error, attempt)
        tx.items.mark_dead(item.id, self.clock.stamp(), attempt)
        self.on_dead(tx, item, error, self.clock.stamp())
        return {"topic": DEAD_LETTER, "dead_letter_id": str(item.id), "kind": item.kind, "detail": error}


def _truncate(error: str) -> str:
    """Cut to the limit, without lone surrogates, which the database refuses."""
    return error[:MAX_ERROR].encode("utf-8", "backslashreplace").decode()
