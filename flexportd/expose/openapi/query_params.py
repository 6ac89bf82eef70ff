"""Query strings: every parameter is declared, everything else is an error that names it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import msgspec
from multidict import MultiMapping

from flexportd.clock import stamp
from flexportd.errors import InvalidError
from flexportd.escape import closest_match
from flexportd.expose import cursors
from flexportd.expose.context import DisplaySettings
from flexportd.expose.cursors import MAX_CURSOR, Cursor
from flexportd.expose.openapi.blanks import NOT_BLANK, NOT_BLANK_WORD, strip
from flexportd.expose.openapi.enum_values import UnknownWords, Vocabulary, not_allowed_message
from flexportd.storage.change_log import time_number
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.queries.stable_pagination import POSITION
from flexportd.storage.transaction import Transaction

MAX_VALUE = 1000  # characters of one value
MAX_VALUES = 50
MAX_EXPORT = 10_000_000  # rows that a limit may ask for
CSV_BOM = "csv-bom"
FORMATS = ("json", "csv", CSV_BOM, "csv-raw", "ndjson")
LIST_PARAMS = ("limit", "cursor", "sort", "fields", "include", "format")
"""What every list takes beside its filters."""

Schema = Mapping[str, Any]
"""A JSON schema."""

DAY: Schema = {"type": "string", "format": "date"}
MOMENT: Schema = {"anyOf": [{"type": "string", "format": "date-time"}, DAY]}
TEXT: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_VALUE, "pattern": NOT_BLANK}
DIGITS: Schema = {"type": "string", "pattern": "^[0-9]{1,18}$"}
NUMBER: Schema = {"type": "string", "pattern": "^([Ff][Ll][Ee][Xx]-)?[0-9]{1,18}$"}


@dataclass(frozen=True)
class FilterParser:
    """How a filter's text is read: (parameter, text) -> (filter of the table, its values); and what it looks like."""

    parse: Callable[[str, str], tuple[str, Sequence[Any]]]
    schema: Schema
    description: str
    example: Any = None
    vocabulary: Vocabulary | None = None  # of words that are a mistake unless they are published or stored

    def __call__(self, name: str, text: str) -> tuple[str, Sequence[Any]]:
        """The filter and its values. Raises InvalidError."""
        return self.parse(name, text)


@dataclass(frozen=True)
class ListRules:
    """What one list lets itself be asked. `sorts` maps the parameter's words to columns; the first is the default."""

    sorts: Mapping[str, str]
    filters: Mapping[str, FilterParser]
    fields: Sequence[str]
    includes: Sequence[str] = ()
    fixed_filters: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    text_keys: bool = False  # whether a row's key may be a text


@dataclass(frozen=True)
class ListParams:
    """A list as it was requested. `bound` binds its cursors: see `flexportd.expose.api.list_endpoint.bound`."""

    page: PageRequest
    sort: str
    fields: tuple[str, ...] | None
    includes: frozenset[str]
    output_format: str = "json"
    row_limit: int | None = None  # rows that an export is limited to
    cursor: Cursor | None = None
    bom: bool = False  # whether a CSV begins with a byte order mark, by which spreadsheets know UTF-8
    binding: str = ""
    written_at: str | None = None  # the column with our time of a row, from which its cursor tells its history
    encrypt_cursor: Callable[[str], str] | None = None  # encrypts its cursors, for a key that sees some shipments only
    unknown_words: tuple[UnknownWords, ...] = ()  # words of filters that nobody published: `prove` looks them up

    def next_cursor(self, row: Mapping[str, Any], key: str = "id") -> Cursor:
        """Where the next page begins: behind this row."""
        if POSITION in row:
            value, since = row[POSITION]
        else:
            value, since = row[self.page.sort], None if self.written_at is None else time_number(row[self.written_at])
        return Cursor(self.sort, self.page.descending, value, row[key], since, self.binding)

    def encode_next_cursor(self, tx: Transaction, rows: Sequence[Mapping[str, Any]], key: str = "id") -> str | None:
        """The cursor of the next page of a list of which one row more than the limit was read; None on the last."""
        limit = self.page.limit
        if len(rows) <= limit:
            return None
        cursor = cursors.encode(tx, self.next_cursor(rows[limit - 1], key))
        return cursor if self.encrypt_cursor is None else self.encrypt_cursor(cursor)


