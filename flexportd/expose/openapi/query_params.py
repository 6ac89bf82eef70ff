"""Query strings: every parameter is declared, and a list's request is read from them once."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, cast

import msgspec
from multidict import MultiMapping

from flexportd.errors import InvalidError
from flexportd.escape import closest_match
from flexportd.expose.context import DisplaySettings
from flexportd.expose.openapi.parameters import (
    AS_OF,
    CURSOR,
    MAX_CURSOR,
    MAX_VALUE,
    UnknownWords,
    Vocabulary,
    csv_of,
    filter_param,
    not_allowed_message,
    parse_choice,
    parse_integer,
)
from flexportd.expose.openapi.route import DESCRIPTION, Parameter
from flexportd.storage.change_log import time_number
from flexportd.storage.database import Database
from flexportd.storage.queries.filters import Filter
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.queries.stable_pagination import POSITION
from flexportd.storage.transaction import Transaction
from flexportd.type_lock import decode_as

MAX_EXPORT = 10_000_000  # rows that a limit may ask for
CSV_BOM = "csv-bom"
FORMATS = ("json", "csv", CSV_BOM, "csv-raw", "ndjson")


@dataclass(frozen=True)
class ListRules:
    """The parameters of one list. `sorts` maps the parameter's words to columns; the first is the default."""

    sorts: Mapping[str, str]
    filters: Mapping[str, Filter]
    fields: Sequence[str]
    includes: Sequence[str] = ()
    fixed_filters: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    text_keys: bool = False  # whether a row's key may be a text
    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)  # of filters whose unknown words are an error
    filter_params: Mapping[str, Parameter] = field(default_factory=dict)  # instead of those that follow from a filter
    past: bool = False  # whether it takes `as_of`

    @cached_property
    def public_filters(self) -> Mapping[str, Filter]:
        """The filters that have a parameter."""
        return {name: one for name, one in self.filters.items() if one.value_type is not None}

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """All parameters by name."""
        display, about = DisplaySettings(), DESCRIPTION["list_parameters"]
        orders = [order for word in self.sorts for order in (f"-{word}", word)]
        parameters = [
            Parameter(
                "limit",
                about["limit"].format(most=display.max_page_size),
                {"type": "integer", "minimum": 1, "maximum": MAX_EXPORT, "default": display.page_size},
                lambda _, text: text,  # its maximum depends on the format and the configuration
                example=20,
            ),
            CURSOR,
            Parameter(
                "sort",
                "Sort order; prefix `-` reverses it.",
                {"type": "string", "enum": orders, "default": orders[0]},
                self._parse_sort,
                example=orders[0],
            ),
            Parameter(
                "format",
                about["format"],
                {"type": "string", "enum": list(FORMATS), "default": "json"},
                lambda name, text: parse_choice(name, text, FORMATS),
                example="json",
            ),
        ]
        if self.fields:
            parameters.append(csv_of("fields", self.fields, "Return only these fields (comma-separated)."))
        if self.includes:
            parameters.append(csv_of("include", self.includes, "Also include: Flexport's own JSON."))
        for name, one in self.public_filters.items():
            parameters.append(self.filter_params.get(name) or filter_param(name, one, self.vocabularies.get(name)))
        return {parameter.name: parameter for parameter in (*parameters, *((AS_OF,) if self.past else ()))}

    def _parse_sort(self, name: str, text: str) -> tuple[str, bool]:
        word = text.removeprefix("-")
        if word not in self.sorts:
            orders = [order for word in self.sorts for order in (word, f"-{word}")]
            raise InvalidError(not_allowed_message(name, text, orders), name)
        return word, text.startswith("-")

    def without(self, name: str) -> "ListRules":
        """The same list without one of its filters."""
        return replace(self, filters={other: one for other, one in self.filters.items() if other != name})

    def parse(self, query: MultiMapping[str]) -> dict[str, Any]:
        """The values of a query's parameters. Raises InvalidError."""
        given = parse_unique(query, tuple(self.parameters))
        return {
            name: parameter.parse(name, given[name])
            for name, parameter in self.parameters.items()
            if name in given and parameter.parse is not None
        }


_DIGEST_LENGTH = 12  # characters of each of the two digests of `Cursor.binding`

_MAX_DIGITS = 19  # digits

_MAX_VALUE = 2000  # bytes of an encoded value; a longer one is looked up by the key

_Wire = tuple[str, bool, str | int | bool | None, int | str, int, str, str]


