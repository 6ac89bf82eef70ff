"""The base of all wire models: tolerant in what it accepts, and lossless.

Flexport may add fields, enum values and object types at any time without notice (https://apidocs.flexport.com/v2/tag/Versioning),
and any field may be null. So: unknown fields are kept, enum values are plain text, and a known field of an unexpected
type is set aside and reported instead of refusing the whole object. Only what identifies an object is required.
"""

import functools
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from operator import attrgetter
from typing import Annotated, Any, Self, Union, get_args, get_origin, get_type_hints

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from flexportd.errors import MalformedError

Text = str | None  # a number in its place is taken as text: codes are numbers in samples (zip, port_code)


class FieldFault(str):
    """A sentence on a known field that was set aside: `<field>: <what is wrong>`."""

    __slots__ = ("field",)
    field: str

    def __new__(cls, field: str, message: str) -> Self:
        self = super().__new__(cls, f"{field}: {message}")
        self.field = field
        return self


class FieldDoubt(FieldFault):
    """A sentence on a known field whose value cannot be right. It is read all the same; the known value is not kept."""

    __slots__ = ()


class _Doubt(str):
    __slots__ = ()


_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?")
MAX_NUMBER_LENGTH = 60  # characters
MAX_MOMENT_LENGTH = 64  # characters


def parse_moment(value: str) -> datetime | None:
    """The time that a text is, as it was written: without an offset where it has none. None for what is no time.

    Only dates with dashes: ten digits may be seconds or a date without dashes, and neither is documented.
    """
    try:
        found = datetime.fromisoformat(value) if len(value) <= MAX_MOMENT_LENGTH and _DATE.match(value) else None
        if found is not None:
            found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None
    return found


def parse_day(value: str) -> date | None:
    """The day of a date or a time, at its place; None for what is neither."""
    try:
        return date.fromisoformat(value[:10]) if len(value) <= MAX_MOMENT_LENGTH and _DATE.match(value) else None
    except ValueError:
        return None


