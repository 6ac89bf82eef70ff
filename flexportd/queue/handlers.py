"""What the queue can hold: a kind says how its items are run."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flexportd.outcome import Outcome
from flexportd.storage.repositories.items import Item
from flexportd.storage.transaction import Transaction

# The priorities of items, most urgent first.
INTERACTIVE, WEBHOOK, EVENTS, SYNC = range(4)

OnDead = Callable[[Transaction, Item, str, str], None]


def _no_op(tx: Transaction, item: Item, error: str, at: str) -> None:
    """Nothing but the item itself needs to know."""


@dataclass(frozen=True, kw_only=True)
class BatchHandler:
    """Items whose effect is in the database alone: run in batches, effect and completion in one transaction.

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
    """Items whose effect is elsewhere (a request, a message): leased one by one, run side by side between lanes."""

    name: str
    handle: Callable[[Item], Awaitable[Outcome]]
    on_dead: OnDead = _no_op


Handler = BatchHandler | ItemHandler
