"""Filters that say themselves what they take: a list's parameters follow from its table."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_FROM = re.compile(r"\b(?:FROM|JOIN) (\w+)")
_ANY_OF = " IN (SELECT value FROM json_each(?))"

FilterKind = Literal["words", "text", "part", "id", "moment", "day", "truth"]


@dataclass(frozen=True, slots=True)
class Filter:
    """One question that a list may be asked.

    `takes` says what its value looks like: `words` a comma list, any of which may match; `text` one text, as it is;
    `part` a text anywhere in a value (for LIKE, escaped); `id` an id, number or text; `moment` a day or time;
    `day` a calendar day; `truth` true or false. `where` has a `?` for each value; `otherwise` is what false asks.
    """

    value_kind: FilterKind
    where: str
    negated: str = ""


def any_of(column: str) -> Filter:
    """One of several values of a column."""
    return Filter("words", f"{column}{_ANY_OF}")


def any_of_column(where: str) -> str | None:
    """The column of a fragment that asks for one of several values, None for another: each value may be asked alone."""
    column = where.removesuffix(_ANY_OF)
    return column if column != where and column.isidentifier() else None


def referenced_tables(where: str) -> set[str]:
    """The tables that a fragment looks into."""
    return set(_FROM.findall(where))


def text(column: str) -> Filter:
    """Exactly this text; capital or small letters do not matter."""
    return Filter("text", f"{column} = ? COLLATE NOCASE")


def key(column: str) -> Filter:
    """A link to another object."""
    return Filter("id", f"{column} = ?")


def contains(*columns: str) -> Filter:
    """This text anywhere in one of these columns."""
    return Filter("part", "(" + " OR ".join(f"{column} LIKE ? ESCAPE '\\'" for column in columns) + ")")


def list_contains(column: str) -> Filter:
    """One entry of a column that holds a JSON list of texts."""
    where = f"EXISTS (SELECT 1 FROM json_each({column}) entry WHERE entry.value = ? COLLATE NOCASE)"  # noqa: S608
    return Filter("text", where)


def has_entry(listed: str) -> Filter:
    """One entry of a column that holds a JSON list, where the entries are kept apart: `products.hs_codes`."""
    return Filter("text", f"id IN (SELECT key FROM list_entries WHERE listed = '{listed}' AND value = ?)")  # noqa: S608


def since(column: str) -> Filter:
    """At this time or later."""
    return Filter("moment", f"{column} >= ?")


def before(column: str) -> Filter:
    """Before this time."""
    return Filter("moment", f"{column} < ?")


def from_day(column: str) -> Filter:
    """On this day or later."""
    return Filter("day", f"{column} >= ?")


def before_day(column: str) -> Filter:
    """Before this day."""
    return Filter("day", f"{column} < ?")


def is_present(column: str) -> Filter:
    """Whether a column has a value."""
    return Filter("truth", f"{column} IS NOT NULL", f"{column} IS NULL")


def is_true(column: str) -> Filter:
    """A column that is true or false."""
    return Filter("truth", f"{column} = 1", f"{column} = 0")


def fragments(asks: Mapping[str, Filter]) -> dict[str, str]:
    """Each filter's fragment by name; what false asks is `not_` and the name."""
    found = {name: asked.where for name, asked in asks.items()}
    return found | {f"not_{name}": asked.negated for name, asked in asks.items() if asked.negated}