def is_decimal(value: str) -> bool:
    """Whether a text is a number that is written out, at most LONGEST_NUMBER characters long."""
    return len(value) <= MAX_NUMBER_LENGTH and _DECIMAL.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Check:
    """Marks a type whose values mean nothing unless `holds`; `says` is what is wrong with one.

    Such a value stays where it is: what is made of it is None, and a FieldFault says so. With `is_doubt`, the reader
    of the value decides what to make of it, and a FieldDoubt says what is wrong.
    """

    is_valid: Callable[[Any], bool]
    message: str
    is_doubt: bool = False

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value; None for nothing."""
        return None if self.is_valid(value) else _Doubt(self.message) if self.is_doubt else self.message


def _is_parsed_by(parse: Callable[[str], object]) -> Callable[[str], bool]:
    @functools.lru_cache(maxsize=1024)
    def is_valid(value: str) -> bool:
        return not value.strip() or parse(value) is not None

    return lambda value: is_valid(value) if len(value) <= MAX_MOMENT_LENGTH else not value.strip()


def _is_number(value: float | str) -> bool:
    return not isinstance(value, str) or not value.strip() or is_decimal(value.strip())


def _is_not_negative(value: float | str) -> bool:
    if not isinstance(value, str):
        return value >= 0
    return "-" not in value or not is_decimal(value.strip()) or Decimal(value.strip()) >= 0


def _text(value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise ValueError("is no text")
    return value


def _no_flag(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must not be true or false")  # noqa: TRY004 (pydantic collects ValueError)
    return value


def _flag(value: Any) -> Any:
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")  # noqa: TRY004 (pydantic collects ValueError)
    return value


Whole = Annotated[int, BeforeValidator(_no_flag), Field(ge=-(2**63), lt=2**63)]  # what a database can hold
Flag = Annotated[bool, BeforeValidator(_flag)]  # true or false, and nothing that means it
Plain = Annotated[str, BeforeValidator(_text)]
Word = Plain | None  # one of Flexport's words: a number in its place is another language
Moment = Annotated[Plain, Check(_is_parsed_by(parse_moment), "is no time")] | None
Day = Annotated[Plain, Check(_is_parsed_by(parse_day), "is no date")] | None
Amount = Annotated[str, Check(_is_number, "is no number")] | None  # a number in its place is taken as text
Number = Annotated[int | float | str, BeforeValidator(_no_flag), Check(_is_number, "is no number")] | None

_NUMBER_FROM_0 = (Check(_is_number, "is no number"), Check(_is_not_negative, "is negative", is_doubt=True))
Measure = Annotated[str, *_NUMBER_FROM_0] | None  # an Amount of something that cannot be negative
Count = Annotated[Whole, _NUMBER_FROM_0[1]]  # a Whole of such
Weight = Annotated[int | float | str, BeforeValidator(_no_flag), *_NUMBER_FROM_0] | None  # a Number of such


def _number(value: Any) -> Any:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("an id must be a whole number")  # noqa: TRY004 (pydantic collects ValueError)
    return value


def _name(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("an id must be a number or a text")  # noqa: TRY004 (pydantic collects ValueError)
    if isinstance(value, str) and "\0" in value:  # SQLite's JSON functions end a text there
        raise ValueError("an id must not hold U+0000")
    return str(value)


def _either(value: Any) -> Any:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else _name(value)


MAX_ID = 10**18 - 1  # what a URL and a parameter may name, too
Id = Annotated[int, BeforeValidator(_number), Field(ge=0, le=MAX_ID)]  # an integer, also one quoted as text
TextId = Annotated[str, BeforeValidator(_name), Field(min_length=1, max_length=200)]  # a text, also a bare number
# Documented as an integer and never recorded: an integer, also one quoted as text; another text is kept as it is.
AnyId = Annotated[
    Annotated[int, Field(ge=0, le=MAX_ID)] | Annotated[str, Field(min_length=1, max_length=200)],
    BeforeValidator(_either),
]


class WireModel(BaseModel):
    """What Flexport sent, with unknown fields kept. `raw()` gives the same JSON value back."""

    model_config = ConfigDict(
        extra="allow", frozen=True, populate_by_name=True, protected_namespaces=(), coerce_numbers_to_str=True
    )

    object_name: Text = Field(default=None, alias="_object")

    @property
    def key(self) -> int | str:
        """The object's id; a resource without one gives what identifies it instead."""
        found = getattr(self, "id", None)
        if not isinstance(found, int | str):
            raise MalformedError("id: missing")
        return found

    def raw(self) -> dict[str, Any]:
        """The JSON value this was loaded from: unknown fields included, absent ones absent."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    @classmethod
    def load(cls, text: bytes) -> tuple[Self, list[FieldFault]]:
        """The model of one JSON object, and a sentence for each field that had to be set aside.

        Raises MalformedError when the bytes are no JSON object or lack what identifies it.
        """
        try:
            model = cls.model_validate_json(text)
        except ValidationError as error:
            if not any(fault["loc"] for fault in error.errors(include_url=False)):
                raise MalformedError(_first(error)) from error
            try:
                value = msgspec.json.decode(text)
            except (ValueError, RecursionError) as unreadable:
                raise MalformedError(f"not JSON: {unreadable}") from unreadable
            return cls._without_faults(value, error)
        return model, value_faults(cls, model)

    @classmethod
    def _without_faults(cls, value: dict[str, Any], error: ValidationError) -> tuple[Self, list[FieldFault]]:
        faults: dict[str, str] = {}
        for fault in error.errors(include_url=False, include_input=False):
            name, *inside = (str(part) for part in fault["loc"] if not isinstance(part, int))
            where = ".".join(part for part in inside if part.isidentifier() and part not in ("str", "int", "float"))
            faults.setdefault(name, f"{where}: {_message(fault)}" if where else _message(fault))
        kept = {name: part for name, part in value.items() if name not in faults}
        try:
            model = cls.model_validate(kept)
        except ValidationError as still:
            raise MalformedError(_first(still)) from still
        # An empty text means no value, whatever type is expected.
        found = [FieldFault(name, message) for name, message in faults.items() if value.get(name) != ""]
        return model, [*found, *value_faults(cls, model)]


_Finder = Callable[[Any], str | None]
"""What is wrong with a value, with the path to it before a colon; None for nothing."""


def value_faults(model: type[WireModel], value: Any) -> list[FieldFault]:
    """A sentence for each field whose value means nothing. `value` has the attributes of the model."""
    finders = _finders(model)
    if not finders:
        return []
    parts = _getter(model)(value)
    return [
        (FieldDoubt if _is_doubt(wrong) else FieldFault)(name, wrong)
        for (name, find), part in zip(finders, parts, strict=True)
        if part is not None and (wrong := find(part)) is not None
    ]


def _is_doubt(wrong: str) -> bool:
    return isinstance(wrong, _Doubt | FieldDoubt)


def _worst(found: Sequence[str]) -> str | None:
    return min(found, key=_is_doubt) if found else None


@functools.cache
def _getter(model: type[WireModel]) -> Callable[[Any], tuple[Any, ...]]:
    first, *others = (name for name, _ in _finders(model))
    if not others:
        return lambda value: (getattr(value, first),)
    return attrgetter(first, *others)


@functools.cache
def _finders(model: type[WireModel]) -> tuple[tuple[str, _Finder], ...]:
    hints = get_type_hints(model, include_extras=True)
    return tuple((name, find) for name in model.model_fields if (find := _finder(hints[name])) is not None)


def _finder(hint: Any) -> _Finder | None:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        checks = [one.problem for one in hint.__metadata__ if isinstance(one, Check)]
        if len(checks) < 2:
            return checks[0] if checks else None
        return lambda value: next((wrong for problem in checks if (wrong := problem(value)) is not None), None)
    if isinstance(hint, type) and issubclass(hint, WireModel):
        return (lambda value: _worst(value_faults(hint, value))) if _finders(hint) else None
    if origin in (Union, types.UnionType):
        some = [one for one in inner if one is not type(None)]
        return _finder(some[0]) if len(some) == 1 else None
    each = _finder(inner[0]) if origin is list else None
    if each is None:
        return None
    return lambda values: _worst([wrong for value in values if value is not None and (wrong := each(value))])


class Reference(WireModel):
    """A link to one object (`id` given) or to a collection; may come as the expanded object instead."""

    ref_type: Text = None
    link: Text = None
    id: Whole | str | None = None

    @property
    def target(self) -> int | str | None:
        """The id, a quoted number as a number; None for a collection."""
        return self.target_id if self.target_id is not None else self.id or None

    @property
    def target_id(self) -> int | None:
        """The id as a whole number, also where it is quoted; None for a collection or an id of another kind."""
        value = self.id
        if isinstance(value, str):
            return int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else None
        return value


class Quantity(WireModel):
    """A weight or a volume."""

    value: Weight = None
    unit: Text = None


def _first(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {_message(fault)}" if where else _message(fault)


def _message(fault: Mapping[str, Any]) -> str:
    return str(fault["msg"]).removeprefix("Value error, ")
