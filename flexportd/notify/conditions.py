"""The conditions of a rule: parsed once, with every problem, and evaluated for each message with the reason.

`when` is a table: each field has a condition, and all of them must hold. A number means at least; a text, list, day or
switch means equality; a table says more (`{ at_least = 2, below = 10 }`, `{ not = "air" }`, `{ any = [...] }`). The
keys `any`, `all` and `not` combine tables. An unknown value matches only `is_set = false` and `not`.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from flexportd.core.changes.topics import Patterns
from flexportd.core.resources.money import amount, format_number
from flexportd.notify.fields import FieldKind, RuleField, as_list
from flexportd.settings import format_value, suggest

MAX_CONDITIONS = 200
_MAX_DEPTH = 8  # tables inside tables
_MAX_DAYS = 3650
_MAX_TEXT = 80  # characters of a value in a sentence
_MAX_REASON = 500  # characters
_MAX_HINTS = 20  # problems of one rule with a suggestion, which takes a millisecond
_MAX_NAMES = 20  # fields that a problem lists
_CURRENCY = re.compile(r"[A-Za-z]{3}")

ConditionPath = tuple[str | int, ...]


class Verdict(NamedTuple):
    """Whether a message matches, and the reason in a sentence without a full stop."""

    matched: bool
    reason: str


class Values(Protocol):
    """The values of a message by the name of the field; None for an unknown one."""

    def get(self, name: str, /) -> Any:
        """The value of a field."""


class RuleCondition(Protocol):
    """A parsed condition."""

    def evaluate(self, values: Values, today: date) -> Verdict:
        """Whether the values match. `today` is the day in the time zone of the rule. Never raises."""


class ConditionProblem(NamedTuple):
    """A part of `when` that cannot be used: its place, and a sentence."""

    path: ConditionPath
    text: str


@dataclass(frozen=True, slots=True)
class AllOf:
    """All parts match."""

    parts: Sequence[RuleCondition]

    def evaluate(self, values: Values, today: date) -> Verdict:
        """Whether all parts match; the reason names those that do not."""
        verdicts = [part.evaluate(values, today) for part in self.parts]
        failed = [verdict for verdict in verdicts if not verdict.matched]
        if not verdicts:
            return Verdict(True, "there are no conditions")
        return Verdict(not failed, _join(failed or verdicts))


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part matches."""

    parts: Sequence[RuleCondition]

    def evaluate(self, values: Values, today: date) -> Verdict:
        """Whether one part matches; the reason names the first one that does."""
        verdicts = [part.evaluate(values, today) for part in self.parts]
        matching = next((verdict for verdict in verdicts if verdict.matched), None)
        return matching or Verdict(False, _join(verdicts))


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not match."""

    part: RuleCondition

    def evaluate(self, values: Values, today: date) -> Verdict:
        """Whether the part does not match."""
        matched, reason = self.part.evaluate(values, today)
        return Verdict(not matched, f"{reason}, which the rule excludes" if matched else reason)


@dataclass(frozen=True, slots=True)
class IsSet:
    """The value is known, or is not."""

    name: str
    wanted: bool

    def evaluate(self, values: Values, _: date) -> Verdict:
        """Whether it is as wanted."""
        value = values.get(self.name)
        is_set = value not in (None, "", [], (), "[]", "{}")
        return Verdict(is_set == self.wanted, f"{self.name} is {'' if is_set else 'not '}set")


@dataclass(frozen=True, slots=True)
class ValueTest:
    """One comparison. `words` complete `mode is not ...`; an equality needs no words if it holds."""

    field: RuleField
    words: str
    check: Callable[[Any, date], bool]
    is_equality: bool = False

    def evaluate(self, values: Values, today: date) -> Verdict:
        """Whether the value passes."""
        value = _typed(self.field, values)
        if value is None:
            return Verdict(False, f"{self.field.name} is not known")
        subject = f"{self.field.name} is {_shown(value)}"
        if self.check(value, today):
            return Verdict(True, subject if self.is_equality else f"{subject}, {self.words}")
        return Verdict(False, f"{subject}, not {self.words}")


def _join(verdicts: Sequence[Verdict]) -> str:
    text = "; ".join(dict.fromkeys(verdict.reason for verdict in verdicts))
    return text if len(text) <= _MAX_REASON else f"{text[: _MAX_REASON - 3]}..."


# Values of messages, which may be anything.


class Amount(NamedTuple):
    """An amount of money."""

    number: Decimal
    currency: str | None


def _typed(field: RuleField, values: Values) -> Any:
    """The value for comparisons; None for one that is not known, or not of its kind."""
    value = values.get(field.name)
    if value is None:
        return None
    return _CONVERSIONS[field.kind](value, values.get(field.currency) if field.currency else None)


def _number_of(value: Any, _: Any = None) -> Decimal | None:
    return None if isinstance(value, bool) else amount(value)


def _money_of(value: Any, currency: Any) -> Amount | None:
    number = _number_of(value)
    return None if number is None else Amount(number, currency.upper() if isinstance(currency, str) else None)


def _day_of(value: Any, _: Any = None) -> date | None:
    """The day of a date or moment, at its own place."""
    try:
        return date.fromisoformat(str(value)[:10])
    except ValueError:
        return None


def _texts_of(value: Any, _: Any = None) -> list[str] | None:
    texts = [str(one) for one in as_list(value) if isinstance(one, str | int | float) and not isinstance(one, bool)]
    return [text for text in texts if text.strip()] or None


def _switch_of(value: Any, _: Any = None) -> bool | None:
    return bool(value) if value in (0, 1) else None


_CONVERSIONS: Mapping[FieldKind, Callable[[Any, Any], Any]] = {
    "number": _number_of,
    "money": _money_of,
    "day": _day_of,
    "text": _texts_of,
    "list": _texts_of,
    "id": _texts_of,
    "boolean": _switch_of,
}


def _shown(value: Any) -> str:
    if isinstance(value, list):
        text = ", ".join(value)
    elif isinstance(value, Amount):
        text = f"{format_number(value.number)} {value.currency or ''}".rstrip()
    elif isinstance(value, Decimal):
        text = format_number(value)
    else:
        text = str(value).lower() if isinstance(value, bool) else str(value)
    text = "".join(char if char.isprintable() else " " for char in text[: _MAX_TEXT + 1])
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 3]}..."


# Parsing


_ORDER: Mapping[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "at_least": ("at least", lambda value, limit: value >= limit),
    "at_most": ("at most", lambda value, limit: value <= limit),
    "above": ("above", lambda value, limit: value > limit),
    "below": ("below", lambda value, limit: value < limit),
}
_COMBINED = ("equals", "not", "any", "all", "is_set")
_OPERATORS: Mapping[FieldKind, tuple[str, ...]] = {
    "number": (*_ORDER, *_COMBINED),
    "money": (*_ORDER, "currency", *_COMBINED),
    "day": (*_ORDER, "within_days", "days_ago", *_COMBINED),
    "text": ("contains", *_COMBINED),
    "list": ("contains", *_COMBINED),
    "id": _COMBINED,
    "boolean": _COMBINED,
    "json": ("is_set",),
}
_EXPECTED: Mapping[FieldKind, str] = {
    "number": "a number",
    "money": 'an amount, such as 1000 or "1000.00"',
    "day": 'a day such as "2026-03-01"',
    "text": "a text",
    "list": "a text",
    "id": "an ID",
    "boolean": "true or false",
    "json": "{ is_set = true } or { is_set = false }",
}


@dataclass
class ConditionParser:
    """Parses the conditions of one rule, and collects their problems."""

    fields: Mapping[str, RuleField]
    problems: list[ConditionProblem] = field(default_factory=list)
    _count: int = 0

    def parse(self, when: Mapping[str, Any], path: ConditionPath = ()) -> RuleCondition:
        """The condition that a table states. What cannot be used is in `problems`."""
        return AllOf(tuple(self._entries(when, path)))

    def _entries(self, table: Mapping[str, Any], path: ConditionPath) -> Iterator[RuleCondition]:
        for name, value in table.items():
            place = (*path, name)
            if self._has_room(place):
                if name in ("any", "all"):
                    yield from self._combined(name, value, place)
                elif name == "not":
                    if isinstance(value, Mapping):
                        yield Not(self.parse(value, place))
                    else:
                        self._add(place, f"found {format_value(value)}; expected a table of conditions")
                else:
                    yield from self._named(name, value, place)

    def _has_room(self, place: ConditionPath) -> bool:
        self._count += 1
        if len(place) > _MAX_DEPTH:
            self._add(place, f"conditions may be nested at most {_MAX_DEPTH} deep")
            return False
        if self._count > MAX_CONDITIONS:
            self._add(place[:1], f"a rule may have at most {MAX_CONDITIONS} conditions")
            return False
        return True

    def _combined(self, name: str, value: Any, place: ConditionPath) -> Iterator[RuleCondition]:
        if not isinstance(value, list) or not value or not all(isinstance(one, Mapping) for one in value):
            self._add(place, f"found {format_value(value)}; expected a list of tables of conditions")
            return
        parts = tuple(self.parse(one, (*place, number)) for number, one in enumerate(value))
        yield AnyOf(parts) if name == "any" else AllOf(parts)

    def _named(self, name: str, value: Any, place: ConditionPath) -> Iterator[RuleCondition]:
        known = self.fields.get(name)
        if known is not None:
            yield from self._of_field(known, value, place)
        elif isinstance(value, Mapping) and any(key.startswith(f"{name}.") for key in self.fields):
            # `shipment.mode = "air"` is a table `shipment` in TOML.
            for inner, one in value.items():
                if self._has_room((*place, inner)):
                    yield from self._named(f"{name}.{inner}", one, (*place, inner))
        else:
            hint = f"; {_nearest(name, self.fields)}" if len(self.problems) < _MAX_HINTS else ""
            self._add(place, f"unknown field{hint}")

    def _of_field(self, known: RuleField, value: Any, place: ConditionPath) -> Iterator[RuleCondition]:
        if isinstance(value, Mapping):
            yield from self._operators(known, value, place)
        elif isinstance(value, list):
            yield from self._any_of(known, value, place)
        elif _is_number(value) and known.kind in ("number", "money"):
            yield from self._order(known, "at_least", value, place)
        else:
            yield from self._equality(known, value, place)

    def _operators(self, known: RuleField, table: Mapping[str, Any], place: ConditionPath) -> Iterator[RuleCondition]:
        allowed = _OPERATORS[known.kind]
        if not table:
            self._add(place, f"found an empty table; expected {', '.join(allowed)}")
        for name, value in table.items():
            inner = (*place, name)
            if name not in allowed:
                self._add(inner, f"unknown condition for {known.name}; {suggest(name, allowed, knows='it can have')}")
            elif self._has_room(inner):
                yield from self._operator(known, name, value, inner)

    def _operator(self, known: RuleField, name: str, value: Any, place: ConditionPath) -> Iterator[RuleCondition]:
        if name in _ORDER:
            yield from self._order(known, name, value, place)
        elif name == "equals":
            yield from self._equality(known, value, place)
        elif name == "not":
            yield Not(AllOf(tuple(self._value(known, value, place))))
        elif name == "any":
            yield from self._any_of(known, value, place)
        elif name == "all":
            if self._is_list(value, place):
                numbered = enumerate(value)
                yield AllOf(tuple(one for at, each in numbered for one in self._value(known, each, (*place, at))))
        elif name == "is_set":
            if isinstance(value, bool):
                yield IsSet(known.name, value)
            else:
                self._add(place, f"found {format_value(value)}; expected true or false")
        else:
            yield from self._special(known, name, value, place)

    def _special(self, known: RuleField, name: str, value: Any, place: ConditionPath) -> Iterator[RuleCondition]:
        if name == "contains":
            if isinstance(value, str) and value.strip():
                part = value.casefold()
                check = lambda texts, _: any(part in text.casefold() for text in texts)  # noqa: E731 (it is a value)
                yield ValueTest(known, f"containing {_shown(value)}", check)
            else:
                self._add(place, f"found {format_value(value)}; expected a text")
        elif name == "currency":
            if isinstance(value, str) and _CURRENCY.fullmatch(value):
                code = value.upper()
                yield ValueTest(known, f"in {code}", lambda found, _: found.currency == code)
            else:
                self._add(place, f'found {format_value(value)}; expected a currency code such as "USD"')
        elif not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_DAYS:
            self._add(place, f"found {format_value(value)}; expected a whole number from 0 to {_MAX_DAYS}")
        elif name == "within_days":
            words = f"within {_days(value)} from today"
            yield ValueTest(known, words, lambda day, today: timedelta(0) <= day - today <= timedelta(days=value))
        else:
            yield ValueTest(
                known, f"{_days(value)} ago or more", lambda day, today: today - day >= timedelta(days=value)
            )

    def _value(self, known: RuleField, value: Any, place: ConditionPath) -> Iterator[RuleCondition]:
        """An element of `any` or `all`, or what `not` excludes: a number means equality here."""
        if isinstance(value, Mapping):
            yield AllOf(tuple(self._operators(known, value, place)))
        elif isinstance(value, list):
            yield from self._any_of(known, value, place)
        else:
            yield from self._equality(known, value, place)

    def _any_of(self, known: RuleField, values: Any, place: ConditionPath) -> Iterator[RuleCondition]:
        if not self._is_list(values, place):
            return
        if any(isinstance(one, Mapping | list) for one in values) or known.kind not in ("text", "list", "id"):
            parts = [AllOf(tuple(self._value(known, one, (*place, at)))) for at, one in enumerate(values)]
            yield AnyOf(tuple(parts))
            return
        checks = [check for at, one in enumerate(values) if (check := self._equal_check(known, one, (*place, at)))]
        words = f"one of {', '.join(map(_shown, values))}" if len(values) > 1 else _shown(values[0])
        yield ValueTest(known, words, lambda found, _: any(check(found) for check in checks), is_equality=True)

    def _is_list(self, value: Any, place: ConditionPath) -> bool:
        if isinstance(value, list) and 0 < len(value) <= MAX_CONDITIONS:
            return True
        what = f"a list of {len(value)}" if isinstance(value, list) else format_value(value)
        self._add(place, f"found {what}; expected a list of 1 to {MAX_CONDITIONS}")
        return False

    def _order(self, known: RuleField, name: str, value: Any, place: ConditionPath) -> Iterator[RuleCondition]:
        limit = self._operand(known, value, place)
        if limit is not None:
            words, compare = _ORDER[name]
            yield ValueTest(known, f"{words} {_shown(limit)}", lambda found, _: compare(_comparable(found), limit))

    def _equality(self, known: RuleField, value: Any, place: ConditionPath) -> Iterator[RuleCondition]:
        check = self._equal_check(known, value, place)
        if check is not None:
            yield ValueTest(known, _shown(value), lambda found, _: check(found), is_equality=True)

    def _equal_check(self, known: RuleField, value: Any, place: ConditionPath) -> Callable[[Any], bool] | None:
        operand = self._operand(known, value, place)
        if operand is None:
            return None
        if known.kind in ("text", "list", "id"):
            pattern = Patterns([operand.casefold()])
            return lambda texts: any(pattern.match(text.strip().casefold()) for text in texts)
        return lambda found: bool(_comparable(found) == operand)

    def _operand(self, known: RuleField, value: Any, place: ConditionPath) -> Any:
        """A plain value of a rule in the type of its field; None, with a problem, for one of another type."""
        operand = _operand_of(known.kind, value)
        if operand is None:
            self._add(place, f"found {format_value(value)}; expected {_EXPECTED[known.kind]}")
        elif known.values and isinstance(operand, str) and not _is_known(operand, known.values):
            hint = suggest(operand, known.values, knows="expected one of")
            if known.is_open:
                hint += f'; write "{_shown(operand)}*" for a value that Flexport has added since'
            self._add(place, f"found {format_value(value)}; {hint}")
            return None
        return operand

    def _add(self, place: ConditionPath, text: str) -> None:
        self.problems.append(ConditionProblem(place, text))


def _comparable(value: Any) -> Any:
    return value.number if isinstance(value, Amount) else value


def _operand_of(kind: FieldKind, value: Any) -> Any:
    operand: Any = None
    if isinstance(value, bool):
        operand = value if kind == "boolean" else None
    elif kind == "number" or (kind == "money" and not isinstance(value, str)):
        operand = amount(value) if _is_number(value) else None
    elif kind == "money":
        operand = amount(value)
    elif kind == "day":
        is_day = isinstance(value, date) and not isinstance(value, datetime)
        operand = value if is_day else _day_of(value) if isinstance(value, str) and len(value) == 10 else None
    elif kind == "id":
        operand = str(value) if isinstance(value, int) or (isinstance(value, str) and value.strip()) else None
    elif kind in ("text", "list"):
        operand = value.strip() or None if isinstance(value, str) else None
    return operand


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_known(text: str, values: Iterable[str]) -> bool:
    """Whether a text, perhaps with stars, is one of the values. New values of Flexport can be written with a star."""
    return "*" in text or text.casefold() in {value.casefold() for value in values}


def _nearest(name: str, fields: Mapping[str, RuleField]) -> str:
    short = [known for known in fields if "." not in known]
    hint = suggest(name, fields if "." in name else short)
    if hint.startswith("did you mean"):
        return hint
    near = [known for known in short if len(name) > 2 and (name in known or known in name)]
    if near:
        return f"did you mean {min(near, key=len)}?"
    more = f" and {len(short) - _MAX_NAMES} more" if len(short) > _MAX_NAMES else ""
    return f"fields are {', '.join(short[:_MAX_NAMES])}{more}"


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"
