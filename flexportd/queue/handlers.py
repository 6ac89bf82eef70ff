"""What the queue can hold: a kind says how its items are run."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from flexportd.outcome import Outcome
from flexportd.storage.repositories.items import Item
from flexportd.storage.transaction import Session

# The priorities of items, most urgent first.
INTERACTIVE, WEBHOOK, EVENTS, SYNC = range(4)

Buried = Callable[[Session, Item, str, str], None]


def _nothing_more(tx: Session, item: Item, error: str, at: str) -> None:
    """Nothing but the item itself needs to know."""


@dataclass(frozen=True, kw_only=True)
class Applying:
    """Items whose effect is in the database alone: run in batches, effect and completion in one transaction.

    No lease is needed: a crash undoes both. `apply` asks its last argument between items whether to end early, and
    leaves the rest untouched.
    """

    name: str
    apply: Callable[[Session, Sequence[Item], Callable[[], bool]], list[tuple[Item, Outcome]]]
    buried: Buried = _nothing_more
    committed: Callable[[], None] = lambda: None


@dataclass(frozen=True, kw_only=True)
class Leasing:
    """Items whose effect is elsewhere (a request, a message): leased one by one, run side by side between lanes."""

    name: str
    handle: Callable[[Item], Awaitable[Outcome]]
    buried: Buried = _nothing_more


Kind = Applying | Leasing
