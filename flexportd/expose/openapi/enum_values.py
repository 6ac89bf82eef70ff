"""The words of a filter: those that are published, and those that the store holds; any other is a mistake."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from flexportd.core.resources.known_values import event_types, known_values
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import InvalidError
from flexportd.escape import closest_match
from flexportd.expose.context import DB
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.resources import Table
from flexportd.storage.transaction import Transaction

_MAX_LISTED = 60  # words that an error names

# What keeps a list to the rows that its reader may see: no word of another's rows is told.
_ACCESS_FILTERS = ("audience", "for_customers")


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The words of one filter. `holds` says whether any row that these filters let through has a word.

    `seen` are the words that the store holds, `held` says whether a word was there once.
    """

    published: Callable[[], Sequence[str]]
    is_stored: Callable[[Transaction, str, Mapping[str, Sequence[Any]]], bool]
    stored_words: Callable[[Transaction], Sequence[str]]
    was_stored: Callable[[Transaction, str], bool] = lambda _tx, _word: False

    @functools.cached_property
    def known(self) -> frozenset[str]:
        """The published words."""
        return frozenset(self.published())


@dataclass(frozen=True)
class UnknownWords:
    """Words of a filter that nobody published: whether the store has them has yet to be looked up."""

    parameter: str
    vocabulary: Vocabulary
    words: Sequence[str]


def column_vocabulary(domain: ResourceType, table: Table, name: str, column: str) -> Vocabulary:
    """The words of a filter of a domain's list that asks for one of several values of a column."""

    def holds(tx: Transaction, word: str, filters: Mapping[str, Sequence[Any]]) -> bool:
        return tx.resources.has_any(table, {**filters, name: (msgspec.json.encode([word]).decode(),)})

    return Vocabulary(
        lambda: known_values(domain, column),
        holds,
        lambda tx: tx.resources.distinct_values(table, column, _MAX_LISTED),
        lambda tx, word: tx.changes.had_value(domain.name, column, msgspec.json.encode(word).decode()),
    )


EVENT_TYPES = Vocabulary(
    event_types,
    lambda tx, word, _: bool(tx.events.page(PageRequest(1, "seq", filters={"type": (word,)}))),
    lambda tx: tx.events.types(_MAX_LISTED),
)


async def check_words(
    request: web.Request, unproven: Sequence[UnknownWords], filters: Mapping[str, Sequence[Any]], at: str | None
) -> None:
    """Look up the words that nobody published; with `at`, also whether they were there once.

    Raises InvalidError for one that the store does not have: it names the nearest known word and those allowed.
    """
    if not unproven:
        return
    own = {name: filters[name] for name in _ACCESS_FILTERS if name in filters}

    def read(tx: Transaction) -> InvalidError | None:
        for one in unproven:
            for word in one.words:
                there = one.vocabulary.is_stored(tx, word, own) or (
                    at is not None and one.vocabulary.was_stored(tx, word)
                )
                if not there:
                    seen = [] if own else one.vocabulary.stored_words(tx)
                    allowed = sorted({*one.vocabulary.known, *seen})
                    return InvalidError(not_allowed_message(one.parameter, word, allowed), one.parameter)
        return None

    error = await request.app[DB].read(read)
    if error is not None:
        raise error


def not_allowed_message(name: str, word: str, allowed: Sequence[str]) -> str:
    """What is told of a word that is not allowed: the nearest one that is, and all of them."""
    near = closest_match(word, allowed)
    listed = ", ".join(allowed[:_MAX_LISTED]) + (", …" if len(allowed) > _MAX_LISTED else "")
    guess = "" if near is None else f"did you mean {near}? "
    return f"{name} is {word[:50]!r}; {guess}{'Allowed' if guess else 'allowed'} are {listed or 'none'}"
