"""Forms for the bodies of writes: declared fields, whose names are the JSON pointers (RFC 6901) of their values. Pure.

What was entered is kept as texts by the name of their input, also where it is wrong: the check of the body reports it.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, NamedTuple

from flexportd.core.outbox.validation.account import PORT_CODES
from flexportd.core.outbox.validation.problems import FieldProblem

Kind = Literal[
    "line", "area", "lines", "day", "whole", "yes_no", "choice", "quantity", "reference", "port", "many", "pairs"
]
"""What is entered: `lines` is a list of texts, `many` some of the choices, `pairs` an object of lists of texts."""

Values = dict[str, list[str]]
"""What was entered, by the name of the input."""

Choices = Sequence[tuple[str, str]]
"""Values and their titles."""

MAX_ROWS = 50  # of one list

_QUOTED_KEY = re.compile(r'("(?:[^"\\]|\\.)*")\s*:')
_LINE_BREAKS = {ord(char): f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}  # which JSON does not escape
_WHOLE = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class FormField:
    """One field. `pointer` is relative in a row of a list.

    `choices` are the values of a choice, or the units of a quantity; `source` is the resource that a reference is
    chosen from. `also` are members that are set together with a value.
    """

    pointer: str
    label: str
    kind: Kind = "line"
    choices: Choices = ()
    source: str = ""
    hint: str = ""
    required: bool = False
    also: Mapping[str, str] = field(default_factory=dict)

    def inputs(self) -> tuple[str, ...]:
        """The names of its inputs; the first one has the value."""
        return (f"{self.pointer}/value", f"{self.pointer}/unit") if self.kind == "quantity" else (self.pointer,)

    def covers(self, pointer: str) -> bool:
        """Whether a problem at this pointer is shown at this field."""
        if pointer == self.pointer or pointer.startswith(f"{self.pointer}/") or pointer in self.also:
            return True
        return self.kind == "port" and pointer.startswith(f"{self.pointer}_") and pointer.endswith("_code")

    def at(self, prefix: str) -> "FormField":
        """The field in a row with this pointer."""
        also = {prefix + name: value for name, value in self.also.items()}
        return replace(self, pointer=prefix + self.pointer, also=also)


@dataclass(frozen=True, slots=True)
class FormRows:
    """A list of objects with the same fields; `noun` names one."""

    pointer: str
    noun: str
    fields: tuple[FormField, ...]
    fewest: int = 1

    @property
    def nouns(self) -> str:
        """The noun for several rows."""
        return f"{self.noun[:-1]}ies" if self.noun.endswith("y") and self.noun != "key" else f"{self.noun}s"


@dataclass(frozen=True, slots=True)
class FormSection:
    """Fields and lists under a heading."""

    title: str
    items: tuple[FormField | FormRows, ...]
    hint: str = ""


class FormChange(NamedTuple):
    """A field whose text differs."""

    label: str
    old: str
    new: str


def rows_of(values: Values, rows: FormRows) -> int:
    """How many rows were entered."""
    indices = [int(index) for name in values if (index := _row_index(name, rows.pointer)) is not None]
    return max(indices, default=-1) + 1


def submitted_rows(fields: Mapping[str, Sequence[str]], pointer: str) -> int:
    """How many rows of a list were submitted, also empty ones."""
    return len({index for name in fields if (index := _row_index(name, pointer)) is not None})


def all_fields(sections: Sequence[FormSection], values: Values) -> Iterator[tuple[FormField, str]]:
    """Every field with its label, those of rows with the number of the row: `Product 2: HS code`."""
    for section in sections:
        for item in section.items:
            if isinstance(item, FormField):
                yield item, item.label
                continue
            for index in range(rows_of(values, item)):
                for one in item.fields:
                    label = f"{item.noun.capitalize()} {index + 1}: {one.label}"
                    yield one.at(f"{item.pointer}/{index}"), label


def entered_values(fields: Mapping[str, Sequence[str]], sections: Sequence[FormSection], removed: str = "") -> Values:
    """What was entered into the declared inputs, without empty rows and the removed one (its pointer)."""
    values: Values = {}
    for section in sections:
        for item in section.items:
            if isinstance(item, FormField):
                _take(values, fields, item, item)
                continue
            indices = {index for name in fields if (index := _row_index(name, item.pointer)) is not None}
            kept = 0
            for index in sorted(indices, key=int)[:MAX_ROWS]:
                place = f"{item.pointer}/{index}"
                filled = [one for one in item.fields if any(map(str.strip, fields.get(one.at(place).inputs()[0], ())))]
                if not filled or place == removed:
                    continue
                for one in item.fields:
                    _take(values, fields, one.at(place), one.at(f"{item.pointer}/{kept}"))
                kept += 1
    return values


def _take(values: Values, fields: Mapping[str, Sequence[str]], sent: FormField, kept: FormField) -> None:
    for name, new_name in zip(sent.inputs(), kept.inputs(), strict=True):
        texts = [text.replace("\r\n", "\n").strip() for text in fields.get(name, ())]
        if any(texts):
            values[new_name] = [text for text in texts if text] if sent.kind == "many" else texts[:1]


def _row_index(name: str, pointer: str) -> str | None:
    """The number of the row that an input belongs to."""
    rest = name.removeprefix(f"{pointer}/") if name.startswith(f"{pointer}/") else ""
    index = rest.partition("/")[0]
    return index if index.isascii() and index.isdigit() and len(index) < 5 else None


def body_of(values: Values, sections: Sequence[FormSection]) -> dict[str, Any]:
    """The JSON object that the entered values make; a text that is no number, day or choice stays as it is."""
    body: dict[str, Any] = {}
    for one, _ in all_fields(sections, values):
        value = _value(one, values)
        if value is None:
            continue
        if one.kind == "port":
            kind, _, code = value.partition(":")
            _set(body, f"{one.pointer}_{kind}_code", code)
            continue
        _set(body, one.pointer, value)
        for pointer, also in one.also.items():
            _set(body, pointer, also)
    return body


def _value(one: FormField, values: Values) -> Any:
    texts = values.get(one.inputs()[0])
    if not texts or not texts[0]:
        return None
    if one.kind == "quantity":
        unit = values.get(one.inputs()[1], [""])[0] or one.choices[0][0]
        return {"value": _number(texts[0]), "unit": unit}
    if one.kind == "many":
        return texts
    return _READERS[one.kind](texts[0]) if one.kind in _READERS else texts[0]


def _number(text: str) -> Any:
    """A JSON number with exactly these digits; the text itself if there is none."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    if not number.is_finite() or abs(number) >= 10**15:
        return text
    value = int(number) if number == number.to_integral_value() else float(number)
    return value if Decimal(str(value)) == number else text


