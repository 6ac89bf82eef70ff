"""Query strings: every parameter is declared, everything else is an error that names it."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import msgspec
from multidict import MultiMapping

from flexportd.clock import stamp
from flexportd.errors import InvalidError
from flexportd.expose.parts import Shown
from flexportd.storage.listing import Page

MAX_VALUE = 1000  # characters of one value
MAX_CURSOR = 6000  # a cursor carries the value that is sorted by, which may be a long name
MAX_VALUES = 50
MAX_EXPORT = 10_000_000  # rows that a limit may ask for
FORMS = ("json", "csv", "ndjson")

Parse = Callable[[str, str], tuple[str, Sequence[Any]]]
"""(parameter, text) -> (filter of the table, its values)."""


@dataclass(frozen=True)
class ListRules:
    """What one list lets itself be asked. `sorts` maps the parameter's words to columns; the first is the default."""

    sorts: Mapping[str, str]
    filters: Mapping[str, Parse]
    fields: Sequence[str]
    includes: Sequence[str] = ()
    always: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    text_keys: bool = False  # whether a row's key may be a text


@dataclass(frozen=True)
class Asked:
    """A list as it was asked for."""

    page: Page
    sort: str
    fields: tuple[str, ...] | None
    includes: frozenset[str]
    form: str = "json"
    most: int | None = None  # rows that an export is limited to


def once(query: MultiMapping[str], allowed: Sequence[str]) -> dict[str, str]:
    """The parameters as a dictionary. Raises InvalidError for unknown, repeated and oversized ones."""
    found: dict[str, str] = {}
    for name, value in query.items():
        if name not in allowed:
            raise InvalidError(f"{name[:50]!r} is not known here; known are {', '.join(sorted(allowed))}", name[:50])
        if name in found:
            raise InvalidError(f"{name} is given more than once", name)
        most = MAX_CURSOR if name == "cursor" else MAX_VALUE
        if len(value) > most:
            raise InvalidError(f"{name} has {len(value)} characters; at most {most} are taken", name)
        if "\x00" in value or any("\ud800" <= char <= "\udfff" for char in value):
            raise InvalidError(f"{name} holds characters that no text has", name)
        found[name] = value
    return found


def asked(query: MultiMapping[str], rules: ListRules, shown: Shown) -> Asked:
    """Read a list's parameters. Raises InvalidError naming the parameter, what was found and what is allowed."""
    given = once(query, ("limit", "cursor", "sort", "fields", "include", "format", *rules.filters))
    form = _form(given.get("format", "json"))
    # What is read page by page while it changes goes by a key that stands still, unless asked otherwise.
    still = "-id" if form != "json" and "id" in rules.sorts and "cursor" not in given else None
    sort, descending = _sort(given.get("sort", still), rules)
    filters: dict[str, Sequence[Any]] = dict(rules.always)
    for name, parse in rules.filters.items():
        if name in given:
            key, values = parse(name, given[name])
            filters[key] = values
    most = MAX_EXPORT if form != "json" else shown.max_page_size
    limit = integer("limit", given.get("limit", str(shown.page_size)), 1, most)
    after = None
    if "cursor" in given:
        after = _read_cursor(given["cursor"], sort, descending=descending)
        if isinstance(after[1], str) and not rules.text_keys:
            raise _wrong_cursor()
    page = Page(limit, rules.sorts[sort], descending=descending, filters=filters, after=after)
    fields, includes = _parts(given, rules.fields, rules.includes)
    return Asked(page, sort, fields, frozenset(includes), form, limit if "limit" in given else None)