class Cursor(NamedTuple):
    """The position after the row with this sort value and key; True means a value that is too long.

    `since` is the number of the change log at which the first page was read; None where that does not matter, in which
    case the newest is encoded. For a key that is limited to some shipments it is a time (`time_number`), since numbers
    of the change log count writes of all shipments. `binding` is that of the list and its filters (`cursor_binding`).
    `origin` is the change log's identifier of `since`, which differs between database histories; where `since` does not
    matter it also has the newest event.
    """

    sort: str
    descending: bool
    value: str | int | bool | None
    key: int | str
    since: int | None = None
    binding: str = ""
    origin: str = ""


def cursor_binding(path: str, filters: Mapping[str, Sequence[Any]]) -> str:
    """Short digests of a list and of its filters."""
    encoded = msgspec.json.encode(sorted((name, list(values)) for name, values in filters.items()))
    return f"{_digest(path.encode())}{_digest(encoded)}"


def check_binding(cursor: Cursor, bound: str) -> None:
    """Raises InvalidError for the cursor of another list, or of this one with other filters."""
    if cursor.binding[:_DIGEST_LENGTH] != bound[:_DIGEST_LENGTH]:
        raise InvalidError("cursor belongs to another list; omit it to start over", "cursor")
    if cursor.binding != bound:
        why = "was issued for other filters; use the same filters, or omit it to start over"
        raise InvalidError(f"cursor {why}", "cursor")


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=_DIGEST_LENGTH // 2).hexdigest()


async def check_origin(db: Database, cursor: Cursor) -> None:
    """Raises InvalidError for a cursor of another history of the database, ExpiredError for one that is too old."""

    def work(tx: Transaction) -> None:
        mark, _, arrival = cursor.origin.partition("-")
        tx.journal.check_origin(tx.journal.entry_at(cursor.since or 0), mark)
        place = arrival.partition("-")[0]
        if arrival and not (
            place.isdecimal() and len(place) < _MAX_DIGITS and _newest_event(tx, int(place)) == arrival
        ):
            raise InvalidError("cursor is from another database history; omit it to start over", "cursor")

    await db.read(work)


def _newest_event(tx: Transaction, *up_to: int) -> str:
    """The newest event; events that wait to be applied are not in the change log yet."""
    seq, event_id = tx.events.latest_through(*up_to)
    return f"{seq}-{_digest(event_id.encode())}"


def encode_cursor(tx: Transaction, cursor: Cursor) -> str:
    """The cursor as text for a URL, in the snapshot in which the list was read."""
    value = cursor.value
    if isinstance(value, str) and len(value.encode()) > _MAX_VALUE:
        value = True
    since = tx.journal.last() if cursor.since is None else cursor.since
    origin = tx.journal.origin_of(since)
    if cursor.since is None:
        origin += f"-{_newest_event(tx)}"
    fields = [cursor.sort, cursor.descending, value, cursor.key, since, cursor.binding, origin]
    return base64.urlsafe_b64encode(msgspec.json.encode(fields)).decode().rstrip("=")


def decode_cursor(text: str, sort: str, *, descending: bool, text_keys: bool) -> Cursor:
    """The cursor of a list in this order. Raises InvalidError."""
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = Cursor(*decode_as(decoded, cast(Any, _Wire)))
    except (ValueError, binascii.Error, RecursionError):
        raise invalid_cursor() from None
    numbers = (cursor.value, cursor.key, cursor.since)
    if any(isinstance(number, int) and not -(2**63) <= number < 2**63 for number in numbers):
        raise invalid_cursor()
    if isinstance(cursor.key, str) and not text_keys:
        raise invalid_cursor()
    if (cursor.sort, cursor.descending) != (sort, descending):
        raise InvalidError("cursor belongs to another sort order; omit it to start over", "cursor")
    return cursor


def invalid_cursor() -> InvalidError:
    """For a cursor that no list issued."""
    return InvalidError("cursor was not issued by this list; omit it to start over", "cursor")