def _pairs(text: str) -> dict[str, list[str]]:
    """Lines of `key: value`; a key with several values has several lines."""
    pairs: dict[str, list[str]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        quoted = _QUOTED_KEY.match(line)
        key, value = (quoted[1], line[quoted.end() :]) if quoted else line.partition(":")[::2]
        pairs.setdefault(_unquoted(key.strip()), []).append(_unquoted(value.strip()))
    return pairs


def _unquoted(text: str) -> str:
    """A text, or the one whose JSON it is."""
    if len(text) < 2 or not text.startswith('"') or not text.endswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text


def _quoted(text: str, special: str = "") -> str:
    """A text as one line of pairs has it: as JSON if it has several lines or would be read as something else."""
    is_plain = text.splitlines() == [text.strip()] and text[0] != '"' and not any(char in text for char in special)
    return text if is_plain or not text else json.dumps(text, ensure_ascii=False).translate(_LINE_BREAKS)


_READERS: Mapping[Kind, Callable[[str], Any]] = {
    "whole": lambda text: int(text) if _WHOLE.fullmatch(text) else text,
    "yes_no": lambda text: {"true": True, "false": False}.get(text, text),
    "lines": lambda text: [line for line in map(str.strip, text.splitlines()) if line],
    "pairs": _pairs,
    "port": lambda text: text if text.partition(":")[0] in PORT_CODES else f"loc:{text}",
}


def _set(body: dict[str, Any], pointer: str, value: Any) -> None:
    *path, last = pointer.split("/")[1:]
    owner: Any = body
    for name, following in zip(path, [*path, last][1:], strict=True):
        empty: Any = [] if following.isdigit() else {}
        if isinstance(owner, list):
            while len(owner) <= int(name):
                owner.append({})
            owner = owner[int(name)]
        else:
            owner = owner.setdefault(name, empty)
    owner[last] = value


def values_of(body: Mapping[str, Any], sections: Sequence[FormSection]) -> Values:
    """What somebody would have entered for this body."""
    values: Values = {}
    for section in sections:
        for item in section.items:
            if isinstance(item, FormField):
                _fill(values, item, body, item.pointer)
                continue
            listed = _get(body, item.pointer)
            for index, row in enumerate(listed[:MAX_ROWS] if isinstance(listed, list) else ()):
                for one in item.fields:
                    _fill(values, one.at(f"{item.pointer}/{index}"), row, one.pointer)
    return values


def long_lists(body: Mapping[str, Any], sections: Sequence[FormSection]) -> tuple[FormRows, ...]:
    """The lists of a body that have more rows than the form shows."""
    lists = (item for section in sections for item in section.items if isinstance(item, FormRows))
    return tuple(one for one in lists if isinstance(found := _get(body, one.pointer), list) and len(found) > MAX_ROWS)


def without_lists(body: Mapping[str, Any], lists: Sequence[FormRows]) -> dict[str, Any]:
    """A body without these lists."""
    found = copy.deepcopy(dict(body))
    for one in lists:
        owner, _, name = one.pointer.rpartition("/")
        del _get(found, owner)[name]
    return found


def _fill(values: Values, one: FormField, owner: Any, pointer: str) -> None:
    if one.kind == "port":
        for kind in PORT_CODES:
            code = _get(owner, f"{pointer}_{kind}_code")
            if isinstance(code, str):
                values[one.pointer] = [f"{kind}:{code}"]
        return
    value = _get(owner, pointer)
    if value in (None, "", [], {}):
        return
    if one.kind == "quantity" and isinstance(value, Mapping):
        texts = [_text(value.get(name)) for name in ("value", "unit")]
        values |= {name: [text] for name, text in zip(one.inputs(), texts, strict=True) if text}
    elif one.kind == "pairs" and isinstance(value, Mapping):
        lines = [
            f"{_quoted(key, ':')}: {_quoted(_text(text))}" for key, listed in value.items() for text in _listed(listed)
        ]
        values[one.pointer] = ["\n".join(lines)]
    elif isinstance(value, list) and one.kind == "many":
        values[one.pointer] = [_text(text) for text in value]
    elif isinstance(value, list) and one.kind == "lines":
        values[one.pointer] = ["\n".join(map(_text, value))]
    elif not isinstance(value, Mapping | list):
        values[one.pointer] = [_text(value)]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value).replace("\r\n", "\n").strip()


