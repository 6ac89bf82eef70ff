"""Query and path parameters: each with its JSON schema and the parser of its text, which accept the same."""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from flexportd.clock import stamp
from flexportd.core.changes import topics
from flexportd.core.resources.resource_type import MAX_ID_LENGTH, ResourceType
from flexportd.core.search.query import IDENTIFYING
from flexportd.errors import InvalidError
from flexportd.escape import closest_match
from flexportd.expose.context import DB
from flexportd.expose.openapi.route import Parameter
from flexportd.storage.queries.filters import Filter
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.queries.table import Key, Table
from flexportd.storage.transaction import Transaction

# Blank characters, the same in our JSON schemas and in our code. Python and ECMAScript, whose rules JSON Schema
# follows, differ on characters such as U+001D and U+FEFF, so they are listed here.
_BLANK = r"\s\u0001-\u001f\u0085\ufeff"

# Both name the first non-blank character, so that a text matches in one way only (no backtracking).
NOT_BLANK = rf"^[{_BLANK}]*[^{_BLANK}\u0000][^\u0000]*$"
"""At least one non-blank character, and no NUL."""

NOT_BLANK_WORD = rf"^[{_BLANK}]*[^,{_BLANK}\u0000][^,\u0000]*$"
"""The same without commas: one word of a list."""

LINE = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\ufeff\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
"""One line, not blank."""

_BLANKS = "\0" + "".join(
    char for char in map(chr, (*range(1, 0x3001), 0xFEFF)) if re.fullmatch(f"[{_BLANK}]", char)
)  # fmt: skip


def strip(text: str) -> str:
    """The text without leading and trailing blanks."""
    return text.strip(_BLANKS)


MAX_VALUE = 1000  # characters of one value
MAX_VALUES = 50
MAX_CURSOR = 6000  # characters
EXTENSIBLE = "x-extensible-enum"
"""The keyword of a schema for known values of an open set (Zalando's RESTful API guidelines)."""

Schema = Mapping[str, Any]
"""A JSON schema."""

Parser = Callable[[str, str], Any]
"""(parameter, text) -> value. Raises InvalidError that names the parameter."""

DAY: Schema = {"type": "string", "format": "date"}
TIME: Schema = {"anyOf": [{"type": "string", "format": "date-time"}, DAY]}
TEXT: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_VALUE, "pattern": NOT_BLANK}
DIGITS: Schema = {"type": "string", "pattern": "^[0-9]{1,18}$"}
SHIPMENT_ID: Schema = {"type": "string", "pattern": "^([Ff][Ll][Ee][Xx]-)?[0-9]{1,18}$"}

_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_ANY_WORDS = "Undocumented values that Flexport has sent are allowed too; any other value is an error."
_ABBREVIATIONS = {"sku": "SKU", "po": "purchase order", "hs": "HS", "iata": "IATA code", "unlocode": "UN/LOCODE"}
_BOUNDS = {"since": "on or after", "after": "on or after", "before": "before"}


_MAX_LISTED = 60  # words that an error names