def parse_unique(query: MultiMapping[str], allowed: Sequence[str]) -> dict[str, str]:
    """The parameters as a dictionary. Raises InvalidError for unknown, repeated and oversized ones."""
    found: dict[str, str] = {}
    for name, value in query.items():
        if name not in allowed:
            near = closest_match(name, allowed)
            guess = "allowed" if near is None else f"did you mean {near}? Allowed"
            known = f"{guess} are {', '.join(sorted(allowed))}" if allowed else "this request takes no parameters"
            raise InvalidError(f"{name[:50]!r} is not a known parameter; {known}", name[:50])
        if name in found:
            raise InvalidError(f"{name} is given more than once", name)
        most = MAX_CURSOR if name == "cursor" else MAX_VALUE
        if len(value) > most:
            raise InvalidError(f"{name} has {len(value)} characters; at most {most} are allowed", name)
        if "\x00" in value or any("\ud800" <= char <= "\udfff" for char in value):
            raise InvalidError(f"{name} contains invalid characters", name)
        found[name] = value
    return found


def parse_list_params(query: MultiMapping[str], rules: ListRules, shown: DisplaySettings) -> ListParams:
    """Read a list's parameters. Raises InvalidError naming the parameter, what was found and what is allowed."""
    given = parse_unique(query, (*LIST_PARAMS, *rules.filters))
    asked_form = choice("format", given.get("format", "json"), FORMATS)
    form, bom = ("csv", True) if asked_form == CSV_BOM else (asked_form, False)
    # What is read page by page while it changes goes by a key that stands still, unless asked otherwise.
    still = "-id" if form != "json" and "id" in rules.sorts and "cursor" not in given else None
    sort, descending = _sort(given.get("sort", still), rules)
    filters: dict[str, Sequence[Any]] = dict(rules.fixed_filters)
    unproven: list[UnknownWords] = []
    for name, parse in rules.filters.items():
        if name in given:
            key, values = parse(name, given[name])
            filters[key] = values
            if parse.vocabulary is not None:
                unproven += _unknown_words(name, parse.vocabulary, values[0])
    most = MAX_EXPORT if form != "json" else shown.max_page_size
    limit = integer("limit", given.get("limit", str(shown.page_size)), 1, most)
    begin = None
    if "cursor" in given:
        begin = cursors.decode(given["cursor"], sort, descending=descending, text_keys=rules.text_keys)
    after = None if begin is None else (begin.value, begin.key)
    page = PageRequest(limit, rules.sorts[sort], descending=descending, filters=filters, after=after)
    fields, includes = _selection(given, rules.fields, rules.includes)
    most_rows = limit if "limit" in given else None
    return ListParams(
        page, sort, fields, frozenset(includes), form, most_rows, begin, bom, unknown_words=tuple(unproven)
    )


_decode_words = msgspec.json.Decoder(list[str]).decode


def _unknown_words(name: str, vocabulary: Vocabulary, value: str) -> list[UnknownWords]:
    """The words of a filter's value, one or a JSON list of them, that nobody published."""
    try:
        given = _decode_words(value)
    except msgspec.DecodeError:
        given = [value]
    unknown = [word for word in given if word not in vocabulary.known]
    return [UnknownWords(name, vocabulary, unknown)] if unknown else []