def parts_of_one(
    query: MultiMapping[str], fields: Sequence[str], includes: Sequence[str] = ("raw",)
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Which fields (None: all) and what beside them is asked of one object. Raises InvalidError."""
    return _parts(once(query, ("fields", "include")), fields, includes)


def _parts(
    given: Mapping[str, str], fields: Sequence[str], includes: Sequence[str]
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    included = words("include", given["include"], includes) if "include" in given else ()
    return (words("fields", given["fields"], fields) if "fields" in given else None), included


def _form(text: str) -> str:
    if text not in FORMS:
        raise InvalidError(f"format is {text[:50]!r}; allowed are {', '.join(FORMS)}", "format")
    return text


def _sort(text: str | None, rules: ListRules) -> tuple[str, bool]:
    if text is None:
        return next(iter(rules.sorts)), True
    name = text.removeprefix("-")
    if name not in rules.sorts:
        allowed = ", ".join(f"{word}, -{word}" for word in rules.sorts)
        raise InvalidError(f"sort is {text[:50]!r}; allowed are {allowed}", "sort")
    return name, text.startswith("-")


def cursor(asked_for: Asked, value: Any, key: Any) -> str:
    """Where the next page begins: behind the row with this sort value and key."""
    text = msgspec.json.encode([asked_for.sort, asked_for.page.descending, value, key])
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def _read_cursor(text: str, sort: str, *, descending: bool) -> tuple[Any, Any]:
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        word, down, value, key = msgspec.json.decode(decoded, type=tuple[str, bool, str | int | None, int | str])
    except (ValueError, binascii.Error, RecursionError):
        raise _wrong_cursor() from None
    if any(isinstance(number, int) and not -(2**63) <= number < 2**63 for number in (value, key)):
        raise _wrong_cursor()
    if (word, down) != (sort, descending):
        raise InvalidError("cursor belongs to another sort order; leave it away to begin anew", "cursor")
    return value, key


def _wrong_cursor() -> InvalidError:
    return InvalidError("cursor is not one that this list gave out; leave it away to begin anew", "cursor")


def integer(name: str, text: str, lowest: int, highest: int) -> int:
    """A whole number within bounds."""
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 20):
        raise InvalidError(f"{name} is {text[:50]!r}; a whole number from {lowest} to {highest} is allowed", name)
    number = int(text)
    if not lowest <= number <= highest:
        raise InvalidError(f"{name} is {number}; from {lowest} to {highest} is allowed", name)
    return number


def words(name: str, text: str, allowed: Sequence[str]) -> tuple[str, ...]:
    """A comma list of known words."""
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if not found:
        raise InvalidError(f"{name} is empty; allowed are {', '.join(allowed) or 'none'}", name)
    for part in found:
        if part not in allowed:
            raise InvalidError(f"{name} holds {part[:50]!r}; allowed are {', '.join(allowed) or 'none'}", name)
    return tuple(dict.fromkeys(found))


# --- parsers of filters ---


def equals(key: str) -> Parse:
    """Any text, as it is."""
    return lambda name, text: (key, (_filled(name, text),))


def one_of(key: str, allowed: Sequence[str]) -> Parse:
    """One of a few words."""

    def parse(name: str, text: str) -> tuple[str, Sequence[Any]]:
        if text not in allowed:
            raise InvalidError(f"{name} is {text[:50]!r}; allowed are {', '.join(allowed)}", name)
        return key, (text,)

    return parse


def any_of(key: str) -> Parse:
    """A comma list of words; Flexport's own words are an open set, so any is allowed."""

    def parse(name: str, text: str) -> tuple[str, Sequence[Any]]:
        found = [part.strip() for part in text.split(",") if part.strip()]
        if not 0 < len(found) <= MAX_VALUES:
            raise InvalidError(f"{name} needs 1 to {MAX_VALUES} words with commas between them", name)
        return key, (msgspec.json.encode(found).decode(),)

    return parse


def number(key: str) -> Parse:
    """An id."""
    return lambda name, text: (key, (integer(name, text.removeprefix("FLEX-"), 0, 2**63 - 1),))


def day(key: str) -> Parse:
    """A calendar day: `2026-03-21`."""

    def parse(name: str, text: str) -> tuple[str, Sequence[Any]]:
        try:
            found = date.fromisoformat(text)
        except ValueError:
            raise InvalidError(f"{name} is {text[:50]!r}; a day (2026-03-21) is allowed", name) from None
        return key, (found.isoformat(),)

    return parse


def moment(key: str) -> Parse:
    """A day or a time: `2026-03-21` or `2026-03-21T12:00:00Z`; a day begins at 00:00 UTC."""

    def parse(name: str, text: str) -> tuple[str, Sequence[Any]]:
        try:
            found = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
            at = stamp(found if found.tzinfo else found.replace(tzinfo=UTC))
        except (ValueError, OverflowError):
            raise InvalidError(
                f"{name} is {text[:50]!r}; a day (2026-03-21) or a time (2026-03-21T12:00:00Z) is allowed", name
            ) from None
        return key, (at,)

    return parse


def truth(yes: str, no: str) -> Parse:
    """`true` or `false`, each a filter of its own."""

    def parse(name: str, text: str) -> tuple[str, Sequence[Any]]:
        if text not in ("true", "false"):
            raise InvalidError(f"{name} is {text[:50]!r}; allowed are true, false", name)
        return (yes if text == "true" else no), ()

    return parse


def part_of(key: str, times: int) -> Parse:
    r"""Text anywhere in a value, for LIKE with `\\` as escape; its wildcards are taken literally."""

    def parse(name: str, text: str) -> tuple[str, Sequence[Any]]:
        literal = _filled(name, text).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return key, (f"%{literal}%",) * times

    return parse


def _filled(name: str, text: str) -> str:
    found = text.strip()
    if not found:
        raise InvalidError(f"{name} is empty; leave it away to ask for all", name)
    return found
