"""Filters of lists: each is defined once. Its SQL, query parameter, API description and CLI option follow from it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

Operator = Literal["=", "in", "<", ">=", ">", "contains", "not null", "null", "subquery", "expression"]
"""How a filter compares its column. `subquery` looks its column up in other rows; `expression` is any other SQL."""

ValueType = Literal[
    "word", "words", "text", "substring", "id", "number", "time", "day", "day_or_time", "boolean", "filter"
]
"""What a filter's parameter takes.

`word` is one word and `words` a comma list of which any matches; `text` is compared whole and `substring` found
anywhere; `id` is an object's id and `number` one that is always a number; `day_or_time` is a day, or a time for the
filter `<name>_at`; `filter` is the name of another filter.
"""


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter of a list; its condition has a `?` for each value.

    A filter without a value type is internal: no parameter has its name. `choices` are all words that it takes; without
    them, any. `description` completes what follows from the name and the type. `negation` is what false selects.
    `tables` are the other tables that its condition reads. A `selective` filter has an index of its own.
    """

    operator: Operator
    column: str
    condition: str
    value_type: ValueType | None = None
    description: str = ""
    choices: tuple[str, ...] = ()
    negation: "Filter | None" = None
    tables: frozenset[str] = frozenset()
    selective: bool = False
    default: str | bool | None = None

    def internal(self) -> "Filter":
        """The same filter without a parameter."""
        return replace(self, value_type=None)

    def bind(self, values: Sequence[Any]) -> list[Any]:
        """The values of the condition's `?`."""
        if self.operator == "contains":
            return [like_pattern(values[0])] * self.condition.count("?")
        return list(values)

    def selection(self, name: str, value: Any) -> tuple[str, tuple[Any, ...]]:
        """The filter of the list that a parameter's value selects, and its values."""
        if self.value_type == "boolean":
            return (name if value else f"not_{name}"), ()
        if self.value_type == "filter":
            return value, ()
        if self.value_type == "day_or_time" and len(value) > len("2026-03-21"):
            return f"{name}_at", (value,)
        return name, (value,)


def with_negations(filters: Mapping[str, Filter]) -> dict[str, Filter]:
    """The filters with their negations, each named `not_` and the name."""
    negations = {f"not_{name}": one.negation for name, one in filters.items() if one.negation is not None}
    return {**filters, **negations}


def like_pattern(text: str) -> str:
    r"""The pattern of LIKE for this text anywhere, with `\\` as its escape."""
    literal = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{literal}%"


def _compare(
    operator: Literal["<", ">=", ">"], column: str, value_type: ValueType | None, description: str = ""
) -> Filter:
    return Filter(operator, column, f"{column} {operator} ?", value_type, description)


def any_of(column: str) -> Filter:
    """One of several values of a column."""
    condition = f"{column} IN (SELECT value FROM json_each(?))"  # noqa: S608 (a declared column)
    return Filter("in", column, condition, "words")


def equals(column: str) -> Filter:
    """Exactly this text; case does not matter."""
    return Filter("=", column, f"{column} = ? COLLATE NOCASE", "text")


def word(column: str, *choices: str, description: str = "") -> Filter:
    """One word."""
    return Filter("=", column, f"{column} = ?", "word", description, choices)


def key(column: str) -> Filter:
    """The id of another object."""
    return Filter("=", column, f"{column} = ?", "id")


def number(column: str, description: str = "") -> Filter:
    """An id that is a number."""
    return Filter("=", column, f"{column} = ?", "number", description)


def contains(*columns: str) -> Filter:
    """This text anywhere in one of these columns."""
    condition = " OR ".join(f"{column} LIKE ? ESCAPE '\\'" for column in columns)
    return Filter("contains", columns[0], f"({condition})", "substring")


def since(column: str) -> Filter:
    """At this time or later."""
    return _compare(">=", column, "time")


def before(column: str) -> Filter:
    """Before this time."""
    return _compare("<", column, "time")


def after_number(column: str) -> Filter:
    """Numbers greater than this one; no parameter."""
    return _compare(">", column, None)


def from_day(column: str, description: str = "") -> Filter:
    """On this day or later."""
    return _compare(">=", column, "day", description)


def before_day(column: str, description: str = "") -> Filter:
    """Before this day."""
    return _compare("<", column, "day", description)


def is_present(column: str, description: str, *, default: bool | None = None) -> Filter:
    """Whether a column has a value."""
    condition, negation = f"{column} IS NOT NULL", is_null(column)
    return Filter(
        "not null", column, condition, "boolean", description, negation=negation, selective=True, default=default
    )


def is_null(column: str) -> Filter:
    """Without a value in this column; no parameter."""
    return Filter("null", column, f"{column} IS NULL")


def is_true(column: str, description: str) -> Filter:
    """A column that is true or false."""
    return Filter("=", column, f"{column} = 1", "boolean", description, negation=Filter("=", column, f"{column} = 0"))


def is_one_of(column: str, values: Iterable[str]) -> Filter:
    """One of these values of a column; no parameter."""
    listed = ", ".join(f"'{value}'" for value in values)
    return expression(f"{column} IN ({listed})")


def expression(
    condition: str, value_type: ValueType | None = None, description: str = "", *, tables: Iterable[str] = ()
) -> Filter:
    """Any other condition."""
    return Filter("expression", "", condition, value_type, description, tables=frozenset(tables))


def choice_of_filters(*choices: str, default: str, description: str) -> Filter:
    """The name of one of these filters, which take no values."""
    return Filter("expression", "", "1", "filter", description, choices, default=default)


def subquery(
    column: str, select: str, *tables: str, value_type: ValueType | None = None, description: str = ""
) -> Filter:
    """A column's value is among what a SELECT over other tables finds."""
    condition = f"{column} IN ({select})"
    return Filter("subquery", column, condition, value_type, description, tables=frozenset(tables))


def list_contains(column: str) -> Filter:
    """One entry of a column that holds a JSON list of texts."""
    return expression(
        f"EXISTS (SELECT 1 FROM json_each({column}) entry WHERE entry.value = ? COLLATE NOCASE)",  # noqa: S608
        "text",
    )


def has_entry(listed: str, value_type: ValueType = "text") -> Filter:
    """One entry of a column that holds a JSON list and is indexed in `list_entries`: `products.hs_codes`."""
    select = f"SELECT key FROM list_entries WHERE listed = '{listed}' AND value = ?"  # noqa: S608 (a declared name)
    return subquery("id", select, "list_entries", value_type=value_type)


def has_amount(column: str, description: str) -> Filter:
    """Whether an amount is known and not zero. Amounts have one spelling: zero is "0"."""
    negation = expression(f"{column} IS NULL OR {column} = '0'")
    amount = expression(f"{column} <> '0'", "boolean", description)
    return replace(amount, negation=negation, selective=True)
