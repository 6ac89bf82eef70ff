"""What the queue can hold: a kind says how its items are run."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

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

    No lease is needed: a crash undoes both. `apply` asks its last argument between items whether to end early, and
    leaves the rest untouched.
    """

    name: str
    apply: Callable[[Transaction, Sequence[Item], Callable[[], bool]], list[tuple[Item, Outcome]]]
    on_dead: OnDead = _no_op
    on_commit: Callable[[], None] = lambda: None


@dataclass(frozen=True, kw_only=True)
class ItemHandler:
    """Items whose effect is elsewhere (a request, a message): leased one by one, run side by side between lanes."""

    name: str
    handle: Callable[[Item], Awaitable[Outcome]]
    on_dead: OnDead = _no_op


Handler = BatchHandler | ItemHandler