def _get(owner: Any, pointer: str) -> Any:
    for name in pointer.split("/")[1:]:
        owner = owner.get(name) if isinstance(owner, Mapping) else None
    return owner


def changes_of(old: Values, new: Values, sections: Sequence[FormSection]) -> list[FormChange]:
    """The fields whose texts differ, in the order of the form."""
    labels = {one.pointer: (one, label) for values in (new, old) for one, label in all_fields(sections, values)}
    found = []
    for one, label in labels.values():
        texts = [_shown(one, values) for values in (old, new)]
        if texts[0] != texts[1]:
            found.append(FormChange(label, *texts))
    return found


def _shown(one: FormField, values: Values) -> str:
    """The value of a field in words; of a port without the kind of its code."""
    texts = values.get(one.inputs()[0], [])
    if one.kind == "quantity":
        return " ".join([*texts, *values.get(one.inputs()[1], [])]) if texts else ""
    titles = dict(one.choices) or ({"true": "Yes", "false": "No"} if one.kind == "yes_no" else {})
    return ", ".join(text.rpartition(":")[2] if one.kind == "port" else titles.get(text, text) for text in texts)


def field_of(problem: FieldProblem, sections: Sequence[FormSection], values: Values) -> FormField | FormRows | None:
    """Where a problem is shown: the field that covers it most narrowly, else its list; None for the whole body."""
    fields = [one for one, _ in all_fields(sections, values) if one.covers(problem.pointer)]
    if fields:
        return max(fields, key=lambda one: len(one.pointer))
    lists = [item for section in sections for item in section.items if isinstance(item, FormRows)]
    return next((item for item in lists if f"{problem.pointer}/".startswith(f"{item.pointer}/")), None)