@dataclass(frozen=True)
class ListRequest:
    """The request for a page of a list. `binding` binds its cursors: see `flexportd.expose.api.list_endpoint`."""

    page: PageRequest
    sort: str
    fields: tuple[str, ...] | None
    includes: tuple[str, ...]
    output_format: str = "json"
    row_limit: int | None = None  # rows that an export is limited to
    cursor: Cursor | None = None
    bom: bool = False  # whether a CSV begins with a byte order mark, by which spreadsheets know UTF-8
    as_of: str | None = None
    binding: str = ""
    written_at: str | None = None  # the column with our time of a row, by which a cursor identifies its history
    encrypt_cursor: Callable[[str], str] | None = None  # encrypts its cursors, for a key that sees some shipments only
    unknown_words: tuple[UnknownWords, ...] = ()  # undocumented words of filters: `check_words` looks them up

    @classmethod
    def of(
        cls,
        values: Mapping[str, Any],
        rules: ListRules,
        display: DisplaySettings,
        decrypt_cursor: Callable[[str], str] | None = None,
    ) -> "ListRequest":
        """The request with these values of the list's parameters. Raises InvalidError."""
        output_format = values.get("format", "json")
        export = output_format != "json"
        # An export is read page by page while rows change: it goes by a key that does not, unless asked otherwise.
        stable = ("id", True) if export and "id" in rules.sorts and "cursor" not in values else None
        sort, descending = values.get("sort") or stable or (next(iter(rules.sorts)), True)
        limit = parse_integer(
            "limit", values.get("limit", str(display.page_size)), 1, MAX_EXPORT if export else display.max_page_size
        )
        filters = dict(rules.fixed_filters)
        unknown: list[UnknownWords] = []
        for name, one in rules.public_filters.items():
            value = values.get(name, one.default)
            if value is not None:
                key, arguments = one.selection(name, value)
                filters[key] = arguments
                if name in rules.vocabularies:
                    unknown += _unknown_words(name, rules.vocabularies[name], value)
        cursor = None
        if "cursor" in values:
            text = values["cursor"] if decrypt_cursor is None else decrypt_cursor(values["cursor"])
            cursor = decode_cursor(text, sort, descending=descending, text_keys=rules.text_keys)
        return cls(
            PageRequest(
                limit,
                rules.sorts[sort],
                descending=descending,
                filters=filters,
                after=None if cursor is None else (cursor.value, cursor.key),
            ),
            sort,
            values.get("fields"),
            values.get("include", ()),
            "csv" if output_format == CSV_BOM else output_format,
            limit if "limit" in values else None,
            cursor,
            output_format == CSV_BOM,
            values.get("as_of"),
            unknown_words=tuple(unknown),
        )

    def next_cursor(self, row: Mapping[str, Any], key: str = "id") -> Cursor:
        """Where the next page begins: after this row."""
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
        cursor = encode_cursor(tx, self.next_cursor(rows[limit - 1], key))
        return cursor if self.encrypt_cursor is None else self.encrypt_cursor(cursor)


def parse_unique(query: MultiMapping[str], allowed: Sequence[str]) -> dict[str, str]:
    """The parameters as a dictionary. Raises InvalidError for unknown, repeated and oversized ones."""
    given: dict[str, str] = {}
    for name, value in query.items():
        if name not in allowed:
            near = closest_match(name, allowed)
            guess = "allowed" if near is None else f"did you mean {near}? Allowed"
            known = f"{guess} are {', '.join(sorted(allowed))}" if allowed else "this request takes no parameters"
            raise InvalidError(f"{name[:50]!r} is not a known parameter; {known}", name[:50])
        if name in given:
            raise InvalidError(f"{name} is given more than once", name)
        most = MAX_CURSOR if name == "cursor" else MAX_VALUE
        if len(value) > most:
            raise InvalidError(f"{name} has {len(value)} characters; at most {most} are allowed", name)
        if "\x00" in value or any("\ud800" <= char <= "\udfff" for char in value):
            raise InvalidError(f"{name} contains invalid characters", name)
        given[name] = value
    return given


def parse_list_params(query: MultiMapping[str], rules: ListRules, display: DisplaySettings) -> ListRequest:
    """A page's request for a list. Raises InvalidError that names the parameter, its value and what is allowed."""
    return ListRequest.of(rules.parse(query), rules, display)


_decode_words = msgspec.json.Decoder(list[str]).decode


def _unknown_words(name: str, vocabulary: Vocabulary, value: str) -> list[UnknownWords]:
    """The undocumented words of a filter's value, which is one word or a JSON list."""
    try:
        words = _decode_words(value)
    except msgspec.DecodeError:
        words = [value]
    unknown = [word for word in words if word not in vocabulary.known]
    return [UnknownWords(name, vocabulary, unknown)] if unknown else []


def object_params(fields: Sequence[str], includes: Sequence[str], *, past: bool = True) -> tuple[Parameter, ...]:
    """The parameters of a request for one object."""
    params = [csv_of("fields", fields, "Return only these fields (comma-separated).")]
    if includes:
        params.append(csv_of("include", includes, "Also include: Flexport's own JSON, the cause of each field."))
    return (*params, *((AS_OF,) if past else ()))


def list_params(rules: ListRules) -> tuple[Parameter, ...]:
    """The parameters of a list."""
    return tuple(rules.parameters.values())