# These limit a list to the rows that the caller may see: an error must not reveal values of other rows.
_ACCESS_FILTERS = ("audience", "for_customers")


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The words of a filter; whether a row that matches these filters has a word, and whether one ever had it."""

    published: Callable[[], Sequence[str]]
    is_stored: Callable[[Transaction, str, Mapping[str, Sequence[Any]]], bool]
    stored_words: Callable[[Transaction], Sequence[str]]
    was_stored: Callable[[Transaction, str], bool] = lambda _tx, _word: False

    @functools.cached_property
    def known(self) -> frozenset[str]:
        """The documented words."""
        return frozenset(self.published())


class UnknownWords(NamedTuple):
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
    """Look up undocumented words; with `at`, also former ones. Raises InvalidError, which names the nearest known."""
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


def parse_integer(name: str, text: str, lowest: int, highest: int) -> int:
    """A whole number within bounds."""
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 20):
        raise InvalidError(f"{name} is {text[:50]!r}; a whole number from {lowest} to {highest} is allowed", name)
    number = int(text)
    if not lowest <= number <= highest:
        raise InvalidError(f"{name} is {number}; from {lowest} to {highest} is allowed", name)
    return number


def parse_choice(name: str, text: str, allowed: Sequence[str]) -> str:
    """One of a few words."""
    if text not in allowed:
        raise InvalidError(not_allowed_message(name, text, allowed), name)
    return text


def parse_choices(name: str, text: str, allowed: Sequence[str]) -> tuple[str, ...]:
    """A comma list of a few words."""
    words = tuple(filter(None, map(strip, text.split(","))))
    if not words:
        raise InvalidError(f"{name} is empty; allowed are {', '.join(allowed) or 'none'}", name)
    for word in words:
        if word not in allowed:
            raise InvalidError(not_allowed_message(name, word, allowed), name)
    return tuple(dict.fromkeys(words))


def parse_words(name: str, text: str) -> str:
    """A comma list of any words, as a JSON list."""
    words = list(filter(None, map(strip, text.split(","))))
    if not 0 < len(words) <= MAX_VALUES:
        raise InvalidError(f"{name} needs 1 to {MAX_VALUES} comma-separated values", name)
    return _json(words)


def parse_text(name: str, text: str) -> str:
    """Any text that is not blank."""
    value = strip(text)
    if not value:
        raise InvalidError(f"{name} is empty; omit it to list everything", name)
    return value


def parse_number(name: str, text: str) -> int:
    """An id that is a number; that of a shipment may have its prefix."""
    digits = text.upper().removeprefix("FLEX-")
    if not _DIGITS.fullmatch(digits):
        raise InvalidError(f"{name} is {text[:50]!r}; an id of 1 to 18 digits is allowed", name)
    return int(digits)


def parse_day(name: str, text: str) -> str:
    """A calendar day: `2026-03-21`."""
    try:
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        raise InvalidError(f"{name} is {text[:50]!r}; a day (2026-03-21) is allowed", name)
    return day.isoformat()


def parse_time(name: str, text: str) -> str:
    """A day or a time as a UTC stamp: `2026-03-21` or `2026-03-21T12:00:00Z`; a day begins at 00:00 UTC."""
    try:
        # An unescaped plus arrives as a space.
        time = datetime.fromisoformat(text.upper().replace(" ", "+") if len(text) > 10 else text)
        time = time if time.tzinfo else time.replace(tzinfo=UTC)
    except ValueError:
        raise InvalidError(
            f"{name} is {text[:50]!r}; a day (2026-03-21) or a time (2026-03-21T12:00:00Z) is allowed", name
        ) from None
    try:
        return stamp(time)
    except OverflowError:  # the first or last day of the calendar, with an offset
        return stamp(time.replace(tzinfo=UTC))


def parse_day_or_time(name: str, text: str) -> str:
    """A day as it is, a time as a UTC stamp."""
    time = parse_time(name, text)
    return text if len(text) == len("2026-03-21") else time


def parse_object_id(domain: ResourceType, text: str) -> Key | None:
    """The id in a URL; a shipment's may have its prefix: FLEX-910233. None for what cannot be an id."""
    return domain.parse_id(text.upper().removeprefix("FLEX-") if domain.name == "shipments" else text)


def integer(name: str, lowest: int, highest: int, about: str, default: int | None = None) -> Parameter:
    """A whole number within bounds."""
    schema: dict[str, Any] = {"type": "integer", "minimum": lowest, "maximum": highest}
    if default is not None:
        schema["default"] = default
    return Parameter(name, about, schema, lambda n, text: parse_integer(n, text, lowest, highest))


def choice(name: str, allowed: Sequence[str], about: str, *, required: bool = False) -> Parameter:
    """One of a few words."""
    schema = {"type": "string", "enum": list(allowed)}
    parse = functools.partial(parse_choice, allowed=allowed)
    return Parameter(name, about, schema, parse, required=required, example=allowed[0])


def csv_of(name: str, allowed: Sequence[str], about: str) -> Parameter:
    """A comma list of a few words."""
    schema = {"type": "array", "items": {"type": "string", "enum": list(allowed)}, "minItems": 1}
    return Parameter(name, about, schema, functools.partial(parse_choices, allowed=allowed), example=list(allowed[:2]))


def text(name: str, about: str, *, required: bool = False, example: str | None = None) -> Parameter:
    """Any text that is not blank."""
    return Parameter(name, about, TEXT, parse_text, required=required, example=example)


def identifier(about: str = "Id of the object.", name: str = "id", example: str = "1") -> Parameter:
    """A part of the path: any id."""
    schema = {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH}
    return Parameter(name, about, schema, where="path", required=True, example=example)


def id_param(domain: ResourceType) -> Parameter:
    """The id of an object in the path, or a reference that only this object has."""
    fields = [name.replace("_", " ") for name in IDENTIFYING.get(domain.name, ()) if name != "id"]
    flex = ", with or without FLEX-" if domain.name == "shipments" else ""
    reference = f"; or its {' or '.join(fields)}, if unique" if fields else ""
    example = "910233" if domain.ids == "integer" else "AU63XTcrQH-JrTpLIRXW0w"
    parameter = identifier(f"Flexport's id of the {domain.label}{flex}{reference}.", example=example)
    return replace(parameter, domain=domain)


AS_OF = Parameter(
    "as_of",
    "State as known to flexportd at this time; a day begins at 00:00 UTC.",
    TIME,
    parse_time,
    example="2026-03-21T12:00:00Z",
)

