"""The problems of a request body, each at its JSON pointer (RFC 6901), and the reader that collects them.

Sources of the rules: the request schemas of https://apidocs.flexport.com/v2 and the tutorials of
https://developers.flexport.com.
"""

import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from flexportd.core.resources.money import amount
from flexportd.escape import closest_match, escape_control

MAX_PROBLEMS = 100
"""How many problems of one body are reported."""

MAX_INTEGER = 2**63 - 1

_FIELD_NAME = re.compile("[A-Za-z0-9_]{1,60}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LINE_BREAKING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNENCODABLE = re.compile("[\0\ud800-\udfff]")
_MAX_SHOWN = 50  # characters of a value in a message
_MAX_LISTED = 30  # names in a message
_MAX_BITS = 128  # of a whole number that is written out: Python refuses to write very long ones


class FieldProblem(NamedTuple):
    """One problem of a body: the JSON pointer of its place, and what was found and what is allowed."""

    pointer: str
    detail: str


class ProblemList:
    """The problems of one body, in the order in which they were found; one per place, at most MAX_PROBLEMS."""

    def __init__(self) -> None:
        self._details: dict[str, str] = {}
        self.objects: list[ObjectReader] = []

    def add(self, pointer: str, detail: str) -> None:
        """Note a problem; only the first one of a place counts."""
        if len(self._details) < MAX_PROBLEMS:
            self._details.setdefault(pointer, detail)

    def finish(self) -> list[FieldProblem]:
        """All problems, with those of fields that no check has read: they are unknown."""
        for one in self.objects:
            one.check_unknown_fields()
        return [FieldProblem(*pair) for pair in self._details.items()]


class ObjectReader:
    """Reads the fields of one JSON object of a body. A field that is wrong is a problem and is read as None.

    Null is the same as absent. `_object`, Flexport's name of the type, is allowed in every object below the top.
    """

    def __init__(self, fields: Mapping[str, Any], pointer: str, problems: ProblemList) -> None:
        self.fields = fields
        self.pointer = pointer
        self.problems = problems
        self._known: dict[str, None] = {}  # in the order of reading
        problems.objects.append(self)

    def place(self, *names: str | int) -> str:
        """The JSON pointer of something inside this object."""
        return self.pointer + "".join(f"/{_pointer_token(str(name))}" for name in names)

    def add(self, name: str, detail: str) -> None:
        """Note a problem of a field; the message begins with the field's name."""
        self.problems.add(self.place(name), f"{_label(name)} {detail}")

    def value(self, name: str) -> Any:
        """The value as it is; None for null or absent."""
        self._known[name] = None
        return self.fields.get(name)

    def has(self, name: str) -> bool:
        """Whether the field is given and not null."""
        return self.value(name) is not None

    def require(self, *names: str, reason: str = "") -> None:
        """Note each of these fields that is absent or null."""
        for name in names:
            if not self.has(name):
                self.add(name, f"is required{reason and ' '}{reason}")

    def require_change(self) -> None:
        """Note a body of a change without values; to be called after the checks, which make its fields known."""
        if all(value is None for value in self.fields.values()):
            self.problems.add(
                self.pointer, f"the body changes nothing; at least one of {_listed(self._known)} is required"
            )

    def text(self, name: str, *, blank: bool = False) -> str | None:
        """A text; an empty one is a problem unless `blank`."""
        return check_text(self.problems, self.place(name), _label(name), self.value(name), blank=blank)

    def line(self, name: str) -> str | None:
        """A text of one line, without control characters."""
        value = self.text(name)
        if value is None or not _LINE_BREAKING.search(value):
            return value
        self._refuse(name, value, "one line of text without control characters is")
        return None

    def matching(self, name: str, pattern: re.Pattern[str], allowed: str) -> str | None:
        """A text of a form; `allowed` describes it."""
        value = self.text(name)
        if value is None or pattern.fullmatch(value):
            return value
        self._refuse(name, value, f"{allowed} is")
        return None

    def boolean(self, name: str) -> bool | None:
        """True or false."""
        value = self.value(name)
        if value is None or isinstance(value, bool):
            return value
        self._refuse(name, value, "true or false is")
        return None

    def integer(self, name: str, lowest: int = 0, highest: int = MAX_INTEGER) -> int | None:
        """A whole number within bounds."""
        value = self.value(name)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest:
            return value
        bounds = f"of {lowest} or more" if highest == MAX_INTEGER else f"from {lowest} to {highest}"
        self._refuse(name, value, f"a whole number {bounds} is")
        return None

    def positive_number(self, name: str) -> Decimal | None:
        """A JSON number greater than 0."""
        value = self.value(name)
        if value is None:
            return None
        number = _decimal(value)
        if number is not None and number > 0:
            return number
        self._refuse(name, value, "a number greater than 0 is")
        return None

    def day(self, name: str) -> date | None:
        """A calendar day that exists, as `2026-03-21`."""
        value = self.value(name)
        if value is None:
            return None
        if isinstance(value, str) and _DAY.fullmatch(value):
            try:
                return date.fromisoformat(value)
            except ValueError:
                self._refuse(name, value, "a day that exists is")
                return None
        self._refuse(name, value, "a day such as 2026-03-21 (year-month-day) is")
        return None

    def choice(self, name: str, words: Collection[str]) -> str | None:
        """One of these words."""
        return check_choice(self.problems, self.place(name), name, self.value(name), words)

    def child(self, name: str) -> "ObjectReader | None":
        """The reader of a nested object."""
        value = self.value(name)
        if value is None:
            return None
        if isinstance(value, Mapping):
            return ObjectReader(value, self.place(name), self.problems)
        self._refuse(name, value, "a JSON object is")
        return None

    def items(self, name: str, *, empty: bool = True) -> Sequence[Any]:
        """The items of a list, of any type; an empty list is a problem unless `empty`."""
        value = self.value(name)
        if value is None:
            return ()
        if not isinstance(value, list):
            self._refuse(name, value, "a list is")
            return ()
        if not value and not empty:
            self.add(name, "is empty; at least one item is required")
        return value

    def children(self, name: str, *, empty: bool = True) -> Iterator["ObjectReader"]:
        """The readers of a list's objects; other items are problems."""
        for index, item in enumerate(self.items(name, empty=empty)):
            place = self.place(name, index)
            if isinstance(item, Mapping):
                yield ObjectReader(item, place, self.problems)
            else:
                self.problems.add(place, f"{_label(name)} has {shown(item)} as an item; JSON objects are allowed")

    def texts(self, name: str, *, empty: bool = True) -> Iterator[tuple[str, str]]:
        """The texts of a list, each with its pointer; other items are problems."""
        for index, item in enumerate(self.items(name, empty=empty)):
            place = self.place(name, index)
            found = check_text(self.problems, place, f"an item of {_label(name)}", item, null=True)
            if found is not None:
                yield place, found

    def exactly_one(self, *names: str) -> str | None:
        """The one of these fields that is given; none or several are a problem."""
        given = self._at_most_one(names)
        if not given:
            self.problems.add(self.pointer, f"exactly one of {', '.join(names)} is required; none is given")
        return given[0] if len(given) == 1 else None

    def at_most_one(self, *names: str) -> str | None:
        """The one of these fields that is given; several are a problem."""
        given = self._at_most_one(names)
        return given[0] if len(given) == 1 else None

    def _at_most_one(self, names: Sequence[str]) -> list[str]:
        given = [name for name in names if self.has(name)]
        for name in given[1:]:
            self.add(name, f"is given as well as {given[0]}; only one of {', '.join(names)} is allowed")
        return given

    def check_reference(self, name: str, is_known: Callable[[Any], bool | None], thing: str) -> None:
        """A text that must name something that the mirrored account has; `is_known` gives None if that is unknown."""
        value = self.text(name)
        if value is not None and is_known(value) is False:
            self.add(name, unknown_reference(value, thing))

    def check_id(self, name: str, is_known: Callable[[int], bool | None], thing: str) -> int | None:
        """As check_reference, for an id that is a number."""
        value = self.integer(name, 1)
        if value is not None and is_known(value) is False:
            self.add(name, unknown_reference(value, thing))
        return value

    def check_unknown_fields(self) -> None:
        """Note each field that no check has read."""
        for name in self.fields:
            if name in self._known or (self.pointer and name == "_object"):
                continue
            known = list(self._known)
            near = closest_match(name, known)
            hint = f"did you mean {near}?" if near else f"allowed are {_listed(known)}"
            self.problems.add(self.place(name), f"{shown(name)} is no known field; {hint}")

    def _refuse(self, name: str, value: object, allowed: str) -> None:
        self.add(name, f"is {shown(value)}; {allowed} allowed")


def read_body(body: object) -> ObjectReader:
    """The reader of a whole body; if that is no JSON object, it has a problem and no fields."""
    problems = ProblemList()
    if isinstance(body, Mapping):
        return ObjectReader(body, "", problems)
    problems.add("", f"the body is {shown(body)}; a JSON object is allowed")
    return ObjectReader({}, "", problems)


def check_text(
    problems: ProblemList, pointer: str, name: str, value: object, *, blank: bool = False, null: bool = False
) -> str | None:
    """A value that must be a text; null counts as absent, except with `null`."""
    if value is None and not null:
        return None
    if not isinstance(value, str):
        hint = ", written in quotes," if isinstance(value, int | float) and not isinstance(value, bool) else ""
        problems.add(pointer, f"{name} is {shown(value)}; a text{hint} is allowed")
    elif not blank and not value.strip():
        problems.add(pointer, f"{name} is empty; a text that is not blank is allowed")
    elif not _is_encodable(value):
        problems.add(pointer, f"{name} has half of a surrogate pair or a NUL; Unicode text without them is allowed")
    else:
        return value
    return None


def check_choice(problems: ProblemList, pointer: str, name: str, value: object, words: Collection[str]) -> str | None:
    """A value that must be one of these words; null counts as absent."""
    if value is None:
        return None
    if isinstance(value, str) and value in words:
        return value
    near = closest_match(value, words) if isinstance(value, str) else None
    guess = "" if near is None else f"did you mean {near}? "
    problems.add(pointer, f"{name} is {shown(value)}; {guess}{'Allowed' if guess else 'allowed'} are {_listed(words)}")
    return None


def unknown_reference(value: object, thing: str) -> str:
    """The rest of the message for a reference to something that the mirrored account does not have."""
    return f"is {shown(value)}; your Flexport data has no such {thing}"


def shown(value: object) -> str:
    """A value as the beginning of its JSON, for a message; of a list or an object, its type alone."""
    if isinstance(value, Mapping):
        return "a JSON object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return escape_control(json.dumps(value[: _MAX_SHOWN + 1], ensure_ascii=False), _MAX_SHOWN)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        return "a very large number"
    return escape_control(str(value), _MAX_SHOWN)


def _listed(names: Collection[str]) -> str:
    first = list(names)[:_MAX_LISTED]
    return ", ".join(first) + (", …" if len(names) > len(first) else "")


def _decimal(value: object) -> Decimal | None:
    """A JSON number as a Decimal with the digits that JSON has; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        return None
    return amount(value) if math.isfinite(value) else None


def _is_encodable(value: str) -> bool:
    return _UNENCODABLE.search(value) is None


def _label(name: str) -> str:
    """The name of a field for a message; quoted if it is not one of Flexport's."""
    return name if _FIELD_NAME.fullmatch(name) else shown(name)


def _pointer_token(name: str) -> str:
    return _SURROGATE.sub("\ufffd", name.replace("~", "~0").replace("/", "~1"))
