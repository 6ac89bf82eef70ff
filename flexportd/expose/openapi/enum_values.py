"""The words of a filter: those that are published, and those that the store holds; any other is a mistake."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from flexportd.core.resources.known_values import event_types, known_words
from flexportd.core.resources.resource_type import Domain
from flexportd.errors import InvalidError
from flexportd.escape import nearest
from flexportd.expose.context import PARTS
from flexportd.storage.queries.list_query import Page
from flexportd.storage.repositories.resources import Table
from flexportd.storage.transaction import Session

_MOST_LISTED = 60  # words that an error names

# What keeps a list to the rows that its reader may see: no word of another's rows is told.
_OF_READERS = ("audience", "for_customers")


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The words of one filter. `holds` says whether any row that these filters let through has a word.

    `seen` are the words that the store holds, `held` says whether a word was there once.
    """

    published: Callable[[], Sequence[str]]
    holds: Callable[[Session, str, Mapping[str, Sequence[Any]]], bool]
    seen: Callable[[Session], Sequence[str]]
    held: Callable[[Session, str], bool] = lambda _tx, _word: False

    @functools.cached_property
    def known(self) -> frozenset[str]:
        """The published words."""
        return frozenset(self.published())


@dataclass(frozen=True)
class Unproven:
    """Words of a filter that nobody published: whether the store has them has yet to be looked up."""

    parameter: str
    vocabulary: Vocabulary
    words: Sequence[str]


def of_table(domain: Domain, table: Table, name: str, column: str) -> Vocabulary:
    """The words of a filter of a domain's list that asks for one of several values of a column."""

    def holds(tx: Session, word: str, filters: Mapping[str, Sequence[Any]]) -> bool:
        return tx.resources.has_any(table, {**filters, name: (msgspec.json.encode([word]).decode(),)})

    return Vocabulary(
        lambda: known_words(domain, column),
        holds,
        lambda tx: tx.resources.words(table, column, _MOST_LISTED),
        lambda tx, word: tx.changes.had(domain.name, column, msgspec.json.encode(word).decode()),
    )


EVENT_TYPES = Vocabulary(
    event_types,
    lambda tx, word, _: bool(tx.events.page(Page(1, "seq", filters={"type": (word,)}))),
    lambda tx: tx.events.types(_MOST_LISTED),
)


async def prove(
    request: web.Request, unproven: Sequence[Unproven], filters: Mapping[str, Sequence[Any]], at: str | None
) -> None:
    """Look up the words that nobody published; with `at`, also whether they were there once.

    Raises InvalidError for one that the store does not have: it names the nearest known word and those allowed.
    """
    if not unproven:
        return
    own = {name: filters[name] for name in _OF_READERS if name in filters}

    def read(tx: Session) -> InvalidError | None:
        for one in unproven:
            for word in one.words:
                there = one.vocabulary.holds(tx, word, own) or (at is not None and one.vocabulary.held(tx, word))
                if not there:
                    seen = [] if own else one.vocabulary.seen(tx)
                    allowed = sorted({*one.vocabulary.known, *seen})
                    return InvalidError(refusal(one.parameter, word, allowed), one.parameter)
        return None

    error = await request.app[PARTS].db.read(read)
    if error is not None:
        raise error


def refusal(name: str, word: str, allowed: Sequence[str]) -> str:
    """What is told of a word that is not allowed: the nearest one that is, and all of them."""
    near = nearest(word, allowed)
    listed = ", ".join(allowed[:_MOST_LISTED]) + (", …" if len(allowed) > _MOST_LISTED else "")
    guess = "" if near is None else f"did you mean {near}? "
    return f"{name} is {word[:50]!r}; {guess}{'Allowed' if guess else 'allowed'} are {listed or 'none'}"