CURSOR = Parameter(
    "cursor",
    "Start of the page: `next` of the previous page, with the same filters and order.",
    {"type": "string", "minLength": 1, "maxLength": MAX_CURSOR},
    lambda _, text: text,
)


def filter_param(
    name: str, one: Filter, vocabulary: Vocabulary | None = None, target: ResourceType | None = None
) -> Parameter:
    """The parameter of a list's filter. `target` is what a filter of type `id` names."""
    parse, schema, example = _type_of(name, one, vocabulary, target)
    if one.default is not None:
        schema = {**schema, "default": one.default}
    description = filter_description(name, one)
    if vocabulary is not None:
        description = f"{description} {_ANY_WORDS}"
    return Parameter(name, description, schema, parse, example=example)


_SIMPLE_TYPES: Mapping[str, tuple[Parser, Schema, Any]] = {
    "text": (parse_text, TEXT, None),
    "substring": (parse_text, TEXT, None),
    "number": (parse_number, SHIPMENT_ID, "910233"),
    "day": (parse_day, DAY, "2026-03-21"),
    "time": (parse_time, TIME, "2026-03-21T12:00:00Z"),
    "day_or_time": (parse_day_or_time, TIME, "2026-03-21"),
    "boolean": (lambda name, text: parse_choice(name, text, ("true", "false")) == "true", {"type": "boolean"}, True),
}


def _type_of(
    name: str, one: Filter, vocabulary: Vocabulary | None, target: ResourceType | None
) -> tuple[Parser, Schema, Any]:
    if one.value_type == "id":
        return _link_type(name, target)
    if one.value_type == "words":
        return _words_type(one.choices, vocabulary)
    if one.choices:
        example = one.choices[0] if one.default is None else one.choices[-1]
        schema = {"type": "string", "enum": list(one.choices)}
        return functools.partial(parse_choice, allowed=one.choices), schema, example
    if one.value_type == "word":
        known = list(vocabulary.published()) if vocabulary is not None else []
        return parse_text, {**TEXT, **({EXTENSIBLE: known} if known else {})}, known[0] if known else None
    return _SIMPLE_TYPES[str(one.value_type)]


def _words_type(choices: Sequence[str], vocabulary: Vocabulary | None) -> tuple[Parser, Schema, Any]:
    items: dict[str, Any] = {"type": "string"}
    if choices:
        items["enum"] = list(choices)
        schema: Schema = {"type": "array", "items": items, "minItems": 1}
        return lambda n, text: _json(parse_choices(n, text, choices)), schema, list(choices[:2])
    items |= {"pattern": NOT_BLANK_WORD, "maxLength": MAX_VALUE}
    example = None
    if vocabulary is not None:
        items[EXTENSIBLE] = known = sorted(vocabulary.known)
        example = known[:2] or None
    return parse_words, {"type": "array", "items": items, "minItems": 1, "maxItems": MAX_VALUES}, example


def _json(values: Sequence[str]) -> str:
    return msgspec.json.encode(values).decode()


def _link_type(name: str, target: ResourceType | None) -> tuple[Parser, Schema, Any]:
    numbers = target is not None and target.ids == "integer"

    def parse(_: str, text: str) -> Key:
        key: Key | None = strip(text)
        if target is not None:
            key = parse_object_id(target, strip(text))
        elif _DIGITS.fullmatch(strip(text)):
            key = int(strip(text))
        if key is None or key == "":
            needed = "a whole number" if numbers else "an id"
            raise InvalidError(f"{name} is {text[:50]!r}; {needed} is allowed", name)
        return key

    if target is None or not numbers:
        return parse, {**TEXT, "maxLength": MAX_ID_LENGTH}, None
    return parse, SHIPMENT_ID if target.name == "shipments" else DIGITS, None


def filter_description(name: str, one: Filter) -> str:
    """What a filter does, for the API's description and the help of CLI options."""
    if one.value_type == "boolean":
        return f"true: only those {one.description}; false: only the others."
    words = _words(name)
    subject = _capital(words)
    stem, _, bound = name.rpartition("_")
    period = f"{_capital(_words(stem))} {_BOUNDS.get(bound, bound)} this"
    return (
        one.description
        or {
            "words": f"{subject}; separate several with commas.",
            "word": f"Only this {words}.",
            "text": f"{subject} (exact match, case-insensitive).",
            "substring": f"Text in {'any name or number' if name == 'q' else f'the {words}'} (case-insensitive).",
            "id": f"ID of the {words}.",
            "number": f"ID of the {words}.",
            "day": f"{period} day.",
            "time": f"{period} day (00:00 UTC) or time.",
        }[str(one.value_type)]
    )


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _words(name: str) -> str:
    return " ".join(_ABBREVIATIONS.get(word, word) for word in name.split("_"))
