"""The values of a filter: the documented ones and those that are stored; any other is an error."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from flexportd.core.changes import topics
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import InvalidError
from flexportd.escape import closest_match
from flexportd.expose.context import DB
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.queries.table import Table
from flexportd.storage.transaction import Transaction

_MAX_LISTED = 60  # words that an error names

# These limit a list to the rows that the caller may see: an error must not reveal values of other rows.
_ACCESS_FILTERS = ("audience", "for_customers")


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The words of one filter. `is_stored` says whether any row that matches these filters has a word.

    `was_stored` says whether any row ever had it.
    """

    published: Callable[[], Sequence[str]]
    is_stored: Callable[[Transaction, str, Mapping[str, Sequence[Any]]], bool]
    stored_words: Callable[[Transaction], Sequence[str]]
    was_stored: Callable[[Transaction, str], bool] = lambda _tx, _word: False

    @functools.cached_property
    def known(self) -> frozenset[str]:
        """The documented words."""
        return frozenset(self.published())


@dataclass(frozen=True)
class UnknownWords:
    """Undocumented words of a filter; `check_words` looks them up in the database."""

    parameter: str
    vocabulary: Vocabulary
    words: Sequence[str]


def column_vocabulary(domain: ResourceType, table: Table, name: str, column: str) -> Vocabulary:
    """The words of a filter of a resource's list for values of a column."""

    def is_stored(tx: Transaction, word: str, filters: Mapping[str, Sequence[Any]]) -> bool:
        return tx.resources.has_any(table, {**filters, name: (msgspec.json.encode([word]).decode(),)})

    return Vocabulary(
        lambda: domain.known_values(column),
        is_stored,
        lambda tx: tx.resources.distinct_values(table, column, _MAX_LISTED),
        lambda tx, word: tx.changes.had_value(domain.name, column, msgspec.json.encode(word).decode()),
    )


EVENT_TYPES = Vocabulary(
    lambda: topics.EVENT_TYPES,
    lambda tx, word, _: bool(tx.events.page(PageRequest(1, "seq", filters={"type": (word,)}))),
    lambda tx: tx.events.types(_MAX_LISTED),
)


async def check_words(
    request: web.Request, unknown: Sequence[UnknownWords], filters: Mapping[str, Sequence[Any]], at: str | None
) -> None:
    """Look up undocumented words; with `at`, also among former values.

    Raises InvalidError for one that is not stored: it names the nearest known word and those allowed.
    """
    if not unknown:
        return
    own = {name: filters[name] for name in _ACCESS_FILTERS if name in filters}

    def read(tx: Transaction) -> InvalidError | None:
        for one in unknown:
            for word in one.words:
                vocabulary = one.vocabulary
                if vocabulary.is_stored(tx, word, own) or (at is not None and vocabulary.was_stored(tx, word)):
                    continue
                stored = [] if own else vocabulary.stored_words(tx)
                allowed = sorted({*vocabulary.known, *stored})
                return InvalidError(not_allowed_message(one.parameter, word, allowed), one.parameter)
        return None

    error = await request.app[DB].read(read)
    if error is not None:
        raise error


def not_allowed_message(name: str, word: str, allowed: Sequence[str]) -> str:
    """The message for a word that is not allowed: the nearest one that is, and all of them."""
    near = closest_match(word, allowed)
    listed = ", ".join(allowed[:_MAX_LISTED]) + (", …" if len(allowed) > _MAX_LISTED else "")
    guess = "" if near is None else f"did you mean {near}? "
    return f"{name} is {word[:50]!r}; {guess}{'Allowed' if guess else 'allowed'} are {listed or 'none'}"