def parse_selection(
    query: MultiMapping[str], fields: Sequence[str], includes: Sequence[str] = ("raw",)
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Which fields (None: all) and what beside them is asked of one object. Raises InvalidError."""
    return _selection(parse_unique(query, ("fields", "include")), fields, includes)


def _selection(
    given: Mapping[str, str], fields: Sequence[str], includes: Sequence[str]
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    included = choices("include", given["include"], includes) if "include" in given else ()
    return (choices("fields", given["fields"], fields) if "fields" in given else None), included


def _sort(text: str | None, rules: ListRules) -> tuple[str, bool]:
    if text is None:
        return next(iter(rules.sorts)), True
    name = text.removeprefix("-")
    if name not in rules.sorts:
        orders = [order for word in rules.sorts for order in (word, f"-{word}")]
        raise InvalidError(not_allowed_message("sort", text, orders), "sort")
    return name, text.startswith("-")


def integer(name: str, text: str, lowest: int, highest: int) -> int:
    """A whole number within bounds."""
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 20):
        raise InvalidError(f"{name} is {text[:50]!r}; a whole number from {lowest} to {highest} is allowed", name)
    number = int(text)
    if not lowest <= number <= highest:
        raise InvalidError(f"{name} is {number}; from {lowest} to {highest} is allowed", name)
    return number


_SENT_WORDS = "Undocumented values that Flexport has sent are allowed too; any other value is an error."
EXTENSIBLE = "x-extensible-enum"
"""The keyword of a schema for known values of an open set (Zalando's RESTful API guidelines)."""


def choices(name: str, text: str, allowed: Sequence[str]) -> tuple[str, ...]:
    """A comma list of known words."""
    found = tuple(filter(None, map(strip, text.split(","))))
    if not found:
        raise InvalidError(f"{name} is empty; allowed are {', '.join(allowed) or 'none'}", name)
    for part in found:
        if part not in allowed:
            raise InvalidError(not_allowed_message(name, part, allowed), name)
    return tuple(dict.fromkeys(found))


# --- parsers of filters ---


def equals(key: str, about: str = "Exactly this text (case-insensitive).") -> FilterParser:
    """Any text, as it is."""
    return FilterParser(lambda name, text: (key, (_require_text(name, text),)), TEXT, about)


def one_of(key: str, allowed: Sequence[str], about: str = "One of these values.") -> FilterParser:
    """One of a few words."""

    def read(name: str, text: str) -> tuple[str, Sequence[Any]]:
        return key, (choice(name, text, allowed),)

    return FilterParser(read, {"type": "string", "enum": list(allowed)}, about, allowed[0])


def any_of(
    key: str,
    about: str = "Any of these values (comma-separated).",
    vocabulary: Vocabulary | None = None,
) -> FilterParser:
    """A comma list of words; without a vocabulary any is allowed."""

    def read(name: str, text: str) -> tuple[str, Sequence[Any]]:
        found = list(filter(None, map(strip, text.split(","))))
        if not 0 < len(found) <= MAX_VALUES:
            raise InvalidError(f"{name} needs 1 to {MAX_VALUES} comma-separated values", name)
        return key, (msgspec.json.encode(found).decode(),)

    items: dict[str, Any] = {"type": "string", "pattern": NOT_BLANK_WORD, "maxLength": MAX_VALUE}
    example = None
    if vocabulary is not None:
        known = sorted(vocabulary.known)
        # Flexport's words are an open set: what it sent is allowed beside what it published.
        items[EXTENSIBLE] = known
        about, example = f"{about} {_SENT_WORDS}", known[:2] or None
    schema = {"type": "array", "items": items, "minItems": 1, "maxItems": MAX_VALUES}
    return FilterParser(read, schema, about, example, vocabulary)


def known_word(key: str, vocabulary: Vocabulary, about: str) -> FilterParser:
    """One word of a vocabulary."""

    def read(name: str, text: str) -> tuple[str, Sequence[Any]]:
        return key, (_require_text(name, text),)

    known = list(vocabulary.published())
    return FilterParser(read, {**TEXT, EXTENSIBLE: known}, f"{about} {_SENT_WORDS}", known[0], vocabulary)


def subset_of(key: str, allowed: Sequence[str], about: str = "Any of these values (comma-separated).") -> FilterParser:
    """A comma list of a few words."""

    def read(name: str, text: str) -> tuple[str, Sequence[Any]]:
        return key, (msgspec.json.encode(choices(name, text, allowed)).decode(),)

    items = {"type": "string", "enum": list(allowed)}
    return FilterParser(read, {"type": "array", "items": items, "minItems": 1}, about, list(allowed[:2]))


_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


def numeric_id(key: str, about: str = "Id of the object.") -> FilterParser:
    """An id."""

    def read(name: str, text: str) -> tuple[str, Sequence[Any]]:
        found = text.upper().removeprefix("FLEX-")
        if not _NUMBER.fullmatch(found):
            raise InvalidError(f"{name} is {text[:50]!r}; an id of 1 to 18 digits is allowed", name)
        return key, (int(found),)

    return FilterParser(read, NUMBER, about, "910233")


_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def day(key: str, about: str = "A calendar day.") -> FilterParser:
    """A calendar day: `2026-03-21`."""

    def read(name: str, text: str) -> tuple[str, Sequence[Any]]:
        try:
            found = date.fromisoformat(text) if _DAY.fullmatch(text) else None
        except ValueError:
            found = None
        if found is None:
            raise InvalidError(f"{name} is {text[:50]!r}; a day (2026-03-21) is allowed", name)
        return key, (found.isoformat(),)

    return FilterParser(read, DAY, about, "2026-03-21")


def moment(key: str, about: str = "A day or a time; a day begins at 00:00 UTC.") -> FilterParser:
    """A day or a time: `2026-03-21` or `2026-03-21T12:00:00Z`; a day begins at 00:00 UTC."""

    def read(name: str, text: str) -> tuple[str, Sequence[Any]]:
        try:
            # A plus that was not escaped comes as a blank.
            found = datetime.fromisoformat(text.upper().replace(" ", "+") if len(text) > 10 else text)
            found = found if found.tzinfo else found.replace(tzinfo=UTC)
        except ValueError:
            raise InvalidError(
                f"{name} is {text[:50]!r}; a day (2026-03-21) or a time (2026-03-21T12:00:00Z) is allowed", name
            ) from None
        try:
            return key, (stamp(found),)
        except OverflowError:  # the first and the last day of all, at a place whose clock is ahead or behind
            return key, (stamp(found.replace(tzinfo=UTC)),)

    return FilterParser(read, MOMENT, about, "2026-03-21T12:00:00Z")


def day_or_time(key: str, about: str) -> FilterParser:
    """A day, by the calendar of the place; or a time, whose filter is `<key>_at`."""
    at = moment(f"{key}_at")

    def read(name: str, text: str) -> tuple[str, Sequence[Any]]:
        found = at(name, text)  # checks both
        return (key, (text,)) if len(text) == len("2026-03-21") else found

    return FilterParser(read, MOMENT, about, "2026-03-21")


def boolean(yes: str, no: str, about: str = "true: only matching objects; false: only the others.") -> FilterParser:
    """`true` or `false`, each a filter of its own."""

    def read(name: str, text: str) -> tuple[str, Sequence[Any]]:
        return (yes if parse_boolean(name, text) else no), ()

    return FilterParser(read, {"type": "boolean"}, about, example=True)


def contains(key: str, times: int, about: str = "Contains this text (case-insensitive).") -> FilterParser:
    r"""Text anywhere in a value, for LIKE with `\\` as escape; its wildcards are taken literally."""

    def read(name: str, text: str) -> tuple[str, Sequence[Any]]:
        literal = _require_text(name, text).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return key, (f"%{literal}%",) * times

    return FilterParser(read, TEXT, about)


def parse_boolean(name: str, text: str) -> bool:
    """`true` or `false`."""
    return choice(name, text, ("true", "false")) == "true"


def choice(name: str, text: str, allowed: Sequence[str]) -> str:
    """One of a few words."""
    if text not in allowed:
        raise InvalidError(not_allowed_message(name, text, allowed), name)
    return text


def _require_text(name: str, text: str) -> str:
    found = strip(text)
    if not found:
        raise InvalidError(f"{name} is empty; omit it to list everything", name)
    return found
